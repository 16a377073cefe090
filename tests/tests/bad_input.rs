//! Bad input gets a clear error and exit code 2, and changes nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use lab::{AgentStartFailed, Lab, Options};

/// Starts the agent, which must refuse with exit code 2, and gives its words.
fn refusal(lab: &Lab) -> String {
    let error = lab.start_agent().unwrap_err();
    let failed = error.downcast_ref::<AgentStartFailed>().unwrap_or_else(|| panic!("{error:#}"));
    assert_eq!(failed.code, Some(2), "{failed}");
    failed.to_string()
}

/// Everything in a folder, and what is in it.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_wrong_configuration_or_policy_is_named_and_changes_nothing() {
    let lab = Lab::start(Options::default()).unwrap();
    assert_eq!(lab.stop_agent().unwrap(), Some(0));
    let config = lab.config();
    let good = fs::read_to_string(&config).unwrap();
    let policy = config.parent().unwrap().join("policy/extra.cedar");
    let state = contents(lab.state());

    let configs = [
        (format!("modus = 1\n{good}"), "line 1, column 1"),
        (good.replace("[listen]", "[listen]\nports = 1"), "unknown field `ports`"),
        (good.replace("mode = \"enforce\"", "mode = \"audit\""), "audit"),
        (good.replace("accounts = [\"", "accounts = [\"no-such-account."), "no-such-account"),
        (
            good.replace("[attach]", "[attach]\ncgroup = \"/tmp\"").replacen(
                "cgroup = \"/sys",
                "# \"/sys",
                1,
            ),
            "cgroup",
        ),
    ];
    for (text, says) in configs {
        fs::write(&config, &text).unwrap();
        let words = refusal(&lab);
        assert!(words.contains(says), "{says}: {words}");
    }
    fs::write(&config, &good).unwrap();

    let policies = [
        ("permit (principal, action, resource)\nwhen { principal. };", "extra.cedar"),
        ("@id(\"x\") permit (principal, action == Action::\"selekt\", resource);", "selekt"),
        ("@id(\"x\") permit (principal, action, resource) when { principal.colour == \"red\" };", "colour"),
        ("permit (principal, action, resource);", "@id"),
    ];
    for (text, says) in policies {
        fs::write(&policy, text).unwrap();
        let words = refusal(&lab);
        assert!(words.contains(says) && words.contains("extra.cedar"), "{says}: {words}");
    }
    fs::remove_file(&policy).unwrap();

    assert_eq!(contents(lab.state()), state, "something in the state folder changed");
    // And with the good files it starts.
    lab.start_agent().unwrap();
}

#[test]
fn without_its_control_socket_the_agent_does_not_begin_to_guard() {
    let lab = Lab::start(Options::direct()).unwrap();
    let config = lab.config();
    let good = fs::read_to_string(&config).unwrap();
    let run = format!("run = \"{}/run\"", lab.folder().display());
    assert!(good.contains(&run), "{good}");
    fs::write(&config, good.replace(&run, "run = \"/proc/self/no-such-folder\"")).unwrap();
    let words = refusal(&lab);
    assert!(words.contains("control socket /proc/self/no-such-folder"), "{words}");
    let status = String::from_utf8(lab.snowfence(&["status"]).unwrap().stdout).unwrap();
    assert!(status.contains("nothing is guarded"), "{status}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let lab = Lab::start(Options::direct()).unwrap();
    let code = "import socket, time; s = socket.create_server(('127.0.0.1', 15001)); print('bound', flush=True); time.sleep(60)";
    let taker = lab.host_command().args(["python3", "-c", code]).stdout(std::process::Stdio::piped()).spawn();
    let mut taker = taker.unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(taker.stdout.take().unwrap()), &mut line)
        .unwrap();
    let words = refusal(&lab);
    taker.kill().unwrap();
    taker.wait().unwrap();
    assert!(words.contains("15001"), "{words}");
}

#[test]
fn an_upstream_that_cannot_be_reached_or_verified_is_named() {
    let lab = Lab::start(Options::default()).unwrap();
    assert_eq!(lab.stop_agent().unwrap(), Some(0));
    // A name that leads to an address where nobody is.
    let hosts = "echo '203.0.113.99 nobody.snowflakecomputing.com' > /etc/hosts";
    assert!(lab.exec_host(&["bash", "-c", hosts]).unwrap().status.success());
    let config = lab.config();
    let good = fs::read_to_string(&config).unwrap();
    for (account, says) in [
        ("nobody.snowflakecomputing.com", "timed out"),
        ("expired.snowflakecomputing.com", "expired"),
        ("untrusted.snowflakecomputing.com", "UnknownIssuer"),
    ] {
        fs::write(&config, good.replace("acme.snowflakecomputing.com", account)).unwrap();
        let words = refusal(&lab);
        assert!(words.contains(account) && words.contains(says), "{words}");
    }
}

#[test]
fn verbs_tell_bad_usage_from_failure() {
    let agent = std::env::var_os("SNOWFENCE_BIN").unwrap();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(&agent).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let nowhere = tempfile::tempdir().unwrap();
    let missing = nowhere.path().join("snowfence.toml");
    let missing = missing.to_str().unwrap();
    for arguments in [
        &["no-such-verb"][..],
        &["run", "--no-such-option"],
        &["--config", missing, "run"],
        &["--config", missing, "status"],
        &["--config", missing, "init"],
        &["--config", missing, "init", "--account", "https://acme"],
        &["sessions", "list", "--state", nowhere.path().to_str().unwrap()],
    ] {
        let (code, words) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {words}");
        assert!(!words.is_empty());
    }
    // Nothing was written on the way.
    assert_eq!(fs::read_dir(nowhere.path()).unwrap().count(), 0);
    assert!(TcpListener::bind("127.0.0.1:15001").is_ok());
}
