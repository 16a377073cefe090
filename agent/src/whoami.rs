//! Who a process is to the agent, in a form for people and programs: what is known, and where each of it came from.

use std::{collections::BTreeMap, os::unix::fs::MetadataExt, time::SystemTime};

use anyhow::{Context, Result};
use identity::Principal;
use model::Timestamp;
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
    let process = evidence.process();
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
    let claimed = job.into_iter().flat_map(|job| job.groups.iter().map(String::as_str));
    let groups = Some(claimed.chain(principal.groups()).collect::<Vec<_>>().join(" "));
    let groups = groups.filter(|groups| !groups.is_empty());
    let agent = principal.agent().map(|agent| format!("{} ({})", agent.name(), agent.evidence()));
    let attributes = [
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
        ("groups", groups),
        ("agent", agent),
    ];
    let ancestors = process.ancestors.iter().map(|ancestor| match &ancestor.exe {
        Some(exe) => format!("{} {}", ancestor.pid, exe.display()),
        None => ancestor.pid.to_string(),
    });
    let (kernel, proc) = ("kernel", format!("/proc/{}", process.pid));
    let facts = [
        ("pid", Some(process.pid.to_string()), kernel.to_owned()),
        ("uid", Some(process.uid.to_string()), kernel.to_owned()),
        ("start", Some(format!("{} ticks after boot", process.start_ticks)), format!("{proc}/stat")),
        ("executable", process.exe.as_ref().map(|exe| exe.display().to_string()), format!("{proc}/exe")),
        ("arguments", Some(process.argv.join(" ")), format!("{proc}/cmdline, as the process has it now")),
        ("ancestors", Some(ancestors.collect::<Vec<_>>().join(", ")), format!("{proc}/stat, and theirs")),
        ("cgroup", Some(process.cgroup.clone()), format!("{proc}/cgroup")),
        ("unit", process.unit.clone(), format!("{proc}/cgroup")),
        (
            "container",
            process.container.as_ref().map(ToString::to_string),
            format!("{proc}/cgroup, and the engine's files"),
        ),
        ("worker", evidence.worker().map(|pid| pid.to_string()), "[workload] workers".to_owned()),
        ("step", evidence.step().map(|pid| pid.to_string()), "what the worker started".to_owned()),
    ];
    let fact = |name: &str, value: Option<String>, from: String| {
        value.filter(|value| !value.is_empty()).map(|value| Fact { name: name.to_owned(), value, from })
    };
    Identity {
        principal: principal.id(),
        assurance: principal.assurance().to_string(),
        reason: principal.reason().map(ToString::to_string),
        expires: principal.expires().map(|expires| expires.to_string()),
        attributes: attributes
            .into_iter()
            .filter_map(|(name, value)| fact(name, value, from.clone()))
            .collect(),
        claims: principal.claims().cloned().unwrap_or_default(),
        evidence: facts.into_iter().filter_map(|(name, value, from)| fact(name, value, from)).collect(),
    }
}
