//! A process with its parents, as `/proc` has them. For people to read: who belongs to which job is not taken from here,
//! because parents change.

use std::path::{Path, PathBuf};

use crate::process::{ProcError, Process, Stat};

/// Parents that are told. What is further up is left out.
const ANCESTORS_MAX: usize = 64;
/// How often a parent that ends while it is looked at is looked for again: its children get another one.
const ATTEMPTS_MAX: usize = 4;

/// One process of the chain.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) process: Process,
    /// As it was before anything else was read.
    pub(crate) stat: Stat,
    pub(crate) exe: Option<PathBuf>,
}

impl Link {
    pub(crate) fn new(process: Process, stat: Stat) -> Self {
        let exe = process.exe_path();
        Self { process, stat, exe }
    }
}

/// The process and its ancestors, parent first, up to pid 1, or as far as they can be told.
pub(crate) fn chain(proc_root: &Path, process: Process, stat: Stat) -> Vec<Link> {
    let mut links = vec![Link::new(process, stat)];
    let mut parent = stat.parent;
    // Pid 0 stands for the kernel, and for a parent outside of the pid namespace that is looked at.
    while parent != 0 && links.len() <= ANCESTORS_MAX {
        let Some(child) = links.last() else { break };
        let Some((process, stat)) = parent_of(proc_root, child, parent) else { break };
        links.push(Link::new(process, stat));
        parent = stat.parent;
    }
    links
}

/// Takes hold of a process's parent. The child is asked again afterwards: if it still has that parent, the pid was
/// the parent's all the while.
pub(crate) fn parent_of(proc_root: &Path, child: &Link, mut pid: u32) -> Option<(Process, Stat)> {
    for _ in 0..ATTEMPTS_MAX {
        let opened =
            Process::open(proc_root, pid).and_then(|process| process.stat().map(|stat| (process, stat)));
        let again = child.process.stat().ok()?;
        match opened {
            // A parent is older than its child; anything else is not understood and not believed.
            Ok((process, stat)) if again.parent == pid => {
                return (stat.start_ticks <= child.stat.start_ticks).then_some((process, stat));
            }
            Err(error) if error != ProcError::Gone => return None,
            _ if again.parent == 0 => return None,
            _ => pid = again.parent,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_proc::FakeProc;

    fn chain_of(fake: &FakeProc, pid: u32) -> Vec<u32> {
        let process = Process::open(fake.root(), pid).unwrap();
        let stat = process.stat().unwrap();
        chain(fake.root(), process, stat).iter().map(|link| link.process.pid()).collect()
    }

    #[test]
    fn a_chain_leads_to_the_first_process() {
        let fake = FakeProc::new();
        fake.process(1, 0, 1);
        fake.process(20, 1, 50);
        fake.process(30, 20, 50);
        assert_eq!(chain_of(&fake, 30), [30, 20, 1]);
        assert_eq!(chain_of(&fake, 1), [1]);
    }

    #[test]
    fn a_chain_ends_where_it_makes_no_sense() {
        let fake = FakeProc::new();
        fake.process(30, 20, 50);
        assert_eq!(chain_of(&fake, 30), [30], "the parent is not there");
        fake.process(20, 1, 51);
        assert_eq!(chain_of(&fake, 30), [30], "the parent is younger");
        fake.process(20, 30, 50);
        assert_eq!(chain_of(&fake, 30).len(), ANCESTORS_MAX + 1, "a circle");
    }
}
