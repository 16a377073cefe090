//! Who a process is to the agent, in a form for people and programs: what is known, and where each of it came from.

use std::{collections::BTreeMap, os::unix::fs::MetadataExt, time::SystemTime};

use anyhow::{Context, Result};
use identity::Principal;
use model::{Namespaces, Timestamp};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use workload::{Evidence, Workload};

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The name that rules and records have for it.
    pub(crate) principal: String,
    /// `verified`, `observed` or `none`.
    pub(crate) assurance: String,
    /// Why nobody is known, when nobody is.
    pub(crate) reason: Option<String>,
    /// When the token ends that stands behind it.
    pub(crate) expires: Option<String>,
    /// What rules can ask about, with where it came from.
    pub(crate) attributes: Vec<Fact>,
    /// All claims of the token.
    pub(crate) claims: BTreeMap<String, String>,
    /// What the host knows of the process.
    pub(crate) evidence: Vec<Fact>,
}

/// Something that is known.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Who says so.
    pub(crate) from: String,
}

/// A process that is asked about, and when.
#[derive(Debug)]
pub(crate) struct Who {
    pid: u32,
    uid: u32,
    gid: u32,
    at_ns: u64,
}

impl Who {
    /// The process with this pid, if it was there at a time of [`now_ns`].
    pub(crate) fn of(pid: u32, at_ns: u64) -> Result<Self> {
        let folder = std::fs::metadata(format!("/proc/{pid}"));
        let folder = folder.with_context(|| format!("there is no process {pid}"))?;
        Ok(Self { pid, uid: folder.uid(), gid: folder.gid(), at_ns })
    }

    async fn evidence(&self, workload: &Workload) -> Evidence {
        workload.identify_pid(self.pid, self.uid, self.gid, self.at_ns).await
    }
}

/// The clock that connections are dated with: nanoseconds after boot, less those that the machine was suspended.
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Finds out who it is, as for a connection of its.
pub(crate) async fn find(workload: &Workload, who: &Who) -> Identity {
    let evidence = who.evidence(workload).await;
    let principal = workload.principal(&evidence, Timestamp::from(SystemTime::now())).await;
    shown(&evidence, &principal, None)
}

/// Binds its job to a token.
pub(crate) async fn bind(workload: &Workload, who: &Who, token: String) -> Result<Identity> {
    let evidence = who.evidence(workload).await;
    let bound = workload.bind(&evidence, token, Timestamp::from(SystemTime::now())).await;
    let principal =
        bound.map_err(|reason| anyhow::anyhow!("the job was not bound to the token: {reason}"))?;
    Ok(shown(&evidence, &principal, Some("handed in")))
}

fn shown(evidence: &Evidence, principal: &Principal, origin: Option<&str>) -> Identity {
    Identity {
        principal: principal.id(),
        assurance: principal.assurance().to_string(),
        reason: principal.reason().map(ToString::to_string),
        expires: principal.expires().map(|expires| expires.to_string()),
        attributes: attributes(evidence, principal, origin),
        claims: principal.claims().cloned().unwrap_or_default(),
        evidence: process(evidence),
    }
}

/// What rules can ask about, as far as it is known.
fn attributes(evidence: &Evidence, principal: &Principal, origin: Option<&str>) -> Vec<Fact> {
    let from = match (principal.subject(), origin) {
        (None, _) => {
            evidence.step().map_or_else(String::new, |step| format!("variables of the step, process {step}"))
        }
        (Some(_), Some(origin)) => format!("token, {origin}"),
        (Some(_), None) => {
            let origin = evidence.token_origin();
            format!("token, {}", origin.as_deref().unwrap_or("handed in with `snowfence identity bind`"))
        }
    };
    let job = principal.job_facts();
    let claimed = job.map(|job| job.groups.join(" "));
    let ruled = principal.groups().collect::<Vec<_>>().join(" ");
    let agent = principal.agent().map(|agent| format!("{} ({})", agent.name(), agent.evidence()));
    let said = [
        ("provider", principal.provider().map(|provider| provider.as_str().to_owned())),
        ("subject", principal.subject().map(str::to_owned)),
        ("repository", principal.repository().map(str::to_owned)),
        ("ref", principal.git_ref().map(str::to_owned)),
        ("workflow", principal.workflow().map(str::to_owned)),
        ("environment", principal.environment().map(str::to_owned)),
        ("actor", principal.actor().map(str::to_owned)),
        ("event", job.and_then(|job| job.event.clone())),
        ("run_id", principal.run_id().map(str::to_owned)),
        ("run_attempt", principal.run_attempt().map(str::to_owned)),
        ("job", principal.job().map(str::to_owned)),
        ("groups", claimed),
    ];
    let said = said.into_iter().map(|(name, value)| (name, value, from.as_str()));
    let found = [
        ("groups", Some(ruled), "[[groups]]"),
        ("agent", agent, "programs and variables below the worker, now or before in this job"),
        ("runner", principal.registration().map(str::to_owned), "`.runner` beside the worker's file"),
    ];
    said.chain(found).filter_map(|(name, value, from)| fact(name, value, from)).collect()
}

/// What the host knows of the process.
fn process(evidence: &Evidence) -> Vec<Fact> {
    let process = evidence.process();
    let ancestors = process.ancestors.iter().map(|ancestor| match &ancestor.exe {
        Some(exe) => format!("{} {}", ancestor.pid, exe.display()),
        None => ancestor.pid.to_string(),
    });
    let proc = |file: &str| format!("/proc/{}/{file}", process.pid);
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let hex = |digest: [u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let namespaces = process.namespaces.map(|Namespaces { mount, network, pid, user }| {
        format!("mount {mount}, network {network}, pid {pid}, user {user}")
    });
    let kernel = || "kernel".to_owned();
    let facts = [
        ("pid", Some(process.pid.to_string()), kernel()),
        ("uid", Some(process.uid.to_string()), kernel()),
        ("start", Some(format!("{} ticks after boot", process.start_ticks)), proc("stat")),
        ("ended", process.gone.then(|| "before all of it was read".to_owned()), proc("stat")),
        ("executable", path(&process.exe), proc("exe")),
        ("sha256", process.exe_sha256.map(hex), "the file that it runs".to_owned()),
        ("arguments", Some(process.argv.join(" ")), proc("cmdline, as the process has it now")),
        ("ancestors", Some(ancestors.collect::<Vec<_>>().join(", ")), proc("stat, and theirs")),
        ("cgroup", Some(process.cgroup.clone()), proc("cgroup")),
        ("unit", process.unit.clone(), proc("cgroup")),
        (
            "container",
            process.container.as_ref().map(ToString::to_string),
            proc("cgroup, and the engine's files"),
        ),
        ("namespaces", namespaces, proc("ns")),
        ("worker", evidence.worker().map(|pid| pid.to_string()), "kernel, and [workload]".to_owned()),
        ("step", evidence.step().map(|pid| pid.to_string()), "kernel: what the worker started".to_owned()),
    ];
    facts.into_iter().filter_map(|(name, value, from)| fact(name, value, &from)).collect()
}

fn fact(name: &str, value: Option<String>, from: &str) -> Option<Fact> {
    let value = value.filter(|value| !value.is_empty())?;
    Some(Fact { name: name.to_owned(), value, from: from.to_owned() })
}
