//! What was found out about the process behind a connection: facts, and the claim of the job it belongs to.

use std::{os::fd::OwnedFd, path::PathBuf, sync::OnceLock};

use identity::NobodyReason;
use model::{Ancestor, ProcessFacts, SocketOwner, Standing};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{
    ancestry, cgroup,
    clocks::Clocks,
    container,
    container_image::EngineState,
    environment::Environment,
    github::{self, Claim, RequestHost},
    process::{Process, ProcessKey, Stat},
    redact,
    workers::{self, Lookup, Workers},
};

/// The process behind a connection, and the job it belongs to if it does. Made only by looking at the process.
#[derive(Debug)]
pub struct Evidence {
    facts: ProcessFacts,
    /// The file that the process ran, until its digest is known.
    exe: Option<OwnedFd>,
    found: Result<Found, NobodyReason>,
}

/// A step of a job and what it said about itself.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) job: JobKey,
    /// What the step says; or why that counts for nothing, and what is known of the job has to do.
    pub(crate) claim: Result<Claim, NobodyReason>,
}

/// One step of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct JobKey {
    pub(crate) worker: ProcessKey,
    pub(crate) step: ProcessKey,
}

impl Evidence {
    /// The process. What could not be read is empty.
    #[must_use]
    pub fn process(&self) -> &ProcessFacts {
        &self.facts
    }

    /// The pid of the CI worker among its ancestors.
    #[must_use]
    pub fn worker(&self) -> Option<u32> {
        self.found.as_ref().ok().map(|found| found.job.worker.pid)
    }

    /// The pid of the process that the worker started: the step of the job.
    #[must_use]
    pub fn step(&self) -> Option<u32> {
        self.found.as_ref().ok().map(|found| found.job.step.pid)
    }

    /// Whether the step can ask its provider for a token.
    #[must_use]
    pub fn can_ask_for_token(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| matches!(found.claim, Ok(Claim::Token(_))))
    }

    pub(crate) fn found(&self) -> Result<&Found, &NobodyReason> {
        self.found.as_ref()
    }

    /// Evidence as a test wants it.
    #[cfg(test)]
    pub(crate) fn from_claim(facts: ProcessFacts, found: Result<Found, NobodyReason>) -> Self {
        Self { facts, exe: None, found }
    }

    /// Nothing could be found out.
    pub(crate) fn none(owner: &SocketOwner, reason: NobodyReason) -> Self {
        Self { facts: only_owner(owner), exe: None, found: Err(reason) }
    }

    /// The file that the process ran, to be given a digest.
    pub(crate) fn take_exe(&mut self) -> Option<OwnedFd> {
        self.exe.take()
    }

    /// With the digest of that file.
    pub(crate) fn with_exe_sha256(mut self, digest: Option<[u8; 32]>) -> Self {
        self.facts.exe_sha256 = digest;
        self
    }
}

/// Where to look, and for what.
pub(crate) struct Scene {
    /// `/proc`.
    pub(crate) proc_root: PathBuf,
    /// Where container engines keep what they know.
    pub(crate) engines: EngineState,
    /// What makes a CI worker.
    pub(crate) workers: Workers,
    /// Where processes stand now, from who follows them; unset until there is one.
    pub(crate) lookup: OnceLock<Box<Lookup>>,
    /// Where a step may ask for its token.
    pub(crate) hosts: Vec<RequestHost>,
}

/// Looks at the process that opened a connection. Blocks: reading a process's memory can hang when it wants it to.
///
/// Whose it is was written down by the kernel when it connected, so that it may be gone by now. What is read of it is
/// for the record: a descriptor of its `/proc` folder belongs to one process for ever, and its start time says whether it
/// is the one that connected.
pub(crate) fn look(scene: &Scene, owner: &SocketOwner) -> Evidence {
    let pid = i32::try_from(owner.pid).ok().and_then(Pid::from_raw);
    let descriptor = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut evidence = read(scene, owner, &Clocks::now());
    // A pid descriptor becomes readable when its process ends (pidfd_open(2)).
    let is_there = descriptor.is_some_and(|descriptor| {
        let mut waiting = [PollFd::new(&descriptor, PollFlags::IN)];
        poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
    });
    evidence.facts.gone |= !is_there;
    evidence
}

/// The part of [`look`] that needs no running process.
fn read(scene: &Scene, owner: &SocketOwner, clocks: &Clocks) -> Evidence {
    let held = Process::open(&scene.proc_root, owner.pid).and_then(|process| {
        let stat = process.stat()?;
        Ok((process, stat))
    });
    // Another process has inherited the pid, and nothing else.
    let is_it = |stat: &Stat| match owner.start_ticks {
        Some(start_ticks) => stat.start_ticks == start_ticks,
        None => !clocks.started_after(stat.start_ticks, owner.connected_at_ns),
    };
    let (mut facts, mut exe) = (only_owner(owner), None);
    match held {
        Ok((process, stat)) if is_it(&stat) => exe = describe(scene, &mut facts, process, stat),
        _ => facts.gone = true,
    }
    let found = find(scene, owner, clocks).map_err(|reason| match (reason, &facts.container) {
        (NobodyReason::NoJob, Some(container)) => NobodyReason::ContainerOfNoJob(container.to_string()),
        (NobodyReason::NotFollowed, _) if facts.gone => NobodyReason::ProcessGone,
        (reason, _) => reason,
    });
    Evidence { facts, exe, found }
}

/// What `/proc` says of the process. Answers the file that it runs.
fn describe(scene: &Scene, facts: &mut ProcessFacts, process: Process, stat: Stat) -> Option<OwnedFd> {
    facts.start_ticks = stat.start_ticks;
    if let Ok(cmdline) = process.cmdline() {
        facts.argv = redact::arguments(cmdline.expose());
    }
    if let Ok(lines) = process.cgroup() {
        facts.cgroup = cgroup::path(&lines);
        facts.unit = cgroup::unit(&facts.cgroup);
        let named = cgroup::paths(&lines).iter().find_map(|path| container::named(path));
        facts.container = named.map(|named| scene.engines.describe(named));
    }
    facts.namespaces = process.namespaces();
    let exe = process.exe();
    let mut links = ancestry::chain(&scene.proc_root, process, stat).into_iter();
    let itself = links.next();
    facts.exe = itself.as_ref().and_then(|link| link.exe.clone());
    facts.ancestors = links.map(|link| Ancestor { pid: link.process.pid(), exe: link.exe }).collect();
    // It ended while it was looked at.
    facts.gone |= itself.is_none_or(|link| link.process.stat().is_err());
    exe
}

/// Finds the job and its claim.
fn find(scene: &Scene, owner: &SocketOwner, clocks: &Clocks) -> Result<Found, NobodyReason> {
    let (worker, step) = match owner.standing {
        Standing::Member { worker, step } => (worker, step),
        Standing::Unknown => return Err(NobodyReason::NotFollowed),
        Standing::Outside => return Err(NobodyReason::NoJob),
        Standing::Worker(_) => return Err(NobodyReason::WorkerItself),
        Standing::LeftOver { worker, ended_at_ns } => {
            let ended =
                ended_at_ns.map_or_else(|| "long ago".to_owned(), |at| format!("at {}", clocks.date(at)));
            return Err(NobodyReason::LeftOver(format!(
                "its worker was process {worker}, and ended {ended}"
            )));
        }
    };
    scene.workers.check(&scene.proc_root, worker, step)?;
    let spokesman = workers::step(&scene.proc_root, worker, step, scene.lookup.get().map(|lookup| &**lookup));
    let claim = match spokesman {
        Ok(link) => {
            let environment = Environment::parse(&link.process.environ()?)?;
            // It was this process's, all the while.
            link.process.stat()?;
            github::claim(&environment, &scene.hosts).map(Ok)?
        }
        Err(NobodyReason::StepGone) => Err(NobodyReason::StepGone),
        Err(reason) => return Err(reason),
    };
    Ok(Found { job: JobKey { worker, step }, claim })
}

/// What the kernel said at the connect, before anything was read.
fn only_owner(owner: &SocketOwner) -> ProcessFacts {
    ProcessFacts {
        pid: owner.pid,
        start_ticks: owner.start_ticks.unwrap_or(0),
        uid: owner.uid,
        gone: false,
        standing: owner.standing,
        exe: None,
        exe_sha256: None,
        argv: Vec::new(),
        ancestors: Vec::new(),
        cgroup: String::new(),
        unit: None,
        namespaces: None,
        container: None,
    }
}

#[cfg(test)]
mod tests;
