//! Who is behind a connection: the principal, and the process on the host.

use model::ProcessFacts;
use serde::{Deserialize, Serialize};

use super::container::{self, Container};

/// The one a session belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// Name of the principal, as policy knows it.
    pub principal: String,
    /// How sure that is.
    pub assurance: Assurance,
    /// `github`, …
    pub provider: Option<String>,
    /// `acme/etl`
    pub repository: Option<String>,
    /// `refs/heads/main`
    pub r#ref: Option<String>,
    /// Name of the workflow.
    pub workflow: Option<String>,
    /// Name of the job in it.
    pub job: Option<String>,
    /// Id of the run.
    pub run_id: Option<String>,
    /// Which attempt of that run.
    pub run_attempt: Option<String>,
    /// Who started it.
    pub actor: Option<String>,
    /// The deployment environment.
    pub environment: Option<String>,
    /// Why nobody is known, when nobody is.
    pub reason: Option<String>,
}

/// How sure it is who someone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    /// A token whose signature was checked.
    Verified,
    /// What the runner stated, without a token.
    Observed,
    /// Not at all.
    None,
}

/// A process on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Process id on the host.
    pub pid: u32,
    /// Start time in clock ticks after boot; with `pid` it names the process for ever.
    pub start_ticks: u64,
    /// User id.
    pub uid: u32,
    /// Its executable.
    pub exe: Option<String>,
    /// Its command line, secrets removed.
    pub argv: Vec<String>,
    /// Parent first.
    pub ancestors: Vec<Parent>,
    /// Path in the cgroup2 hierarchy.
    pub cgroup: String,
    /// The systemd unit.
    pub unit: Option<String>,
    /// The container it is in.
    #[serde(default, deserialize_with = "container::deserialize")]
    pub container: Option<Container>,
}

/// A process up the parent chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// Process id on the host.
    pub pid: u32,
    /// Its executable.
    pub exe: Option<String>,
}

impl From<&ProcessFacts> for Process {
    fn from(facts: &ProcessFacts) -> Self {
        let text =
            |path: &Option<std::path::PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned());
        Self {
            pid: facts.pid,
            start_ticks: facts.start_ticks,
            uid: facts.uid,
            exe: text(&facts.exe),
            argv: facts.argv.clone(),
            ancestors: facts.ancestors.iter().map(|a| Parent { pid: a.pid, exe: text(&a.exe) }).collect(),
            cgroup: facts.cgroup.clone(),
            unit: facts.unit.clone(),
            container: facts.container.as_ref().map(Container::from),
        }
    }
}
