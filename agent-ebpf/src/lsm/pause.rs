//! `connect(2)` from a network namespace in which the agent does not listen yet: in place of a refusal, the process is
//! stopped, the agent listens and lets it go on, and the kernel makes the same call again.
//!
//! The signal comes before the event, so that what lets go on finds something to undo, and it goes to this thread, whose
//! call must see that one is waiting. Only while the agent gives signs of life, only for connect(2) itself (what else comes
//! here, as from a ring of io_uring's, would show its caller the kernel's own number for "again"), and not twice in a row.

use core::mem::MaybeUninit;

use agent_common::{ALIVE_NS, Address, Event, EventKind, Outcome, PAUSE_PAUSE_NS};
use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_task_btf, bpf_ktime_get_ns, bpf_send_signal_thread, bpf_task_pt_regs},
    },
    macros::lsm,
    programs::LsmContext,
};

use super::{FIRST_PROCESS, GO_ON, current, is_covered, setting};
use crate::{
    fields::At,
    maps::{ALIVE, EVENTS, LISTENERS, PAUSED},
    marks, scope, verdict,
};

/// `ERESTARTNOINTR` in `linux/errno.h`: the kernel makes the call again once the signal was seen to, and its caller never
/// learns of it.
const ERESTARTNOINTR: i32 = 513;
/// `SIGSTOP`, signal(7).
const SIGSTOP: u32 = 19;
/// `AF_INET` and `AF_INET6`, address_families(7); `SOCK_STREAM`, socket(2).
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
/// Where port and address lie in `struct sockaddr_in` and `sockaddr_in6`, ip(7) and ipv6(7).
const PORT_AT: u32 = 2;
const V4_AT: u32 = 4;
const V6_AT: u32 = 8;

/// `(struct socket *sock, struct sockaddr *address, int addrlen)`
#[lsm(hook = "socket_connect")]
pub(crate) fn pause(ctx: LsmContext) -> i32 {
    match try_pause(&ctx) {
        Some(()) => -ERESTARTNOINTR,
        None => GO_ON,
    }
}

#[inline(always)]
fn try_pause(ctx: &LsmContext) -> Option<()> {
    let (address, port) = asked(At::argument(ctx, 1))?;
    let is_caught = marks::is_guarded(&address, port) || scope::is_unknown(&address, port);
    if !is_caught || !is_covered() {
        return None;
    }
    let socket = At::argument(ctx, 0);
    if socket.read::<u16>(setting!(offsets.socket_type))? != SOCK_STREAM {
        return None;
    }
    let net = socket.follow(setting!(offsets.socket_sock))?.follow(setting!(offsets.sock_net))?;
    let netns_cookie: u64 = net.read(setting!(offsets.net_cookie))?;
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if LISTENERS.get_ptr(netns_cookie).is_some() || !is_agent_alive(now) || !is_connect() || !may_pause(now) {
        return None;
    }
    stop(netns_cookie, address, port, now)
}

/// The address and port that are asked for, from a copy that the kernel has made.
#[inline(always)]
fn asked(at: At) -> Option<(Address, u16)> {
    let port = u16::from_be(at.read(PORT_AT)?);
    match at.read::<u16>(0)? {
        AF_INET => Some((Address::from_v4_word(at.read(V4_AT)?), port)),
        AF_INET6 => Some((Address::from_v6_words(at.read(V6_AT)?), port)),
        _ => None,
    }
}

#[inline(always)]
fn is_agent_alive(now: u64) -> bool {
    ALIVE.get(0).is_some_and(|at| now.saturating_sub(*at) < ALIVE_NS)
}

/// Whether the running task is in connect(2), by the number that it called the kernel with.
#[inline(always)]
fn is_connect() -> bool {
    // SAFETY: the running task has registers that were saved at its call.
    let registers = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) };
    let call = At::at(registers as usize).read::<u64>(setting!(offsets.registers_call));
    call == Some(u64::from(setting!(connect_call)))
}

/// Whether this thread may be paused now.
#[inline(always)]
fn may_pause(now: u64) -> bool {
    let (pid, _) = current();
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the value is copied at once.
    let last = unsafe { PAUSED.get(thread) }.copied();
    if pid == FIRST_PROCESS || last.is_some_and(|last| now.saturating_sub(last) < PAUSE_PAUSE_NS) {
        return false;
    }
    // A thread that could not be remembered might be paused for ever.
    PAUSED.insert(thread, now, 0).is_ok()
}

/// Room for the event first: who is stopped must be heard of.
#[inline(always)]
fn stop(netns_cookie: u64, address: Address, port: u16, at_ns: u64) -> Option<()> {
    let mut entry = EVENTS.reserve(0)?;
    // SAFETY: a number.
    if unsafe { bpf_send_signal_thread(SIGSTOP) } != 0 {
        entry.discard(0);
        return None;
    }
    let (pid, tid) = current();
    let event = Event {
        netns_cookie,
        at_ns,
        address,
        kind: EventKind::Paused as u32,
        pid,
        tid,
        port,
        name_bytes: 0,
        name_tail: [0; _],
    };
    let room: &mut MaybeUninit<Event> = &mut entry;
    room.write(event);
    entry.submit(0);
    verdict::count(Outcome::Paused);
    Some(())
}
