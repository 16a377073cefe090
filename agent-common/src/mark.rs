//! What tells the agent's own sockets from all others.

/// Kept in the storage of a socket. Only a holder of the map's descriptor can put it there, it dies with the socket,
/// and it is not passed to accepted sockets: unlike a pid, a uid or a firewall mark it cannot be inherited, and nobody
/// but the host's own root, who can open the map as the agent does, can forge it.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u32);

const _: () = assert!(size_of::<Mark>() == 4 && align_of::<Mark>() == 4);

// SAFETY: a transparent integer.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Mark {}

impl Mark {
    /// A socket on which the agent accepts redirected connections.
    pub const LISTENER: Self = Self(1);
    /// A socket by which the agent itself reaches a guarded address.
    pub const UPSTREAM: Self = Self(2);
}
