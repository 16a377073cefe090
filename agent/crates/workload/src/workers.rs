//! Whether a worker is one, and which of its steps speaks for its job.
//!
//! The kernel follows every process that runs a worker's file. Whether that is the file at the configured path, and in a
//! unit of a runner's, is looked at here, once per job: whoever else runs the file begins no job.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use identity::NobodyReason;
use model::{ProcessId, Standing};

use crate::{
    ancestry::{self, Link},
    cgroup,
    process::{FileState, ProcError, Process},
};

/// Jobs that are known to be jobs. A host runs some dozens at a time.
const REMEMBERED_MAX: usize = 4096;

/// What makes a worker.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// Executables of workers.
    pub(crate) exes: Vec<PathBuf>,
    /// Executables of runners, each of whose children is a worker.
    pub(crate) runners: Vec<PathBuf>,
    /// Patterns of systemd units in which they run.
    pub(crate) units: Vec<String>,
    known: Mutex<BTreeSet<ProcessId>>,
}

impl Workers {
    pub(crate) fn new(exes: Vec<PathBuf>, runners: Vec<PathBuf>, units: Vec<String>) -> Self {
        Self { exes, runners, units, known: Mutex::default() }
    }

    /// Makes sure that what the kernel took for the worker of a running job is one.
    pub(crate) fn check(
        &self,
        proc_root: &Path,
        worker: ProcessId,
        step: ProcessId,
    ) -> Result<(), NobodyReason> {
        if self.known().contains(&worker) {
            return Ok(());
        }
        let link = hold(proc_root, worker).ok_or(NobodyReason::JobEnded)?;
        // What a runner started is its own only step.
        if worker == step {
            let parent = link.process.stat()?.parent;
            let runner = ancestry::parent_of(proc_root, &link, parent).ok_or(NobodyReason::JobEnded)?;
            let runner = Link::new(runner.0, runner.1);
            runs_one_of(&runner, &self.runners)?;
            self.check_unit(&runner)?;
        } else {
            runs_one_of(&link, &self.exes)?;
        }
        self.check_unit(&link)?;
        // It was this process that was looked at, all the while.
        link.process.stat()?;
        let mut known = self.known();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(worker);
        Ok(())
    }

    fn check_unit(&self, link: &Link) -> Result<(), NobodyReason> {
        let path = cgroup::path(&link.process.cgroup()?);
        let unit = cgroup::unit(&path);
        if unit.as_ref().is_some_and(|unit| self.units.iter().any(|pattern| matches(pattern, unit))) {
            return Ok(());
        }
        // Where there are no units, only who allows every one allows that.
        if unit.is_none() && self.units.iter().any(|pattern| pattern == "*") {
            return Ok(());
        }
        Err(NobodyReason::ForeignWorker(unit.unwrap_or(path)))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<ProcessId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the kernel's map where the process with a pid stands now.
pub(crate) type Lookup = dyn Fn(u32) -> Option<(ProcessId, Standing)> + Send + Sync;

/// The step that speaks for the job: the one that the process comes from, or another one that runs. Only what the worker
/// itself started is a step, which the kernel knows: who has the worker for a parent may be a job's own doing.
pub(crate) fn step(
    proc_root: &Path,
    worker: ProcessId,
    step: ProcessId,
    lookup: Option<&Lookup>,
) -> Result<Link, NobodyReason> {
    if let Some(link) = hold(proc_root, step) {
        return Ok(link);
    }
    let worker_itself = hold(proc_root, worker).ok_or(NobodyReason::JobEnded)?;
    let others = worker_itself.process.children().into_iter().filter_map(|child| {
        let (id, standing) = lookup?(child)?;
        (standing == Standing::Member { worker, step: id }).then_some(id)
    });
    let mut held = others.filter_map(|id| hold(proc_root, id));
    held.next().ok_or(NobodyReason::StepGone)
}

/// Takes hold of a process, if it is still there.
fn hold(proc_root: &Path, id: ProcessId) -> Option<Link> {
    let process = Process::open(proc_root, id.pid).ok()?;
    let stat = process.stat().ok().filter(|stat| stat.start_ticks == id.start_ticks)?;
    Some(Link::new(process, stat))
}

/// Both the path and the file behind it must fit: in a mount namespace of its own anybody can put any file at any path,
/// and by a hard link give any path to the file.
fn runs_one_of(link: &Link, configured: &[PathBuf]) -> Result<(), NobodyReason> {
    let exe = link.process.exe().and_then(FileState::of).ok_or(NobodyReason::Unreadable)?;
    let runs = |path: &PathBuf| {
        let path = path.canonicalize().ok()?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).ok()?;
        let is_it = link.exe.as_ref() == Some(&path) && FileState::of(file)?.is_same_file(&exe);
        is_it.then_some(())
    };
    configured.iter().find_map(runs).ok_or(NobodyReason::NoJob)
}

impl From<ProcError> for NobodyReason {
    fn from(error: ProcError) -> Self {
        match error {
            ProcError::Gone => Self::ProcessGone,
            ProcError::Unreadable => Self::Unreadable,
            ProcError::TooLarge => Self::EnvironmentTooLarge,
        }
    }
}

/// Whether a unit fits a pattern, in which each `*` stands for any text.
fn matches(pattern: &str, unit: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == unit };
    let Some(rest) = unit.strip_prefix(before) else { return false };
    (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|rest| matches(after, rest))
}

#[cfg(test)]
mod tests;
