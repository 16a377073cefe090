//! The kernel programs: they tell a guarded connect from any other, and hand it to the agent or refuse it.
//!
//! Owns: the hooks on the cgroup, those by which processes are followed, and the maps they share.
//! May touch: agent-common.
//! Never: a kernel structure outside of `lsm` and `follow` (helpers give all else, so there is nothing to relocate), an
//! exemption from the guard by pid, uid or firewall mark, or a verdict beyond "guarded or not" and "the agent's own socket
//! or not"; a name in a ClientHello only ever stops a packet, and never lets one through.
//!
//! One file per hook, `tripwire` beside `egress`, and six that they share: `events`, `fields`, `maps`, `marks`, `scope`
//! and `verdict`. `lsm` is a layer of its own, that is loaded only where the kernel has it. Fields of a context are read and
//! written volatile throughout: the compiler would otherwise merge neighbouring accesses into a wider one, which the
//! verifier refuses.

#![no_std]
#![no_main]

mod connect;
mod datagram;
mod egress;
mod events;
mod fields;
mod follow;
mod listeners;
mod lsm;
mod maps;
mod marks;
mod peer_name;
mod record;
mod scope;
mod sock_addr;
mod tripwire;
mod verdict;

/// The kernel takes a security-module program only under a licence from its own short list, on which Apache-2.0 is not:
/// this package is offered under either (`Cargo.toml`).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 7] = *b"GPL v2\0";

/// The verifier proves that nothing panics; the compiler wants a handler all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
