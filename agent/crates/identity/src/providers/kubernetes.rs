//! Service accounts of Kubernetes. Source: Kubernetes documentation, "Managing Service Accounts", the claims of
//! tokens that are bound to a pod.
//!
//! The kubelet projects the token into a file of the pod and renews it there. A cluster has an issuer of its own. The
//! names in its claims are those of the cluster, which says nothing of a repository.

use super::{formed, is_id, is_name};
use crate::{
    claims::Claims,
    job::Job,
    provider::{Description, Place},
    verify::VerifyError,
};

/// Kubernetes.
pub(crate) const KUBERNETES: Description = Description {
    word: "kubernetes",
    issuer: None,
    hosts: &[],
    place: Place::File("/var/run/secrets/kubernetes.io/serviceaccount/token"),
    variables: &[],
    signs: &["kubepods"],
    advice: Some("mount a projected service account token with Snowfence's audience into the pod"),
    claims: from_claims,
    statement: None,
};

fn from_claims(claims: &Claims) -> Result<Job, VerifyError> {
    let inside = claims.inside("kubernetes.io")?.ok_or(VerifyError::MissingClaim("kubernetes.io"))?;
    let named = |object: &'static str, member: &'static str| match inside.inside(object)? {
        Some(object) => object.required(member),
        // A token that outlives every pod could be anybody's by now.
        None => Err(VerifyError::MissingClaim(object)),
    };
    let namespace = formed("namespace", inside.required("namespace")?, is_name)?;
    let account = formed("serviceaccount", named("serviceaccount", "name")?, is_name)?;
    let pod = formed("pod", named("pod", "uid")?, is_id)?;
    Ok(Job {
        run_id: pod.clone(),
        workflow: Some(format!("{namespace}/{account}")),
        job: Some(named("pod", "name")?),
        instance: Some(pod),
        ..Job::default()
    })
}
