//! The cgroup that this test process lives in while there are worlds, so that it is neither in the root cgroup nor in
//! one that programs are attached to.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::Duration,
};

static HOME: Mutex<Weak<Home>> = Mutex::new(Weak::new());

/// Left, and removed, when the last world is gone.
pub(crate) struct Home {
    folder: PathBuf,
    before: PathBuf,
}

impl Home {
    pub(crate) fn enter() -> Arc<Self> {
        let mut shared = HOME.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(home) = shared.upgrade() {
            return home;
        }
        let home = Arc::new(Self::make());
        *shared = Arc::downgrade(&home);
        home
    }

    fn make() -> Self {
        let root = root();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
        let home =
            Self { folder: root.join(format!("snowfence-test-{}", process::id())), before: root.join(own) };
        // Home may be entered again before the last one is quite gone.
        fs::create_dir_all(home.folder.join("agent")).unwrap();
        move_to(&home.folder.join("agent")).unwrap();
        home
    }

    /// Cgroups of worlds go here.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _one_at_a_time = HOME.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = move_to(&self.before) {
            eprintln!("cannot go back to {}: {error}", self.before.display());
        }
        remove_cgroup(&self.folder.join("agent"));
        remove_cgroup(&self.folder);
    }
}

fn move_to(cgroup: &Path) -> std::io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), process::id().to_string())
}

/// The root of the cgroup hierarchy.
pub(crate) fn root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let found = mounts.lines().filter(|line| line.contains(" - cgroup2 ")).find_map(|line| {
        let path = PathBuf::from(line.split(' ').nth(4)?);
        (fs::metadata(&path).ok()?.ino() == 1).then_some(path)
    });
    found.expect("no cgroup2 hierarchy is mounted here")
}

/// Removes an empty cgroup. A process that was killed may take a moment to leave it.
pub(crate) fn remove_cgroup(folder: &Path) {
    for _ in 0..50 {
        match fs::remove_dir(folder) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
    eprintln!("cannot remove the cgroup {}", folder.display());
}
