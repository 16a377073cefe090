//! `connect(2)`: a stream to a guarded address, or to one that the agent has to look at first, is pointed at the
//! agent's listener, or refused.

use core::ptr::{self, addr_of};

use agent_common::{Address, EventKind, Mark, Origin, Outcome};
use aya_ebpf::{
    EbpfContext as _,
    bindings::SO_BINDTODEVICE,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::{
            bpf_get_current_cgroup_id, bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_setsockopt,
            bpf_sk_storage_delete,
        },
    },
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use aya_log_ebpf::warn;

use crate::{
    events::{self, Name, Task},
    follow, listeners,
    maps::ORIGINS,
    marks, scope,
    sock_addr::{self, Family},
    verdict::{self, ALLOW, ECONNREFUSED, ENOMEM},
};

/// `SOL_SOCKET`, socket(7).
const SOL_SOCKET: i32 = 1;

#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(ctx: SockAddrContext) -> i32 {
    decide(&ctx, Family::V4)
}

/// Also runs for an IPv6 socket that asks for a mapped address.
#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(ctx: SockAddrContext) -> i32 {
    decide(&ctx, Family::V6)
}

/// A datagram socket may connect: no packet leaves by that, and resolvers do it to order the addresses of a name, so
/// that refusing it would change which one a client tries first. What it then sends is dropped by the egress guard.
#[inline(always)]
fn decide(ctx: &SockAddrContext, family: Family) -> i32 {
    let (asked, port) = (sock_addr::address(ctx, family), sock_addr::port(ctx));
    let is_caught = marks::is_guarded(&asked, port) || scope::is_unknown(&asked, port);
    if !is_caught || !sock_addr::is_stream(ctx) {
        forget(ctx);
        return ALLOW;
    }
    // SAFETY: the socket of a sock_addr context is a full one.
    if unsafe { marks::has(sock_addr::socket(ctx), Mark::UPSTREAM) } {
        verdict::count(Outcome::Upstream);
        return ALLOW;
    }
    let namespace = listeners::namespace(ctx);
    match redirect(ctx, family, namespace, asked) {
        Ok(()) => {
            verdict::count(Outcome::Redirected);
            ALLOW
        }
        Err(outcome) => refuse(ctx, namespace, asked, outcome),
    }
}

#[inline(always)]
fn redirect(ctx: &SockAddrContext, family: Family, namespace: u64, asked: Address) -> Result<(), Outcome> {
    let place = listeners::find(ctx, namespace, &asked)?;
    remember(ctx, namespace, asked)?;
    unbind(ctx);
    sock_addr::replace(ctx, family, place.address, place.port);
    Ok(())
}

/// Writes down where the socket was going and who asked, in the socket itself.
#[inline(always)]
fn remember(ctx: &SockAddrContext, namespace: u64, asked: Address) -> Result<(), Outcome> {
    let (pid, tid) = halves(bpf_get_current_pid_tgid());
    let (gid, uid) = halves(bpf_get_current_uid_gid());
    let (standing, job_ended_at_ns) = follow::current();
    let mut origin = Origin {
        address: asked,
        netns_cookie: namespace,
        // SAFETY: the kernel's context, of a type the helper takes.
        socket_cookie: unsafe { bpf_get_socket_cookie(ctx.as_ptr()) },
        // SAFETY: no arguments.
        cgroup_id: unsafe { bpf_get_current_cgroup_id() },
        // SAFETY: no arguments.
        connected_at_ns: unsafe { bpf_ktime_get_ns() },
        pid,
        tid,
        uid,
        gid,
        comm: bpf_get_current_comm().unwrap_or_default(),
        port: sock_addr::port(ctx),
        padding: [0; 6],
        standing,
        job_ended_at_ns,
    };
    // SAFETY: the context's socket is a full one; the map copies the value.
    let kept = unsafe { ORIGINS.get_or_insert_ptr_mut(ctx, Some(&mut origin)) };
    if kept.is_null() {
        return Err(Outcome::NoMemory);
    }
    // A socket that was connected before has an older record, which creating did not touch.
    // SAFETY: not null: the storage of this socket, which outlives this run.
    unsafe { *kept = origin };
    Ok(())
}

/// The upper and the lower half of what a helper packs into one word.
#[inline(always)]
fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, (word & 0xffff_ffff) as u32)
}

/// A socket that was redirected once and now goes elsewhere must not keep showing its old peer. Almost none has a
/// record, and to look for one costs less than to delete none, for which the kernel takes a reference.
#[inline(always)]
fn forget(ctx: &SockAddrContext) {
    // SAFETY: the context's socket is a full one; without a value, nothing is created.
    if unsafe { ORIGINS.get_ptr_mut(ctx) }.is_null() {
        return;
    }
    // SAFETY: the map is a socket storage and the context's socket is a full one.
    unsafe { bpf_sk_storage_delete(addr_of!(ORIGINS).cast_mut().cast(), sock_addr::socket(ctx).cast()) };
}

/// Frees the socket of the device it is bound to: from there, loopback cannot be reached.
#[inline(always)]
fn unbind(ctx: &SockAddrContext) {
    // SAFETY: the context's socket is a full one, and the field is one that a program may read.
    if unsafe { addr_of!((*sock_addr::socket(ctx)).bound_dev_if).read_volatile() } == 0 {
        return;
    }
    let mut none = 0u8;
    // SAFETY: the value is one byte on the stack, an empty name.
    let failed = unsafe {
        bpf_setsockopt(ctx.as_ptr(), SOL_SOCKET, SO_BINDTODEVICE as i32, ptr::from_mut(&mut none).cast(), 1)
    };
    if failed != 0 {
        verdict::count(Outcome::StillBound);
    }
}

/// Ends the call. A missing listener is not logged: whoever would read the log is what is missing.
#[inline(always)]
fn refuse(ctx: &SockAddrContext, namespace: u64, asked: Address, outcome: Outcome) -> i32 {
    forget(ctx);
    verdict::count(outcome);
    let (pid, tid) = halves(bpf_get_current_pid_tgid());
    if outcome != Outcome::NoMemory && events::may_announce(namespace) {
        let asked = (asked, sock_addr::port(ctx));
        events::send(EventKind::UnknownNamespace, namespace, Task { pid, tid }, asked, &Name::NONE);
    }
    if outcome != Outcome::ListenerAbsent && verdict::may_log(outcome) {
        match outcome {
            Outcome::UnknownNamespace => {
                warn!(ctx, "refused process {}: no listener in network namespace {}", pid, namespace);
            }
            Outcome::ListenerForged => {
                warn!(ctx, "refused process {}: a stranger listens in network namespace {}", pid, namespace);
            }
            _ => warn!(ctx, "refused process {}: out of memory", pid),
        }
    }
    verdict::refuse(if outcome == Outcome::NoMemory { ENOMEM } else { ECONNREFUSED })
}
