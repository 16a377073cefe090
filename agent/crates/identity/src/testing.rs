//! An issuer for tests: a key pair of its own, and tokens that are really signed with it. The only way from here to
//! a verified principal is the same [`verify()`] that the agent uses.

#![allow(clippy::expect_used, reason = "helpers of tests; a failure here is a failed test")]

use std::time::Duration;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use model::Timestamp;
use serde_json::{Value, json};

use crate::{Expectation, KeySet, ObservedJob, Principal, Provider, RawToken, verify};

/// When tokens of [`Issuer::claims`] are made, in seconds after the Unix epoch; they last five minutes.
pub const ISSUED_AT: i64 = 1_700_000_000;
/// The issuer named by [`Issuer::claims`] and [`expectation`].
pub const ISSUER: &str = "https://token.actions.githubusercontent.com";
/// The audience named by [`Issuer::claims`] and [`expectation`].
pub const AUDIENCE: &str = "snowfence";

/// A GitHub-like issuer with one key.
pub struct Issuer {
    kid: String,
    key: EncodingKey,
    algorithm: Algorithm,
}

/// What precedes the PKCS #1 key in a PKCS #8 encoding of a 2,048 bit RSA key: two sequence heads of four bytes,
/// the version, the algorithm identifier, and the head of the octet string.
const PKCS8_RSA_HEAD_BYTES: usize = 26;

impl Issuer {
    /// Makes an ES256 key with this id: quick.
    #[must_use]
    pub fn new(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key pair is made");
        let pkcs8 = pair.to_pkcs8v1().expect("a key pair has an encoding");
        Self {
            kid: kid.to_owned(),
            key: EncodingKey::from_ec_der(pkcs8.as_ref()),
            algorithm: Algorithm::ES256,
        }
    }

    /// Makes an RS256 key with this id, as GitHub has them: slower.
    #[must_use]
    pub fn rsa(kid: &str) -> Self {
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("a key pair is made");
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().expect("a key pair has an encoding");
        let pkcs1 = pkcs8.as_ref().get(PKCS8_RSA_HEAD_BYTES..).expect("a key follows the head");
        Self { kid: kid.to_owned(), key: EncodingKey::from_rsa_der(pkcs1), algorithm: Algorithm::RS256 }
    }

    /// The public key as one entry of a key set.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a public key");
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).expect("a key is JSON")
    }

    /// The key set as published.
    #[must_use]
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    /// The key set as parsed.
    #[must_use]
    pub fn keys(&self) -> KeySet {
        KeySet::parse(&self.jwks()).expect("our own key set parses")
    }

    /// The claims of run 4711 of `acme/etl` on `main`, with `changes` laid over them; null removes a claim.
    #[must_use]
    pub fn claims(changes: &Value) -> Value {
        Self::claims_of(Provider::GitHub, changes)
    }

    /// The claims of a job as this provider documents them, from [`ISSUER`] and for [`AUDIENCE`] whoever it is.
    #[must_use]
    pub fn claims_of(provider: Provider, changes: &Value) -> Value {
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "jti": "1",
            "iat": ISSUED_AT, "nbf": ISSUED_AT, "exp": ISSUED_AT + 300,
        });
        lay_over(&mut claims, &own_claims(provider));
        lay_over(&mut claims, changes);
        claims
    }

    /// Signs claims with the header an issuer uses.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        self.sign_with(&header, claims)
    }

    /// Signs claims under any header.
    #[must_use]
    pub fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).expect("claims are signed")
    }
}

/// Puts members into an object; null removes one.
fn lay_over(claims: &mut Value, changes: &Value) {
    if let (Some(claims), Some(changes)) = (claims.as_object_mut(), changes.as_object()) {
        for (name, value) in changes {
            claims.insert(name.clone(), value.clone());
        }
        claims.retain(|_, value| !value.is_null());
    }
}

/// What a provider's tokens say besides what all say.
fn own_claims(provider: Provider) -> Value {
    match provider {
        Provider::GitHub | Provider::GitHubEnterprise => json!({
            "sub": "repo:acme/etl:ref:refs/heads/main", "repository": "acme/etl", "repository_owner": "acme", "ref": "refs/heads/main", "sha": "0f0f",
            "workflow": "nightly", "workflow_ref": "acme/etl/.github/workflows/nightly.yml@refs/heads/main",
            "run_id": "4711", "run_attempt": "1", "actor": "mona", "environment": "production",
            "event_name": "schedule",
        }),
        Provider::GitLab => json!({
            "sub": "project_path:acme/data/etl:ref_type:branch:ref:main", "namespace_path": "acme/data",
            "project_path": "acme/data/etl", "project_id": "20", "user_login": "mona", "pipeline_id": "574",
            "pipeline_source": "schedule", "job_id": "302", "ref": "main", "ref_type": "branch",
            "ref_path": "refs/heads/main", "ref_protected": "true", "environment": "production",
            "groups_direct": ["acme", "acme/data"], "runner_id": 1, "runner_environment": "self-hosted",
            "sha": "0f0f", "ci_config_ref_uri": "gitlab.com/acme/data/etl//.gitlab-ci.yml@refs/heads/main",
        }),
        Provider::Buildkite => json!({
            "sub": "organization:acme:pipeline:etl:ref:refs/heads/main:commit:0f0f:step:load",
            "organization_slug": "acme", "pipeline_slug": "etl", "build_number": 9, "build_branch": "main",
            "build_commit": "0f0f", "build_source": "schedule", "step_key": "load",
            "job_id": "0184990a-477b-4fa8-9968-496074483cee", "agent_id": "0184990a-4782-42b5-afc1-16715b10b8ff",
        }),
        Provider::CircleCi => json!({
            "sub": "org/11111111-aaaa/project/22222222-bbbb/user/33333333-cccc/vcs-origin/github.com/acme/etl",
            "oidc.circleci.com/project-id": "22222222-bbbb", "oidc.circleci.com/org-id": "11111111-aaaa",
            "oidc.circleci.com/pipeline-id": "44444444-dddd", "oidc.circleci.com/vcs-ref": "refs/heads/main",
            "oidc.circleci.com/context-ids": ["55555555-eeee"],
        }),
        Provider::Jenkins => json!({ "sub": "https://jenkins.acme.example/job/etl/", "build_number": 7 }),
        Provider::Kubernetes => json!({
            "sub": "system:serviceaccount:data:etl",
            "kubernetes.io": {
                "namespace": "data", "node": { "name": "runner-7" },
                "pod": { "name": "etl-x2x", "uid": "66666666-ffff" },
                "serviceaccount": { "name": "etl", "uid": "77777777-abab" },
            },
        }),
        Provider::Cursor => json!({
            "sub": "user:42", "team_id": 7, "cloud_agent_id": "bc-88888888", "agent_runtime": "self_hosted",
        }),
        Provider::Oidc => json!({ "sub": "job-4711", "repository": "acme/etl", "groups": ["data-eng"] }),
    }
}

/// The variables by which this provider's runner tells a step of the job of [`Issuer::claims_of`].
#[must_use]
pub fn variables_of(provider: Provider) -> &'static [(&'static str, &'static str)] {
    match provider {
        Provider::GitHub => &[("GITHUB_REPOSITORY", "acme/etl"), ("GITHUB_RUN_ID", "4711")],
        Provider::GitHubEnterprise => &[
            ("GITHUB_REPOSITORY", "acme/etl"),
            ("GITHUB_RUN_ID", "4711"),
            ("GITHUB_SERVER_URL", "https://ghes.acme.example"),
        ],
        Provider::Buildkite => &[
            ("BUILDKITE_ORGANIZATION_SLUG", "acme"),
            ("BUILDKITE_PIPELINE_SLUG", "etl"),
            ("BUILDKITE_BUILD_NUMBER", "9"),
            ("BUILDKITE_JOB_ID", "0184990a-477b-4fa8-9968-496074483cee"),
        ],
        Provider::CircleCi => {
            &[("CIRCLE_PROJECT_ID", "22222222-bbbb"), ("CIRCLE_PIPELINE_ID", "44444444-dddd")]
        }
        Provider::Jenkins => &[
            ("JENKINS_URL", "https://jenkins.acme.example/"),
            ("JOB_URL", "https://jenkins.acme.example/job/etl/"),
            ("BUILD_NUMBER", "7"),
        ],
        Provider::GitLab | Provider::Kubernetes | Provider::Cursor | Provider::Oidc => &[],
    }
}

/// What [`Issuer::claims`] fulfil.
#[must_use]
pub fn expectation() -> Expectation {
    expectation_of(Provider::GitHub)
}

/// What [`Issuer::claims_of`] fulfil.
#[must_use]
pub fn expectation_of(provider: Provider) -> Expectation {
    Expectation {
        provider,
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        claims: Vec::new(),
        leeway: Duration::from_secs(30),
    }
}

/// A verified GitHub principal: the claims of [`Issuer::claims`] with `changes`, signed, and verified a second later.
///
/// # Panics
/// When those claims are refused.
#[must_use]
pub fn verified(changes: &Value) -> Principal {
    let statement = statement(&Issuer::claims(changes));
    verified_with(Provider::GitHub, changes, Some(&statement))
}

/// The same of any provider, without anything that a runner stated: the claims of [`Issuer::claims_of`].
///
/// # Panics
/// When those claims are refused.
#[must_use]
pub fn verified_by(provider: Provider, changes: &Value) -> Principal {
    verified_with(provider, changes, None)
}

fn verified_with(provider: Provider, changes: &Value, statement: Option<&ObservedJob>) -> Principal {
    let issuer = Issuer::new("test");
    let token = issuer.sign(&Issuer::claims_of(provider, changes));
    let token = RawToken::new(token).expect("a signed token has the shape of one");
    let now = Timestamp::from_unix_seconds(ISSUED_AT + 1);
    verify(&token, &expectation_of(provider), statement, &issuer.keys(), now)
        .expect("the claims are in order")
}

/// An observed GitHub principal for the same job.
#[must_use]
pub fn observed(changes: &Value) -> Principal {
    Principal::observed(statement(&Issuer::claims(changes)))
}

/// What the runner states about the job of these claims.
///
/// # Panics
/// When the claims name no job.
#[must_use]
pub fn statement(claims: &Value) -> ObservedJob {
    ObservedJob::github(|variable| {
        let claim = match variable {
            "GITHUB_REPOSITORY" => "repository",
            "GITHUB_RUN_ID" => "run_id",
            "GITHUB_RUN_ATTEMPT" => "run_attempt",
            "GITHUB_WORKFLOW" => "workflow",
            "GITHUB_WORKFLOW_REF" => "workflow_ref",
            "GITHUB_REF" => "ref",
            "GITHUB_SHA" => "sha",
            "GITHUB_ACTOR" => "actor",
            "GITHUB_EVENT_NAME" => "event_name",
            "GITHUB_JOB" => "job",
            _ => return None,
        };
        claims.get(claim)?.as_str()
    })
    .expect("the claims name a job")
}
