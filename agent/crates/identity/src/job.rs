//! One CI job, in words that do not depend on who runs it.

use crate::{Provider, provider::Lookup};

/// What is known of a job. `repository` and `run_id` name it; the rest describes it. What each means for a provider is
/// in `docs/identity.md`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Job {
    /// The project: `acme/etl`. Empty where the provider knows of none.
    pub repository: String,
    /// The run of the workflow: digits or an id. Empty where the provider does not tell.
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
    /// What names this one job of the run and no other, where the provider has such a thing.
    pub instance: Option<String>,
    /// Groups that the provider counts the job's project or person to.
    pub groups: Vec<String>,
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
    /// No runner of a provider that is configured speaks, and there is no token either.
    #[error(
        "the step has no token made for this agent, and no runner states its job; on GitHub, give the job \
         permissions: id-token: write; on GitLab, declare a token with this agent's audience under id_tokens"
    )]
    Nothing,
    /// A variable that names the job is missing.
    #[error("the runner's environment of the step does not set {0}")]
    Missing(&'static str),
    /// A variable holds what the runner would never put there.
    #[error("{0} in the environment of the step is not what a runner sets")]
    Malformed(&'static str),
}

impl ObservedJob {
    /// Reads the statement of a provider's runner: the variables that it sets for each step. `variable` looks one up by
    /// name. `None` where no runner of this provider speaks.
    ///
    /// # Errors
    /// When the variables that name the job are missing or malformed.
    pub fn read<'a>(
        provider: Provider,
        variable: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Option<Self>, StatementError> {
        let lookup: Lookup<'_> = &|name| variable(name);
        match &provider.description().statement {
            Some(statement) if (statement.speaks)(lookup) => {
                Ok(Some(Self { provider, job: (statement.job)(lookup)? }))
            }
            _ => Ok(None),
        }
    }

    /// The same for github.com, where it must have been said.
    ///
    /// # Errors
    /// When the variables that name the job are missing or malformed.
    pub fn github<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Result<Self, StatementError> {
        Self::read(Provider::GitHub, variable)?.ok_or(StatementError::Missing("GITHUB_REPOSITORY"))
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
