//! GitLab CI. Source: GitLab documentation, "OpenID Connect (OIDC) Authentication Using ID Tokens".
//!
//! A job declares its tokens under `id_tokens`, with audiences and variable names of its own choice; there is none to be
//! had for a job that declares none. `project_path` is the project whose code runs: in a merge request from a fork, the fork's.

use super::{formed, is_name, is_number};
use crate::{
    claims::Claims,
    job::Job,
    provider::{Description, Place},
    verify::VerifyError,
};

/// GitLab. The runner hands variables to the job's shell in a script, so there is no process that a runner told them to:
/// what its children have comes from the job as much as from the runner, and states nothing.
pub(crate) const GITLAB: Description = Description {
    word: "gitlab",
    issuer: None,
    hosts: &[],
    place: Place::Variable(&[]),
    variables: &[],
    signs: &["gitlab-runner"],
    advice: Some(
        "declare `id_tokens:` in the job, with the audience that Snowfence is configured for as `aud`",
    ),
    claims: from_claims,
    statement: None,
};

fn from_claims(claims: &Claims) -> Result<Job, VerifyError> {
    let job = formed("job_id", claims.required("job_id")?, is_number)?;
    Ok(Job {
        repository: formed("project_path", claims.required("project_path")?, is_path)?,
        run_id: formed("pipeline_id", claims.required("pipeline_id")?, is_number)?,
        workflow: claims.text("ci_config_ref_uri")?,
        git_ref: git_ref(claims)?,
        sha: claims.text("sha")?,
        actor: claims.text("user_login")?,
        environment: claims.text("environment")?,
        event: claims.text("pipeline_source")?,
        groups: claims.list("groups_direct")?,
        instance: Some(job.clone()),
        job: Some(job),
        ..Job::default()
    })
}

/// `ref_path` is whole; older instances have only the name and what it is the name of.
fn git_ref(claims: &Claims) -> Result<Option<String>, VerifyError> {
    if let Some(path) = claims.text("ref_path")? {
        return Ok(Some(path));
    }
    let name = claims.text("ref")?;
    Ok(name.zip(claims.text("ref_type")?).map(|(name, kind)| match kind.as_str() {
        "tag" => format!("refs/tags/{name}"),
        _ => format!("refs/heads/{name}"),
    }))
}

/// A project in groups, which may be nested: `acme/data/etl`.
fn is_path(text: &str) -> bool {
    text.contains('/') && text.split('/').all(is_name)
}
