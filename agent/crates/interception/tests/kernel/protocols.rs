//! Other protocols than TCP, and raw sockets: the egress guard goes by the address, whatever is sent there.

use interception::Outcome;

use crate::{
    GUARDED, GUARDED_V6,
    world::{Agent, World, not_shown},
};

const REAL: &str = "got=REAL";
const REFUSED: &str = "error=EPERM";

/// Of these, the first are refused by the hook for their address, and the others by the egress guard.
const WITH_ADDRESS: [&str; 6] = ["to", "message", "more", "segments", "many", "ring"];
const CONNECTED: [&str; 6] = [
    "connected",
    "connected-write",
    "connected-more",
    "connected-segments",
    "connected-many",
    "connected-ring",
];

/// What a client says that went each of these ways with the same outcome.
fn all(hows: &[impl ToString], outcome: &str) -> String {
    let each = hows.iter().map(|how| format!("{}:{outcome}", how.to_string()));
    each.collect::<Vec<_>>().join(" ")
}

/// The ways as a client is told them.
fn list(hows: &[impl ToString]) -> String {
    hows.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn a_datagram_is_refused_in_each_way_to_send_it() {
    World::run(async |world| {
        let hows = [WITH_ADDRESS, CONNECTED].concat();
        let ways = [GUARDED, GUARDED_V6].map(|address| format!("each udp {} {address} 443", list(&hows)));
        for way in &ways {
            assert_eq!(world.client(way).await, all(&hows, REAL), "without an agent: {way}");
        }
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        for way in &ways {
            assert_eq!(world.client(way).await, all(&hows, REFUSED), "{way}");
        }
        assert_eq!(agent.count(Outcome::DatagramRefused), 12);
        // "more" is refused at its first half, and each other way is one packet.
        assert_eq!(agent.count(Outcome::PacketDropped), 12);
    });
}

#[test]
fn a_datagram_that_was_held_back_is_dropped_when_it_is_let_go() {
    World::run(async |world| {
        let way = "udp 203.0.113.10 443 connected-cork";
        assert_eq!(world.client(way).await, REAL);
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        // The call that lets go does not say what became of it.
        assert_eq!(world.client(way).await, "error=timeout");
        assert_eq!(agent.count(Outcome::PacketDropped), 1);
        assert_eq!(world.client("udp 203.0.113.11 443 connected-cork").await, REAL);
    });
}

#[test]
fn a_raw_socket_gets_no_answer_however_it_is_given_its_packets() {
    World::run(async |world| {
        let ways: Vec<String> = ["tcp", "hdrincl", "raw"]
            .iter()
            .flat_map(|how| [GUARDED, GUARDED_V6].map(|address| format!("raw_whole {address} 443 {how}")))
            .collect();
        for way in &ways {
            assert_eq!(world.client(way).await, REAL, "the way is open without an agent: {way}");
        }
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        for way in &ways {
            assert_eq!(world.client(way).await, REFUSED, "{way}");
        }
        assert_eq!(agent.count(Outcome::PacketDropped), 6);
    });
}

#[test]
fn a_packet_is_dropped_whatever_its_protocol_but_control_messages() {
    World::run(async |world| {
        // IP in IP, UDP, DCCP, IPv6 in IP, GRE, ESP, SCTP, UDP-Lite, and one for experiments.
        let numbers = [4, 17, 33, 41, 47, 50, 132, 136, 253];
        let ways =
            [GUARDED, GUARDED_V6].map(|address| format!("each raw_protocol {} {address}", list(&numbers)));
        for way in &ways {
            assert_eq!(world.client(way).await, all(&numbers, "sent"), "without an agent: {way}");
        }
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        for way in &ways {
            assert_eq!(world.client(way).await, all(&numbers, REFUSED), "{way}");
        }
        assert_eq!(agent.count(Outcome::PacketDropped), 18);
        for address in [GUARDED, GUARDED_V6] {
            assert_eq!(world.client(&format!("ping {address}")).await, "answered", "{address}");
        }
        assert_eq!(agent.count(Outcome::PacketDropped), 18);
    });
}

/// Streams that are not TCP's. SMC falls back to TCP and is caught; the others have no hook and send packets, which are
/// dropped. Few kernels have all of them: where one is missing, it must say so in the one way that it can.
#[test]
fn a_stream_of_another_protocol_is_caught_or_leads_nowhere() {
    World::run(async |world| {
        let streams = [
            // `AF_SMC` with the numbers that stand for IPv4 and IPv6, af_smc(7).
            ("SMC", "protocol 203.0.113.10 443 43 1 0", Some(REAL), "EAFNOSUPPORT"),
            ("SMC", "protocol 2001:db8::10 443 43 1 1", Some(REAL), "EAFNOSUPPORT"),
            ("SCTP", "protocol 203.0.113.10 443 0 1 132", None, "EPROTONOSUPPORT"),
            ("SCTP", "protocol 2001:db8::10 443 0 1 132", None, "EPROTONOSUPPORT"),
            // A type of socket that no other protocol has; gone from Linux 6.16.
            ("DCCP", "protocol 203.0.113.10 443 0 6 33", None, "ESOCKTNOSUPPORT"),
            ("DCCP", "protocol 2001:db8::10 443 0 6 33", None, "ESOCKTNOSUPPORT"),
        ];
        let mut there = Vec::new();
        for (name, way, open, absent) in streams {
            let said = world.client(way).await;
            if said == format!("error={absent}") {
                not_shown(&format!("{name}: {way}"));
            } else {
                // The server speaks neither of the others, and says so at once.
                assert_eq!(said, open.unwrap_or("error=ECONNREFUSED"), "without an agent, {way}");
                there.push((name, way));
            }
        }
        let agent = Agent::guarding(&world.config(0), &[GUARDED, GUARDED_V6]).await;
        for (name, way) in there {
            let before = agent.count(Outcome::PacketDropped);
            let said = world.client(way).await;
            if name == "SMC" {
                assert!(said.starts_with("got=AGENT "), "{way}: {said}");
            } else {
                assert!(said.starts_with("error=") && said != "error=ECONNREFUSED", "{way}: {said}");
                assert!(agent.count(Outcome::PacketDropped) > before, "{way}");
            }
        }
    });
}
