//! The configuration file as written. [`super::Config`] is what it means.
//!
//! Unknown keys are refused, so that a misspelt key never silently leaves a guard off.

use std::path::PathBuf;

use interception::LsmConfig;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) mode: ModeWord,
    #[serde(default)]
    pub(super) paths: Paths,
    #[serde(default)]
    pub(super) attach: Attach,
    #[serde(default)]
    pub(super) lsm: Lsm,
    #[serde(default)]
    pub(super) listen: Listen,
    pub(super) guard: Guard,
    #[serde(default)]
    pub(super) upstream: Upstream,
    #[serde(default)]
    pub(super) workload: Workload,
    #[serde(default)]
    pub(super) identity: Identity,
    #[serde(default)]
    pub(super) trust: Trust,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ModeWord {
    Observe,
    Enforce,
}

impl From<ModeWord> for model::Mode {
    fn from(word: ModeWord) -> Self {
        match word {
            ModeWord::Observe => Self::Observe,
            ModeWord::Enforce => Self::Enforce,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Paths {
    pub(super) state: PathBuf,
    pub(super) run: PathBuf,
    pub(super) policy: PathBuf,
    pub(super) classification: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            state: "/var/lib/snowfence".into(),
            run: "/run/snowfence".into(),
            policy: "/etc/snowfence/policy".into(),
            classification: "/etc/snowfence/classification.toml".into(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Attach {
    pub(super) cgroup: Option<PathBuf>,
    pub(super) pins: PathBuf,
    pub(super) drop_forwarded: bool,
}

impl Default for Attach {
    fn default() -> Self {
        Self { cgroup: None, pins: "/sys/fs/bpf/snowfence".into(), drop_forwarded: true }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Lsm {
    pub(super) enabled: bool,
    pub(super) network_services: Vec<String>,
}

impl Default for Lsm {
    fn default() -> Self {
        let LsmConfig { enabled, network_services } = LsmConfig::default();
        Self { enabled, network_services }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listen {
    pub(super) port: u16,
}

impl Default for Listen {
    fn default() -> Self {
        Self { port: 15001 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Guard {
    pub(super) accounts: Vec<String>,
    #[serde(default = "default_domains")]
    pub(super) domains: Vec<String>,
    #[serde(default)]
    pub(super) ocsp_hosts: Option<Vec<String>>,
    #[serde(default = "default_refresh_seconds")]
    pub(super) refresh_seconds: u64,
    #[serde(default)]
    pub(super) scope: ScopeWord,
    #[serde(default)]
    pub(super) proxies: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ScopeWord {
    #[default]
    Addresses,
    Strict,
}

impl From<ScopeWord> for interception::Scope {
    fn from(word: ScopeWord) -> Self {
        match word {
            ScopeWord::Addresses => Self::Addresses,
            ScopeWord::Strict => Self::Strict,
        }
    }
}

fn default_domains() -> Vec<String> {
    vec!["snowflakecomputing.com".to_owned(), "snowflakecomputing.cn".to_owned()]
}

fn default_refresh_seconds() -> u64 {
    30
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Upstream {
    pub(super) extra_roots: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Workload {
    pub(super) workers: Vec<PathBuf>,
    pub(super) runners: Vec<PathBuf>,
    pub(super) units: Vec<String>,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            workers: vec!["/opt/actions-runner/bin/Runner.Worker".into()],
            runners: Vec::new(),
            units: vec!["actions.runner.*.service".to_owned()],
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Identity {
    pub(super) github: Github,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Github {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) request_hosts: Vec<String>,
}

impl Default for Github {
    fn default() -> Self {
        Self {
            issuer: "https://token.actions.githubusercontent.com".to_owned(),
            audience: "snowfence".to_owned(),
            request_hosts: vec!["actions.githubusercontent.com".to_owned()],
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Trust {
    pub(super) runner_env_files: Vec<PathBuf>,
    pub(super) certifi_roots: Vec<PathBuf>,
}
