//! The networks of containers, as engines make them: prepared once on the host, and joined by a hook that runc calls
//! between making a container's namespaces and starting its command.

use std::process::Command;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::container::Network;
use super::lab::Lab;

/// The bridge with its translation, as Docker lays it out.
const BRIDGE: &str = r#"
ip link add ctr0 type bridge
ip address add 172.30.0.1/16 dev ctr0
ip link set ctr0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<'RULES'
table ip containers {
    chain postrouting {
        type nat hook postrouting priority 100;
        ip saddr 172.30.0.0/16 oifname != "ctr0" masquerade
    }
}
RULES
"#;

/// What each hook begins with: the container's process, from the state on standard input.
const PID: &str = r#"pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p')
inside() { nsenter --net=/proc/$pid/ns/net ip "$@"; }
"#;

/// Makes what containers of a network have in common, if it is not there yet.
pub(super) fn prepare(lab: &Lab, network: Network) -> Result<()> {
    if network != Network::Bridge {
        return Ok(());
    }
    let mut script = lab.host_command();
    let once = format!("set -e; ip link show ctr0 >/dev/null 2>&1 && exit; {BRIDGE}");
    run(script.args(["sh", "-c", &once]))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("the containers' network cannot be made: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The hook that connects a container, with an address of its own.
pub(super) fn hooks(network: Network, number: u32) -> Value {
    // From .2.0 on, so that no number meets the bridge; below 192.0.2.0/24 few are free.
    let (third, fourth) = (2 + number / 200, 10 + number % 200);
    let script = match network {
        Network::None | Network::Host => return json!({}),
        Network::Bridge => format!(
            "ip link add ctr{number}-h type veth peer name eth0 netns $pid
             ip link set ctr{number}-h master ctr0 up
             inside address add 172.30.{third}.{fourth}/16 dev eth0
             inside link set eth0 up
             inside route add default via 172.30.0.1"
        ),
        Network::Macvlan => format!(
            "ip link add link eth0 name ctr{number}-m type macvlan mode bridge
             ip link set ctr{number}-m netns $pid name eth0
             inside address add 192.0.2.{fourth}/24 dev eth0
             inside link set eth0 up
             inside route add default via 192.0.2.2"
        ),
    };
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let script = format!("set -e\n{PID}{script}");
    json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": [path] }] })
}
