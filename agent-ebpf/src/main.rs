//! The kernel programs: they tell a guarded connect from any other, and hand it to the agent or refuse it.
//!
//! Owns: the hooks on the cgroup and the maps they share.
//! May touch: agent-common.
//! Never: a kernel structure (helpers give all that is needed, so there is nothing to relocate), an exemption by pid,
//! uid or firewall mark, or a verdict beyond "guarded or not" and "the agent's own socket or not"; a name in a
//! ClientHello only ever stops a packet, and never lets one through.
//!
//! One file per hook, `tripwire` beside `egress`, and five that they share: `events`, `maps`, `marks`, `scope` and `verdict`. Fields of a context are read and
//! written volatile throughout: the compiler would otherwise merge neighbouring accesses into a wider one, which the
//! verifier refuses.

#![no_std]
#![no_main]

mod connect;
mod datagram;
mod egress;
mod events;
mod listeners;
mod maps;
mod marks;
mod peer_name;
mod record;
mod scope;
mod sock_addr;
mod tripwire;
mod verdict;

/// No helper used here asks for a GPL program.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 11] = *b"Apache-2.0\0";

/// The verifier proves that nothing panics; the compiler wants a handler all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
