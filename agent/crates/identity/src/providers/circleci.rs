//! CircleCI. Source: CircleCI documentation, "Using OpenID Connect tokens in jobs".
//!
//! Every job has its token in a variable, made for the organization (`aud` is its id), which therefore has to be the
//! configured audience. The second form of the token also says which commit is built.

use super::{describing, formed, is_id, is_set, naming};
use crate::{
    claims::Claims,
    job::{Job, StatementError},
    provider::{Description, Lookup, Place, Statement},
    verify::VerifyError,
};

/// CircleCI.
pub(crate) const CIRCLECI: Description = Description {
    word: "circleci",
    issuer: None,
    hosts: &[],
    place: Place::Variable(&["CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN"]),
    variables: &[
        "CIRCLE_PROJECT_ID",
        "CIRCLE_PIPELINE_ID",
        "CIRCLE_WORKFLOW_ID",
        "CIRCLE_JOB",
        "CIRCLE_BRANCH",
        "CIRCLE_SHA1",
        "CIRCLE_USERNAME",
    ],
    signs: &["circleci"],
    advice: Some("let the job keep its variable CIRCLE_OIDC_TOKEN_V2"),
    claims: from_claims,
    statement: Some(Statement {
        speaks: |variable| is_set(variable, "CIRCLE_PROJECT_ID"),
        job: from_variables,
        is_split: false,
    }),
};

fn from_claims(claims: &Claims) -> Result<Job, VerifyError> {
    let project = claims.required("oidc.circleci.com/project-id")?;
    Ok(Job {
        repository: formed("oidc.circleci.com/project-id", project, is_id)?,
        // Older tokens do not say of which pipeline they are.
        run_id: claims.text("oidc.circleci.com/pipeline-id")?.unwrap_or_default(),
        git_ref: claims.text("oidc.circleci.com/vcs-ref")?,
        workflow: claims.text("oidc.circleci.com/pipeline-definition-id")?,
        groups: claims.list("oidc.circleci.com/context-ids")?,
        ..Job::default()
    })
}

fn from_variables(variable: Lookup<'_>) -> Result<Job, StatementError> {
    Ok(Job {
        repository: naming(variable, "CIRCLE_PROJECT_ID", is_id)?,
        run_id: naming(variable, "CIRCLE_PIPELINE_ID", is_id)?,
        git_ref: describing(variable, "CIRCLE_BRANCH").map(|branch| format!("refs/heads/{branch}")),
        sha: describing(variable, "CIRCLE_SHA1"),
        actor: describing(variable, "CIRCLE_USERNAME"),
        job: describing(variable, "CIRCLE_JOB"),
        ..Job::default()
    })
}
