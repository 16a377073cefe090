//! From evidence to principal, against an issuer on loopback with real TLS and real signatures.

use std::time::Duration;

use identity::{
    Assurance,
    testing::{self, ISSUED_AT, Issuer},
};
use model::{ProcessFacts, Secret};
use serde_json::{Value, json};

use super::*;
use crate::{
    bindings::Unit,
    config::{IssuerConfig, KeySource},
    environment::Environment,
    evidence::JobKey,
    fake_issuer::{Answer as Reply, FakeIssuer},
    process::ProcessKey,
    providers::{self, Sources},
    request_host::RequestHost,
};

const REQUEST_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const REQUEST_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
/// More than an answer with a token has.
const TOO_LONG: usize = 20_000;

const KEYS: &str = "/.well-known/jwks";
const MINT: &str = "/idtoken";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(ISSUED_AT + seconds)
}

/// An issuer with its key published, and a room that asks it.
struct Bench {
    net: FakeIssuer,
    issuer: Issuer,
    workload: Workload,
}

impl Bench {
    async fn new() -> Self {
        Self::with_deadline(Duration::from_secs(60)).await
    }

    async fn with_deadline(issuer_deadline: Duration) -> Self {
        let net = FakeIssuer::start().await;
        let issuer = Issuer::new("k1");
        net.answer(KEYS, Reply::Body(issuer.jwks()));
        let config = Config {
            worker_exes: Vec::new(),
            runner_exes: Vec::new(),
            units: Vec::new(),
            issuers: vec![IssuerConfig {
                provider: Provider::GitHub,
                issuer: testing::ISSUER.to_owned(),
                audiences: vec![testing::AUDIENCE.to_owned()],
                claims: Vec::new(),
                request_hosts: vec![RequestHost::parse(&format!("localhost:{}", net.port())).unwrap()],
                keys: KeySource::Url(net.url(KEYS).to_string()),
                token: None,
                leeway: Duration::from_secs(30),
            }],
            tls: net.client_config(),
            proc_deadline: Duration::from_secs(60),
            issuer_deadline,
        };
        let times =
            KeyTimes { asked_every: Duration::ZERO, missed_every: Duration::ZERO, ..KeyTimes::DEFAULT };
        let workload = Workload::with_times(config, times).unwrap();
        let bench = Self { net, issuer, workload };
        bench.mints(&json!({}));
        bench
    }

    /// From now on tokens have these claims.
    fn mints(&self, changes: &Value) {
        self.mints_text(&self.issuer.sign(&Issuer::claims(changes)));
    }

    fn mints_text(&self, token: &str) {
        self.net.answer(MINT, Reply::Body(json!({"value": token, "count": token.len()}).to_string()));
    }

    /// Evidence of a step that can ask for a token.
    fn step(&self, worker: u32, step: u32) -> Evidence {
        self.step_with(worker, step, &[])
    }

    fn step_with(&self, worker: u32, step: u32, changes: &[(&str, &str)]) -> Evidence {
        let url = self.net.url(&format!("{MINT}?api-version=2.0")).to_string();
        let mut variables = vec![(REQUEST_URL, url.as_str()), (REQUEST_TOKEN, "t0k")];
        variables.extend([("GITHUB_REPOSITORY", "acme/etl"), ("GITHUB_RUN_ID", "4711")]);
        variables.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        variables.extend(changes);
        let block = variables.iter().map(|(name, value)| format!("{name}={value}\0")).collect::<String>();
        let environment = Environment::parse(&Secret::new(block.into_bytes())).unwrap();
        let key = |pid| ProcessKey { pid, start_ticks: u64::from(pid) };
        let job = JobKey { worker: key(worker), step: key(step) };
        let sources = Sources { step: &environment, processes: &[] };
        let claim = providers::claim(&self.workload.scene.issuers, &sources);
        let unit = Unit::Worker(job.worker);
        Evidence::from_claim(facts(step), Ok(Found { job, unit, pod: None, claim }))
    }

    async fn principal_at(&self, evidence: &Evidence, seconds: i64) -> Arc<Principal> {
        self.workload.principal(evidence, at(seconds)).await
    }

    /// The reason why a fresh step gets no identity.
    async fn reason(&self, step: u32) -> NobodyReason {
        let principal = self.principal_at(&self.step(step, step + 1), 1).await;
        assert_eq!(principal.assurance(), Assurance::None, "{principal:?}");
        principal.reason().unwrap().clone()
    }
}

fn facts(pid: u32) -> ProcessFacts {
    ProcessFacts::unread(ProcessKey { pid, start_ticks: u64::from(pid) }, 1001, model::Standing::Unknown)
}

#[tokio::test]
async fn a_step_that_can_ask_is_verified_with_our_audience() {
    let bench = Bench::new().await;
    let principal = bench.principal_at(&bench.step(20, 30), 1).await;
    assert_eq!(principal.assurance(), Assurance::Verified, "{:?}", principal.reason());
    assert_eq!(principal.id(), "github:repo:acme/etl:ref:refs/heads/main");
    let asked = bench.net.requests().into_iter().find(|seen| seen.target.starts_with(MINT)).unwrap();
    assert_eq!(asked.target, format!("{MINT}?api-version=2.0&audience=snowfence"));
    assert_eq!(asked.authorization.as_deref(), Some("bearer t0k"));
    let keys_asked = bench.net.requests().into_iter().find(|seen| seen.target == KEYS).unwrap();
    assert_eq!(keys_asked.authorization, None, "the job's credential went elsewhere");
}

#[tokio::test]
async fn a_step_without_a_request_is_observed_and_nobody_is_asked() {
    let bench = Bench::new().await;
    let evidence = bench.step_with(20, 30, &[(REQUEST_URL, ""), (REQUEST_TOKEN, "")]);
    assert!(!evidence.can_ask_for_token());
    let principal = bench.principal_at(&evidence, 1).await;
    assert_eq!((principal.assurance(), principal.repository()), (Assurance::Observed, Some("acme/etl")));
    assert!(bench.net.requests().is_empty());
}

#[tokio::test]
async fn a_step_that_can_ask_and_fails_is_nobody_and_not_observed() {
    let bench = Bench::new().await;
    let faults = [
        (Reply::Status(401), IssuerFault::Refused(401)),
        (Reply::Redirect("https://evil.example/".to_owned()), IssuerFault::Refused(302)),
        (Reply::Body("{}".to_owned()), IssuerFault::Malformed),
        (Reply::Body("x".repeat(TOO_LONG)), IssuerFault::Malformed),
    ];
    for (worker, (reply, fault)) in (100..).step_by(2).zip(faults) {
        bench.net.answer(MINT, reply);
        assert_eq!(bench.reason(worker).await, NobodyReason::NotIssued(fault));
    }
    let hasty = Bench::with_deadline(Duration::from_millis(300)).await;
    for (worker, reply) in [(20, Reply::Never), (30, Reply::HeadOnly)] {
        hasty.net.answer(MINT, reply);
        assert_eq!(hasty.reason(worker).await, NobodyReason::NotIssued(IssuerFault::TimedOut));
    }
    bench.mints_text("no token");
    assert!(matches!(bench.reason(200).await, NobodyReason::NoToken(_)));
    let foreign = bench.step_with(300, 301, &[(REQUEST_URL, "https://evil.example/")]);
    assert_eq!(bench.principal_at(&foreign, 1).await.reason(), Some(&NobodyReason::ForeignRequestUrl));
}

#[tokio::test]
async fn a_token_that_is_not_in_order_makes_nobody() {
    let bench = Bench::new().await;
    let refused = [
        (json!({"iss": "https://evil.example"}), VerifyError::OtherIssuer),
        (json!({"aud": "sigstore"}), VerifyError::OtherAudience),
        (json!({"exp": ISSUED_AT - 60}), VerifyError::Expired(at(-60))),
        (json!({"run_id": "4712"}), VerifyError::OtherJob("run_id")),
        (json!({"repository": "acme/web"}), VerifyError::OtherJob("repository")),
    ];
    for (worker, (changes, error)) in (100..).step_by(2).zip(refused) {
        bench.mints(&changes);
        assert_eq!(bench.reason(worker).await, NobodyReason::Refused(error));
    }
    bench.mints_text(&Issuer::new("k1").sign(&Issuer::claims(&json!({}))));
    assert_eq!(bench.reason(200).await, NobodyReason::Refused(VerifyError::BadSignature));
    bench.mints_text(&Issuer::new("k9").sign(&Issuer::claims(&json!({}))));
    assert_eq!(bench.reason(300).await, NobodyReason::Refused(VerifyError::UnknownKey("k9".to_owned())));
}

#[tokio::test]
async fn rotated_keys_are_fetched_when_a_token_names_one() {
    let bench = Bench::new().await;
    assert_eq!(bench.principal_at(&bench.step(20, 30), 1).await.assurance(), Assurance::Verified);
    let rotated = Issuer::new("k2");
    bench.net.answer(KEYS, Reply::Body(rotated.jwks()));
    bench.mints_text(&rotated.sign(&Issuer::claims(&json!({}))));
    assert_eq!(bench.principal_at(&bench.step(20, 31), 1).await.assurance(), Assurance::Verified);
    assert_eq!(bench.net.count(KEYS), 2);
}

#[tokio::test]
async fn without_keys_nobody_is_verified() {
    let bench = Bench::new().await;
    bench.net.answer(KEYS, Reply::Status(500));
    assert_eq!(bench.reason(20).await, NobodyReason::NoKeys(IssuerFault::Refused(500)));
    let check = async || bench.workload.check_issuers().await.remove(0);
    assert_eq!(check().await.outcome, Err(IssuerFault::Refused(500)));
    bench.net.answer(KEYS, Reply::Body(bench.issuer.jwks()));
    let found = check().await;
    assert_eq!((found.provider, found.issuer.as_str()), (Provider::GitHub, testing::ISSUER));
    let health = found.outcome.unwrap();
    assert!(health.keys == 1 && health.date.is_some(), "{health:?}");
    assert_eq!(bench.principal_at(&bench.step(30, 31), 1).await.assurance(), Assurance::Verified);
}

#[tokio::test]
async fn a_step_is_asked_for_once_until_shortly_before_its_token_ends() {
    let bench = Arc::new(Bench::new().await);
    let mut together = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let bench = Arc::clone(&bench);
        together.spawn(async move { bench.principal_at(&bench.step(20, 30), 1).await.assurance() });
    }
    while let Some(assurance) = together.join_next().await {
        assert_eq!(assurance.unwrap(), Assurance::Verified);
    }
    assert_eq!(bench.net.count(MINT), 1);
    bench.principal_at(&bench.step(20, 30), 239).await;
    assert_eq!(bench.net.count(MINT), 1);

    // Time to renew, and the issuer is away: the last token counts until it ends, and no longer.
    bench.net.answer(MINT, Reply::Status(503));
    assert_eq!(bench.principal_at(&bench.step(20, 30), 250).await.assurance(), Assurance::Verified);
    assert_eq!(bench.principal_at(&bench.step(20, 30), 299).await.assurance(), Assurance::Verified);
    let ended = bench.principal_at(&bench.step(20, 30), 300).await;
    assert_eq!(ended.reason(), Some(&NobodyReason::NotIssued(IssuerFault::Refused(503))));

    // A refusal stands for seconds, then the next token counts.
    bench.mints(&json!({"exp": ISSUED_AT + 900}));
    assert_eq!(bench.principal_at(&bench.step(20, 30), 304).await.assurance(), Assurance::None);
    assert_eq!(bench.principal_at(&bench.step(20, 30), 305).await.expires(), Some(at(900)));
}

#[tokio::test]
async fn a_renewal_that_is_refused_does_not_leave_the_old_identity() {
    let bench = Bench::new().await;
    assert_eq!(bench.principal_at(&bench.step(20, 30), 1).await.assurance(), Assurance::Verified);
    bench.mints(&json!({"repository": "acme/web", "exp": ISSUED_AT + 900}));
    let principal = bench.principal_at(&bench.step(20, 30), 250).await;
    assert_eq!(principal.reason(), Some(&NobodyReason::Refused(VerifyError::OtherJob("repository"))));
}

#[tokio::test]
async fn a_second_identity_under_one_worker_is_refused() {
    let bench = Bench::new().await;
    assert_eq!(bench.principal_at(&bench.step(20, 30), 1).await.assurance(), Assurance::Verified);
    let second = Some(&NobodyReason::SecondIdentity);

    let other_run = [("GITHUB_RUN_ID", "4712")];
    bench.mints(&json!({"run_id": "4712"}));
    assert_eq!(bench.principal_at(&bench.step_with(20, 31, &other_run), 1).await.reason(), second);
    let observed = [("GITHUB_RUN_ID", "4712"), (REQUEST_URL, ""), (REQUEST_TOKEN, "")];
    assert_eq!(bench.principal_at(&bench.step_with(20, 32, &observed), 1).await.reason(), second);
    bench.mints(&json!({"sub": "repo:acme/etl:environment:production"}));
    assert_eq!(bench.principal_at(&bench.step(20, 33), 1).await.reason(), second);

    // Under another worker it is a job of its own.
    bench.mints(&json!({"run_id": "4712"}));
    assert_eq!(
        bench.principal_at(&bench.step_with(21, 34, &other_run), 1).await.assurance(),
        Assurance::Verified
    );
}

#[tokio::test]
async fn this_process_is_identified_and_is_no_job() {
    let bench = Bench::new().await;
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let owner = SocketOwner {
        pid: std::process::id(),
        tid: std::process::id(),
        uid: 0,
        gid: 0,
        cgroup_id: 1,
        netns_cookie: 1,
        socket_cookie: 1,
        start_ticks: None,
        standing: model::Standing::Outside,
        connected_at_ns: u64::try_from(uptime.tv_sec).unwrap() * 1_000_000_000
            + u64::try_from(uptime.tv_nsec).unwrap(),
        comm: String::new(),
    };
    let evidence = bench.workload.identify(&owner).await;
    assert_eq!(evidence.process().exe, std::env::current_exe().ok());
    assert!(!evidence.process().gone && evidence.process().namespaces.is_some());
    let principal = bench.principal_at(&evidence, 1).await;
    // The test may itself run in a container.
    let is_no_job =
        |reason: &NobodyReason| matches!(reason, NobodyReason::NoJob | NobodyReason::ContainerOfNoJob(_));
    assert!(principal.reason().is_some_and(is_no_job), "{:?}", principal.reason());
}
