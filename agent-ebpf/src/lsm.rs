//! The optional layer, for kernels with BPF among their security modules: what the hooks on a cgroup cannot see or do.
//! Without it, everything else works.
//!
//! These programs alone read the kernel's own structures, at offsets that the agent takes from the kernel's type
//! information ([`agent_common::Offsets`]). Each read can fail, and what cannot be read is not refused: this layer closes what is left
//! open without it, and never more than that. None reads the result of the program before it, which is the last argument
//! of each hook: its place moved when a hook got one more.

mod fields;
mod packet_socket;
mod pause;
mod protect;

use agent_common::{LsmSettings, Outcome};
use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_ancestor_cgroup_id},
    programs::LsmContext,
};
use aya_log_ebpf::warn;

use crate::verdict;

/// Let the call go on.
const GO_ON: i32 = 0;
/// `EPERM`, errno(3).
const EPERM: i32 = 1;
/// The first process, which is the host's own.
const FIRST_PROCESS: u32 = 1;

/// What the agent wrote down before loading. Read-only from then on, so that the verifier knows every number in it.
// SAFETY: integers only, for which zero is a value.
#[unsafe(no_mangle)]
static LSM_SETTINGS: LsmSettings = unsafe { core::mem::zeroed() };

/// Reads one of the settings. Volatile: the compiler must not take what the source says for what the agent has written.
macro_rules! setting {
    ($($field:ident).+) => {
        // SAFETY: a field of a static that nothing writes once the program is loaded.
        unsafe { core::ptr::addr_of!($crate::lsm::LSM_SETTINGS.$($field).+).read_volatile() }
    };
}
use setting;

/// Whether the running task is covered.
#[inline(always)]
fn is_covered() -> bool {
    let level = setting!(cgroup_level).cast_signed();
    // SAFETY: a number; a level that the task's cgroup does not have answers zero, which is no cgroup.
    let cgroup = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
    cgroup == setting!(cgroup)
}

/// Process and thread of the running task, in the initial pid namespace.
#[inline(always)]
fn current() -> (u32, u32) {
    let word = bpf_get_current_pid_tgid();
    ((word >> 32) as u32, (word & 0xffff_ffff) as u32)
}

/// Refuses, counts, and says so.
#[inline(always)]
fn refuse(ctx: &LsmContext, outcome: Outcome) -> i32 {
    verdict::count(outcome);
    if verdict::may_log(outcome) {
        let (pid, _) = current();
        match outcome {
            Outcome::PacketSocketRefused => warn!(ctx, "refused a packet socket to process {}", pid),
            _ => warn!(ctx, "process {} may not change the agent or what it has attached: refused", pid),
        }
    }
    -EPERM
}
