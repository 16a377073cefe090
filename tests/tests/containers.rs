//! Containers: drivers in them are caught, judged, masked and recorded like those on the host, whatever network they
//! have, and the record says which container it was.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of a test fail as the test does"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{Container, Engine, IMAGE, Identity, Lab, Network, Options, POD};
use serde_json::Value;

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name).to_str().unwrap().to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A verb's answer.
fn ask(lab: &Lab, verb: &[&str]) -> Value {
    let output = lab.snowfence(verb).unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// The last session in the record, with all that is known of it.
fn last_session(lab: &Lab) -> Value {
    let list = ask(lab, &["sessions", "list", "--json"]);
    let id = list["sessions"].as_array().unwrap().last().unwrap()["session"].as_str().unwrap().to_owned();
    ask(lab, &["sessions", "show", &id, "--json"])
}

/// Reads customers and tries to drop them, with the Python connector, in a container.
fn step(lab: &Lab, container: Container, identity: Identity) -> (String, Output) {
    let demo = script("demo.py");
    let command = [
        "python3",
        &demo,
        "select name, email, ssn, city from customers order by id limit 1",
        "drop table customers",
    ];
    let contained = lab.container(container, &command).unwrap();
    let output = contained.command.identity(identity).run().unwrap();
    (contained.id, output)
}

/// Masked, refused and recorded, as on the host.
fn assert_guarded(lab: &Lab, container: Container) {
    let (id, output) = step(lab, container, Identity::Verified);
    let (seen, complaints) = (text(&output.stdout), text(&output.stderr));
    let about = format!("{container:?}: {seen}{complaints}");
    assert!(seen.contains("****@example.org") && seen.contains("****7919"), "{about}");
    assert!(seen.contains("Bruno Berg") && seen.contains("Oslo"), "{about}");
    assert!(!seen.contains("937-63-7919"), "{about}");
    assert!(seen.contains("Snowfence refused this statement: "), "{about}");
    let session = last_session(lab);
    let login = &session["login"];
    assert_eq!(login["who"]["assurance"], "verified", "{login}");
    assert_eq!(login["who"]["repository"], "acme/etl", "{login}");
    assert_eq!(login["process"]["container"]["id"], id, "{login}");
    assert_eq!(session["statements"].as_array().unwrap().len(), 2, "{session}");
    // Only the agent itself goes to Snowflake, from the host's own network.
    for request in lab.front_log().unwrap() {
        assert_eq!(
            request["peer"].as_str().map(|peer| peer.split(':').next().unwrap()),
            Some("192.0.2.1"),
            "{request}"
        );
    }
}

#[test]
fn a_driver_in_a_container_is_guarded_on_every_kind_of_network() {
    let lab = Lab::start(Options::default()).unwrap();
    for network in [Network::Bridge, Network::Macvlan, Network::None, Network::Host] {
        assert_guarded(&lab, Container::new(Engine::Docker, network));
    }
}

#[test]
fn the_record_has_the_container_with_its_image_under_every_engines_names() {
    let lab = Lab::start(Options::default()).unwrap();
    for (engine, name) in [
        (Engine::Docker, "docker"),
        (Engine::DockerCgroupfs, "docker"),
        (Engine::Kubernetes, "containerd"),
        (Engine::Podman, "podman"),
        (Engine::Runc, "runc"),
    ] {
        let (id, output) = step(&lab, Container::new(engine, Network::None), Identity::Verified);
        let container = last_session(&lab)["login"]["process"]["container"].clone();
        assert_eq!(container["id"], id, "{engine:?} {container} {}", text(&output.stderr));
        assert_eq!(container["engine"], name, "{engine:?}");
        assert_eq!(container["image"], IMAGE, "{engine:?}");
        let pod = (engine == Engine::Kubernetes).then_some(POD);
        assert_eq!(container["pod"].as_str(), pod, "{engine:?}");
        let list = ask(&lab, &["sessions", "list", "--json"]);
        let session =
            list["sessions"].as_array().unwrap().last().unwrap()["session"].as_str().unwrap().to_owned();
        let page = text(&lab.snowfence(&["sessions", "show", &session]).unwrap().stdout);
        assert!(page.contains(&format!("container   {name} {id}, image {IMAGE}")), "{page}");
    }
}

#[test]
fn a_container_that_a_daemon_started_is_nobodys_and_the_record_names_it() {
    let lab = Lab::start(Options::default()).unwrap();
    let (id, output) = step(&lab, Container::new(Engine::Docker, Network::Bridge), Identity::None);
    let complaint = text(&output.stderr);
    assert!(complaint.contains("Snowfence refused this login: "), "{complaint}");
    assert!(
        complaint.contains(&format!("in a container (docker {}, image {IMAGE})", &id[..12])),
        "{complaint}"
    );
    let session = last_session(&lab);
    let login = &session["login"];
    assert_eq!(
        (&login["who"]["assurance"], &login["verdict"]["decision"]),
        (&"none".into(), &"refused".into())
    );
    assert_eq!(login["process"]["container"]["id"], id, "{login}");
    assert_eq!(login["process"]["container"]["image"], IMAGE, "{login}");
    assert_eq!(lab.front_log().unwrap(), Vec::<Value>::new(), "something reached the server");
}

#[test]
fn a_container_that_a_job_starts_by_podman_is_the_jobs_own() {
    let lab = Lab::start(Options::default()).unwrap();
    let demo = script("demo.py");
    let command = lab.podman(&["python3", &demo, "select name from customers limit 1"]).unwrap();
    let output = command.run().unwrap();
    assert!(text(&output.stdout).contains("Bruno Berg"), "{}{}", text(&output.stdout), text(&output.stderr));
    let session = last_session(&lab);
    let login = &session["login"];
    assert_eq!(
        (&login["who"]["assurance"], &login["who"]["repository"]),
        (&"verified".into(), &"acme/etl".into())
    );
    let process = &login["process"];
    let container = &process["container"];
    assert_eq!((&container["engine"], &container["image"]), (&"podman".into(), &IMAGE.into()), "{container}");
    assert_eq!(container["id"].as_str().unwrap().len(), 64, "{container}");
    // Its monitor went into the background and became a child of the first process.
    let worker = process["job"]["worker"].as_str().unwrap().split('@').next().unwrap();
    let above: Vec<String> =
        process["ancestors"].as_array().unwrap().iter().map(|above| above["pid"].to_string()).collect();
    assert!(!above.contains(&worker.to_owned()), "{process}");
}

/// Tries what a container may with the capabilities that Docker gives, on an address.
const WAYS: &str = r#"
import socket, ssl, struct, sys, time
address = sys.argv[1]
context = ssl.create_default_context()
for port in map(int, sys.argv[2:]):
    for attempt in range(100):
        try:
            plain = socket.create_connection((address, port), timeout=10)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    print(port, "peer", *plain.getpeername())
    try:
        with context.wrap_socket(plain, server_hostname="acme.snowflakecomputing.com") as tls:
            print(port, "issuer", dict(pair[0] for pair in tls.getpeercert()["issuer"])["commonName"])
    except OSError as error:
        print(port, type(error).__name__)
syn = struct.pack("!HHIIBBHHH", 45678, 443, 1000, 0, 0x50, 2, 65535, 0, 0)
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
    try:
        raw.sendto(syn, (address, 0))
        print("raw sent")
    except OSError as error:
        print("raw", error.strerror)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    try:
        udp.sendto(b"x", (address, 443))
        print("udp sent")
    except OSError as error:
        print("udp", error.strerror)
"#;

#[test]
fn a_container_reaches_a_guarded_address_through_the_agent_or_not_at_all() {
    let lab = Lab::start(Options::default()).unwrap();
    for network in [Network::Bridge, Network::Macvlan] {
        let container = Container::new(Engine::Docker, network);
        let run = |address: &str, ports: &[&str]| {
            let command = [&["python3", "-c", WAYS, address], ports].concat();
            let contained = lab.container(container, &command).unwrap();
            let output = contained.command.run().unwrap();
            format!("{network:?}: {}{}", text(&output.stdout), text(&output.stderr))
        };
        let seen = run("203.0.113.10", &["443", "8443"]);
        for port in [443, 8443] {
            assert!(seen.contains(&format!("{port} peer 203.0.113.10 {port}")), "{seen}");
            assert!(seen.contains(&format!("{port} issuer Snowfence")), "{seen}");
        }
        for kind in ["raw", "udp"] {
            assert!(seen.contains(&format!("{kind} Operation not permitted")), "{seen}");
        }
        // The same to an ordinary site goes its own way: the test can tell the difference.
        let free = run("203.0.113.80", &["443"]);
        for kind in ["raw", "udp"] {
            assert!(free.contains(&format!("{kind} sent")), "{free}");
        }
        assert!(!free.contains("issuer Snowfence"), "{free}");
    }
    assert_eq!(lab.front_log().unwrap(), Vec::<Value>::new(), "something reached the server");
}

#[test]
fn the_lab_runs_a_command_in_a_container_where_it_was_started_and_gives_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let script = "ip -brief address >addresses; cat /proc/sys/kernel/hostname; pwd; exit 5";
    let mut lab = Command::new(env!("CARGO_BIN_EXE_snowfence-lab"));
    lab.args(["--container", "none", "--cwd"]).arg(&folder).args(["--", "sh", "-c", script]);
    let output = lab.output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("etl\n{}\n", folder.display()));
    let addresses = fs::read_to_string(folder.join("addresses")).unwrap();
    assert_eq!(addresses.lines().count(), 1, "{addresses}");
}

/// How often a kernel program came to this outcome.
fn counted(status: &Value, outcome: &str) -> u64 {
    let mut counters = status["counters"].as_array().unwrap().iter();
    counters.find(|counter| counter["outcome"] == outcome).unwrap()["count"].as_u64().unwrap()
}

fn listeners(lab: &Lab) -> usize {
    ask(lab, &["status", "--json"])["listeners"].as_array().unwrap().len()
}

/// Until something is so that the agent sees to in its own time.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_container_outlives_an_agent_refused_while_there_is_none_and_served_by_the_next_at_once() {
    let lab = Lab::start(Options::default()).unwrap();
    let life = script("container_life.py");
    let contained =
        lab.container(Container::new(Engine::Docker, Network::Bridge), &["python3", &life, "3"]).unwrap();
    let root = contained.root;
    let nudge = |number: u32| fs::write(root.join(format!("go-{number}")), "").unwrap();
    let running = contained.command.spawn().unwrap();
    let says = |what: &str| running.wait_until(Duration::from_secs(60), |said| said.contains(what)).unwrap();
    says("ready");
    until("the agent listens in the container", || listeners(&lab) == 2);
    nudge(0);
    says("0 answered");
    let before = lab.front_log().unwrap().len();
    lab.kill_agent().unwrap();
    nudge(1);
    says("1 ConnectionRefusedError");
    assert_eq!(lab.front_log().unwrap().len(), before, "something got through without an agent");
    lab.start_agent().unwrap();
    // By looking, and not because somebody was refused.
    let status = ask(&lab, &["status", "--json"]);
    assert_eq!(status["listeners"].as_array().unwrap().len(), 2, "{status}");
    let refused = ["unknown_namespace", "listener_absent"];
    let sum = |status: &Value| refused.map(|outcome| counted(status, outcome)).iter().sum::<u64>();
    let refused_before = sum(&status);
    nudge(2);
    says("2 answered");
    assert_eq!(sum(&ask(&lab, &["status", "--json"])), refused_before);
    running.wait(Duration::from_secs(60)).unwrap();
    until("the agent has left the container", || listeners(&lab) == 1);
}

/// What an agent holds that could be left over from a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    threads: usize,
    listeners: usize,
    sessions: u64,
    /// In the kernel's map of listeners.
    entries: usize,
}

fn holdings(lab: &Lab) -> Holdings {
    let status = ask(lab, &["status", "--json"]);
    let process = format!("/proc/{}", status["pid"]);
    let count = |what: &str| fs::read_dir(Path::new(&process).join(what)).unwrap().count();
    let dump = "bpftool -j map dump pinned /sys/fs/bpf/snowfence/v*/LISTENERS";
    let dump = lab.exec_host(&["sh", "-c", dump]).unwrap();
    let entries: Value =
        serde_json::from_slice(&dump.stdout).unwrap_or_else(|_| panic!("{}", text(&dump.stderr)));
    Holdings {
        descriptors: count("fd"),
        threads: count("task"),
        listeners: status["listeners"].as_array().unwrap().len(),
        sessions: status["sessions"].as_u64().unwrap(),
        entries: entries.as_array().unwrap().len(),
    }
}

/// Resident memory of the agent, in KiB.
fn resident(lab: &Lab) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", lab.agent_id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What memory may grow by over hundreds of namespaces, in KiB: buffers and caches that have not been filled before.
/// A namespace that stayed would be two listeners, a task each, and their queues.
const GROWTH_MAX: u64 = 12 * 1024;

#[test]
fn hundreds_of_namespaces_are_served_and_leave_nothing_in_the_agent() {
    let lab = Lab::start(Options { deadline: Duration::from_secs(500), ..Options::default() }).unwrap();
    let visit = |count: u32, together: u32| {
        let command = ["python3", &script("namespaces.py"), &count.to_string(), &together.to_string()];
        let output = lab.run(&command).unwrap();
        let said = text(&output.stdout);
        assert!(said.starts_with(&format!("answered {count} ")), "{said}{}", text(&output.stderr));
    };
    let alone = |holdings: &Holdings| holdings.listeners == 1 && holdings.sessions == 0;
    // Some first, so that what is made once is made: threads that wait for work, pooled connections, caches.
    visit(20, 10);
    let mut before = holdings(&lab);
    until("the first are over", || {
        let now = holdings(&lab);
        let is_settled = alone(&now) && now == before;
        before = now;
        is_settled
    });
    let memory = resident(&lab);
    visit(100, 1);
    visit(100, 10);
    // Connections that wait for work come and go with it, upwards and downwards.
    let fits = |now: Holdings| {
        alone(&now)
            && now.entries == before.entries
            && now.descriptors <= before.descriptors
            && now.threads <= before.threads
    };
    until("nothing is left", || fits(holdings(&lab)));
    let grown = resident(&lab).saturating_sub(memory);
    println!("{before:?}, {memory} KiB resident, {grown} KiB more after 200 namespaces");
    assert!(grown < GROWTH_MAX, "{grown} KiB more than {memory}");
    // Real containers too, several at a time.
    let container = Container::new(Engine::Docker, Network::None);
    let life = script("container_life.py");
    for _ in 0..2 {
        let running: Vec<_> = (0..5)
            .map(|_| {
                let contained = lab.container(container, &["python3", &life, "1"]).unwrap();
                let running = contained.command.spawn().unwrap();
                running.wait_until(Duration::from_secs(60), |said| said.contains("ready")).unwrap();
                (contained.root, running)
            })
            .collect();
        until("the agent listens in each", || listeners(&lab) == 6);
        for (root, running) in running {
            fs::write(root.join("go-0"), "").unwrap();
            let output = running.wait(Duration::from_secs(60)).unwrap();
            assert!(text(&output.stdout).contains("0 answered"), "{}", text(&output.stdout));
        }
        until("the agent has left them", || holdings(&lab).listeners == 1);
    }
}

/// What a driver may need for its first login in a namespace that nobody knew, on a machine that does other things too.
/// A person notices ten seconds; docs/using.md has what it takes on a quiet machine.
const FIRST_LOGIN_MAX: f64 = 30.0;

#[test]
fn a_drivers_own_retry_gets_over_the_refusal_in_a_new_namespace() {
    let lab = Lab::start(Options::default()).unwrap();
    let first = script("first_connect.py");
    let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/node/sdk.js");
    let url = "https://acme.snowflakecomputing.com/session/heartbeat";
    let curl = ["curl", "--silent", "--retry", "5", "--retry-connrefused", "--data", "", url];
    let refusals = || counted(&ask(&lab, &["status", "--json"]), "unknown_namespace");
    let login = |command: &[&str]| {
        let container =
            Container { capabilities: &["CAP_SYS_ADMIN"], ..Container::new(Engine::Docker, Network::None) };
        let before = refusals();
        let output = lab.container(container, command).unwrap().command.run().unwrap();
        assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
        let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
        (refusals() - before, seen)
    };
    // Some have to begin inside the namespace, and while they do the agent may find that by looking.
    for (interpreter, driver, is_quick) in [
        ("python3", &["connector"][..], true),
        ("python3-connector5", &["connector"], true),
        ("python3", &["go"], false),
        ("python3", &["node", sdk, "select"], false),
        ("python3", &curl, false),
    ] {
        let command = [&[interpreter, &first], driver].concat();
        // It looks every two seconds, so not every try is as early.
        let tries: Vec<_> = (0..5)
            .map(|_| login(&command))
            .scan(false, |is_over, tried| {
                let goes_on = !std::mem::replace(is_over, tried.0 > 0);
                goes_on.then_some(tried)
            })
            .collect();
        println!("{interpreter} {driver:?}: {tries:?}");
        let is_refused = tries.iter().any(|(times, _)| *times > 0);
        assert!(is_refused || !is_quick, "{interpreter} {driver:?}: no first connect was refused");
        for (_, seen) in tries {
            assert!(seen["first"].as_f64().unwrap() < FIRST_LOGIN_MAX, "{driver:?}: {seen}");
        }
    }
}
