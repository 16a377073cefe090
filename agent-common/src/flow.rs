//! The key under which a record waits for the accepting side of its connection.

use crate::Address;

/// One connection to a listener, as both of its ends see it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Cookie of the network namespace that both ends are in.
    pub netns_cookie: u64,
    /// The connecting end.
    pub client: Address,
    /// The listening end.
    pub server: Address,
    /// Port of the connecting end, in host byte order.
    pub client_port: u16,
    /// Port of the listening end, in host byte order.
    pub server_port: u16,
    /// Always zero: the kernel hashes every byte of a key.
    pub padding: u32,
}

const _: () = assert!(size_of::<Flow>() == 48 && align_of::<Flow>() == 8);
const _: () = assert!(core::mem::offset_of!(Flow, client) == 8);
const _: () = assert!(core::mem::offset_of!(Flow, server) == 24);
const _: () = assert!(core::mem::offset_of!(Flow, client_port) == 40);
const _: () = assert!(core::mem::offset_of!(Flow, padding) == 44);

// SAFETY: `repr(C)`, integers only, no padding the compiler added (asserted above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Flow {}
