//! `snowfence doctor`: look at everything, change nothing, and name the fix for each thing that is not right.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use interception::Dialer;
use model::{HostName, Timestamp};
use serde::Serialize;
use tls::Originator;
use workload::{IssuerCheck, Workload};

use super::{Failure, Outcome};
use crate::{
    config::Config,
    guarded::Guarded,
    output::{Output, counted},
    probe::Prober,
    rules::Files,
    wire,
};

/// Tokens are taken as long before and after their time; half of it is reason enough to look at the clock.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(30);

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    good: bool,
    /// What was found.
    found: String,
    /// What mends it, when it is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// Runs the verb. Anything that is not right makes the exit code 1; a configuration that cannot be read, 2.
pub(crate) fn run(config: &Path, output: Output) -> Outcome {
    let config = Config::load(config).map_err(Failure::Input)?;
    let mut findings = kernel(&config);
    findings.push(policy(&config));
    findings.extend(trust(&config));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot start")?;
    findings.extend(runtime.block_on(network(&config)));
    findings.push(record(&config));
    output.print(&findings, |findings| people(findings))?;
    if findings.iter().all(|finding| finding.good) { Ok(()) } else { Err(Failure::Reported) }
}

fn kernel(config: &Config) -> Vec<Finding> {
    let mut checks = interception::preflight(&config.interception);
    checks.extend(interception::refinements(&config.interception));
    checks
        .into_iter()
        .map(|check| match check.outcome {
            Ok(detail) => good(check.name, detail),
            Err(problem) => bad(check.name, problem.problem, problem.fix),
        })
        .collect()
}

fn policy(config: &Config) -> Finding {
    let at = config.policy.display();
    let files = Files::read(&config.policy, &config.classification);
    match files.and_then(|files| Ok(files.load()?)) {
        Ok(policies) => match policies.rule_ids().count() {
            0 => bad("policy", "there is no rule, so everything is refused", format!("write one in {at}")),
            rules => good("policy", format!("{} in {at}", counted(rules, "rule", "rules"))),
        },
        Err(error) => {
            bad("policy", format!("{error:#}"), "mend the file it names; `snowfence init` writes a starter")
        }
    }
}

fn trust(config: &Config) -> Vec<Finding> {
    let authority = match wire::authority(config) {
        Ok(authority) => authority,
        Err(error) => {
            return vec![bad(
                "CA",
                format!("{error:#}"),
                "do as it says, then run `snowfence trust install`",
            )];
        }
    };
    let left = authority.valid_until().duration_since(SystemTime::now()).unwrap_or_default();
    let days = left.as_secs() / 86_400;
    let mut findings = vec![if days < 30 {
        bad(
            "CA",
            format!("its root ends in {days} days"),
            "make a new one: `snowfence trust remove`, then `init`",
        )
    } else {
        good("CA", format!("root valid for {days} days"))
    }];
    match super::trust::survey(config, &authority) {
        Ok(stores) => findings.extend(stores.into_iter().map(|store| {
            let what = format!("trust: {}", store.name);
            match store.fix {
                None => good(what, store.found),
                Some(fix) => bad(what, store.found, fix),
            }
        })),
        Err(error) => findings.push(bad("trust", format!("{error:#}"), "run `snowfence trust install`")),
    }
    findings
}

async fn network(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Our own root is trusted by jobs, never for Snowflake. Without a CA there is none to leave out.
    let own = wire::authority(config).ok();
    let own = own.as_ref().map(|authority| authority.root_der());
    let originator = match Originator::new(&config.extra_roots, own) {
        Ok(originator) => Arc::new(originator),
        Err(error) => {
            return vec![bad("upstream trust", error.to_string(), "install the package ca-certificates")];
        }
    };
    for host in &config.accounts {
        let what = format!("upstream {host}");
        let fix = "check DNS, the route and any proxy between this host and Snowflake";
        findings.push(match upstream(config, host, originator.clone()).await {
            Ok(addresses) => good(what, format!("reached and verified at {addresses}")),
            Err(error) if !config.proxies.is_empty() => {
                good(what, format!("left to the jobs' proxies; without one: {error:#}"))
            }
            Err(error) => bad(what, format!("{error:#}"), fix),
        });
    }
    match wire::workload(config, &originator) {
        Ok(workload) => findings.extend(issuers(&workload).await),
        Err(error) => findings.push(bad("issuers", format!("{error:#}"), "mend [identity] and [workload]")),
    }
    findings
}

/// Whether the keys of each issuer can be had, by its own discovery document where nothing else is configured, and
/// whether its clock and ours agree about when a token begins and ends.
async fn issuers(workload: &Workload) -> Vec<Finding> {
    let checks = workload.check_issuers().await;
    let now = Timestamp::from(SystemTime::now());
    let found = checks.into_iter().map(|IssuerCheck { provider, issuer, outcome }| {
        let what = format!("issuer {}", provider.as_str());
        let health = match outcome {
            Ok(health) => health,
            Err(error) => {
                let fix = "check DNS, the route to it, and `issuer`, `jwks_url` or `jwks_file` of its table in [identity]; its \
                           jobs are not verified without its keys";
                return bad(what, format!("keys of {issuer}: {error}"), fix);
            }
        };
        let keys = counted(health.keys, "key", "keys");
        let Some(date) = health.date else { return good(what, format!("{keys} of {issuer}")) };
        let apart = date.since(now).max(now.since(date));
        if apart > CLOCKS_APART_MAX {
            let found = format!("the clocks of this host and of {issuer} are {} seconds apart", apart.as_secs());
            return bad(what, found, "set this host's clock; tokens are refused before they begin and after they end");
        }
        good(what, format!("{keys} of {issuer}, clocks {} s apart", apart.as_secs()))
    });
    found.collect()
}

async fn upstream(config: &Config, host: &HostName, originator: Arc<Originator>) -> Result<String> {
    let dialer = Dialer::before_start(&config.interception)?;
    let guarded =
        Guarded::resolve(std::slice::from_ref(host), &Prober::new(dialer, originator), false).await?;
    let addresses: Vec<String> = guarded.of(host).iter().map(ToString::to_string).collect();
    Ok(addresses.join(", "))
}

fn record(config: &Config) -> Finding {
    let dir = config.record_dir();
    if !dir.is_dir() {
        return good("record", format!("{} is made at the first start", dir.display()));
    }
    let fix = "keep the folder as it is for whoever investigates; move it away to begin a new record";
    match audit::read::sessions(&dir) {
        Ok(listing) => match listing.damage {
            None => {
                let sessions = counted(listing.sessions.len(), "session", "sessions");
                good("record", format!("{sessions} in {}", dir.display()))
            }
            Some(damage) => bad("record", damage.to_string(), fix),
        },
        Err(error) => bad("record", error.to_string(), "check the permissions of the folder"),
    }
}

fn good(what: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding { what: what.into(), good: true, found: found.into(), fix: None }
}

fn bad(what: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { what: what.into(), good: false, found: found.into(), fix: Some(fix.into()) }
}

fn people(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&format!(
            "{}  {}: {}\n",
            if finding.good { "ok  " } else { "FAIL" },
            finding.what,
            finding.found
        ));
        if let Some(fix) = &finding.fix {
            text.push_str(&format!("      fix: {fix}\n"));
        }
    }
    text
}
