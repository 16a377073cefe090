//! Files of a job that never come: a file system of its own, which stops answering. Whoever has it is refused in words,
//! and whoever has not is served as long as there is a place where the agent can wait.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use lab::internet::GITLAB_HOST;
use lab::{Identity, JobCommand, Lab, Options};
use serde_json::{Value, json};

const STEP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/demo.py");
const HANGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/hanging_files.py");
/// Longer than anything takes that comes to an end.
const PATIENT: Duration = Duration::from_secs(90);

/// Everybody who is verified may read.
const POLICY: &str = r#"
@id("the-verified-read")
permit (principal, action in [Action::"login", Action::"read", Action::"session"], resource);
"#;

/// More connections at one time than the agent looks at, and what it says when there are that many.
const CROWD: &str = r#"
import signal, socket
crowd = [socket.create_connection(("acme.snowflakecomputing.com", 443)) for _ in range(100)]
print("crowded", flush=True)
signal.pause()
"#;

/// A lab whose jobs have their token in a file.
struct World {
    lab: Lab,
    folder: PathBuf,
    _policy: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let policy = tempfile::tempdir().unwrap();
        fs::write(policy.path().join("read.cedar"), POLICY).unwrap();
        let folder = policy.path().join("tokens");
        fs::create_dir(&folder).unwrap();
        let settings = format!(
            "[identity.oidc]\nissuer = \"https://{GITLAB_HOST}\"\nfile = {:?}\n",
            folder.join("token")
        );
        let options = Options { policy: Some(policy.path().to_owned()), settings, ..Options::default() };
        Self { lab: Lab::start(options).unwrap(), folder, _policy: policy }
    }

    fn job(&self, command: &[&str]) -> JobCommand<'_> {
        self.lab.command(command).unwrap().identity(Identity::Observed).env("GITHUB_REPOSITORY", "")
    }

    /// A job that has its token where it belongs.
    fn honest(&self, run: u32) -> String {
        let claims = json!({
            "iss": format!("https://{GITLAB_HOST}"), "sub": format!("job-{run}"), "repository": "acme/etl",
            "run_id": run.to_string(),
        });
        fs::write(self.folder.join("token"), self.lab.token(&claims).unwrap()).unwrap();
        said(&self.job(&["python3", STEP, "select 1"]).run().unwrap())
    }

    /// A job that covers the folder, in a mount namespace of its own.
    fn hostile(&self, stops: &str, command: &[&str]) -> JobCommand<'_> {
        let cover = ["unshare", "--mount", "python3", HANGING, stops, self.folder.to_str().unwrap()];
        self.job(&[&cover, command].concat())
    }

    fn last_reason(&self) -> String {
        let output = self.lab.snowfence(&["sessions", "list", "--json"]).unwrap();
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        let last = list.pointer("/sessions").and_then(Value::as_array).and_then(|all| all.last());
        last.and_then(|last| last.pointer("/who/reason")?.as_str()).unwrap_or_default().to_owned()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_file_that_never_comes_is_a_refusal_wherever_it_stops() {
    let world = World::start();
    let text = world.honest(1);
    assert!(text.contains("SQL> select 1"), "{text} {}", world.lab.agent_log());
    for (stops, answered) in
        [("mount", ""), ("open", "never answered: open"), ("read", "never answered: read")]
    {
        let text = said(&world.hostile(stops, &["python3", STEP, "select 1"]).run().unwrap());
        assert!(!text.contains("SQL>") && text.contains("Snowfence refused this login"), "{stops}: {text}");
        assert!(text.contains(answered), "{stops}: the agent never got there: {text}");
        let reason = world.last_reason();
        assert!(reason.contains("took too long"), "{stops}: {reason}");
    }
    let text = world.honest(2);
    assert!(text.contains("SQL> select 1"), "{text} {}", world.lab.agent_log());
}

#[test]
fn a_crowd_that_hangs_takes_every_place_and_gives_it_back_with_its_end() {
    let world = World::start();
    let crowd = world.hostile("mount", &["python3", "-c", CROWD]).spawn().unwrap();
    crowd.wait_until(PATIENT, |said| said.contains("crowded")).unwrap();
    let text = world.honest(1);
    assert!(!text.contains("SQL>") && text.contains("Snowfence refused this login"), "{text}");
    assert!(world.last_reason().contains("took too long"), "{}", world.last_reason());
    drop(crowd);
    let (begun, mut run) = (Instant::now(), 2);
    while !world.honest(run).contains("SQL> select 1") {
        assert!(begun.elapsed() < PATIENT, "nobody is served any more: {}", world.lab.agent_log());
        run += 1;
    }
}
