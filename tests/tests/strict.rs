//! The strict scope: every connection to port 443 goes through the agent, and what is not Snowflake's comes out of it
//! as it went in.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{Lab, Options};
use serde_json::Value;

/// Addresses of the lab's internet that no name leads to: one more way to Snowflake, and servers of this test's own.
const UNLEARNED: &str = "203.0.113.11";
const BANNER: &str = "203.0.113.91";
const SILENT: &str = "203.0.113.92";
const SELF_SIGNED: &str = "203.0.113.93";

const PATIENCE: Duration = Duration::from_secs(60);

/// Speaks TLS to an address, and prints who answered: the certificate's digest, or what went wrong.
const CERTIFICATE: &str = r#"
import hashlib, socket, ssl, sys
address, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3] or None
context = ssl._create_unverified_context()
try:
    with socket.create_connection((address, port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=name) as tls:
            print("certificate", hashlib.sha256(tls.getpeercert(True)).hexdigest())
except OSError as error:
    print("error", type(error).__name__, error)
"#;

/// An HTTPS exchange with the ordinary site, large in both directions, checked to the last byte.
const LARGE: &str = r#"
import array, hashlib, ssl, urllib.request
context = ssl.create_default_context()
def ask(path, body=None):
    request = urllib.request.Request("https://www.example.org" + path, data=body)
    return urllib.request.urlopen(request, timeout=60, context=context).read()
expected = array.array("Q", range(10_000_000)).tobytes()
print("down", hashlib.sha256(ask("/bytes/80000000")).digest() == hashlib.sha256(expected).digest())
body = expected[:40_000_000]
print("up", ask("/", body) == body)
"#;

/// Says everything, ends its own side, and only then listens.
const HALF_CLOSED: &str = r#"
import hashlib, socket, sys
said = bytes(range(256)) * 4096
with socket.create_connection((sys.argv[1], 443), timeout=60) as plain:
    print("banner", plain.makefile("rb").readline())
    plain.sendall(said)
    plain.shutdown(socket.SHUT_WR)
    heard = b"".join(iter(lambda: plain.recv(65536), b""))
    print("same", heard == hashlib.sha256(said).hexdigest().encode())
"#;

/// Servers on the far side: one that greets and answers only when its client is done speaking, one that says nothing.
const SERVERS: &str = r#"
import hashlib, socket, sys, threading
def serve(address, greets):
    listener = socket.create_server((address, 443))
    while True:
        client, _ = listener.accept()
        threading.Thread(target=converse, args=(client, greets), daemon=True).start()
def converse(client, greets):
    try:
        if greets:
            client.sendall(b"220 here\r\n")
        digest = hashlib.sha256()
        for part in iter(lambda: client.recv(65536), b""):
            digest.update(part)
        if greets:
            client.sendall(digest.hexdigest().encode())
        client.close()
    except OSError:
        pass
threading.Thread(target=serve, args=(sys.argv[2], False), daemon=True).start()
threading.Thread(target=serve, args=(sys.argv[1], True), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"#;

/// A process on the far side that ends with the test.
struct Far(Child);

impl Drop for Far {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A lab whose agent has not started, with the configuration `guard` and another way to Snowflake.
fn lab(guard: &str) -> Lab {
    let lab = Lab::start(Options::direct()).unwrap();
    let config = std::fs::read_to_string(lab.config()).unwrap();
    let guard = format!("[guard]\n{guard}\nrefresh_seconds = 3600\n");
    std::fs::write(lab.config(), config.replace("[guard]\n", &guard)).unwrap();
    for address in [UNLEARNED, BANNER, SILENT, SELF_SIGNED] {
        far(&lab, &["ip", "address", "add", &format!("{address}/32"), "dev", "lo"]);
    }
    let rules = format!(
        "table ip front {{ chain pre {{ type nat hook prerouting priority -100; ip daddr {UNLEARNED} dnat to 203.0.113.10; }}; }}"
    );
    far(&lab, &["nft", &rules]);
    lab
}

fn strict() -> Lab {
    let lab = lab("scope = \"strict\"");
    lab.start_agent().unwrap();
    lab
}

fn far(lab: &Lab, command: &[&str]) {
    let output = lab.exec_internet(command).unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
}

fn spawn_far(lab: &Lab, command: &[&str]) -> Far {
    let mut process = lab.internet_command();
    process.args(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    Far(process.spawn().unwrap())
}

fn python(lab: &Lab, code: &str, arguments: &[&str]) -> Output {
    let command: Vec<&str> = ["python3", "-c", code].iter().chain(arguments).copied().collect();
    lab.exec_host(&command).unwrap()
}

fn said(lab: &Lab, code: &str, arguments: &[&str]) -> String {
    let output = python(lab, code, arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn status(lab: &Lab) -> Value {
    let output = lab.snowfence(&["status", "--json"]).unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until something on the far side takes connections.
fn wait_for(lab: &Lab, address: &str) {
    let code = "import socket, sys; socket.create_connection((sys.argv[1], 443), timeout=1)";
    let start = Instant::now();
    while !lab.exec_internet(&["python3", "-c", code, address]).unwrap().status.success() {
        assert!(start.elapsed() < PATIENCE, "{address} does not answer");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_is_not_snowflakes_is_passed_on_untouched() {
    let lab = lab("scope = \"strict\"");
    let _servers = spawn_far(&lab, &["python3", "-c", SERVERS, BANNER, SILENT]);
    let folder = lab.folder().join("self-signed");
    std::fs::create_dir(&folder).unwrap();
    let pem = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (pem("key.pem"), pem("certificate.pem"));
    far(
        &lab,
        &[
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &certificate,
            "-days",
            "2",
            "-subj",
            "/CN=intranet",
        ],
    );
    let accept = format!("{SELF_SIGNED}:443");
    let _self_signed = spawn_far(
        &lab,
        &["openssl", "s_server", "-accept", &accept, "-key", &key, "-cert", &certificate, "-quiet"],
    );
    for address in [BANNER, SILENT, SELF_SIGNED] {
        wait_for(&lab, address);
    }
    let certificates = || {
        [(SELF_SIGNED, ""), (SELF_SIGNED, "intranet.example.org"), ("203.0.113.80", "www.example.org")]
            .map(|(address, name)| said(&lab, CERTIFICATE, &[address, "443", name]))
    };
    let before = certificates();
    assert!(before.iter().all(|seen| seen.starts_with("certificate ")), "{before:?}");
    lab.start_agent().unwrap();

    // With a name and without one: each site shows the certificate that it shows without an agent.
    assert_eq!(certificates(), before);
    assert_eq!(said(&lab, LARGE, &[]), "down True\nup True");
    assert_eq!(said(&lab, HALF_CLOSED, &[BANNER]), "banner b'220 here\\r\\n'\nsame True");
    let status = status(&lab);
    assert_eq!(status["scope"], "strict");
    let passed = &status["passed"];
    assert!(
        passed["connections"].as_u64().unwrap() >= 6 && passed["bytes"].as_u64().unwrap() > 160_000_000,
        "{passed}"
    );
    assert_eq!(passed["refused"], 0);

    // Nobody can say whose this is: it takes connections and shows nothing.
    let refused = said(&lab, CERTIFICATE, &[SILENT, "443", "www.example.org"]);
    assert!(refused.starts_with("error ConnectionResetError"), "{refused}");
    let log = lab.agent_log();
    assert!(log.contains("a connection to an unknown address was refused") && log.contains(SILENT), "{log}");
    // A port that is not HTTPS's is left alone, and so is what is on the host itself.
    let other = said(&lab, CERTIFICATE, &[SELF_SIGNED, "8443", ""]);
    assert!(other.starts_with("error ConnectionRefusedError"), "{other}");
    let own = said(&lab, CERTIFICATE, &["127.0.0.1", "443", ""]);
    assert!(own.starts_with("error ConnectionRefusedError"), "{own}");
}

#[test]
fn an_address_of_snowflakes_that_nobody_resolved_is_served_at_the_first_try() {
    let lab = strict();
    // Unmodified jobs go where the host's own names lead.
    let hosts = format!("echo {UNLEARNED} acme.snowflakecomputing.com >> /etc/hosts");
    assert!(lab.exec_host(&["sh", "-c", &hosts]).unwrap().status.success());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/connector.py");
    let output = lab.run(&["python3", script.to_str().unwrap(), "select"]).unwrap();
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = &seen["rows"][0];
    for column in [2, 3] {
        assert!(row[column][1].as_str().unwrap().starts_with("'****"), "{row}");
    }
    // From now on it is guarded as the accounts' own addresses are: on every port.
    let start = Instant::now();
    let issued = |port| said(&lab, CERTIFICATE, &[UNLEARNED, port, "acme.snowflakecomputing.com"]);
    while !issued("8443").starts_with("certificate ") {
        assert!(start.elapsed() < PATIENCE, "the address is not guarded: {}", lab.agent_log());
        sleep(Duration::from_millis(100));
    }
    assert!(lab.agent_log().contains("is Snowflake's: it is guarded from now on"), "{}", lab.agent_log());
}

#[test]
fn a_hello_that_hides_or_forges_the_name_does_not_get_to_snowflake() {
    let lab = strict();
    let before = lab.front_log().unwrap().len();
    for name in ["www.example.org", ""] {
        let seen = said(&lab, CERTIFICATE, &[UNLEARNED, "443", name]);
        assert!(seen.starts_with("error "), "{name:?}: {seen}");
    }
    // The same client is answered where the name is the site's own: it is the name that made the difference.
    let own = said(&lab, CERTIFICATE, &["203.0.113.80", "443", "www.example.org"]);
    assert!(own.starts_with("certificate "), "{own}");
    // A guarded name at an address that is another's is not passed on either: it is judged here.
    let forged = said(&lab, CERTIFICATE, &["203.0.113.80", "443", "other.snowflakecomputing.com"]);
    assert!(forged.starts_with("certificate "), "{forged}");
    assert_eq!(lab.front_log().unwrap().len(), before, "something reached the server");
}

#[test]
fn the_scope_of_addresses_leaves_everything_else_alone() {
    let lab = lab("scope = \"addresses\"");
    lab.start_agent().unwrap();
    let www = said(&lab, CERTIFICATE, &["203.0.113.80", "443", "www.example.org"]);
    assert!(www.starts_with("certificate "), "{www}");
    assert_eq!(status(&lab)["passed"]["connections"], 0);
}
