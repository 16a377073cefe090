//! `getpeername(2)`: a redirected socket is shown the address that it asked for.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::{
    maps::ORIGINS,
    sock_addr::{self, Family},
    verdict::ALLOW,
};

#[cgroup_sock_addr(getpeername4)]
pub(crate) fn getpeername4(ctx: SockAddrContext) -> i32 {
    show(&ctx, Family::V4)
}

#[cgroup_sock_addr(getpeername6)]
pub(crate) fn getpeername6(ctx: SockAddrContext) -> i32 {
    show(&ctx, Family::V6)
}

#[inline(always)]
fn show(ctx: &SockAddrContext, family: Family) -> i32 {
    // SAFETY: the context's socket is a full one; without a value, nothing is created.
    let origin = unsafe { ORIGINS.get_ptr_mut(ctx) };
    if !origin.is_null() {
        // SAFETY: not null: the storage of this socket, which outlives this run.
        let (address, port) = unsafe { ((*origin).address, (*origin).port) };
        sock_addr::replace(ctx, family, address, port);
    }
    ALLOW
}
