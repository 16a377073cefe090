//! One CI job, in words that do not depend on who runs it.

use crate::{Provider, github};

/// What is known of a job. `repository` and `run_id` name it; the rest describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Job {
    /// `acme/etl`.
    pub repository: String,
    /// The run of the workflow: digits.
    pub run_id: String,
    /// Which attempt of that run: digits, from 1.
    pub run_attempt: Option<String>,
    /// Name of the workflow.
    pub workflow: Option<String>,
    /// File and ref of the workflow: `acme/etl/.github/workflows/nightly.yml@refs/heads/main`.
    pub workflow_ref: Option<String>,
    /// The git ref that is built: `refs/heads/main`.
    pub git_ref: Option<String>,
    /// The commit that is built.
    pub sha: Option<String>,
    /// The account whose act started the run.
    pub actor: Option<String>,
    /// The deployment environment of the job.
    pub environment: Option<String>,
    /// The job's id within the workflow.
    pub job: Option<String>,
    /// What started the run: `push`, `schedule`, …
    pub event: Option<String>,
}

/// What a runner stated about a job to the process that it started for it. It is not proven: whoever controls that
/// process can rewrite its memory, and no signature covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedJob {
    provider: Provider,
    job: Job,
}

/// Why a process environment states no job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A variable that names the job is missing.
    #[error("the runner's environment of the step does not set {0}")]
    Missing(&'static str),
    /// A variable holds what the runner would never put there.
    #[error("{0} in the environment of the step is not what a runner sets")]
    Malformed(&'static str),
}

impl ObservedJob {
    /// Reads the statement of a GitHub runner: the `GITHUB_…` variables that it sets for each step.
    /// `variable` looks one up by name.
    ///
    /// # Errors
    /// When the variables that name the job are missing or malformed.
    pub fn github<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Result<Self, StatementError> {
        Ok(Self { provider: Provider::GitHub, job: github::from_environment(variable)? })
    }

    /// Whose runner stated it.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }
}
