//! From a process to its job: whatever a process of a job does to be lost, it is known; and what belongs to no job, or to one
//! that has ended, is nobody's, whatever it looks like.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of a test fail as the test does"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{Identity, JobFacts, Lab, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/jobs.py");
/// Far more than anything here takes, on a machine that does other things too.
const COMES_WITHIN: Duration = Duration::from_secs(120);

/// A client that goes this way.
fn way<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&["python3", SCRIPT], words].concat()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn said(output: &Output) -> String {
    let (said, complaints) = (text(&output.stdout), text(&output.stderr));
    if said.is_empty() { panic!("it said nothing: {complaints}") } else { said }
}

fn ask(lab: &Lab, verb: &[&str]) -> Value {
    let output = lab.snowfence(verb).unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// The logins in the record, the last one at the end.
fn logins(lab: &Lab) -> Vec<Value> {
    let list = ask(lab, &["sessions", "list", "--json"]);
    let ids = list["sessions"].as_array().unwrap().iter().map(|session| session["session"].as_str().unwrap());
    ids.map(|id| ask(lab, &["sessions", "show", id, "--json"])["login"].clone()).collect()
}

/// Waits for a file that somebody else makes.
fn until_there(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < COMES_WITHIN, "{} does not appear", path.display());
        sleep(Duration::from_millis(20));
    }
}

/// Waits until so many wait for a file.
fn until_waiting(file: &Path, count: usize) {
    let (folder, name) = (file.parent().unwrap(), file.file_name().unwrap().to_str().unwrap());
    let start = Instant::now();
    let waiting = || {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|found| found.to_str().unwrap().starts_with(&format!("{name}."))).count()
    };
    while waiting() < count {
        assert!(start.elapsed() < COMES_WITHIN, "nobody waits for {}", file.display());
        sleep(Duration::from_millis(20));
    }
}

/// A folder that everybody in the lab may write to.
fn shared(lab: &Lab) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = lab.folder().join("shared");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

#[test]
fn whatever_a_process_of_a_job_does_it_is_known_by_its_jobs_identity() {
    let lab = Lab::start(Options::default()).unwrap();
    for words in [
        &["ask"][..],
        &["bare", "ask"],
        &["nobody", "knock"],
        &["apart", "ask"],
        &["apart", "bare", "nobody", "knock"],
        &["adopted", "ask"],
    ] {
        let output = lab.run(&way(words)).unwrap();
        assert_eq!(said(&output), "answered", "{words:?}: {}", text(&output.stderr));
        let login = logins(&lab).pop().unwrap();
        let (who, process) = (&login["who"], &login["process"]);
        assert_eq!(
            (&who["assurance"], &who["repository"]),
            (&"verified".into(), &"acme/etl".into()),
            "{login}"
        );
        assert!(process["job"]["worker"].as_str().unwrap().contains('@'), "{words:?}: {login}");
        assert!(process["job"]["step"].as_str().unwrap().contains('@'), "{words:?}: {login}");
        assert_eq!(process.get("gone"), None, "{words:?}: {login}");
        assert!(process["namespaces"]["pid"].as_u64().unwrap() > 0, "{words:?}: {login}");
        assert_eq!(process["uid"] == 65534, words.contains(&"nobody"), "{words:?}: {login}");
    }
    // Read once by now, whoever was slow before.
    let digest = logins(&lab).pop().unwrap()["process"]["exe_sha256"].as_str().unwrap().to_owned();
    let exe = logins(&lab).pop().unwrap()["process"]["exe"].as_str().unwrap().to_owned();
    let sum = text(&lab.exec_host(&["sha256sum", &exe]).unwrap().stdout);
    assert_eq!(sum.split(' ').next(), Some(digest.as_str()), "{sum}");
}

#[test]
fn what_a_job_left_behind_is_refused_and_the_refusal_and_the_record_say_whose_it_was() {
    let lab = Lab::start(Options::default()).unwrap();
    let file = shared(&lab).join("said");
    let output = lab.run(&way(&["left", file.to_str().unwrap(), "ask"])).unwrap();
    assert_eq!(said(&output), "left");
    until_there(&file);
    let complaint = fs::read_to_string(&file).unwrap();
    assert!(complaint.starts_with("refused "), "{complaint}");
    assert!(
        complaint.contains("left behind by a job that has ended (its worker was process "),
        "{complaint}"
    );
    let login = logins(&lab).pop().unwrap();
    let job = &login["process"]["job"];
    assert_eq!((&login["who"]["assurance"], &job["ended"]), (&"none".into(), &true.into()), "{login}");
    assert!(complaint.contains(job["worker"].as_str().unwrap()), "{complaint} {login}");
    assert_eq!(lab.front_log().unwrap(), Vec::<Value>::new(), "something reached the server");
}

#[test]
fn jobs_of_one_runner_at_one_time_are_each_its_own() {
    let lab = Lab::start(Options::default()).unwrap();
    let file = shared(&lab).join("go");
    let words = ["apart", "bare", "when", file.to_str().unwrap(), "ask"];
    let running: Vec<_> = [4712, 4713]
        .map(|run_id| {
            let facts = JobFacts { run_id, ..JobFacts::default() };
            lab.command(&way(&words)).unwrap().facts(facts).spawn().unwrap()
        })
        .into();
    until_waiting(&file, 2);
    fs::write(&file, "").unwrap();
    for job in running {
        assert_eq!(said(&job.wait(COMES_WITHIN).unwrap()), "answered");
    }
    let logins = logins(&lab);
    let mut runs: Vec<_> = logins.iter().map(|login| login["who"]["run_id"].as_str().unwrap()).collect();
    runs.sort_unstable();
    assert_eq!(runs, ["4712", "4713"]);
    assert_ne!(logins[0]["process"]["job"]["worker"], logins[1]["process"]["job"]["worker"]);
    assert_eq!(logins[0]["process"]["cgroup"], logins[1]["process"]["cgroup"]);
}

#[test]
fn a_job_that_was_under_way_when_the_agent_was_killed_is_known_to_the_next_one() {
    let lab = Lab::start(Options::default()).unwrap();
    let file = shared(&lab).join("go");
    let running =
        lab.spawn(&way(&["apart", "bare", "when", file.to_str().unwrap(), "apart", "ask"])).unwrap();
    until_waiting(&file, 1);
    lab.kill_agent().unwrap();
    lab.start_agent().unwrap();
    fs::write(&file, "").unwrap();
    assert_eq!(said(&running.wait(COMES_WITHIN).unwrap()), "answered");
    let login = logins(&lab).pop().unwrap();
    assert_eq!(login["who"]["assurance"], "verified", "{login}");
}

#[test]
fn who_connected_and_ended_before_anybody_looked_is_known_by_the_job_and_the_record_says_what_is_missing() {
    let lab = Lab::start(Options::default()).unwrap();
    let file = shared(&lab).join("go");
    let agent = Pid::from_raw(i32::try_from(lab.agent_id().unwrap()).unwrap());
    kill(agent, Signal::SIGSTOP).unwrap();
    let running = lab.spawn(&way(&["heir", file.to_str().unwrap()])).unwrap();
    until_waiting(&file, 1);
    kill(agent, Signal::SIGCONT).unwrap();
    fs::write(&file, "").unwrap();
    assert_eq!(said(&running.wait(COMES_WITHIN).unwrap()), "answered");
    let login = logins(&lab).pop().unwrap();
    let process = &login["process"];
    assert_eq!((&login["who"]["assurance"], &process["gone"]), (&"verified".into(), &true.into()), "{login}");
    assert!(process["start_ticks"].as_u64().unwrap() > 0 && process["job"]["step"].is_string(), "{login}");
    assert_eq!(process["exe"], Value::Null, "{login}");
}

#[test]
fn who_runs_the_workers_file_outside_of_a_runners_unit_begins_no_job() {
    let lab = Lab::start(Options::default()).unwrap();
    // The worker's own program, told to run a step with all that a job states of itself.
    let job = lab.folder().join("forged");
    let variables = r#"{"GITHUB_REPOSITORY":"acme/etl","GITHUB_RUN_ID":"4711"}"#;
    let text = format!(r#"{{"command":["python3","{SCRIPT}","ask"],"cwd":"/tmp","variables":{variables}}}"#);
    fs::write(&job, text).unwrap();
    let worker = lab.folder().join("actions-runner/bin/Runner.Worker");
    let words = [worker.to_str().unwrap(), "spawnclient", job.to_str().unwrap()];
    let output = lab.command(&words).unwrap().identity(Identity::None).run().unwrap();
    let complaint = said(&output);
    assert!(complaint.contains("is no CI worker of a unit listed in [workload] units"), "{complaint}");
    assert_eq!(lab.front_log().unwrap(), Vec::<Value>::new(), "something reached the server");
}
