//! GitHub Actions: its claims and its variables. Sources: GitHub documentation, "OpenID Connect reference" and
//! "Default environment variables".
//!
//! A job with `permissions: id-token: write` can ask for a token with any audience. On an Enterprise Server and with data
//! residency the same is said by another host, which is told by `GITHUB_SERVER_URL`.

use super::{describing, formed, is_number, is_set, is_two_names, naming};
use crate::{
    claims::Claims,
    job::{Job, StatementError},
    provider::{Description, Lookup, Place, Statement},
    verify::VerifyError,
};

/// Where a step asks for its token, and with what.
const PLACE: Place =
    Place::AskedByGet { url: "ACTIONS_ID_TOKEN_REQUEST_URL", bearer: "ACTIONS_ID_TOKEN_REQUEST_TOKEN" };

const VARIABLES: &[&str] = &[
    "GITHUB_REPOSITORY",
    "GITHUB_RUN_ID",
    "GITHUB_RUN_ATTEMPT",
    "GITHUB_SERVER_URL",
    "GITHUB_WORKFLOW",
    "GITHUB_WORKFLOW_REF",
    "GITHUB_REF",
    "GITHUB_SHA",
    "GITHUB_ACTOR",
    "GITHUB_JOB",
    "GITHUB_EVENT_NAME",
];

/// github.com.
pub(crate) const PUBLIC: Description = Description {
    word: "github",
    issuer: Some("https://token.actions.githubusercontent.com"),
    hosts: &["actions.githubusercontent.com"],
    place: PLACE,
    variables: VARIABLES,
    signs: &["Runner.Worker", "Runner.Listener", "actions.runner"],
    advice: Some("give the workflow's job `permissions: id-token: write`"),
    claims: from_claims,
    statement: Some(Statement { speaks: is_public, job: from_variables, is_split: false }),
};

/// An Enterprise Server, `https://HOST/_services/token`, or an enterprise with data residency.
pub(crate) const ENTERPRISE: Description = Description {
    word: "github-enterprise",
    issuer: None,
    hosts: &[],
    statement: Some(Statement { speaks: is_enterprise, job: from_variables, is_split: false }),
    ..PUBLIC
};

fn is_public(variable: Lookup<'_>) -> bool {
    is_set(variable, "GITHUB_REPOSITORY") && !is_enterprise(variable)
}

fn is_enterprise(variable: Lookup<'_>) -> bool {
    let server = variable("GITHUB_SERVER_URL").filter(|url| !url.is_empty());
    is_set(variable, "GITHUB_REPOSITORY") && server.is_some_and(|url| url != "https://github.com")
}

fn from_claims(claims: &Claims) -> Result<Job, VerifyError> {
    Ok(Job {
        repository: formed("repository", claims.required("repository")?, is_two_names)?,
        run_id: formed("run_id", claims.required("run_id")?, is_number)?,
        run_attempt: claims.text("run_attempt")?,
        workflow: claims.text("workflow")?,
        workflow_ref: claims.text("workflow_ref")?,
        git_ref: claims.text("ref")?,
        sha: claims.text("sha")?,
        actor: claims.text("actor")?,
        environment: claims.text("environment")?,
        job: claims.text("job")?,
        event: claims.text("event_name")?,
        instance: claims.text("check_run_id")?,
        groups: Vec::new(),
    })
}

/// A variable that only describes the job and is not well formed is left out; one that names it makes the whole
/// statement worthless.
fn from_variables(variable: Lookup<'_>) -> Result<Job, StatementError> {
    Ok(Job {
        repository: naming(variable, "GITHUB_REPOSITORY", is_two_names)?,
        run_id: naming(variable, "GITHUB_RUN_ID", is_number)?,
        run_attempt: describing(variable, "GITHUB_RUN_ATTEMPT").filter(|attempt| is_number(attempt)),
        workflow: describing(variable, "GITHUB_WORKFLOW"),
        workflow_ref: describing(variable, "GITHUB_WORKFLOW_REF"),
        git_ref: describing(variable, "GITHUB_REF"),
        sha: describing(variable, "GITHUB_SHA"),
        actor: describing(variable, "GITHUB_ACTOR"),
        environment: None,
        job: describing(variable, "GITHUB_JOB"),
        event: describing(variable, "GITHUB_EVENT_NAME"),
        instance: None,
        groups: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{VALUE_BYTES_MAX, disagreement};

    fn step(changes: &[(&str, &str)]) -> Result<Job, StatementError> {
        from_variables(&|name| {
            changes.iter().find(|(changed, _)| *changed == name).map(|(_, value)| *value).or(match name {
                "GITHUB_REPOSITORY" => Some("acme/etl"),
                "GITHUB_RUN_ID" => Some("4711"),
                "GITHUB_RUN_ATTEMPT" => Some("1"),
                "GITHUB_WORKFLOW" => Some("nightly"),
                "GITHUB_REF" => Some("refs/heads/main"),
                _ => None,
            })
        })
    }

    #[test]
    fn which_github_speaks_is_told_by_its_address() {
        for (server, public) in
            [("", true), ("https://github.com", true), ("https://ghes.acme.example", false)]
        {
            let variable = |name: &str| match name {
                "GITHUB_REPOSITORY" => Some("acme/etl"),
                "GITHUB_SERVER_URL" => Some(server),
                _ => None,
            };
            assert_eq!((is_public(&variable), is_enterprise(&variable)), (public, !public), "{server}");
        }
        assert!(!is_public(&|_| None) && !is_enterprise(&|_| None));
    }

    #[test]
    fn a_step_of_a_runner_states_its_job() {
        let job = step(&[("GITHUB_ACTOR", "mona")]).unwrap();
        assert_eq!((job.repository.as_str(), job.run_id.as_str()), ("acme/etl", "4711"));
        assert_eq!(job.actor.as_deref(), Some("mona"));
        assert_eq!(job.git_ref.as_deref(), Some("refs/heads/main"));
        assert_eq!(job.sha, None);
    }

    #[test]
    fn variables_that_name_the_job_must_be_whole() {
        let malformed = [
            ("GITHUB_REPOSITORY", "etl"),
            ("GITHUB_REPOSITORY", "acme/"),
            ("GITHUB_REPOSITORY", "acme/etl/x"),
            ("GITHUB_REPOSITORY", "acme/.."),
            ("GITHUB_REPOSITORY", "acme/e tl"),
            ("GITHUB_REPOSITORY", "acme/etl\n"),
            ("GITHUB_RUN_ID", "x"),
            ("GITHUB_RUN_ID", "-1"),
            ("GITHUB_RUN_ID", "123456789012345678901"),
        ];
        for (name, value) in malformed {
            assert_eq!(step(&[(name, value)]), Err(StatementError::Malformed(name)), "{name}={value}");
        }
        for name in ["GITHUB_REPOSITORY", "GITHUB_RUN_ID"] {
            assert_eq!(step(&[(name, "")]), Err(StatementError::Missing(name)));
        }
    }

    #[test]
    fn a_description_out_of_shape_is_left_out() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let job =
            step(&[("GITHUB_WORKFLOW", "a\x1b[2Jb"), ("GITHUB_REF", &long), ("GITHUB_RUN_ATTEMPT", "one")])
                .unwrap();
        assert_eq!((job.workflow, job.git_ref, job.run_attempt), (None, None, None));
    }

    #[test]
    fn two_accounts_of_one_job_agree_or_the_difference_is_named() {
        let job = step(&[]).unwrap();
        assert_eq!(disagreement(&job, &step(&[("GITHUB_REPOSITORY", "Acme/ETL")]).unwrap()), None);
        assert_eq!(disagreement(&job, &step(&[("GITHUB_RUN_ATTEMPT", "")]).unwrap()), None);
        let others = [
            ("GITHUB_REPOSITORY", "acme/web", "repository"),
            ("GITHUB_RUN_ID", "4712", "run_id"),
            ("GITHUB_RUN_ATTEMPT", "2", "run_attempt"),
        ];
        for (name, value, difference) in others {
            assert_eq!(disagreement(&job, &step(&[(name, value)]).unwrap()), Some(difference));
        }
    }
}
