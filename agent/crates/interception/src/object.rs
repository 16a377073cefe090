//! The compiled programs: loaded, with their maps taken from an earlier run where there are any.

use std::{io, path::Path};

use agent_common::{
    Address, DOMAINS_MAX, Domain, ENDED_MAX, FLOWS_MAX, FOLLOWED_MAX, FileKey, Flow, GUARDED_ADDRESSES_MAX,
    LISTENERS_MAX, Listener, LsmSettings, Mark, Origin, Outcome, Ports, ProcessId, STARTERS_MAX, Standing,
};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{MapInfo, MapType},
    programs::{Program, ProgramError, ProgramFd},
    util::KernelVersion,
};

use crate::{
    config::{Config, Scope},
    error::Error,
    follow,
    hook::Hook,
    pins::Pins,
};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/snowfence.bpf.o"));

/// First kernel with `bpf_set_retval`, by which a refused connect gets `ECONNREFUSED` in place of `EPERM`.
const SET_RETVAL_SINCE: KernelVersion = KernelVersion::new(5, 18, 0);

/// Names of the maps that are pinned.
pub(crate) const GUARDED: &str = "GUARDED";
pub(crate) const LISTENERS: &str = "LISTENERS";
pub(crate) const MARKS: &str = "MARKS";
pub(crate) const ORIGINS: &str = "ORIGINS";
pub(crate) const FLOWS: &str = "FLOWS";
pub(crate) const ACCEPTED: &str = "ACCEPTED";
pub(crate) const COUNTERS: &str = "COUNTERS";
pub(crate) const FOLLOWED: &str = "FOLLOWED";
pub(crate) const ENDED: &str = "ENDED";
pub(crate) const STARTERS: &str = "STARTERS";
/// The ring buffer of events, which is not pinned.
pub(crate) const EVENTS: &str = "EVENTS";

/// What a pinned map must look like to be used again.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    entries: u32,
}

/// Every pinned map. Keys of socket storage are descriptors.
pub(crate) const SHAPES: [Shape; 10] = [
    Shape::of::<Address, Ports>(GUARDED, MapType::Hash, GUARDED_ADDRESSES_MAX),
    Shape::of::<u64, Listener>(LISTENERS, MapType::Hash, LISTENERS_MAX),
    Shape::of::<i32, Mark>(MARKS, MapType::SkStorage, 0),
    Shape::of::<i32, Origin>(ORIGINS, MapType::SkStorage, 0),
    Shape::of::<Flow, Origin>(FLOWS, MapType::LruHash, FLOWS_MAX),
    Shape::of::<i32, Origin>(ACCEPTED, MapType::SkStorage, 0),
    Shape::of::<u32, u64>(COUNTERS, MapType::PerCpuArray, Outcome::COUNT),
    Shape::of::<u32, Standing>(FOLLOWED, MapType::Hash, FOLLOWED_MAX),
    Shape::of::<ProcessId, u64>(ENDED, MapType::LruHash, ENDED_MAX),
    Shape::of::<FileKey, u32>(STARTERS, MapType::Hash, STARTERS_MAX),
];

impl Shape {
    const fn of<K, V>(name: &'static str, kind: MapType, entries: u32) -> Self {
        Self { name, kind, key: size_of::<K>(), value: size_of::<V>(), entries }
    }

    fn fits(&self, info: &MapInfo) -> bool {
        info.map_type().is_ok_and(|kind| kind == self.kind)
            && usize::try_from(info.key_size()) == Ok(self.key)
            && usize::try_from(info.value_size()) == Ok(self.value)
            && info.max_entries() == self.entries
    }

    /// Whether what is pinned at `path`, if anything is, has this shape. aya takes any map that it finds there.
    fn check(&self, path: &Path) -> Result<(), Error> {
        match path.try_exists() {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(source) => return Err(unreadable(path, source)),
        }
        let info = MapInfo::from_pin(path).map_err(|error| unreadable(path, io::Error::other(error)))?;
        if self.fits(&info) { Ok(()) } else { Err(Error::Shape { path: path.to_owned() }) }
    }
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Pin { action: "read", path: path.to_owned(), source }
}

/// Creates the maps, or opens the pinned ones, and gives the programs to the verifier. Nothing is attached yet.
pub(crate) fn load(cfg: &Config, pins: &Pins, lsm: &LsmSettings) -> Result<Ebpf, Error> {
    let domains = domains(cfg)?;
    let observing = u32::from(cfg.observing);
    let has_set_retval = u32::from(KernelVersion::current().is_ok_and(|found| found >= SET_RETVAL_SINCE));
    let is_strict = u32::from(cfg.scope == Scope::Strict);
    let mut loader = EbpfLoader::new();
    loader.override_global("HAS_SET_RETVAL", &has_set_retval, true);
    loader.override_global("OBSERVING", &observing, true);
    loader.override_global("DOMAINS", &domains[..], true);
    loader.override_global("IS_STRICT", &is_strict, true);
    loader.override_global("LSM_SETTINGS", lsm, true);
    let offsets = follow::offsets()?;
    loader.override_global("FOLLOW_OFFSETS", &offsets, true);
    for shape in &SHAPES {
        let path = pins.path(shape.name);
        shape.check(&path)?;
        loader.map_pin_path(shape.name, path);
    }
    let mut object = loader.load(OBJECT).map_err(|error| Error::Object(Box::new(error)))?;
    for hook in Hook::ALL {
        verify(&mut object, hook)?;
    }
    follow::verify(&mut object)?;
    Ok(object)
}

/// What the tripwire looks for.
fn domains(cfg: &Config) -> Result<[Domain; DOMAINS_MAX], Error> {
    let mut domains = [Domain::NONE; DOMAINS_MAX];
    if cfg.domains.len() > DOMAINS_MAX {
        return Err(Error::TooManyDomains { given: cfg.domains.len(), max: DOMAINS_MAX });
    }
    for (place, name) in domains.iter_mut().zip(&cfg.domains) {
        *place = Domain::new(name.as_str()).ok_or_else(|| Error::LongDomain(name.clone()))?;
    }
    Ok(domains)
}

fn verify(object: &mut Ebpf, hook: Hook) -> Result<(), Error> {
    let loaded = match object.program_mut(hook.name()).ok_or(Error::Missing(hook.name()))? {
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        Program::SockOps(program) => program.load(),
        _ => return Err(Error::Missing(hook.name())),
    };
    loaded.map_err(|error| refused(hook, error))
}

/// The loaded program of a hook.
pub(crate) fn program(object: &Ebpf, hook: Hook) -> Result<&ProgramFd, Error> {
    let program = object.program(hook.name()).ok_or(Error::Missing(hook.name()))?;
    program.fd().map_err(|error| refused(hook, error))
}

fn refused(hook: Hook, source: ProgramError) -> Error {
    Error::Program { name: hook.name(), source: Box::new(source) }
}
