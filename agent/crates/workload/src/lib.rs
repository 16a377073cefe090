//! From a socket to the process that opened it, from the process to its CI job, and from the job to a principal.
//!
//! Owns: everything that is read in `/proc`, in jobs' own files and of container engines' state; asking identity providers
//! for tokens and keys; asking who has left.
//! May touch: identity, model.
//! Never: judging what a principal may do, or believing a job about itself without saying so.

mod agents;
mod ancestry;
mod bindings;
mod cgroup;
mod clocks;
mod config;
mod container;
mod container_image;
mod environment;
mod evidence;
mod exe_hash;
#[cfg(test)]
mod fake_issuer;
#[cfg(test)]
mod fake_proc;
mod https;
mod jobs;
mod keys;
mod mount;
mod observed;
mod pool;
mod process;
mod providers;
mod redact;
mod remembered;
mod request_host;
mod status_source;
mod workers;
mod workload;

pub use config::{Config, ConfigError, IssuerConfig, KeySource, TokenPlace};
pub use evidence::Evidence;
pub use request_host::{RequestHost, RequestHostError};
pub use status_source::{
    AttributePath, AttributePathError, Barred, FileError, HandleKind, ListError, ScimConfig, SourceReport,
    StatusConfig, StatusError, StatusWatch, WhenStale,
};
pub use workload::{IssuerCheck, IssuerHealth, Workload};
