//! Processes that were looked at before. For the next connection of one, the kernel is asked whether it is still what it
//! was, and nothing else is read.
//!
//! Asked anew each time is whatever the kernel knows by itself and never waits for anybody to tell: that the pid is still
//! that process's and it lives, that it runs the program that was looked at, and so do its parents below the worker and
//! the step that speaks for the job. A process that the kernel places elsewhere (another cgroup, network namespace or
//! standing among the jobs) is looked at anew, and so is everybody when a token ends, or after [`REMEMBERED_FOR`].
//!
//! A process that changes what can be read of it without any of that (its own memory, by hand) stays what it was: the
//! first look counts. That is no way to become somebody else.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use identity::{Agent, Principal};
use model::{ProcessFacts, ProcessId, SocketOwner, Timestamp};

use crate::{
    ancestry::Link,
    evidence::Found,
    jobs::later,
    process::{Process, Program, Stat},
    workers::Lookup,
};

/// Processes that are remembered, with some kilobytes each.
const REMEMBERED_MAX: usize = 1024;
/// After this a process is looked at anew, however little has changed.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// Processes whose programs what was seen rests on. One with more is looked at each time.
const MARKS_MAX: usize = 16;

/// A process and the program that it ran when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    process: ProcessId,
    parent: u32,
    program: Program,
}

/// All that must still be so for what was seen of a process to count.
#[derive(Debug, Clone)]
pub(crate) struct Marks {
    cgroup_id: u64,
    netns_cookie: u64,
    processes: Vec<Mark>,
}

/// What was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) facts: ProcessFacts,
    pub(crate) agent: Option<Agent>,
    pub(crate) found: Arc<Found>,
    /// Whom the step's own claim led to.
    pub(crate) principal: Option<Arc<Principal>>,
}

struct Entry {
    marks: Marks,
    seen: Seen,
    until: Timestamp,
}

/// Every process that is remembered.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<HashMap<ProcessId, Arc<Entry>>>);

impl Mark {
    /// `None` where the kernel does not say where the program lies: then nobody could tell another from it.
    pub(crate) fn of(link: &Link) -> Option<Self> {
        let Stat { parent, start_ticks, program } = link.stat;
        Some(Self { process: ProcessId { pid: link.process.pid(), start_ticks }, parent, program: program? })
    }

    fn stands(&self, proc_root: &Path) -> bool {
        let Self { process, parent, program } = self;
        let now = Stat { parent: *parent, start_ticks: process.start_ticks, program: Some(*program) };
        Process::stat_of(proc_root, process.pid) == Ok(now)
    }
}

impl Marks {
    /// Of whoever connected, and of the processes that what is known of it rests on: itself first. `None` where one of
    /// them has no mark, or there are too many.
    pub(crate) fn of<'a>(owner: &SocketOwner, links: impl IntoIterator<Item = &'a Link>) -> Option<Self> {
        let mut processes = Vec::<Mark>::new();
        for link in links {
            let mark = Mark::of(link)?;
            if !processes.contains(&mark) {
                processes.push(mark);
            }
        }
        let SocketOwner { cgroup_id, netns_cookie, .. } = *owner;
        (processes.len() <= MARKS_MAX).then_some(Self { cgroup_id, netns_cookie, processes })
    }

    fn stand(&self, proc_root: &Path, owner: &SocketOwner) -> bool {
        let place = (self.cgroup_id, self.netns_cookie);
        place == (owner.cgroup_id, owner.netns_cookie)
            && self.processes.iter().all(|mark| mark.stands(proc_root))
    }
}

impl Remembered {
    /// What was seen of the process that connects now, if all of it is still so.
    pub(crate) fn again(&self, proc_root: &Path, owner: &SocketOwner, now: Timestamp) -> Option<Seen> {
        let process = ProcessId { pid: owner.pid, start_ticks: owner.start_ticks? };
        let entry = self.lock().get(&process).filter(|entry| now < entry.until).cloned()?;
        let Entry { marks, seen, .. } = &*entry;
        let is_so = seen.facts.standing == owner.standing
            && Process::exe_path_of(proc_root, owner.pid) == seen.facts.exe
            && marks.stand(proc_root, owner);
        is_so.then(|| {
            let mut seen = seen.clone();
            seen.facts.uid = owner.uid;
            seen
        })
    }

    /// Remembers what was seen of a process, not longer than `until`. What is known of ended jobs is forgotten.
    pub(crate) fn keep(
        &self,
        marks: Marks,
        seen: Seen,
        (now, until): (Timestamp, Timestamp),
        lookup: Option<&Lookup>,
    ) {
        let until = later(now, REMEMBERED_FOR).min(until);
        let process = ProcessId { pid: seen.facts.pid, start_ticks: seen.facts.start_ticks };
        let mut workers = HashMap::new();
        let mut runs = |worker: ProcessId| {
            *workers.entry(worker).or_insert_with(|| {
                lookup.is_none_or(|lookup| lookup(worker.pid).is_some_and(|(now, _)| now == worker))
            })
        };
        let mut known = self.lock();
        known
            .retain(|_, entry| now < entry.until && entry.seen.facts.standing.worker().is_none_or(&mut runs));
        if known.len() >= REMEMBERED_MAX && !known.contains_key(&process) {
            let soonest = known.iter().min_by_key(|(_, entry)| entry.until).map(|(process, _)| *process);
            soonest.and_then(|process| known.remove(&process));
        }
        known.insert(process, Arc::new(Entry { marks, seen, until }));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ProcessId, Arc<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
