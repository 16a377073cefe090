//! The agent is killed in the middle of traffic: nothing guarded gets through while it is down, it works again after
//! a restart, and whatever a client got an answer for is in the record.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test does"
)]

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use lab::{Lab, Options};
use serde_json::Value;

/// Asks one numbered question after the other for as long as it is let, on new sessions when the old one is gone,
/// and says which were answered and what else came.
const ASK_ON: &str = r#"
import os, sys, time
import snowflake.connector
variables = ("account", "user", "password", "database", "schema", "warehouse", "role")
arguments = {v: os.environ[f"SNOWFLAKE_{v.upper()}"] for v in variables}
number = 0
deadline = time.monotonic() + float(sys.argv[1])
while time.monotonic() < deadline:
    try:
        with snowflake.connector.connect(**arguments, login_timeout=3, network_timeout=3) as connection:
            with connection.cursor() as cursor:
                while time.monotonic() < deadline:
                    number += 1
                    cursor.execute(f"select {number} as marker_{number} from customers limit 1", timeout=5)
                    assert cursor.fetchall() == [(number,)]
                    print("answered", number, flush=True)
    except Exception as error:
        print("error", type(error).__name__, flush=True)
        time.sleep(0.1)
"#;

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
    let asking = lab.spawn(&["python3", "-c", ASK_ON, "25"]).unwrap();
    while answered(&asking.stdout_so_far().unwrap()).len() < 5 {
        sleep(Duration::from_millis(50));
    }
    for _ in 0..2 {
        lab.kill_agent().unwrap();
        sleep(Duration::from_millis(300));
        let (reached, got) =
            (lab.front_log().unwrap().len(), answered(&asking.stdout_so_far().unwrap()).len());
        sleep(Duration::from_secs(2));
        let output = asking.stdout_so_far().unwrap();
        assert_eq!(lab.front_log().unwrap().len(), reached, "a request got through without an agent");
        assert_eq!(answered(&output).len(), got, "a statement was answered without an agent");
        lab.start_agent().unwrap();
        while answered(&asking.stdout_so_far().unwrap()).len() < got + 5 {
            sleep(Duration::from_millis(50));
        }
    }
    let output = String::from_utf8(asking.wait(Duration::from_secs(60)).unwrap().stdout).unwrap();
    assert!(output.contains("error "), "the client never noticed: {output}");
    let (answered, recorded) = (answered(&output), recorded(&lab));
    let missing: Vec<_> = answered.difference(&recorded).collect();
    assert!(missing.is_empty(), "answered and not in the record: {missing:?}");
}

#[test]
fn a_stopped_agents_record_is_read_from_its_state_folder() {
    let state = tempfile::tempdir().unwrap();
    let lab = Lab::start(Options { state: Some(state.path().to_owned()), ..Options::default() }).unwrap();
    let output = lab.run(&["python3", "-c", ASK_ON, "2"]).unwrap();
    let answered = answered(&String::from_utf8(output.stdout).unwrap());
    assert!(!answered.is_empty());
    assert_eq!(lab.stop_agent().unwrap(), Some(0));
    assert!(answered.is_subset(&recorded(&lab)));
    lab.stop().unwrap();
    // The lab is gone; the folder is enough.
    let agent = std::env::var_os("SNOWFENCE_BIN").unwrap();
    let output = std::process::Command::new(agent)
        .args(["sessions", "list", "--state"])
        .arg(state.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("acme/etl") && text.contains("mona"), "{text}");
}
