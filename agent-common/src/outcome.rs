//! What the kernel programs did, to be counted.

/// One way in which a program's run can end that is worth a counter. The number is the index of the counter, so a
/// variant keeps its number for as long as its layout lives.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// A connect to a guarded address was pointed at the listener.
    Redirected = 0,
    /// The agent's own socket was let through to a guarded address.
    Upstream = 1,
    /// Refused: the agent does not listen in the socket's network namespace.
    UnknownNamespace = 2,
    /// Refused: nothing listens where the agent should.
    ListenerAbsent = 3,
    /// Refused: what listens where the agent should is not the agent.
    ListenerForged = 4,
    /// Refused: the kernel had no memory for the record.
    NoMemory = 5,
    /// A datagram to a guarded address was refused.
    DatagramRefused = 6,
    /// A packet to a guarded address left a socket that is not the agent's, and was dropped.
    PacketDropped = 7,
    /// A record was handed to the accepting side.
    Carried = 8,
    /// Somebody reached the listener without having been redirected. The agent closes such a connection.
    Unrecorded = 9,
    /// A socket was bound to a device and could not be freed of it: its connect will time out.
    StillBound = 10,
    /// An event found no room in the ring buffer.
    EventLost = 11,
    /// A client asked for a name of a guarded domain at an address that is not guarded, and its packet was dropped.
    HelloDropped = 12,
    /// The same, by an agent that only observes: the packet passed.
    HelloPassed = 13,
    /// A packet of a connection that was opened before its address was guarded passed, because the agent only observes.
    OlderPassed = 14,
    /// A packet socket was refused, by which packets would have left the host past every guard.
    PacketSocketRefused = 15,
    /// An attempt to end, change or blind the agent was refused.
    TamperingRefused = 16,
    /// A connect was paused until the agent listens in the socket's network namespace.
    Paused = 17,
    /// A process found no room among those that are followed: it belongs to nobody, and so does what it starts.
    NotFollowed = 18,
}

impl Outcome {
    /// Every outcome, in the order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::Redirected,
        Self::Upstream,
        Self::UnknownNamespace,
        Self::ListenerAbsent,
        Self::ListenerForged,
        Self::NoMemory,
        Self::DatagramRefused,
        Self::PacketDropped,
        Self::Carried,
        Self::Unrecorded,
        Self::StillBound,
        Self::EventLost,
        Self::HelloDropped,
        Self::HelloPassed,
        Self::OlderPassed,
        Self::PacketSocketRefused,
        Self::TamperingRefused,
        Self::Paused,
        Self::NotFollowed,
    ];
    /// How many there are.
    pub const COUNT: u32 = 19;

    /// Index of the outcome's counter.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// The name used in `status` and in metrics: snake case, never changed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redirected => "redirected",
            Self::Upstream => "upstream",
            Self::UnknownNamespace => "unknown_namespace",
            Self::ListenerAbsent => "listener_absent",
            Self::ListenerForged => "listener_forged",
            Self::NoMemory => "no_memory",
            Self::DatagramRefused => "datagram_refused",
            Self::PacketDropped => "packet_dropped",
            Self::Carried => "carried",
            Self::Unrecorded => "unrecorded",
            Self::StillBound => "still_bound",
            Self::EventLost => "event_lost",
            Self::HelloDropped => "hello_dropped",
            Self::HelloPassed => "hello_passed",
            Self::OlderPassed => "older_passed",
            Self::PacketSocketRefused => "packet_socket_refused",
            Self::TamperingRefused => "tampering_refused",
            Self::Paused => "paused",
            Self::NotFollowed => "not_followed",
        }
    }
}

const _: () = assert!(Outcome::ALL.len() == Outcome::COUNT as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_stands_at_its_own_index() {
        for (index, outcome) in (0..).zip(Outcome::ALL) {
            assert_eq!(outcome.index(), index, "{outcome:?}");
        }
    }

    #[test]
    fn no_two_outcomes_share_a_name() {
        for outcome in Outcome::ALL {
            let same = Outcome::ALL.iter().filter(|o| o.name() == outcome.name()).count();
            assert_eq!(same, 1, "{outcome:?}");
        }
    }
}
