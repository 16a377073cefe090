//! What the kernel programs and the agent say to each other: the bytes of every map, and nothing else.
//!
//! Owns: the layout of what crosses the border between kernel and agent.
//! May touch: nothing.
//! Never: behaviour, allocation, or a type whose size depends on the target.
//!
//! Every type is `repr(C)` of sized integers with its padding spelled out, and asserts its own size, alignment and
//! offsets: the two sides are compiled for different machines, and pinned maps outlive both. A change to any of
//! them, or to the shape of a map, is a new [`LAYOUT`].

#![no_std]

#[cfg(test)]
extern crate std;

mod address;
mod domain;
mod event;
mod flow;
mod listener;
mod lsm;
mod mark;
mod origin;
mod outcome;
mod ports;
mod standing;

pub use address::Address;
pub use domain::{DOMAIN_BYTES_MAX, DOMAINS_MAX, Domain, NAME_BYTES, NAME_WORDS};
pub use event::{Event, EventKind};
pub use flow::Flow;
pub use listener::Listener;
pub use lsm::{
    ALIVE_NS, LsmSettings, OWN_MAX, Offsets, Own, OwnKind, PAUSE_PAUSE_NS, PAUSED_MAX, SERVICE_BYTES,
    SERVICES_MAX, ServiceName,
};
pub use mark::Mark;
pub use origin::{COMM_BYTES, Origin};
pub use outcome::Outcome;
pub use ports::Ports;
pub use standing::{
    ENDED_MAX, FOLLOWED_MAX, FileKey, FollowOffsets, ProcessId, Role, STARTERS_MAX, Standing, TICK_NS,
};

/// Version of everything in this crate. Part of the path under which maps and links are pinned.
pub const LAYOUT: u32 = 6;

/// Most addresses that can be guarded at once.
pub const GUARDED_ADDRESSES_MAX: u32 = 8_192;
/// Most network namespaces that can have a listener at once.
pub const LISTENERS_MAX: u32 = 4_096;
/// Most redirected connections between their SYN and their place in the listener's queue. The map evicts its oldest
/// entry: a connection whose record is lost is closed by the agent, never let through.
pub const FLOWS_MAX: u32 = 65_536;

/// Bytes of the ring buffer of events, a power of two: some 2,100 of them. What does not fit is lost, and counted.
pub const EVENTS_BYTES: u32 = 256 * 1024;
/// Most namespaces whose last event is remembered. The map evicts its oldest entry, whose next event then comes early.
pub const ANNOUNCED_MAX: u32 = 4_096;
/// Most addresses that were named in an event and are remembered for that. The map evicts its oldest entry, whose next
/// event then comes early.
pub const SUSPECTED_MAX: u32 = 4_096;

/// Value of a map that is used as a set.
pub type Present = u8;
