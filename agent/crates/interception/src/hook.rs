//! The hooks on a cgroup: which program goes where.

/// One place in the kernel where a program of ours runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    CarryRecord,
    PeerName4,
    PeerName6,
    EgressGuard,
    Sendmsg4,
    Sendmsg6,
    Connect4,
    Connect6,
}

impl Hook {
    /// In the order of attaching: what a redirected connection relies on stands before anything is redirected.
    pub(crate) const ALL: [Self; 8] = [
        Self::CarryRecord,
        Self::PeerName4,
        Self::PeerName6,
        Self::EgressGuard,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::Connect4,
        Self::Connect6,
    ];

    /// Name of the program in the object, and of the link's pin. No dots: a BPF file system takes none.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CarryRecord => "carry_record",
            Self::PeerName4 => "getpeername4",
            Self::PeerName6 => "getpeername6",
            Self::EgressGuard => "egress_guard",
            Self::Sendmsg4 => "sendmsg4",
            Self::Sendmsg6 => "sendmsg6",
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
        }
    }

    /// Whether a program behind this one could give the call another destination. Whoever refuses, refuses for all, and
    /// a name that is shown decides nothing.
    pub(crate) fn is_undone_by_who_follows(self) -> bool {
        matches!(self, Self::Connect4 | Self::Connect6)
    }

    /// `enum bpf_attach_type` in `linux/bpf.h`.
    pub(crate) fn attach_type(self) -> u32 {
        match self {
            Self::EgressGuard => 1,
            Self::CarryRecord => 3,
            Self::Connect4 => 10,
            Self::Connect6 => 11,
            Self::Sendmsg4 => 14,
            Self::Sendmsg6 => 15,
            Self::PeerName4 => 29,
            Self::PeerName6 => 30,
        }
    }
}
