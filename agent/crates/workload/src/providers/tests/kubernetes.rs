//! Kubernetes, where a job is a pod.

use super::*;

#[tokio::test]
async fn a_pods_token_counts_in_that_pod_alone() {
    let host = Host::new(Provider::Kubernetes).await;
    let token = host.token(&json!({}));
    let evidence = host.evidence(&token, 0);
    assert_eq!(host.workload.principal(&evidence, at(1)).await.assurance(), Assurance::Verified);
    // Carried out of the pod, and into another one.
    for cgroup in [
        "0::/system.slice/runner.service\n".to_owned(),
        format!(
            "0::/kubepods.slice/kubepods-pod99999999_ffff_4fff_8fff_aaaaaaaaaaaa.slice/cri-containerd-{}.scope\n",
            "d".repeat(64)
        ),
    ] {
        host.evidence(&token, 1);
        host.fake.process(41, 31, 41).cgroup(&cgroup);
        let evidence = Evidence::of_made_up(host.workload.scene(), 41);
        assert_eq!(
            host.reason(&evidence).await,
            NobodyReason::Refused(VerifyError::OtherJob("pod")),
            "{cgroup}"
        );
        // A refusal stands for some seconds; the next is another step.
        host.fake.process(31, 21, 32);
    }
}

#[tokio::test]
async fn a_pod_needs_no_worker_and_a_container_no_more_than_its_token() {
    let host = Host::new(Provider::Kubernetes).await;
    let token = host.token(&json!({}));
    host.evidence(&token, 0);
    // The same process, started by a daemon.
    host.stands(40, Standing::Outside);
    let evidence = Evidence::of_made_up(host.workload.scene(), 40);
    let principal = host.workload.principal(&evidence, at(1)).await;
    assert_eq!(principal.id(), "kubernetes:system:serviceaccount:data:etl", "{:?}", principal.reason());
    std::fs::remove_file(host.fake.root().join("root0").join(TOKEN_FILE)).unwrap();
    let evidence = Evidence::of_made_up(host.workload.scene(), 40);
    assert!(matches!(host.reason(&evidence).await, NobodyReason::ContainerOfNoJob(_)));
}

#[tokio::test]
async fn a_file_that_is_something_else_is_refused_and_not_waited_for() {
    let host = Host::new(Provider::Kubernetes).await;
    host.evidence("a.b.c", 0);
    let file = host.fake.root().join("root0").join(TOKEN_FILE);
    std::fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert_eq!(host.reason(&Evidence::of_made_up(host.workload.scene(), 40)).await, NobodyReason::UnfitPlace);
}
