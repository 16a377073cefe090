//! The optional layer: programs on the kernel's security hooks, where BPF is among its security modules. They close what
//! the hooks on a cgroup leave open, and nothing else relies on them.
//!
//! Every program stands alone. One that wants a field which this kernel does not have, or that the verifier refuses, is
//! left out, said in the log and in [`Interception::lsm`](crate::Interception::lsm), and missed by nobody.

mod part;
mod settings;

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use agent_common::{ALIVE_NS, Own, OwnKind, Present, SERVICE_BYTES, ServiceName};
use aya::{
    Btf, Ebpf,
    maps::{Array, HashMap, MapData, MapInfo},
    programs::Program,
};
use nix::time::{ClockId, clock_gettime};
use tokio::task::JoinHandle;

use self::part::Part;
pub(crate) use self::settings::prepare;
use crate::{
    attach::Links,
    btf::KernelTypes,
    cgroup::Cgroup,
    object::{MARKS, SHAPES},
    pins::Pins,
    sys,
};

/// The kernel's security modules, in their order.
const MODULES: &str = "/sys/kernel/security/lsm";

/// What an operator chooses about the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LsmConfig {
    /// Whether it is used where the kernel has it.
    pub enabled: bool,
    /// Who may still open packet sockets: names of cgroups directly below `system.slice`, as systemd calls its services.
    /// Without what gets the host its addresses here, it may lose them.
    pub network_services: Vec<String>,
}

impl Default for LsmConfig {
    fn default() -> Self {
        let services = [
            "NetworkManager.service",
            "connman.service",
            "dhcpcd.service",
            "lldpd.service",
            "networking.service",
            "system-ifup.slice",
            "systemd-networkd.service",
            "wpa_supplicant.service",
        ];
        Self { enabled: true, network_services: services.map(str::to_owned).into() }
    }
}

/// One program of the layer, and whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LsmProgram {
    /// Its name.
    pub name: &'static str,
    /// What it stands against, and what is open without it.
    pub against: &'static str,
    /// Why it is not there, if it is not.
    pub missing: Option<String>,
}

/// The layer, while the agent runs. Dropped, all of it is gone but what is pinned.
#[derive(Debug)]
pub(crate) struct Layer {
    programs: Vec<LsmProgram>,
    _links: Vec<OwnedFd>,
    alive: Option<JoinHandle<()>>,
}

impl Drop for Layer {
    fn drop(&mut self) {
        if let Some(alive) = &self.alive {
            alive.abort();
        }
    }
}

impl Layer {
    /// Whether each program is there.
    pub(crate) fn programs(&self) -> &[LsmProgram] {
        &self.programs
    }

    /// Puts every program in its place for which there is nothing missing yet.
    pub(crate) fn attach(
        plan: Plan,
        object: &mut Ebpf,
        pins: &Pins,
        cgroup: &Cgroup,
        links: &Links,
        cfg: &LsmConfig,
    ) -> Self {
        let ready = plan.any().then(|| Ready::new(object, pins, cgroup, links, cfg));
        let (mut programs, mut kept) = (Vec::new(), Vec::new());
        let ready = match ready {
            Some(ready) => ready.map_err(|error| format!("it cannot be made ready: {error}")),
            None => Err(String::new()),
        };
        for (part, missing) in plan.parts {
            let placed = match (missing, &ready) {
                (Some(missing), _) => Err(missing),
                (None, Err(error)) => Err(error.clone()),
                (None, Ok(ready)) => place(part, object, pins, &ready.types),
            };
            let missing = match placed {
                Ok(link) => {
                    kept.push(link);
                    None
                }
                Err(missing) => {
                    forget(part, pins);
                    Some(missing)
                }
            };
            programs.push(LsmProgram { name: part.name(), against: part.against(), missing });
        }
        report(&programs);
        let alive = ready.ok().map(|ready| ready.alive);
        Self { programs, _links: kept, alive }
    }
}

/// What will be loaded, and why what will not.
pub(crate) struct Plan {
    parts: Vec<(Part, Option<String>)>,
    pub(crate) settings: agent_common::LsmSettings,
}

impl Plan {
    fn any(&self) -> bool {
        self.parts.iter().any(|(_, missing)| missing.is_none())
    }
}

/// All that the programs look at while they run, and what they are loaded by.
struct Ready {
    types: Btf,
    /// Open until the programs are loaded, which refer to them by their descriptors.
    _maps: (HashMap<MapData, Own, Present>, HashMap<MapData, ServiceName, Present>),
    alive: JoinHandle<()>,
}

impl Ready {
    fn new(
        object: &mut Ebpf,
        pins: &Pins,
        cgroup: &Cgroup,
        links: &Links,
        cfg: &LsmConfig,
    ) -> io::Result<Self> {
        let mut own: HashMap<MapData, Own, Present> = map(object, "OWN")?;
        let mut add = |kind, id| own.insert(Own::new(kind, id), 1, 0).map_err(io::Error::other);
        for id in links.ids()? {
            add(OwnKind::Link, u64::from(id))?;
        }
        // All but the marks: `doctor` marks a socket to look past the programs.
        for shape in SHAPES.iter().filter(|shape| shape.name != MARKS) {
            let info = MapInfo::from_pin(pins.path(shape.name)).map_err(io::Error::other)?;
            add(OwnKind::Map, u64::from(info.id()))?;
        }
        for id in cgroup.with_those_above()? {
            add(OwnKind::Cgroup, id)?;
        }
        let mut services: HashMap<MapData, ServiceName, Present> = map(object, "SERVICES")?;
        for name in &cfg.network_services {
            services.insert(service(name)?, 1, 0).map_err(io::Error::other)?;
        }
        let alive: Array<MapData, u64> = map(object, "ALIVE")?;
        let types = Btf::from_sys_fs().map_err(io::Error::other)?;
        Ok(Self { types, _maps: (own, services), alive: tokio::spawn(live(alive)) })
    }
}

fn map<T>(object: &mut Ebpf, name: &'static str) -> io::Result<T>
where
    T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = object.take_map(name).ok_or_else(|| io::Error::other(format!("there is no map {name}")))?;
    map.try_into().map_err(io::Error::other)
}

fn service(name: &str) -> io::Result<ServiceName> {
    let mut bytes = [0; SERVICE_BYTES];
    let fits = name.len() < SERVICE_BYTES && !name.is_empty() && !name.contains(['/', '\0']);
    let room = bytes.get_mut(..name.len()).filter(|_| fits);
    let room = room.ok_or_else(|| io::Error::other(format!("{name:?} is not the name of a cgroup")))?;
    room.copy_from_slice(name.as_bytes());
    Ok(bytes)
}

/// Gives a sign of life, and another before it is too old to be believed.
async fn live(mut alive: Array<MapData, u64>) {
    let mut beat = tokio::time::interval(Duration::from_nanos(ALIVE_NS / 4));
    loop {
        beat.tick().await;
        let written = monotonic_ns().and_then(|now| alive.set(0, now, 0).map_err(io::Error::other));
        if let Err(error) = written {
            tracing::error!(%error, "the kernel programs cannot be told that the agent lives: nothing is paused");
            return;
        }
    }
}

/// `CLOCK_MONOTONIC`, which the programs read as well.
fn monotonic_ns() -> io::Result<u64> {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    u64::try_from(now.as_nanos()).map_err(io::Error::other)
}

/// Loads and attaches one program; the answer says why not.
fn place(part: Part, object: &mut Ebpf, pins: &Pins, types: &Btf) -> Result<OwnedFd, String> {
    let Some(Program::Lsm(program)) = object.program_mut(part.name()) else {
        return Err("the embedded kernel programs lack it".to_owned());
    };
    program.load(part.hook(), types).map_err(|error| format!("the kernel refused it: {error}"))?;
    let program = program.fd().map_err(|error| error.to_string())?;
    let link = sys::lsm_attach(program.as_fd()).map_err(|error| format!("it cannot be attached: {error}"))?;
    if part.is_pinned() {
        let (pin, next) = (pins.path(part.name()), pins.path(&format!("{}-next", part.name())));
        let pinned = fs::remove_file(&next)
            .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .and_then(|()| sys::pin(&link, &next))
            .and_then(|()| fs::rename(&next, &pin));
        pinned.map_err(|error| format!("it cannot be pinned: {error}"))?;
    }
    Ok(link)
}

/// Takes away what an earlier agent has pinned of a program that this one does without.
fn forget(part: Part, pins: &Pins) {
    if !part.is_pinned() {
        return;
    }
    match fs::remove_file(pins.path(part.name())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(program = part.name(), %error, "a program of an earlier agent stays attached");
        }
        _ => {}
    }
}

fn report(programs: &[LsmProgram]) {
    let mut there = Vec::new();
    for program in programs {
        match &program.missing {
            None => there.push(program.name),
            Some(why) => {
                tracing::info!(program = program.name, why, "not guarded against {}", program.against)
            }
        }
    }
    if !there.is_empty() {
        tracing::info!(programs = there.join(" "), "security-module programs are in place");
    }
}

/// Whether BPF is among the kernel's security modules; the error says what to do.
pub(crate) fn is_there() -> Result<(), String> {
    match fs::read_to_string(MODULES) {
        Ok(modules) if has_bpf(&modules) => KernelTypes::of_the_kernel().map(drop),
        Ok(modules) => {
            let modules = modules.trim();
            Err(format!("BPF is not among the kernel's security modules: boot with lsm={modules},bpf"))
        }
        Err(error) => Err(format!(
            "{MODULES}: {error}: mount -t securityfs none /sys/kernel/security to say whether BPF is among them"
        )),
    }
}

fn has_bpf(modules: &str) -> bool {
    modules.trim().split(',').any(|module| module == "bpf")
}

/// What is open without the layer, for `doctor`.
pub(crate) fn open_without() -> String {
    Part::ALL.map(Part::against).join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_module_of_that_very_name_is_it() {
        assert!(has_bpf("lockdown,capability,bpf\n") && has_bpf("bpf"));
        for none in ["", "lockdown,bpfx", "xbpf,yama", "BPF"] {
            assert!(!has_bpf(none), "{none:?}");
        }
    }

    #[test]
    fn a_service_is_one_folders_name_that_fits() {
        let name = service("systemd-networkd.service").unwrap();
        assert!(name.starts_with(b"systemd-networkd.service\0"));
        for bad in ["", "a/b", "a\0b", &"x".repeat(SERVICE_BYTES)] {
            assert!(service(bad).is_err(), "{bad:?}");
        }
        assert!(LsmConfig::default().network_services.iter().all(|name| service(name).is_ok()));
    }
}
