//! `sendto(2)` and `sendmsg(2)` with an address on a datagram socket: refused where the address is guarded.

use agent_common::Outcome;
use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::{
    marks,
    sock_addr::{self, Family},
    verdict::{self, ALLOW, DENY},
};

#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn sendmsg4(ctx: SockAddrContext) -> i32 {
    decide(&ctx, Family::V4)
}

#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn sendmsg6(ctx: SockAddrContext) -> i32 {
    decide(&ctx, Family::V6)
}

#[inline(always)]
fn decide(ctx: &SockAddrContext, family: Family) -> i32 {
    if !marks::is_guarded(&sock_addr::address(ctx, family), sock_addr::port(ctx)) {
        return ALLOW;
    }
    verdict::count(Outcome::DatagramRefused);
    DENY
}
