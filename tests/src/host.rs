//! The CI host of the lab, and the lab as a whole.
//!
//! Three processes of ours take part. The *lab* (a test, the demo, `snowfence-lab`) drives. The *holder* (`lab-exec
//! hold`) owns the lock, the namespaces, the cgroups and the folder, and clears all of it away when the lab's end of a
//! pipe closes, however the lab ended. Everything else is started through `lab-exec enter`, which joins namespaces and
//! cgroup and becomes the command.

mod agent;
mod cgroup;
mod command;
mod conduct;
mod container;
mod container_bundle;
mod container_network;
mod container_podman;
mod enter;
mod environment;
mod holder;
mod lab;
mod mounts;
mod network;
mod options;
mod process;
mod site;
mod supply;
mod sweep;
mod tools;
mod worker;

pub use command::{JobCommand, Running};
pub use container::{Contained, Container, Engine, IMAGE, Network, POD};
pub use enter::{Enter, enter};
pub use holder::hold;
pub use lab::{AgentStartFailed, Lab};
pub use options::{Identity, JobFacts, Mode, Options};
pub use worker::runner;
