//! What a lab may be asked for.

use std::path::PathBuf;
use std::time::Duration;

/// What the agent does with its verdicts; the `mode` of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Record only.
    Observe,
    /// Refuse and mask.
    Enforce,
}

impl Mode {
    /// The word as the configuration has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}

/// How a command is known to the host that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Identity {
    /// A step of a job whose workflow may ask for an OIDC token.
    Verified,
    /// A step of a job without `id-token: write`: the runner's word only.
    Observed,
    /// No job at all: a process beside the runner.
    None,
}

/// What a job is, as its runner states it and its token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFacts {
    /// `owner/name`.
    pub repository: String,
    /// A full git reference, such as `refs/heads/main`.
    pub git_ref: String,
    /// The workflow's name; its file has the same.
    pub workflow: String,
    /// The key of the job inside the workflow.
    pub job: String,
    /// Who set the run off.
    pub actor: String,
    /// What set the run off.
    pub event: String,
    /// Numbers the runs of a repository.
    pub run_id: u64,
    /// From 1 on.
    pub run_attempt: u32,
}

impl Default for JobFacts {
    fn default() -> Self {
        Self {
            repository: "acme/etl".to_owned(),
            git_ref: "refs/heads/main".to_owned(),
            workflow: "nightly".to_owned(),
            job: "load".to_owned(),
            actor: "mona".to_owned(),
            event: "schedule".to_owned(),
            run_id: 4711,
            run_attempt: 1,
        }
    }
}

/// What kind of lab to start. `Options::default()` is the one that `cargo xtask lab` starts without options.
#[derive(Debug, Clone)]
pub struct Options {
    /// False: no agent is started (`Lab::start_agent` can still start one later).
    pub agent: bool,
    /// The agent's mode.
    pub mode: Mode,
    /// A folder of `*.cedar` files; none: the lab's own policy.
    pub policy: Option<PathBuf>,
    /// A classification file; none: `classification.toml` beside the policy, or else the lab's own.
    pub classification: Option<PathBuf>,
    /// SQL files, run against the server after the lab's own and before anything else.
    pub seeds: Vec<PathBuf>,
    /// Who commands are, unless a command says otherwise.
    pub identity: Identity,
    /// Where the agent keeps its state; none: in the lab's folder, which goes away.
    pub state: Option<PathBuf>,
    /// Where commands run; none: the folder in which the lab was started.
    pub cwd: Option<PathBuf>,
    /// How long [`crate::Lab::run`] lets a command take.
    pub deadline: Duration,
    /// Say on standard error what is done, with times, and repeat the agent's log there.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            agent: true,
            mode: Mode::Enforce,
            policy: None,
            classification: None,
            seeds: Vec::new(),
            identity: Identity::Verified,
            state: None,
            cwd: None,
            deadline: Duration::from_secs(120),
            verbose: false,
        }
    }
}

impl Options {
    /// A lab without an agent: what clients see when nothing stands between.
    #[must_use]
    pub fn direct() -> Self {
        Self { agent: false, ..Self::default() }
    }

    /// A lab whose agent permits everything and masks nothing.
    #[must_use]
    pub fn allow_all() -> Self {
        Self { policy: Some(super::tools::source("policy-allow-all")), ..Self::default() }
    }
}
