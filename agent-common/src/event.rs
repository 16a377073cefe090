//! What a kernel program tells the agent at once, because something has to be done about it.

use crate::{Address, NAME_BYTES, NAME_WORDS};

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
    /// How long the name is that a client asked for; zero where there is none.
    pub name_bytes: u16,
    /// The last bytes of that name, to the right; what is before the name's first byte means nothing.
    pub name_tail: [u64; NAME_WORDS],
}

const _: () = assert!(size_of::<Event>() == 112 && align_of::<Event>() == 8);
const _: () = assert!(core::mem::offset_of!(Event, at_ns) == 8);
const _: () = assert!(core::mem::offset_of!(Event, address) == 16);
const _: () = assert!(core::mem::offset_of!(Event, kind) == 32);
const _: () = assert!(core::mem::offset_of!(Event, port) == 44);
const _: () = assert!(core::mem::offset_of!(Event, name_bytes) == 46);
const _: () = assert!(core::mem::offset_of!(Event, name_tail) == 48);

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
    /// A client asked for a name of a guarded domain at an address that is not guarded. Address, port and name are those.
    /// At most one per address and [`Event::SUSPECT_AFTER_NS`].
    GuardedName = 2,
    /// As [`UnknownNamespace`](Self::UnknownNamespace), but the process is stopped and its connect will be made again: it
    /// must be let go on, whatever becomes of it.
    Paused = 3,
}

impl EventKind {
    const ALL: [Self; 3] = [Self::UnknownNamespace, Self::GuardedName, Self::Paused];
}

impl Event {
    /// How long a namespace's event is not repeated: a job that connects in a loop must not crowd out the others.
    pub const REPEAT_AFTER_NS: u64 = 50_000_000;

    /// How long an address's event is not repeated. What was dropped is sent again after a fifth of a second at the
    /// earliest, so that an event that was lost has a successor soon.
    pub const SUSPECT_AFTER_NS: u64 = 150_000_000;

    /// What it is about; `None` for a number that this build does not know.
    #[must_use]
    pub fn kind(&self) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| *kind as u32 == self.kind)
    }

    /// The name that a client asked for, put into `room`; `None` if there is none, or it is longer than a tail. The
    /// client chose it, byte by byte.
    #[must_use]
    pub fn name<'a>(&self, room: &'a mut [u8; NAME_BYTES]) -> Option<&'a [u8]> {
        for (to, word) in room.as_chunks_mut().0.iter_mut().zip(self.name_tail) {
            *to = word.to_ne_bytes();
        }
        let begin = NAME_BYTES.checked_sub(usize::from(self.name_bytes))?;
        room.get(begin..).filter(|name| !name.is_empty())
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
        let mut bytes = [0u8; 112];
        bytes[0] = 7;
        bytes[32] = 1;
        let event = Event::from_bytes(&bytes).unwrap();
        assert_eq!((event.netns_cookie, event.kind()), (7, Some(EventKind::UnknownNamespace)));
        assert_eq!(Event::from_bytes(&bytes[1..]), None);
        assert_eq!(Event::from_bytes(&[0; 120]), None);
    }

    #[test]
    fn a_kind_of_another_build_is_no_kind() {
        let mut bytes = [0u8; 112];
        bytes[35] = 0xff;
        assert_eq!(Event::from_bytes(&bytes).unwrap().kind(), None);
    }

    #[test]
    fn a_name_is_what_its_length_says_of_the_tail() {
        let mut bytes = [0u8; 112];
        bytes[48..].iter_mut().zip(32..).for_each(|(byte, value)| *byte = value);
        for (length, name) in [(0u16, None), (2, Some(&[94, 95][..])), (65, None), (u16::MAX, None)] {
            bytes[46..48].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Event::from_bytes(&bytes).unwrap().name(&mut [0; NAME_BYTES]), name, "{length}");
        }
        bytes[46] = 64;
        bytes[47] = 0;
        assert_eq!(Event::from_bytes(&bytes).unwrap().name(&mut [0; NAME_BYTES]).unwrap().len(), 64);
    }
}
