//! GitHub Actions: its claims and its variables. Sources: GitHub documentation, "OpenID Connect reference" and
//! "Default environment variables".

use crate::{
    claims::Claims,
    job::{Job, StatementError},
    verify::VerifyError,
};

/// Longest value of a variable that is kept, in bytes. The same limit as for claims.
const VALUE_BYTES_MAX: usize = 1024;

/// Reads the job from the claims of a token whose signature was checked.
pub(crate) fn from_claims(claims: &Claims) -> Result<Job, VerifyError> {
    let job = Job {
        repository: claims.required("repository")?,
        run_id: claims.required("run_id")?,
        run_attempt: claims.text("run_attempt")?,
        workflow: claims.text("workflow")?,
        workflow_ref: claims.text("workflow_ref")?,
        git_ref: claims.text("ref")?,
        sha: claims.text("sha")?,
        actor: claims.text("actor")?,
        environment: claims.text("environment")?,
        job: claims.text("job")?,
        event: claims.text("event_name")?,
    };
    if !is_repository(&job.repository) {
        return Err(VerifyError::BadClaim("repository"));
    }
    if !is_number(&job.run_id) {
        return Err(VerifyError::BadClaim("run_id"));
    }
    Ok(job)
}

/// Reads the job from the variables the runner set for a step. A variable that only describes the job and is not
/// well formed is left out; one that names it makes the whole statement worthless.
pub(crate) fn from_environment<'a>(
    variable: impl Fn(&str) -> Option<&'a str>,
) -> Result<Job, StatementError> {
    let sane = |text: &&str| {
        !text.is_empty() && text.len() <= VALUE_BYTES_MAX && !text.chars().any(char::is_control)
    };
    let describing = |name: &str| variable(name).filter(sane).map(str::to_owned);
    let naming = |name: &'static str, is_well_formed: fn(&str) -> bool| {
        let value = variable(name).filter(|value| !value.is_empty()).ok_or(StatementError::Missing(name))?;
        if !sane(&value) || !is_well_formed(value) {
            return Err(StatementError::Malformed(name));
        }
        Ok(value.to_owned())
    };
    Ok(Job {
        repository: naming("GITHUB_REPOSITORY", is_repository)?,
        run_id: naming("GITHUB_RUN_ID", is_number)?,
        run_attempt: describing("GITHUB_RUN_ATTEMPT").filter(|attempt| is_number(attempt)),
        workflow: describing("GITHUB_WORKFLOW"),
        workflow_ref: describing("GITHUB_WORKFLOW_REF"),
        git_ref: describing("GITHUB_REF"),
        sha: describing("GITHUB_SHA"),
        actor: describing("GITHUB_ACTOR"),
        environment: None,
        job: describing("GITHUB_JOB"),
        event: describing("GITHUB_EVENT_NAME"),
    })
}

/// Whether the two name the same run, as far as both say. Repository names keep their case but do not differ by it.
/// Returns the first that differs, by its claim name.
pub(crate) fn disagreement(token: &Job, statement: &Job) -> Option<&'static str> {
    if !token.repository.eq_ignore_ascii_case(&statement.repository) {
        return Some("repository");
    }
    if token.run_id != statement.run_id {
        return Some("run_id");
    }
    match (&token.run_attempt, &statement.run_attempt) {
        (Some(token), Some(statement)) if token != statement => Some("run_attempt"),
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_repository(text: &str) -> bool {
    let name = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    text.split_once('/').is_some_and(|(owner, repository)| name(owner) && name(repository))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step<'a>(changes: &'a [(&'a str, &'a str)]) -> Result<Job, StatementError> {
        from_environment(move |name| {
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
