//! GitLab, whose jobs have their token in any variable, or hand it in.

use super::*;

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
