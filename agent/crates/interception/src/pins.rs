//! The pin folder: one per agent, locked while it runs, and all that is left of it when it does not.
//!
//! `<pins>/v<layout>/` holds the maps and links of one layout. The lock is on `<pins>` itself, so that two agents of
//! different layouts exclude each other as well.

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io,
    net::{IpAddr, SocketAddr},
    os::{
        fd::AsFd as _,
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use agent_common::{LAYOUT, Listener, Outcome};
use aya::maps::{HashMap, Map, MapData};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::geteuid,
};

use crate::{
    counters::Counters,
    error::{Error, MapFault},
    forward,
    guarded::Guarded,
    hook::Hook,
    object, sys,
};

/// How often the lock is tried, and how long is waited in between: a look by [`inspect`] holds it for a moment, and so
/// does a process that is just ending.
const LOCK_TRIES_MAX: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The folder, held against other agents.
#[derive(Debug)]
pub(crate) struct Pins {
    root: PathBuf,
    folder: PathBuf,
    /// The folders that were not there before, outermost first.
    made: Vec<PathBuf>,
    _lock: Flock<File>,
}

impl Pins {
    /// Makes the folders where they are missing and takes the lock. Nothing is put into a folder of somebody else's.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let mut made = make(root)?;
        let lock = lock(root)?;
        trust(root)?;
        let folder = root.join(format!("v{LAYOUT}"));
        made.extend(make(&folder)?);
        trust(&folder)?;
        Ok(Self { root: root.to_owned(), folder, made, _lock: lock })
    }

    /// Where the map or link of this name is pinned.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The outer folder, and that of this layout.
    pub(crate) fn folders(&self) -> (&Path, &Path) {
        (&self.root, &self.folder)
    }

    /// Takes back what a start that failed has made, so that nothing has changed. What was there before stays.
    pub(crate) fn abandon(self) {
        for folder in self.made.iter().rev() {
            let removed =
                if *folder == self.folder { fs::remove_dir_all(folder) } else { fs::remove_dir(folder) };
            // The failure of the start is the one worth returning.
            if let Err(error) = removed {
                tracing::warn!(folder = %folder.display(), %error, "a folder that was made for pins is left behind");
            }
        }
    }

    /// Takes away what agents of other layouts have pinned. For when this one's programs are in place and know what to
    /// guard.
    pub(crate) fn remove_other_layouts(&self) -> Result<(), Error> {
        for folder in layouts(&self.root)? {
            if folder != self.folder {
                tracing::info!(folder = %folder.display(), "removing the pins of another version");
                remove_folder(&folder)?;
            }
        }
        Ok(())
    }

    /// Takes everything away. Links that are still open keep their programs attached until they are closed.
    pub(crate) fn remove(self) -> Result<(), Error> {
        for folder in layouts(&self.root)? {
            remove_folder(&folder)?;
        }
        // Others may keep something in the folder that is not ours to judge.
        match fs::remove_dir(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(failed("remove", &self.root)(error))
            }
            _ => Ok(()),
        }
    }
}

/// What is pinned, whether an agent runs or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Whether an agent holds the folder.
    pub agent_running: bool,
    /// Names of the hooks that have a program attached. All or none, unless somebody meddled.
    pub attached: Vec<&'static str>,
    /// Names of the hooks that have none.
    pub detached: Vec<&'static str>,
    /// The addresses that are guarded on every port, in order.
    pub guarded: Vec<IpAddr>,
    /// The single ports that are guarded of others, in order.
    pub guarded_ports: Vec<SocketAddr>,
    /// Where agents listen, or last did.
    pub listeners: Vec<ListenerEntry>,
    /// How often each outcome was met since the maps were made.
    pub counters: Vec<(Outcome, u64)>,
}

/// Where an agent listens in one network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerEntry {
    /// The namespace (`SO_NETNS_COOKIE`).
    pub netns_cookie: u64,
    /// Port on `127.0.0.1`.
    pub port4: u16,
    /// Port on `::1`; `None` where there is no IPv6.
    pub port6: Option<u16>,
}

/// Reads what is pinned under `pins`, without an agent's help. Nothing pinned is an answer: no hook is attached.
///
/// # Errors
/// When a pin is there and cannot be read, which usually means that the caller is not root.
pub fn inspect(pins: &Path) -> Result<Pinned, Error> {
    let folder = pins.join(format!("v{LAYOUT}"));
    let mut pinned = Pinned {
        agent_running: matches!(lock(pins), Err(Error::Locked(_))),
        attached: Vec::new(),
        detached: Vec::new(),
        guarded: Vec::new(),
        guarded_ports: Vec::new(),
        listeners: Vec::new(),
        counters: Vec::new(),
    };
    for hook in Hook::ALL {
        let list =
            if is_attached(&folder.join(hook.name()))? { &mut pinned.attached } else { &mut pinned.detached };
        list.push(hook.name());
    }
    if let Some(map) = open_map(&folder, object::GUARDED)? {
        let guarded = Guarded::new(Map::HashMap(map))?;
        pinned.guarded = guarded.addresses()?.into_iter().collect();
        pinned.guarded_ports = guarded.endpoints()?.into_iter().collect();
    }
    if let Some(map) = open_map(&folder, object::LISTENERS)? {
        pinned.listeners = listeners(map)?;
    }
    if let Some(map) = open_map(&folder, object::COUNTERS)? {
        pinned.counters = Counters::new(Map::PerCpuArray(map))?.read()?;
    }
    Ok(pinned)
}

/// The marks that pinned programs look for, if any are pinned.
pub(crate) fn marks(pins: &Path) -> Result<Option<MapData>, Error> {
    open_map(&pins.join(format!("v{LAYOUT}")), object::MARKS)
}

/// Detaches the programs of an agent that does not run, removes its maps, and its table of nftables from the calling
/// thread's network namespace. Nothing pinned is no error.
///
/// # Errors
/// When an agent runs, the folder is not this user's alone, or a pin or the table cannot be removed.
pub fn remove(pins: &Path) -> Result<(), Error> {
    match pins.try_exists() {
        Ok(false) => {}
        Ok(true) => Pins::open(pins)?.remove()?,
        Err(error) => return Err(failed("read", pins)(error)),
    }
    forward::remove(pins)
}

/// Makes a folder for this user alone, and those above it, where they are missing. Answers which were.
fn make(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    let mut made = Vec::new();
    for path in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => made.push(path.to_owned()),
            // Somebody else was faster, and takes it back if need be.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("make", path)(error)),
        }
    }
    Ok(made)
}

fn lock(root: &Path) -> Result<Flock<File>, Error> {
    for _ in 0..LOCK_TRIES_MAX {
        let folder = File::open(root).map_err(failed("read", root))?;
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) if is_at(&lock, root) => return Ok(lock),
            Ok(_) | Err((_, Errno::EWOULDBLOCK)) => thread::sleep(LOCK_PAUSE),
            Err((_, errno)) => return Err(failed("lock", root)(errno.into())),
        }
    }
    Err(Error::Locked(root.to_owned()))
}

/// Whether `path` still leads to this folder. Whoever had the lock before may have removed the folder, and a third one
/// may hold the lock of the folder that is there now.
fn is_at(folder: &File, path: &Path) -> bool {
    let identity = |found: io::Result<Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
    let held = identity(folder.metadata());
    held.is_some() && held == identity(fs::metadata(path))
}

/// Whether only this user could have put something there. Everybody may make folders at the top of a BPF file system,
/// and whoever owns the folder of the pins can take them away.
fn trust(folder: &Path) -> Result<(), Error> {
    // Not followed: a link could be turned to another folder after this.
    let found = fs::symlink_metadata(folder).map_err(failed("read", folder))?;
    if found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(Error::Untrusted(folder.to_owned()))
}

/// The folders `v<number>` below `root`; none where there is no root.
fn layouts(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_layout = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect()),
    };
    let mut entries: Vec<PathBuf> = entries.map_err(failed("read", root))?;
    entries.retain(is_layout);
    Ok(entries)
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    fs::remove_dir_all(folder).map_err(failed("remove", folder))
}

/// Whether a link is pinned and its cgroup is still there.
fn is_attached(pin: &Path) -> Result<bool, Error> {
    let link = match sys::open_pin(pin) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(failed("read", pin))?,
    };
    let info = sys::link_info(link.as_fd()).map_err(failed("read", pin))?;
    Ok(info.cgroup_id != 0)
}

fn open_map(folder: &Path, name: &'static str) -> Result<Option<MapData>, Error> {
    let pin = folder.join(name);
    let fd = match sys::open_pin(&pin) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("read", &pin))?,
    };
    Ok(Some(MapData::from_fd(fd).map_err(MapFault::of(name))?))
}

fn listeners(map: MapData) -> Result<Vec<ListenerEntry>, Error> {
    let fault = MapFault::of(object::LISTENERS);
    let map: HashMap<_, u64, Listener> = Map::HashMap(map).try_into().map_err(&fault)?;
    let entries = map.iter().map(|entry| {
        let (netns_cookie, Listener { port4, port6 }) = entry.map_err(&fault)?;
        Ok(ListenerEntry { netns_cookie, port4, port6: (port6 != 0).then_some(port6) })
    });
    entries.collect()
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Pin { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_of_a_folder_that_was_replaced_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("snowfence");
        fs::create_dir(&root).unwrap();
        let held = lock(&root).unwrap();
        assert!(matches!(lock(&root), Err(Error::Locked(_))));
        fs::rename(&root, dir.path().join("away")).unwrap();
        assert!(!is_at(&held, &root), "gone");
        fs::create_dir(&root).unwrap();
        assert!(!is_at(&held, &root), "replaced");
        assert!(is_at(&lock(&root).unwrap(), &root));
    }

    #[test]
    fn a_start_that_failed_takes_back_its_own_folders_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("above/snowfence");
        Pins::open(&root).unwrap().abandon();
        assert!(!dir.path().join("above").exists());

        fs::create_dir_all(root.join("v0")).unwrap();
        let pins = Pins::open(&root).unwrap();
        fs::write(pins.path("GUARDED"), "").unwrap();
        pins.abandon();
        assert_eq!(layouts(&root).unwrap(), [root.join("v0")]);

        // Of an earlier run: not this start's to take back.
        fs::create_dir(root.join("v1")).unwrap();
        Pins::open(&root).unwrap().abandon();
        assert!(root.join("v1").exists());
    }
}
