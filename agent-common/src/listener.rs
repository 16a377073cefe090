//! Where the agent listens in a network namespace.

/// The ports of one namespace's listeners, on `127.0.0.1` and `::1`, in host byte order.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Port on `127.0.0.1`.
    pub port4: u16,
    /// Port on `::1`; zero where there is no IPv6.
    pub port6: u16,
}

const _: () = assert!(size_of::<Listener>() == 4 && align_of::<Listener>() == 2);
const _: () = assert!(core::mem::offset_of!(Listener, port6) == 2);

// SAFETY: `repr(C)`, integers only, no padding (asserted above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Listener {}
