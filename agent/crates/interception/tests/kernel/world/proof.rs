//! A way to a guarded address, taken twice: it must lead there while nobody guards, or its test could not fail.

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
