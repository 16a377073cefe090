//! Every way to a guarded address, and to others.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use interception::{Error, GUARDED_MAX, Interception, Outcome, inspect};

use crate::{
    DIAL_TIME_MAX, GUARDED, GUARDED_V6,
    world::{self, Agent, World},
};

#[test]
fn a_connect_is_caught_with_its_destination_and_its_owner() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let mut client = world.start("connect 203.0.113.10 443");
        let pid = client.pid();
        let expected = format!(
            "peer=203.0.113.10:443 got=AGENT 203.0.113.10:443 pid={pid} tid={pid} uid=0 gid=0 cgroup={} comm=python3 is=outside",
            world.cgroup_id()
        );
        assert_eq!(client.line().await, expected);
        assert_eq!((agent.count(Outcome::Redirected), agent.count(Outcome::Carried)), (1, 1));
    });
}

#[test]
fn every_way_to_open_a_stream_is_caught() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        // Asked for, shown as peer, known to the agent. A port that nobody serves is caught like any other.
        let ways = [
            ("203.0.113.10 443", "203.0.113.10:443", "203.0.113.10:443"),
            ("203.0.113.10 9999", "203.0.113.10:9999", "203.0.113.10:9999"),
            ("203.0.113.10 443 from", "203.0.113.10:443", "203.0.113.10:443"),
            ("203.0.113.10 443 device", "203.0.113.10:443", "203.0.113.10:443"),
            ("203.0.113.10 443 fastopen", "203.0.113.10:443", "203.0.113.10:443"),
            ("::ffff:203.0.113.10 443", "[::ffff:203.0.113.10]:443", "203.0.113.10:443"),
            ("2001:db8::10 443", "[2001:db8::10]:443", "[2001:db8::10]:443"),
            ("2001:db8::10 443 v6only", "[2001:db8::10]:443", "[2001:db8::10]:443"),
            ("2001:db8::10 443 device", "[2001:db8::10]:443", "[2001:db8::10]:443"),
        ];
        for (way, peer, asked) in ways {
            let said = world.client(&format!("connect {way}")).await;
            assert!(said.starts_with(&format!("peer={peer} got=AGENT {asked} pid=")), "{way}: {said}");
        }
        // The peer that a multipath socket shows is the listener: its record lies on the subflow.
        for (way, asked) in
            [("203.0.113.10 443 mptcp", "203.0.113.10:443"), ("2001:db8::10 443 mptcp", "[2001:db8::10]:443")]
        {
            let said = world.client(&format!("connect {way}")).await;
            assert!(said.contains(&format!(" got=AGENT {asked} pid=")), "{way}: {said}");
        }
        assert_eq!(agent.count(Outcome::Redirected), 11);
        assert_eq!(agent.count(Outcome::Carried), 11);
        assert_eq!(agent.count(Outcome::StillBound), 0);
        assert_eq!(agent.count(Outcome::PacketDropped), 0);
    });
}

#[test]
fn other_traffic_goes_its_own_way() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        for (way, peer) in [
            ("203.0.113.11 443", "203.0.113.11:443"),
            ("203.0.113.11 443 mptcp", "203.0.113.11:443"),
            ("::ffff:203.0.113.11 8443", "[::ffff:203.0.113.11]:8443"),
            ("2001:db8::11 443", "[2001:db8::11]:443"),
        ] {
            assert_eq!(world.client(&format!("connect {way}")).await, format!("peer={peer} got=REAL"));
        }
        assert_eq!(world.client("datagram 203.0.113.11 443").await, "sent");
        assert_eq!(world.client("raw 203.0.113.11 443").await, "sent");
        assert_eq!(world.client("connect 203.0.113.11 9999").await, "error=ECONNREFUSED");
        let counters = agent.interception().counters().unwrap();
        assert!(counters.iter().all(|(_, count)| *count == 0), "{counters:?}");
    });
}

#[test]
fn where_port_80_alone_is_answered_the_rest_is_let_be() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let helpers = ["203.0.113.11", "2001:db8::11"];
        agent.interception().answer_http(&helpers.map(|text| text.parse().unwrap()).into()).unwrap();
        for address in helpers {
            let said = world.client(&format!("connect {address} 80")).await;
            assert!(said.contains(" got=AGENT "), "{said}");
            for port in [443, 8443] {
                assert!(
                    world.client(&format!("connect {address} {port}")).await.ends_with(" got=REAL"),
                    "{port}"
                );
            }
            assert_eq!(world.client(&format!("datagram {address} 443")).await, "sent");
        }
        // An address that is guarded as well stays so on every port.
        agent.interception().answer_http(&[GUARDED.parse().unwrap()].into()).unwrap();
        assert!(world.client("connect 203.0.113.10 443").await.contains(" got=AGENT "));
        assert_eq!(world.client("connect 203.0.113.11 80").await, "error=ECONNREFUSED", "it is let go");
        assert_eq!(inspect(&world.pins()).unwrap().guarded, [GUARDED.parse::<IpAddr>().unwrap()]);
        agent.guard(&[]);
        assert!(world.client("connect 203.0.113.10 443").await.ends_with(" got=REAL"));
        assert!(world.client("connect 203.0.113.10 80").await.contains(" got=AGENT "));
        // What one agent has answered for, the next need not.
        agent.end().await;
        let agent = Agent::start(&world.config(0)).await;
        agent.interception().answer_http(&BTreeSet::new()).unwrap();
        assert_eq!(world.client("connect 203.0.113.10 80").await, "error=ECONNREFUSED");
        assert!(agent.interception().counters().unwrap().contains(&(Outcome::ListenerAbsent, 0)));
    });
}

#[test]
fn a_socket_that_goes_elsewhere_forgets_where_it_was_going() {
    World::run(async |world| {
        let _agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let said = world.client("reconnect 203.0.113.10 443 203.0.113.11 443").await;
        assert_eq!(said, "peer=203.0.113.11:443 got=REAL");
    });
}

#[test]
fn datagrams_to_a_guarded_address_are_refused() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        for address in [GUARDED, GUARDED_V6, "::ffff:203.0.113.10"] {
            assert_eq!(world.client(&format!("datagram {address} 443")).await, "error=EPERM", "{address}");
        }
        assert_eq!(agent.count(Outcome::DatagramRefused), 3);
        // Resolvers connect datagram sockets to order addresses, and send nothing.
        for address in [GUARDED, GUARDED_V6] {
            let mut client = world.start(&format!("connected_datagram {address} 443"));
            assert_eq!(client.line().await, "connected");
            assert_eq!(client.line().await, "error=EPERM");
        }
        assert_eq!(agent.count(Outcome::PacketDropped), 2);
    });
}

#[test]
fn packets_of_a_raw_socket_are_dropped() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        // SYN, SYN+ACK, FIN+ACK, PSH+ACK, none; and what would pass bare, with a payload.
        let packets = ["2", "18", "17", "24", "0", "16 payload", "4 payload", "20 payload"];
        let mut dropped = 0;
        for address in [GUARDED, GUARDED_V6] {
            for packet in packets {
                let said = world.client(&format!("raw {address} 443 {packet}")).await;
                dropped += 1;
                assert_eq!(
                    (said.as_str(), agent.count(Outcome::PacketDropped)),
                    ("error=EPERM", dropped),
                    "{packet}"
                );
            }
            // ACK, RST, RST+ACK: how the kernel answers for a connection that is over.
            for bare in ["16", "4", "20"] {
                assert_eq!(world.client(&format!("raw {address} 443 {bare}")).await, "sent", "{bare}");
            }
        }
        assert_eq!(agent.count(Outcome::PacketDropped), dropped);
    });
}

#[test]
fn a_fragment_is_dropped_also_where_it_looks_like_a_bare_acknowledgement() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        // The first of several, one from the middle, the last.
        for (dropped, place) in (1..).zip(["2000", "2003", "0003"]) {
            let said = world.client(&format!("raw_fragment 203.0.113.10 443 16 {place}")).await;
            assert_eq!(
                (said.as_str(), agent.count(Outcome::PacketDropped)),
                ("error=EPERM", dropped),
                "{place}"
            );
        }
        // Whole, whether or not it may be taken apart on its way.
        for place in ["0000", "4000"] {
            assert_eq!(
                world.client(&format!("raw_fragment 203.0.113.10 443 16 {place}")).await,
                "sent",
                "{place}"
            );
        }
        assert_eq!(agent.count(Outcome::PacketDropped), 3);
    });
}

#[test]
fn a_translated_listener_port_leads_nowhere() {
    World::run(async |world| {
        // What an administrator of a container can do: whoever is sent to the listener ends at the real server.
        let port = 15_443;
        world.admin(&format!(
            "sysctl -qw net.ipv4.conf.all.route_localnet=1
             nft add table ip trick
             nft add chain ip trick out '{{ type nat hook output priority -100; }}'
             nft add chain ip trick post '{{ type nat hook postrouting priority 100; }}'
             nft add rule ip trick out ip daddr 127.0.0.1 tcp dport {port} dnat to 203.0.113.10:443
             nft add rule ip trick post oif eth0 masquerade"
        ));
        let listener = format!("connect 127.0.0.1 {port}");
        let said = world.client(&listener).await;
        assert_eq!(said, format!("peer=127.0.0.1:{port} got=REAL"), "the trick itself must work");

        let agent = Agent::guarding(&world.config(port), &[GUARDED]).await;
        for way in ["connect 203.0.113.10 443", &listener] {
            let before = agent.count(Outcome::PacketDropped);
            let said = world.client(way).await;
            assert!(said.starts_with("error="), "{way}: {said}");
            assert!(agent.count(Outcome::PacketDropped) > before, "{way}");
        }
    });
}

#[test]
fn a_connection_older_than_the_guard_is_cut() {
    World::run(async |world| {
        let mut older = world.start("hold 203.0.113.10 443");
        let mut other = world.start("hold 203.0.113.11 443");
        assert_eq!(older.line().await, "peer=203.0.113.10:443 got=REAL");
        assert_eq!(other.line().await, "peer=203.0.113.11:443 got=REAL");
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        older.nudge().await;
        other.nudge().await;
        assert_eq!(other.line().await, "got=ping");
        assert_eq!(older.line().await, "error=timeout");
        assert!(agent.count(Outcome::PacketDropped) > 0);
    });
}

#[test]
fn an_unknown_network_namespace_is_refused() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let container = world.container("a");
        // Where nobody can listen, also if the client is so slow that the agent finds it first.
        container.ip("addr flush dev lo", "");
        assert_eq!(world.client_in(&container, "connect 203.0.113.10 443").await, "error=ECONNREFUSED");
        // It has no route, so this is what a connect there says when it is let alone.
        assert_eq!(world.client_in(&container, "connect 203.0.113.11 443").await, "error=ENETUNREACH");
        assert_eq!(agent.count(Outcome::UnknownNamespace), 1);
    });
}

#[test]
fn what_an_operator_should_see_is_logged_and_not_too_often() {
    World::run(async |world| {
        let log = world::Log::default();
        let _here = log.capture();
        let _agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let container = world.container("a");
        // Where nobody can listen.
        container.ip("addr flush dev lo", "");
        let mut client = world.start_in(&container, "connect_often 203.0.113.10 443 1000");
        let pid = client.pid();
        assert_eq!(client.line().await, "error=ECONNREFUSED");
        let line =
            format!("WARN interception::kernel: refused process {pid}: no listener in network namespace ");
        let lines = log.lines_with(&line).await;
        // One per second and CPU.
        assert!((1..20).contains(&lines), "{lines} lines of 1000 refusals");
        assert_eq!(world.client("raw 203.0.113.10 443").await, "error=EPERM");
        log.lines_with("WARN interception::kernel: dropped a packet of protocol 6 to a guarded address")
            .await;
    });
}

#[test]
fn a_stranger_on_the_listeners_port_gets_nothing() {
    World::run(async |world| {
        let port = 15_444;
        Agent::guarding(&world.config(port), &[GUARDED]).await.end().await;
        let mut stranger = world.start(&format!("listen {port}"));
        assert_eq!(stranger.line().await, "listening");
        assert_eq!(world.client("connect 203.0.113.10 443").await, "error=ECONNREFUSED");
        let counters = inspect(&world.pins()).unwrap().counters;
        assert!(counters.contains(&(Outcome::ListenerForged, 1)), "{counters:?}");
        // The port is taken, and that is said; nothing else changes.
        let refused = Interception::start(&world.config(port)).await;
        assert!(matches!(refused, Err(Error::Listen { .. })));
        let pinned = inspect(&world.pins()).unwrap();
        assert_eq!((pinned.detached, pinned.guarded), (Vec::new(), vec![GUARDED.parse::<IpAddr>().unwrap()]));
        assert_eq!(world.client("connect 203.0.113.10 443").await, "error=ECONNREFUSED");
        stranger.nudge().await;
    });
}

#[test]
fn a_start_that_finds_its_port_taken_leaves_nothing_behind() {
    World::run(async |world| {
        let port = 15_447;
        let mut stranger = world.start(&format!("listen {port}"));
        assert_eq!(stranger.line().await, "listening");
        let refused = Interception::start(&world.config(port)).await;
        assert!(matches!(refused, Err(Error::Listen { .. })));
        assert!(!world.pins().exists(), "maps are pinned before there are listeners");
        assert!(world.attached_programs().is_empty());
        stranger.nudge().await;
    });
}

#[test]
fn whoever_was_not_redirected_is_closed() {
    World::run(async |world| {
        let port = 15_445;
        let agent = Agent::guarding(&world.config(port), &[GUARDED]).await;
        for address in ["127.0.0.1", "::1"] {
            let said = world.client(&format!("connect {address} {port}")).await;
            assert!(said.ends_with(" got=") || said == "error=ECONNRESET", "{said}");
        }
        assert_eq!((agent.count(Outcome::Unrecorded), agent.count(Outcome::Carried)), (2, 0));
        let said = world.client("connect 203.0.113.10 443").await;
        assert!(said.contains(" got=AGENT "), "the listener goes on: {said}");
    });
}

#[test]
fn a_direct_connect_does_not_inherit_what_a_lost_one_left_behind() {
    World::run(async |world| {
        let port = 15_446;
        let agent = Agent::guarding(&world.config(port), &[GUARDED]).await;
        let drop = format!("tcp dport {port} drop");
        world.admin(&format!(
            "nft add table ip lost
             nft add chain ip lost in '{{ type filter hook input priority 0; }}'
             nft add rule ip lost in {drop}"
        ));
        assert_eq!(world.client("connect 203.0.113.10 443 port=40001").await, "error=timeout");
        world.admin("nft delete table ip lost");
        // The same source port, as any process may choose: it must not be taken for the first one.
        let said = world.client(&format!("connect 127.0.0.1 {port} port=40001")).await;
        assert!(said.ends_with(" got=") || said == "error=ECONNRESET", "{said}");
        assert_eq!((agent.count(Outcome::Unrecorded), agent.count(Outcome::Carried)), (1, 0));
    });
}

#[test]
fn the_dialer_says_what_the_network_says() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        let dialer = agent.interception().dialer();
        for addr in ["203.0.113.10:443", "[2001:db8::10]:443", "203.0.113.11:443"] {
            let stream = dialer.connect(addr.parse().unwrap(), DIAL_TIME_MAX).await.unwrap();
            assert_eq!(world::first_line(stream).await, "REAL", "{addr}");
        }
        let refused = dialer.connect("203.0.113.10:9999".parse().unwrap(), DIAL_TIME_MAX).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let late =
            dialer.connect("192.0.2.77:443".parse().unwrap(), Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn the_guarded_set_is_replaced_as_a_whole() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        agent.guard(&["203.0.113.11", "::ffff:192.0.2.2"]);
        assert_eq!(world.client("connect 203.0.113.10 443").await, "peer=203.0.113.10:443 got=REAL");
        assert!(world.client("connect 203.0.113.11 443").await.contains(" got=AGENT 203.0.113.11:443 "));
        let listed = inspect(&world.pins()).unwrap().guarded;
        assert_eq!(listed, ["192.0.2.2", "203.0.113.11"].map(|text| text.parse::<IpAddr>().unwrap()));

        let unguardable =
            BTreeSet::from(["203.0.113.10", "127.0.0.1"].map(|text| text.parse::<IpAddr>().unwrap()));
        assert!(matches!(agent.interception().guard(&unguardable), Err(Error::Unguardable(_))));
        let many = (0x0a00_0000u32..).map(|word| IpAddr::V4(word.into())).take(GUARDED_MAX + 1).collect();
        assert!(matches!(agent.interception().guard(&many), Err(Error::TooMany { .. })));
        assert_eq!(inspect(&world.pins()).unwrap().guarded, listed, "a refused set changes nothing");
        agent.guard(&[]);
        assert_eq!(world.client("connect 203.0.113.11 443").await, "peer=203.0.113.11:443 got=REAL");
    });
}
