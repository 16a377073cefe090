//! What a lab may be asked for.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::container::Network;
use super::tools;

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
    /// The agent's program; none: `SNOWFENCE_BIN`, or else `snowfence` beside the lab's own programs.
    pub program: Option<PathBuf>,
    /// The agent's mode.
    pub mode: Mode,
    /// A folder of `*.cedar` files; none: the lab's own policy.
    pub policy: Option<PathBuf>,
    /// Further tables of the agent's configuration, as TOML.
    pub settings: String,
    /// A classification file; none: `classification.toml` beside the policy, or else the lab's own.
    pub classification: Option<PathBuf>,
    /// SQL files, run against the server after the lab's own and before anything else.
    pub seeds: Vec<PathBuf>,
    /// Snowflake's address also answers at once and without SQL, on [`crate::internet::CANNED_PORT`].
    pub canned: bool,
    /// Who commands are, unless a command says otherwise.
    pub identity: Identity,
    /// Where the agent keeps its state; none: in the lab's folder, which goes away.
    pub state: Option<PathBuf>,
    /// Where commands run; none: the folder in which the lab was started.
    pub cwd: Option<PathBuf>,
    /// Start the command that [`crate::Lab::conduct`] runs in a container with this network.
    pub container: Option<Network>,
    /// How long [`crate::Lab::run`] lets a command take.
    pub deadline: Duration,
    /// Say on standard error what is done, with times, and repeat the agent's log there.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            agent: true,
            program: None,
            mode: Mode::Enforce,
            policy: None,
            settings: String::new(),
            classification: None,
            seeds: Vec::new(),
            canned: false,
            identity: Identity::Verified,
            state: None,
            cwd: None,
            container: None,
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
        Self { policy: Some(tools::source("policy-allow-all")), ..Self::default() }
    }

    /// Looks whether everything named is there. [`crate::Lab::start`] does so before anything else.
    ///
    /// # Errors
    /// Names what is not there, or not what it should be.
    pub fn check(&self) -> Result<()> {
        cedar_files(&self.policy_folder())?;
        let files = self.seeds.iter().chain(&self.classification);
        if let Some(missing) = files.into_iter().find(|file| !file.is_file()) {
            bail!("no such file: {}", missing.display());
        }
        match &self.cwd {
            Some(folder) if !folder.is_dir() => bail!("no such folder: {}", folder.display()),
            _ => Ok(()),
        }
    }

    pub(super) fn policy_folder(&self) -> PathBuf {
        self.policy.clone().unwrap_or_else(|| tools::source("policy"))
    }

    pub(super) fn classification_file(&self) -> PathBuf {
        if let Some(named) = &self.classification {
            return named.clone();
        }
        let beside = self.policy_folder().join("classification.toml");
        if beside.is_file() { beside } else { tools::source("policy/classification.toml") }
    }
}

/// The policies in a folder, which may hold tests and notes besides.
pub(super) fn cedar_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("cannot list the policy folder {}", folder.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let found: Vec<PathBuf> = files.filter(|file| file.extension() == Some(OsStr::new("cedar"))).collect();
    if found.is_empty() {
        bail!("the policy folder {} holds no *.cedar file", folder.display());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_folder_has_to_be_there_and_to_hold_policies() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("policy");
        let options = Options { policy: Some(folder.clone()), ..Options::default() };
        assert!(options.check().is_err());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("notes.md"), "").unwrap();
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("no *.cedar"), "{error}");
        fs::write(folder.join("a.cedar"), "x").unwrap();
        options.check().unwrap();
        assert_eq!(cedar_files(&folder).unwrap(), [folder.join("a.cedar")]);
    }

    #[test]
    fn named_files_and_folders_have_to_be_there() {
        for options in [
            Options { seeds: vec!["/no/such.sql".into()], ..Options::default() },
            Options { seeds: vec!["/etc".into()], ..Options::default() },
            Options { classification: Some("/no/such.toml".into()), ..Options::default() },
            Options { cwd: Some("/no/such".into()), ..Options::default() },
            Options { cwd: Some("/etc/hosts".into()), ..Options::default() },
        ] {
            assert!(options.check().is_err(), "{options:?}");
        }
    }

    #[test]
    fn a_classification_is_the_named_one_or_the_policys_or_the_labs() {
        let policy = tempfile::tempdir().unwrap();
        let mut options = Options { policy: Some(policy.path().to_owned()), ..Options::default() };
        assert_eq!(options.classification_file(), tools::source("policy/classification.toml"));
        let beside = policy.path().join("classification.toml");
        fs::write(&beside, "").unwrap();
        assert_eq!(options.classification_file(), beside);
        options.classification = Some("/named".into());
        assert_eq!(options.classification_file(), Path::new("/named"));
    }
}
