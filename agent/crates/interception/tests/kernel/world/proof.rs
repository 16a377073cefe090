//! A way to a guarded address, taken twice: it must lead there while nobody guards, or its test could not fail.

use std::io::{self, Write as _};

use super::{Agent, World};
use crate::{GUARDED, GUARDED_V6};

/// Takes each way before there is an agent, where it must reach the real server, and again under one, where it must
/// reach the agent with the address that was asked for. Answers the agent and what the clients said under it.
pub(crate) async fn caught(world: &World, ways: &[&str]) -> (Agent, Vec<String>) {
    for way in ways {
        let said = world.client(way).await;
        assert!(said.ends_with(" got=REAL"), "without an agent, {way}: {said}");
    }
    let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
    let mut all = Vec::new();
    for way in ways {
        let said = world.client(way).await;
        let asked = if way.contains(GUARDED_V6) { "[2001:db8::10]:443" } else { "203.0.113.10:443" };
        assert!(said.contains(&format!(" got=AGENT {asked} pid=")), "under an agent, {way}: {said}");
        all.push(said);
    }
    (agent, all)
}

/// Those of the ways that this kernel has. It says of one that it has not what it says of nothing else, `absent`.
pub(crate) async fn there<'a>(world: &World, ways: &[&'a str], absent: &str) -> Vec<&'a str> {
    let mut there = Vec::new();
    for &way in ways {
        if world.client(way).await == format!("error={absent}") {
            not_shown(way);
        } else {
            there.push(way);
        }
    }
    there
}

/// Says it past the harness, which keeps to itself what a test prints that passes.
pub(crate) fn not_shown(what: &str) {
    let line = format!("NOT SHOWN, because this kernel does not have it: {what}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}
