//! Network namespaces: each gets a listener of its own, and keeps it for as long as somebody is in it.

use std::{fs, path::Path, process::Command, time::Duration};

use interception::{Outcome, inspect};
use tokio::time::{sleep, timeout};

use crate::{
    GUARDED, GUARDED_V6, restart,
    world::{Agent, World},
};

/// Until something is so that the agent sees to in its own time.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(Duration::from_secs(60), waited).await.is_ok(), "{what}");
}

#[test]
fn a_new_namespace_is_refused_until_the_agent_listens_in_it() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        for (address, asked) in [(GUARDED, "203.0.113.10:443"), (GUARDED_V6, "[2001:db8::10]:443")] {
            // Made after the programs were attached; loopback is down, and there is no other device.
            let said = world.client(&format!("fresh {address} 443")).await;
            assert!(said.contains(&format!(" peer={asked} got=AGENT {asked} pid=")), "{said}");
            assert!(!said.starts_with("refused=0 "), "the first one cannot have been served: {said}");
        }
        assert!(agent.count(Outcome::UnknownNamespace) >= 2);
        assert_eq!(agent.count(Outcome::Carried), 2);
    });
}

#[test]
fn a_namespace_that_is_there_at_the_start_is_served_from_its_first_connect() {
    World::run(async |world| {
        let container = world.container("a");
        let mut client = world.start_in(&container, "wait connect 203.0.113.10 443");
        assert_eq!(client.line().await, "waiting");
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let listeners = agent.interception().listeners();
        assert_eq!(listeners.iter().filter(|listener| listener.is_home).count(), 1);
        assert_eq!(listeners.len(), 2, "{listeners:?}");
        client.nudge().await;
        let said = client.line().await;
        assert!(said.contains(" got=AGENT 203.0.113.10:443 "), "{said}");
        assert_eq!(agent.count(Outcome::UnknownNamespace), 0);
    });
}

#[test]
fn a_namespace_is_refused_while_no_agent_runs_and_served_by_the_next() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let container = world.container("a");
        let mut clients: Vec<_> =
            (0..2).map(|_| world.start_in(&container, "wait connect 203.0.113.10 443")).collect();
        for client in &mut clients {
            assert_eq!(client.line().await, "waiting");
        }
        let said = world.client_in(&container, "connect_again 203.0.113.10 443").await;
        assert!(said.contains(" got=AGENT "), "{said}");
        agent.end().await;
        let [mut down, mut up] = clients.try_into().ok().unwrap();
        down.nudge().await;
        assert_eq!(down.line().await, "error=ECONNREFUSED");
        // The entry of the agent before is replaced, and its process is found without having asked.
        let _agent = Agent::start(&world.config(0)).await;
        up.nudge().await;
        let said = up.line().await;
        assert!(said.contains(" got=AGENT "), "{said}");
        // And one that no process is in any more is not kept.
        assert_eq!(inspect(&world.pins()).unwrap().listeners.len(), 2);
    });
}

#[test]
fn a_hundred_namespaces_come_and_go_and_leave_nothing() {
    World::run(async |world| {
        let (agent, mut said) = restart::start_agent(&world, &[]);
        while said.next_line().await.unwrap().expect("the agent ended") != "ready" {}
        let process = format!("/proc/{}", agent.id().unwrap());
        let count = |what: &str| fs::read_dir(Path::new(&process).join(what)).unwrap().count();
        let listeners = || inspect(&world.pins()).unwrap().listeners.len();
        // One first, so that what is made once is made.
        assert_eq!(world.client("come_and_go 1 203.0.113.10 443").await, "AGENT=1");
        until("the first has ended", || listeners() == 1).await;
        let before = (count("fd"), count("task"));
        assert_eq!(world.client("come_and_go 100 203.0.113.10 443").await, "AGENT=100");
        until("their listeners are closed", || listeners() == 1).await;
        until("nothing is left open", || (count("fd"), count("task")) == before).await;
    });
}

#[test]
fn a_namespace_ends_although_the_agent_listened_in_it() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let container = world.routed_container("a");
        let said = world.client_in(&container, "connect_again 203.0.113.10 443").await;
        assert!(said.contains(" got=AGENT "), "{said}");
        assert_eq!(agent.interception().listeners().len(), 2);
        // The device's other end goes with the namespace, and not before.
        let device =
            || Command::new("ip").args(["link", "show", "veth-a"]).output().unwrap().status.success();
        assert!(device());
        drop(container);
        until("the namespace is gone", || !device()).await;
        assert_eq!(agent.interception().listeners().len(), 1);
    });
}

#[test]
fn a_listener_that_was_destroyed_from_inside_is_replaced() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let container = world.container("a");
        let said = world.client_in(&container, "connect_again 203.0.113.10 443").await;
        assert!(said.contains(" got=AGENT "), "{said}");
        world.admin(&format!("ip netns exec {} ss -K -t state listening >/dev/null", container.name()));
        let said = world.client_in(&container, "connect_again 203.0.113.10 443").await;
        // Refused until it was noticed, which a slow client may come too late for.
        assert!(said.contains(" got=AGENT "), "{said}");
        assert_eq!(agent.interception().listeners().len(), 2);
        let said = world.client("connect 203.0.113.10 443").await;
        assert!(said.contains(" got=AGENT "), "the host's own goes on: {said}");
    });
}

#[test]
fn a_containers_own_translation_of_the_listener_leads_nowhere() {
    World::run(async |world| {
        let container = world.routed_container("a");
        // What root in the container may do: all that goes to its loopback goes to the real address instead. An IPv6
        // connection can leave loopback only from an address of its own.
        world.admin(&format!(
            "ip netns exec {} sh -ec '
               echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
               nft add table inet away
               nft add chain inet away out \"{{ type nat hook output priority -100; }}\"
               nft add rule inet away out ip daddr 127.0.0.1 tcp dport != 1 dnat ip to 203.0.113.10:443
               nft add rule inet away out ip6 daddr ::1 tcp dport != 1 dnat ip6 to [2001:db8::10]:443
               nft add chain inet away post \"{{ type nat hook postrouting priority 100; }}\"
               nft add rule inet away post oifname eth0 masquerade'",
            container.name()
        ));
        for (way, peer) in
            [("connect 127.0.0.1 7", "127.0.0.1:7"), ("connect ::1 7 source=fd00:88::2", "[::1]:7")]
        {
            let said = world.client_in(&container, way).await;
            assert_eq!(said, format!("peer={peer} got=REAL"), "the trick itself must work");
        }
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        for way in ["connect 203.0.113.10 443", "connect 2001:db8::10 443 source=fd00:88::2"] {
            let before = agent.count(Outcome::PacketDropped);
            // Refused at first, if the agent does not listen there yet.
            let said = world.client_in(&container, &way.replace("connect", "connect_again")).await;
            assert_eq!(said, "error=timeout", "{way}");
            assert!(agent.count(Outcome::PacketDropped) > before, "{way}");
        }
        // What is translated was redirected: without the trick it would have been the agent's.
        assert!(agent.count(Outcome::Redirected) >= 2);
        world.admin(&format!("ip netns exec {} nft delete table inet away", container.name()));
        let said = world.client_in(&container, "connect_again 203.0.113.10 443").await;
        assert!(said.contains(" got=AGENT 203.0.113.10:443 "), "{said}");
    });
}

/// Who governs a namespace can send its own processes to whatever it likes, as long as that is not the real server.
#[test]
fn a_fake_agent_in_a_container_is_met_by_that_container_alone() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let (container, other) = (world.container("a"), world.container("b"));
        let mut fake = world.start_in(&container, "pose 7");
        assert_eq!(fake.line().await, "listening");
        world.admin(&format!(
            "ip netns exec {} sh -ec '
               nft add table ip fake
               nft add chain ip fake out \"{{ type nat hook output priority -100; }}\"
               nft add rule ip fake out ip daddr 127.0.0.1 tcp dport != 7 dnat to 127.0.0.1:7'",
            container.name()
        ));
        let said = world.client_in(&container, "connect_again 203.0.113.10 443").await;
        assert!(said.ends_with(" got=FAKE"), "the trick itself must work: {said}");
        let (before, carried) = (agent.count(Outcome::PacketDropped), agent.count(Outcome::Carried));
        assert_eq!((before, carried), (0, 0), "it is told nothing, and sends nothing");
        for said in [
            world.client("connect 203.0.113.10 443").await,
            world.client_in(&other, "connect_again 203.0.113.10 443").await,
        ] {
            assert!(said.contains(" got=AGENT 203.0.113.10:443 "), "{said}");
        }
        fake.nudge().await;
    });
}
