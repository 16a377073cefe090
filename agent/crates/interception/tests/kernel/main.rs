//! The kernel programs at work, each test in a world of its own: network namespaces, a cgroup, a BPF file system.
//! Needs root and a kernel as [`interception::preflight`] wants it, and fails without.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "all of this is test code, also what is outside of a test function"
)]

mod elsewhere;
mod events;
mod exhausted;
mod forwarded;
mod handed;
mod jobs;
mod namespaces;
mod older;
mod programs;
mod protocols;
mod restart;
mod rings;
mod strict;
mod tripwire;
mod ways;
mod world;

use std::time::Duration;

/// Guarded in most tests. The server is there as well, so that whatever is let through is answered `REAL`.
const GUARDED: &str = "203.0.113.10";
const GUARDED_V6: &str = "2001:db8::10";

/// Longest that the agent's own connect may take.
const DIAL_TIME_MAX: Duration = Duration::from_secs(10);
