//! A job of every provider, in a made-up `/proc`, against an issuer on loopback that behaves as documented: what is
//! taken, and what is refused.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    sync::Mutex,
    time::Duration,
};

use identity::{
    Assurance, IssuerFault, Principal, VerifyError,
    testing::{self, AUDIENCE, ISSUED_AT, Issuer as Mint, variables_of},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use model::{ProcessId, Standing, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::{
    Workload,
    config::{Config, KeySource},
    evidence::Evidence,
    fake_issuer::{Answer, FakeIssuer},
    fake_proc::FakeProc,
};

const KEYS: &str = "/keys";
const GET: &str = "/idtoken";
const POST: &str = "/v3/jobs/0184990a-477b-4fa8-9968-496074483cee/oidc/tokens";
const POD: &str = "66666666-ffff-4fff-8fff-aaaaaaaaaaaa";
const TOKEN_FILE: &str = "var/run/secrets/kubernetes.io/serviceaccount/token";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(ISSUED_AT + seconds)
}

/// A host with one configured provider, and two jobs: workers 20 and 21, steps 30 and 31, and in each a process 40 and 41
/// that connects.
struct Host {
    provider: Provider,
    fake: FakeProc,
    net: FakeIssuer,
    mint: Mint,
    workload: Workload,
    socket: Arc<Mutex<String>>,
    /// Processes that stand elsewhere than in one of the two jobs.
    elsewhere: Arc<Mutex<BTreeMap<u32, Standing>>>,
}

/// A process as it is now.
fn now(proc_root: &Path, pid: u32) -> Option<ProcessId> {
    let stat = Process::open(proc_root, pid).ok()?.stat().ok()?;
    Some(ProcessId { pid, start_ticks: stat.start_ticks })
}

impl Host {
    async fn new(provider: Provider) -> Self {
        Self::with(provider, Duration::from_secs(60), KeyTimes::DEFAULT).await
    }

    async fn with(provider: Provider, deadline: Duration, times: KeyTimes) -> Self {
        let (fake, net, mint) = (FakeProc::new(), FakeIssuer::start().await, Mint::new("k1"));
        net.answer(KEYS, Answer::Body(mint.jwks()));
        let worker = fake.root().canonicalize().unwrap().join("worker");
        std::fs::write(&worker, "").unwrap();
        let issuer = IssuerConfig {
            provider,
            issuer: testing::ISSUER.to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
            claims: Vec::new(),
            request_hosts: vec![RequestHost::parse(&format!("localhost:{}", net.port())).unwrap()],
            keys: KeySource::Url(net.url(KEYS).to_string()),
            token: (provider == Provider::Oidc).then(|| TokenPlace::Variable("TOKEN".to_owned())),
            leeway: Duration::from_secs(30),
        };
        let config = Config {
            worker_exes: vec![worker.clone()],
            runner_exes: Vec::new(),
            units: vec!["*".to_owned()],
            issuers: vec![issuer],
            tls: net.client_config(),
            proc_deadline: Duration::from_secs(60),
            issuer_deadline: deadline,
        };
        let mut workload = Workload::with_times(config, times).unwrap();
        workload.look_below(fake.root());
        let elsewhere = Arc::<Mutex<BTreeMap<u32, Standing>>>::default();
        let (root, known) = (fake.root().to_owned(), Arc::clone(&elsewhere));
        // Even pids from 30 on are the first job's, odd ones the second's.
        workload.ask_about_processes(move |pid| {
            let worker = || now(&root, 20 + pid % 2);
            let standing = match known.lock().unwrap().get(&pid) {
                Some(standing) => *standing,
                None if pid == 1 => Standing::Outside,
                None if pid < 30 => Standing::Worker(worker()?),
                None => Standing::Member { worker: worker()?, step: now(&root, 30 + pid % 2)? },
            };
            Some((now(&root, pid)?, standing))
        });
        fake.process(1, 0, 1);
        for (n, pid) in [(0, 20), (1, 21)] {
            fake.process(pid, 1, 20).exe(&worker);
            let root = fake.root().join(format!("root{n}"));
            std::fs::create_dir_all(root.join("run")).unwrap();
            fake.process(30 + n, pid, 30).root(&root);
            fake.process(40 + n, 30 + n, 40).root(&root);
        }
        let host = Self { provider, fake, net, mint, workload, socket: Arc::default(), elsewhere };
        if provider == Provider::Cursor {
            host.listen();
        }
        host
    }

    fn claims(&self, changes: &Value) -> Value {
        let mut claims = Mint::claims_of(self.provider, changes);
        if let Some(pod) = claims.pointer_mut("/kubernetes.io/pod/uid") {
            *pod = json!(POD);
        }
        claims
    }

    fn token(&self, changes: &Value) -> String {
        self.mint.sign(&self.claims(changes))
    }

    /// What the step has, besides what a token may be in.
    fn stated(&self) -> Vec<(&'static str, String)> {
        let url = |path: &str| self.net.url(path).to_string();
        let more = match self.provider {
            Provider::GitHub | Provider::GitHubEnterprise => vec![
                ("ACTIONS_ID_TOKEN_REQUEST_URL", url(GET)),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t0k".to_owned()),
            ],
            Provider::Buildkite => vec![
                ("BUILDKITE_AGENT_ENDPOINT", url("/v3")),
                ("BUILDKITE_AGENT_ACCESS_TOKEN", "t0k".to_owned()),
            ],
            Provider::Cursor => vec![("CURSOR_AGENT_SOCKET", "/run/api.sock".to_owned())],
            _ => Vec::new(),
        };
        variables_of(self.provider)
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .chain(more)
            .collect()
    }

    /// Puts the token where a job of this provider has it, and says what is found of the process that connects.
    fn evidence(&self, token: &str, job: u32) -> Evidence {
        self.evidence_with(&self.stated(), token, job)
    }

    fn evidence_with(&self, step: &[(&'static str, String)], token: &str, job: u32) -> Evidence {
        let mut step: Vec<(&str, &str)> = step.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut child = vec![("PATH", "/bin")];
        let mut cgroup = "0::/system.slice/runner.service\n".to_owned();
        let root = self.fake.root().join(format!("root{job}"));
        match self.provider {
            Provider::GitHub | Provider::GitHubEnterprise => {
                self.net.answer(GET, Answer::Body(json!({"value": token}).to_string()));
            }
            Provider::Buildkite => self.net.answer(POST, Answer::Body(json!({"token": token}).to_string())),
            Provider::Cursor => *self.socket.lock().unwrap() = json!({"token": token}).to_string(),
            Provider::CircleCi => step.push(("CIRCLE_OIDC_TOKEN", token)),
            Provider::GitLab | Provider::Jenkins => child.push(("ANY_NAME", token)),
            Provider::Oidc => child.push(("TOKEN", token)),
            Provider::Kubernetes => {
                let pod = POD.replace('-', "_");
                let id = "c".repeat(64);
                cgroup = format!("0::/kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{id}.scope\n");
                let file = root.join(TOKEN_FILE);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, format!("{token}\n")).unwrap();
            }
        }
        self.fake.process(30 + job, 20 + job, 30).variables(&step);
        self.fake.process(40 + job, 30 + job, 40).variables(&child).cgroup(&cgroup);
        Evidence::of_made_up(self.workload.scene(), 40 + job)
    }

    /// Who the first job's process is with this token.
    async fn with_token(&self, token: &str) -> Arc<Principal> {
        let evidence = self.evidence(token, 0);
        self.workload.principal(&evidence, at(1)).await
    }

    fn stands(&self, pid: u32, standing: Standing) {
        self.elsewhere.lock().unwrap().insert(pid, standing);
    }

    async fn reason(&self, evidence: &Evidence) -> NobodyReason {
        let principal = self.workload.principal(evidence, at(1)).await;
        principal.reason().unwrap_or_else(|| panic!("{:?}: {principal:?}", self.provider)).clone()
    }

    /// Answers on the first job's socket with whatever is in `socket`, for as long as the test runs.
    fn listen(&self) {
        for job in 0..2 {
            let path = self.fake.root().join(format!("root{job}/run/api.sock"));
            let (listener, body) = (UnixListener::bind(path).unwrap(), Arc::clone(&self.socket));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    let mut request = vec![0; 4096];
                    let length = stream.read(&mut request).unwrap();
                    let request = String::from_utf8_lossy(&request[..length]).into_owned();
                    assert!(
                        request.starts_with("POST /v1/tokens/oidc HTTP/1.1\r\nhost: localhost\r\n"),
                        "{request}"
                    );
                    let body = body.lock().unwrap().clone();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    drop(stream.write_all((head + &body).as_bytes()));
                }
            });
        }
    }
}

/// Whether the provider's token is somewhere in the job, and not asked for.
fn is_carried(provider: Provider) -> bool {
    matches!(provider.description().place, Place::Variable(_) | Place::File(_))
}

#[tokio::test]
async fn a_job_of_every_provider_is_verified() {
    for provider in Provider::ALL {
        let host = Host::new(provider).await;
        let principal = host.with_token(&host.token(&json!({}))).await;
        assert_eq!(principal.assurance(), Assurance::Verified, "{provider:?}: {:?}", principal.reason());
        assert_eq!(principal.provider(), Some(provider));
        assert!(host.evidence(&host.token(&json!({})), 0).token_origin().is_some());
    }
}

#[tokio::test]
async fn each_asks_as_its_documentation_says() {
    let host = Host::new(Provider::GitHub).await;
    host.with_token(&host.token(&json!({}))).await;
    let asked = host.net.requests().into_iter().find(|seen| seen.target.starts_with(GET)).unwrap();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/idtoken?audience=snowfence"));
    assert_eq!(asked.authorization.as_deref(), Some("bearer t0k"));

    let host = Host::new(Provider::Buildkite).await;
    host.with_token(&host.token(&json!({}))).await;
    let asked = host.net.requests().into_iter().find(|seen| seen.target == POST).unwrap();
    assert_eq!((asked.method.as_str(), asked.body.as_str()), ("POST", r#"{"audience":"snowfence"}"#));
    assert_eq!(asked.authorization.as_deref(), Some("Token t0k"));
}

#[tokio::test]
async fn no_provider_has_a_token_taken_that_is_not_in_order() {
    for provider in Provider::ALL {
        let host = Host::new(provider).await;
        let refused = [
            (host.token(&json!({"exp": ISSUED_AT - 60})), VerifyError::Expired(at(-60))),
            (host.token(&json!({"nbf": ISSUED_AT + 60})), VerifyError::NotYetValid(at(60))),
            (Mint::new("k9").sign(&host.claims(&json!({}))), VerifyError::UnknownKey("k9".to_owned())),
            (Mint::new("k1").sign(&host.claims(&json!({}))), VerifyError::BadSignature),
            (confused(&host), VerifyError::OtherAlgorithm),
            (unsigned(&host), VerifyError::BadHeader),
        ];
        for (token, error) in refused {
            // Each under another worker, for a refusal stands for some seconds.
            let fresh = Host::new(provider).await;
            fresh.net.answer(KEYS, Answer::Body(host.mint.jwks()));
            let reason = fresh.reason(&fresh.evidence(&token, 0)).await;
            assert_eq!(reason, NobodyReason::Refused(error), "{provider:?}");
        }
    }
}

/// A token under the public key as a shared secret.
fn confused(host: &Host) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k1".to_owned());
    let key = EncodingKey::from_secret(host.mint.jwks().as_bytes());
    encode(&header, &host.claims(&json!({})), &key).unwrap()
}

/// A token that says that nobody signed it.
fn unsigned(host: &Host) -> String {
    let token = host.token(&json!({}));
    let (_, rest) = token.split_once('.').unwrap();
    // {"alg":"none","typ":"JWT","kid":"k1"}
    format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoiazEifQ.{rest}")
}

#[tokio::test]
async fn a_token_of_another_issuer_or_for_another_audience_is_none_of_ours() {
    for provider in Provider::ALL {
        for (changes, error) in [
            (json!({"iss": "https://evil.example"}), VerifyError::OtherIssuer),
            (json!({"aud": "sigstore"}), VerifyError::OtherAudience),
        ] {
            let host = Host::new(provider).await;
            let principal = host.with_token(&host.token(&changes)).await;
            if is_carried(provider) && provider.states_jobs() {
                // A job may have tokens for others, and is then what its runner says.
                assert_eq!(principal.assurance(), Assurance::Observed, "{provider:?}");
                continue;
            }
            let expected = match error {
                VerifyError::OtherIssuer if is_carried(provider) => StatementError::Nothing.into(),
                error => NobodyReason::Refused(error),
            };
            assert_eq!(principal.reason(), Some(&expected), "{provider:?}");
        }
    }
}

#[tokio::test]
async fn a_token_that_is_too_long_is_no_token() {
    for provider in Provider::ALL {
        let host = Host::new(provider).await;
        let long = host.token(&json!({"x": "y".repeat(RawToken::BYTES_MAX)}));
        let principal = host.with_token(&long).await;
        assert_ne!(principal.assurance(), Assurance::Verified, "{provider:?}");
        // Where only a token is looked for, its job is nobody; where its runner speaks, that is what is left.
        let is_observed = principal.assurance() == Assurance::Observed;
        assert_eq!(is_observed, is_carried(provider) && provider.states_jobs(), "{provider:?}");
    }
}

#[tokio::test]
async fn a_token_is_refused_in_another_job_than_the_one_that_showed_it_first() {
    for provider in Provider::ALL {
        if provider == Provider::Kubernetes || provider.splits_jobs() {
            continue; // Its jobs are pods, or several processes: see below.
        }
        let host = Host::new(provider).await;
        // GitHub's tokens are told apart by the check run.
        let token = host.token(&json!({"check_run_id": "9"}));
        let first = host.evidence(&token, 0);
        assert_eq!(host.workload.principal(&first, at(1)).await.assurance(), Assurance::Verified);
        let second = host.evidence(&token, 1);
        assert_eq!(host.reason(&second).await, NobodyReason::TokenOfOtherJob, "{provider:?}");
        assert_eq!(host.workload.principal(&first, at(2)).await.assurance(), Assurance::Verified);
    }
}

#[tokio::test]
async fn where_a_job_has_several_processes_of_its_runner_its_token_counts_in_each_and_in_no_other_job() {
    let host = Host::new(Provider::Jenkins).await;
    let token = host.token(&json!({}));
    for job in [0, 1] {
        let evidence = host.evidence(&token, job);
        let principal = host.workload.principal(&evidence, at(1)).await;
        assert_eq!(principal.assurance(), Assurance::Verified, "{:?}", principal.reason());
    }
    let mut other = host.stated();
    other.retain(|(name, _)| *name != "BUILD_NUMBER");
    other.push(("BUILD_NUMBER", "8".to_owned()));
    let host = Host::new(Provider::Jenkins).await;
    let evidence = host.evidence_with(&other, &host.token(&json!({})), 0);
    assert_eq!(host.reason(&evidence).await, NobodyReason::Refused(VerifyError::OtherJob("run_id")));
}

#[tokio::test]
async fn a_pods_token_counts_in_that_pod_alone() {
    let host = Host::new(Provider::Kubernetes).await;
    let token = host.token(&json!({}));
    let evidence = host.evidence(&token, 0);
    assert_eq!(host.workload.principal(&evidence, at(1)).await.assurance(), Assurance::Verified);
    // Carried out of the pod, and into another one.
    for cgroup in [
        "0::/system.slice/runner.service\n".to_owned(),
        format!(
            "0::/kubepods.slice/kubepods-pod99999999_ffff_4fff_8fff_aaaaaaaaaaaa.slice/cri-containerd-{}.scope\n",
            "d".repeat(64)
        ),
    ] {
        host.evidence(&token, 1);
        host.fake.process(41, 31, 41).cgroup(&cgroup);
        let evidence = Evidence::of_made_up(host.workload.scene(), 41);
        assert_eq!(
            host.reason(&evidence).await,
            NobodyReason::Refused(VerifyError::OtherJob("pod")),
            "{cgroup}"
        );
        // A refusal stands for some seconds; the next is another step.
        host.fake.process(31, 21, 32);
    }
}

#[tokio::test]
async fn a_pod_needs_no_worker_and_a_container_no_more_than_its_token() {
    let host = Host::new(Provider::Kubernetes).await;
    let token = host.token(&json!({}));
    host.evidence(&token, 0);
    // The same process, started by a daemon.
    host.stands(40, Standing::Outside);
    let evidence = Evidence::of_made_up(host.workload.scene(), 40);
    let principal = host.workload.principal(&evidence, at(1)).await;
    assert_eq!(principal.id(), "kubernetes:system:serviceaccount:data:etl", "{:?}", principal.reason());
    std::fs::remove_file(host.fake.root().join("root0").join(TOKEN_FILE)).unwrap();
    let evidence = Evidence::of_made_up(host.workload.scene(), 40);
    assert!(matches!(host.reason(&evidence).await, NobodyReason::ContainerOfNoJob(_)));
}

#[tokio::test]
async fn what_a_daemon_of_an_ended_job_carries_counts_for_nothing() {
    for provider in Provider::ALL {
        let host = Host::new(provider).await;
        host.evidence(&host.token(&json!({})), 0);
        // The job is over; whatever the process has of it, it still has.
        host.fake.process(40, 1, 40).variables(&[("TOKEN", &host.token(&json!({})))]);
        let worker = ProcessId { pid: 20, start_ticks: 20 };
        host.stands(40, Standing::LeftOver { worker, ended_at_ns: None });
        let evidence = Evidence::of_made_up(host.workload.scene(), 40);
        assert!(matches!(host.reason(&evidence).await, NobodyReason::LeftOver(_)), "{provider:?}");
    }
}

#[tokio::test]
async fn a_second_identity_in_a_job_is_refused_and_does_not_displace_the_first() {
    let seconds = [
        (Provider::GitLab, json!({"job_id": "303"})),
        (Provider::GitLab, json!({"project_path": "acme/web", "sub": "x", "job_id": "303"})),
        (
            Provider::Jenkins,
            json!({"sub": "https://jenkins.acme.example/job/etl/", "jti": "2", "aud": [AUDIENCE]}),
        ),
        (Provider::Oidc, json!({"sub": "job-4712"})),
    ];
    for (provider, changes) in seconds {
        let host = Host::new(provider).await;
        let first = host.with_token(&host.token(&json!({}))).await;
        assert_eq!(first.assurance(), Assurance::Verified);
        let second = host.with_token(&host.token(&changes)).await;
        if provider == Provider::Jenkins {
            // Another token of the same build is no second identity.
            assert_eq!(second.id(), first.id());
            continue;
        }
        assert_eq!(second.reason(), Some(&NobodyReason::SecondIdentity), "{provider:?}");
        assert_eq!(host.with_token(&host.token(&json!({}))).await.id(), first.id());
    }
}

#[tokio::test]
async fn nobody_is_asked_but_the_providers_own_hosts() {
    let urls = [
        (Provider::GitHub, "ACTIONS_ID_TOKEN_REQUEST_URL"),
        (Provider::GitHubEnterprise, "ACTIONS_ID_TOKEN_REQUEST_URL"),
        (Provider::Buildkite, "BUILDKITE_AGENT_ENDPOINT"),
    ];
    for (provider, variable) in urls {
        let (host, stranger) = (Host::new(provider).await, FakeIssuer::start().await);
        let other_port = stranger.url("/v3").to_string();
        for foreign in ["https://evil.example/v3", "https://169.254.169.254/latest", &other_port] {
            let mut step = host.stated();
            step.retain(|(name, _)| *name != variable);
            step.push((variable, foreign.to_owned()));
            let evidence = host.evidence_with(&step, &host.token(&json!({})), 0);
            assert_eq!(host.reason(&evidence).await, NobodyReason::ForeignRequestUrl, "{foreign}");
        }
        assert_eq!((host.net.connections(), stranger.connections()), (0, 0));
        // And a redirect from there is not followed.
        let evidence = host.evidence(&host.token(&json!({})), 0);
        for path in [GET, POST] {
            host.net.answer(path, Answer::Redirect(stranger.url("/").to_string()));
        }
        let expected = NobodyReason::NotIssued(IssuerFault::Refused(302));
        assert_eq!((host.reason(&evidence).await, stranger.connections()), (expected, 0));
    }
}

#[tokio::test]
async fn half_of_a_request_is_no_way_to_be_less_than_verified() {
    for (provider, variable, expected) in [
        (Provider::GitHub, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", NobodyReason::BadRequestToken),
        (Provider::GitHub, "ACTIONS_ID_TOKEN_REQUEST_URL", NobodyReason::ForeignRequestUrl),
        (Provider::Buildkite, "BUILDKITE_AGENT_ACCESS_TOKEN", NobodyReason::BadRequestToken),
        (Provider::Buildkite, "BUILDKITE_AGENT_ENDPOINT", NobodyReason::ForeignRequestUrl),
    ] {
        let host = Host::new(provider).await;
        let mut step = host.stated();
        step.retain(|(name, _)| *name != variable);
        let evidence = host.evidence_with(&step, "", 0);
        assert_eq!(host.reason(&evidence).await, expected, "{variable}");
    }
    let host = Host::new(Provider::GitHub).await;
    let mut step = host.stated();
    step.retain(|(name, _)| *name != "ACTIONS_ID_TOKEN_REQUEST_TOKEN");
    for bad in ["a b", "a\tb", &"x".repeat(20_000)] {
        step.push(("ACTIONS_ID_TOKEN_REQUEST_TOKEN", bad.to_owned()));
        assert_eq!(host.reason(&host.evidence_with(&step, "", 0)).await, NobodyReason::BadRequestToken);
        step.pop();
    }
}

#[tokio::test]
async fn an_issuer_that_is_slow_or_away_gives_nobody_an_identity_until_its_keys_are_known() {
    for provider in Provider::ALL {
        let host = Host::with(provider, Duration::from_millis(300), KeyTimes::DEFAULT).await;
        host.net.answer(KEYS, Answer::Never);
        let reason = host.reason(&host.evidence(&host.token(&json!({})), 0)).await;
        assert_eq!(reason, NobodyReason::NoKeys(IssuerFault::TimedOut), "{provider:?}");

        let host = Host::new(provider).await;
        host.net.answer(KEYS, Answer::Status(503));
        let reason = host.reason(&host.evidence(&host.token(&json!({})), 0)).await;
        assert_eq!(reason, NobodyReason::NoKeys(IssuerFault::Refused(503)), "{provider:?}");

        // With keys from before, it may be away.
        let host = Host::new(provider).await;
        assert_eq!(host.with_token(&host.token(&json!({}))).await.assurance(), Assurance::Verified);
        host.net.answer(KEYS, Answer::Status(503));
        let renewed = host.token(&json!({"jti": "2", "exp": ISSUED_AT + 900}));
        let evidence = host.evidence(&renewed, 0);
        let principal = host.workload.principal(&evidence, at(290)).await;
        assert_eq!(principal.expires(), Some(at(900)), "{provider:?}: {:?}", principal.reason());
        assert_eq!(host.net.count(KEYS), 1);
    }
}

#[tokio::test]
async fn a_renewed_key_is_fetched_when_a_token_names_it() {
    for provider in Provider::ALL {
        let times = KeyTimes { asked_every: Duration::ZERO, ..KeyTimes::DEFAULT };
        let mut host = Host::with(provider, Duration::from_secs(60), times).await;
        assert_eq!(host.with_token(&host.token(&json!({}))).await.assurance(), Assurance::Verified);
        host.mint = Mint::new("k2");
        host.net.answer(KEYS, Answer::Body(host.mint.jwks()));
        let renewed = host.token(&json!({"jti": "2", "exp": ISSUED_AT + 900}));
        let evidence = host.evidence(&renewed, 0);
        assert_eq!(
            host.workload.principal(&evidence, at(290)).await.expires(),
            Some(at(900)),
            "{provider:?}"
        );
        assert_eq!(host.net.count(KEYS), 2);
    }
}

#[tokio::test]
async fn a_job_is_asked_about_once() {
    for provider in Provider::ALL {
        let host = Host::new(provider).await;
        let evidence = host.evidence(&host.token(&json!({})), 0);
        for seconds in [1, 2, 3, 200] {
            host.workload.principal(&evidence, at(seconds)).await;
        }
        let asked = host.net.requests().iter().filter(|seen| seen.target != KEYS).count();
        assert_eq!((host.net.count(KEYS), asked <= 1), (1, true), "{provider:?}");
    }
}

#[tokio::test]
async fn what_a_process_was_started_with_counts_before_what_its_parents_were() {
    let host = Host::new(Provider::GitLab).await;
    let (ours, vault) = (host.token(&json!({})), host.token(&json!({"aud": "vault"})));
    // The shell of the executor has nothing; what it starts has a token for somebody else, too, and first.
    host.fake.process(30, 20, 30).variables(&[("HOME", "/home/gitlab-runner")]);
    host.fake.process(40, 30, 40).variables(&[("A_VAULT", &vault), ("OURS", &ours)]);
    host.fake.process(50, 40, 50).environ(b"");
    for pid in [40, 50] {
        let evidence = Evidence::of_made_up(host.workload.scene(), pid);
        assert_eq!(evidence.token_origin().as_deref(), Some("variable OURS of process 40"));
        assert_eq!(host.workload.principal(&evidence, at(1)).await.run_id(), Some("574"));
    }
    // Beside it, a process that was started without any variables, by the shell itself.
    host.fake.process(52, 30, 52).environ(b"");
    let evidence = Evidence::of_made_up(host.workload.scene(), 52);
    assert_eq!(host.reason(&evidence).await, StatementError::Nothing.into());
}

#[tokio::test]
async fn a_file_or_socket_that_is_something_else_is_refused_and_not_waited_for() {
    let host = Host::new(Provider::Kubernetes).await;
    host.evidence("a.b.c", 0);
    let file = host.fake.root().join("root0").join(TOKEN_FILE);
    std::fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert_eq!(host.reason(&Evidence::of_made_up(host.workload.scene(), 40)).await, NobodyReason::UnfitPlace);
    let host = Host::new(Provider::Cursor).await;
    for path in ["run/api.sock", "/etc/hostname", "/run", "/../../run/api.sock2"] {
        let evidence = host.evidence_with(&[("CURSOR_AGENT_SOCKET", path.to_owned())], "", 0);
        let reason = host.reason(&evidence).await;
        let unfit =
            matches!(reason, NobodyReason::UnfitPlace | NobodyReason::NotIssued(IssuerFault::Unreachable));
        assert!(unfit, "{path}: {reason}");
    }
}

#[tokio::test]
async fn a_token_that_is_handed_in_binds_a_job_that_has_none_and_overrides_nothing() {
    let host = Host::new(Provider::GitLab).await;
    let token = host.token(&json!({}));
    let bare = |job: u32| {
        host.fake.process(40 + job, 30 + job, 40).variables(&[]);
        Evidence::of_made_up(host.workload.scene(), 40 + job)
    };
    let (first, second) = (bare(0), bare(1));
    let bind = async |evidence, token: &str| host.workload.bind(evidence, token.to_owned(), at(1)).await;
    assert_eq!(host.reason(&first).await, StatementError::Nothing.into());
    let refused = [
        ("x".to_owned(), "not a signed JSON web token"),
        (host.token(&json!({"iss": "https://evil.example"})), "another issuer"),
        (host.token(&json!({"aud": "vault"})), "another audience"),
        (host.token(&json!({"exp": ISSUED_AT - 60})), "expired"),
    ];
    for (token, says) in refused {
        let reason = bind(&first, &token).await.unwrap_err().to_string();
        assert!(reason.contains(says), "{reason}");
    }
    assert_eq!(bind(&first, &token).await.unwrap().run_id(), Some("574"));
    assert_eq!(host.workload.principal(&first, at(2)).await.run_id(), Some("574"));
    assert_eq!(host.workload.principal(&first, at(300)).await.assurance(), Assurance::None, "it has ended");
    // Once more is well; another identity, or in another job, is not.
    assert!(bind(&first, &token).await.is_ok());
    let other = host.token(&json!({"job_id": "303"}));
    assert_eq!(bind(&first, &other).await.unwrap_err(), NobodyReason::SecondIdentity);
    assert_eq!(bind(&second, &token).await.unwrap_err(), NobodyReason::TokenOfOtherJob);
    assert_eq!(host.reason(&second).await, StatementError::Nothing.into());
    // A job with a token of its own has no use for another.
    let own = host.evidence(&token, 0);
    assert_eq!(bind(&own, &token).await.unwrap_err(), NobodyReason::SecondIdentity);
    host.fake.process(60, 1, 60);
    host.stands(60, Standing::Outside);
    let none = Evidence::of_made_up(host.workload.scene(), 60);
    assert_eq!(bind(&none, &token).await.unwrap_err(), NobodyReason::NoJob);
}

#[tokio::test]
async fn two_githubs_are_told_apart_by_where_they_are_asked() {
    let (public, own) = (Host::new(Provider::GitHub).await, Host::new(Provider::GitHubEnterprise).await);
    let mut issuers = public.workload.scene().issuers.clone();
    issuers.extend(own.workload.scene().issuers.iter().cloned());
    let claim_of = |variables: &[(&str, String)]| {
        let block: String = variables.iter().map(|(name, value)| format!("{name}={value}\0")).collect();
        let step = Environment::parse(&model::Secret::new(block.into_bytes())).unwrap();
        claim(&issuers, &Sources { step: &step, processes: &[] })
    };
    for host in [&public, &own] {
        let Ok(Claim::Token(source)) = claim_of(&host.stated()) else { panic!("no token") };
        assert_eq!(source.issuer.provider(), host.provider);
        assert_eq!(source.statement.unwrap().provider(), host.provider);
    }
    // The runner of one with the address of the other: the token will be of the other, and there is nothing to compare.
    let mut mixed = own.stated();
    mixed.retain(|(name, _)| *name != "ACTIONS_ID_TOKEN_REQUEST_URL");
    mixed.push(("ACTIONS_ID_TOKEN_REQUEST_URL", public.net.url(GET).to_string()));
    let Ok(Claim::Token(source)) = claim_of(&mixed) else { panic!("no token") };
    assert_eq!((source.issuer.provider(), source.statement.is_some()), (Provider::GitHub, false));
}

#[tokio::test]
async fn two_runners_in_one_environment_are_refused() {
    let (github, buildkite) = (Host::new(Provider::GitHub).await, Host::new(Provider::Buildkite).await);
    let mut issuers = github.workload.scene().issuers.clone();
    issuers.extend(buildkite.workload.scene().issuers.iter().cloned());
    let both = [variables_of(Provider::GitHub), variables_of(Provider::Buildkite)].concat();
    let block: String = both.iter().map(|(name, value)| format!("{name}={value}\0")).collect();
    let step = Environment::parse(&model::Secret::new(block.into_bytes())).unwrap();
    let refused = claim(&issuers, &Sources { step: &step, processes: &[] }).unwrap_err();
    assert_eq!(refused, NobodyReason::TwoRunners);
}
