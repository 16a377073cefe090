//! What the programs say at once.

use std::time::Duration;

use agent_common::EventKind;
use interception::Outcome;
use tokio::time::timeout;

use crate::{
    GUARDED, GUARDED_V6,
    world::{Agent, World},
};

#[test]
fn a_connect_that_was_refused_for_its_namespace_is_said_at_once() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        for (address, container) in [(GUARDED, world.container("a")), (GUARDED_V6, world.container("b"))] {
            let mut client = world.start_in(&container, &format!("connect {address} 8443"));
            let pid = client.pid();
            assert_eq!(client.line().await, "error=ECONNREFUSED");
            let event = timeout(Duration::from_secs(60), agent.interception().event()).await.unwrap();
            assert_eq!(event.kind(), Some(EventKind::UnknownNamespace));
            assert_eq!(
                (event.address, event.port),
                (address.parse::<std::net::IpAddr>().unwrap().into(), 8443)
            );
            assert_eq!((event.pid, event.tid), (pid, pid));
            assert!(event.netns_cookie > 0 && event.at_ns > 0, "{event:?}");
        }
    });
}

#[test]
fn a_namespace_that_connects_in_a_loop_does_not_crowd_out_the_others() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let (loud, quiet) = (world.container("a"), world.container("b"));
        assert_eq!(
            world.client_in(&loud, "connect_often 203.0.113.10 443 10000").await,
            "error=ECONNREFUSED"
        );
        assert_eq!(world.client_in(&quiet, "connect 203.0.113.10 443").await, "error=ECONNREFUSED");
        assert_eq!(agent.count(Outcome::UnknownNamespace), 10_001);
        let first = agent.interception().event().await.netns_cookie;
        let mut of_the_loud = 1;
        let said = async {
            while agent.interception().event().await.netns_cookie == first {
                of_the_loud += 1;
            }
        };
        timeout(Duration::from_secs(60), said).await.unwrap();
        assert!(of_the_loud < 1000, "{of_the_loud} events of 10000 refusals");
        assert_eq!((agent.interception().events_lost(), agent.count(Outcome::EventLost)), (0, 0));
    });
}
