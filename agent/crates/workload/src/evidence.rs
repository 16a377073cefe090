//! What was found out about the process behind a connection: facts, and the claim of the job it belongs to.

use std::path::PathBuf;

use identity::NobodyReason;
use model::{Ancestor, ProcessFacts, SocketOwner};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
    time::{ClockId, clock_gettime},
};

use crate::{
    ancestry::{self, Link},
    cgroup, container,
    container_image::EngineState,
    environment::Environment,
    github::{self, Claim, RequestHost},
    process::{Process, ProcessKey, Stat},
    redact,
};

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// The process behind a connection, and the job it belongs to if it does. Made only by looking at the process.
#[derive(Debug)]
pub struct Evidence {
    facts: ProcessFacts,
    found: Result<Found, NobodyReason>,
}

/// A step of a job and what it said about itself.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) job: JobKey,
    pub(crate) claim: Claim,
}

/// One step of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct JobKey {
    pub(crate) worker: ProcessKey,
    pub(crate) step: ProcessKey,
}

impl Evidence {
    /// The process. What could not be read is empty, and a process that was gone has 0 as its start time.
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
        self.found.as_ref().is_ok_and(|found| matches!(found.claim, Claim::Token(_)))
    }

    pub(crate) fn found(&self) -> Result<&Found, &NobodyReason> {
        self.found.as_ref()
    }

    /// Evidence as a test wants it.
    #[cfg(test)]
    pub(crate) fn from_claim(facts: ProcessFacts, found: Result<Found, NobodyReason>) -> Self {
        Self { facts, found }
    }

    /// Nothing could be found out.
    pub(crate) fn none(owner: &SocketOwner, reason: NobodyReason) -> Self {
        Self { facts: only_owner(owner), found: Err(reason) }
    }
}

/// Where to look, and for what.
#[derive(Debug)]
pub(crate) struct Scene {
    /// `/proc`.
    pub(crate) proc_root: PathBuf,
    /// Where container engines keep what they know.
    pub(crate) engines: EngineState,
    /// Executables of CI workers.
    pub(crate) workers: Vec<PathBuf>,
    /// Where a step may ask for its token.
    pub(crate) hosts: Vec<RequestHost>,
}

/// Looks at the process that opened a connection. Blocks: reading a process's memory can hang when it wants it to.
///
/// A pid alone can lie, since it is given to another process after the first one's end. A pid descriptor taken
/// before everything and asked after everything says that one process had the pid all the while, and its start time
/// says that it is old enough to have opened the connection.
pub(crate) fn look(scene: &Scene, owner: &SocketOwner) -> Evidence {
    let pid = i32::try_from(owner.pid).ok().and_then(Pid::from_raw);
    let Some(descriptor) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return Evidence::none(owner, NobodyReason::ProcessGone);
    };
    let mut evidence = read(scene, owner, &Clocks::now());
    // A pid descriptor becomes readable when its process ends (pidfd_open(2)).
    let mut waiting = [PollFd::new(&descriptor, PollFlags::IN)];
    if poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0) {
        evidence.found = Err(NobodyReason::ProcessGone);
    }
    evidence
}

/// The part of [`look`] that needs no running process.
fn read(scene: &Scene, owner: &SocketOwner, clocks: &Clocks) -> Evidence {
    let opened = Process::open(&scene.proc_root, owner.pid).and_then(|process| {
        let stat = process.stat()?;
        Ok((process, stat))
    });
    match opened {
        Err(error) => Evidence::none(owner, error.into()),
        // Started after the connection was opened: it has inherited the pid and nothing else.
        Ok((_, stat)) if clocks.started_after(stat.start_ticks, owner.connected_at_ns) => {
            Evidence::none(owner, NobodyReason::ProcessGone)
        }
        Ok((process, stat)) => read_held(scene, owner, process, stat),
    }
}

fn read_held(scene: &Scene, owner: &SocketOwner, process: Process, stat: Stat) -> Evidence {
    let mut facts = ProcessFacts { start_ticks: stat.start_ticks, ..only_owner(owner) };
    if let Ok(cmdline) = process.cmdline() {
        facts.argv = redact::arguments(cmdline.expose());
    }
    if let Ok(lines) = process.cgroup() {
        facts.cgroup = cgroup::path(&lines);
        facts.unit = cgroup::unit(&facts.cgroup);
        let named = cgroup::paths(&lines).iter().find_map(|path| container::named(path));
        facts.container = named.map(|named| scene.engines.describe(named));
    }
    facts.exe = process.exe().map(|exe| exe.path);
    let found = ancestry::chain(&scene.proc_root, process, stat).and_then(|links| {
        let path = |link: &Link| link.exe.as_ref().map(|exe| exe.path.clone());
        let parents = links.iter().skip(1);
        facts.ancestors = parents.map(|link| Ancestor { pid: link.process.pid(), exe: path(link) }).collect();
        find(scene, &links)
    });
    let found = found.map_err(|reason| match (reason, &facts.container) {
        (NobodyReason::NoJob, Some(container)) => NobodyReason::ContainerOfNoJob(container.to_string()),
        (reason, _) => reason,
    });
    Evidence { facts, found }
}

/// Finds the job and its claim, and makes sure that the process is still the one it was.
fn find(scene: &Scene, links: &[Link]) -> Result<Found, NobodyReason> {
    let place = ancestry::worker(links, &scene.workers)?;
    let environment = Environment::parse(&place.step.process.environ()?)?;
    let claim = github::claim(&environment, &scene.hosts)?;
    for link in [links.first(), Some(place.step), Some(place.worker)].into_iter().flatten() {
        if link.process.stat()?.start_ticks != link.start_ticks {
            return Err(NobodyReason::ProcessGone);
        }
    }
    Ok(Found { job: JobKey { worker: place.worker.key(), step: place.step.key() }, claim })
}

/// What the kernel said at the connect, before anything was read.
fn only_owner(owner: &SocketOwner) -> ProcessFacts {
    ProcessFacts {
        pid: owner.pid,
        start_ticks: 0,
        uid: owner.uid,
        exe: None,
        argv: Vec::new(),
        ancestors: Vec::new(),
        cgroup: String::new(),
        unit: None,
        container: None,
    }
}

/// Two clocks of the kernel: connections are dated with one that stands still while the machine is suspended, and
/// processes with one that does not.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    suspended_ns: u64,
    ticks_per_second: u64,
}

impl Clocks {
    fn now() -> Self {
        let nanoseconds = |clock| {
            let time = clock_gettime(clock);
            let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
            seconds
                .saturating_mul(NANOSECONDS_PER_SECOND)
                .saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
        };
        // Read in this order, the difference is never too small.
        let monotonic = nanoseconds(ClockId::Monotonic);
        let boot = nanoseconds(ClockId::Boottime);
        Self {
            suspended_ns: boot.saturating_sub(monotonic),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
        }
    }

    /// Whether a process began after a connection was opened. Start times are rounded down to whole ticks.
    fn started_after(&self, start_ticks: u64, connected_at_ns: u64) -> bool {
        let start_ns =
            u128::from(start_ticks) * u128::from(NANOSECONDS_PER_SECOND) / u128::from(self.ticks_per_second);
        start_ns > u128::from(connected_at_ns) + u128::from(self.suspended_ns)
    }
}

#[cfg(test)]
mod tests;
