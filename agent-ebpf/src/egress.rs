//! The egress guard: whatever the way, a packet to a guarded address leaves the agent's own sockets or it does not
//! leave. It runs after address translation and sees what no connect hook does: raw sockets, a translated listener
//! port, connected datagram sockets, connections older than the programs.

use agent_common::{Address, Mark, Outcome};
use aya_ebpf::{helpers::generated::bpf_sk_fullsock, macros::cgroup_skb, programs::SkBuffContext};
use aya_log_ebpf::warn;

use crate::{
    marks,
    verdict::{self, ALLOW, DENY},
};

/// `ETH_P_IP` and `ETH_P_IPV6`, as the context has them.
const IPV4: u32 = 0x0800u16.to_be() as u32;
const IPV6: u32 = 0x86ddu16.to_be() as u32;

/// Where the fields lie, RFC 791 3.1 and RFC 8200 3.
const V4_PROTOCOL_AT: usize = 9;
const V4_DESTINATION_AT: usize = 16;
const V6_NEXT_HEADER_AT: usize = 6;
const V6_DESTINATION_AT: usize = 24;

/// Control messages pass: path discovery and neighbour discovery of the agent's own connections are sent by sockets of
/// the kernel's, which carry no mark, and no server at a guarded address speaks anything over them.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

#[cgroup_skb(egress)]
pub(crate) fn egress_guard(ctx: SkBuffContext) -> i32 {
    let Some((destination, protocol)) = header(&ctx) else { return ALLOW };
    if protocol == ICMP || protocol == ICMPV6 || !marks::is_guarded(&destination) || is_upstream(&ctx) {
        return ALLOW;
    }
    verdict::count(Outcome::PacketDropped);
    if verdict::may_log(Outcome::PacketDropped) {
        warn!(&ctx, "dropped a packet of protocol {} to a guarded address", protocol);
    }
    DENY
}

/// Destination and protocol. Ports are not looked at: all of a guarded address is guarded, fragments included. None
/// for what is neither IPv4 nor IPv6; a header that cannot be read does not get this far.
#[inline(always)]
fn header(ctx: &SkBuffContext) -> Option<(Address, u8)> {
    // SAFETY: the kernel's context; this hook may read the field.
    match unsafe { (*ctx.skb.skb).protocol } {
        IPV4 => {
            let word: u32 = ctx.load(V4_DESTINATION_AT).ok()?;
            Some((Address::from_v4_word(word), ctx.load(V4_PROTOCOL_AT).ok()?))
        }
        IPV6 => {
            let words: [u32; 4] = ctx.load(V6_DESTINATION_AT).ok()?;
            Some((Address::from_v6_words(words), ctx.load(V6_NEXT_HEADER_AT).ok()?))
        }
        _ => None,
    }
}

/// Whether the packet leaves one of the agent's own sockets.
#[inline(always)]
fn is_upstream(ctx: &SkBuffContext) -> bool {
    // SAFETY: the kernel's context; the union has this one meaning.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return false;
    }
    // SAFETY: not null, as the helper asks; it answers null or a full socket, as `has` asks.
    unsafe { marks::has(bpf_sk_fullsock(socket), Mark::UPSTREAM) }
}
