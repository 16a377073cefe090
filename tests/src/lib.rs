//! The lab: an internet, a Snowflake server and a CI host in network namespaces of their own, for whatever wants to
//! run a command as an unmodified job behind the real kernel programs: tests, the demo, benchmarks, and people.
//!
//! `internet` is what the lab's internet consists of (DNS, Snowflake, an OIDC issuer, an ordinary site); `host` lays
//! the namespaces out, starts the agent and the runner, and clears everything away again.

pub mod bench;
pub mod host;
pub mod internet;

pub use host::{AgentStartFailed, Identity, JobCommand, JobFacts, Lab, Mode, Options, Running};
pub use host::{Contained, Container, Engine, IMAGE, Network, POD};
