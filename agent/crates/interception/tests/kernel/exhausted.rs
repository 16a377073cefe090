//! What happens when something that a connect needs has run out, or was pushed out by others.

use std::time::Duration;

use agent_common::{Flow, Origin};
use aya::maps::{HashMap, Map, MapData};
use interception::Outcome;
use tokio::time::sleep;

use crate::{
    GUARDED, GUARDED_V6,
    world::{Agent, World},
};

#[test]
fn a_socket_without_memory_for_its_record_is_refused() {
    World::run(async |world| {
        let ways = ["connect_full 203.0.113.10 443", "connect_full 2001:db8::10 443"];
        for way in ways {
            let said = world.client(way).await;
            assert!(said.ends_with(" got=REAL"), "without an agent, {way}: {said}");
        }
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        for (way, refused) in ways.into_iter().zip(1..) {
            assert_eq!(world.client(way).await, "error=ENOMEM", "{way}");
            assert_eq!((agent.count(Outcome::NoMemory), agent.count(Outcome::Redirected)), (refused, 0));
        }
        assert!(world.client("connect 203.0.113.10 443").await.contains(" got=AGENT "));
    });
}

/// The table of records under way is bounded, and the newest push the oldest out. One that is pushed out before its
/// handshake is done costs that connection, and lets nothing through.
#[test]
fn a_connection_whose_record_was_pushed_out_is_closed() {
    World::run(async |world| {
        let port = 15_448;
        let agent = Agent::guarding(&world.config(port), &[GUARDED]).await;
        world.admin(&format!(
            "nft add table ip late
             nft add chain ip late in '{{ type filter hook input priority 0; }}'
             nft add rule ip late in tcp dport {port} drop"
        ));
        let mut client = world.start("patiently connect 203.0.113.10 443");
        let pin = world.pins().join(format!("v{}", agent_common::LAYOUT)).join("FLOWS");
        let map = Map::LruHashMap(MapData::from_pin(pin).unwrap());
        let mut flows: HashMap<_, Flow, Origin> = map.try_into().unwrap();
        let key = loop {
            if let Some(key) = flows.keys().next() {
                break key.unwrap();
            }
            sleep(Duration::from_millis(10)).await;
        };
        flows.remove(&key).unwrap();
        world.admin("nft delete table ip late");
        let said = client.line().await;
        assert!(said == "error=ECONNRESET" || said.ends_with(" got="), "{said}");
        assert_eq!((agent.count(Outcome::Unrecorded), agent.count(Outcome::Carried)), (1, 0));
    });
}
