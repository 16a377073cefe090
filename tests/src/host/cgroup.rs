//! The lab's subtree of the cgroup2 hierarchy.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const KILL_WAIT: Duration = Duration::from_secs(10);
const KILL_POLL: Duration = Duration::from_millis(5);

/// Where cgroup2 is mounted; on hybrid hosts that is not `/sys/fs/cgroup`.
pub(super) fn mount_point() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    mount_point_in(&mounts)
        .context("no cgroup2 hierarchy is mounted; try `mount -t cgroup2 none /sys/fs/cgroup`")
}

fn mount_point_in(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (root == "/" && filesystem.split(' ').next() == Some("cgroup2")).then(|| PathBuf::from(point))
    })
}

/// Moves the calling process.
pub(super) fn join(cgroup: &Path) -> Result<()> {
    let procs = cgroup.join("cgroup.procs");
    fs::write(&procs, "0").with_context(|| format!("cannot enter the cgroup {}", cgroup.display()))
}

/// The cgroup of the calling process, as a path under the mount point.
pub(super) fn own() -> Result<PathBuf> {
    let lines = fs::read_to_string("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
    let path = lines.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    Ok(mount_point()?.join(path))
}

/// Kills every process in `cgroup` and below, and waits until they are gone. Nothing there is no error.
pub(super) fn kill(cgroup: &Path) -> Result<()> {
    match fs::write(cgroup.join("cgroup.kill"), "1") {
        Err(error) if error.kind() == ErrorKind::NotFound && !cgroup.exists() => return Ok(()),
        done => done.with_context(|| format!("cannot kill what runs in {}", cgroup.display()))?,
    }
    let start = Instant::now();
    loop {
        let events = fs::read_to_string(cgroup.join("cgroup.events")).unwrap_or_default();
        if !events.lines().any(|line| line == "populated 1") {
            return Ok(());
        }
        if start.elapsed() > KILL_WAIT {
            bail!("processes in {} do not die", cgroup.display());
        }
        sleep(KILL_POLL);
    }
}

/// Kills every process below `cgroup`, but for those in `spared` and below.
pub(super) fn kill_beside(cgroup: &Path, spared: &Path) -> Result<()> {
    if !spared.starts_with(cgroup) {
        return kill(cgroup);
    }
    if cgroup == spared {
        return Ok(());
    }
    let entries = match fs::read_dir(cgroup) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot list {}", cgroup.display()))?,
    };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).try_for_each(|folder| kill_beside(&folder, spared))
}

/// Removes `cgroup` with all below it, which must be without processes. Nothing there is no error.
pub(super) fn remove(cgroup: &Path) -> Result<()> {
    let entries = match fs::read_dir(cgroup) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot list {}", cgroup.display()))?,
    };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove(&entry.path())?;
    }
    let start = Instant::now();
    loop {
        match fs::remove_dir(cgroup) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // A process that just ended still counts for a moment.
            Err(error) if error.kind() == ErrorKind::ResourceBusy && start.elapsed() < KILL_WAIT => {
                sleep(KILL_POLL)
            }
            Err(error) => return Err(error).with_context(|| format!("cannot remove {}", cgroup.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_point_is_found_by_filesystem_type_and_root() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      38 31 0:31 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point_in(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let inside_a_container = "38 31 0:31 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point_in(inside_a_container), None);
        assert_eq!(mount_point_in("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), None);
        assert_eq!(mount_point_in(""), None);
    }
}
