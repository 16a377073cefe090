//! Who was there before anybody was followed: every process in `/proc`, with what its ancestors make of it.
//!
//! A process belongs to a job if one of its ancestors is the worker. That is never wrong, whoever was given to whom as
//! a child: the kernel gives an orphan only to one of its own ancestors, or to the first process. But it misses an orphan
//! that was given to the first process. On a host where nothing was followed before, such a one passes for a
//! process of no job.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use agent_common::{ProcessId, Role, Standing};

/// A process, as `/proc` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Zero where there is none.
    pub(super) parent: u32,
    /// In clock ticks after boot.
    pub(super) started: u64,
}

/// What processes run.
pub(super) trait Exes {
    /// What the file that a process runs makes of it, if anything.
    fn role(&mut self, pid: u32) -> Option<Role>;
}

/// What is there, and what is known of it.
pub(super) struct Census {
    pub(super) processes: BTreeMap<u32, Seen>,
    pub(super) known: BTreeMap<u32, Standing>,
    /// Whether a process of which nothing is known, below one of no job, is of none itself.
    pub(super) believes_in_outsiders: bool,
}

/// Every process.
pub(super) fn everybody() -> BTreeMap<u32, Seen> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, look(pid)?))).collect()
}

/// One process; `None` if it has ended.
pub(super) fn look(pid: u32) -> Option<Seen> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// proc_pid_stat(5). What stands in brackets is chosen by the process.
fn parse(stat: &[u8]) -> Option<Seen> {
    let rest = stat.get(stat.iter().rposition(|byte| *byte == b')')? + 1..)?;
    let mut fields = str::from_utf8(rest).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    (!matches!(state, "Z" | "X" | "x")).then_some(Seen { parent, started })
}

impl Census {
    /// What is to be written down: who stands elsewhere than it is known.
    pub(super) fn settle(&self, exes: &mut impl Exes) -> BTreeMap<u32, Standing> {
        let mut settled = BTreeMap::<u32, Option<Standing>>::new();
        for pid in self.processes.keys() {
            // Up to somebody who is settled, or who has no parent.
            let (mut way, mut on_way, mut at) = (Vec::new(), BTreeSet::new(), *pid);
            while !settled.contains_key(&at) && on_way.insert(at) {
                let Some(seen) = self.processes.get(&at) else { break };
                way.push((at, *seen));
                at = seen.parent;
            }
            while let Some((pid, seen)) = way.pop() {
                let parent = settled.get(&seen.parent).copied().flatten();
                settled.insert(pid, self.standing(pid, seen, parent, exes));
            }
        }
        let news = settled.into_iter().filter_map(|(pid, standing)| Some((pid, standing?)));
        news.filter(|(pid, standing)| self.known.get(pid) != Some(standing)).collect()
    }

    fn standing(
        &self,
        pid: u32,
        seen: Seen,
        parent: Option<Standing>,
        exes: &mut impl Exes,
    ) -> Option<Standing> {
        let known = self.known.get(&pid).copied().filter(|known| known.started == seen.started);
        if known.is_some_and(|known| known.role() != Some(Role::Outside)) {
            return known;
        }
        let is_first = seen.parent == 0;
        // A parent that is younger has only got the pid of the parent.
        let parent = parent.filter(|parent| parent.started <= seen.started);
        if parent.is_none() && !is_first {
            return known;
        }
        let me = ProcessId::new(pid, seen.started);
        let of_parent = parent.and_then(|parent| parent.of_child(me));
        if of_parent.is_some_and(|standing| standing.role() != Some(Role::Outside)) {
            return of_parent;
        }
        match exes.role(pid) {
            // What is not known not to come from a job does not begin one.
            Some(role) if known.is_some() || self.believes_in_outsiders => Some(match role {
                Role::Worker => Standing::worker(me),
                role => Standing::outside(role, seen.started),
            }),
            _ => known.or_else(|| {
                self.believes_in_outsiders.then(|| Standing::outside(Role::Outside, seen.started))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the processes of these numbers run.
    struct Files(Vec<(u32, Role)>);

    impl Exes for Files {
        fn role(&mut self, pid: u32) -> Option<Role> {
            self.0.iter().find(|(of, _)| *of == pid).map(|(_, role)| *role)
        }
    }

    /// Pid 1, listener 10, worker 20, step 30 and its child 40, and a service 50.
    fn host() -> BTreeMap<u32, Seen> {
        let processes = [(1, 0), (10, 1), (20, 10), (30, 20), (40, 30), (50, 1)];
        processes.map(|(pid, parent)| (pid, Seen { parent, started: u64::from(pid) })).into()
    }

    fn id(pid: u32) -> ProcessId {
        ProcessId::new(pid, pid.into())
    }

    fn outside(pid: u32) -> Standing {
        Standing::outside(Role::Outside, pid.into())
    }

    fn census(known: &[(u32, Standing)], believes_in_outsiders: bool) -> Census {
        Census { processes: host(), known: known.iter().copied().collect(), believes_in_outsiders }
    }

    #[test]
    fn on_a_new_host_who_is_below_a_worker_belongs_to_its_job() {
        let found = census(&[], true).settle(&mut Files(vec![(20, Role::Worker)]));
        let step = Standing::worker(id(20)).of_child(id(30)).unwrap();
        let expected = [
            (1, outside(1)),
            (10, outside(10)),
            (20, Standing::worker(id(20))),
            (30, step),
            (40, step.of_child(id(40)).unwrap()),
            (50, outside(50)),
        ];
        assert_eq!(found, expected.into());
    }

    #[test]
    fn the_outermost_worker_counts_and_what_a_runner_starts_is_a_job() {
        let found = census(&[], true).settle(&mut Files(vec![(20, Role::Worker), (40, Role::Worker)]));
        assert_eq!(found[&40].worker, id(20));
        let found = census(&[], true).settle(&mut Files(vec![(10, Role::Runner), (30, Role::Worker)]));
        assert_eq!(found[&10], Standing::outside(Role::Runner, 10));
        assert_eq!((found[&20], found[&40].worker), (Standing::job(id(20)), id(20)));
    }

    #[test]
    fn where_others_were_followed_an_unknown_process_stays_so() {
        let known = [(1, outside(1)), (10, outside(10)), (50, outside(50))];
        let found = census(&known, false).settle(&mut Files(vec![(20, Role::Worker)]));
        assert_eq!(found, BTreeMap::new(), "an unknown process begins no job");
        let found = census(&known, true).settle(&mut Files(vec![]));
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [20, 30, 40]);
    }

    #[test]
    fn a_worker_that_was_taken_for_another_process_takes_its_own_along() {
        let known: Vec<_> = [1, 10, 20, 30, 40, 50].map(|pid| (pid, outside(pid))).into();
        let found = census(&known, false).settle(&mut Files(vec![(20, Role::Worker)]));
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [20, 30, 40]);
        assert!(found.values().all(|standing| standing.worker == id(20)));
    }

    #[test]
    fn what_is_known_to_belong_to_a_job_stays_there() {
        let member = Standing::worker(id(77)).of_child(id(50)).unwrap();
        let found = census(&[(50, member)], true).settle(&mut Files(vec![(50, Role::Worker)]));
        assert!(!found.contains_key(&50));
        // Known of another process that had the pid.
        let stale = Standing { started: 49, ..member };
        let found = census(&[(50, stale)], true).settle(&mut Files(vec![]));
        assert_eq!(found[&50], outside(50));
    }

    #[test]
    fn a_parent_that_is_younger_or_a_circle_makes_nobody_of_anybody() {
        let mut census = census(&[], true);
        census.processes.insert(10, Seen { parent: 1, started: 21 });
        let found = census.settle(&mut Files(vec![(20, Role::Worker)]));
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 10, 50]);
        census.processes.insert(10, Seen { parent: 40, started: 10 });
        let found = census.settle(&mut Files(vec![(20, Role::Worker)]));
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 50]);
    }

    #[test]
    fn a_line_of_a_process_is_read_whatever_it_calls_itself() {
        let rest = "0 ".repeat(17);
        let line = |comm: &str, state: &str| format!("7 ({comm}) {state} 5 {rest}1234 0\n");
        for comm in ["sh", ") R 1 (", "a b"] {
            assert_eq!(parse(line(comm, "S").as_bytes()), Some(Seen { parent: 5, started: 1234 }), "{comm}");
        }
        assert_eq!(parse(line("sh", "Z").as_bytes()), None);
        assert_eq!(parse(b"7 sh S 5"), None);
        assert!(look(std::process::id()).is_some_and(|seen| seen.parent > 0 && seen.started > 0));
    }
}
