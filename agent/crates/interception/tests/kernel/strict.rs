//! What is caught besides the guarded addresses: every unknown port 443 in the strict scope, and single ports of a
//! machine that is a proxy.

use std::{collections::BTreeSet, net::SocketAddr};

use interception::{Config, Outcome, Scope, inspect};
use tokio::io::AsyncWriteExt as _;

use crate::{
    DIAL_TIME_MAX, GUARDED,
    world::{self, Agent, World},
};

const UNKNOWN: &str = "203.0.113.11";
const REFUSED: &str = "error=ECONNREFUSED";

fn strict(world: &World) -> Config {
    Config { scope: Scope::Strict, ..world.config(0) }
}

#[test]
fn in_the_strict_scope_port_443_of_every_other_host_is_caught_and_nothing_else() {
    World::run(async |world| {
        let agent = Agent::start(&strict(&world)).await;
        for (way, asked) in [
            ("203.0.113.11 443", "203.0.113.11:443"),
            ("::ffff:203.0.113.11 443", "203.0.113.11:443"),
            ("2001:db8::11 443", "[2001:db8::11]:443"),
            ("203.0.113.11 443 mptcp", "203.0.113.11:443"),
            // Nobody is there, which is for the agent to find out.
            ("198.51.100.1 443", "198.51.100.1:443"),
        ] {
            let said = world.client(&format!("connect {way}")).await;
            assert!(said.contains(&format!(" got=AGENT {asked} pid=")), "{way}: {said}");
        }
        let caught = agent.count(Outcome::Redirected);
        for way in ["203.0.113.11 8443", "2001:db8::11 8443", "::ffff:203.0.113.11 8443"] {
            let said = world.client(&format!("connect {way}")).await;
            assert!(said.ends_with(" got=REAL"), "{way}: {said}");
        }
        // What is on the host itself is no other host's: nobody listens there, so it is refused by the kernel.
        for own in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"] {
            assert_eq!(world.client(&format!("connect {own} 443")).await, REFUSED, "{own}");
        }
        assert_eq!(world.client("datagram 203.0.113.11 443").await, "sent");
        assert_eq!(agent.count(Outcome::Redirected), caught);
        assert_eq!(agent.count(Outcome::PacketDropped), 0);
    });
}

#[test]
fn in_the_strict_scope_only_the_agents_own_sockets_reach_port_443() {
    World::run(async |world| {
        let agent = Agent::start(&strict(&world)).await;
        let mut own =
            agent.interception().dialer().connect(address(UNKNOWN, 443), DIAL_TIME_MAX).await.unwrap();
        own.write_all(b"ping\n").await.unwrap();
        assert_eq!(world::first_line(own).await, "REAL");
        // A raw socket makes no connect that could be caught.
        assert_eq!(world.client("raw 203.0.113.11 443").await, "error=EPERM");
        assert_eq!(world.client("raw 203.0.113.11 8443").await, "sent");
        assert_eq!(agent.count(Outcome::PacketDropped), 1);
    });
}

#[test]
fn another_scope_counts_from_the_next_start_and_holds_while_no_agent_runs() {
    World::run(async |world| {
        let connect = format!("connect {UNKNOWN} 443");
        let (narrow, wide) = (world.config(0), strict(&world));
        for _ in 0..2 {
            let agent = Agent::guarding(&narrow, &[GUARDED]).await;
            assert_eq!(world.client(&connect).await, "peer=203.0.113.11:443 got=REAL");
            agent.end().await;
            assert_eq!(world.client(&connect).await, "peer=203.0.113.11:443 got=REAL");
            let agent = Agent::start(&wide).await;
            assert!(world.client(&connect).await.contains(" got=AGENT "));
            agent.end().await;
            assert_eq!(world.client(&connect).await, REFUSED);
            assert_eq!(
                world.client(&format!("connect {UNKNOWN} 8443")).await,
                "peer=203.0.113.11:8443 got=REAL"
            );
        }
    });
}

#[test]
fn of_a_proxy_only_its_port_is_guarded() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let endpoints =
            BTreeSet::from(["203.0.113.11:8443", "[2001:db8::11]:8443"].map(|at| at.parse().unwrap()));
        agent.interception().guard_ports(&endpoints).unwrap();
        for (way, asked) in [
            ("203.0.113.11 8443", "203.0.113.11:8443"),
            ("::ffff:203.0.113.11 8443", "203.0.113.11:8443"),
            ("2001:db8::11 8443", "[2001:db8::11]:8443"),
        ] {
            let said = world.client(&format!("connect {way}")).await;
            assert!(said.contains(&format!(" got=AGENT {asked} pid=")), "{way}: {said}");
        }
        for way in ["203.0.113.11 443", "2001:db8::11 443"] {
            assert!(world.client(&format!("connect {way}")).await.ends_with(" got=REAL"), "{way}");
        }
        // Past the connect: the port is guarded from packets too, and the other ports are not.
        for (packet, fate) in [
            ("raw 203.0.113.11 8443", "error=EPERM"),
            ("raw 2001:db8::11 8443", "error=EPERM"),
            ("datagram 203.0.113.11 8443", "error=EPERM"),
            ("raw 203.0.113.11 443", "sent"),
            ("raw 2001:db8::11 443", "sent"),
            ("datagram 203.0.113.11 443", "sent"),
            // Fragments: one that begins with a TCP header and more to come, one that does not begin.
            ("raw_fragment 203.0.113.11 8443 2 2000", "error=EPERM"),
            ("raw_fragment 203.0.113.11 443 2 2000", "sent"),
            ("raw_fragment 203.0.113.11 8443 2 0001", "sent"),
        ] {
            assert_eq!(world.client(packet).await, fate, "{packet}");
        }
        let own = agent.interception().dialer().connect(address(UNKNOWN, 8443), DIAL_TIME_MAX).await.unwrap();
        assert_eq!(world::first_line(own).await, "REAL");
    });
}

#[test]
fn the_guarded_set_and_the_guarded_ports_change_apart_and_survive_the_agent() {
    World::run(async |world| {
        let cfg = world.config(0);
        let agent = Agent::guarding(&cfg, &[GUARDED]).await;
        let proxy: SocketAddr = address(UNKNOWN, 8443);
        agent.interception().guard_ports(&BTreeSet::from([proxy])).unwrap();
        agent.guard(&[GUARDED, "2001:db8::10"]);
        agent.end().await;
        let pinned = inspect(&world.pins()).unwrap();
        assert_eq!(
            pinned.guarded,
            [GUARDED, "2001:db8::10"].map(|text| text.parse::<std::net::IpAddr>().unwrap())
        );
        assert_eq!(pinned.guarded_ports, [proxy]);
        assert_eq!(world.client("connect 203.0.113.11 8443").await, REFUSED);
        let agent = Agent::start(&cfg).await;
        agent.interception().guard_ports(&BTreeSet::new()).unwrap();
        assert_eq!(world.client("connect 203.0.113.11 8443").await, "peer=203.0.113.11:8443 got=REAL");
        assert!(world.client("connect 203.0.113.10 443").await.contains(" got=AGENT "));
        agent.end().await;
    });
}

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}
