//! What the front adds to fakesnow's wire, judged by the drivers themselves, with no agent between.
//!
//! These are the answers that a later test, through the agent, must not tell from the agent's own work.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test does"
)]

use std::path::Path;

use lab::internet::{BRIEF_HOST, EXPIRED_HOST, UNTRUSTED_HOST};
use lab::{Lab, Options};
use serde_json::{Value, json};

const DRIVERS: [&str; 2] = ["connector", "go"];
/// Nothing a driver does here waits for anything, so more than this means that it retried something.
const SECONDS_MAX: f64 = 8.0;

/// The account of a host, as drivers want it.
fn account(host: &str) -> &str {
    host.strip_suffix(".snowflakecomputing.com").unwrap()
}

/// Runs one scenario with one driver, and reads what it saw.
fn session(lab: &Lab, account: &str, driver: &str, scenario: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/session.py");
    let account = format!("SNOWFLAKE_ACCOUNT={account}");
    let output = lab.run(&["env", &account, "python3", script.to_str().unwrap(), driver, scenario]).unwrap();
    let (said, complained) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{driver} {scenario}: {said}{complained}");
    let seen: Value = serde_json::from_str(&said).unwrap();
    for took in ["login_seconds", "close_seconds"] {
        assert!(seen[took].as_f64().unwrap() < SECONDS_MAX, "{driver} {scenario}: {took} in {seen}");
    }
    seen
}

/// A failed statement, which the driver believed at once.
fn assert_failed(seen: &Value, errno: u32, sqlstate: &str) {
    assert_eq!((&seen["errno"], &seen["sqlstate"]), (&json!(errno), &json!(sqlstate)), "{seen}");
    assert!(seen["seconds"].as_f64().unwrap() < SECONDS_MAX, "{seen}");
}

#[test]
fn drivers_know_where_their_session_is() {
    let lab = Lab::start(Options::direct()).unwrap();
    let seen = session(&lab, "acme", "connector", "names");
    for (after, expected) in [
        ("login", ["ANALYTICS", "PUBLIC", "CI_WH", "ETL"]),
        ("USE ROLE auditor", ["ANALYTICS", "PUBLIC", "CI_WH", "AUDITOR"]),
        ("USE WAREHOUSE \"Big\"", ["ANALYTICS", "PUBLIC", "Big", "AUDITOR"]),
        ("CREATE DATABASE SIDE", ["ANALYTICS", "PUBLIC", "Big", "AUDITOR"]),
        ("USE DATABASE SIDE", ["SIDE", "PUBLIC", "Big", "AUDITOR"]),
    ] {
        assert_eq!(seen[after], json!(expected), "{after}");
    }
    assert!(seen["unqualified"]["rows"].is_array(), "{seen}");

    for driver in DRIVERS {
        let seen = session(&lab, "acme", driver, "parameters");
        for sql in ["ALTER SESSION SET QUERY_TAG = 'nightly'", "ALTER SESSION UNSET QUERY_TAG"] {
            assert_eq!(seen[sql]["rows"], json!([["Statement executed successfully."]]), "{driver}: {seen}");
        }
    }
}

#[test]
fn drivers_take_every_failure_for_what_it_is_and_go_on() {
    let lab = Lab::start(Options::direct()).unwrap();
    for driver in DRIVERS {
        let seen = session(&lab, "acme", driver, "errors");
        let missing = &seen["SELECT * FROM NO_SUCH_TABLE"];
        assert_failed(missing, 2003, "42S02");
        let message = missing["message"].as_str().unwrap();
        assert!(message.contains("NO_SUCH_TABLE"), "{driver}: {message}");
        assert_eq!(message.matches("002003 (42S02)").count(), 1, "{driver}: {message}");
        if driver == "connector" {
            assert_eq!(missing["id"].as_str().map(str::len), Some(36), "{missing}");
        }
        // fakesnow answers these with HTTP 500, which the connector would repeat for ever.
        for sql in ["SELECT 1; SELECT 2", "EXPLAIN SELECT 1"] {
            assert_failed(&seen[sql], 603, "XX000");
        }
        assert!(
            seen["SELECT COUNT(*) FROM CUSTOMERS"]["rows"][0][0].to_string().contains("1000"),
            "{driver}: {seen}"
        );
    }

    let log = lab.front_log().unwrap();
    for driver in ["PythonConnector/", "Go/"] {
        let asked = log.iter().filter(|line| {
            line["sql"] == "SELECT 1; SELECT 2" && line["user_agent"].as_str().unwrap().starts_with(driver)
        });
        let asked: Vec<_> = asked.collect();
        assert_eq!(asked.len(), 1, "{driver}");
        assert_eq!(asked[0]["server_name"], "acme.snowflakecomputing.com");
        assert!(asked[0]["peer"].as_str().unwrap().starts_with("192.0.2.1:"), "{:?}", asked[0]);
    }
    let closed = log.iter().filter(|line| line["query"].as_str().unwrap().contains("delete=true"));
    assert_eq!(closed.count(), DRIVERS.len());
    assert!(log.iter().any(|line| line["login_name"] == "ETL_SVC"));
}

#[test]
fn a_request_that_a_driver_repeats_is_executed_once() {
    let lab = Lab::start(Options::direct()).unwrap();
    assert_eq!(session(&lab, "acme", "connector", "repetition")["rows"], json!([[1]]));
    let log = lab.front_log().unwrap();
    assert_eq!(log.iter().filter(|line| line["sql"] == "INSERT INTO ONCE VALUES (1)").count(), 2);
}

#[test]
fn drivers_wait_for_a_statement_that_is_still_running() {
    let lab = Lab::start(Options::direct()).unwrap();
    for driver in DRIVERS {
        let seen = session(&lab, "acme", driver, "waiting");
        let rows = |sql: &str| seen[sql]["rows"][0][0].to_string();
        assert!(
            rows("SELECT COUNT(*) FROM CUSTOMERS /* takes 2.5 s */").contains("1000"),
            "{driver}: {seen}"
        );
        assert_eq!(rows("SELECT SYSTEM$WAIT(1.5)"), "\"waited 1.5 seconds\"", "{driver}: {seen}");
        assert_failed(&seen["SELECT * FROM NOWHERE /* takes 1.5 s */"], 2003, "42S02");
    }
    let log = lab.front_log().unwrap();
    let asked = |part: &str| log.iter().filter(|line| line["path"].as_str().unwrap().ends_with(part)).count();
    // Two, one and one for each driver: a request for a result is held for a second.
    assert!(asked("/result") >= 4 * DRIVERS.len(), "{}", asked("/result"));
    assert_eq!(asked("query-request"), 3 * DRIVERS.len());
}

#[test]
fn a_statement_is_submitted_followed_fetched_again_and_cancelled() {
    let lab = Lab::start(Options::direct()).unwrap();
    let seen = session(&lab, "acme", "connector", "submission");
    for (key, expected) in [
        ("at_once", json!("RUNNING")),
        ("in_the_end", json!("SUCCESS")),
        ("rows", json!([[1000]])),
        ("again", json!(1)),
    ] {
        assert_eq!(seen[key], expected, "{key}: {seen}");
    }
    let seen = session(&lab, "acme", "connector", "cancellation");
    assert_eq!((&seen["by_driver"]["errno"], &seen["by_driver"]["sqlstate"]), (&json!(604), &json!("57014")));
    assert_eq!((&seen["by_other"], &seen["code"]), (&json!("query [ID] terminated."), &json!("000604")));
}

#[test]
fn drivers_renew_a_session_until_it_cannot_be_renewed() {
    let lab = Lab::start(Options::direct()).unwrap();
    for driver in DRIVERS {
        let seen = session(&lab, account(BRIEF_HOST), driver, "expiry");
        assert!(seen["renewed"]["rows"][0][0].to_string().contains("1000"), "{driver}: {seen}");
        assert_eq!(seen["ended"]["errno"], 390_114, "{driver}: {seen}");
        assert!(seen["ended"]["seconds"].as_f64().unwrap() < SECONDS_MAX, "{driver}: {seen}");
    }
    let log = lab.front_log().unwrap();
    assert!(log.iter().filter(|line| line["path"] == "/session/token-request").count() >= 2 * DRIVERS.len());
}

#[test]
fn drivers_refuse_a_bad_certificate() {
    let lab = Lab::start(Options::direct()).unwrap();
    for host in [EXPIRED_HOST, UNTRUSTED_HOST] {
        let script = format!(
            "import snowflake.connector as c; c.connect(account={:?}, user='u', password='p')",
            account(host)
        );
        let output = lab.run(&["python3", "-c", &script]).unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && complained.contains("certificate verify failed"), "{complained}");
    }
    assert!(lab.front_log().unwrap().is_empty());
}
