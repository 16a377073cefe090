//! A process with its parents, and where among them a CI worker is.

use std::path::{Path, PathBuf};

use identity::NobodyReason;

use crate::process::{Exe, FileId, ProcError, Process, ProcessKey, Stat};

/// Parents that are followed. A longer chain is refused and not cut off: the worker could be in the rest, and what
/// looks like one in the part that was read could be the job's own doing.
const ANCESTORS_MAX: usize = 256;
/// How often a parent that ends while it is looked at is looked for again: its children get another one.
const ATTEMPTS_MAX: usize = 4;

/// One process of the chain.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) process: Process,
    pub(crate) start_ticks: u64,
    pub(crate) exe: Option<Exe>,
}

impl Link {
    pub(crate) fn key(&self) -> ProcessKey {
        ProcessKey { pid: self.process.pid(), start_ticks: self.start_ticks }
    }

    fn new(process: Process, stat: Stat) -> Self {
        let exe = process.exe();
        Self { process, start_ticks: stat.start_ticks, exe }
    }
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

/// The process and its ancestors, parent first, up to pid 1.
pub(crate) fn chain(proc_root: &Path, process: Process, stat: Stat) -> Result<Vec<Link>, NobodyReason> {
    let mut links = vec![Link::new(process, stat)];
    let mut parent = stat.parent;
    // Pid 0 stands for the kernel, and for a parent outside of the pid namespace that is looked at.
    while parent != 0 {
        if links.len() > ANCESTORS_MAX {
            return Err(NobodyReason::TooManyAncestors);
        }
        let Some(child) = links.last() else { break };
        let Some((process, stat)) = parent_of(proc_root, child, parent)? else { break };
        links.push(Link::new(process, stat));
        parent = stat.parent;
    }
    Ok(links)
}

/// Takes hold of a process's parent. The child is asked again afterwards: if it still has that parent, the pid was
/// the parent's all the while.
fn parent_of(proc_root: &Path, child: &Link, mut pid: u32) -> Result<Option<(Process, Stat)>, NobodyReason> {
    for _ in 0..ATTEMPTS_MAX {
        let opened =
            Process::open(proc_root, pid).and_then(|process| process.stat().map(|stat| (process, stat)));
        let again = child.process.stat()?;
        match opened {
            Ok((process, stat)) if again.parent == pid => {
                // A parent is older than its child; anything else is not understood and not believed.
                return if stat.start_ticks <= child.start_ticks {
                    Ok(Some((process, stat)))
                } else {
                    Err(NobodyReason::Unreadable)
                };
            }
            Err(error) if error != ProcError::Gone => return Err(error.into()),
            _ if again.parent == 0 => return Ok(None),
            _ => pid = again.parent,
        }
    }
    Err(NobodyReason::ProcessGone)
}

/// Where in a chain a worker is found, and the step below it.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) worker: &'a Link,
    pub(crate) step: &'a Link,
}

/// Finds the worker: a process that runs one of the configured files. The outermost one counts, because a job can
/// start a worker's file itself, but never above itself.
pub(crate) fn worker<'a>(links: &'a [Link], workers: &[PathBuf]) -> Result<Place<'a>, NobodyReason> {
    let files = workers.iter().filter_map(|path| WorkerFile::at(path)).collect::<Vec<_>>();
    let runs_worker =
        |link: &Link| link.exe.as_ref().is_some_and(|exe| files.iter().any(|file| file.is(exe)));
    let mut below = None;
    let mut found = None;
    for link in links {
        if runs_worker(link) {
            found = Some((link, below));
        }
        below = Some(link);
    }
    match found {
        None => Err(NobodyReason::NoJob),
        Some((_, None)) => Err(NobodyReason::WorkerItself),
        Some((worker, Some(step))) => Ok(Place { worker, step }),
    }
}

/// A configured worker as it is on disk now. Both its path and the file behind it must fit: in a mount namespace
/// of its own a job can put any file at any path, and by a hard link it can give any path to the file.
struct WorkerFile {
    path: PathBuf,
    file: FileId,
}

impl WorkerFile {
    fn at(configured: &Path) -> Option<Self> {
        let path = configured.canonicalize().ok()?;
        let file = FileId::of(&path)?;
        Some(Self { path, file })
    }

    fn is(&self, exe: &Exe) -> bool {
        exe.path == self.path && exe.file == Some(self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_proc::FakeProc;

    fn chain_of(fake: &FakeProc, pid: u32) -> Result<Vec<Link>, NobodyReason> {
        let process = Process::open(fake.root(), pid).unwrap();
        let stat = process.stat().unwrap();
        chain(fake.root(), process, stat)
    }

    fn pids(links: &[Link]) -> Vec<u32> {
        links.iter().map(|link| link.process.pid()).collect()
    }

    #[test]
    fn a_chain_leads_to_the_first_process() {
        let fake = FakeProc::new();
        fake.process(1, 0, 1);
        fake.process(20, 1, 50);
        fake.process(30, 20, 50);
        assert_eq!(pids(&chain_of(&fake, 30).unwrap()), [30, 20, 1]);
        assert_eq!(pids(&chain_of(&fake, 1).unwrap()), [1]);
    }

    #[test]
    fn a_chain_that_makes_no_sense_is_refused() {
        let fake = FakeProc::new();
        fake.process(30, 20, 50);
        assert_eq!(chain_of(&fake, 30).unwrap_err(), NobodyReason::ProcessGone, "the parent is not there");
        fake.process(20, 1, 51);
        assert_eq!(chain_of(&fake, 30).unwrap_err(), NobodyReason::Unreadable, "the parent is younger");
        fake.process(20, 30, 50);
        assert_eq!(chain_of(&fake, 30).unwrap_err(), NobodyReason::TooManyAncestors, "a circle");
    }

    #[test]
    fn a_chain_that_is_too_long_is_not_cut_off() {
        let fake = FakeProc::new();
        let depth = u32::try_from(ANCESTORS_MAX).unwrap() + 1;
        for pid in 1..=depth {
            fake.process(pid, pid - 1, 5);
        }
        assert_eq!(chain_of(&fake, depth).unwrap().len(), ANCESTORS_MAX + 1);
        fake.process(depth + 1, depth, 5);
        assert_eq!(chain_of(&fake, depth + 1).unwrap_err(), NobodyReason::TooManyAncestors);
    }

    /// Pid 1, listener 10, worker 20, step 30, its child 40; files in a folder of their own.
    struct Runner {
        fake: FakeProc,
        files: tempfile::TempDir,
    }

    impl Runner {
        fn new() -> Self {
            let runner = Self { fake: FakeProc::new(), files: tempfile::tempdir().unwrap() };
            for name in ["systemd", "Runner.Listener", "Runner.Worker", "bash", "python3"] {
                std::fs::write(runner.file(name), name).unwrap();
            }
            for (pid, parent, exe) in [
                (1, 0, "systemd"),
                (10, 1, "Runner.Listener"),
                (20, 10, "Runner.Worker"),
                (30, 20, "bash"),
                (40, 30, "python3"),
            ] {
                runner.fake.process(pid, parent, u64::from(pid)).exe(&runner.file(exe));
            }
            runner
        }

        fn file(&self, name: &str) -> PathBuf {
            self.files.path().canonicalize().unwrap().join(name)
        }

        /// Pids of worker and step.
        fn place(&self, pid: u32, workers: &[PathBuf]) -> Result<(u32, u32), NobodyReason> {
            let links = chain_of(&self.fake, pid)?;
            worker(&links, workers).map(|place| (place.worker.process.pid(), place.step.process.pid()))
        }
    }

    #[test]
    fn the_step_is_what_the_worker_started() {
        let runner = Runner::new();
        let workers = [runner.file("absent"), runner.file("Runner.Worker")];
        assert_eq!(runner.place(40, &workers), Ok((20, 30)));
        assert_eq!(runner.place(30, &workers), Ok((20, 30)));
        assert_eq!(runner.place(20, &workers), Err(NobodyReason::WorkerItself));
        assert_eq!(runner.place(10, &workers), Err(NobodyReason::NoJob));
        assert_eq!(runner.place(40, &[]), Err(NobodyReason::NoJob));
        assert_eq!(runner.place(40, &[runner.file("absent")]), Err(NobodyReason::NoJob));
    }

    #[test]
    fn a_worker_that_a_job_started_is_not_believed() {
        let runner = Runner::new();
        let workers = [runner.file("Runner.Worker")];
        runner.fake.process(50, 40, 50).exe(&runner.file("Runner.Worker"));
        runner.fake.process(60, 50, 60).exe(&runner.file("python3"));
        assert_eq!(runner.place(60, &workers), Ok((20, 30)));
        assert_eq!(runner.place(50, &workers), Ok((20, 30)));
    }

    #[test]
    fn a_worker_is_known_by_path_and_file_together() {
        let runner = Runner::new();
        let configured = runner.file("bin");
        std::os::unix::fs::symlink(runner.file("Runner.Worker"), &configured).unwrap();
        assert_eq!(runner.place(40, std::slice::from_ref(&configured)), Ok((20, 30)), "through a link");

        // The path is the same, and the file another one: replaced since, or another mount namespace.
        let links = chain_of(&runner.fake, 40).unwrap();
        std::fs::rename(runner.file("bash"), runner.file("Runner.Worker")).unwrap();
        assert_eq!(worker(&links, &[configured]).unwrap_err(), NobodyReason::NoJob);

        // The file is the same, and the path another one.
        let runner = Runner::new();
        std::fs::hard_link(runner.file("python3"), runner.file("other")).unwrap();
        assert_eq!(runner.place(40, &[runner.file("other")]), Err(NobodyReason::NoJob));
    }
}
