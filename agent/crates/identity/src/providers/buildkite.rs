//! Buildkite. Source: Buildkite documentation, "OIDC with Buildkite", and the agent's own request for a token.
//!
//! The agent gives every job what a token is asked for with, so that every job has one, with any audience.

use super::{describing, formed, is_id, is_name, is_number, is_set, naming};
use crate::{
    claims::Claims,
    job::{Job, StatementError},
    provider::{Description, Lookup, Place, Statement},
    verify::VerifyError,
};

/// Buildkite.
pub(crate) const BUILDKITE: Description = Description {
    word: "buildkite",
    issuer: Some("https://agent.buildkite.com"),
    hosts: &["agent.buildkite.com"],
    place: Place::AskedByPost {
        base: "BUILDKITE_AGENT_ENDPOINT",
        job: "BUILDKITE_JOB_ID",
        credential: "BUILDKITE_AGENT_ACCESS_TOKEN",
    },
    variables: &[
        "BUILDKITE_ORGANIZATION_SLUG",
        "BUILDKITE_PIPELINE_SLUG",
        "BUILDKITE_BUILD_NUMBER",
        "BUILDKITE_BRANCH",
        "BUILDKITE_COMMIT",
        "BUILDKITE_BUILD_CREATOR",
        "BUILDKITE_SOURCE",
        "BUILDKITE_STEP_KEY",
    ],
    signs: &["buildkite-agent"],
    advice: Some("run the step through the Buildkite agent with its own BUILDKITE_AGENT_ACCESS_TOKEN"),
    claims: from_claims,
    statement: Some(Statement {
        speaks: |variable| is_set(variable, "BUILDKITE_JOB_ID"),
        job: from_variables,
        is_split: false,
    }),
};

fn from_claims(claims: &Claims) -> Result<Job, VerifyError> {
    let slug = |name: &'static str| formed(name, claims.required(name)?, is_name);
    Ok(Job {
        repository: format!("{}/{}", slug("organization_slug")?, slug("pipeline_slug")?),
        run_id: formed("build_number", claims.required("build_number")?, is_number)?,
        git_ref: match (claims.text("build_tag")?, claims.text("build_branch")?) {
            (Some(tag), _) => Some(format!("refs/tags/{tag}")),
            (None, branch) => branch.map(|branch| format!("refs/heads/{branch}")),
        },
        sha: claims.text("build_commit")?,
        event: claims.text("build_source")?,
        job: claims.text("step_key")?,
        instance: Some(formed("job_id", claims.required("job_id")?, is_id)?),
        ..Job::default()
    })
}

fn from_variables(variable: Lookup<'_>) -> Result<Job, StatementError> {
    let organization = naming(variable, "BUILDKITE_ORGANIZATION_SLUG", is_name)?;
    let pipeline = naming(variable, "BUILDKITE_PIPELINE_SLUG", is_name)?;
    Ok(Job {
        repository: format!("{organization}/{pipeline}"),
        run_id: naming(variable, "BUILDKITE_BUILD_NUMBER", is_number)?,
        git_ref: describing(variable, "BUILDKITE_BRANCH").map(|branch| format!("refs/heads/{branch}")),
        sha: describing(variable, "BUILDKITE_COMMIT"),
        actor: describing(variable, "BUILDKITE_BUILD_CREATOR"),
        event: describing(variable, "BUILDKITE_SOURCE"),
        job: describing(variable, "BUILDKITE_STEP_KEY"),
        instance: Some(naming(variable, "BUILDKITE_JOB_ID", is_id)?),
        ..Job::default()
    })
}
