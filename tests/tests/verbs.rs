//! The verbs that people use, on a host where the agent runs, with and without `--json`.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lab::{Identity, Lab, Mode, Options};
use serde_json::Value;

const STEP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/demo.py");

/// What a verb printed, after it ended with this code.
fn verb(lab: &Lab, arguments: &[&str], code: i32) -> String {
    let output = lab.snowfence(arguments).unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    out.into_owned()
}

fn json(lab: &Lab, arguments: &[&str], code: i32) -> Value {
    serde_json::from_str(&verb(lab, &[arguments, &["--json"]].concat(), code)).unwrap()
}

fn step(lab: &Lab, identity: Identity, statements: &[&str]) -> String {
    let command: Vec<&str> = ["python3", STEP].iter().chain(statements).copied().collect();
    let output = lab.command(&command).unwrap().identity(identity).run().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_record_names_job_identity_process_statement_decision_and_masks() {
    let lab = Lab::start(Options::default()).unwrap();
    step(&lab, Identity::Verified, &["select email, city from customers limit 3", "drop table customers"]);
    step(&lab, Identity::None, &["select 1"]);

    let list = json(&lab, &["sessions", "list"], 0);
    let sessions = list["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let id = sessions[0]["session"].as_str().unwrap();
    let shown = json(&lab, &["sessions", "show", id], 0);
    let login = &shown["login"];
    for (key, value) in [
        ("repository", "acme/etl"),
        ("workflow", "nightly"),
        ("run_id", "4711"),
        ("actor", "mona"),
        ("assurance", "verified"),
    ] {
        assert_eq!(login["who"][key], value, "{}", login["who"]);
    }
    assert!(login["process"]["argv"][1].as_str().unwrap().ends_with("demo.py"), "{}", login["process"]);
    assert!(login["process"]["cgroup"].as_str().unwrap().contains("actions.runner"), "{}", login["process"]);
    let statements = shown["statements"].as_array().unwrap();
    assert_eq!(statements[0]["statement"]["text"], "select email, city from customers limit 3");
    assert_eq!(statements[0]["statement"]["verdict"]["decision"], "permitted");
    let masked = &statements[0]["outcome"]["answered"]["masked"][0];
    assert_eq!((&masked["name"], &masked["cells"]), (&Value::from("EMAIL"), &Value::from(3)));
    assert_eq!(statements[1]["statement"]["verdict"]["decision"], "refused");
    assert_eq!(statements[1]["statement"]["verdict"]["rules"][0], "no-ddl");
    assert_eq!(sessions[1]["login"], "refused");
    assert_eq!(sessions[1]["who"]["assurance"], "none");

    // The same for people, found by the beginning of its id.
    let page = verb(&lab, &["sessions", "show", &id[..8]], 0);
    for words in ["acme/etl", "nightly", "4711", "mona", "demo.py", "drop table customers", "no-ddl", "EMAIL"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(verb(&lab, &["sessions", "list"], 0).contains("acme/etl"));
    verb(&lab, &["sessions", "show", "no-such-session"], 2);
    verb(&lab, &["sessions", "show", ""], 2);
}

/// Asks the control socket as a user who is not root: what only root may, and what everybody may.
const ASK_AS_NOBODY: &str = r#"
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for question in sys.argv[2:]:
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(sys.argv[1])
        control.settimeout(30)
        control.sendall(question.encode() + b"\n")
        print(b"".join(iter(lambda: control.recv(65536), b"")).decode())
"#;

#[test]
fn status_and_record_are_for_root_alone() {
    let lab = Lab::start(Options::default()).unwrap();
    let socket = lab.folder().join("run/control.sock");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    // A job has to reach the socket; who asks there is what the kernel says.
    assert_eq!((mode(&socket), mode(&lab.state().join("record"))), (0o666, 0o700));
    let socket = socket.to_str().unwrap();
    let mut ask = vec!["python3", "-c", ASK_AS_NOBODY, socket];
    ask.extend([
        r#"{"verb":"status"}"#,
        r#"{"verb":"whoami","pid":1}"#,
        r#"{"verb":"stop"}"#,
        "",
        r#"{"verb":"whoami"}"#,
    ]);
    let asked = lab.exec_host(&ask).unwrap();
    let answers = String::from_utf8_lossy(&asked.stdout).into_owned();
    let answers = answers.lines().collect::<Vec<_>>();
    let refused = r#"{"refused":"the agent answers this to root only"}"#;
    let unknown = r#"{"refused":"the question was not understood"}"#;
    assert_eq!(answers[..4], [refused, refused, unknown, unknown], "{asked:?}");
    assert!(answers[4].contains(r#""principal":"unidentified""#), "{asked:?}");
    // Root is still answered.
    verb(&lab, &["status"], 0);
}

#[test]
fn status_and_doctor_say_what_is_and_what_is_not_right() {
    let lab = Lab::start(Options::default()).unwrap();
    step(&lab, Identity::Verified, &["select 1"]);
    let status = json(&lab, &["status"], 0);
    assert_eq!(status["mode"], "enforce");
    assert_eq!(status["guarded"][0]["host"], "acme.snowflakecomputing.com");
    assert_eq!(status["guarded"][0]["addresses"][0], "203.0.113.10");
    let count = |name: &str| {
        let counters = status["counters"].as_array().unwrap();
        counters.iter().find(|c| c["outcome"] == name).map(|c| c["count"].as_u64().unwrap())
    };
    assert!(count("redirected").unwrap() > 0, "{}", status["counters"]);
    assert!(verb(&lab, &["status"], 0).contains("WARNING"), "a cgroup subtree is worth a warning");

    assert_eq!(status["forwarded_dropped"], 0, "the table of nftables is there");

    let findings = json(&lab, &["doctor"], 0);
    for what in [
        "kernel",
        "btf",
        "cgroup",
        "pins",
        "forwarded packets",
        "policy",
        "CA",
        "upstream acme.snowflakecomputing.com",
        "issuer github",
    ] {
        let finding = findings.as_array().unwrap().iter().find(|finding| finding["what"] == what);
        assert!(finding.is_some_and(|finding| finding["good"] == true), "{what}: {findings}");
    }
    // Without the programs' type information, without trust, and without a policy that compiles.
    let host = ["mount -t tmpfs none /sys/kernel/btf", "true"];
    assert!(lab.exec_host(&["sh", "-c", host[0]]).unwrap().status.success());
    verb(&lab, &["trust", "remove"], 0);
    fs::write(lab.config().parent().unwrap().join("policy/broken.cedar"), "permit (").unwrap();
    let findings = json(&lab, &["doctor"], 1);
    for what in ["btf", "policy"] {
        let finding = findings.as_array().unwrap().iter().find(|finding| finding["what"] == what).unwrap();
        assert!(finding["good"] == false && !finding["fix"].as_str().unwrap().is_empty(), "{finding}");
    }
    let trust = |finding: &&Value| finding["what"].as_str().unwrap().starts_with("trust: ");
    assert!(findings.as_array().unwrap().iter().filter(trust).any(|finding| finding["good"] == false));

    lab.kill_agent().unwrap();
    let down = json(&lab, &["status"], 1);
    assert_eq!((&down["running"], &down["attached"]), (&Value::from(false), &Value::from(true)));
    assert_eq!(down["forwarded_dropped"], 0, "it stays");
    assert!(verb(&lab, &["status"], 1).contains("connections to guarded addresses are refused"));
}

/// Every file of a folder with what is in it.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(tree(&path));
        } else {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn init_never_overwrites_and_trust_can_be_taken_back() {
    let lab = Lab::start(Options::default()).unwrap();
    let etc = lab.config().parent().unwrap().to_owned();
    let (before, ca) = (tree(&etc), tree(&lab.state().join("ca")));
    let again = json(&lab, &["init"], 0);
    assert_eq!(again["written"], Value::Array(Vec::new()), "{again}");
    verb(&lab, &["init", "--account", "acme.snowflakecomputing.com"], 0);
    verb(&lab, &["init", "--account", "other.snowflakecomputing.com"], 2);
    assert_eq!((tree(&etc), tree(&lab.state().join("ca"))), (before, ca));

    let env = lab.folder().join("actions-runner/.env");
    let installed = fs::read_to_string(&env).unwrap();
    assert!(installed.contains("REQUESTS_CA_BUNDLE=") && installed.contains("SSL_CERT_FILE="), "{installed}");
    let stores = json(&lab, &["trust", "status"], 0);
    assert!(stores.as_array().unwrap().iter().all(|store| store["state"] == "installed"), "{stores}");
    verb(&lab, &["trust", "remove"], 0);
    assert!(!fs::read_to_string(&env).unwrap().contains("REQUESTS_CA_BUNDLE"));
    let seen = step(&lab, Identity::Verified, &["select 1"]);
    assert!(seen.contains("CERTIFICATE_VERIFY_FAILED") || seen.contains("certificate"), "{seen}");
    verb(&lab, &["trust", "install"], 0);
    assert!(step(&lab, Identity::Verified, &["select 41 + 1"]).contains("42"));
}

#[test]
fn observing_records_what_would_have_been_done_and_does_nothing() {
    let lab = Lab::start(Options { mode: Mode::Observe, ..Options::default() }).unwrap();
    let seen =
        step(&lab, Identity::None, &["select email from customers where id = 1", "drop table customers"]);
    assert!(seen.contains("bruno.berg1@example.org") && !seen.contains("Snowfence"), "{seen}");
    let reached = lab.front_log().unwrap();
    assert!(reached.iter().any(|request| request["sql"] == "drop table customers"));

    let list = json(&lab, &["sessions", "list"], 0);
    let session = &list["sessions"][0];
    assert_eq!((&session["mode"], &session["would_refuse"]), (&Value::from("observe"), &Value::from(2)));
    let shown = json(&lab, &["sessions", "show", session["session"].as_str().unwrap()], 0);
    assert!(shown["login"]["verdict"]["would_refuse"].is_string(), "{}", shown["login"]["verdict"]);
    for statement in shown["statements"].as_array().unwrap() {
        assert!(statement["statement"]["verdict"]["would_refuse"].is_string(), "{statement}");
    }
    assert!(verb(&lab, &["status"], 0).contains("observing only"));
}

#[test]
fn a_job_without_a_token_is_observed_and_a_rule_must_say_so() {
    let policy = tempfile::tempdir().unwrap();
    let rule = |assurance: &str| {
        let text = format!(
            "@id(\"reads\") {assurance}\npermit (principal, action in [Action::\"read\", Action::\"session\", Action::\"login\"], resource)\n\
             when {{ principal.repository == \"acme/etl\" }};\n"
        );
        fs::write(policy.path().join("reads.cedar"), text).unwrap();
    };
    rule("@assurance(\"observed\")");
    let options = Options { policy: Some(policy.path().to_owned()), ..Options::default() };
    let lab = Lab::start(options.clone()).unwrap();
    assert!(step(&lab, Identity::Observed, &["select 41 + 1"]).contains("42"));
    assert!(step(&lab, Identity::None, &["select 41 + 1"]).contains("Snowfence refused this login"));
    let list = json(&lab, &["sessions", "list"], 0);
    assert_eq!(list["sessions"][0]["who"]["assurance"], "observed");
    lab.stop().unwrap();

    rule("");
    let lab = Lab::start(options).unwrap();
    assert!(step(&lab, Identity::Observed, &["select 41 + 1"]).contains("Snowfence refused this login"));
    assert!(step(&lab, Identity::Verified, &["select 41 + 1"]).contains("42"));
}
