//! `snowfence status`: ask the running agent, or say what is left in the kernel without one.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use serde::Serialize;

use super::{Failure, Outcome};
use crate::{
    config::Config,
    control::{self, Question},
    output::{Output, counted},
    status::{LsmProgram, Status, Unproved},
};

/// How much of a policy's digest people are shown.
const DIGEST_CHARS: usize = 12;

/// What is in the kernel while no agent runs.
#[derive(Debug, Serialize)]
struct Down {
    running: bool,
    /// Whether programs are attached, so that guarded connections are refused.
    attached: bool,
    guarded: Vec<String>,
    /// Packets dropped that others sent through this host; absent where none are, or that cannot be found out.
    forwarded_dropped: Option<u64>,
}

/// Runs the verb. An agent that does not run is a failure: exit code 1.
pub(crate) fn run(config: &Path, output: Output) -> Outcome {
    let config = Config::load(config).map_err(Failure::Input)?;
    match control::ask(&config.control_socket(), &Question::Status)? {
        Some(answer) => {
            let status: Status =
                serde_json::from_str(&answer).context("the agent's answer is not a status")?;
            Ok(output.print(&status, up)?)
        }
        None => {
            let pinned = interception::inspect(&config.interception.pins).map_err(anyhow::Error::from)?;
            let attached = !pinned.attached.is_empty();
            let guarded = pinned.guarded.iter().map(ToString::to_string).collect();
            // Without `nft` there is no table, and the table is the lesser part.
            let forwarded_dropped =
                interception::forwarded_dropped(&config.interception.pins).unwrap_or_default();
            output.print(&Down { running: false, attached, guarded, forwarded_dropped }, down)?;
            Err(Failure::Reported)
        }
    }
}

fn down(state: &Down) -> String {
    let mut text = "no agent is running\n".to_owned();
    if state.attached {
        text.push_str("kernel programs are attached: connections to guarded addresses are refused\n");
        text.push_str(&format!("guarded     {}\n", state.guarded.join(", ")));
    } else {
        text.push_str("no kernel programs are attached: nothing is guarded\n");
    }
    if state.forwarded_dropped.is_some() {
        text.push_str(
            "a table of nftables is in place: forwarded packets to guarded addresses are dropped\n",
        );
    }
    text
}

/// What the programs stand against, by the reason why they are not there.
fn by_reason(programs: &[LsmProgram]) -> BTreeMap<Option<&str>, Vec<&str>> {
    let mut reasons: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for program in programs {
        reasons.entry(program.missing.as_deref()).or_default().push(program.against.as_str());
    }
    reasons
}

fn up(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("{name:<11} {value}\n"));
    line("agent", format!("{} (pid {}), mode {}", status.version, status.pid, status.mode));
    let covered = status.cgroup.as_ref().map_or("the whole host".to_owned(), |c| c.display().to_string());
    line("covers", covered);
    line("pins", status.pins.display().to_string());
    line("listens", format!("port {}", status.port));
    for listener in status.listeners.iter().filter(|listener| !listener.own) {
        line("listens", format!("port {} in network namespace {}", listener.port4, listener.namespace));
    }
    for host in &status.guarded {
        line("guards", format!("{} at {}", host.host, host.addresses.join(", ")));
    }
    for learned in &status.learned {
        line("guards", format!("{} at {}, which no name leads to", learned.host, learned.address));
    }
    for unproved in &status.unproved {
        let Unproved { address, host, reason, asked_seconds_ago } = unproved;
        line("unproved", format!("{address} for {host}: {reason} (asked {asked_seconds_ago} s ago)"));
    }
    if !status.ocsp.is_empty() {
        line(
            "answers",
            format!("port 80 of {}, for drivers that ask about certificates", status.ocsp.join(", ")),
        );
    }
    for proxy in &status.proxies {
        line("guards", format!("the proxy {} at {}", proxy.host, proxy.addresses.join(", ")));
    }
    if status.scope == "strict" {
        line("guards", "port 443 of every other address, to pass on what is not Snowflake's".to_owned());
    }
    let passed = &status.passed;
    if status.scope == "strict" || !status.proxies.is_empty() {
        let connections = counted(passed.connections, "connection", "connections");
        let (open, bytes, refused) = (passed.open, passed.bytes, passed.refused);
        line("passed", format!("{connections} ({open} open), {bytes} bytes, {refused} refused"));
    }
    let digest = status.policy.get(..DIGEST_CHARS).unwrap_or(&status.policy);
    line("policy", format!("{}, version {digest}", counted(status.rules, "rule", "rules")));
    line("sessions", status.sessions.to_string());
    for source in &status.offboarding {
        let read = source.read_seconds_ago.map_or("never read".to_owned(), |ago| format!("read {ago} s ago"));
        line("left", format!("{} deactivated by {}, {read}", source.deactivated, source.source));
    }
    let entries = counted(status.record.entries, "entry", "entries");
    line("record", format!("{entries} in {}", status.record.folder.display()));
    if let Some(count) = status.forwarded_dropped {
        line("forwarded", format!("{} dropped", counted(count, "packet", "packets")));
    }
    for (missing, programs) in by_reason(&status.lsm) {
        line(
            "lsm",
            match missing {
                None => counted(programs.len(), "program", "programs") + " on the kernel's security hooks",
                Some(why) => format!("{why}; not guarded against: {}", programs.join("; ")),
            },
        );
    }
    for counter in status.counters.iter().filter(|counter| counter.count > 0) {
        line("kernel", format!("{} {}", counter.count, counter.outcome));
    }
    for warning in &status.warnings {
        line("WARNING", warning.clone());
    }
    text
}
