//! What is remembered of a redirected connect.

use crate::{Address, Standing};

/// Bytes of a task's `comm`, its closing zero included (`TASK_COMM_LEN`).
pub const COMM_BYTES: usize = 16;

/// Where a socket was going, and who asked. Written by the connect hook, in the caller's own context.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The address that was asked for.
    pub address: Address,
    /// Cookie of the socket's network namespace (`SO_NETNS_COOKIE`).
    pub netns_cookie: u64,
    /// Cookie of the socket (`SO_COOKIE`).
    pub socket_cookie: u64,
    /// Id of the task's cgroup in the cgroup2 hierarchy: the inode number of its folder.
    pub cgroup_id: u64,
    /// `CLOCK_MONOTONIC` at the connect, in nanoseconds.
    pub connected_at_ns: u64,
    /// Process (thread group) id, in the initial pid namespace.
    pub pid: u32,
    /// Thread id, in the initial pid namespace.
    pub tid: u32,
    /// User id, in the initial user namespace.
    pub uid: u32,
    /// Group id, in the initial user namespace.
    pub gid: u32,
    /// Name of the task, zero padded. The task chooses it.
    pub comm: [u8; COMM_BYTES],
    /// The port that was asked for, in host byte order.
    pub port: u16,
    /// Always zero.
    pub padding: [u8; 6],
    /// Where the process stood among the jobs of the host at that moment.
    pub standing: Standing,
    /// `CLOCK_MONOTONIC` when the job ended that it stems from, in nanoseconds. Zero where it had not; all ones where it
    /// had, so long ago or so many jobs ago that nobody remembers when.
    pub job_ended_at_ns: u64,
}

impl Origin {
    /// The job has ended, and when is forgotten.
    pub const ENDED_ONCE: u64 = u64::MAX;
}

const _: () = assert!(size_of::<Origin>() == 144 && align_of::<Origin>() == 8);
const _: () = assert!(core::mem::offset_of!(Origin, netns_cookie) == 16);
const _: () = assert!(core::mem::offset_of!(Origin, socket_cookie) == 24);
const _: () = assert!(core::mem::offset_of!(Origin, cgroup_id) == 32);
const _: () = assert!(core::mem::offset_of!(Origin, connected_at_ns) == 40);
const _: () = assert!(core::mem::offset_of!(Origin, pid) == 48);
const _: () = assert!(core::mem::offset_of!(Origin, gid) == 60);
const _: () = assert!(core::mem::offset_of!(Origin, comm) == 64);
const _: () = assert!(core::mem::offset_of!(Origin, port) == 80);
const _: () = assert!(core::mem::offset_of!(Origin, padding) == 82);
const _: () = assert!(core::mem::offset_of!(Origin, standing) == 88);
const _: () = assert!(core::mem::offset_of!(Origin, job_ended_at_ns) == 136);

// SAFETY: `repr(C)`, integers only, no padding the compiler added (asserted above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Origin {}
