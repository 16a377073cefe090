//! A job of each CI system, as its runner starts it: who it is with the token that its issuer makes, and what it is with
//! any other. GitHub's are in every other test, and Kubernetes' pods in `identity.rs`.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::process::Output;

use lab::internet::{
    BUILDKITE_HOST, CIRCLECI_HOST, CIRCLECI_ORGANIZATION, CLUSTER_HOST, CURSOR_HOST, GITLAB_HOST,
    JENKINS_HOST,
};
use lab::{Identity, Lab, Options};
use serde_json::{Map, Value, json};

const SOCKET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/cursor_socket.py");
const STEP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/demo.py");
const BUILDKITE_JOB: &str = "0184990a-477b-4fa8-9968-496074483cee";

/// How a job of one CI system comes to its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It shows this variable to its issuer.
    Asks(&'static str),
    /// It has it in this variable.
    Has(&'static str),
    /// A socket gives it.
    Socket,
}

/// One CI system.
struct System {
    word: &'static str,
    way: Way,
    /// What its runner says to a step.
    said: Vec<(&'static str, String)>,
    claims: Value,
    principal: &'static str,
}

/// What is to come of a token with other claims.
enum Comes {
    Verified,
    Observed,
    /// With these words in the reason.
    Nobody(&'static str),
}

use Comes::{Nobody, Observed, Verified};

fn systems() -> [System; 6] {
    let text = |pairs: &[(&'static str, &str)]| {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>()
    };
    let build = "https://jenkins.acme.example/job/etl/";
    [
        System {
            word: "buildkite",
            way: Way::Asks("BUILDKITE_AGENT_ACCESS_TOKEN"),
            said: text(&[
                ("BUILDKITE_AGENT_ENDPOINT", &format!("https://{BUILDKITE_HOST}/v3")),
                ("BUILDKITE_ORGANIZATION_SLUG", "acme"),
                ("BUILDKITE_PIPELINE_SLUG", "etl"),
                ("BUILDKITE_BUILD_NUMBER", "9"),
                ("BUILDKITE_JOB_ID", BUILDKITE_JOB),
            ]),
            claims: json!({
                "iss": format!("https://{BUILDKITE_HOST}"), "sub": "organization:acme:pipeline:etl",
                "organization_slug": "acme", "pipeline_slug": "etl", "build_number": 9, "build_branch": "main",
                "job_id": BUILDKITE_JOB, "build_source": "schedule",
            }),
            principal: "buildkite:organization:acme:pipeline:etl",
        },
        System {
            word: "circleci",
            way: Way::Has("CIRCLE_OIDC_TOKEN_V2"),
            said: text(&[("CIRCLE_PROJECT_ID", "22222222-bbbb"), ("CIRCLE_PIPELINE_ID", "44444444-dddd")]),
            claims: json!({
                "iss": format!("https://{CIRCLECI_HOST}/org/{CIRCLECI_ORGANIZATION}"),
                "sub": "org/11111111-aaaa/project/22222222-bbbb/user/33333333-cccc",
                "aud": CIRCLECI_ORGANIZATION, "oidc.circleci.com/project-id": "22222222-bbbb",
                "oidc.circleci.com/pipeline-id": "44444444-dddd", "oidc.circleci.com/vcs-ref": "refs/heads/main",
            }),
            principal: "circleci:org/11111111-aaaa/project/22222222-bbbb/user/33333333-cccc",
        },
        System {
            word: "jenkins",
            way: Way::Has("WAREHOUSE_TOKEN"),
            said: text(&[
                ("JENKINS_URL", "https://jenkins.acme.example/"),
                ("JOB_URL", build),
                ("BUILD_NUMBER", "7"),
            ]),
            claims: json!({ "iss": format!("https://{JENKINS_HOST}/oidc"), "sub": build, "build_number": 7 }),
            principal: "jenkins:https://jenkins.acme.example/job/etl/",
        },
        System {
            word: "gitlab",
            way: Way::Has("ANY_NAME"),
            said: Vec::new(),
            claims: json!({
                "iss": format!("https://{GITLAB_HOST}"), "sub": "project_path:acme/etl:ref_type:branch:ref:main",
                "project_path": "acme/etl", "pipeline_id": "574", "job_id": "302", "ref_path": "refs/heads/main",
            }),
            principal: "gitlab:project_path:acme/etl:ref_type:branch:ref:main",
        },
        System {
            word: "cursor",
            way: Way::Socket,
            said: Vec::new(),
            claims: json!({
                "iss": format!("https://{CURSOR_HOST}"), "sub": "user:42", "team_id": 7,
                "cloud_agent_id": "bc-88888888", "agent_runtime": "self_hosted",
            }),
            principal: "cursor:user:42",
        },
        System {
            word: "oidc",
            way: Way::Has("LOGIN_TOKEN"),
            said: Vec::new(),
            claims: json!({ "iss": format!("https://{CLUSTER_HOST}"), "sub": "job-7", "repository": "acme/etl" }),
            principal: "oidc:job-7",
        },
    ]
}

/// What is tried with each, and what comes of it: claims that are other than those of the job (null takes one away), and
/// whether the signature is another's.
fn attempts(system: &System) -> Vec<(Value, bool, Comes)> {
    let is_stated = !system.said.is_empty();
    let is_carried = matches!(system.way, Way::Has(_));
    // A job may have tokens for others, and is then what its runner says.
    let for_others = |words| if is_stated && is_carried { Observed } else { Nobody(words) };
    let mut attempts = vec![
        (json!({}), false, Verified),
        (json!({"exp": 1_700_000_000}), false, Nobody("expired")),
        (json!({"aud": "sigstore"}), false, for_others("made for another audience")),
        (
            json!({"iss": null}),
            false,
            for_others(if is_carried { "no token made" } else { "another issuer" }),
        ),
        (json!({"sub": null}), false, Nobody("claim sub")),
    ];
    if is_carried {
        attempts.push((json!({}), true, Nobody("signature is not valid")));
    }
    attempts.extend(match system.word {
        "buildkite" => vec![
            (json!({"build_number": 10}), false, Nobody("its run_id is not")),
            (json!({"pipeline_slug": "web"}), false, Nobody("its repository is not")),
        ],
        "circleci" => {
            vec![(json!({"oidc.circleci.com/pipeline-id": "9-e"}), false, Nobody("its run_id is not"))]
        }
        "jenkins" => vec![(json!({"build_number": 8}), false, Nobody("its run_id is not"))],
        // The same job once more, by another worker.
        "gitlab" | "cursor" => vec![(json!({}), false, Nobody("that of another job"))],
        _ => Vec::new(),
    });
    attempts
}

struct World {
    lab: Lab,
    _policy: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let policy = tempfile::tempdir().unwrap();
        let rule = "@id(\"the-verified\") permit (principal, action, resource);\n";
        std::fs::write(policy.path().join("all.cedar"), rule).unwrap();
        let table = |word: &str, issuer: String, more: &str| {
            format!("[identity.{word}]\nissuer = \"{issuer}\"\n{more}\n")
        };
        let settings = [
            "[identity.buildkite]\n".to_owned(),
            table(
                "circleci",
                format!("https://{CIRCLECI_HOST}/org/{CIRCLECI_ORGANIZATION}"),
                &format!("audience = \"{CIRCLECI_ORGANIZATION}\""),
            ),
            table("jenkins", format!("https://{JENKINS_HOST}/oidc"), ""),
            table("gitlab", format!("https://{GITLAB_HOST}"), ""),
            table("cursor", format!("https://{CURSOR_HOST}"), ""),
            table("oidc", format!("https://{CLUSTER_HOST}"), "variable = \"LOGIN_TOKEN\""),
        ]
        .concat();
        let options = Options { policy: Some(policy.path().to_owned()), settings, ..Options::default() };
        Self { lab: Lab::start(options).unwrap(), _policy: policy }
    }

    /// Runs a command as the step of a job, with a token of these claims.
    fn run(&self, system: &System, claims: &Value, is_forged: bool, command: &[&str]) -> Output {
        let lab = &self.lab;
        let token = || {
            let token = lab.token(claims).unwrap();
            let (head, signature) = token.rsplit_once('.').unwrap();
            let other = signature.chars().rev().collect::<String>();
            if is_forged { format!("{head}.{other}") } else { token }
        };
        let path = lab.folder().join("agent.sock").display().to_string();
        let mut words = command.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (name, value) = match system.way {
            Way::Asks(name) => (name, lab.request_token(claims).unwrap()),
            Way::Has(name) => (name, token()),
            Way::Socket => {
                drop(std::fs::remove_file(&path));
                let serves = ["python3".to_owned(), SOCKET.to_owned(), path.clone(), token()];
                words = [serves.to_vec(), words].concat();
                ("CURSOR_AGENT_SOCKET", path)
            }
        };
        let job = lab.command(&words).unwrap().identity(Identity::Observed).env("GITHUB_REPOSITORY", "");
        let said = system.said.iter().fold(job, |job, (name, value)| job.env(name, value));
        said.env(name, &value).run().unwrap()
    }

    fn whoami(&self, system: &System, claims: &Value, is_forged: bool) -> Value {
        let program = self.lab.program().display().to_string();
        let socket = self.lab.folder().join("run/control.sock").display().to_string();
        let whoami = [program.as_str(), "identity", "whoami", "--json", "--socket", &socket];
        let output = self.run(system, claims, is_forged, &whoami);
        let said = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&said).unwrap_or_else(|_| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            unreachable!("{}: {said} {complaint} {}", system.word, self.lab.agent_log())
        })
    }
}

/// Claims with some of them changed.
fn changed(claims: &Value, changes: &Value) -> Value {
    let mut all: Map<String, Value> = claims.as_object().unwrap().clone();
    all.extend(changes.as_object().unwrap().clone());
    all.retain(|_, value| !value.is_null());
    all.into()
}

#[test]
fn a_job_of_each_system_is_who_its_token_says_and_nobody_with_another() {
    let world = World::start();
    for system in systems() {
        for (changes, is_forged, comes) in attempts(&system) {
            let who = world.whoami(&system, &changed(&system.claims, &changes), is_forged);
            let (word, reason) = (system.word, who["reason"].as_str().unwrap_or_default());
            match comes {
                Verified => assert_eq!(
                    (&who["assurance"], &who["principal"]),
                    (&json!("verified"), &json!(system.principal)),
                    "{word} {changes}: {who}"
                ),
                Observed => assert_eq!(who["assurance"], "observed", "{word} {changes}: {who}"),
                Nobody(words) => {
                    assert_eq!(who["assurance"], "none", "{word} {changes}: {who}");
                    assert!(reason.contains(words), "{word} {changes}: {reason}");
                }
            }
        }
    }

    // And so is what the record has of a session: identity, and the evidence behind it.
    let system = &systems()[1];
    let claims = changed(&system.claims, &json!({"oidc.circleci.com/context-ids": ["55555555-eeee"]}));
    let output = world.run(system, &claims, false, &["python3", STEP, "select 1"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("SQL> select 1"), "{output:?} {}", world.lab.agent_log());
    let list = world.lab.snowfence(&["sessions", "list", "--json"]).unwrap();
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let last = list["sessions"].as_array().unwrap().last().unwrap();
    assert_eq!(last["who"]["principal"], system.principal, "{last}");
    let shown =
        world.lab.snowfence(&["sessions", "show", last["session"].as_str().unwrap(), "--json"]).unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let text = shown.to_string();
    for evidence in
        ["exe", "argv", "ancestors", "cgroup", "unit", "namespaces", "start_ticks", "worker", "step"]
    {
        assert!(text.contains(evidence), "{evidence}: {shown}");
    }
}
