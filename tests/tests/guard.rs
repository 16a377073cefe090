//! Ways around the agent, each with client code of its own, tried as root on the guarded host; and what must be left
//! alone. What the kernel programs do by themselves is tested beside them, in the room `interception`.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::process::Output;
use std::time::Duration;

use lab::{Identity, Lab, Options};

/// An address of the guarded account, as the lab's DNS has it.
const GUARDED: &str = "203.0.113.10";

/// Speaks TLS to a name, and prints who answered: the peer's address and the issuer of its certificate.
const WHO_ANSWERS: &str = r#"
import socket, ssl, sys
name, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
context = ssl.create_default_context()
with socket.create_connection((address, port), timeout=10) as plain:
    print("peer", *plain.getpeername())
    with context.wrap_socket(plain, server_hostname=name) as tls:
        print("issuer", dict(pair[0] for pair in tls.getpeercert()["issuer"])["commonName"])
        tls.sendall(b"GET / HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n" % name.encode())
        print("reply", b"".join(iter(lambda: tls.recv(65536), b"")).decode(errors="replace"))
"#;

fn python(lab: &Lab, code: &str, arguments: &[&str]) -> Output {
    let command: Vec<&str> = ["python3", "-c", code].iter().chain(arguments).copied().collect();
    lab.exec_host(&command).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the guard was to keep from the server.
fn reached(lab: &Lab) -> usize {
    lab.front_log().unwrap().len()
}

#[test]
fn traffic_to_other_hosts_is_not_touched() {
    let lab = Lab::start(Options::default()).unwrap();
    let output = python(&lab, WHO_ANSWERS, &["www.example.org", "203.0.113.80", "443"]);
    let seen = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(seen.contains("peer 203.0.113.80 443"), "{seen}");
    assert!(seen.contains("issuer Lab Internet"), "the certificate is not the site's own: {seen}");
    // The site tells whom it saw: the host itself, over its own uplink, and no proxy.
    assert!(seen.contains("192.0.2.1"), "{seen}");
}

#[test]
fn a_guarded_address_is_answered_by_the_agent_on_every_port_and_under_every_name() {
    let lab = Lab::start(Options::default()).unwrap();
    let before = reached(&lab);
    for port in ["443", "8443"] {
        let output = python(&lab, WHO_ANSWERS, &["acme.snowflakecomputing.com", GUARDED, port]);
        let seen = text(&output.stdout);
        assert!(seen.contains(&format!("peer {GUARDED} {port}")), "{seen} {}", text(&output.stderr));
        assert!(seen.contains("issuer Snowfence"), "{port}: {seen} {}", text(&output.stderr));
    }
    // Another account behind the same address: decrypted, and refused in words.
    let other = python(&lab, WHO_ANSWERS, &["other.snowflakecomputing.com", GUARDED, "443"]);
    assert!(text(&other.stdout).contains("Snowfence refused this"), "{}", text(&other.stdout));
    // A name that is not Snowflake's: never decrypted, so never answered.
    let foreign = python(&lab, WHO_ANSWERS, &["www.example.org", GUARDED, "443"]);
    assert!(!foreign.status.success());
    assert!(!text(&foreign.stdout).contains("issuer"), "{}", text(&foreign.stdout));
    assert_eq!(reached(&lab), before, "something reached the server");
}

#[test]
fn a_connection_older_than_the_agent_is_cut_off() {
    let lab = Lab::start(Options::direct()).unwrap();
    let code = r#"
import os, socket, ssl, sys, time
tls = ssl.create_default_context().wrap_socket(socket.create_connection(("203.0.113.10", 443)), server_hostname="acme.snowflakecomputing.com")
request = b"POST /session/heartbeat HTTP/1.1\r\nhost: acme.snowflakecomputing.com\r\ncontent-length: 0\r\n\r\n"
def ask(about):
    tls.settimeout(3)
    try:
        tls.sendall(request)
        print(about, "answered" if tls.recv(65536) else "closed", flush=True)
    except OSError as error:
        print(about, type(error).__name__, flush=True)
ask("before")
deadline = time.monotonic() + 60
while not os.path.exists(sys.argv[1]) and time.monotonic() < deadline:
    time.sleep(0.05)
ask("after")
"#;
    let flag = lab.folder().join("the-agent-is-up");
    let command = ["python3", "-c", code, flag.to_str().unwrap()];
    let old = lab.command(&command).unwrap().identity(Identity::None).spawn().unwrap();
    old.wait_until(Duration::from_secs(60), |said| said.contains("before answered")).unwrap();
    lab.start_agent().unwrap();
    let before = reached(&lab);
    std::fs::write(&flag, "").unwrap();
    let output = old.wait(Duration::from_secs(60)).unwrap();
    let seen = text(&output.stdout);
    assert!(seen.contains("before answered") && seen.contains("after"), "{seen}");
    // Its TLS library has a word of its own for a connection that was aborted; what counts is that it did not wait.
    assert!(!seen.contains("after answered") && !seen.contains("after TimeoutError"), "{seen}");
    assert_eq!(reached(&lab), before, "a request on the old connection reached the server");
}

#[test]
fn a_raw_socket_and_udp_do_not_leave_the_host() {
    let lab = Lab::start(Options::default()).unwrap();
    let code = r#"
import socket, struct, sys
target = (sys.argv[1], 0)
syn = struct.pack("!HHIIBBHHH", 45678, 443, 1000, 0, 0x50, 2, 65535, 0, 0)
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
    try:
        raw.sendto(syn, target)
        print("raw sent")
    except OSError as error:
        print("raw", error.strerror)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    for way in ("sendto", "connected send"):
        try:
            if way == "sendto":
                udp.sendto(b"x", (sys.argv[1], 443))
            else:
                udp.connect((sys.argv[1], 443))
                udp.send(b"x")
            print(way, "done")
        except OSError as error:
            print(way, error.strerror)
"#;
    let seen = text(&python(&lab, code, &[GUARDED]).stdout);
    assert!(seen.contains("raw Operation not permitted"), "{seen}");
    assert!(seen.contains("sendto Operation not permitted"), "{seen}");
    assert!(seen.contains("connected send Operation not permitted"), "{seen}");
    // The same to an address that is not guarded goes out: the test can tell the difference.
    let free = text(&python(&lab, code, &["203.0.113.80"]).stdout);
    for done in ["raw sent", "sendto done", "connected send done"] {
        assert!(free.contains(done), "{free}");
    }
}

#[test]
fn rewriting_the_agents_port_to_the_real_address_leads_nowhere() {
    let lab = Lab::start(Options::default()).unwrap();
    let rules = format!(
        "table ip trick {{
            chain out {{ type nat hook output priority -100; ip daddr 127.0.0.1 tcp dport 15001 dnat to {GUARDED}:443; }}
            chain post {{ type nat hook postrouting priority 100; ip daddr {GUARDED} masquerade; }}
        }}"
    );
    let setup = "sysctl -qw net.ipv4.conf.all.route_localnet=1 && nft -f - <<< \"$1\"";
    let output = lab.exec_host(&["bash", "-c", setup, "bash", &rules]).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let before = reached(&lab);
    for (address, port) in [(GUARDED, "443"), ("127.0.0.1", "15001")] {
        let code = WHO_ANSWERS.replace("timeout=10", "timeout=3");
        let output = python(&lab, &code, &["acme.snowflakecomputing.com", address, port]);
        let seen = text(&output.stdout);
        assert!(!output.status.success() && !seen.contains("issuer"), "{address}: {seen}");
    }
    assert_eq!(reached(&lab), before);
}
