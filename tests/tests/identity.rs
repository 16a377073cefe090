//! Who is asking, for jobs of several CI systems with unmodified clients: what the record and `whoami` say, and what is
//! refused.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test does"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use lab::internet::{CLUSTER_HOST, GITLAB_HOST, PROVIDER_HOST};
use lab::{Container, Engine, Identity, JobCommand, Lab, Network, Options, POD};
use serde_json::{Value, json};

const STEP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/demo.py");

/// Everybody who is verified may read.
const POLICY: &str = r#"
@id("the-verified-read")
permit (principal, action in [Action::"login", Action::"read", Action::"session"], resource);
"#;

/// A lab whose agent takes tokens of these issuers besides GitHub's, and permits the verified to read.
struct World {
    lab: Lab,
    _files: tempfile::TempDir,
}

impl World {
    fn start(settings: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let policy = files.path().join("policy");
        fs::create_dir(&policy).unwrap();
        fs::write(policy.join("read.cedar"), POLICY).unwrap();
        let options = Options { policy: Some(policy), settings: settings.to_owned(), ..Options::default() };
        Self { lab: Lab::start(options).unwrap(), _files: files }
    }

    /// A step of a runner that tells it nothing of a job.
    fn step(&self, command: &[&str]) -> JobCommand<'_> {
        self.lab.command(command).unwrap().identity(Identity::Observed).env("GITHUB_REPOSITORY", "")
    }

    fn socket(&self) -> String {
        self.lab.folder().join("run/control.sock").to_str().unwrap().to_owned()
    }

    /// Who each session was, in the order in which they began.
    fn sessions(&self) -> Vec<Value> {
        let output = self.lab.snowfence(&["sessions", "list", "--json"]).unwrap();
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        list["sessions"].as_array().unwrap().iter().map(|session| session["who"].clone()).collect()
    }

    fn last(&self) -> Value {
        self.sessions().pop().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn gitlab_claims(job: u32) -> Value {
    json!({
        "iss": format!("https://{GITLAB_HOST}"), "sub": "project_path:acme/etl:ref_type:branch:ref:main",
        "project_path": "acme/etl", "pipeline_id": "574", "job_id": job.to_string(), "user_login": "mona",
        "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "pipeline_source": "schedule",
        "runner_id": 12, "groups_direct": ["acme"],
    })
}

/// What GitLab's shell executor does: a login shell that reads the script, with the variables in it, from its input.
fn shell_executor(world: &World, name: &str, script: &str) -> Output {
    let file = world.lab.folder().join(name);
    // A login shell begins with the machine's own path.
    fs::write(&file, format!("PATH=$CLIENTS\n{script}")).unwrap();
    let start = format!("CLIENTS=$PATH exec bash --login < {}", file.display());
    world.step(&["sh", "-c", &start]).run().unwrap()
}

#[test]
fn a_gitlab_job_is_verified_by_the_token_that_its_shell_exported() {
    let world = World::start(&format!(
        "[identity.gitlab]\nissuer = \"https://{GITLAB_HOST}\"\nclaims = {{ runner_id = \"12\" }}\n"
    ));
    let token = world.lab.token(&gitlab_claims(302)).unwrap();
    let whoami =
        format!("{} identity whoami --json --socket {}", world.lab.program().display(), world.socket());
    let job = format!(
        "export CI_JOB_ID=302\nexport WAREHOUSE_TOKEN={token}\n\
         grep -c WAREHOUSE_TOKEN /proc/$$/environ\npython3 {STEP} 'select 1'\n{whoami}\n\
         env -u WAREHOUSE_TOKEN python3 {STEP} 'select 2'\n"
    );
    let output = shell_executor(&world, "job.sh", &job);
    let text = said(&output);
    assert!(text.starts_with("0\n"), "the shell itself has it: {text}");
    assert!(
        text.contains("SQL> select 1") && text.contains(r#""principal": "gitlab:project_path:acme/etl"#),
        "{text}"
    );
    assert!(text.contains("variable WAREHOUSE_TOKEN of process"), "{text}");
    assert!(!text.contains("SQL> select 2"), "without the token it is nobody: {text}");
    let sessions = world.sessions();
    assert_eq!(sessions[0]["provider"], "gitlab", "{sessions:?}");
    assert_eq!((&sessions[0]["repository"], &sessions[0]["run_id"]), (&json!("acme/etl"), &json!("574")));
    assert_eq!((&sessions[0]["assurance"], &sessions[0]["job"]), (&json!("verified"), &json!("302")));
    assert_eq!(sessions[1]["assurance"], "none");

    // The token of that job in another one, one of another runner, and one with a job's id that is bound already.
    let of_another_runner = {
        let mut claims = gitlab_claims(303);
        claims["runner_id"] = json!(13);
        world.lab.token(&claims).unwrap()
    };
    let again = world.lab.token(&gitlab_claims(302)).unwrap();
    for (name, token, says) in [
        ("stolen.sh", &token, "that of another job"),
        ("again.sh", &again, "that of another job"),
        ("elsewhere.sh", &of_another_runner, "its claim runner_id is not one"),
    ] {
        let script = format!("export T={token}\npython3 {STEP} 'select 3'\n");
        let text = said(&shell_executor(&world, name, &script));
        assert!(!text.contains("SQL>") && text.contains("refused"), "{name}: {text}");
        let reason = world.last()["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(says), "{name}: {reason}");
    }
}

fn pod_claims(pod: &str) -> Value {
    json!({
        "iss": format!("https://{CLUSTER_HOST}"), "sub": "system:serviceaccount:data:etl",
        "kubernetes.io": {
            "namespace": "data", "node": { "name": "runner-7" }, "pod": { "name": "etl-x2x", "uid": pod },
            "serviceaccount": { "name": "etl", "uid": "77777777-abab" },
        },
    })
}

/// Lays a token out in a container's root as the kubelet does.
fn project(root: &Path, token: &str) {
    let folder = root.join("var/run/secrets/kubernetes.io/serviceaccount");
    fs::create_dir_all(folder.join("..2026_11_25")).unwrap();
    fs::write(folder.join("..2026_11_25/token"), token).unwrap();
    symlink("..2026_11_25", folder.join("..data")).unwrap();
    symlink("..data/token", folder.join("token")).unwrap();
}

#[test]
fn a_pod_is_verified_by_its_projected_token_and_by_no_other_pods() {
    let world = World::start(&format!("[identity.kubernetes]\nissuer = \"https://{CLUSTER_HOST}\"\n"));
    let run = |claims: Option<&Value>| {
        let pod = Container::new(Engine::Kubernetes, Network::Host);
        let contained = world.lab.container(pod, &["python3", STEP, "select 1"]).unwrap();
        if let Some(claims) = claims {
            project(&contained.root, &world.lab.token(claims).unwrap());
        }
        said(&contained.command.identity(Identity::None).run().unwrap())
    };
    let text = run(Some(&pod_claims(POD)));
    assert!(text.contains("SQL> select 1"), "{text} {}", world.lab.agent_log());
    let who = world.last();
    assert_eq!(who["principal"], "kubernetes:system:serviceaccount:data:etl", "{who}");
    assert_eq!(
        (&who["workflow"], &who["job"], &who["run_id"]),
        (&json!("data/etl"), &json!("etl-x2x"), &json!(POD))
    );

    let text = run(Some(&pod_claims("11111111-64b0-4d3c-9a5b-0f4d5c2d7e11")));
    assert!(!text.contains("SQL>"), "{text}");
    assert!(world.last()["reason"].as_str().unwrap().contains("its pod is not the one"), "{}", world.last());
    let text = run(None);
    assert!(!text.contains("SQL>"), "{text}");
    assert!(world.last()["reason"].as_str().unwrap().contains("in a container"), "{}", world.last());
}

#[test]
fn a_job_asks_who_it_is_and_hands_in_a_token_where_it_has_none() {
    let world = World::start("");
    let lab = &world.lab;
    let (program, socket) = (lab.program().display().to_string(), world.socket());
    let claims = json!({
        "sub": "repo:acme/etl:ref:refs/heads/main", "repository": "acme/etl", "run_id": "4711", "run_attempt": "1",
        "ref": "refs/heads/main", "workflow": "nightly", "actor": "mona",
    });
    let token = lab.token(&claims).unwrap();
    let mut other = claims.clone();
    other["run_id"] = json!("4712");
    let other = lab.token(&other).unwrap();
    let files = lab.folder().join("tokens");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("own"), format!("{token}\n")).unwrap();
    fs::write(files.join("other"), &other).unwrap();
    let verb = |verb: &str| format!("{program} identity {verb} --json --socket {socket}");
    let (own, other) = (files.join("own").display().to_string(), files.join("other").display().to_string());
    let script = format!(
        "{whoami} > a.json; {bind} < {other}; echo other $?; {bind} --token-file {own} > b.json; echo own $?; \
         {whoami} > c.json; {bind} --token-file {other}; echo again $?; python3 {STEP} 'select 1'; cat a.json b.json c.json",
        whoami = verb("whoami"),
        bind = verb("bind"),
    );
    let job = lab.command(&["sh", "-c", &script]).unwrap().identity(Identity::Observed).cwd(&files);
    let output = job.run().unwrap();
    let text = said(&output);
    for expected in ["other 1", "own 0", "again 1", "its run_id is not the one of the job", "SQL> select 1"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let answers = String::from_utf8_lossy(&output.stdout);
    let documents: Vec<Value> = serde_json::Deserializer::from_str(&answers[answers.find('{').unwrap()..])
        .into_iter::<Value>()
        .map(Result::unwrap)
        .collect();
    let assurances: Vec<&Value> = documents.iter().map(|document| &document["assurance"]).collect();
    assert_eq!(assurances, ["observed", "verified", "verified"]);
    assert_eq!(documents[2]["claims"]["actor"], "mona");
    let origin = |document: &Value, list: &str, name: &str| {
        let facts = document[list].as_array().unwrap();
        let fact = facts.iter().find(|fact| fact["name"] == name).unwrap_or_else(|| panic!("{name}: {text}"));
        fact["from"].as_str().unwrap().to_owned()
    };
    assert!(origin(&documents[0], "attributes", "repository").starts_with("variables of the step, process "));
    assert_eq!(origin(&documents[1], "attributes", "repository"), "token, handed in");
    assert_eq!(
        origin(&documents[2], "attributes", "repository"),
        "token, handed in with `snowfence identity bind`"
    );
    for name in ["pid", "start", "executable", "arguments", "ancestors", "namespaces", "worker", "step"] {
        assert!(!origin(&documents[2], "evidence", name).is_empty());
    }
    assert!(!text.contains(&token), "a token was printed");
    assert_eq!(world.last()["assurance"], "verified");

    // Another job is not bound by that, and what is no job cannot be.
    let bare =
        lab.command(&["sh", "-c", &verb("whoami")]).unwrap().identity(Identity::Observed).run().unwrap();
    assert!(said(&bare).contains(r#""assurance": "observed""#), "{}", said(&bare));
    let beside = lab.command(&["sh", "-c", &format!("{} --token-file {own}", verb("bind"))]).unwrap();
    let beside = beside.identity(Identity::None).run().unwrap();
    assert!(
        !beside.status.success() && said(&beside).contains("does not belong to a CI job"),
        "{}",
        said(&beside)
    );
}

/// Runs as long as it is held.
struct Provider(Child);

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a provider that is not the lab's own, with a certificate of its own.
fn start_provider(lab: &Lab, certificate: &Path, key: &Path) -> Provider {
    let modules = lab.cached("node-issuer").unwrap();
    let mut command = lab.internet_command();
    command.arg(modules.join("bin/node")).arg(concat!(env!("CARGO_MANIFEST_DIR"), "/issuer/issuer.mjs"));
    command.arg(&modules).arg(format!("https://{PROVIDER_HOST}")).arg(certificate).arg(key);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let provider = Provider(child);
    assert_eq!(lines.next().map(Result::unwrap).as_deref(), Some("ready"));
    provider
}

#[test]
fn a_provider_that_others_wrote_is_understood_as_it_comes() {
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("certificate.pem"), files.path().join("key.pem"));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=login", "-addext", &format!("subjectAltName=DNS:{PROVIDER_HOST}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let world = World::start(&format!(
        "[identity.oidc]\nissuer = \"https://{PROVIDER_HOST}\"\nvariable = \"LOGIN_TOKEN\"\n\
         [upstream]\nextra_roots = [\"{}\"]\n",
        certificate.display()
    ));
    let lab = &world.lab;
    let provider = start_provider(lab, &certificate, &key);
    let token_for = |audience: &str| {
        let asked = lab.exec_internet(&[
            "curl",
            "-sS",
            "--cacert",
            certificate.to_str().unwrap(),
            "-u",
            "etl:secret",
            "-d",
            &format!("grant_type=client_credentials&scope=api:read&resource=urn:{audience}"),
            &format!("https://{PROVIDER_HOST}/token"),
        ]);
        let asked = asked.unwrap();
        let answer: Value =
            serde_json::from_slice(&asked.stdout).unwrap_or_else(|_| panic!("{}", said(&asked)));
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let select = |token: &str| {
        said(&world.step(&["python3", STEP, "select 1"]).env("LOGIN_TOKEN", token).run().unwrap())
    };

    let text = select(&token_for("snowfence"));
    assert!(text.contains("SQL> select 1"), "{text} {}", lab.agent_log());
    let who = world.last();
    assert_eq!((&who["principal"], &who["assurance"]), (&json!("oidc:etl"), &json!("verified")), "{who}");
    assert_eq!((&who["repository"], &who["run_id"]), (&json!("acme/etl"), &json!("7")));

    let doctor = said(&lab.snowfence(&["doctor"]).unwrap());
    assert!(
        doctor.contains(&format!("ok    issuer oidc: 1 key of https://{PROVIDER_HOST}, clocks 0 s apart")),
        "{doctor}"
    );

    let token = token_for("snowfence");
    let (head, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for (token, says) in
        [(token_for("others"), "made for another audience"), (forged, "signature is not valid")]
    {
        let text = select(&token);
        assert!(!text.contains("SQL>"), "{text}");
        assert!(world.last()["reason"].as_str().unwrap().contains(says), "{}", world.last());
    }
    // It is away, and its keys are known.
    drop(provider);
    let text = select(&token);
    assert!(text.contains("SQL> select 1"), "{text}");
    let doctor = said(&lab.snowfence(&["doctor"]).unwrap());
    assert!(
        doctor.contains("FAIL  issuer oidc: keys of") && doctor.contains("could not be reached"),
        "{doctor}"
    );
}
