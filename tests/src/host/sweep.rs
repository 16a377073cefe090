//! Clearing away what a lab that was killed has left.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cgroup;
use super::site::{CGROUP, FOLDER_PARENT, FOLDER_PREFIX, MARKER};

/// Ends every process of any lab, and removes its cgroups and folders. The caller holds the lock (or knows that
/// nobody does), so no lab that is in use can be meant. Network namespaces, mounts and pins end with the processes.
pub(super) fn all() -> Result<()> {
    let root = cgroup::mount_point()?.join(CGROUP);
    cgroup::kill(&root)?;
    cgroup::remove(&root)?;
    for entry in
        fs::read_dir(FOLDER_PARENT).with_context(|| format!("cannot list {FOLDER_PARENT}"))?.flatten()
    {
        if entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX) && is_lab(&entry.path()) {
            folder(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the folder of a lab that has ended.
pub(super) fn folder(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// Whether a folder was made by a lab: a real folder, not a link, with our marker in it.
fn is_lab(folder: &Path) -> bool {
    folder.symlink_metadata().is_ok_and(|found| found.is_dir())
        && folder.join(MARKER).symlink_metadata().is_ok_and(|found| found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_folders_are_taken_for_labs() {
        let parent = tempfile::tempdir().unwrap();
        let lab = parent.path().join("lab");
        fs::create_dir(&lab).unwrap();
        assert!(!is_lab(&lab));
        fs::write(lab.join(MARKER), "").unwrap();
        assert!(is_lab(&lab));
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&lab, &link).unwrap();
        assert!(!is_lab(&link));
        assert!(!is_lab(&parent.path().join("missing")));
    }
}
