//! The egress guard: whatever the way, a packet to a guarded address leaves the agent's own sockets or it does not
//! leave. It runs after address translation and sees what no connect hook does: raw sockets, a translated listener
//! port, connected datagram sockets, connections older than the programs. To an address that is not guarded, it stops
//! who asks for a guarded name there (`tripwire`).

use core::ptr::addr_of;

use agent_common::{Address, Mark, Outcome};
use aya_ebpf::{
    bindings::bpf_sock, helpers::generated::bpf_sk_fullsock, macros::cgroup_skb, programs::SkBuffContext,
};
use aya_log_ebpf::warn;

use crate::{
    marks, scope, tripwire,
    verdict::{self, ALLOW, DENY},
};

/// `ETH_P_IP` and `ETH_P_IPV6`, as the context has them.
const IPV4: u32 = 0x0800u16.to_be() as u32;
const IPV6: u32 = 0x86ddu16.to_be() as u32;

/// The part of an IPv4 header that is always there, and an IPv6 header, RFC 791 3.1 and RFC 8200 3.
const V4_HEADER_BYTES: usize = 20;
const V6_HEADER_BYTES: usize = 40;
/// "More fragments" and the offset, which are all zero in a packet that is whole.
const V4_FRAGMENT_BITS: u16 = 0x3fff;
/// The offset alone, which is zero in a packet that begins with a header of its protocol.
const V4_OFFSET_BITS: u16 = 0x1fff;
/// Where length and flags lie in a TCP header, RFC 9293 3.1.
const TCP_LENGTH_AT: u32 = 12;
/// Where the destination port lies, in TCP and UDP alike.
const PORT_AT: u32 = 2;

/// Protocol numbers, of IP and of sockets alike.
const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// `SOCK_STREAM` and `SOCK_RAW`, socket(2).
const SOCK_STREAM: u32 = 1;
const SOCK_RAW: u32 = 3;
/// `AF_INET`, address_families(7).
const AF_INET: u32 = 2;
/// Flags of a TCP header.
const TCP_RST: u8 = 0x04;
const TCP_ACK: u8 = 0x10;

/// What the guard looks at first. Of an address that is guarded as a whole, nothing more: fragments are included.
pub(crate) struct Header {
    pub(crate) destination: Address,
    pub(crate) protocol: u8,
    /// Where the next header begins, if it begins at all.
    pub(crate) bytes: u32,
    /// Whether what follows is a part of something longer. In IPv6 that is a protocol of its own.
    pub(crate) is_fragment: bool,
    /// Whether it is a part that does not begin with a header of its protocol.
    is_later_fragment: bool,
}

#[cgroup_skb(egress)]
pub(crate) fn egress_guard(ctx: SkBuffContext) -> i32 {
    let Some(header) = header(&ctx) else { return ALLOW };
    if !is_guarded(&ctx, &header) {
        return tripwire::look(&ctx, &header);
    }
    if is_control(&header) {
        return ALLOW;
    }
    let socket = socket(&ctx);
    // SAFETY: null or a full socket.
    if unsafe { marks::has(socket, Mark::UPSTREAM) } || is_kernels_reply(&ctx, socket, &header) {
        return ALLOW;
    }
    if verdict::is_observing() && is_older(socket, &header) {
        verdict::count(Outcome::OlderPassed);
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
            let [lengths, part, carried, _, destination] = front::<[u32; V4_HEADER_BYTES / 4]>(ctx)?;
            let [words, ..] = lengths.to_ne_bytes();
            let [_, _, f, g] = part.to_ne_bytes();
            let [_, protocol, ..] = carried.to_ne_bytes();
            Some(Header {
                destination: Address::from_v4_word(destination),
                protocol,
                bytes: u32::from(words & 0x0f) * 4,
                is_fragment: u16::from_be_bytes([f, g]) & V4_FRAGMENT_BITS != 0,
                is_later_fragment: u16::from_be_bytes([f, g]) & V4_OFFSET_BITS != 0,
            })
        }
        IPV6 => {
            let [_, next, _, _, _, _, a, b, c, d] = front::<[u32; V6_HEADER_BYTES / 4]>(ctx)?;
            let [_, _, protocol, _] = next.to_ne_bytes();
            Some(Header {
                destination: Address::from_v6_words([a, b, c, d]),
                protocol,
                bytes: V6_HEADER_BYTES as u32,
                is_fragment: false,
                is_later_fragment: false,
            })
        }
        _ => None,
    }
}

/// The words that the packet begins with. They are read where they lie, if they lie in one piece, as a header always
/// does; if not, the kernel puts them together.
#[inline(always)]
fn front<T: Copy>(ctx: &SkBuffContext) -> Option<T> {
    // SAFETY: the kernel's context; the verifier knows these two fields for the ends of that piece.
    let (begin, end) = unsafe { ((*ctx.skb.skb).data as usize, (*ctx.skb.skb).data_end as usize) };
    if begin + size_of::<T>() > end {
        return ctx.load(0).ok();
    }
    // SAFETY: within the piece (above), of which the verifier makes sure; the kernel aligns headers to words.
    Some(unsafe { (begin as *const T).read() })
}

/// Whether the packet is one that only the agent may send.
#[inline(always)]
fn is_guarded(ctx: &SkBuffContext, header: &Header) -> bool {
    let Some(ports) = marks::guarded(&header.destination) else {
        return scope::is_strict()
            && header.protocol == TCP
            && port(ctx, header).is_some_and(|port| scope::is_unknown(&header.destination, port));
    };
    if ports.is_every() {
        return true;
    }
    match port(ctx, header) {
        Some(port) => ports.contains(port),
        // A later fragment is of no use without the first. In IPv6 a port may lie behind further headers.
        None => !header.destination.is_mapped(),
    }
}

/// The destination port (host byte order), where it lies right behind the IP header.
#[inline(always)]
fn port(ctx: &SkBuffContext, header: &Header) -> Option<u16> {
    if header.is_later_fragment || (header.protocol != TCP && header.protocol != UDP) {
        return None;
    }
    let port: [u8; 2] = ctx.load((header.bytes + PORT_AT) as usize).ok()?;
    Some(u16::from_be_bytes(port))
}

/// Control messages pass: path discovery and neighbour discovery of the agent's own connections are sent by sockets of
/// the kernel's, which carry no mark, and no server at a guarded address speaks anything over them.
#[inline(always)]
fn is_control(header: &Header) -> bool {
    header.protocol == ICMP || header.protocol == ICMPV6
}

/// The full socket that the packet leaves, or null.
#[inline(always)]
pub(crate) fn socket(ctx: &SkBuffContext) -> *mut bpf_sock {
    // SAFETY: the kernel's context; the union has this one meaning.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return socket;
    }
    // SAFETY: not null, as the helper asks.
    unsafe { bpf_sk_fullsock(socket) }
}

/// Whether the socket is a stream that was connected to this very address, and so before the address was guarded: since
/// then, a connect leads to the listener. A packet that was translated on its way left a socket that is connected to
/// something else.
#[inline(always)]
fn is_older(socket: *mut bpf_sock, header: &Header) -> bool {
    if socket.is_null() || header.protocol != TCP {
        return false;
    }
    // SAFETY: a full socket, of which a program may read these fields.
    let (kind, family, word, words) = unsafe {
        let words = addr_of!((*socket).dst_ip6).cast::<u32>();
        let words = [
            words.read_volatile(),
            words.add(1).read_volatile(),
            words.add(2).read_volatile(),
            words.add(3).read_volatile(),
        ];
        (
            addr_of!((*socket).type_).read_volatile(),
            addr_of!((*socket).family).read_volatile(),
            addr_of!((*socket).dst_ip4).read_volatile(),
            words,
        )
    };
    let peer = if family == AF_INET { Address::from_v4_word(word) } else { Address::from_v6_words(words) };
    kind == SOCK_STREAM && peer == header.destination
}

/// Whether this is how the kernel itself answers on a connection that has no socket any more: a bare acknowledgement
/// or reset, from a raw socket of its own. Up to Linux 6.12 the last packet of most of the agent's connections is one.
/// A raw socket of anybody else may send the same, and gets nothing by it: it opens nothing and carries nothing. A
/// fragment could look like one and carry a part of something longer, so none is taken for one. A reset may also leave a
/// connection's own socket: so the server learns of a connection that was older than the guard and was ended.
#[inline(always)]
fn is_kernels_reply(ctx: &SkBuffContext, socket: *mut bpf_sock, header: &Header) -> bool {
    if socket.is_null() || header.protocol != TCP || header.is_fragment {
        return false;
    }
    // SAFETY: a full socket, of which a program may read these fields.
    let (kind, protocol) =
        unsafe { (addr_of!((*socket).type_).read_volatile(), addr_of!((*socket).protocol).read_volatile()) };
    if (kind != SOCK_RAW && kind != SOCK_STREAM) || protocol != u32::from(TCP) {
        return false;
    }
    let Ok([words, flags]) = ctx.load::<[u8; 2]>((header.bytes + TCP_LENGTH_AT) as usize) else {
        return false;
    };
    let bare = ctx.len() == header.bytes + u32::from(words >> 4) * 4;
    bare && ((flags == TCP_ACK && kind == SOCK_RAW) || flags & !TCP_ACK == TCP_RST)
}
