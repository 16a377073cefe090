//! The configuration file as written. [`super::Config`] is what it means.
//!
//! Unknown keys are refused, so that a misspelt key never silently leaves a guard off.

use std::{collections::BTreeMap, path::PathBuf};

use interception::LsmConfig;
use serde::Deserialize;

use super::people::{AgentEntry, GroupEntry, OffboardingSection};

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
    pub(super) agents: Vec<AgentEntry>,
    #[serde(default)]
    pub(super) groups: Vec<GroupEntry>,
    #[serde(default)]
    pub(super) offboarding: OffboardingSection,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Upstream {
    pub(super) extra_roots: Vec<PathBuf>,
    pub(super) result_domains: Vec<String>,
    pub(super) private_results: bool,
}

/// Where Snowflake has the chunks of results, cloud by cloud (protocol part 3.5).
const RESULT_DOMAINS: [&str; 7] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "blob.core.windows.net",
    "blob.core.chinacloudapi.cn",
    "blob.core.usgovcloudapi.net",
    "storage.googleapis.com",
    "rep.googleapis.com",
];

impl Default for Upstream {
    fn default() -> Self {
        let result_domains = RESULT_DOMAINS.map(str::to_owned).to_vec();
        Self { extra_roots: Vec::new(), result_domains, private_results: false }
    }
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

/// A table for each provider that vouches for jobs on this host, by its word. Without any, GitHub's is there with its
/// defaults.
pub(super) type Identity = BTreeMap<String, Issuer>;

/// One of them. What is left out is what the provider has for all its customers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Issuer {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<OneOrMore>,
    pub(super) request_hosts: Option<Vec<String>>,
    pub(super) jwks_url: Option<String>,
    pub(super) jwks_file: Option<PathBuf>,
    pub(super) variable: Option<String>,
    pub(super) file: Option<PathBuf>,
    pub(super) claims: BTreeMap<String, OneOrMore>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Vec<String> {
    fn from(written: OneOrMore) -> Self {
        match written {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Trust {
    pub(super) runner_env_files: Vec<PathBuf>,
    pub(super) certifi_roots: Vec<PathBuf>,
}
