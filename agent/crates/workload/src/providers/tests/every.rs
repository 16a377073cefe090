//! What every provider has in common: a token in order is taken, and any other refused.

use super::*;

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
async fn another_subject_in_another_step_is_a_second_identity_whoever_vouches() {
    for provider in Provider::ALL {
        if provider == Provider::Jenkins {
            continue; // Its subject names the job, which its agent names too.
        }
        let host = Host::new(provider).await;
        let first = host.with_token(&host.token(&json!({}))).await;
        assert_eq!(first.assurance(), Assurance::Verified, "{provider:?}");
        host.next_step();
        let other = host.token(&json!({"sub": "system:serviceaccount:data:other", "jti": "2"}));
        let second = host.evidence(&other, 0);
        assert_eq!(host.reason(&second).await, NobodyReason::SecondIdentity, "{provider:?}");
        host.next_step();
        let third = host.token(&json!({"jti": "3"}));
        assert_eq!(host.with_token(&third).await.id(), first.id(), "{provider:?}");
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
