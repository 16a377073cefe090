//! Who is behind a job: what it may say of itself and what it may not, the AI agent at work in it, its groups, and what
//! becomes of it when somebody leaves.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test does"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use lab::{Identity, JobFacts, Lab, Options};
use serde_json::Value;

const STEP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/demo.py");

/// Longer than anything takes that comes to an end.
const PATIENT: Duration = Duration::from_secs(90);

/// Everybody who is a job may read, whoever they are; what the tests are about forbids.
const RULES: &str = r#"
@id("jobs-read") @assurance("observed")
permit (principal, action in [Action::"login", Action::"session", Action::"read"], resource)
when { principal.repository == "acme/etl" };

@id("the-team-writes") @assurance("observed")
permit (principal in Group::"data-eng", action in Action::"write", resource);

@id("no-claude-in-customers") @reason("AI agents do not read customers")
forbid (principal, action in Action::"read", resource == Table::"ANALYTICS.PUBLIC.CUSTOMERS")
when { principal has agent && principal.agent == "claude-code" };
"#;

/// A lab whose policy is the rules above, and whose configuration ends with `more`.
fn lab(more: &str) -> (Lab, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("people.cedar"), RULES).unwrap();
    let policy = Some(place.path().to_owned());
    let lab = Lab::start(Options { agent: false, policy, ..Options::default() }).unwrap();
    let text = fs::read_to_string(lab.config()).unwrap();
    fs::write(lab.config(), format!("{text}\n{more}")).unwrap();
    lab.start_agent().unwrap();
    (lab, place)
}

fn json(lab: &Lab, arguments: &[&str]) -> Value {
    let output = lab.snowfence(&[arguments, &["--json"]].concat()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Who logged in last.
fn last_who(lab: &Lab) -> Value {
    json(lab, &["sessions", "list"])["sessions"].as_array().unwrap().last().unwrap()["who"].clone()
}

/// Runs a shell script as the step of a job, and gives all that it wrote.
fn step(lab: &Lab, identity: Identity, script: &str) -> String {
    let command = lab.command(&["sh", "-c", script, "step", STEP]).unwrap();
    let output = command.identity(identity).run().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Replaces a file as administrators should: whole, and not writable for others.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn what_a_step_tells_its_children_does_not_change_who_it_is() {
    let (lab, _place) = lab("");
    let forged = "GITHUB_REPOSITORY=evil/web GITHUB_RUN_ID=1 GITHUB_ACTOR=lisa GITLAB_CI=true CI_PROJECT_PATH=evil/web";
    let script = format!("env {forged} python3 \"$1\" 'select 41 + 1'; true");
    let said = step(&lab, Identity::Observed, &script);
    assert!(said.contains("42"), "{said}");
    let who = last_who(&lab);
    assert_eq!(
        (&who["repository"], &who["run_id"], &who["actor"], &who["assurance"]),
        (&"acme/etl".into(), &"4711".into(), &"mona".into(), &"observed".into()),
        "{who}"
    );
    assert_eq!(who["principal"], "observed:github:repo:acme/etl:ref:refs/heads/main");
    // Without any variable at all it is still the same job.
    let said = step(
        &lab,
        Identity::Observed,
        "env -i PATH=\"$PATH\" HOME=\"$HOME\" sh -c 'exit 0'; env -u GITHUB_REPOSITORY python3 \"$1\" 'select 41 + 1'; true",
    );
    assert!(said.contains("42"), "{said}");
    assert_eq!(last_who(&lab)["repository"], "acme/etl");
}

#[test]
fn an_ai_agent_is_named_sticks_to_its_job_and_to_no_other() {
    let (lab, place) = lab("");
    // A program of this name, whatever it really is: what is recognised is the file.
    let claude = place.path().join("claude");
    fs::copy("/bin/sh", &claude).unwrap();
    let asks = "python3 \"$1\" 'select count(*) from customers'";
    let script =
        format!("{} -c '{}; true' agent \"$1\"; {asks}; true", claude.display(), asks.replace('\'', "\""));
    let said = step(&lab, Identity::Verified, &script);
    assert_eq!(said.matches("AI agents do not read customers").count(), 2, "not in both: {said}");
    let who = last_who(&lab);
    assert_eq!(who["agent"], serde_json::json!({"name": "claude-code", "evidence": "executable"}), "{who}");
    assert_eq!((&who["assurance"], &who["actor"]), (&"verified".into(), &"mona".into()));

    let said = step(&lab, Identity::Verified, &format!("{asks}; true"));
    assert!(!said.contains("AI agents"), "another job is refused for it: {said}");
    assert_eq!(last_who(&lab)["agent"], Value::Null);

    let said = step(&lab, Identity::Verified, &format!("CLAUDECODE=1 {asks}; true"));
    assert!(said.contains("AI agents do not read customers"), "{said}");
    assert_eq!(last_who(&lab)["agent"]["evidence"], "asserted");
    let id =
        json(&lab, &["sessions", "list"])["sessions"].as_array().unwrap().last().unwrap()["session"].clone();
    let page = lab.snowfence(&["sessions", "show", id.as_str().unwrap()]).unwrap().stdout;
    let page = String::from_utf8_lossy(&page);
    assert!(page.contains("claude-code (by a variable, which anybody can set)"), "{page}");
}

#[test]
fn a_group_is_of_whom_the_rule_says_and_observed_only_by_name() {
    let group = "[[groups]]\nname = \"data-eng\"\nrepository = \"acme/etl\"\nref = \"refs/heads/*\"\n";
    let writes = "python3 \"$1\" 'delete from orders where 1 = 0'; true";
    let refused = "no rule permits";
    {
        let (lab, _place) = lab(group);
        let said = step(&lab, Identity::Verified, writes);
        assert!(!said.contains(refused), "{said}");
        assert_eq!(last_who(&lab)["groups"], serde_json::json!(["data-eng"]));
        let said = step(&lab, Identity::Observed, writes);
        assert!(said.contains(refused), "{said}");
        assert_eq!(last_who(&lab)["groups"], Value::Null);
    }
    let (lab, _place) = lab(&format!("{group}assurance = \"observed\"\n"));
    let said = step(&lab, Identity::Observed, writes);
    assert!(!said.contains(refused), "{said}");
}

/// Logs in, and asks the same again and again until somebody puts an end to it.
const PIPELINE: &str = r#"
import os, sys, time
import snowflake.connector
variables = ("account", "user", "password", "database", "schema", "warehouse", "role")
try:
    connection = snowflake.connector.connect(**{v: os.environ[f"SNOWFLAKE_{v.upper()}"] for v in variables})
    print("open", flush=True)
    while True:
        connection.cursor().execute("select 41 + 1").fetchall()
        print("answered", flush=True)
        time.sleep(0.2)
except snowflake.connector.errors.Error as error:
    print(f"ended {time.time()} {error}", flush=True)
"#;

fn list_file(place: &tempfile::TempDir) -> PathBuf {
    place.path().join("deactivated.toml")
}

#[test]
fn who_has_left_is_refused_and_their_open_session_ends() {
    let place = tempfile::tempdir().unwrap();
    let file = list_file(&place);
    replace(&file, "deactivated = []\n");
    let (lab, _policy) = lab(&format!("[offboarding]\nfile = {file:?}\n"));
    let pipeline = lab.spawn(&["python3", "-c", PIPELINE]).unwrap();
    pipeline.wait_until(PATIENT, |said| said.contains("answered\n")).unwrap();

    replace(&file, "[[deactivated]]\nname = \"Mona Lisa\"\nhandles = { github = \"Mona\" }\n");
    let left = fs::metadata(&file).unwrap().modified().unwrap();
    let said = pipeline.wait_until(PATIENT, |said| said.contains("ended ")).unwrap();
    let sentence = "mona, who started the run, is deactivated; let somebody who is active run the job";
    assert!(said.contains(sentence) && said.contains("its session was ended"), "{said}");
    // No timed assertion: how fast it is depends on the machine. It is seconds, as a reader of this output sees.
    let ended = said.split_once("ended ").unwrap().1.split_once(' ').unwrap().0.parse::<f64>().unwrap();
    let since = left.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    println!("a session ended {:.1} s after its owner had left", ended - since);

    // Snowflake was told by the agent itself.
    let closes = |line: &Value| line["path"].as_str().is_some_and(|path| path == "/session");
    let log = lab.front_log().unwrap();
    assert_eq!(log.iter().filter(|line| closes(line)).count(), 1, "{log:?}");

    let said = step(&lab, Identity::Verified, "python3 \"$1\" 'select 1'; true");
    assert!(said.contains("Snowfence refused this login") && said.contains(sentence), "{said}");
    let said = step(&lab, Identity::Observed, "python3 \"$1\" 'select 1'; true");
    assert!(said.contains("Snowfence refused this login") && said.contains(sentence), "{said}");
    let other = JobFacts { actor: "lisa".to_owned(), run_id: 4712, ..JobFacts::default() };
    let output = lab.command(&["python3", STEP, "select 41 + 1"]).unwrap().facts(other).run().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("42"), "somebody else is refused: {output:?}");

    let sessions = json(&lab, &["sessions", "list"]);
    let first = sessions["sessions"][0]["session"].as_str().unwrap();
    let shown = json(&lab, &["sessions", "show", first]);
    let end = shown["end"]["reason"].as_str().unwrap();
    assert!(end.contains("the agent ended it") && end.contains("Mona Lisa"), "{end}");
    let status = json(&lab, &["status"]);
    assert_eq!(status["offboarding"][0]["deactivated"], 1, "{}", status["offboarding"]);

    // A list that cannot be read any more stays in force, and says so.
    replace(&file, "deactivated = [");
    let warns = || json(&lab, &["status"])["warnings"].to_string().contains("deactivated.toml");
    let start = std::time::Instant::now();
    while !warns() {
        assert!(start.elapsed() < PATIENT, "nobody says that the list is broken");
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = step(&lab, Identity::Verified, "python3 \"$1\" 'select 1'; true");
    assert!(said.contains(sentence), "{said}");
}

/// Two statements of the SQL API: one is waited for, and one is asked about again and again until somebody ends it.
const API_PIPELINE: &str = r#"
import json, subprocess, sys, time
URL = "https://acme.snowflakecomputing.com/api/v2/statements"
def curl(*words):
    headers = ["Authorization: Bearer an-oauth-token", "X-Snowflake-Authorization-Token-Type: OAUTH", "Content-Type: application/json"]
    command = ["curl", "--silent", "--show-error", "--max-time", "80"]
    command += [word for header in headers for word in ("--header", header)]
    return subprocess.Popen(command + list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
def submit(text, query=""):
    body = {"statement": text, "timeout": 60, "database": "ANALYTICS", "schema": "PUBLIC", "warehouse": "CI_WH", "role": "ETL"}
    return curl("--data-binary", json.dumps(body), URL + query)
if len(sys.argv) > 1:
    print(submit("SELECT COUNT(*) FROM CUSTOMERS").communicate()[0], flush=True)
    sys.exit()
handle = json.loads(submit("SELECT COUNT(*) FROM CUSTOMERS /* takes 60 s */", "?async=true").communicate()[0])["statementHandle"]
waited = submit("SELECT COUNT(*) FROM CUSTOMERS /* takes 60 s */ /* held */")
print("asked", flush=True)
while True:
    answer = curl(f"{URL}/{handle}").communicate()[0]
    if "333334" not in answer:
        break
    print("runs", flush=True)
print("refused", answer, "waited", waited.communicate()[0], "ended", flush=True)
"#;

#[test]
fn what_somebody_who_has_left_asked_of_the_sql_api_is_ended_too() {
    let place = tempfile::tempdir().unwrap();
    let file = list_file(&place);
    replace(&file, "deactivated = []\n");
    let (lab, _policy) = lab(&format!("[offboarding]\nfile = {file:?}\n"));
    let pipeline = lab.spawn(&["python3", "-c", API_PIPELINE]).unwrap();
    let reached = |path: &str, agent: bool| {
        let is_it = |line: &&Value| {
            let is_agents = line["user_agent"].as_str().is_some_and(|who| who.starts_with("Snowfence/"));
            line["path"].as_str().is_some_and(|of| of.ends_with(path)) && is_agents == agent
        };
        lab.front_log().unwrap().iter().filter(is_it).count()
    };
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let start = std::time::Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENT, "{what} does not happen: {}", lab.agent_log());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    pipeline.wait_until(PATIENT, |said| said.contains("runs\n")).unwrap();
    until("the second statement", &|| reached("/api/v2/statements", false) == 2);

    replace(&file, "[[deactivated]]\nname = \"Mona Lisa\"\nhandles = { github = \"Mona\" }\n");
    let said = pipeline.wait_until(PATIENT, |said| said.contains("ended\n")).unwrap();
    let sentence = "mona, who started the run, is deactivated; let somebody who is active run the job";
    let (refused, waited) = said.split_once("refused ").unwrap().1.split_once("waited ").unwrap();
    assert!(refused.contains(sentence) && waited.contains(sentence), "{said}");
    assert!(waited.contains("its session was ended"), "{waited}");
    // Snowflake was told by the agent itself of both: of the one at once, of the other when it had said what it is called.
    until("the end of both", &|| reached("/cancel", true) == 2);

    let sessions = json(&lab, &["sessions", "list"]);
    let first = sessions["sessions"][0]["session"].as_str().unwrap();
    let shown = json(&lab, &["sessions", "show", first]);
    assert!(shown["end"]["reason"].as_str().unwrap().contains("the agent ended it"), "{}", shown["end"]);
    let statements = shown["statements"].as_array().unwrap();
    let is_lost = |statement: &Value| statement["outcome"].to_string().contains(sentence);
    assert!(statements.len() == 2 && statements.iter().all(is_lost), "{statements:?}");

    // Who comes back is judged as somebody new.
    replace(&file, "deactivated = []\n");
    let asks = || {
        let output = lab.command(&["python3", "-c", API_PIPELINE, "again"]).unwrap().run().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("resultSetMetaData")
    };
    until("coming back", &asks);
    assert!(json(&lab, &["sessions", "list"])["sessions"].as_array().unwrap().len() > 1);
}

#[test]
fn a_step_that_replaces_itself_can_lie_only_within_what_its_runner_is_registered_for() {
    let (lab, _place) = lab("");
    let registration = |url: &str| {
        let text = format!("\u{feff}{{\"agentName\": \"lab\", \"gitHubUrl\": \"{url}\"}}");
        fs::write(lab.folder().join("actions-runner/.runner"), text).unwrap();
    };
    // The same process, started anew with other variables: the one that the worker started says something else now.
    let forges = |repository: &str| {
        let script = format!("exec env GITHUB_REPOSITORY={repository} python3 \"$1\" 'select 41 + 1'");
        step(&lab, Identity::Observed, &script)
    };
    registration("https://github.com/acme");
    let said = forges("evil/etl");
    assert!(said.contains("Snowfence refused this login"), "{said}");
    let reason =
        "the repository in the environment of the job's step is not one that its runner is registered for";
    assert!(said.contains(reason) && said.contains("id-token: write"), "{said}");
    assert_eq!(last_who(&lab)["assurance"], "none");
    // Within the organization nobody can tell; so it is never more than observed.
    forges("acme/web");
    let who = last_who(&lab);
    assert_eq!((&who["repository"], &who["assurance"]), (&"acme/web".into(), &"observed".into()), "{who}");
    assert_eq!(who["runner"], "runner lab of https://github.com/acme");

    registration("https://github.com/acme/etl");
    assert!(forges("acme/web").contains(reason));
    assert!(step(&lab, Identity::Observed, "python3 \"$1\" 'select 41 + 1'; true").contains("42"));
}

#[test]
fn who_is_not_identified_is_told_how_a_job_gets_an_identity() {
    let (lab, _place) = lab("");
    // The policy that is there after `init` permits nothing but to verified jobs.
    let strict = "@id(\"verified\") permit (principal, action, resource);\n";
    fs::write(lab.config().parent().unwrap().join("policy/people.cedar"), strict).unwrap();
    lab.stop_agent().unwrap();
    lab.start_agent().unwrap();
    let said = step(&lab, Identity::Observed, "python3 \"$1\" 'select 1'; true");
    assert!(
        said.contains("to have a verified identity, give the workflow's job `permissions: id-token: write`"),
        "{said}"
    );
    // The same for a step of which nothing is known, because it threw everything away.
    let said = step(
        &lab,
        Identity::Observed,
        "exec env -u GITHUB_REPOSITORY -u GITHUB_RUN_ID python3 \"$1\" 'select 1'",
    );
    assert!(said.contains("a client without identity") && said.contains("id-token: write"), "{said}");
    let said = step(&lab, Identity::None, "python3 \"$1\" 'select 1'; true");
    assert!(said.contains("a client without identity") && !said.contains("id-token"), "{said}");
}

/// A directory that was written by others, on the host's own loopback. Dropped, it is gone.
struct Directory {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Directory {
    const PORT: &str = "8443";

    /// Starts one with these users; its certificate and token are in `place`.
    fn start(lab: &Lab, place: &Path, users: &[&str]) -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = place.join("directory.pem");
        fs::write(&pem, certified.cert.pem() + &certified.signing_key.serialize_pem()).unwrap();
        replace(&place.join("token"), "s3cret\n");
        let (mut command, _) = lab.beside_command("directory").unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/scim_directory.py");
        command.args(["python3-scim", script]).arg(&pem).args(["s3cret", Self::PORT]).args(users);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut directory = Self { child, said };
        assert_eq!(directory.line(), "ready\n");
        directory
    }

    fn deactivate(&mut self, user: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "deactivate {user}").unwrap();
        assert_eq!(self.line(), format!("done {user}\n"));
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_directory_says_who_has_left_and_its_last_word_outlives_it() {
    let place = tempfile::tempdir().unwrap();
    let (lab, _policy) = lab("");
    let mut directory = Directory::start(&lab, place.path(), &["mona", "lisa"]);
    let text = fs::read_to_string(lab.config()).unwrap();
    let (pem, token) = (place.path().join("directory.pem"), place.path().join("token"));
    let port = Directory::PORT;
    let more = format!(
        "[upstream]\nextra_roots = [{pem:?}]\n[offboarding.scim]\nurl = \"https://localhost:{port}/v2\"\n\
         token_file = {token:?}\ninterval_seconds = 1\n"
    );
    fs::write(lab.config(), format!("{text}\n{more}")).unwrap();
    lab.stop_agent().unwrap();
    lab.start_agent().unwrap();
    let pipeline = lab.spawn(&["python3", "-c", PIPELINE]).unwrap();
    pipeline.wait_until(PATIENT, |said| said.contains("answered\n")).unwrap();
    directory.deactivate("mona");
    let sentence = "mona, who started the run, is deactivated";
    let said = pipeline.wait_until(PATIENT, |said| said.contains("ended ")).unwrap();
    assert!(said.contains(sentence), "{said}");

    // Nobody answers any more, and an agent that begins now knows it all the same.
    drop(directory);
    lab.stop_agent().unwrap();
    lab.start_agent().unwrap();
    let said = step(&lab, Identity::Verified, "python3 \"$1\" 'select 1'; true");
    assert!(said.contains("Snowfence refused this login") && said.contains(sentence), "{said}");
    let warnings = json(&lab, &["status"])["warnings"].to_string();
    assert!(warnings.contains("the directory localhost cannot be read now"), "{warnings}");
    let other = JobFacts { actor: "lisa".to_owned(), run_id: 4712, ..JobFacts::default() };
    let output = lab.command(&["python3", STEP, "select 41 + 1"]).unwrap().facts(other).run().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("42"), "somebody else is refused: {output:?}");
}
