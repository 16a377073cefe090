//! Where a process stands among the jobs of the host.

use std::fmt;

/// A process for ever: a pid alone is given to another one after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// Process id, in the initial pid namespace.
    pub pid: u32,
    /// Start time in clock ticks after boot: field 22 of `/proc/<pid>/stat`, proc(5).
    pub start_ticks: u64,
}

/// As `/proc` has them: `4711@98765`.
impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.pid, self.start_ticks)
    }
}

/// What a process is to the jobs of the host, as the kernel followed it from its first ancestor on. A job is named by
/// its worker: the first process of it, with which it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It was not followed, or not all the way. It may be anybody's, and so is nobody's.
    Unknown,
    /// It belongs to no job, and comes from none.
    Outside,
    /// It is the worker of a running job, and none of its steps.
    Worker(ProcessId),
    /// It belongs to a running job.
    Member {
        /// The job's worker.
        worker: ProcessId,
        /// The process that the worker started and from which this one comes, or that it is. It may have ended.
        step: ProcessId,
    },
    /// It belonged to a job that has ended. From then on it is nobody's.
    LeftOver {
        /// The worker that the job had.
        worker: ProcessId,
        /// `CLOCK_MONOTONIC` nanoseconds when it ended; `None` when that is forgotten.
        ended_at_ns: Option<u64>,
    },
}

impl Standing {
    /// The worker of the job that it belongs to, or did.
    #[must_use]
    pub fn worker(self) -> Option<ProcessId> {
        match self {
            Self::Worker(worker) | Self::Member { worker, .. } | Self::LeftOver { worker, .. } => {
                Some(worker)
            }
            Self::Unknown | Self::Outside => None,
        }
    }
}
