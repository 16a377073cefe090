//! The context that connect, sendmsg and getpeername share: an address, a port and a socket.

use core::ptr::{addr_of, addr_of_mut};

use agent_common::Address;
use aya_ebpf::{bindings::bpf_sock, programs::SockAddrContext};

/// `SOCK_STREAM`, socket(2).
const SOCK_STREAM: u32 = 1;

/// Which of a pair of hooks is running. A constant in each entry point, so that the other branch is never compiled in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// The address in the context.
#[inline(always)]
pub(crate) fn address(ctx: &SockAddrContext, family: Family) -> Address {
    let at = ctx.sock_addr;
    match family {
        // SAFETY: the kernel's context; this hook may read the field.
        Family::V4 => Address::from_v4_word(unsafe { addr_of!((*at).user_ip4).read_volatile() }),
        Family::V6 => {
            // SAFETY: the kernel's context; the four words lie one behind the other, and this hook may read them.
            let words = unsafe {
                let word = addr_of!((*at).user_ip6).cast::<u32>();
                [
                    word.read_volatile(),
                    word.add(1).read_volatile(),
                    word.add(2).read_volatile(),
                    word.add(3).read_volatile(),
                ]
            };
            Address::from_v6_words(words)
        }
    }
}

/// The port in the context, in host byte order.
#[inline(always)]
pub(crate) fn port(ctx: &SockAddrContext) -> u16 {
    // SAFETY: the kernel's context; every sock_addr hook may read the field.
    let word = unsafe { addr_of!((*ctx.sock_addr).user_port).read_volatile() };
    let [high, low, ..] = word.to_ne_bytes();
    u16::from_be_bytes([high, low])
}

/// Puts another address and port (host byte order) into the context.
#[inline(always)]
pub(crate) fn replace(ctx: &SockAddrContext, family: Family, address: Address, port: u16) {
    let at = ctx.sock_addr;
    // SAFETY: the kernel's context; connect and getpeername may write these fields of their own family.
    unsafe {
        match family {
            Family::V4 => addr_of_mut!((*at).user_ip4).write_volatile(address.v4_word()),
            Family::V6 => {
                let word = addr_of_mut!((*at).user_ip6).cast::<u32>();
                let [a, b, c, d] = address.v6_words();
                word.write_volatile(a);
                word.add(1).write_volatile(b);
                word.add(2).write_volatile(c);
                word.add(3).write_volatile(d);
            }
        }
        addr_of_mut!((*at).user_port).write_volatile(u32::from(port.to_be()));
    }
}

/// The socket, always a full one in these hooks.
#[inline(always)]
pub(crate) fn socket(ctx: &SockAddrContext) -> *mut bpf_sock {
    // SAFETY: the kernel's context; the union has this one meaning.
    unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk }
}

/// Whether the socket carries a stream: TCP, or what falls back to it.
#[inline(always)]
pub(crate) fn is_stream(ctx: &SockAddrContext) -> bool {
    // SAFETY: the kernel's context; every sock_addr hook may read the field.
    unsafe { addr_of!((*ctx.sock_addr).type_).read_volatile() == SOCK_STREAM }
}
