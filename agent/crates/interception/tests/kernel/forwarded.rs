//! Packets that no hook on a cgroup sees, because they are made or changed behind it, in a container or on a device
//! behind the host: dropped where the host forwards them.

use std::{process::Command, time::Duration};

use interception::{Config, forwarded_dropped, refinements, remove};
use tokio::time::sleep;

use crate::{
    DIAL_TIME_MAX, GUARDED, GUARDED_V6, restart,
    world::{self, Agent, Log, World},
};

const PACKET: &str = "packet 203.0.113.10 443";
const REAL: &str = "got=REAL";
const LOST: &str = "error=timeout";
/// How often the table is replaced under a stream of packets: a second each in an emulated machine.
const REPLACED: usize = 40;

fn count(cfg: &Config) -> u64 {
    forwarded_dropped(&cfg.pins).unwrap().expect("there is no table")
}

#[test]
fn a_packet_socket_in_a_container_leads_nowhere() {
    World::run(async |world| {
        let container = world.routed_container("a");
        for address in [GUARDED, GUARDED_V6] {
            let said = world.client_in(&container, &format!("packet {address} 443")).await;
            assert_eq!(said, REAL, "the trick itself must work: {address}");
        }
        let cfg = world.config(0);
        let agent = Agent::guarding(&cfg, &[GUARDED, GUARDED_V6]).await;
        for (address, before) in [(GUARDED, 0), (GUARDED_V6, 1)] {
            assert_eq!(count(&cfg), before);
            let said = world.client_in(&container, &format!("packet {address} 443")).await;
            assert_eq!(said, LOST, "{address}");
        }
        assert_eq!(agent.interception().forwarded_dropped(), Ok(Some(2)));
        for other in ["packet 203.0.113.11 443", "packet 2001:db8::11 443"] {
            assert_eq!(world.client_in(&container, other).await, REAL, "{other}");
        }
        // The agent's own way starts here and is not forwarded.
        for server in ["203.0.113.10:443", "[2001:db8::10]:443"] {
            let dialer = agent.interception().dialer();
            let stream = dialer.connect(server.parse().unwrap(), DIAL_TIME_MAX).await.unwrap();
            assert_eq!(world::first_line(stream).await, "REAL", "{server}");
        }
        assert_eq!(count(&cfg), 2);
    });
}

#[test]
fn an_xdp_socket_in_a_container_leads_nowhere() {
    World::run(async |world| {
        let container = world.routed_container("a");
        for address in [GUARDED, GUARDED_V6] {
            let said = world.client_in(&container, &format!("xdp {address} 443")).await;
            assert_eq!(said, REAL, "the trick itself must work: {address}");
        }
        let cfg = world.config(0);
        let _agent = Agent::guarding(&cfg, &[GUARDED, GUARDED_V6]).await;
        for address in [GUARDED, GUARDED_V6] {
            assert_eq!(world.client_in(&container, &format!("xdp {address} 443")).await, LOST, "{address}");
        }
        assert_eq!(count(&cfg), 2);
        assert_eq!(world.client_in(&container, "xdp 203.0.113.11 443").await, REAL);
    });
}

#[test]
fn a_tun_device_in_a_container_or_on_the_host_leads_nowhere() {
    World::run(async |world| {
        let container = world.routed_container("a");
        let masquerade = "nft add table inet behind
             nft add chain inet behind post '{ type nat hook postrouting priority 100; }'
             nft add rule inet behind post ip saddr 10.99.0.0/24 masquerade
             nft add rule inet behind post ip6 saddr fd00:99::/64 masquerade";
        world.admin(masquerade);
        world.admin(&format!(
            "ip netns exec {} sh -ec '
               echo 1 > /proc/sys/net/ipv4/ip_forward
               echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
               {}'",
            container.name(),
            masquerade.replace('\'', "\"")
        ));
        let ways = ["tun 203.0.113.10 443", "tun 2001:db8::10 443"];
        for way in ways {
            assert_eq!(world.client_in(&container, way).await, REAL, "the trick itself must work: {way}");
            assert_eq!(world.client(way).await, REAL, "the trick itself must work on the host: {way}");
        }
        let cfg = world.config(0);
        let _agent = Agent::guarding(&cfg, &[GUARDED, GUARDED_V6]).await;
        for way in ways {
            assert_eq!(world.client_in(&container, way).await, LOST, "{way}");
            assert_eq!(world.client(way).await, LOST, "on the host: {way}");
        }
        assert_eq!(count(&cfg), 4);
        assert_eq!(world.client_in(&container, "tun 203.0.113.11 443").await, REAL);
    });
}

#[test]
fn packets_rewritten_on_their_way_out_of_a_container_lead_nowhere() {
    World::run(async |world| {
        let container = world.routed_container("a");
        // Behind the hooks on a cgroup, where root in the container may still change what leaves its device.
        world.admin(&format!(
            "ip netns exec {} sh -ec '
               nft add table netdev away
               nft add chain netdev away out \"{{ type filter hook egress device eth0 priority 0; }}\"
               nft add rule netdev away out ip daddr 203.0.113.12 ip daddr set 203.0.113.10
               nft add chain netdev away in \"{{ type filter hook ingress device eth0 priority 0; }}\"
               nft add rule netdev away in ip saddr 203.0.113.10 ip saddr set 203.0.113.12'",
            container.name()
        ));
        let way = "connect 203.0.113.12 443";
        let said = world.client_in(&container, way).await;
        assert_eq!(said, "peer=203.0.113.12:443 got=REAL", "the trick itself must work");
        let cfg = world.config(0);
        let _agent = Agent::guarding(&cfg, &[GUARDED]).await;
        assert_eq!(world.client_in(&container, way).await, LOST);
        assert!(count(&cfg) > 0);
    });
}

#[test]
fn the_table_follows_the_guarded_set_and_is_put_back() {
    World::run(async |world| {
        let log = Log::default();
        let _here = log.capture();
        let container = world.routed_container("a");
        let cfg = world.config(0);
        let agent = Agent::guarding(&cfg, &[GUARDED]).await;
        assert_eq!(world.client_in(&container, PACKET).await, LOST);
        agent.guard(&["203.0.113.11"]);
        assert_eq!(world.client_in(&container, PACKET).await, REAL);
        assert_eq!(world.client_in(&container, "packet 203.0.113.11 443").await, LOST);
        assert_eq!(count(&cfg), 2, "counted on");

        // As a firewall does that loads its own rules.
        world.admin("nft flush ruleset");
        let gone = agent.interception().forwarded_dropped().unwrap_err();
        assert!(gone.contains(" is gone: "), "{gone}");
        agent.guard(&["203.0.113.11"]);
        assert_eq!(count(&cfg), 0);
        log.lines_with("somebody changed the table of nftables").await;
        // A rule before ours, a table that sleeps: whatever was changed is put back.
        world.admin(&format!("nft insert rule {} forward accept", table()));
        agent.guard(&["203.0.113.11"]);
        let listed = Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout;
        assert!(!String::from_utf8(listed).unwrap().contains("\t\taccept"));
    });
}

/// As of a machine that is a proxy on one port, and something else on the others.
#[test]
fn of_a_single_guarded_port_packets_to_the_others_are_forwarded() {
    World::run(async |world| {
        let container = world.routed_container("a");
        let cfg = world.config(0);
        let agent = Agent::guarding(&cfg, &[GUARDED]).await;
        let endpoints = ["203.0.113.11:443", "[2001:db8::11]:443"].map(|text| text.parse().unwrap());
        agent.interception().guard_ports(&endpoints.into()).unwrap();
        for address in ["203.0.113.11", "2001:db8::11"] {
            assert_eq!(
                world.client_in(&container, &format!("packet {address} 443")).await,
                LOST,
                "{address}"
            );
            assert_eq!(
                world.client_in(&container, &format!("packet {address} 8443")).await,
                REAL,
                "{address}"
            );
        }
        assert_eq!(world.client_in(&container, PACKET).await, LOST, "what is guarded as a whole stays so");
        assert_eq!(count(&cfg), 3);
        agent.interception().guard_ports(&[].into()).unwrap();
        assert_eq!(world.client_in(&container, "packet 203.0.113.11 443").await, REAL);
    });
}

/// Family and name of the one table of an agent's that there is.
fn table() -> String {
    let listed = Command::new("nft").args(["list", "tables"]).output().unwrap().stdout;
    let listed = String::from_utf8(listed).unwrap();
    let names = listed.lines().filter(|line| line.contains(" snowfence-"));
    let names: Vec<_> = names.filter_map(|line| line.strip_prefix("table ")).collect();
    let [name] = names.as_slice() else { panic!("{listed}") };
    (*name).to_owned()
}

#[test]
fn no_packet_slips_through_while_the_table_is_replaced() {
    World::run(async |world| {
        let container = world.routed_container("a");
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let mut client = world.start_in(&container, &format!("packet_often {GUARDED} 443"));
        assert_eq!(client.line().await, "going");
        // A fast machine does it in a blink, so there is a pause.
        for replaced in 0..REPLACED {
            agent.guard(if replaced % 2 == 0 { &[GUARDED, "203.0.113.11"] } else { &[GUARDED] });
            sleep(Duration::from_millis(50)).await;
        }
        client.nudge().await;
        assert_eq!(client.line().await, "answers=0");
        assert!(agent.interception().forwarded_dropped().unwrap() > Some(10));
        // It would have counted them.
        let mut client = world.start_in(&container, "packet_often 203.0.113.11 443");
        agent.guard(&[GUARDED]);
        assert_eq!(client.line().await, "going");
        assert_eq!(client.line().await, "answered");
    });
}

#[test]
fn the_table_stays_while_no_agent_runs_and_is_the_next_ones() {
    World::run(async |world| {
        let container = world.routed_container("a");
        let (cfg, mut other) = (world.config(0), world.config(0));
        other.pins.set_file_name("other");
        Agent::guarding(&cfg, &[GUARDED]).await.end().await;
        assert_eq!(world.client_in(&container, PACKET).await, LOST, "no agent runs");
        let agent = Agent::start(&cfg).await;
        assert_eq!(world.client_in(&container, PACKET).await, LOST, "another runs");
        assert_eq!((count(&cfg), forwarded_dropped(&other.pins).unwrap()), (2, None));
        agent.end().await;

        // One that is not to do it takes away what was there.
        let mut off = cfg.clone();
        off.drop_forwarded = false;
        let agent = Agent::guarding(&off, &[GUARDED]).await;
        assert_eq!(agent.interception().forwarded_dropped(), Ok(None));
        assert_eq!(
            (world.client_in(&container, PACKET).await.as_str(), forwarded_dropped(&cfg.pins).unwrap()),
            (REAL, None)
        );
        agent.end().await;

        let agent = Agent::guarding(&cfg, &[GUARDED]).await;
        assert_eq!(count(&cfg), 0);
        agent.stop().await.detach().unwrap();
        assert_eq!(forwarded_dropped(&cfg.pins).unwrap(), None, "detached");
        Agent::guarding(&cfg, &[GUARDED]).await.end().await;
        remove(&cfg.pins).unwrap();
        assert_eq!(forwarded_dropped(&cfg.pins).unwrap(), None, "removed");
        assert_eq!(world.client_in(&container, PACKET).await, REAL);
        // Also when somebody has removed the pins by hand.
        Agent::guarding(&cfg, &[GUARDED]).await.end().await;
        std::fs::remove_dir_all(&cfg.pins).unwrap();
        assert_eq!(count(&cfg), 0);
        remove(&cfg.pins).unwrap();
        assert_eq!(forwarded_dropped(&cfg.pins).unwrap(), None, "removed after the pins");
    });
}

#[test]
fn two_agents_have_a_table_each() {
    World::run(async |world| {
        let container = world.routed_container("a");
        let elsewhere = world.sibling_cgroup();
        let (cfg, mut other) = (world.config(0), world.config(0));
        other.pins.set_file_name("other");
        other.cgroup = Some(elsewhere.path().to_owned());
        let first = Agent::guarding(&cfg, &[GUARDED]).await;
        let second = Agent::guarding(&other, &["203.0.113.11"]).await;
        for way in [PACKET, "packet 203.0.113.11 443"] {
            assert_eq!(world.client_in(&container, way).await, LOST, "{way}");
        }
        second.stop().await.detach().unwrap();
        assert_eq!(world.client_in(&container, "packet 203.0.113.11 443").await, REAL);
        assert_eq!(world.client_in(&container, PACKET).await, LOST);
        assert_eq!((count(&cfg), forwarded_dropped(&other.pins).unwrap()), (2, None));
        first.end().await;
    });
}

#[test]
fn an_agent_without_nftables_runs_and_says_what_is_not_covered() {
    World::run(async |world| {
        let checks = refinements(&world.config(0));
        assert!(checks.iter().all(|check| check.outcome.is_ok()), "{checks:?}");
        assert_eq!(forwarded_dropped(&world.pins()).unwrap(), None, "asking changes nothing");
        // One that is not there, and one that the kernel refuses everything.
        for (stand_in, fix) in [("/dev/null", "apt install nftables"), ("/bin/false", "CONFIG_NF_TABLES")] {
            let script = format!(
                "mount --bind $(readlink -f {stand_in}) $(readlink -f /usr/sbin/nft); exec \"$0\" \"$@\""
            );
            let through = ["unshare", "--mount", "sh", "-ec", &script];
            let (mut agent, mut said) = restart::start_agent(&world, &through);
            let mut forwarded = String::new();
            loop {
                let line = said.next_line().await.unwrap().expect("the agent ended");
                match line.strip_prefix("forwarded: ") {
                    Some(rest) => forwarded = rest.to_owned(),
                    None if line == "ready" => break,
                    None => {}
                }
            }
            assert!(forwarded.starts_with("Err(") && forwarded.contains(fix), "{through:?}: {forwarded}");
            let said = world.client("connect 203.0.113.10 443").await;
            assert!(said.ends_with(" got=AGENT"), "{said}");
            agent.kill().await.unwrap();
            remove(&world.pins()).unwrap();
        }
    });
}
