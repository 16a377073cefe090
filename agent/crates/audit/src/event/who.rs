//! Who is behind a connection: the principal, and the process on the host.

use model::{ProcessFacts, Standing};
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
    /// Of an observed job: for whom its runner is registered, as the host's own files say.
    #[serde(default)]
    pub runner: Option<String>,
    /// Groups that the operator's rules put it in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The AI agent at work, when one was recognised.
    #[serde(default)]
    pub agent: Option<AiAgent>,
    /// Why nobody is known, when nobody is.
    pub reason: Option<String>,
}

/// An AI agent at work in a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AiAgent {
    /// `claude-code`, …
    pub name: String,
    /// What its name rests on.
    pub evidence: AgentEvidence,
}

/// What an AI agent's name rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentEvidence {
    /// A program among the parents of the process.
    Executable,
    /// A variable, which whoever started the process chose.
    Asserted,
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
    /// Whether it had ended before it could be looked at, or while it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Its executable.
    pub exe: Option<String>,
    /// SHA-256 of that, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe_sha256: Option<String>,
    /// The job that it belonged to when it connected, as the kernel followed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobProcesses>,
    /// Its command line, secrets removed.
    pub argv: Vec<String>,
    /// Parent first.
    pub ancestors: Vec<Parent>,
    /// Path in the cgroup2 hierarchy.
    pub cgroup: String,
    /// The systemd unit.
    pub unit: Option<String>,
    /// The namespaces it is in, by their inode numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Namespaces>,
    /// The container it is in.
    #[serde(default, deserialize_with = "container::deserialize")]
    pub container: Option<Container>,
}

/// A job by its processes: each a pid and the start time in clock ticks after boot, as `4711@98765`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobProcesses {
    /// The worker, with which the job ends.
    pub worker: String,
    /// What the worker started and the process comes from; absent of a worker, and of what was left behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Whether the job had ended by then, and the process was left behind.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

impl JobProcesses {
    fn of(standing: Standing) -> Option<Self> {
        let step = match standing {
            Standing::Member { step, .. } => Some(step.to_string()),
            _ => None,
        };
        let ended = matches!(standing, Standing::LeftOver { .. });
        Some(Self { worker: standing.worker()?.to_string(), step, ended })
    }
}

/// Inode numbers of namespaces, namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespaces {
    /// Mounts.
    pub mount: u64,
    /// Network.
    pub network: u64,
    /// Process ids.
    pub pid: u64,
    /// Users.
    pub user: u64,
}

impl From<model::Namespaces> for Namespaces {
    fn from(all: model::Namespaces) -> Self {
        let model::Namespaces { mount, network, pid, user } = all;
        Self { mount, network, pid, user }
    }
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
            gone: facts.gone,
            exe: text(&facts.exe),
            exe_sha256: facts.exe_sha256.map(|digest| hex(&digest)),
            job: JobProcesses::of(facts.standing),
            argv: facts.argv.clone(),
            ancestors: facts.ancestors.iter().map(|a| Parent { pid: a.pid, exe: text(&a.exe) }).collect(),
            cgroup: facts.cgroup.clone(),
            unit: facts.unit.clone(),
            namespaces: facts.namespaces.map(Namespaces::from),
            container: facts.container.as_ref().map(Container::from),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use model::ProcessId;

    use super::*;

    #[test]
    fn a_job_is_named_by_its_processes() {
        let id = |pid| ProcessId { pid, start_ticks: 7 };
        let of = |standing| serde_json::to_value(JobProcesses::of(standing)).unwrap();
        let (worker, step) = (id(20), id(30));
        assert_eq!(
            of(Standing::Member { worker, step }),
            serde_json::json!({"worker": "20@7", "step": "30@7"})
        );
        assert_eq!(of(Standing::Worker(worker)), serde_json::json!({"worker": "20@7"}));
        let left = Standing::LeftOver { worker, ended_at_ns: None };
        assert_eq!(of(left), serde_json::json!({"worker": "20@7", "ended": true}));
        assert_eq!(of(Standing::Outside), serde_json::Value::Null);
        assert_eq!(hex(&[0, 0xab, 0x0f]), "00ab0f");
    }
}
