//! Where a process stands among the jobs of the host, as the kernel programs follow it from fork to exit.

/// Most processes that are followed at once. One that finds no room is not followed, and counted: it belongs to nobody.
pub const FOLLOWED_MAX: u32 = 65_536;
/// Most ended jobs of which it is remembered when they ended. The map evicts its oldest entry.
pub const ENDED_MAX: u32 = 4_096;
/// Most files that are known as those of runners and workers.
pub const STARTERS_MAX: u32 = 256;
/// Nanoseconds of a clock tick, in which `/proc` tells when a process began: `USER_HZ` is 100, proc(5).
pub const TICK_NS: u64 = 10_000_000;

/// A process for ever: a pid alone is given to another one after its end.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// When it began, in clock ticks after boot: field 22 of `/proc/<pid>/stat`.
    pub started: u64,
    /// Process (thread group) id, in the initial pid namespace.
    pub pid: u32,
    /// Always zero.
    pub padding: u32,
}

impl ProcessId {
    /// No process.
    pub const NONE: Self = Self::new(0, 0);

    /// The process that got this id when it began, in clock ticks after boot.
    #[inline(always)]
    #[must_use]
    pub const fn new(pid: u32, started: u64) -> Self {
        Self { started, pid, padding: 0 }
    }
}

/// What is known of a process. All zero: nothing is.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// When the process began, in clock ticks after boot. An entry for another process that had the pid before says
    /// nothing about this one.
    pub started: u64,
    /// The worker whose job it belongs to; for a worker, itself.
    pub worker: ProcessId,
    /// The process that the worker started, and that started this one or is it.
    pub step: ProcessId,
    /// A [`Role`], as its number.
    pub role: u32,
    /// Always zero.
    pub padding: u32,
}

/// What a process can be.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It belongs to no job, and neither does any that it comes from: what it comes from was followed to the host's own.
    Outside = 1,
    /// The same, and whatever it starts is a job.
    Runner = 2,
    /// It is the first of a job, which ends with it.
    Worker = 3,
    /// It belongs to the job of its worker.
    Member = 4,
}

impl Role {
    const ALL: [Self; 4] = [Self::Outside, Self::Runner, Self::Worker, Self::Member];
}

impl Standing {
    /// Nothing is known.
    pub const UNKNOWN: Self =
        Self { started: 0, worker: ProcessId::NONE, step: ProcessId::NONE, role: 0, padding: 0 };

    /// Of a process of no job, [`Role::Outside`] or [`Role::Runner`].
    #[inline(always)]
    #[must_use]
    pub const fn outside(role: Role, started: u64) -> Self {
        Self { started, worker: ProcessId::NONE, step: ProcessId::NONE, role: role as u32, padding: 0 }
    }

    /// Of a worker that runs one of the files of workers. What it starts are the steps of its job.
    #[inline(always)]
    #[must_use]
    pub const fn worker(worker: ProcessId) -> Self {
        let (started, step) = (worker.started, ProcessId::NONE);
        Self { started, worker, step, role: Role::Worker as u32, padding: 0 }
    }

    /// Of what a runner started: a job, and its only step.
    #[inline(always)]
    #[must_use]
    pub const fn job(first: ProcessId) -> Self {
        Self { step: first, ..Self::worker(first) }
    }

    /// Of what a process with this standing has started. `None` where that is not known.
    #[inline(always)]
    #[must_use]
    pub const fn of_child(self, child: ProcessId) -> Option<Self> {
        let started = child.started;
        if self.role == Role::Outside as u32 {
            Some(Self::outside(Role::Outside, started))
        } else if self.role == Role::Runner as u32 {
            Some(Self::job(child))
        } else if self.role == Role::Worker as u32 && self.step.pid == 0 {
            Some(Self { started, step: child, role: Role::Member as u32, ..self })
        } else if self.role == Role::Worker as u32 || self.role == Role::Member as u32 {
            Some(Self { started, role: Role::Member as u32, ..self })
        } else {
            None
        }
    }

    /// What it is; `None` for nothing, and for a number that this build does not know.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        Role::ALL.into_iter().find(|role| *role as u32 == self.role)
    }
}

/// A file, as the kernel itself calls it: what stat(2) says is another number on some file systems.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    /// Number of the inode.
    pub inode: u64,
    /// Device number of the file system, 12 bits for the major and 20 for the minor.
    pub device: u32,
    /// Always zero.
    pub padding: u32,
}

/// Byte offsets of the fields that the following programs read, in the running kernel.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FollowOffsets {
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.group_leader`
    pub task_leader: u32,
    /// `task_struct.start_boottime`
    pub task_started: u32,
    /// `task_struct.signal`
    pub task_signal: u32,
    /// `task_struct.files`
    pub task_files: u32,
    /// `signal_struct.live`
    pub signal_live: u32,
    /// `linux_binprm.file`
    pub exec_file: u32,
    /// `files_struct.fdt`
    pub files_table: u32,
    /// `fdtable.max_fds`
    pub table_size: u32,
    /// `fdtable.fd`
    pub table_files: u32,
    /// `file.f_inode`
    pub file_inode: u32,
    /// `inode.i_ino`
    pub inode_number: u32,
    /// `inode.i_sb`
    pub inode_filesystem: u32,
    /// `super_block.s_dev`
    pub filesystem_device: u32,
}

const _: () = assert!(size_of::<ProcessId>() == 16 && align_of::<ProcessId>() == 8);
const _: () = assert!(core::mem::offset_of!(ProcessId, pid) == 8);
const _: () = assert!(size_of::<Standing>() == 48 && align_of::<Standing>() == 8);
const _: () = assert!(core::mem::offset_of!(Standing, worker) == 8);
const _: () = assert!(core::mem::offset_of!(Standing, step) == 24);
const _: () = assert!(core::mem::offset_of!(Standing, role) == 40);
const _: () = assert!(size_of::<FileKey>() == 16 && core::mem::offset_of!(FileKey, device) == 8);
const _: () = assert!(size_of::<FollowOffsets>() == 14 * 4 && align_of::<FollowOffsets>() == 4);

// SAFETY: `repr(C)`, integers only, no padding the compiler added (asserted above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for ProcessId {}
// SAFETY: `repr(C)`, integers only, no padding the compiler added (asserted above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Standing {}
// SAFETY: `repr(C)`, integers only, no padding the compiler added (asserted above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for FileKey {}
// SAFETY: `repr(C)`, integers only, no padding the compiler added (asserted above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for FollowOffsets {}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: ProcessId = ProcessId::new(20, 200);
    const STEP: ProcessId = ProcessId::new(30, 300);
    const OTHER: ProcessId = ProcessId::new(40, 400);

    fn is(standing: Standing, role: Role, worker: ProcessId, step: ProcessId) -> bool {
        standing.role() == Some(role) && standing.worker == worker && standing.step == step
    }

    #[test]
    fn what_a_worker_starts_is_a_step_and_what_comes_of_that_stays_with_it() {
        let step = Standing::worker(WORKER).of_child(STEP).unwrap();
        assert!(is(step, Role::Member, WORKER, STEP) && step.started == 300);
        let child = step.of_child(OTHER).unwrap();
        assert!(is(child, Role::Member, WORKER, STEP) && child.started == 400);
    }

    #[test]
    fn what_a_runner_starts_is_a_job_of_its_own() {
        let job = Standing::outside(Role::Runner, 1).of_child(STEP).unwrap();
        assert!(is(job, Role::Worker, STEP, STEP));
        assert!(is(job.of_child(OTHER).unwrap(), Role::Member, STEP, STEP));
    }

    #[test]
    fn what_is_not_known_stays_unknown() {
        let outside = Standing::outside(Role::Outside, 1).of_child(OTHER).unwrap();
        assert!(is(outside, Role::Outside, ProcessId::NONE, ProcessId::NONE) && outside.started == 400);
        assert_eq!(Standing::UNKNOWN.of_child(OTHER), None);
        assert_eq!(Standing { role: 77, ..outside }.of_child(OTHER), None);
        assert_eq!((Standing::UNKNOWN.role(), Standing { role: 77, ..outside }.role()), (None, None));
    }
}
