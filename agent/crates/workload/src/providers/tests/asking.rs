//! Tokens that are asked for over the network: GitHub and Buildkite.

use super::*;

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
