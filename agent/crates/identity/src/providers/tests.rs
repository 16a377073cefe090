//! What each provider's claims become, and what of them is refused: a table, of which the larger part is refusals.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use model::Timestamp;
use serde_json::{Value, json};

use crate::{
    Assurance, Expectation, Job, ObservedJob, Principal, Provider, RawToken, StatementError, TokenShapeError,
    VerifyError, route,
    testing::{AUDIENCE, ISSUED_AT, Issuer, expectation_of, variables_of},
    verify,
};

const NOW: i64 = ISSUED_AT + 1;

fn statement_with(
    provider: Provider,
    changes: &[(&str, &str)],
) -> Result<Option<ObservedJob>, StatementError> {
    ObservedJob::read(provider, |name| {
        let changed = changes.iter().find(|(changed, _)| *changed == name);
        changed
            .or_else(|| variables_of(provider).iter().find(|(known, _)| *known == name))
            .map(|(_, text)| *text)
    })
}

fn check_token(provider: Provider, issuer: &Issuer, token: &str) -> Result<Principal, VerifyError> {
    let token = RawToken::new(token.to_owned()).unwrap();
    let statement = statement_with(provider, &[]).unwrap();
    let now = Timestamp::from_unix_seconds(NOW);
    verify(&token, &expectation_of(provider), statement.as_ref(), &issuer.keys(), now)
}

fn check(provider: Provider, changes: &Value) -> Result<Principal, VerifyError> {
    let issuer = Issuer::new("k1");
    check_token(provider, &issuer, &issuer.sign(&Issuer::claims_of(provider, changes)))
}

fn job_of(provider: Provider) -> Job {
    check(provider, &json!({})).unwrap().job_facts().unwrap().clone()
}

#[test]
fn each_providers_token_makes_a_verified_principal_with_an_id_of_its_own() {
    let ids = Provider::ALL.map(|provider| {
        let principal = check(provider, &json!({})).unwrap();
        assert_eq!(principal.assurance(), Assurance::Verified);
        assert_eq!(principal.provider(), Some(provider));
        assert!(
            principal.claims().unwrap().contains_key("sub")
                && !principal.claims().unwrap().contains_key("exp")
        );
        principal.id()
    });
    assert_eq!(
        ids,
        [
            "github:repo:acme/etl:ref:refs/heads/main",
            "github-enterprise:repo:acme/etl:ref:refs/heads/main",
            "gitlab:project_path:acme/data/etl:ref_type:branch:ref:main",
            "buildkite:organization:acme:pipeline:etl:ref:refs/heads/main:commit:0f0f:step:load",
            "circleci:org/11111111-aaaa/project/22222222-bbbb/user/33333333-cccc/vcs-origin/github.com/acme/etl",
            "jenkins:https://jenkins.acme.example/job/etl/",
            "kubernetes:system:serviceaccount:data:etl",
            "cursor:user:42",
            "oidc:job-4711",
        ]
    );
}

#[test]
fn claims_become_the_same_attributes_whoever_makes_them() {
    let gitlab = job_of(Provider::GitLab);
    assert_eq!((gitlab.repository.as_str(), gitlab.run_id.as_str()), ("acme/data/etl", "574"));
    assert_eq!((gitlab.git_ref.as_deref(), gitlab.actor.as_deref()), (Some("refs/heads/main"), Some("mona")));
    assert_eq!((gitlab.job.as_deref(), gitlab.instance.as_deref()), (Some("302"), Some("302")));
    assert_eq!(
        (gitlab.environment.as_deref(), gitlab.event.as_deref()),
        (Some("production"), Some("schedule"))
    );
    assert_eq!(gitlab.groups, ["acme", "acme/data"]);

    let buildkite = job_of(Provider::Buildkite);
    assert_eq!((buildkite.repository.as_str(), buildkite.run_id.as_str()), ("acme/etl", "9"));
    assert_eq!(
        (buildkite.job.as_deref(), buildkite.git_ref.as_deref()),
        (Some("load"), Some("refs/heads/main"))
    );

    let circleci = job_of(Provider::CircleCi);
    assert_eq!((circleci.repository.as_str(), circleci.run_id.as_str()), ("22222222-bbbb", "44444444-dddd"));
    assert_eq!(circleci.groups, ["55555555-eeee"]);

    let jenkins = job_of(Provider::Jenkins);
    assert_eq!(
        (jenkins.repository.as_str(), jenkins.run_id.as_str()),
        ("https://jenkins.acme.example/job/etl/", "7")
    );

    let pod = job_of(Provider::Kubernetes);
    assert_eq!((pod.workflow.as_deref(), pod.job.as_deref()), (Some("data/etl"), Some("etl-x2x")));
    assert_eq!((pod.repository.as_str(), pod.run_id.as_str()), ("", "66666666-ffff"));

    let cursor = job_of(Provider::Cursor);
    assert_eq!((cursor.actor.as_deref(), cursor.run_id.as_str()), (Some("user:42"), "bc-88888888"));
    assert_eq!(cursor.groups, ["team:7"]);
    assert_eq!(job_of(Provider::Oidc).groups, ["data-eng"]);
}

#[test]
fn an_older_gitlab_has_a_ref_in_two_parts() {
    for (kind, expected) in [("branch", "refs/heads/main"), ("tag", "refs/tags/main")] {
        let principal = check(Provider::GitLab, &json!({"ref_path": null, "ref_type": kind})).unwrap();
        assert_eq!(principal.git_ref(), Some(expected));
    }
}

#[test]
fn whoever_made_it_a_token_that_is_not_in_order_is_refused() {
    let at = Timestamp::from_unix_seconds;
    for provider in Provider::ALL {
        let refused = [
            (json!({"iss": "https://evil.example"}), VerifyError::OtherIssuer),
            (json!({"aud": "sigstore"}), VerifyError::OtherAudience),
            (json!({"aud": null}), VerifyError::MissingClaim("aud")),
            (json!({"exp": ISSUED_AT - 60}), VerifyError::Expired(at(ISSUED_AT - 60))),
            (json!({"nbf": ISSUED_AT + 60}), VerifyError::NotYetValid(at(ISSUED_AT + 60))),
            (json!({"sub": null}), VerifyError::MissingClaim("sub")),
        ];
        for (changes, expected) in refused {
            assert_eq!(check(provider, &changes).unwrap_err(), expected, "{provider:?} {changes}");
        }
        let (issuer, claims) = (Issuer::new("k1"), Issuer::claims_of(provider, &json!({})));
        let unknown = Issuer::new("k9").sign(&claims);
        let expected = VerifyError::UnknownKey("k9".to_owned());
        assert_eq!(check_token(provider, &issuer, &unknown).unwrap_err(), expected);
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k1".to_owned());
        let confused = encode(&header, &claims, &EncodingKey::from_secret(issuer.jwks().as_bytes())).unwrap();
        assert_eq!(check_token(provider, &issuer, &confused).unwrap_err(), VerifyError::OtherAlgorithm);
        let (_, rest) = unknown.split_once('.').unwrap();
        // {"alg":"none","typ":"JWT","kid":"k1"}
        let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoiazEifQ.{rest}");
        assert_eq!(check_token(provider, &issuer, &none).unwrap_err(), VerifyError::BadHeader);
        let long = issuer.sign(&Issuer::claims_of(provider, &json!({"x": "y".repeat(RawToken::BYTES_MAX)})));
        assert!(matches!(RawToken::new(long), Err(TokenShapeError::TooLong { .. })));
    }
}

#[test]
fn claims_that_name_the_job_must_be_of_their_form() {
    let cases = [
        (Provider::GitLab, json!({"project_path": "etl"}), VerifyError::BadClaim("project_path")),
        (Provider::GitLab, json!({"project_path": "acme/../etl"}), VerifyError::BadClaim("project_path")),
        (Provider::GitLab, json!({"pipeline_id": null}), VerifyError::MissingClaim("pipeline_id")),
        (Provider::GitLab, json!({"job_id": "x"}), VerifyError::BadClaim("job_id")),
        (Provider::GitLab, json!({"groups_direct": "acme"}), VerifyError::BadClaim("groups_direct")),
        (
            Provider::Buildkite,
            json!({"organization_slug": "a/b"}),
            VerifyError::BadClaim("organization_slug"),
        ),
        (Provider::Buildkite, json!({"job_id": null}), VerifyError::MissingClaim("job_id")),
        (
            Provider::CircleCi,
            json!({"oidc.circleci.com/project-id": null}),
            VerifyError::MissingClaim("oidc.circleci.com/project-id"),
        ),
        (Provider::Jenkins, json!({"build_number": null}), VerifyError::MissingClaim("build_number")),
        (Provider::Kubernetes, json!({"kubernetes.io": null}), VerifyError::MissingClaim("kubernetes.io")),
        (Provider::Kubernetes, json!({"kubernetes.io": "x"}), VerifyError::BadClaim("kubernetes.io")),
        (
            // An old one that lives in a secret, and is bound to no pod.
            Provider::Kubernetes,
            json!({"kubernetes.io": {"namespace": "data", "serviceaccount": {"name": "etl"}}}),
            VerifyError::MissingClaim("pod"),
        ),
        (Provider::Cursor, json!({"cloud_agent_id": null}), VerifyError::MissingClaim("cloud_agent_id")),
    ];
    for (provider, changes, expected) in cases {
        assert_eq!(check(provider, &changes).unwrap_err(), expected, "{provider:?} {changes}");
    }
}

#[test]
fn a_token_of_another_job_than_the_runner_states_is_refused() {
    let cases = [
        (Provider::GitHub, json!({"run_id": "4712"}), "run_id"),
        (Provider::GitHubEnterprise, json!({"repository": "acme/web"}), "repository"),
        (Provider::Buildkite, json!({"pipeline_slug": "web"}), "repository"),
        (Provider::Buildkite, json!({"build_number": 10}), "run_id"),
        (Provider::Buildkite, json!({"job_id": "0184990a-0000"}), "job"),
        (Provider::CircleCi, json!({"oidc.circleci.com/project-id": "9"}), "repository"),
        (Provider::CircleCi, json!({"oidc.circleci.com/pipeline-id": "9"}), "run_id"),
        (Provider::Jenkins, json!({"sub": "https://jenkins.acme.example/job/web/"}), "repository"),
        (Provider::Jenkins, json!({"build_number": 8}), "run_id"),
    ];
    for (provider, changes, difference) in cases {
        assert_eq!(check(provider, &changes).unwrap_err(), VerifyError::OtherJob(difference), "{changes}");
    }
    // An older token of CircleCI does not name its pipeline.
    assert!(check(Provider::CircleCi, &json!({"oidc.circleci.com/pipeline-id": null})).is_ok());
}

#[test]
fn a_token_must_have_the_claims_that_the_operator_asks_for() {
    let issuer = Issuer::new("k1");
    let with = |provider: Provider, name: &str, values: &[&str]| {
        let token = RawToken::new(issuer.sign(&Issuer::claims_of(provider, &json!({})))).unwrap();
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let expected = Expectation { claims: vec![(name.to_owned(), values)], ..expectation_of(provider) };
        verify(&token, &expected, None, &issuer.keys(), Timestamp::from_unix_seconds(NOW)).map(drop)
    };
    assert_eq!(with(Provider::GitLab, "runner_id", &["1", "2"]), Ok(()));
    assert_eq!(with(Provider::Kubernetes, "kubernetes.io.node.name", &["runner-7"]), Ok(()));
    for (provider, name, value) in [
        (Provider::GitLab, "runner_id", "2"),
        (Provider::GitLab, "runner", "1"),
        (Provider::Kubernetes, "kubernetes.io.node.name", "runner-8"),
        (Provider::Kubernetes, "kubernetes.io", "runner-7"),
    ] {
        assert_eq!(with(provider, name, &[value]), Err(VerifyError::OtherClaim(name.to_owned())));
    }
}

#[test]
fn a_statement_is_whole_or_none() {
    for provider in Provider::ALL {
        let stated = statement_with(provider, &[]).unwrap();
        assert_eq!(stated.is_some(), provider.states_jobs(), "{provider:?}");
        assert_eq!(ObservedJob::read(provider, |_| None), Ok(None), "{provider:?}");
    }
    let broken = [
        (Provider::Buildkite, "BUILDKITE_BUILD_NUMBER", "x"),
        (Provider::Buildkite, "BUILDKITE_PIPELINE_SLUG", "a/b"),
        (Provider::CircleCi, "CIRCLE_PIPELINE_ID", "a b"),
        (Provider::Jenkins, "JOB_URL", "etl"),
        (Provider::Jenkins, "BUILD_NUMBER", "-1"),
    ];
    for (provider, name, value) in broken {
        assert_eq!(statement_with(provider, &[(name, value)]), Err(StatementError::Malformed(name)));
        assert_eq!(statement_with(provider, &[(name, "")]), Err(StatementError::Missing(name)));
    }
}

#[test]
fn a_token_is_routed_by_what_it_says_and_believed_in_nothing() {
    let issuer = Issuer::new("k1");
    let routed = |changes: &Value| {
        let token = issuer.sign(&Issuer::claims_of(Provider::GitLab, changes));
        let routing = route(&RawToken::new(token).unwrap(), &expectation_of(Provider::GitLab));
        (routing.is_from, routing.is_for)
    };
    assert_eq!(routed(&json!({})), (true, true));
    assert_eq!(routed(&json!({"aud": ["x", AUDIENCE]})), (true, true));
    assert_eq!(routed(&json!({"aud": "vault"})), (true, false));
    assert_eq!(routed(&json!({"iss": "https://evil.example"})), (false, true));
    let noise = RawToken::new("aa.bb.cc".to_owned()).unwrap();
    assert!(!route(&noise, &expectation_of(Provider::GitLab)).is_from);
}
