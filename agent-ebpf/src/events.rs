//! What the agent is told at once.

use agent_common::{Address, Event, EventKind, NAME_WORDS, Outcome};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;

use crate::{
    maps::{ANNOUNCED, EVENTS, SUSPECTED},
    verdict,
};

/// Who an event is about. Zeros where the hook cannot know: up to Linux 6.1 a packet's hook may not ask for the task.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
}

/// What a client asked for by name: how long the name is, and its last bytes.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub(crate) bytes: u16,
    pub(crate) tail: [u64; NAME_WORDS],
}

impl Name {
    pub(crate) const NONE: Self = Self { bytes: 0, tail: [0; NAME_WORDS] };
}

/// Puts an event into the ring buffer, or counts it as lost. The port is in host byte order.
#[inline(always)]
pub(crate) fn send(
    kind: EventKind,
    netns_cookie: u64,
    task: Task,
    (address, port): (Address, u16),
    name: &Name,
) {
    let event = Event {
        netns_cookie,
        // SAFETY: no arguments.
        at_ns: unsafe { bpf_ktime_get_ns() },
        address,
        kind: kind as u32,
        pid: task.pid,
        tid: task.tid,
        port,
        name_bytes: name.bytes,
        name_tail: name.tail,
    };
    if EVENTS.output(event, 0).is_err() {
        verdict::count(Outcome::EventLost);
    }
}

/// Whether a namespace's event may be sent now: not again within a moment, so that one that connects in a loop does
/// not crowd out the others. Races cost an event too many.
#[inline(always)]
pub(crate) fn may_announce(netns_cookie: u64) -> bool {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the value is copied at once.
    let last = unsafe { ANNOUNCED.get(netns_cookie) }.copied();
    if last.is_some_and(|last| now.saturating_sub(last) < Event::REPEAT_AFTER_NS) {
        return false;
    }
    // A map that is out of memory costs an event too many.
    let _no_memory = ANNOUNCED.insert(netns_cookie, now, 0);
    true
}

/// Whether an event about an address may be sent now, as for a namespace.
#[inline(always)]
pub(crate) fn may_suspect(address: &Address) -> bool {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the value is copied at once.
    let last = unsafe { SUSPECTED.get(address) }.copied();
    if last.is_some_and(|last| now.saturating_sub(last) < Event::SUSPECT_AFTER_NS) {
        return false;
    }
    // A map that is out of memory costs an event too many.
    let _no_memory = SUSPECTED.insert(address, now, 0);
    true
}
