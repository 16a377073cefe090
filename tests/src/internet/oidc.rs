//! GitHub's and Buildkite's token services: signing keys, and tokens for jobs that show their request token. The issuers of
//! other CI systems publish keys here as well; their tokens are made in the same way, by whoever plays their runner.
//!
//! What a job is (repository, ref, workflow, actor ...) is a file `jobs/<request token>.json` in the internet's
//! folder, written by whoever starts the job: claims as its provider names them. Token id and times are added here, the
//! audience and the end where the claims do not say otherwise, and the issuer where they name none of the others. A request
//! token without a file is nobody's.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::{Method, Request, StatusCode, header};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::addresses::{
    BUILDKITE_HOST, CIRCLECI_HOST, CIRCLECI_ORGANIZATION, CLUSTER_HOST, CURSOR_HOST, GITLAB_HOST,
    JENKINS_HOST, OIDC_ISSUER, OIDC_PIPELINES_HOST,
};
use super::serve::{self, Caller, Reply, Site};
use super::snowflake::query_string;

/// The folder of jobs' claims in the internet's folder.
pub(super) const JOBS_DIR: &str = "jobs";
const TOKEN_VALIDITY_SECONDS: u64 = 5 * 60;
/// GitHub dates its tokens back, for hosts whose clock is slow.
const TOKEN_BACKDATED_SECONDS: u64 = 5 * 60;
/// A request token becomes a file name.
const REQUEST_TOKEN_BYTES_MAX: usize = 200;
const DEFAULT_AUDIENCE: &str = "https://github.com/acme";

/// The issuer with its one signing key, made at start.
pub(super) struct Issuer {
    jobs: PathBuf,
    key: EncodingKey,
    header: Header,
    keys: Value,
}

impl Issuer {
    /// Makes the signing key (RSA 2048, as GitHub's). Claims are looked for in `dir`.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).context("signing key")?;
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes())?;
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(Uuid::new_v4().to_string());
        // There is no certificate to take a thumbprint of; verifiers go by `kid`.
        header.x5t =
            Sha256::digest(pair.public_key_raw()).get(..20).map(|bytes| URL_SAFE_NO_PAD.encode(bytes));

        let mut public = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        public.common.key_id.clone_from(&header.kid);
        public.common.x509_sha1_fingerprint.clone_from(&header.x5t);
        let keys = serde_json::to_value(JwkSet { keys: vec![public] })?;
        Ok(Self { jobs: dir.join(JOBS_DIR), key, header, keys })
    }

    /// A token for the job whose request token this is; `None` for nobody's.
    fn mint(&self, request_token: &str, audience: Option<&str>, now: u64) -> Option<Result<String>> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_name = request_token.len() <= REQUEST_TOKEN_BYTES_MAX
            && request_token.starts_with(|c: char| c.is_ascii_alphanumeric())
            && request_token.chars().all(plain);
        let job = is_name.then(|| std::fs::read(self.jobs.join(format!("{request_token}.json"))).ok())??;
        Some(self.sign(&job, audience.unwrap_or(DEFAULT_AUDIENCE), now))
    }

    fn sign(&self, job: &[u8], audience: &str, now: u64) -> Result<String> {
        let mut claims: Map<String, Value> = serde_json::from_slice(job).context("claims of the job")?;
        let named = claims.get("iss").and_then(Value::as_str);
        let is_others = OTHERS.iter().any(|host| named == Some(published(host).issuer.as_str()));
        if !is_others {
            claims.insert("iss".to_owned(), json!(OIDC_ISSUER));
        }
        let ours = [
            ("jti", json!(Uuid::new_v4().to_string())),
            ("iat", json!(now)),
            ("nbf", json!(now.saturating_sub(TOKEN_BACKDATED_SECONDS))),
        ];
        claims.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        claims.entry("aud").or_insert_with(|| json!(audience));
        claims.entry("exp").or_insert_with(|| json!(now + TOKEN_VALIDITY_SECONDS));
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.key)?)
    }

    /// A token for whoever shows what its runner gave it, in the answer's member of this name.
    fn token(
        &self,
        request: &Request<Bytes>,
        scheme: &str,
        audience: Option<&str>,
        member: &'static str,
    ) -> Reply {
        let authorization =
            request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = authorization
            .and_then(|value| value.split_once(' '))
            .filter(|(shown, _)| shown.eq_ignore_ascii_case(scheme))
            .map(|(_, token)| token);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match shown.and_then(|token| self.mint(token, audience, now)) {
            Some(Ok(token)) => {
                let answer = Map::from_iter(
                    [("count", json!(token.len())), (member, json!(token))]
                        .map(|(name, value)| (name.to_owned(), value)),
                );
                serve::json(StatusCode::OK, &answer.into())
            }
            Some(Err(error)) => {
                serve::json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "message": format!("{error:#}") }))
            }
            None => {
                serve::json(StatusCode::UNAUTHORIZED, &json!({ "message": "this request token is no job's" }))
            }
        }
    }
}

impl Site for Issuer {
    async fn answer(&self, caller: &Caller, request: Request<Bytes>) -> Reply {
        let path = request.uri().path();
        if caller.server_name == OIDC_PIPELINES_HOST {
            if request.method() == Method::GET && path.ends_with("/idtoken") {
                let audience = query_string::value(request.uri(), "audience");
                return self.token(&request, "bearer", audience.as_deref(), "value");
            }
        } else if caller.server_name == BUILDKITE_HOST && request.method() == Method::POST {
            if path.starts_with("/v3/jobs/") && path.ends_with("/oidc/tokens") {
                let asked: Value = serde_json::from_slice(request.body()).unwrap_or_default();
                let audience = asked.get("audience").and_then(Value::as_str);
                return self.token(&request, "token", audience, "token");
            }
        } else {
            let Published { issuer, below, keys } = published(&caller.server_name);
            if path.strip_prefix(&below) == Some("/.well-known/openid-configuration") {
                return serve::json(StatusCode::OK, &discovery(&issuer, keys));
            }
            if path.strip_prefix(&below) == Some(keys) {
                return serve::json(StatusCode::OK, &self.keys);
            }
        }
        serve::json(StatusCode::NOT_FOUND, &json!({ "message": "nothing is here" }))
    }
}

/// Hosts of issuers besides GitHub's.
const OTHERS: [&str; 6] =
    [GITLAB_HOST, CLUSTER_HOST, BUILDKITE_HOST, CIRCLECI_HOST, JENKINS_HOST, CURSOR_HOST];

/// An issuer as it is published.
struct Published {
    issuer: String,
    /// The path of its name.
    below: String,
    /// Where its keys are, below that.
    keys: &'static str,
}

/// The issuer on a host.
fn published(host: &str) -> Published {
    let (below, keys) = match host {
        GITLAB_HOST => (String::new(), "/oauth/discovery/keys"),
        CLUSTER_HOST => (String::new(), "/openid/v1/jwks"),
        BUILDKITE_HOST | CURSOR_HOST => (String::new(), "/.well-known/jwks"),
        CIRCLECI_HOST => (format!("/org/{CIRCLECI_ORGANIZATION}"), "/.well-known/jwks-pub.json"),
        JENKINS_HOST => ("/oidc".to_owned(), "/jwks"),
        _ => {
            let (issuer, below) = (OIDC_ISSUER.to_owned(), String::new());
            return Published { issuer, below, keys: "/.well-known/jwks" };
        }
    };
    Published { issuer: format!("https://{host}{below}"), below, keys }
}

fn discovery(issuer: &str, keys: &str) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}{keys}"),
        "subject_types_supported": ["public", "pairwise"],
        "response_types_supported": ["id_token"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid"],
    })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    fn issuer_with_job(request_token: &str) -> (tempfile::TempDir, Issuer) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(JOBS_DIR)).unwrap();
        let claims = json!({ "sub": "repo:acme/etl:ref:refs/heads/main", "run_id": "4711", "iss": "https://evil.test" });
        std::fs::write(dir.path().join(JOBS_DIR).join(format!("{request_token}.json")), claims.to_string())
            .unwrap();
        std::fs::write(dir.path().join("secret.json"), "{}").unwrap();
        let issuer = Issuer::create(dir.path()).unwrap();
        (dir, issuer)
    }

    #[test]
    fn a_token_verifies_against_the_published_keys_and_carries_the_jobs_claims() {
        let (_dir, issuer) = issuer_with_job("job-1");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let token = issuer.mint("job-1", Some("snowfence"), now).unwrap().unwrap();

        let keys: JwkSet = serde_json::from_value(issuer.keys.clone()).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
        assert_eq!(header.x5t, key.common.x509_sha1_fingerprint);
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_audience(&["snowfence"]);
        rules.set_issuer(&[OIDC_ISSUER]);
        let claims: Value =
            jsonwebtoken::decode(&token, &DecodingKey::from_jwk(key).unwrap(), &rules).unwrap().claims;
        assert_eq!(claims["sub"], "repo:acme/etl:ref:refs/heads/main");
        assert_eq!(claims["run_id"], "4711");
        assert_eq!(claims["exp"].as_u64().unwrap() - now, TOKEN_VALIDITY_SECONDS);

        let again = issuer.mint("job-1", None, now).unwrap().unwrap();
        assert_ne!(again, token);
        assert!(jsonwebtoken::decode::<Value>(&again, &DecodingKey::from_jwk(key).unwrap(), &rules).is_err());
    }

    #[test]
    fn a_request_token_without_a_job_is_nobodys() {
        let (_dir, issuer) = issuer_with_job("job-1");
        for token in
            ["", "job-2", "../secret", "..", "job-1.json", "job-1/", "JOB-1", "job 1", &"x".repeat(201)]
        {
            assert!(issuer.mint(token, None, 0).is_none(), "{token}");
        }
    }
}
