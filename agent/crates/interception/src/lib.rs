//! The kernel: connections to guarded addresses, caught where they are made.
//!
//! Owns: the kernel programs' life (load, pin, attach, replace, detach), their maps, the listeners, the upstream sockets,
//! and the table of nftables that drops what others send through this host.
//! May touch: model, agent-common.
//! Never: reads what flows through a connection, decides what is guarded, or lets one through that it cannot place.
//!
//! A process calls `connect(2)`; a program on its cgroup sees a guarded address, writes the address and the caller
//! into the socket, and points the socket at a listener of the agent in the same network namespace. The agent accepts,
//! reads that record from the accepted socket, and has an [`Intercepted`]. Its own way out is a [`Dialer`], whose
//! sockets carry a mark that nothing else on the host can set, short of its root. Everything else to a guarded address
//! is refused, also while no agent runs: programs and maps are pinned and outlive it. What was connected before its
//! address was guarded is found and destroyed.

mod attach;
mod btf;
mod cgroup;
mod config;
mod counters;
mod destroy;
mod dialer;
mod error;
mod events;
mod follow;
mod forward;
mod guarded;
mod hook;
mod intercepted;
mod interception;
mod keeper;
mod kernel_log;
mod listener;
mod listeners;
mod lsm;
mod namespaces;
mod nft;
mod object;
mod pins;
mod preflight;
mod rivals;
mod sock_diag;
mod sys;

pub use agent_common::{DOMAIN_BYTES_MAX, DOMAINS_MAX, Event, EventKind, NAME_BYTES, Outcome};
pub use config::{Config, Scope};
pub use destroy::{Older, OlderConnection};
pub use dialer::Dialer;
pub use error::{Error, MapFault};
pub use follow::Processes;
pub use forward::dropped_of as forwarded_dropped;
pub use guarded::{GUARDED_MAX, PORTS_MAX, is_guardable};
pub use intercepted::Intercepted;
pub use interception::Interception;
pub use listeners::NamespaceListener;
pub use lsm::{LsmConfig, LsmProgram};
pub use nft::NftError;
pub use pins::{ListenerEntry, Pinned, inspect, remove};
pub use preflight::{Check, Problem, preflight, refinements};
pub use rivals::Rival;
