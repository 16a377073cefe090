//! The egress guard: whatever the way, a packet to a guarded address leaves the agent's own sockets or it does not
//! leave. It runs after address translation and sees what no connect hook does: raw sockets, a translated listener
//! port, connected datagram sockets, connections older than the programs.

use core::ptr::addr_of;

use agent_common::{Address, Mark, Outcome};
use aya_ebpf::{
    bindings::bpf_sock, helpers::generated::bpf_sk_fullsock, macros::cgroup_skb, programs::SkBuffContext,
};
use aya_log_ebpf::warn;

use crate::{
    marks,
    verdict::{self, ALLOW, DENY},
};

/// `ETH_P_IP` and `ETH_P_IPV6`, as the context has them.
const IPV4: u32 = 0x0800u16.to_be() as u32;
const IPV6: u32 = 0x86ddu16.to_be() as u32;

/// Where the fields lie, RFC 791 3.1 and RFC 8200 3.
const V4_FRAGMENT_AT: usize = 6;
const V4_PROTOCOL_AT: usize = 9;
const V4_DESTINATION_AT: usize = 16;
const V6_NEXT_HEADER_AT: usize = 6;
const V6_DESTINATION_AT: usize = 24;
const V6_HEADER_BYTES: u32 = 40;
/// "More fragments" and the offset, which are all zero in a packet that is whole.
const V4_FRAGMENT_BITS: u16 = 0x3fff;
/// Where length and flags lie in a TCP header, RFC 9293 3.1.
const TCP_LENGTH_AT: u32 = 12;

/// Protocol numbers, of IP and of sockets alike.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;

/// `SOCK_RAW`, socket(2).
const SOCK_RAW: u32 = 3;
/// Flags of a TCP header.
const TCP_RST: u8 = 0x04;
const TCP_ACK: u8 = 0x10;

/// What the guard looks at. Ports are not among it: all of a guarded address is guarded, fragments included.
struct Header {
    destination: Address,
    protocol: u8,
    /// Where the next header begins, if it begins at all.
    bytes: u32,
    /// Whether what follows is a part of something longer. In IPv6 that is a protocol of its own.
    is_fragment: bool,
}

#[cgroup_skb(egress)]
pub(crate) fn egress_guard(ctx: SkBuffContext) -> i32 {
    let Some(header) = header(&ctx) else { return ALLOW };
    if !marks::is_guarded(&header.destination) || is_control(&header) {
        return ALLOW;
    }
    let socket = socket(&ctx);
    // SAFETY: null or a full socket.
    if unsafe { marks::has(socket, Mark::UPSTREAM) } || is_kernels_reply(&ctx, socket, &header) {
        return ALLOW;
    }
    verdict::count(Outcome::PacketDropped);
    if verdict::may_log(Outcome::PacketDropped) {
        warn!(&ctx, "dropped a packet of protocol {} to a guarded address", header.protocol);
    }
    DENY
}

/// None for what is neither IPv4 nor IPv6; a header that cannot be read does not get this far.
#[inline(always)]
fn header(ctx: &SkBuffContext) -> Option<Header> {
    // SAFETY: the kernel's context; this hook may read the field.
    match unsafe { (*ctx.skb.skb).protocol } {
        IPV4 => {
            let words: u8 = ctx.load(0).ok()?;
            let fragment: [u8; 2] = ctx.load(V4_FRAGMENT_AT).ok()?;
            Some(Header {
                destination: Address::from_v4_word(ctx.load(V4_DESTINATION_AT).ok()?),
                protocol: ctx.load(V4_PROTOCOL_AT).ok()?,
                bytes: u32::from(words & 0x0f) * 4,
                is_fragment: u16::from_be_bytes(fragment) & V4_FRAGMENT_BITS != 0,
            })
        }
        IPV6 => Some(Header {
            destination: Address::from_v6_words(ctx.load(V6_DESTINATION_AT).ok()?),
            protocol: ctx.load(V6_NEXT_HEADER_AT).ok()?,
            bytes: V6_HEADER_BYTES,
            is_fragment: false,
        }),
        _ => None,
    }
}

/// Control messages pass: path discovery and neighbour discovery of the agent's own connections are sent by sockets of
/// the kernel's, which carry no mark, and no server at a guarded address speaks anything over them.
#[inline(always)]
fn is_control(header: &Header) -> bool {
    header.protocol == ICMP || header.protocol == ICMPV6
}

/// The full socket that the packet leaves, or null.
#[inline(always)]
fn socket(ctx: &SkBuffContext) -> *mut bpf_sock {
    // SAFETY: the kernel's context; the union has this one meaning.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return socket;
    }
    // SAFETY: not null, as the helper asks.
    unsafe { bpf_sk_fullsock(socket) }
}

/// Whether this is how the kernel itself answers on a connection that has no socket any more: a bare acknowledgement
/// or reset, from a raw socket of its own. Up to Linux 6.12 the last packet of most of the agent's connections is one.
/// A raw socket of anybody else may send the same, and gets nothing by it: it opens nothing and carries nothing. A
/// fragment could look like one and carry a part of something longer, so none is taken for one.
#[inline(always)]
fn is_kernels_reply(ctx: &SkBuffContext, socket: *mut bpf_sock, header: &Header) -> bool {
    if socket.is_null() || header.protocol != TCP || header.is_fragment {
        return false;
    }
    // SAFETY: a full socket, of which a program may read these fields.
    let (kind, protocol) =
        unsafe { (addr_of!((*socket).type_).read_volatile(), addr_of!((*socket).protocol).read_volatile()) };
    if kind != SOCK_RAW || protocol != u32::from(TCP) {
        return false;
    }
    let Ok([words, flags]) = ctx.load::<[u8; 2]>((header.bytes + TCP_LENGTH_AT) as usize) else {
        return false;
    };
    let bare = ctx.len() == header.bytes + u32::from(words >> 4) * 4;
    bare && (flags == TCP_ACK || flags & !TCP_ACK == TCP_RST)
}
