//! Jenkins, which starts several processes for one job.

use super::*;

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
