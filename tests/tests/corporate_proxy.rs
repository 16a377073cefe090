//! A corporate proxy that jobs are told to use: a real one, on a host that has no other way to Snowflake.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{JobFacts, Lab, Options};
use serde_json::Value;

/// The proxy's name, its address, and its ports: one that wants a credential, and one for everybody.
const NAME: &str = "proxy.corp.example";
const ADDRESS: &str = "203.0.113.88";
const WITH_CREDENTIAL: &str = "http://job:open-sesame@proxy.corp.example:3128";
const WRONG_CREDENTIAL: &str = "http://job:close-sesame@proxy.corp.example:3128";
const FOR_EVERYBODY: &str = "http://proxy.corp.example:3129";
/// The credential as it goes over the wire.
const SECRETS: [&str; 3] = ["open-sesame", "am9iOm9wZW4tc2VzYW1l", "am9iOmNsb3NlLXNlc2FtZQ"];
/// One more address of Snowflake's, that no name leads to.
const UNLEARNED: &str = "203.0.113.11";

const PATIENCE: Duration = Duration::from_secs(60);

/// A tunnel and TLS in it, for names of one's own choice: prints the proxy's status and who answers.
const TUNNEL: &str = r#"
import socket, ssl, sys
proxy, target, name = sys.argv[1:4]
def answer(plain):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = plain.recv(1)
        if not part:
            break
        head += part
    fields = [line.split(b":", 1) for line in head.lower().split(b"\r\n") if b":" in line]
    left = int(dict(fields).get(b"content-length", 0))
    while left:
        left -= len(plain.recv(left))
    return head.split(b"\r\n")[0].decode()
host, port = proxy.split(":")
try:
    with socket.create_connection((host, int(port)), timeout=60) as plain:
        for before in sys.argv[4:]:
            plain.sendall(before.encode().decode("unicode_escape").encode())
            print("before", answer(plain))
        plain.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        print("status", answer(plain))
        context = ssl.create_default_context()
        context.check_hostname = False
        with context.wrap_socket(plain, server_hostname=name) as tls:
            print("issuer", dict(pair[0] for pair in tls.getpeercert()["issuer"])["commonName"])
            tls.sendall(b"GET / HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n" % name.encode())
            print("reply", b"".join(iter(lambda: tls.recv(65536), b"")).decode(errors="replace"))
except OSError as error:
    print("error", type(error).__name__)
"#;

/// A plain site on the far side, and a port of the proxy's machine that is not the proxy.
const SITE: &str = r#"
import http.server, sys
class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"plain {self.path} {self.headers.get('X-Mark')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer((sys.argv[1], 8000), Site).serve_forever()
"#;

/// A process on the far side that ends with the test.
struct Far(Child);

impl Drop for Far {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A lab with a proxy on the far side, and an agent that is told of it.
struct Corporate {
    lab: Lab,
    log: PathBuf,
    _far: Vec<Far>,
}

impl Corporate {
    fn start() -> Self {
        let corporate = Self::lay_out();
        corporate.lab.start_agent().unwrap();
        corporate
    }

    /// Without the agent, so that a test can see what is there without it.
    fn lay_out() -> Self {
        let lab = Lab::start(Options::direct()).unwrap();
        let config = std::fs::read_to_string(lab.config()).unwrap();
        let guard = format!("[guard]\nproxies = [\"{NAME}:3128\", \"{ADDRESS}:3129\"]\n");
        std::fs::write(lab.config(), config.replace("[guard]\n", &guard)).unwrap();
        for address in [ADDRESS, UNLEARNED] {
            far(&lab, &["ip", "address", "add", &format!("{address}/32"), "dev", "lo"]);
        }
        let rules = format!(
            "table ip front {{ chain out {{ type nat hook output priority -100; ip daddr {UNLEARNED} dnat to 203.0.113.10; }}; }}"
        );
        far(&lab, &["nft", &rules]);
        host(&lab, &format!("echo {ADDRESS} {NAME} >> /etc/hosts"));
        // The host has no other way to Snowflake than the proxy.
        host(&lab, "ip route add unreachable 203.0.113.10/32");
        let log = lab.folder().join("proxy.log");
        let mut far = vec![spawn_far(&lab, &["python3", "-c", SITE, ADDRESS])];
        for (port, credential) in [(3128, "BasicAuth job open-sesame\n"), (3129, "")] {
            let file = lab.folder().join(format!("proxy-{port}.conf"));
            let text = format!(
                "Port {port}\nListen {ADDRESS}\nTimeout 600\nMaxClients 50\nConnectPort 443\nConnectPort 8443\n\
                 LogLevel Connect\nLogFile \"{}\"\n{credential}",
                log.display()
            );
            std::fs::write(&file, text).unwrap();
            far.push(spawn_far(&lab, &["tinyproxy", "-d", "-c", file.to_str().unwrap()]));
        }
        for port in [8000, 3128, 3129] {
            wait_for(&lab, port);
        }
        Self { lab, log, _far: far }
    }

    /// What a script saw in each scenario, through a proxy.
    fn seen(&self, script: &str, scenarios: &[&str], proxy: &str) -> Vec<Value> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
        let words = [&["python3", file.to_str().unwrap()], scenarios].concat();
        let command = self.lab.command(&words).unwrap().facts(JobFacts::default());
        let output = command.env("HTTPS_PROXY", proxy).env("https_proxy", proxy).run().unwrap();
        let lines = text(&output.stdout);
        assert!(output.status.success(), "{script}: {lines} {}", text(&output.stderr));
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn curl(&self, arguments: &[&str]) -> Output {
        let command = [&["curl", "--silent", "--show-error", "--max-time", "60"], arguments].concat();
        self.lab.command(&command).unwrap().run().unwrap()
    }

    fn tunnel(&self, arguments: &[&str]) -> String {
        let output = self.lab.exec_host(&[&["python3", "-c", TUNNEL], arguments].concat()).unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    fn proxy_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn reached(&self) -> usize {
        self.lab.front_log().unwrap().len()
    }
}

fn far(lab: &Lab, command: &[&str]) {
    let output = lab.exec_internet(command).unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
}

fn host(lab: &Lab, script: &str) {
    let output = lab.exec_host(&["sh", "-c", script]).unwrap();
    assert!(output.status.success(), "{script}: {}", text(&output.stderr));
}

fn spawn_far(lab: &Lab, command: &[&str]) -> Far {
    let mut process = lab.internet_command();
    process.args(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Far(process.spawn().unwrap())
}

fn wait_for(lab: &Lab, port: u16) {
    let code = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1)";
    let start = Instant::now();
    while !lab.exec_internet(&["python3", "-c", code, ADDRESS, &port.to_string()]).unwrap().status.success() {
        assert!(start.elapsed() < PATIENCE, "nobody answers on {port}; is tinyproxy installed?");
        sleep(Duration::from_millis(50));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn drivers_reach_snowflake_through_the_proxy_masked_judged_and_in_their_own_name() {
    let corporate = Corporate::lay_out();
    let url = "https://acme.snowflakecomputing.com/";
    // What a proxy says to a wrong credential, and to none.
    let refused = || {
        [WRONG_CREDENTIAL, "http://proxy.corp.example:3128"].map(|proxy| {
            let code = ["--proxy", proxy, "--output", "/dev/null", "--write-out", "%{http_connect}", url];
            text(&corporate.curl(&code).stdout)
        })
    };
    let direct = refused();
    corporate.lab.start_agent().unwrap();
    for script in ["connector.py", "adbc.py"] {
        for proxy in [WITH_CREDENTIAL, FOR_EVERYBODY] {
            let seen = corporate.seen(script, &["select", "drop"], proxy);
            let row = &seen[0]["rows"][0];
            for column in [2, 3] {
                assert!(row[column][1].as_str().unwrap().starts_with("'****"), "{script} {proxy}: {row}");
            }
            let refused = seen[1]["error"]["message"].as_str().unwrap();
            assert!(refused.contains("Snowfence refused this statement: "), "{script} {proxy}: {refused}");
        }
    }
    let through = corporate.proxy_log();
    assert!(through.contains("CONNECT acme.snowflakecomputing.com:443"), "{through}");
    let requests = corporate.lab.front_log().unwrap();
    assert!(!requests.is_empty());
    // Nothing came but by the proxy: the host itself has no way there.
    assert!(
        requests.iter().all(|request| request["peer"].as_str().unwrap().starts_with("203.0.113.")),
        "{requests:?}"
    );
    assert!(
        requests.iter().all(|request| !request["sql"].as_str().unwrap_or("").contains("DROP")),
        "{requests:?}"
    );

    let who = ["--proxy", WITH_CREDENTIAL, "--verbose", "--output", "/dev/null", url];
    let output = corporate.curl(&who);
    assert!(text(&output.stderr).contains("issuer: O=Snowfence"), "{}", text(&output.stderr));
    let before = corporate.reached();
    // The proxy's own refusal, as without an agent.
    assert_eq!(refused(), direct);
    assert!(direct.iter().all(|code| code.starts_with("40")), "{direct:?}");
    assert_eq!(corporate.reached(), before);
    let log = corporate.lab.agent_log();
    for secret in SECRETS {
        assert!(!log.contains(secret), "the agent's log holds a credential");
    }
}

#[test]
fn other_sites_are_reached_through_the_proxy_untouched() {
    let corporate = Corporate::lay_out();
    let page = "http://203.0.113.88:8000/a";
    let code = ["--proxy", WRONG_CREDENTIAL, "--write-out", "%{http_code}", "--output", "/dev/null", page];
    let refused = || text(&corporate.curl(&code).stdout);
    let direct = refused();
    corporate.lab.start_agent().unwrap();
    assert!(refused() == direct && direct.starts_with("40"), "{direct}");
    let seen = corporate.tunnel(&["proxy.corp.example:3129", "www.example.org:443", "www.example.org"]);
    assert!(seen.contains("issuer Lab Internet"), "the certificate is not the site's own: {seen}");
    let large = corporate.curl(&["--proxy", WITH_CREDENTIAL, "https://www.example.org/bytes/20000000"]);
    let expected: Vec<u8> = (0..2_500_000u64).flat_map(u64::to_le_bytes).collect();
    assert!(large.stdout == expected, "{} bytes: {}", large.stdout.len(), text(&large.stderr));
    // Without TLS the proxy is asked for each page; both come over one connection.
    let pages = [page, "http://203.0.113.88:8000/b"];
    let output = corporate.curl(&["--proxy", FOR_EVERYBODY, "--header", "X-Mark: kept", pages[0], pages[1]]);
    assert_eq!(text(&output.stdout), "plain /a kept\nplain /b kept\n", "{}", text(&output.stderr));
    // The proxy's machine is guarded on the proxy's ports alone.
    let straight = corporate.curl(&["--noproxy", "*", pages[0]]);
    assert_eq!(text(&straight.stdout), "plain /a None\n", "{}", text(&straight.stderr));
    let status = corporate.lab.snowfence(&["status", "--json"]).unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["proxies"][0]["host"], "203.0.113.88:3129", "{status}");
    assert!(status["passed"]["bytes"].as_u64().unwrap() > 20_000_000, "{status}");
}

#[test]
fn what_leads_to_snowflake_by_another_word_does_not_slip_through_the_proxy() {
    let corporate = Corporate::start();
    let before = corporate.reached();
    let (proxy, acme) = ("proxy.corp.example:3129", "acme.snowflakecomputing.com");
    // By its address, and by an address that nobody has learned: the name in the ClientHello tells.
    for target in ["203.0.113.10:443", "203.0.113.11:443", "ACME.SnowflakeComputing.com.:443"] {
        let seen = corporate.tunnel(&[proxy, target, acme]);
        assert!(
            seen.contains("status HTTP/1.1 200") || seen.contains("status HTTP/1.0 200"),
            "{target}: {seen}"
        );
        assert!(seen.contains("issuer Snowfence"), "{target}: {seen}");
    }
    // A harmless name in a tunnel to Snowflake is not decrypted, and not answered.
    let lying = corporate.tunnel(&[proxy, "203.0.113.10:443", "www.example.org"]);
    assert!(!lying.contains("issuer"), "{lying}");
    // An address in a spelling that only some programs read.
    let odd = corporate.tunnel(&[proxy, "3405803786:443", acme]);
    assert!(odd.contains("error") && !odd.contains("200"), "{odd}");
    // What is not HTTP/1.1, such as TLS to the proxy itself, could hold anything.
    let tls = corporate.curl(&["--proxy", "https://proxy.corp.example:3129", "https://www.example.org/"]);
    assert!(!tls.status.success(), "{}", text(&tls.stdout));
    // A tunnel behind a page on the same connection.
    let page = "GET http://203.0.113.88:8000/a HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n";
    let behind = corporate.tunnel(&[proxy, "203.0.113.11:443", acme, page]);
    assert!(behind.contains("before HTTP/1.0 200") && behind.contains("status HTTP/1.1 405"), "{behind}");
    // Pages of Snowflake's, also where the proxy would speak TLS itself, and by the name in a header.
    for url in ["http://acme.snowflakecomputing.com/", "http://203.0.113.10/", "http://203.0.113.88:8000/"] {
        let is_other = url.contains("8000");
        let name = if is_other { "Host: acme.snowflakecomputing.com" } else { "X: y" };
        let output =
            corporate.curl(&["--proxy", FOR_EVERYBODY, "--header", name, "--write-out", "%{http_code}", url]);
        assert_eq!(text(&output.stdout), "404", "{url}: {}", text(&output.stderr));
    }
    let absolute = "GET https://acme.snowflakecomputing.com/ HTTP/1.1\\r\\nHost: acme.snowflakecomputing.com\\r\\n\\r\\n";
    let seen = corporate.tunnel(&[proxy, "x:443", acme, absolute]);
    assert!(seen.contains("before HTTP/1.1 404"), "{seen}");
    assert_eq!(corporate.reached(), before, "something reached the server");
    assert!(!corporate.proxy_log().contains("203.0.113.10"), "{}", corporate.proxy_log());
}
