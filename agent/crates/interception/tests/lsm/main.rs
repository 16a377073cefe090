//! The optional layer at work. Needs root and a kernel with BPF among its security modules, and fails without; so cargo
//! does not run it unless it is asked for, and `cargo xtask test kernels` runs it where there is such a kernel.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "all of this is test code, also what is outside of a test function"
)]

mod packet_sockets;
mod pause;
mod protection;
#[allow(dead_code, unused_imports, reason = "the other test program uses what this one does not")]
#[path = "../kernel/world/mod.rs"]
mod world;

use world::{Agent, World};

/// Guarded in every test.
const GUARDED: &str = "203.0.113.10";
/// Guarded where the other test program wants it.
const GUARDED_V6: &str = "2001:db8::10";

#[test]
fn every_program_of_the_layer_is_there() {
    World::run(async |world| {
        let agent = Agent::start(&world.config(0)).await;
        for program in agent.interception().lsm() {
            println!("{}: {}", program.name, program.missing.as_deref().unwrap_or("there"));
        }
        let missing: Vec<_> =
            agent.interception().lsm().iter().filter(|program| program.missing.is_some()).collect();
        assert!(missing.is_empty(), "{missing:#?}");
    });
}

#[test]
fn without_the_layer_everything_else_works_and_it_says_what_is_open() {
    World::run(async |world| {
        let mut cfg = world.config(0);
        cfg.lsm.enabled = false;
        let agent = Agent::guarding(&cfg, &[GUARDED]).await;
        assert!(world.client("connect 203.0.113.10 443").await.contains(" got=AGENT "));
        assert_eq!(world.client("open_socket 17 3 0").await, "opened");
        for program in agent.interception().lsm() {
            assert_eq!(program.missing.as_deref(), Some("switched off"), "{}", program.name);
        }
    });
}
