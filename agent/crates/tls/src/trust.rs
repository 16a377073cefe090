//! What makes unmodified clients believe the agent: our root in each store that a client on this host reads, every
//! change with its way back.
//!
//! Nothing is followed that a job could have planted, a change is written down before it is made, and what an operator
//! has set is reported, never overwritten. Undoing puts every byte back, and where a file was changed by others
//! meanwhile, takes out our part and says so.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::place::PlaceError;

mod block;
mod bundles;
mod certifi;
mod journal;
mod root;
mod runner_env;
mod state;
mod system;

use bundles::Bundles;
use journal::Journal;
use root::Root;
pub use state::{StoreKind, StoreState, StoreStatus, Trouble};
pub use system::{DebianStore, SystemStore};

/// What trust is to be installed into.
#[derive(Debug, Clone)]
pub struct TrustPlan {
    /// The agent's state directory, which exists. Bundles for jobs and the undo journal go into its folder `trust`.
    pub state: PathBuf,
    /// The system's store.
    pub system: SystemStore,
    /// Environment files of runner services (GitHub's `.env`): lines `NAME=value`.
    pub runner_env_files: Vec<PathBuf>,
    /// Folders below which Python installations are looked for.
    pub certifi_roots: Vec<PathBuf>,
}

/// Why nothing could be done at all. What goes wrong with a single store is that store's [`Trouble`].
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// What should be the root's certificate is none.
    #[error("the root to install is not one PEM certificate")]
    Root,
    /// The state directory cannot be used.
    #[error("cannot use {path}: {source}; check that it can be written")]
    State {
        /// The directory or file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Two at once would undo each other's undo.
    #[error("another `snowfence trust` is at work on {0}; wait for it to end")]
    Busy(PathBuf),
    /// The journal does not read.
    #[error(
        "the undo journal {path} is damaged ({reason}); restore it from a backup, or move it away and undo by hand"
    )]
    Journal {
        /// The journal.
        path: PathBuf,
        /// Why it does not read.
        reason: String,
    },
}

/// Makes every store of the plan trust the root. Stores that do already are left alone, so it can run any number of
/// times; it also mends what an upgrade has replaced.
///
/// # Errors
/// When the state directory or the journal cannot be used, or `root_pem` is not a certificate.
pub fn install(plan: &TrustPlan, root_pem: &str) -> Result<Vec<StoreStatus>, TrustError> {
    let root = Root::parse(root_pem)?;
    let trust = TrustDir::create(&plan.state)?;
    let mut journal = Journal::load(trust.path())?;
    let mut all = vec![plan.system.install(trust.path(), &root, &mut journal)];
    let bundles = Bundles::new(trust.path());
    all.push(bundles.install(&root, plan.system.bundle()));
    for file in &plan.runner_env_files {
        all.push(runner_env::install(file, &bundles, &root, &mut journal));
    }
    let found = certifi::find(&plan.certifi_roots);
    for file in &found.files {
        all.push(certifi::install(file, &root, &mut journal));
    }
    all.extend(found.troubles);
    forget_gone(&mut journal, &found.files)?;
    Ok(all)
}

/// Says how each store of the plan stands, and each that was installed into earlier. Changes nothing.
///
/// # Errors
/// When the journal cannot be read, or `root_pem` is not a certificate.
pub fn status(plan: &TrustPlan, root_pem: &str) -> Result<Vec<StoreStatus>, TrustError> {
    let root = Root::parse(root_pem)?;
    let dir = TrustDir::path_in(&plan.state)?;
    let journal = Journal::load(&dir)?;
    let bundles = Bundles::new(&dir);
    let mut all = vec![plan.system.status(&root, &journal), bundles.status(&root, plan.system.bundle())];
    for file in with_recorded(&plan.runner_env_files, &journal, StoreKind::RunnerEnv) {
        all.push(runner_env::status(&file, &bundles, &root, &journal));
    }
    let found = certifi::find(&plan.certifi_roots);
    for file in with_recorded(&found.files, &journal, StoreKind::Certifi) {
        all.push(certifi::status(&file, &root, &journal));
    }
    all.extend(found.troubles);
    Ok(all)
}

/// Takes the root out again, also where the plan no longer mentions a store that the journal does.
///
/// # Errors
/// When the state directory or the journal cannot be used.
pub fn remove(plan: &TrustPlan) -> Result<Vec<StoreStatus>, TrustError> {
    let trust = TrustDir::create(&plan.state)?;
    let mut journal = Journal::load(trust.path())?;
    let bundles = Bundles::new(trust.path());
    let mut all = Vec::new();
    let found = certifi::find(&plan.certifi_roots);
    for file in with_recorded(&found.files, &journal, StoreKind::Certifi) {
        all.push(certifi::remove(&file, &mut journal));
    }
    all.extend(found.troubles);
    let mut names_bundles = None;
    for file in with_recorded(&plan.runner_env_files, &journal, StoreKind::RunnerEnv) {
        let removed = runner_env::remove(&file, &mut journal);
        if runner_env::is_left(&removed, &journal) {
            names_bundles = Some(file);
        }
        all.push(removed);
    }
    // A runner that is pointed at a bundle which is gone would fail at every connection.
    all.push(match names_bundles {
        Some(file) => bundles.keep(file),
        None => bundles.remove(),
    });
    all.push(plan.system.remove(trust.path(), &mut journal));
    trust.leave()?;
    all.reverse();
    Ok(all)
}

/// The files at hand and those the journal knows of, each once.
fn with_recorded(files: &[PathBuf], journal: &Journal, store: StoreKind) -> Vec<PathBuf> {
    let mut all = files.to_vec();
    all.extend(journal.paths(store).filter(|path| !files.iter().any(|file| file == path)));
    all
}

/// Entries of Python installations that were deleted have nothing left to undo.
fn forget_gone(journal: &mut Journal, found: &[PathBuf]) -> Result<(), TrustError> {
    let gone = |path: &Path| fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
    for path in journal.paths(StoreKind::Certifi).collect::<Vec<_>>() {
        if !found.contains(&path) && gone(&path) {
            journal.forget(StoreKind::Certifi, &path).map_err(|error| state_error(&path, error))?;
        }
    }
    Ok(())
}

fn state_error(path: &Path, error: PlaceError) -> TrustError {
    let source = match error {
        PlaceError::Io(source) => source,
        other => io::Error::other(other),
    };
    TrustError::State { path: path.to_owned(), source }
}

/// The folder for bundles and journal, locked while it is held.
struct TrustDir {
    path: PathBuf,
    lock: File,
}

impl TrustDir {
    /// Absolute, because it ends up in the environment of jobs.
    fn path_in(state: &Path) -> Result<PathBuf, TrustError> {
        let path = state.join("trust");
        std::path::absolute(&path).map_err(|source| TrustError::State { path, source })
    }

    /// Makes the folder in a state directory that exists. Jobs read the bundles in it, so it is open to all, whatever the
    /// mask of the operator's shell.
    fn create(state: &Path) -> Result<Self, TrustError> {
        let path = Self::path_in(state)?;
        let failed = |source| TrustError::State { path: path.clone(), source };
        match fs::create_dir(&path) {
            Ok(()) => fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let lock = File::open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock }),
            Err(TryLockError::WouldBlock) => Err(TrustError::Busy(path)),
            Err(TryLockError::Error(source)) => Err(TrustError::State { path, source }),
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder when nothing is left in it.
    fn leave(self) -> Result<(), TrustError> {
        match fs::remove_dir(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(source) => Err(TrustError::State { path: self.path.clone(), source }),
        }
    }
}

impl Drop for TrustDir {
    fn drop(&mut self) {
        // Closing the folder is not enough: a child between fork and exec still has it, and with it the lock.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the lock of the trust folder was not let go");
        }
    }
}

#[cfg(test)]
mod tests;
