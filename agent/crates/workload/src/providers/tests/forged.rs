//! What a hostile job can say of itself, and what comes of it: the rows of `docs/identity.md` and `docs/people.md`.
//!
//! A step that replaces itself, or writes into its own memory, is here a step that the made-up `/proc` shows with other
//! variables.

use super::*;

type Variables = &'static [(&'static str, &'static str)];

/// What a step leaves out, to have no token that could be asked for.
fn silenced(provider: Provider) -> Variables {
    match provider {
        Provider::GitHub | Provider::GitHubEnterprise => {
            &[("ACTIONS_ID_TOKEN_REQUEST_URL", ""), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")]
        }
        Provider::Buildkite => &[("BUILDKITE_AGENT_ACCESS_TOKEN", "")],
        Provider::Cursor => &[("CURSOR_AGENT_SOCKET", "")],
        Provider::GitLab | Provider::CircleCi | Provider::Jenkins | Provider::Kubernetes | Provider::Oidc => {
            &[]
        }
    }
}

/// Another job than the one that the runner states.
const LIES: [(Provider, Variables); 4] = [
    (Provider::GitHub, &[("GITHUB_REPOSITORY", "acme/crown-jewels")]),
    (Provider::GitHubEnterprise, &[("GITHUB_RUN_ID", "1")]),
    (Provider::CircleCi, &[("CIRCLE_PROJECT_ID", "66666666-eeee")]),
    (Provider::Jenkins, &[("JOB_URL", "https://jenkins.acme.example/job/crown-jewels/")]),
];

/// The first job's process, or the second's, whose step has no token.
fn without_token(host: &Host, lie: Variables, job: u32) -> Evidence {
    let evidence = host.evidence_as(&[silenced(host.provider), lie].concat(), None, job);
    if host.provider != Provider::Kubernetes {
        return evidence;
    }
    std::fs::remove_file(host.fake.root().join(format!("root{job}")).join(TOKEN_FILE)).unwrap();
    Evidence::of_made_up(host.workload.scene(), 40 + job)
}

async fn observed(host: &Host, evidence: &Evidence) -> Arc<Principal> {
    let principal = host.workload.principal(evidence, at(1)).await;
    assert_eq!(principal.assurance(), Assurance::Observed, "{:?}: {:?}", host.provider, principal.reason());
    assert!(principal.id().starts_with("observed:"), "{}", principal.id());
    principal
}

#[tokio::test]
async fn what_a_step_says_first_is_its_job_for_ever_and_never_more_than_observed() {
    for (provider, lie) in LIES {
        let host = Host::new(provider).await;
        let honest = observed(&host, &without_token(&host, &[], 0)).await;
        let lied = without_token(&host, lie, 0);
        assert_eq!(host.reason(&lied).await, NobodyReason::SecondIdentity, "{provider:?}");
        assert_eq!(observed(&host, &without_token(&host, &[], 0)).await.id(), honest.id());

        // One that lies from the beginning is believed, and has to stay with it.
        let liar = observed(&host, &without_token(&host, lie, 1)).await;
        let is_other = (liar.repository(), liar.run_id()) != (honest.repository(), honest.run_id());
        assert!(is_other, "{provider:?}: {liar:?}");
        let honest_now = without_token(&host, &[], 1);
        assert_eq!(host.reason(&honest_now).await, NobodyReason::SecondIdentity, "{provider:?}");
    }
}

#[tokio::test]
async fn what_a_step_says_does_not_bend_its_token() {
    for (provider, variable, lie, claim) in [
        (Provider::GitHub, "GITHUB_REPOSITORY", "acme/crown-jewels", "repository"),
        (Provider::GitHub, "GITHUB_RUN_ID", "1", "run_id"),
        (Provider::GitHub, "GITHUB_RUN_ATTEMPT", "2", "run_attempt"),
        (Provider::GitHubEnterprise, "GITHUB_REPOSITORY", "acme/crown-jewels", "repository"),
        (Provider::Buildkite, "BUILDKITE_PIPELINE_SLUG", "crown-jewels", "repository"),
        (Provider::Buildkite, "BUILDKITE_BUILD_NUMBER", "1", "run_id"),
        (Provider::CircleCi, "CIRCLE_PROJECT_ID", "66666666-eeee", "repository"),
        (Provider::CircleCi, "CIRCLE_PIPELINE_ID", "66666666-eeee", "run_id"),
        (Provider::Jenkins, "JOB_URL", "https://jenkins.acme.example/job/crown-jewels/", "repository"),
        (Provider::Jenkins, "BUILD_NUMBER", "1", "run_id"),
    ] {
        let host = Host::new(provider).await;
        let token = host.token(&json!({}));
        let evidence = host.evidence_as(&[(variable, lie)], Some(&token), 0);
        let expected = NobodyReason::Refused(VerifyError::OtherJob(claim));
        assert_eq!(host.reason(&evidence).await, expected, "{variable}");
    }
}

#[tokio::test]
async fn a_step_that_gives_its_token_up_is_less_than_it_was_and_nobody_else() {
    for provider in Provider::ALL {
        let host = Host::new(provider).await;
        let verified = host.with_token(&host.token(&json!({}))).await;
        assert_eq!(verified.assurance(), Assurance::Verified, "{provider:?}");
        let silent = without_token(&host, &[], 0);
        if !provider.states_jobs() {
            assert_eq!(host.reason(&silent).await, StatementError::Nothing.into(), "{provider:?}");
            continue;
        }
        if provider == Provider::Buildkite {
            // Each of its jobs has the credential, so without it there is no job.
            assert_eq!(host.reason(&silent).await, NobodyReason::BadRequestToken);
            continue;
        }
        let principal = observed(&host, &silent).await;
        assert_eq!(
            (principal.repository(), principal.run_id()),
            (verified.repository(), verified.run_id()),
            "{provider:?}"
        );
        for (_, lie) in LIES.into_iter().filter(|(of, _)| *of == provider) {
            let lied = without_token(&host, lie, 0);
            assert_eq!(host.reason(&lied).await, NobodyReason::SecondIdentity, "{provider:?}");
        }
    }
}

#[tokio::test]
async fn where_no_runner_speaks_no_variable_makes_somebody_of_a_job() {
    const SAID: Variables = &[
        ("GITHUB_REPOSITORY", "acme/etl"),
        ("GITHUB_RUN_ID", "4711"),
        ("CI_PROJECT_PATH", "acme/etl"),
        ("CI_PIPELINE_ID", "574"),
        ("CI_JOB_JWT", "eyJ.e30.x"),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ("JENKINS_URL", "https://jenkins.acme.example/"),
        ("CIRCLE_PROJECT_ID", "22222222-bbbb"),
    ];
    for provider in [Provider::GitLab, Provider::Kubernetes, Provider::Cursor, Provider::Oidc] {
        let host = Host::new(provider).await;
        let evidence = without_token(&host, SAID, 0);
        assert_eq!(host.reason(&evidence).await, StatementError::Nothing.into(), "{provider:?}");
    }
}

/// A row that is not stopped: Jenkins lets a pipeline set what its agent says.
#[tokio::test]
async fn a_jenkins_pipeline_with_anothers_token_that_sets_the_names_of_that_build_is_that_build() {
    let host = Host::new(Provider::Jenkins).await;
    let url = "https://jenkins.acme.example/job/crown-jewels/";
    let stolen = host.token(&json!({"sub": url, "build_number": 1}));
    let evidence = host.evidence_as(&[("JOB_URL", url), ("BUILD_NUMBER", "1")], Some(&stolen), 0);
    let principal = host.workload.principal(&evidence, at(1)).await;
    assert_eq!(principal.repository(), Some(url), "{:?}", principal.reason());
    // Only until the token ends, and not once the job was somebody else.
    assert_eq!(host.workload.principal(&evidence, at(331)).await.assurance(), Assurance::None);
    let host = Host::new(Provider::Jenkins).await;
    assert_eq!(host.with_token(&host.token(&json!({}))).await.assurance(), Assurance::Verified);
    let stolen = host.token(&json!({"sub": url, "build_number": 1}));
    let evidence = host.evidence_as(&[("JOB_URL", url), ("BUILD_NUMBER", "1")], Some(&stolen), 0);
    assert_eq!(host.reason(&evidence).await, NobodyReason::SecondIdentity);
}

/// A row that is not stopped: who has both what another job asks with and its own step's memory.
#[tokio::test]
async fn a_step_with_anothers_request_that_also_says_the_same_is_that_job_until_the_other_shows_itself() {
    let host = Host::new(Provider::GitHub).await;
    let token = host.token(&json!({"run_id": "1", "check_run_id": "9"}));
    // The request alone is not enough.
    assert_eq!(
        host.reason(&host.evidence(&token, 1)).await,
        NobodyReason::Refused(VerifyError::OtherJob("run_id"))
    );
    let as_the_other = |job| host.evidence_as(&[("GITHUB_RUN_ID", "1")], Some(&token), job);
    let thief = host.workload.principal(&as_the_other(0), at(1)).await;
    assert_eq!(thief.run_id(), Some("1"), "{:?}", thief.reason());
    host.next_step();
    let owner = as_the_other(1);
    assert_eq!(host.reason(&owner).await, NobodyReason::TokenOfOtherJob, "and so it is noticed");
}

/// A row that is not stopped without `claims`: nothing but a token's claims tells of what job it is.
#[tokio::test]
async fn a_token_of_an_earlier_job_counts_unless_claims_bind_it_to_this_hosts_runner() {
    for (runners, is_taken) in [(None, true), (Some("1"), true), (Some("2"), false)] {
        let claims = runners.map(|runner| ("runner_id".to_owned(), vec![runner.to_owned()]));
        let host = Host::bound(Provider::GitLab, claims.into_iter().collect()).await;
        let earlier = host.token(&json!({"job_id": "1"}));
        let principal = host.with_token(&earlier).await;
        let is_verified = principal.assurance() == Assurance::Verified;
        assert_eq!(is_verified, is_taken, "{runners:?}: {:?}", principal.reason());
    }
}

#[tokio::test]
async fn a_socket_of_ones_own_gives_no_more_than_a_token_that_one_has() {
    let host = Host::new(Provider::Cursor).await;
    let own = Mint::new("k1").sign(&host.claims(&json!({"cloud_agent_id": "bc-1"})));
    let evidence = host.evidence(&own, 0);
    assert_eq!(host.reason(&evidence).await, NobodyReason::Refused(VerifyError::BadSignature));
    let anothers = host.token(&json!({}));
    assert_eq!(
        host.workload.principal(&host.evidence(&anothers, 1), at(1)).await.assurance(),
        Assurance::Verified
    );
    host.next_step();
    assert_eq!(host.reason(&host.evidence(&anothers, 0)).await, NobodyReason::TokenOfOtherJob);
}
