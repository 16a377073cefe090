//! Packet sockets: refused to whoever is covered, and to nobody else.

use std::{fs, path::Path};

use interception::{Config, Outcome};

use crate::{
    GUARDED,
    world::{Agent, Sibling, World},
};

/// `AF_PACKET` and `AF_XDP`, both with `SOCK_RAW`.
const PACKET: &str = "open_socket 17 3 0";
const XDP: &str = "open_socket 44 3 0";
const REFUSED: &str = "error=EPERM";

#[test]
fn packet_sockets_are_refused_and_raw_sockets_of_ip_are_not() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        for refused in [PACKET, "open_socket 17 2 0", XDP] {
            assert_eq!(world.client(refused).await, REFUSED, "{refused}");
        }
        // ICMP for ping, a raw one for iptables, and everyday ones.
        for opened in [
            "open_socket 2 3 1",
            "open_socket 2 3 255",
            "open_socket 10 3 58",
            "open_socket 2 1 0",
            "open_socket 1 1 0",
            "open_socket 16 3 0",
        ] {
            assert_eq!(world.client(opened).await, "opened", "{opened}");
        }
        assert_eq!(agent.count(Outcome::PacketSocketRefused), 3);
        assert_eq!(world.sibling_cgroup().client(PACKET).await, "opened", "it is not covered");
    });
}

#[test]
fn packet_sockets_stay_refused_while_no_agent_runs() {
    World::run(async |world| {
        Agent::guarding(&world.config(0), &[GUARDED]).await.end().await;
        assert_eq!(world.client(PACKET).await, REFUSED);
        let agent = Agent::start(&world.config(0)).await;
        assert_eq!(world.client(PACKET).await, REFUSED);
        agent.stop().await.detach().unwrap();
        assert_eq!(world.client(PACKET).await, "opened");
        // An agent that is told not to takes away what one before it has left.
        Agent::start(&world.config(0)).await.end().await;
        let mut cfg = world.config(0);
        cfg.lsm.enabled = false;
        let _agent = Agent::start(&cfg).await;
        assert_eq!(world.client(PACKET).await, "opened");
    });
}

#[test]
fn what_gets_the_host_its_addresses_may_open_packet_sockets() {
    const SLICE: &str = "/sys/fs/cgroup/system.slice";
    World::run(async |world| {
        let services =
            ["systemd-networkd.service", "runner.service", "runner.service/systemd-networkd.service"]
                .map(|name| Sibling::at(&Path::new(SLICE).join(name)));
        let impostor = Sibling::at(Path::new("/sys/fs/cgroup/systemd-networkd.service"));
        let agent = Agent::start(&Config { cgroup: None, ..world.config(0) }).await;
        let [network, runner, inside] = &services;
        assert_eq!(network.client(PACKET).await, "opened");
        for other in [runner, inside, &impostor] {
            assert_eq!(other.client(PACKET).await, REFUSED, "{}", other.path().display());
        }
        agent.stop().await.detach().unwrap();
        drop(services.into_iter().rev().collect::<Vec<_>>());
        drop(impostor);
        fs::remove_dir(SLICE).unwrap();
    });
}
