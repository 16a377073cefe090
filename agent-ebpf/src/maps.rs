//! Every map, with its bound. All but the last ten are pinned and outlive the agent.

use agent_common::{
    ANNOUNCED_MAX, Address, ENDED_MAX, EVENTS_BYTES, Event, FLOWS_MAX, FOLLOWED_MAX, FileKey, Flow,
    GUARDED_ADDRESSES_MAX, LISTENERS_MAX, Listener, Mark, OWN_MAX, Origin, Outcome, Own, PAUSED_MAX, Ports,
    Present, ProcessId, SERVICES_MAX, STARTERS_MAX, SUSPECTED_MAX, ServiceName, Standing,
};
use aya_ebpf::{
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, SkStorage},
    macros::btf_map,
};

/// The guarded addresses, with their guarded ports. Written by the agent alone.
#[btf_map]
pub(crate) static GUARDED: HashMap<Address, Ports, { GUARDED_ADDRESSES_MAX as usize }> = HashMap::new();

/// By cookie of a network namespace: where the agent listens in it. Written by the agent alone.
#[btf_map]
pub(crate) static LISTENERS: HashMap<u64, Listener, { LISTENERS_MAX as usize }> = HashMap::new();

/// On the agent's own sockets. Written by the agent alone.
#[btf_map]
pub(crate) static MARKS: SkStorage<Mark> = SkStorage::new();

/// On the client's socket: where it was going. Not one map with [`ACCEPTED`], because the peer name hook also runs
/// when the agent accepts, and would then show it the destination in place of its peer.
#[btf_map]
pub(crate) static ORIGINS: SkStorage<Origin> = SkStorage::new();

/// Between the two ends: from before the SYN until the handshake is done. Least recently used entries make room.
#[btf_map]
pub(crate) static FLOWS: LruHashMap<Flow, Origin, { FLOWS_MAX as usize }> = LruHashMap::new();

/// On the accepted socket: what the agent reads.
#[btf_map]
pub(crate) static ACCEPTED: SkStorage<Origin> = SkStorage::new();

/// By [`Outcome`]: how often.
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { Outcome::COUNT as usize }> = PerCpuArray::new();

/// By pid (thread group), what is known of a process. Begun by the agent with what was there before it; from then on
/// written where processes begin and end.
#[btf_map]
pub(crate) static FOLLOWED: HashMap<u32, Standing, { FOLLOWED_MAX as usize }> = HashMap::new();

/// By worker: when its job ended, in nanoseconds after boot. Least recently used entries make room.
#[btf_map]
pub(crate) static ENDED: LruHashMap<ProcessId, u64, { ENDED_MAX as usize }> = LruHashMap::new();

/// Files of runners and workers, with the [`Role`](agent_common::Role) of who runs one. Written by the agent alone.
#[btf_map]
pub(crate) static STARTERS: HashMap<FileKey, u32, { STARTERS_MAX as usize }> = HashMap::new();

/// By [`Outcome`]: when it was last written to the log, in nanoseconds after boot.
#[btf_map]
pub(crate) static LOGGED_AT: PerCpuArray<u64, { Outcome::COUNT as usize }> = PerCpuArray::new();

/// What the agent has to do something about. Not pinned: an event that nobody waited for is of no use later.
#[btf_map]
pub(crate) static EVENTS: RingBuf<Event, { EVENTS_BYTES as usize }> = RingBuf::new();

/// By cookie of a network namespace: when its last event was sent, in nanoseconds after boot.
#[btf_map]
pub(crate) static ANNOUNCED: LruHashMap<u64, u64, { ANNOUNCED_MAX as usize }> = LruHashMap::new();

/// On a client's socket of which the tripwire dropped a packet.
#[btf_map]
pub(crate) static TRIPPED: SkStorage<Present> = SkStorage::new();

/// By address that is not guarded: when the last event about it was sent, in nanoseconds after boot.
#[btf_map]
pub(crate) static SUSPECTED: LruHashMap<Address, u64, { SUSPECTED_MAX as usize }> = LruHashMap::new();

/// What belongs to the agent. Written by the agent alone, before it puts the programs in place that look here.
#[btf_map]
pub(crate) static OWN: HashMap<Own, Present, { OWN_MAX as usize }> = HashMap::new();

/// Services that may open packet sockets.
#[btf_map]
pub(crate) static SERVICES: HashMap<ServiceName, Present, { SERVICES_MAX as usize }> = HashMap::new();

/// The agent's last sign of life, in nanoseconds after boot.
#[btf_map]
pub(crate) static ALIVE: Array<u64, 1> = Array::new();

/// By thread: when its connect was last paused, in nanoseconds after boot.
#[btf_map]
pub(crate) static PAUSED: LruHashMap<u64, u64, { PAUSED_MAX as usize }> = LruHashMap::new();

/// What the kernel calls the file that the agent asked about last.
#[btf_map]
pub(crate) static NAMED: Array<FileKey, 1> = Array::new();
