//! Programs of others where the agent's are. Only root on the host can put one there, and that is out of the agent's
//! hands; it is noticed and said.
//!
//! Of the programs on one hook, each sees what those before it have done. One before the agent's may send a connect to
//! another address, and the agent's decides about that. One behind it can undo what the agent's did, and then the egress
//! guard is all that is left. Load balancers for services do run programs there, for no evil purpose: an operator has to
//! see to it that they come before the agent's. A restart of the agent does not change the order, because its links stay.

use std::{fmt, sync::Arc, time::Duration};

use aya::programs::loaded_programs;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{cgroup::Cgroup, error::Error, hook::Hook, sys};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Something about the hooks that is not as the agent left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rival {
    /// The agent's own program is no longer there.
    Missing {
        /// The hook's name.
        hook: &'static str,
    },
    /// A program of somebody else comes behind the agent's.
    Behind {
        /// The hook's name.
        hook: &'static str,
        /// The program's id, as `bpftool prog` shows it.
        program: u32,
        /// The name that its maker gave it; empty if it is gone by now, or had none.
        name: String,
    },
}

impl fmt::Display for Rival {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { hook } => {
                write!(to, "somebody took the agent's program {hook} away: restart the agent")
            }
            Self::Behind { hook, program, name } => write!(
                to,
                "program {program} ({name:?}), which is not the agent's, comes behind its {hook} and can undo it: \
                 detach it; or, if it is to stay, stop the agent, remove its pins, and start it again"
            ),
        }
    }
}

/// What the agent has put where.
#[derive(Debug)]
pub(crate) struct Places {
    cgroup: Cgroup,
    programs: Vec<(Hook, u32)>,
}

impl Places {
    /// `programs` are the ids of the agent's own, on this cgroup.
    pub(crate) fn new(cgroup: Cgroup, programs: Vec<(Hook, u32)>) -> Self {
        Self { cgroup, programs }
    }

    /// What is not as the agent left it.
    pub(crate) fn rivals(&self) -> Result<Vec<Rival>, Error> {
        let mut rivals = Vec::new();
        for &(hook, own) in &self.programs {
            let in_order = sys::effective_programs(&self.cgroup, hook.attach_type())
                .map_err(|source| Error::Link { action: "look for", name: hook.name(), source })?;
            let Some(at) = in_order.iter().position(|id| *id == own) else {
                rivals.push(Rival::Missing { hook: hook.name() });
                continue;
            };
            if hook.is_undone_by_who_follows() {
                let behind = in_order.into_iter().skip(at + 1).filter(|id| !self.is_own(*id));
                rivals.extend(behind.map(|program| Rival::Behind {
                    hook: hook.name(),
                    program,
                    name: name(program),
                }));
            }
        }
        Ok(rivals)
    }

    fn is_own(&self, id: u32) -> bool {
        self.programs.iter().any(|(_, own)| *own == id)
    }
}

fn name(program: u32) -> String {
    let found = loaded_programs().flatten().find(|info| info.id() == program);
    found.and_then(|info| info.name_as_str().map(str::to_owned)).unwrap_or_default()
}

/// The task that looks, and says once what it found. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch(JoinHandle<()>);

impl Watch {
    pub(crate) fn start(places: Arc<Places>) -> Self {
        Self(tokio::spawn(watch(places)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch(places: Arc<Places>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Vec::new();
    loop {
        ticks.tick().await;
        match places.rivals() {
            Ok(found) => {
                for rival in found.iter().filter(|rival| !known.contains(*rival)) {
                    tracing::warn!("{rival}");
                }
                known = found;
            }
            Err(error) => {
                tracing::error!(%error, "programs of others cannot be looked for any more");
                return;
            }
        }
    }
}
