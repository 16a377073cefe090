//! What was found out about the process behind a connection: facts, and the claim of the job it belongs to.

use std::{
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use identity::{Agent, AgentTable, NobodyReason, Principal};
use model::{Ancestor, Container, ProcessFacts, SocketOwner, Standing};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{
    agents,
    ancestry::{self, Link},
    bindings::Unit,
    cgroup,
    clocks::Clocks,
    container,
    container_image::EngineState,
    environment::Environment,
    process::{Process, ProcessKey, Stat},
    providers::{self, Claim, Issuer, Sources},
    redact,
    remembered::{Marks, Seen},
    workers::{self, Lookup, Workers},
};

/// The process behind a connection, and the job it belongs to if it does. Made only by looking at the process.
#[derive(Debug)]
pub struct Evidence {
    facts: ProcessFacts,
    /// The file that the process ran, until its digest is known.
    exe: Option<OwnedFd>,
    /// The AI agent that was seen at work now.
    agent: Option<Agent>,
    found: Result<Arc<Found>, NobodyReason>,
    /// By what it is told that all of this is still so; none where it is looked at anew each time.
    marks: Option<Marks>,
    /// Whom the claim led to when the same was seen before.
    principal: Option<Arc<Principal>>,
}

/// A step of a job and what it said about itself.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) job: JobKey,
    /// What its tokens are bound to.
    pub(crate) unit: Unit,
    /// Uid of the pod that it runs in, by the kubelet's own cgroups.
    pub(crate) pod: Option<String>,
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

    /// Whether the job has a token, or can ask its provider for one.
    #[must_use]
    pub fn can_ask_for_token(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| matches!(found.claim, Ok(Claim::Token(_))))
    }

    /// Where the job's token comes from, in words; `None` without one.
    #[must_use]
    pub fn token_origin(&self) -> Option<String> {
        match &self.found.as_ref().ok()?.claim {
            Ok(Claim::Token(source)) => Some(source.origin.to_string()),
            Ok(Claim::Observed(_)) | Err(_) => None,
        }
    }

    /// The AI agent among the process and its parents.
    pub(crate) fn agent(&self) -> Option<&Agent> {
        self.agent.as_ref()
    }

    pub(crate) fn found(&self) -> Result<&Found, &NobodyReason> {
        self.found.as_deref()
    }

    /// Whom the claim led to when the same was seen before.
    pub(crate) fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }

    /// What is to be remembered of it, where it was looked at now and may be told by its marks later. Where a file's digest
    /// was not there in time, the next connection has it.
    pub(crate) fn to_remember(&self, principal: Option<Arc<Principal>>) -> Option<(Marks, Seen)> {
        let (marks, found) = (self.marks.clone()?, Arc::clone(self.found.as_ref().ok()?));
        let (facts, agent) = (self.facts.clone(), self.agent.clone());
        let is_whole = !facts.gone && (facts.exe_sha256.is_some() || facts.exe.is_none());
        is_whole.then_some((marks, Seen { facts, agent, found, principal }))
    }

    /// Evidence as a test wants it.
    #[cfg(test)]
    pub(crate) fn from_claim(facts: ProcessFacts, found: Result<Found, NobodyReason>) -> Self {
        let (found, marks, principal) = (found.map(Arc::new), None, None);
        Self { facts, exe: None, agent: None, found, marks, principal }
    }

    /// What is found of a process of a made-up `/proc`, where it stands as the kernel would say.
    #[cfg(test)]
    pub(crate) fn of_made_up(scene: &Scene, pid: u32) -> Self {
        let known = scene.lookup.get().and_then(|lookup| lookup(pid));
        let owner = SocketOwner {
            pid,
            tid: pid,
            uid: 1001,
            gid: 1001,
            cgroup_id: 1,
            netns_cookie: 1,
            socket_cookie: 1,
            connected_at_ns: u64::MAX,
            start_ticks: known.map(|(id, _)| id.start_ticks),
            standing: known.map_or(Standing::Unknown, |(_, standing)| standing),
            comm: String::new(),
        };
        read(scene, &owner, &Clocks::now())
    }

    /// Nothing could be found out.
    pub(crate) fn none(owner: &SocketOwner, reason: NobodyReason) -> Self {
        let (facts, found) = (only_owner(owner), Err(reason));
        Self { facts, exe: None, agent: None, found, marks: None, principal: None }
    }

    /// What was seen of the process before, and is still so.
    pub(crate) fn again(seen: Seen) -> Self {
        let Seen { facts, agent, found, principal } = seen;
        Self { facts, exe: None, agent, found: Ok(found), marks: None, principal }
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
    /// Who may vouch for jobs.
    pub(crate) issuers: Vec<Arc<Issuer>>,
    /// AI agents that are recognised.
    pub(crate) agents: AgentTable,
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
    let (mut facts, mut exe, mut links) = (only_owner(owner), None, Vec::new());
    match held {
        Ok((process, stat)) if is_it(&stat) => (exe, links) = describe(scene, &mut facts, process, stat),
        _ => facts.gone = true,
    }
    let found = match (find(scene, owner, clocks, &links, facts.container.as_ref()), &facts.container) {
        (Err(NobodyReason::NoJob), Some(container)) => of_container(scene, owner, &links, container)
            .and_then(|found| found.ok_or_else(|| NobodyReason::ContainerOfNoJob(container.to_string()))),
        (Err(NobodyReason::NotFollowed), _) if facts.gone => Err(NobodyReason::ProcessGone),
        (found, _) => found,
    };
    let worker = found.as_ref().ok().map(|(found, _)| found.job.worker);
    let agent = agents::seen(below(&links, worker), &scene.agents);
    let (found, marks) = match found {
        Ok((found, marks)) => (Ok(Arc::new(found)), marks),
        Err(reason) => (Err(reason), None),
    };
    Evidence { facts, exe, agent, found, marks, principal: None }
}

/// The process and its parents, which end below the worker.
fn below(links: &[Link], worker: Option<ProcessKey>) -> &[Link] {
    let below = links.iter().position(|link| Some(key(link)) == worker).unwrap_or(links.len());
    links.get(..below).unwrap_or_default()
}

/// What `/proc` says of the process. Answers the file that it runs, and itself with its ancestors.
fn describe(
    scene: &Scene,
    facts: &mut ProcessFacts,
    process: Process,
    stat: Stat,
) -> (Option<OwnedFd>, Vec<Link>) {
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
    let links = ancestry::chain(&scene.proc_root, process, stat);
    let itself = links.first();
    facts.exe = itself.and_then(|link| link.exe.clone());
    let ancestors = links.iter().skip(1);
    facts.ancestors =
        ancestors.map(|link| Ancestor { pid: link.process.pid(), exe: link.exe.clone() }).collect();
    // It ended while it was looked at.
    facts.gone |= itself.is_none_or(|link| link.process.stat().is_err());
    (exe, links)
}

/// A job, and what all that is known of the process rests on.
type Looked = (Found, Option<Marks>);

/// Finds the job and its claim. `links` are the process and its ancestors, none if it is gone.
fn find(
    scene: &Scene,
    owner: &SocketOwner,
    clocks: &Clocks,
    links: &[Link],
    container: Option<&Container>,
) -> Result<Looked, NobodyReason> {
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
    let lookup = scene.lookup.get().map(|lookup| &**lookup);
    let spokesman = match workers::step(&scene.proc_root, worker, step, lookup) {
        Ok(spokesman) => Ok(spokesman),
        Err(NobodyReason::StepGone) => Err(NobodyReason::StepGone),
        Err(reason) => return Err(reason),
    };
    let marks = Marks::of(owner, below(links, Some(worker)).iter().chain(spokesman.as_ref().ok()));
    let claim = spokesman.and_then(|spokesman| {
        // Ancestors change, and what is not of the job has nothing to say for it.
        let is_of_job = |link: &&Link| {
            let standing = lookup.and_then(|lookup| lookup(link.process.pid()));
            standing.is_some_and(|(id, standing)| {
                let same = matches!(standing, Standing::Member { worker: of, .. } if of == worker);
                same && id == key(link)
            })
        };
        let (first, parents) = links.split_first().map_or((None, links), |(first, rest)| (Some(first), rest));
        let near = first.into_iter().chain(parents.iter().take_while(is_of_job));
        let near = near.filter(|link| key(link) != key(&spokesman));
        let processes = near.chain([&spokesman]).map(|link| &link.process).collect::<Vec<_>>();
        claim(scene, &spokesman, &processes)
    });
    let pod = container.and_then(pod);
    Ok((Found { job: JobKey { worker, step }, unit: Unit::Worker(worker), pod, claim }, marks))
}

/// A container that no job started itself joins one by a token of its own, or belongs to nobody: `None`. What its
/// variables state counts for nothing, because whoever starts a container sets them.
fn of_container(
    scene: &Scene,
    owner: &SocketOwner,
    links: &[Link],
    container: &Container,
) -> Result<Option<Looked>, NobodyReason> {
    if container.user.is_some() {
        return Ok(None);
    }
    let is_inside = |link: &&Link| {
        let lines = link.process.cgroup().unwrap_or_default();
        let named = cgroup::paths(&lines).iter().find_map(|path| container::named(path));
        named.is_some_and(|named| named.id == container.id)
    };
    let inside = links.iter().take_while(is_inside).collect::<Vec<_>>();
    let Some(first) = inside.last() else { return Ok(None) };
    let processes = inside.iter().map(|link| &link.process).collect::<Vec<_>>();
    let claim = claim(scene, first, &processes);
    let pod = pod(container);
    let unit = match &pod {
        Some(pod) => Unit::Pod(pod.clone()),
        None => Unit::Container(container.id.clone()),
    };
    let job = JobKey { worker: key(first), step: key(first) };
    let is_nothing = matches!(
        claim,
        Ok(Claim::Observed(_)) | Err(NobodyReason::NoStatement(_) | NobodyReason::TwoRunners)
    );
    let marks = Marks::of(owner, inside);
    Ok((!is_nothing).then_some((Found { job, unit, pod, claim }, marks)))
}

fn pod(container: &Container) -> Option<String> {
    container.pod.clone().filter(|_| container.user.is_none())
}

fn claim(scene: &Scene, step: &Link, processes: &[&Process]) -> Result<Claim, NobodyReason> {
    let environment = Environment::parse(&step.process.environ()?)?;
    // It was this process's, all the while.
    step.process.stat()?;
    providers::claim(&scene.issuers, &Sources { step: &environment, processes })
}

fn key(link: &Link) -> ProcessKey {
    ProcessKey { pid: link.process.pid(), start_ticks: link.stat.start_ticks }
}

/// What the kernel said at the connect, before anything was read.
fn only_owner(owner: &SocketOwner) -> ProcessFacts {
    let process = ProcessKey { pid: owner.pid, start_ticks: owner.start_ticks.unwrap_or(0) };
    ProcessFacts::unread(process, owner.uid, owner.standing)
}

#[cfg(test)]
mod tests;
