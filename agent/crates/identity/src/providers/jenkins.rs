//! Jenkins, with its plugin "OpenID Connect Provider". Source: the plugin's own documentation.
//!
//! A job has a token only inside `withCredentials`, in a variable that its author names; `sub` is the address of the job
//! unless an administrator made it something else. Its agent starts a process for each `sh` step of a build, and all have
//! the same token; a pipeline can set the variables that say which build it is, though nobody does.

use super::{describing, formed, is_number, is_set, naming};
use crate::{
    claims::Claims,
    job::{Job, StatementError},
    provider::{Description, Lookup, Place, Statement},
    verify::VerifyError,
};

/// Jenkins.
pub(crate) const JENKINS: Description = Description {
    word: "jenkins",
    issuer: None,
    hosts: &[],
    place: Place::Variable(&[]),
    variables: &["JENKINS_URL", "JOB_URL", "BUILD_NUMBER", "GIT_BRANCH", "GIT_COMMIT"],
    signs: &["jenkins"],
    advice: Some(
        "run the step inside `withCredentials` with an id token of the OpenID Connect Provider plugin",
    ),
    claims: from_claims,
    statement: Some(Statement {
        speaks: |variable| is_set(variable, "JENKINS_URL"),
        job: from_variables,
        is_split: true,
    }),
};

fn from_claims(claims: &Claims) -> Result<Job, VerifyError> {
    Ok(Job {
        repository: claims.required("sub")?,
        run_id: formed("build_number", claims.required("build_number")?, is_number)?,
        ..Job::default()
    })
}

fn from_variables(variable: Lookup<'_>) -> Result<Job, StatementError> {
    Ok(Job {
        repository: naming(variable, "JOB_URL", |url| url.contains("://"))?,
        run_id: naming(variable, "BUILD_NUMBER", is_number)?,
        git_ref: describing(variable, "GIT_BRANCH"),
        sha: describing(variable, "GIT_COMMIT"),
        ..Job::default()
    })
}
