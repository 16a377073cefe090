//! What a kernel program tells the agent at once, because something has to be done about it.

use crate::Address;

/// One thing that happened. What there is nothing to say about is zero.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Cookie of the socket's network namespace (`SO_NETNS_COOKIE`).
    pub netns_cookie: u64,
    /// `CLOCK_MONOTONIC` when it happened, in nanoseconds.
    pub at_ns: u64,
    /// The address that it is about.
    pub address: Address,
    /// An [`EventKind`], as its number: the two sides may be of different builds.
    pub kind: u32,
    /// Process (thread group) id in the initial pid namespace, where the program can know it.
    pub pid: u32,
    /// Thread id in the initial pid namespace, where the program can know it.
    pub tid: u32,
    /// The port that it is about, in host byte order.
    pub port: u16,
    /// Always zero.
    pub padding: u16,
}

const _: () = assert!(size_of::<Event>() == 48 && align_of::<Event>() == 8);
const _: () = assert!(core::mem::offset_of!(Event, at_ns) == 8);
const _: () = assert!(core::mem::offset_of!(Event, address) == 16);
const _: () = assert!(core::mem::offset_of!(Event, kind) == 32);
const _: () = assert!(core::mem::offset_of!(Event, port) == 44);
const _: () = assert!(core::mem::offset_of!(Event, padding) == 46);

// SAFETY: `repr(C)`, integers only, no padding the compiler added (asserted above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Event {}

/// What an [`Event`] is about. A variant keeps its number for as long as its layout lives.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// A connect to a guarded address was refused, because the agent does not listen in the socket's namespace, or what
    /// should be its listener there is gone or another's. Address and port are what was asked for. At most one per namespace and [`Event::REPEAT_AFTER_NS`].
    UnknownNamespace = 1,
}

impl EventKind {
    const ALL: [Self; 1] = [Self::UnknownNamespace];
}

impl Event {
    /// How long a namespace's event is not repeated: a job that connects in a loop must not crowd out the others.
    pub const REPEAT_AFTER_NS: u64 = 50_000_000;

    /// What it is about; `None` for a number that this build does not know.
    #[must_use]
    pub fn kind(&self) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| *kind as u32 == self.kind)
    }

    /// From the bytes of a ring buffer's entry; `None` if they are not as many as an event has.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: as many bytes as the type has, at any alignment, and every bit pattern is a value of it.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_event_is_read() {
        let mut bytes = [0u8; 48];
        bytes[0] = 7;
        bytes[32] = 1;
        let event = Event::from_bytes(&bytes).unwrap();
        assert_eq!((event.netns_cookie, event.kind()), (7, Some(EventKind::UnknownNamespace)));
        assert_eq!(Event::from_bytes(&bytes[1..]), None);
        assert_eq!(Event::from_bytes(&[0; 56]), None);
    }

    #[test]
    fn a_kind_of_another_build_is_no_kind() {
        let mut bytes = [0u8; 48];
        bytes[35] = 0xff;
        assert_eq!(Event::from_bytes(&bytes).unwrap().kind(), None);
    }
}
