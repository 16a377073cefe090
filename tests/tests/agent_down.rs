//! The agent is killed in the middle of traffic: nothing guarded gets through while it is down, it works again after
//! a restart, and whatever a client got an answer for is in the record.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test does"
)]

use std::collections::BTreeSet;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use lab::{Lab, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Asks one numbered question after the other, on new sessions when the old one is gone, and says which were answered
/// and what else came: until so many were answered, or a file is there, or nobody can still be waiting for it.
const ASK_ON: &str = r#"
import os, sys, time
import snowflake.connector
variables = ("account", "user", "password", "database", "schema", "warehouse", "role")
arguments = {v: os.environ[f"SNOWFLAKE_{v.upper()}"] for v in variables}
number, answered = 0, 0
give_up = time.monotonic() + 240
def done():
    return answered == int(sys.argv[1]) or os.path.exists(sys.argv[2]) or time.monotonic() > give_up
while not done():
    try:
        with snowflake.connector.connect(**arguments, login_timeout=3, network_timeout=3) as connection:
            with connection.cursor() as cursor:
                while not done():
                    number += 1
                    cursor.execute(f"select {number} as marker_{number} from customers limit 1", timeout=5)
                    assert cursor.fetchall() == [(number,)]
                    print("answered", number, flush=True)
                    answered += 1
    except Exception as error:
        print("error", type(error).__name__, flush=True)
        time.sleep(0.1)
"#;

/// Far more than anything here takes, on a machine that does other things too.
const COMES_WITHIN: Duration = Duration::from_secs(60);

/// The numbers of the statements that a record says were answered.
fn recorded(lab: &Lab) -> BTreeSet<u64> {
    let list = lab.snowfence(&["sessions", "list", "--json"]).unwrap();
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let mut numbers = BTreeSet::new();
    for session in list["sessions"].as_array().unwrap() {
        let id = session["session"].as_str().unwrap();
        let detail = lab.snowfence(&["sessions", "show", id, "--json"]).unwrap();
        let detail: Value = serde_json::from_slice(&detail.stdout).unwrap();
        for statement in detail["statements"].as_array().unwrap() {
            if statement["outcome"].get("answered").is_some() {
                let text = statement["statement"]["text"].as_str().unwrap();
                let number = text.strip_prefix("select ").and_then(|rest| rest.split(' ').next());
                numbers.insert(number.unwrap().parse().unwrap());
            }
        }
    }
    numbers
}

fn answered(output: &str) -> BTreeSet<u64> {
    output.lines().filter_map(|line| line.strip_prefix("answered ")?.parse().ok()).collect()
}

#[test]
fn nothing_guarded_gets_through_while_the_agent_is_killed_and_nothing_answered_is_lost() {
    let lab = Lab::start(Options::default()).unwrap();
    let enough = lab.folder().join("enough");
    let asking = lab.spawn(&["python3", "-c", ASK_ON, "-1", enough.to_str().unwrap()]).unwrap();
    asking.wait_until(COMES_WITHIN, |said| answered(said).len() >= 5).unwrap();
    for _ in 0..2 {
        lab.kill_agent().unwrap();
        // Until the client has noticed, and the server has written down what was on its way.
        let errors = asking.stdout_so_far().unwrap().matches("error ").count();
        asking.wait_until(COMES_WITHIN, |said| said.matches("error ").count() > errors).unwrap();
        sleep(Duration::from_millis(500));
        let (reached, got) =
            (lab.front_log().unwrap().len(), answered(&asking.stdout_so_far().unwrap()).len());
        sleep(Duration::from_secs(2));
        let output = asking.stdout_so_far().unwrap();
        assert_eq!(lab.front_log().unwrap().len(), reached, "a request got through without an agent");
        assert_eq!(answered(&output).len(), got, "a statement was answered without an agent");
        lab.start_agent().unwrap();
        asking.wait_until(COMES_WITHIN, |said| answered(said).len() >= got + 5).unwrap();
    }
    std::fs::write(&enough, "").unwrap();
    let output = String::from_utf8(asking.wait(Duration::from_secs(60)).unwrap().stdout).unwrap();
    let (answered, recorded) = (answered(&output), recorded(&lab));
    let missing: Vec<_> = answered.difference(&recorded).collect();
    assert!(missing.is_empty(), "answered and not in the record: {missing:?}");
}

/// Opens a connection through the agent and leaves it open.
const IDLE: &str = r#"
import socket, ssl, time
plain = socket.create_connection(("203.0.113.10", 443))
tls = ssl.create_default_context().wrap_socket(plain, server_hostname="acme.snowflakecomputing.com")
print("idle", flush=True)
time.sleep(120)
"#;

/// Connects again and again, and says what first kept it from it.
const KNOCK: &str = r#"
import socket, time
deadline = time.monotonic() + 8
while time.monotonic() < deadline:
    try:
        socket.create_connection(("203.0.113.10", 443), timeout=2).close()
    except OSError as error:
        print("not connected:", type(error).__name__)
        break
    time.sleep(0.05)
"#;

#[test]
fn an_agent_that_was_told_to_stop_does_not_keep_newcomers_waiting() {
    let lab = Lab::start(Options::default()).unwrap();
    // What is under way may keep the agent for a while, and must not keep others.
    let idle = lab.spawn(&["python3", "-c", IDLE]).unwrap();
    idle.wait_until(COMES_WITHIN, |said| said.contains("idle")).unwrap();
    let agent = Pid::from_raw(lab.agent_id().unwrap().try_into().unwrap());
    kill(agent, Signal::SIGTERM).unwrap();
    let knock = lab.run(&["python3", "-c", KNOCK]).unwrap();
    let said = String::from_utf8(knock.stdout).unwrap();
    assert!(said.contains("not connected: ") && !said.contains("Timeout"), "{said:?}");
    // A session on which nothing is asked keeps nobody: the agent ends while it is open.
    assert_eq!(lab.stop_agent().unwrap(), Some(0));
    drop(idle);
}

#[test]
fn what_a_command_leaves_behind_does_not_hold_up_the_end_of_its_lab() {
    let folder = tempfile::tempdir().unwrap();
    let script = "python3 -c \"$0\" >said & until grep -q idle said; do sleep 0.05; done; exit 5";
    let mut lab = Command::new(env!("CARGO_BIN_EXE_snowfence-lab"));
    let output = lab.arg("--cwd").arg(folder.path()).args(["--", "sh", "-c", script, IDLE]).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_stopped_agents_record_is_read_from_its_state_folder() {
    let state = tempfile::tempdir().unwrap();
    let lab = Lab::start(Options { state: Some(state.path().to_owned()), ..Options::default() }).unwrap();
    let output = lab.run(&["python3", "-c", ASK_ON, "3", "/no/such/file"]).unwrap();
    let answered = answered(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(answered.len(), 3);
    assert_eq!(lab.stop_agent().unwrap(), Some(0));
    assert!(answered.is_subset(&recorded(&lab)));
    lab.stop().unwrap();
    // The lab is gone; the folder is enough.
    let agent = std::env::var_os("SNOWFENCE_BIN").unwrap();
    let output =
        Command::new(agent).args(["sessions", "list", "--state"]).arg(state.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("acme/etl") && text.contains("mona"), "{text}");
}
