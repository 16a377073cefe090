//! Processes and their jobs: the programs that follow them are put in place, told which files are those of runners and
//! workers, and given what was there before them.
//!
//! Programs and maps are pinned. While no agent runs, processes are followed all the same, and the next agent goes on
//! with what is known. Only the first one on a host has to look for itself ([`census`]).

mod census;
mod offsets;
mod starters;

use std::{
    collections::BTreeMap,
    ffi::CStr,
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use agent_common::{Origin, Role, Standing};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
    programs::{Program, ProgramError},
};
use model::ProcessId;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};

pub(crate) use self::offsets::offsets;
use self::{
    census::{Census, Exes},
    starters::Starters,
};
use crate::{
    config::Config,
    error::{Error, MapFault},
    object::{ENDED, FOLLOWED},
    pins::Pins,
    sys,
};

/// How often it is looked whether a runner's or worker's file has become another one, as when it updates itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often all processes are gone through until there is nothing new. Each finds what began meanwhile.
const PASSES_MAX: usize = 16;

/// Programs on tracepoints, with the names of both.
const TRACEPOINTS: [(&str, &CStr); 3] = [
    ("follow_fork", c"sched_process_fork"),
    ("follow_exec", c"sched_process_exec"),
    ("follow_exit", c"sched_process_exit"),
];
/// The program that is only run, by the agent.
const NAME_FILE: &str = "name_file";

/// What follows processes, while the agent runs. What is pinned goes on when it is dropped.
pub(crate) struct Following {
    follower: Arc<Mutex<Follower>>,
    watch: JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// The maps.
struct Follower {
    followed: HashMap<MapData, u32, Standing>,
    ended: HashMap<MapData, agent_common::ProcessId, u64>,
    starters: Starters,
}

/// Gives the programs to the verifier.
pub(crate) fn verify(object: &mut Ebpf) -> Result<(), Error> {
    for name in TRACEPOINTS.map(|(name, _)| name).into_iter().chain([NAME_FILE]) {
        let Some(Program::RawTracePoint(program)) = object.program_mut(name) else {
            return Err(Error::Missing(name));
        };
        program.load().map_err(|source| Error::Program { name, source: Box::new(source) })?;
    }
    Ok(())
}

impl Following {
    /// Tells the programs what to look for, puts them in their places, and lets them know who was there before. Answers
    /// their links as well. Goes through all of `/proc`.
    pub(crate) fn start(object: &mut Ebpf, pins: &Pins, cfg: &Config) -> Result<(Self, Vec<OwnedFd>), Error> {
        let files = cfg.workers.iter().map(|path| (path.clone(), Role::Worker));
        let files = files.chain(cfg.runners.iter().map(|path| (path.clone(), Role::Runner))).collect();
        let mut follower = Follower {
            followed: map(object, FOLLOWED)?,
            ended: map(object, ENDED)?,
            starters: Starters::new(object, program(object, NAME_FILE)?, files)?,
        };
        follower.starters.refresh();
        let (links, goes_on) = attach(object, pins, &mut follower)?;
        follower.take_in(!goes_on);
        let follower = Arc::new(Mutex::new(follower));
        let watch = tokio::spawn(watch(follower.clone()));
        Ok((Self { follower, watch }, links))
    }

    pub(crate) fn processes(&self) -> Processes {
        Processes(self.follower.clone())
    }
}

/// Where processes stand among the jobs of the host, asked of the kernel.
#[derive(Clone)]
pub struct Processes(Arc<Mutex<Follower>>);

impl Processes {
    /// Where the process with this pid stands now. `None` where there is no such process.
    #[must_use]
    pub fn standing(&self, pid: u32) -> Option<(ProcessId, model::Standing)> {
        let start_ticks = census::look(pid)?.started;
        let follower = lock(&self.0);
        let found = follower.get(pid).filter(|found| found.started == start_ticks);
        let found = found.unwrap_or(Standing::UNKNOWN);
        let ended_at_ns = if found.role() == Some(Role::Member) { follower.ended(&found) } else { 0 };
        Some((ProcessId { pid, start_ticks }, standing(&found, ended_at_ns)))
    }
}

/// In the words of the house. `ended_at_ns` is as in [`Origin::job_ended_at_ns`].
pub(crate) fn standing(found: &Standing, ended_at_ns: u64) -> model::Standing {
    let id = |id: agent_common::ProcessId| ProcessId { pid: id.pid, start_ticks: id.started };
    let worker = id(found.worker);
    match found.role() {
        None => model::Standing::Unknown,
        Some(Role::Outside | Role::Runner) => model::Standing::Outside,
        Some(Role::Worker) if found.step.pid == 0 => model::Standing::Worker(worker),
        Some(Role::Worker | Role::Member) if ended_at_ns == 0 => {
            model::Standing::Member { worker, step: id(found.step) }
        }
        Some(Role::Worker | Role::Member) => model::Standing::LeftOver {
            worker,
            ended_at_ns: (ended_at_ns != Origin::ENDED_ONCE).then_some(ended_at_ns),
        },
    }
}

impl Follower {
    fn get(&self, pid: u32) -> Option<Standing> {
        self.followed.get(&pid, 0).ok()
    }

    /// As the connect hook finds it out.
    fn ended(&self, member: &Standing) -> u64 {
        let worker = self.get(member.worker.pid);
        if worker.is_some_and(|it| it.role() == Some(Role::Worker) && it.worker == member.worker) {
            return 0;
        }
        self.ended.get(&member.worker, 0).unwrap_or(Origin::ENDED_ONCE)
    }

    /// Gives every process its place that has none yet, or whose ancestor has turned out to be a worker. What is `new` is
    /// a host on which nothing was followed before: a process that comes from no worker is then believed to come from
    /// no job.
    fn take_in(&mut self, is_new: bool) {
        for pass in 0..PASSES_MAX {
            let processes = census::everybody();
            let known: BTreeMap<u32, Standing> =
                self.followed.iter().filter_map(Result::ok).filter(|(_, found)| found.started > 0).collect();
            let has_jobs = known.values().any(|found| found.worker.pid != 0);
            let census =
                Census { processes, known, believes_in_outsiders: is_new && (pass == 0 || !has_jobs) };
            let found = census.settle(&mut self.starters);
            let mut is_done = true;
            for (pid, standing) in found {
                is_done &= !self.place(pid, standing);
            }
            if pass == 0 {
                self.forget(&census);
            }
            if is_done {
                return;
            }
        }
        tracing::warn!("processes began faster than they could be looked at: some may belong to nobody");
    }

    /// Writes down where a process stands, and takes it back if the process has ended meanwhile. Answers whether that
    /// was done.
    fn place(&mut self, pid: u32, standing: Standing) -> bool {
        const IF_ABSENT: u64 = 1;
        let is_new = self.get(pid).is_none_or(|before| before.started != standing.started);
        if let Err(error) = self.followed.insert(pid, standing, if is_new { IF_ABSENT } else { 0 }) {
            tracing::debug!(pid, %error, "a process is not followed");
            return false;
        }
        if census::look(pid).is_none_or(|seen| seen.started != standing.started) {
            // It may be another's by now, and is then nobody's.
            let _gone = self.followed.remove(&pid);
        }
        true
    }

    /// Takes away what was left of processes whose end was missed.
    fn forget(&mut self, census: &Census) {
        for (pid, known) in &census.known {
            if census::look(*pid).is_none_or(|seen| seen.started != known.started)
                && self.get(*pid).is_some_and(|now| now == *known)
            {
                let _gone = self.followed.remove(pid);
            }
        }
    }
}

impl Exes for Starters {
    fn role(&mut self, pid: u32) -> Option<Role> {
        self.role_of(Path::new(&format!("/proc/{pid}/exe")))
    }
}

/// Puts the programs in their places, each over the pin of an earlier one, which goes only then: both write the same. If
/// one was missing, something may have been missed, and nothing that is known counts. Answers whether it does.
fn attach(object: &Ebpf, pins: &Pins, follower: &mut Follower) -> Result<(Vec<OwnedFd>, bool), Error> {
    let earlier: Vec<OwnedFd> =
        TRACEPOINTS.iter().filter_map(|(name, _)| sys::open_pin(&pins.path(name)).ok()).collect();
    let goes_on = earlier.len() == TRACEPOINTS.len();
    if !goes_on {
        let known: Vec<u32> = follower.followed.keys().filter_map(Result::ok).collect();
        for pid in known {
            let _gone = follower.followed.remove(&pid);
        }
    }
    let links = TRACEPOINTS.map(|(name, tracepoint)| {
        let failed = |action| move |source| Error::Link { action, name, source };
        let program = program(object, name)?;
        let link = sys::tracepoint_attach(program.as_fd(), tracepoint).map_err(failed("attach"))?;
        let (pin, next) = (pins.path(name), pins.path(&format!("{name}-next")));
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("pin")(error)),
            _ => {}
        }
        sys::pin(&link, &next).and_then(|()| fs::rename(&next, &pin)).map_err(failed("pin"))?;
        Ok(link)
    });
    Ok((links.into_iter().collect::<Result<_, Error>>()?, goes_on))
}

fn program(object: &Ebpf, name: &'static str) -> Result<OwnedFd, Error> {
    let refused = |source: ProgramError| Error::Program { name, source: Box::new(source) };
    let Some(Program::RawTracePoint(program)) = object.program(name) else {
        return Err(Error::Missing(name));
    };
    let fd = program.fd().map_err(refused)?;
    fd.as_fd().try_clone_to_owned().map_err(|source| Error::Link { action: "read", name, source })
}

fn map<T: TryFrom<aya::maps::Map, Error = MapError>>(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<T, Error> {
    let map = object.take_map(name).ok_or(Error::Missing(name))?;
    Ok(map.try_into().map_err(MapFault::of(name))?)
}

fn lock(follower: &Mutex<Follower>) -> MutexGuard<'_, Follower> {
    follower.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at the files again and again. Who ran a new one before it was known is found by looking at everybody.
async fn watch(follower: Arc<Mutex<Follower>>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let follower = follower.clone();
        let looked = spawn_blocking(move || {
            let mut follower = lock(&follower);
            if follower.starters.refresh() {
                follower.take_in(false);
            }
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "files of runners and workers cannot be looked at any more");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: agent_common::ProcessId = agent_common::ProcessId::new(20, 200);
    const STEP: agent_common::ProcessId = agent_common::ProcessId::new(30, 300);

    #[test]
    fn what_the_kernel_wrote_is_told_in_the_words_of_the_house() {
        let worker = ProcessId { pid: 20, start_ticks: 200 };
        let step = ProcessId { pid: 30, start_ticks: 300 };
        let member = Standing::worker(WORKER).of_child(STEP).unwrap();
        assert_eq!(standing(&Standing::UNKNOWN, 0), model::Standing::Unknown);
        assert_eq!(standing(&Standing::outside(Role::Outside, 1), 0), model::Standing::Outside);
        assert_eq!(standing(&Standing::outside(Role::Runner, 1), 0), model::Standing::Outside);
        assert_eq!(standing(&Standing::worker(WORKER), 0), model::Standing::Worker(worker));
        assert_eq!(standing(&member, 0), model::Standing::Member { worker, step });
        let first = model::Standing::Member { worker: step, step };
        assert_eq!(standing(&Standing::job(STEP), 0), first);
        let left = |ended_at_ns| model::Standing::LeftOver { worker, ended_at_ns };
        assert_eq!(standing(&member, 7), left(Some(7)));
        assert_eq!(standing(&member, Origin::ENDED_ONCE), left(None));
    }
}
