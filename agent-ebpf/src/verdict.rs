//! How a program says what it decided: to the kernel, to the counters, to the log.

use agent_common::Outcome;
use aya_ebpf::{
    Global,
    helpers::generated::{bpf_ktime_get_ns, bpf_set_retval},
};

use crate::maps::{COUNTERS, LOGGED_AT};

/// Let the call or the packet go on.
pub(crate) const ALLOW: i32 = 1;
/// End it. Without [`refuse`], the caller gets `EPERM`.
pub(crate) const DENY: i32 = 0;

/// `ENOMEM`, errno(3).
pub(crate) const ENOMEM: i32 = 12;
/// `ECONNREFUSED`, errno(3): what a client library takes for a server that is down, and reports at once.
pub(crate) const ECONNREFUSED: i32 = 111;

/// Least time between two log lines of one outcome on one CPU.
const LOG_INTERVAL_NS: u64 = 1_000_000_000;

/// Whether the kernel has `bpf_set_retval` (5.18). The agent sets it before loading; it is read-only from then on,
/// so the verifier never looks at the branch not taken.
#[unsafe(no_mangle)]
static HAS_SET_RETVAL: Global<u32> = Global::new(0);

/// Whether the agent only observes. Set before loading, like [`HAS_SET_RETVAL`].
#[unsafe(no_mangle)]
static OBSERVING: Global<u32> = Global::new(0);

/// Whether the agent only observes: what is older than the guard, or suspected, is then counted and let be.
#[inline(always)]
pub(crate) fn is_observing() -> bool {
    OBSERVING.load() != 0
}

/// Ends the call with `errno`, or with `EPERM` on a kernel that cannot choose.
#[inline(always)]
pub(crate) fn refuse(errno: i32) -> i32 {
    if HAS_SET_RETVAL.load() != 0 {
        // SAFETY: takes a number; it exists on this kernel, or the verifier would not have come here. It fails only
        // for a number that is no errno, and the call then ends with `EPERM`.
        unsafe { bpf_set_retval(-errno) };
    }
    DENY
}

/// Adds one to the counter of `outcome`.
#[inline(always)]
pub(crate) fn count(outcome: Outcome) {
    if let Some(slot) = COUNTERS.get_ptr_mut(outcome.index()) {
        // SAFETY: the map gave a pointer to an aligned `u64` of this CPU that lives as long as the program runs. A run
        // that preempts this one just here costs one count: the target has no atomic addition.
        unsafe { *slot += 1 };
    }
}

/// Whether `outcome` may be logged now: at most once per interval and CPU, so that a loop in a job cannot flood the
/// log.
#[inline(always)]
pub(crate) fn may_log(outcome: Outcome) -> bool {
    let Some(slot) = LOGGED_AT.get_ptr_mut(outcome.index()) else { return false };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: an aligned `u64` of the map, as in `count`. A race costs or saves one line.
    unsafe {
        let last = slot.read_volatile();
        if last != 0 && now.saturating_sub(last) < LOG_INTERVAL_NS {
            return false;
        }
        slot.write_volatile(now);
    }
    true
}
