//! Processes, followed from fork through exec to exit, so that each is known to belong to one job, or to none.
//!
//! Every process of the host has an entry, and what has none is not known: neither its children nor a worker's file then
//! make it one of a job, or the first of one. So an event that was missed, or a full map, can only make a process
//! nobody's. Each of the three runs in the task that it is about, before that task or its child goes on: a child is
//! known before its first instruction, and a job is open before the first of its worker's program. An entry says when
//! its process began, and counts for no other process of that pid.

use core::ptr::addr_of;

use agent_common::{FileKey, FollowOffsets, Origin, Outcome, ProcessId, Role, Standing, TICK_NS};
use aya_ebpf::{
    bindings::BPF_NOEXIST, helpers::generated::bpf_ktime_get_ns, macros::raw_tracepoint,
    programs::RawTracePointContext,
};

use crate::{
    fields::At,
    maps::{ENDED, FOLLOWED, NAMED, STARTERS},
    verdict,
};

/// What the agent wrote down before loading. Read-only from then on, so that the verifier knows every number in it.
// SAFETY: integers only, for which zero is a value.
#[unsafe(no_mangle)]
static FOLLOW_OFFSETS: FollowOffsets = unsafe { core::mem::zeroed() };

/// Reads one of the offsets. Volatile: the compiler must not take what the source says for what the agent has written.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a field of a static that nothing writes once the program is loaded.
        unsafe { addr_of!(FOLLOW_OFFSETS.$field).read_volatile() }
    };
}

/// The kernel ignores what these programs answer.
const DONE: i32 = 0;

/// `(struct task_struct *parent, struct task_struct *child)`: in the task that forks, whoever becomes the parent, and
/// before the child runs.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub(crate) fn follow_fork(ctx: RawTracePointContext) -> i32 {
    let _unknown = forked(At::traced(&ctx, 0), At::traced(&ctx, 1));
    DONE
}

/// `(struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)`: after the new program is in place, and before
/// its first instruction.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn follow_exec(ctx: RawTracePointContext) -> i32 {
    let _unknown = executed(At::traced(&ctx, 0), At::traced(&ctx, 2));
    DONE
}

/// `(struct task_struct *task, ...)`: once per thread. By now the thread is counted off.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn follow_exit(ctx: RawTracePointContext) -> i32 {
    let _unknown = exited(At::traced(&ctx, 0));
    DONE
}

/// Not attached anywhere. The agent runs it to learn what the kernel calls a file that it has open: the descriptor is
/// the only argument, the answer goes into the map.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn name_file(ctx: RawTracePointContext) -> i32 {
    if let Some(key) = open_file(ctx.arg::<u64>(0) as u32).and_then(file_key) {
        // The map has this one place.
        let _cannot_fail = NAMED.set(0, key, 0);
    }
    DONE
}

/// Where the running task stands, and when the job that it stems from ended: zero where it has not.
#[inline(always)]
pub(crate) fn current() -> (Standing, u64) {
    let task = At::task();
    let Some(standing) = pid(task).and_then(|pid| standing(task, pid)) else {
        return (Standing::UNKNOWN, 0);
    };
    let ended = if standing.role == Role::Member as u32 { ended(standing.worker) } else { 0 };
    (standing, ended)
}

#[inline(always)]
fn forked(parent: At, child: At) -> Option<()> {
    let (parent_pid, child_pid) = (pid(parent)?, pid(child)?);
    if parent_pid == child_pid {
        // A thread.
        return None;
    }
    let child = ProcessId::new(child_pid, started(child)?);
    let standing = standing(parent, parent_pid)?.of_child(child)?;
    if FOLLOWED.insert(child_pid, standing, 0).is_err() {
        verdict::count(Outcome::NotFollowed);
    }
    Some(())
}

/// A process of a job stays one, whatever it runs: only who is known to come from no job can become a worker.
#[inline(always)]
fn executed(task: At, exec: At) -> Option<()> {
    let pid = pid(task)?;
    let standing = standing(task, pid)?;
    if standing.role != Role::Outside as u32 && standing.role != Role::Runner as u32 {
        return None;
    }
    let key = file_key(exec.follow(offset!(exec_file))?)?;
    // SAFETY: the value is copied at once; the agent replaces entries whole.
    let role = unsafe { STARTERS.get(key) }.copied().unwrap_or(Role::Outside as u32);
    if role == standing.role {
        return None;
    }
    let standing = if role == Role::Worker as u32 {
        Standing::worker(ProcessId::new(pid, standing.started))
    } else if role == Role::Runner as u32 {
        Standing::outside(Role::Runner, standing.started)
    } else {
        Standing::outside(Role::Outside, standing.started)
    };
    // There is an entry, which is replaced.
    let _cannot_fail = FOLLOWED.insert(pid, standing, 0);
    Some(())
}

/// The last thread takes the process with it, whichever it is. Its pid is not free yet.
#[inline(always)]
fn exited(task: At) -> Option<()> {
    let live: i32 = task.follow(offset!(task_signal))?.read(offset!(signal_live))?;
    if live != 0 {
        return None;
    }
    let pid = pid(task)?;
    // SAFETY: the value is copied at once.
    let standing = unsafe { FOLLOWED.get(pid) }.copied()?;
    if standing.role == Role::Worker as u32 {
        // SAFETY: no arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        // Of two agents' programs the first to come tells the time.
        let _there = ENDED.insert(standing.worker, now, u64::from(BPF_NOEXIST));
    }
    let _gone = FOLLOWED.remove(pid);
    Some(())
}

/// When the job of this worker ended; zero while it runs.
#[inline(always)]
fn ended(worker: ProcessId) -> u64 {
    // SAFETY: the value is copied at once.
    let now = unsafe { FOLLOWED.get(worker.pid) }.copied();
    if now.is_some_and(|now| now.role == Role::Worker as u32 && now.worker == worker) {
        return 0;
    }
    // SAFETY: the value is copied at once.
    unsafe { ENDED.get(worker) }.copied().unwrap_or(Origin::ENDED_ONCE)
}

/// The entry of a task's process, if it is that process's and not an earlier one's of the same pid.
#[inline(always)]
fn standing(task: At, pid: u32) -> Option<Standing> {
    // SAFETY: the value is copied at once.
    let standing = unsafe { FOLLOWED.get(pid) }.copied()?;
    (standing.started == started(task.follow(offset!(task_leader))?)?).then_some(standing)
}

#[inline(always)]
fn pid(task: At) -> Option<u32> {
    task.read(offset!(task_tgid))
}

/// When a task began, in clock ticks after boot.
#[inline(always)]
fn started(task: At) -> Option<u64> {
    Some(task.read::<u64>(offset!(task_started))? / TICK_NS)
}

#[inline(always)]
fn file_key(file: At) -> Option<FileKey> {
    let inode = file.follow(offset!(file_inode))?;
    let device = inode.follow(offset!(inode_filesystem))?.read(offset!(filesystem_device))?;
    Some(FileKey { inode: inode.read(offset!(inode_number))?, device, padding: 0 })
}

/// The open file behind a descriptor of the running task.
#[inline(always)]
fn open_file(descriptor: u32) -> Option<At> {
    let table = At::task().follow(offset!(task_files))?.follow(offset!(files_table))?;
    if descriptor >= table.read::<u32>(offset!(table_size))? {
        return None;
    }
    table.follow(offset!(table_files))?.follow(descriptor.wrapping_mul(size_of::<usize>() as u32))
}
