//! Socket operations: what the connecting socket remembers is carried to the accepted one, so that the agent reads it
//! with one lookup by descriptor.
//!
//! The connecting side speaks first: after its port is chosen and before its SYN leaves. The accepting side is told
//! when its handshake is done, under the lock that `accept(2)` waits for. Both run for every TCP connection of the
//! host, so both first look at an address they have at hand.

use core::ptr::{self, addr_of};

use agent_common::{Address, Flow, Origin, Outcome};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_SK_STORAGE_GET_F_CREATE, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_TCP_CONNECT_CB,
        bpf_sock,
    },
    helpers::generated::{bpf_get_netns_cookie, bpf_sk_storage_get},
    macros::sock_ops,
    programs::SockOpsContext,
};

use crate::{
    maps::{ACCEPTED, FLOWS, LISTENERS, ORIGINS},
    verdict,
};

/// `AF_INET`, address_families(7).
const AF_INET: u32 = 2;
/// The kernel ignores what these operations answer.
const DONE: u32 = 1;

#[sock_ops]
pub(crate) fn carry_record(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => leave(&ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => arrive(&ctx),
        _ => {}
    }
    DONE
}

/// The connecting side: leaves the record under the connection's key. A socket without a record clears the key, so
/// that it cannot inherit what an earlier connect from the same port left behind.
#[inline(always)]
fn leave(ctx: &SockOpsContext) {
    let remote = remote(ctx);
    if !remote.is_listeners() {
        return;
    }
    let flow = Flow {
        netns_cookie: namespace(ctx),
        client: local(ctx),
        server: remote,
        client_port: local_port(ctx),
        server_port: remote_port(ctx),
        padding: 0,
    };
    let socket = socket(ctx);
    if socket.is_null() {
        return;
    }
    // SAFETY: the map is a socket storage of `Origin` and the socket is a full one; nothing is created.
    let origin =
        unsafe { bpf_sk_storage_get(addr_of!(ORIGINS).cast_mut().cast(), socket.cast(), ptr::null_mut(), 0) }
            .cast::<Origin>();
    // A map that is out of memory leaves no record, and the agent closes the connection.
    if origin.is_null() {
        let _nothing_there = FLOWS.remove(flow);
    } else {
        // SAFETY: not null: the storage of this socket, which outlives this run.
        let origin = unsafe { &*origin };
        let _no_memory = FLOWS.insert(flow, origin, 0);
    }
}

/// The accepting side: moves the record into the accepted socket.
#[inline(always)]
fn arrive(ctx: &SockOpsContext) {
    let server = local(ctx);
    if !server.is_listeners() {
        return;
    }
    let netns_cookie = namespace(ctx);
    // SAFETY: the value is copied at once; the agent replaces entries whole.
    let Some(listener) = (unsafe { LISTENERS.get(netns_cookie) }).copied() else { return };
    let server_port = local_port(ctx);
    if server_port != if server.is_mapped() { listener.port4 } else { listener.port6 } {
        return;
    }
    let flow = Flow {
        netns_cookie,
        client: remote(ctx),
        server,
        client_port: remote_port(ctx),
        server_port,
        padding: 0,
    };
    // SAFETY: the value is copied at once; only the two ends of this one connection write under its key.
    let Some(mut origin) = (unsafe { FLOWS.get(flow) }).copied() else {
        verdict::count(Outcome::Unrecorded);
        return;
    };
    // Cannot fail: it was there a moment ago, and if it was evicted since, it is gone as it should be.
    let _gone = FLOWS.remove(flow);
    let socket = socket(ctx);
    if socket.is_null() {
        return;
    }
    // SAFETY: the map is a socket storage of `Origin`, the socket is a full one, and the value is copied.
    let kept = unsafe {
        bpf_sk_storage_get(
            addr_of!(ACCEPTED).cast_mut().cast(),
            socket.cast(),
            ptr::from_mut(&mut origin).cast(),
            u64::from(BPF_SK_STORAGE_GET_F_CREATE),
        )
    };
    verdict::count(if kept.is_null() { Outcome::NoMemory } else { Outcome::Carried });
}

#[inline(always)]
fn namespace(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the kernel's context, of a type the helper takes.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
}

#[inline(always)]
fn socket(ctx: &SockOpsContext) -> *mut bpf_sock {
    // SAFETY: the kernel's context; the union has this one meaning.
    unsafe { (*ctx.ops).__bindgen_anon_2.sk }
}

#[inline(always)]
fn local(ctx: &SockOpsContext) -> Address {
    let at = ctx.ops;
    // SAFETY: the kernel's context; the fields are readable.
    unsafe { address(ctx, addr_of!((*at).local_ip4), addr_of!((*at).local_ip6).cast()) }
}

#[inline(always)]
fn remote(ctx: &SockOpsContext) -> Address {
    let at = ctx.ops;
    // SAFETY: the kernel's context; the fields are readable.
    unsafe { address(ctx, addr_of!((*at).remote_ip4), addr_of!((*at).remote_ip6).cast()) }
}

/// A mapped address of an IPv6 socket and the same address of an IPv4 socket come out alike, as they must: the two
/// ends of one connection may differ in that. All words are read before one is chosen, because the compiler would
/// merge the branches into one read at a computed place, which the verifier refuses.
///
/// # Safety
/// `v4` points at one word and `v6` at four words of the context that this hook may read.
#[inline(always)]
unsafe fn address(ctx: &SockOpsContext, v4: *const u32, v6: *const u32) -> Address {
    // SAFETY: the caller's promise.
    let (word, words) = unsafe {
        let words = [
            v6.read_volatile(),
            v6.add(1).read_volatile(),
            v6.add(2).read_volatile(),
            v6.add(3).read_volatile(),
        ];
        (v4.read_volatile(), words)
    };
    if ctx.family() == AF_INET { Address::from_v4_word(word) } else { Address::from_v6_words(words) }
}

/// In host byte order, as the context has it.
#[inline(always)]
fn local_port(ctx: &SockOpsContext) -> u16 {
    // SAFETY: the kernel's context; the field is readable.
    let word = unsafe { addr_of!((*ctx.ops).local_port).read_volatile() };
    let [low, high, ..] = word.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// In host byte order. The context has it in network byte order, in the last two bytes of the word.
#[inline(always)]
fn remote_port(ctx: &SockOpsContext) -> u16 {
    // SAFETY: the kernel's context; the field is readable.
    let word = unsafe { addr_of!((*ctx.ops).remote_port).read_volatile() };
    let [.., high, low] = word.to_ne_bytes();
    u16::from_be_bytes([high, low])
}
