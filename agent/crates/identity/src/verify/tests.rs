//! What [`verify`] takes and what it refuses, with tokens that were really signed.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::{
    Assurance,
    testing::{ISSUED_AT, Issuer, expectation, statement, verified},
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(ISSUED_AT + seconds)
}

/// Verifies a token text as run 4711 of acme/etl presents it, one second after it was made.
fn check(token: &str, keys: &KeySet) -> Result<Principal, VerifyError> {
    check_at(token, keys, at(1))
}

fn check_at(token: &str, keys: &KeySet, now: Timestamp) -> Result<Principal, VerifyError> {
    let statement = statement(&Issuer::claims(&json!({})));
    verify(&RawToken::new(token.to_owned()).unwrap(), &expectation(), Some(&statement), keys, now)
}

fn check_claims(changes: Value) -> Result<Principal, VerifyError> {
    let issuer = Issuer::new("k1");
    check(&issuer.sign(&Issuer::claims(&changes)), &issuer.keys())
}

#[test]
fn a_token_in_order_makes_a_verified_principal() {
    let principal = verified(&json!({}));
    assert_eq!(principal.assurance(), Assurance::Verified);
    assert_eq!(principal.id(), "github:repo:acme/etl:ref:refs/heads/main");
    assert_eq!(principal.provider(), Some(Provider::GitHub));
    assert_eq!(principal.repository(), Some("acme/etl"));
    assert_eq!(principal.run_id(), Some("4711"));
    assert_eq!(principal.run_attempt(), Some("1"));
    assert_eq!(principal.workflow(), Some("nightly"));
    assert_eq!(principal.git_ref(), Some("refs/heads/main"));
    assert_eq!(principal.actor(), Some("mona"));
    assert_eq!(principal.environment(), Some("production"));
    assert_eq!(principal.subject(), Some("repo:acme/etl:ref:refs/heads/main"));
    assert_eq!(principal.expires(), Some(at(300)));
    assert_eq!((principal.job(), principal.reason()), (None, None));
}

#[test]
fn claims_that_do_not_fit_are_refused() {
    let cases = [
        (json!({"iss": "https://evil.example"}), VerifyError::OtherIssuer),
        (json!({"iss": "https://token.actions.githubusercontent.com/"}), VerifyError::OtherIssuer),
        (json!({"iss": ["https://token.actions.githubusercontent.com"]}), VerifyError::BadClaim("iss")),
        (json!({"iss": null}), VerifyError::MissingClaim("iss")),
        (json!({"aud": "sigstore"}), VerifyError::OtherAudience),
        (json!({"aud": ["sigstore", "x"]}), VerifyError::OtherAudience),
        (json!({"aud": null}), VerifyError::MissingClaim("aud")),
        (json!({"aud": 1}), VerifyError::BadClaim("aud")),
        (json!({"exp": null}), VerifyError::MissingClaim("exp")),
        (json!({"exp": "1700000300"}), VerifyError::BadClaim("exp")),
        (json!({"exp": ISSUED_AT - 30}), VerifyError::Expired(at(-30))),
        (json!({"nbf": ISSUED_AT + 60}), VerifyError::NotYetValid(at(60))),
        (json!({"iat": ISSUED_AT + 60}), VerifyError::NotYetValid(at(60))),
        (json!({"nbf": "soon"}), VerifyError::BadClaim("nbf")),
        (json!({"sub": null}), VerifyError::MissingClaim("sub")),
        (json!({"sub": "x\ny"}), VerifyError::BadClaim("sub")),
        (json!({"repository": null}), VerifyError::MissingClaim("repository")),
        (json!({"repository": "acme"}), VerifyError::BadClaim("repository")),
        (json!({"run_id": "x"}), VerifyError::BadClaim("run_id")),
        (json!({"run_id": null}), VerifyError::MissingClaim("run_id")),
        (json!({"actor": {"name": "mona"}}), VerifyError::BadClaim("actor")),
        (json!({"workflow": "x".repeat(2000)}), VerifyError::BadClaim("workflow")),
        (json!({"repository": "acme/web"}), VerifyError::OtherJob("repository")),
        (json!({"run_id": "4712"}), VerifyError::OtherJob("run_id")),
        (json!({"run_attempt": "2"}), VerifyError::OtherJob("run_attempt")),
    ];
    for (changes, expected) in cases {
        assert_eq!(check_claims(changes.clone()), Err(expected), "{changes}");
    }
}

#[test]
fn claims_that_may_differ_are_accepted() {
    for changes in [
        json!({"aud": ["x", "snowfence"]}),
        json!({"run_id": 4711, "run_attempt": 1}),
        json!({"nbf": null, "iat": null}),
        json!({"nbf": ISSUED_AT + 20}),
        json!({"exp": i64::MAX}),
        json!({"repository": "Acme/ETL"}),
        json!({"environment": null, "actor": null, "repo_property_tier": ["gold"]}),
    ] {
        assert!(check_claims(changes.clone()).is_ok(), "{changes}");
    }
}

#[test]
fn times_are_those_of_the_caller() {
    let issuer = Issuer::new("k1");
    let (token, keys) = (issuer.sign(&Issuer::claims(&json!({}))), issuer.keys());
    for seconds in [-30, 0, 299, 329] {
        assert!(check_at(&token, &keys, at(seconds)).is_ok(), "{seconds}");
    }
    assert_eq!(check_at(&token, &keys, at(330)), Err(VerifyError::Expired(at(300))));
    assert_eq!(check_at(&token, &keys, at(1_000_000)), Err(VerifyError::Expired(at(300))));
    assert_eq!(check_at(&token, &keys, at(-31)), Err(VerifyError::NotYetValid(at(0))));
}

#[test]
fn a_signature_counts_only_with_the_key_it_names() {
    let (ours, theirs) = (Issuer::new("k1"), Issuer::new("k1"));
    let token = theirs.sign(&Issuer::claims(&json!({})));
    assert_eq!(check(&token, &ours.keys()), Err(VerifyError::BadSignature));
    assert_eq!(check(&token, &Issuer::new("k2").keys()), Err(VerifyError::UnknownKey("k1".to_owned())));

    // Claims of one token under the signature of another.
    let mine = ours.sign(&Issuer::claims(&json!({})));
    let other = ours.sign(&Issuer::claims(&json!({"actor": "eve"})));
    let (head, tail) = (mine.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    assert_eq!(check(&format!("{head}.{tail}"), &ours.keys()), Err(VerifyError::BadSignature));
    assert_eq!(check(&format!("{head}.AAAA"), &ours.keys()), Err(VerifyError::BadSignature));
    assert!(check(&mine, &ours.keys()).is_ok());
}

#[test]
fn rsa_keys_check_signatures_as_githubs_do() {
    let (ours, theirs) = (Issuer::rsa("k1"), Issuer::rsa("k1"));
    let token = ours.sign(&Issuer::claims(&json!({})));
    assert!(check(&token, &ours.keys()).is_ok());
    assert_eq!(check(&token, &theirs.keys()), Err(VerifyError::BadSignature));
    assert_eq!(check(&token, &Issuer::new("k1").keys()), Err(VerifyError::OtherAlgorithm));
}

#[test]
fn the_algorithm_is_the_keys_and_never_the_tokens() {
    let issuer = Issuer::new("k1");
    let claims = Issuer::claims(&json!({}));
    let named = |algorithm| {
        let mut header = Header::new(algorithm);
        header.kid = Some("k1".to_owned());
        header
    };
    // The public key used as a shared secret.
    for secret in [issuer.jwks().into_bytes(), issuer.jwk()["x"].as_str().unwrap().as_bytes().to_vec()] {
        let token = encode(&named(Algorithm::HS256), &claims, &EncodingKey::from_secret(&secret)).unwrap();
        assert_eq!(check(&token, &issuer.keys()), Err(VerifyError::OtherAlgorithm));
    }
    // The right key under another algorithm's name, and none at all.
    let body = issuer.sign(&claims);
    let (_, rest) = body.split_once('.').unwrap();
    let cases = [
        // {"alg":"RS256","typ":"JWT","kid":"k1"}
        ("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImsxIn0", VerifyError::OtherAlgorithm),
        // {"alg":"none","typ":"JWT","kid":"k1"}
        ("eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoiazEifQ", VerifyError::BadHeader),
        // {"typ":"JWT","kid":"k1"}
        ("eyJ0eXAiOiJKV1QiLCJraWQiOiJrMSJ9", VerifyError::BadHeader),
        // {"alg":"ES256","alg":"none","kid":"k1"}
        ("eyJhbGciOiJFUzI1NiIsImFsZyI6Im5vbmUiLCJraWQiOiJrMSJ9", VerifyError::BadHeader),
        ("AAAA", VerifyError::BadHeader),
    ];
    for (header, expected) in cases {
        assert_eq!(check(&format!("{header}.{rest}"), &issuer.keys()), Err(expected), "{header}");
    }
}

#[test]
fn a_header_that_asks_for_more_is_refused() {
    let issuer = Issuer::new("k1");
    let claims = Issuer::claims(&json!({}));
    let plain = || {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("k1".to_owned());
        header
    };
    let cases = [
        (Header { crit: Some(vec!["b64".to_owned()]), ..plain() }, VerifyError::CriticalExtension),
        (Header { typ: Some("at+jwt".to_owned()), ..plain() }, VerifyError::OtherType),
        (Header { kid: None, ..plain() }, VerifyError::NoKeyId),
    ];
    for (header, expected) in cases {
        assert_eq!(check(&issuer.sign_with(&header, &claims), &issuer.keys()), Err(expected));
    }
    assert!(check(&issuer.sign_with(&Header { typ: None, ..plain() }, &claims), &issuer.keys()).is_ok());
}

#[test]
fn claims_that_are_no_object_are_refused() {
    let issuer = Issuer::new("k1");
    for claims in [json!([]), json!("x"), json!(null)] {
        assert_eq!(check(&issuer.sign(&claims), &issuer.keys()), Err(VerifyError::BadClaims), "{claims}");
    }
}
