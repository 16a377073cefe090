//! What the agent says of itself.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use interception::{Interception, Scope};
use model::{HostName, Mode};
use proxy::Corridor;
use serde::{Deserialize, Serialize};
use workload::StatusWatch;

use crate::{
    config::Config,
    guarded::{Doubt, Guarded},
    ocsp::Helpers,
    proxies::Proxies,
    rules::{Known, Rules},
};

/// The answer to `snowfence status`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// `enforce` or `observe`.
    pub(crate) mode: String,
    /// The cgroup that is covered; absent when it is the whole host.
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) pins: PathBuf,
    pub(crate) port: u16,
    /// Where the agent listens, by network namespace.
    pub(crate) listeners: Vec<Listener>,
    /// `addresses` or `strict`.
    pub(crate) scope: String,
    pub(crate) guarded: Vec<Host>,
    /// Corporate proxies, guarded on their ports alone.
    pub(crate) proxies: Vec<Host>,
    /// Addresses that are guarded because somebody used them and they proved to be Snowflake's, though no name leads there.
    pub(crate) learned: Vec<Learned>,
    /// Addresses that are not guarded because they did not prove to be Snowflake's.
    pub(crate) unproved: Vec<Unproved>,
    /// Addresses whose port 80 the agent answers, so that drivers that ask about certificates there do not wait.
    pub(crate) ocsp: Vec<String>,
    /// Packets to guarded addresses that others sent through this host and that were dropped; absent where none are.
    pub(crate) forwarded_dropped: Option<u64>,
    /// What went on untouched, because it is not Snowflake's.
    pub(crate) passed: Passed,
    pub(crate) sessions: usize,
    /// Where it is asked who has left.
    #[serde(default)]
    pub(crate) offboarding: Vec<StatusSource>,
    /// How many rules the policy in force has.
    pub(crate) rules: usize,
    /// SHA-256 of its files, in hex.
    pub(crate) policy: String,
    pub(crate) record: Record,
    /// The optional programs on the kernel's security hooks.
    pub(crate) lsm: Vec<LsmProgram>,
    /// What the kernel programs did, by outcome.
    pub(crate) counters: Vec<Counter>,
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) host: String,
    pub(crate) addresses: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Learned {
    pub(crate) address: String,
    /// The host that it proved to be.
    pub(crate) host: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Unproved {
    pub(crate) address: String,
    /// The host that it is said to be.
    pub(crate) host: String,
    /// What it answered when it was asked.
    pub(crate) reason: String,
    /// How long ago that was.
    pub(crate) asked_seconds_ago: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listener {
    /// Inode number of the network namespace, as `lsns -t net` shows it.
    pub(crate) namespace: u64,
    /// Whether it is the agent's own.
    pub(crate) own: bool,
    /// Port on `127.0.0.1`.
    pub(crate) port4: u16,
    /// Port on `::1`; absent where there is no IPv6.
    pub(crate) port6: Option<u16>,
}

/// See [`proxy::Passed`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Passed {
    pub(crate) open: usize,
    pub(crate) connections: u64,
    pub(crate) bytes: u64,
    pub(crate) refused: u64,
}

/// See [`workload::SourceReport`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StatusSource {
    pub(crate) source: String,
    pub(crate) deactivated: usize,
    pub(crate) read_seconds_ago: Option<u64>,
    pub(crate) stale: bool,
    pub(crate) fault: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LsmProgram {
    pub(crate) name: String,
    /// What it stands against.
    pub(crate) against: String,
    /// Why it is not there; absent when it is.
    pub(crate) missing: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) folder: PathBuf,
    /// Position of the last durable entry.
    pub(crate) entries: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) outcome: String,
    pub(crate) count: u64,
}

/// Makes the answer, from what runs.
pub(crate) struct Reporter {
    pub(crate) config: Config,
    pub(crate) rules: Arc<Rules>,
    pub(crate) interception: Arc<Interception>,
    pub(crate) corridor: Arc<Corridor>,
    pub(crate) journal: audit::Journal,
    pub(crate) guarded: Arc<Guarded>,
    pub(crate) helpers: Arc<Helpers>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) status: StatusWatch,
}

impl Reporter {
    /// The answer as one JSON document.
    pub(crate) fn json(&self) -> String {
        let policy = self.rules.known();
        let mut warnings = self.warnings(&policy);
        let forwarded_dropped = self.interception.forwarded_dropped().unwrap_or_else(|fault| {
            warnings.push(format!("packets that containers make themselves are not dropped: {fault}"));
            None
        });
        if !self.config.interception.drop_forwarded {
            warnings.push(
                "packets that containers make themselves are let through: attach.drop_forwarded".to_owned(),
            );
        }
        let counters = match self.interception.counters() {
            Ok(counters) => counters,
            Err(error) => {
                warnings.push(format!("the kernel programs' counters cannot be read: {error}"));
                Vec::new()
            }
        };
        let offboarding = self.status.report();
        warnings.extend(offboarding.iter().filter_map(unread));
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mode: self.config.mode.as_str().to_owned(),
            cgroup: self.config.interception.cgroup.clone(),
            pins: self.config.interception.pins.clone(),
            port: self.interception.port(),
            listeners: self.interception.listeners().iter().map(listener).collect(),
            scope: scope(self.config.interception.scope).to_owned(),
            guarded: self.guarded.table().into_iter().map(host).collect(),
            proxies: self.proxies.table().into_iter().map(host).collect(),
            learned: self.guarded.learned().into_iter().map(learned).collect(),
            unproved: self.guarded.doubted().into_iter().map(unproved).collect(),
            ocsp: self.helpers.addresses().iter().map(ToString::to_string).collect(),
            forwarded_dropped,
            passed: passed(self.corridor.passed()),
            sessions: self.corridor.session_count(),
            offboarding: offboarding.into_iter().map(source).collect(),
            rules: policy.rules,
            policy: policy.digest,
            record: Record { folder: self.config.record_dir(), entries: self.journal.head().seq },
            lsm: self.interception.lsm().iter().map(lsm_program).collect(),
            counters: counters
                .into_iter()
                .map(|(outcome, count)| Counter { outcome: outcome.name().to_owned(), count })
                .collect(),
            warnings,
        };
        serde_json::to_string(&status).unwrap_or_default()
    }

    /// What an operator should look at.
    fn warnings(&self, policy: &Known) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.config.mode == Mode::Observe {
            warnings.push("observing only: nothing is refused and nothing is masked".to_owned());
        }
        if let Some(fault) = &policy.fault {
            warnings.push(format!(
                "the policy files cannot be loaded; the last good policy stays in force: {}",
                fault.replace('\n', "; ")
            ));
        }
        if let Some(cgroup) = &self.config.interception.cgroup {
            warnings.push(format!("only processes below {} are covered", cgroup.display()));
        }
        if let Some(failure) = self.journal.failure() {
            warnings.push(format!("the record cannot be written, so everything is refused: {failure}"));
        }
        match self.interception.rivals() {
            Ok(rivals) => warnings.extend(rivals.iter().map(ToString::to_string)),
            Err(error) => warnings.push(format!("programs of others cannot be looked for: {error}")),
        }
        let lost = self.interception.events_lost();
        if lost > 0 {
            warnings
                .push(format!("{lost} events of the kernel programs came faster than they could be seen to"));
        }
        warnings
    }
}

fn host((host, addresses): (impl ToString, Vec<IpAddr>)) -> Host {
    Host { host: host.to_string(), addresses: addresses.iter().map(ToString::to_string).collect() }
}

fn learned((address, host): (IpAddr, HostName)) -> Learned {
    Learned { address: address.to_string(), host: host.to_string() }
}

fn unproved((address, doubt): (IpAddr, Doubt)) -> Unproved {
    Unproved {
        address: address.to_string(),
        host: doubt.host.to_string(),
        reason: doubt.reason,
        asked_seconds_ago: doubt.asked.elapsed().as_secs(),
    }
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Addresses => "addresses",
        Scope::Strict => "strict",
    }
}

fn passed(passed: proxy::Passed) -> Passed {
    let proxy::Passed { open, connections, bytes, refused } = passed;
    Passed { open, connections, bytes, refused }
}

/// What is to be said of a source that does not answer.
fn unread(source: &workload::SourceReport) -> Option<String> {
    let age = if source.is_stale { "for too long" } else { "now" };
    let fault = source.fault.as_deref().or(source.is_stale.then_some("it has not answered"))?;
    Some(format!("{} cannot be read {age}: {fault}", source.name))
}

fn source(report: workload::SourceReport) -> StatusSource {
    let workload::SourceReport { name, deactivated, read_seconds_ago, is_stale, fault } = report;
    StatusSource { source: name, deactivated, read_seconds_ago, stale: is_stale, fault }
}

fn lsm_program(found: &interception::LsmProgram) -> LsmProgram {
    LsmProgram {
        name: found.name.to_owned(),
        against: found.against.to_owned(),
        missing: found.missing.clone(),
    }
}

fn listener(found: &interception::NamespaceListener) -> Listener {
    Listener {
        namespace: found.inode,
        own: found.is_home,
        port4: found.entry.port4,
        port6: found.entry.port6,
    }
}
