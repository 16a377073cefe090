//! Whether the agent listens in the caller's network namespace: a marked listener that is there now.

use core::mem;

use agent_common::{Address, Mark, Outcome};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_F_CURRENT_NETNS, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple4,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Tuple6,
    },
    helpers::generated::{bpf_get_netns_cookie, bpf_sk_lookup_tcp, bpf_sk_release},
    programs::SockAddrContext,
};

use crate::{maps::LISTENERS, marks};

/// Sizes by which the kernel tells the two kinds of tuple apart.
const TUPLE4_BYTES: u32 = 12;
const TUPLE6_BYTES: u32 = 36;
const _: () = assert!(size_of::<Tuple4>() == TUPLE4_BYTES as usize);
const _: () = assert!(size_of::<Tuple6>() == TUPLE6_BYTES as usize);

/// Where a socket is pointed.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) address: Address,
    /// In host byte order.
    pub(crate) port: u16,
}

/// Cookie of the socket's network namespace.
#[inline(always)]
pub(crate) fn namespace(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the kernel's context, of a type the helper takes.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
}

/// The listener for a connect to `asked`. A real IPv6 address is answered by `::1` where the agent has it, because an
/// IPv6-only socket cannot reach a mapped address.
#[inline(always)]
pub(crate) fn find(ctx: &SockAddrContext, namespace: u64, asked: &Address) -> Result<Place, Outcome> {
    // SAFETY: the value is copied at once; the agent replaces entries whole.
    let listener = *unsafe { LISTENERS.get(namespace) }.ok_or(Outcome::UnknownNamespace)?;
    if !asked.is_mapped() && listener.port6 != 0 {
        let place = Place { address: Address::LOOPBACK_V6, port: listener.port6 };
        if check(ctx, &place).is_ok() {
            return Ok(place);
        }
    }
    let place = Place { address: Address::LOOPBACK_MAPPED, port: listener.port4 };
    check(ctx, &place)?;
    Ok(place)
}

/// Looks the socket up as a SYN would find it. A lookup, not a heartbeat: it cannot lag behind the agent's death.
#[inline(always)]
fn check(ctx: &SockAddrContext, place: &Place) -> Result<(), Outcome> {
    // SAFETY: integers only, for which zero is a value.
    let mut tuple: bpf_sock_tuple = unsafe { mem::zeroed() };
    let size = if place.address.is_mapped() {
        tuple.__bindgen_anon_1.ipv4 =
            Tuple4 { saddr: 0, daddr: place.address.v4_word(), sport: 0, dport: place.port.to_be() };
        TUPLE4_BYTES
    } else {
        tuple.__bindgen_anon_1.ipv6 =
            Tuple6 { saddr: [0; 4], daddr: place.address.v6_words(), sport: 0, dport: place.port.to_be() };
        TUPLE6_BYTES
    };
    let namespace = i64::from(BPF_F_CURRENT_NETNS).cast_unsigned();
    // SAFETY: the tuple is on the stack and initialised in full; its size says which of the two it is.
    let socket = unsafe { bpf_sk_lookup_tcp(ctx.as_ptr(), &raw mut tuple, size, namespace, 0) };
    if socket.is_null() {
        return Err(Outcome::ListenerAbsent);
    }
    // SAFETY: not null: a full socket that is ours until it is released, which is the next thing done.
    let ours = unsafe {
        let ours = marks::has(socket, Mark::LISTENER);
        bpf_sk_release(socket.cast());
        ours
    };
    if ours { Ok(()) } else { Err(Outcome::ListenerForged) }
}
