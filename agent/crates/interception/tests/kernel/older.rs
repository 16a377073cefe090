//! Connections from before their address was guarded: ended at once, wherever they are, and nobody else's.

use std::{collections::BTreeSet, net::IpAddr};

use interception::{Config, Outcome};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::{
    DIAL_TIME_MAX, GUARDED, GUARDED_V6,
    world::{Agent, World},
};

fn guarded() -> BTreeSet<IpAddr> {
    [GUARDED, GUARDED_V6].map(|text| text.parse().unwrap()).into()
}

#[test]
fn a_connection_older_than_the_guard_ends_at_once_on_the_host_and_in_a_container() {
    World::run(async |world| {
        let container = world.routed_container("a");
        let mut older = [
            world.start("hold_silent 203.0.113.10 443"),
            world.start("hold_silent 203.0.113.10 8443"),
            world.start("hold_silent ::ffff:203.0.113.10 443"),
            world.start("hold_silent 2001:db8::10 443"),
            world.start_in(&container, "hold_silent 203.0.113.10 443"),
        ];
        for client in &mut older {
            assert!(client.line().await.ends_with(" got=REAL"));
        }
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        let found = agent.interception().cut_older(&guarded()).await.unwrap();
        assert_eq!((found.destroyed, found.open, found.problems.len()), (5, 0, 0), "{found:?}");
        let namespaces: BTreeSet<u64> = found.connections.iter().map(|older| older.namespace).collect();
        assert_eq!(namespaces.len(), 2, "{found:?}");
        for client in &mut older {
            assert_eq!(client.line().await, "error=ECONNABORTED");
        }
        let found = agent.interception().cut_older(&guarded()).await.unwrap();
        assert_eq!((found.destroyed, found.open), (0, 0), "{found:?}");
    });
}

#[test]
fn connections_of_the_agent_and_of_others_go_on() {
    World::run(async |world| {
        let sibling = world.sibling_cgroup();
        let mut others = [world.start("hold 203.0.113.11 443"), sibling.start("hold 203.0.113.10 443")];
        for client in &mut others {
            assert!(client.line().await.ends_with(" got=REAL"));
        }
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        let mut redirected = world.start("hold 203.0.113.10 443");
        assert!(redirected.line().await.contains(" got=AGENT "));
        let dialer = agent.interception().dialer();
        let stream = dialer.connect(format!("{GUARDED}:443").parse().unwrap(), DIAL_TIME_MAX).await.unwrap();
        let mut own = BufReader::new(stream).lines();
        assert_eq!(own.next_line().await.unwrap().unwrap(), "REAL");

        let found = agent.interception().cut_older(&guarded()).await.unwrap();
        assert_eq!((found.destroyed, found.open, found.problems.len()), (0, 0, 0), "{found:?}");
        own.get_mut().write_all(b"still here\n").await.unwrap();
        assert_eq!(own.next_line().await.unwrap().unwrap(), "still here");
        for client in &mut others {
            client.nudge().await;
            assert_eq!(client.line().await, "got=ping");
        }
        redirected.nudge().await;
        assert_eq!(redirected.line().await, "got=", "the agent had said all that it had to say");
    });
}

#[test]
fn an_agent_that_observes_counts_them_and_lets_them_be() {
    World::run(async |world| {
        let mut older = [
            world.start("hold 203.0.113.10 443"),
            world.start("hold ::ffff:203.0.113.10 443"),
            world.start("hold 2001:db8::10 443"),
        ];
        for client in &mut older {
            assert!(client.line().await.ends_with(" got=REAL"));
        }
        let cfg = Config { observing: true, ..world.config(0) };
        let agent = Agent::guarding(&cfg, &[GUARDED, GUARDED_V6]).await;
        let found = agent.interception().cut_older(&guarded()).await.unwrap();
        assert_eq!((found.destroyed, found.open, found.connections.len()), (0, 3, 3), "{found:?}");
        for client in &mut older {
            client.nudge().await;
            assert_eq!(client.line().await, "got=ping");
        }
        assert!(agent.count(Outcome::OlderPassed) >= 3);
        // What is new is caught as ever, and what goes round the connect hook is stopped as ever.
        assert!(world.client("connect 203.0.113.10 443").await.contains(" got=AGENT "));
        assert_eq!(world.client("raw 203.0.113.10 443").await, "error=EPERM");
    });
}
