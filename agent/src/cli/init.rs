//! `snowfence init`: what a host needs before the agent can run. Never overwrites.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, anyhow, ensure};
use model::HostName;
use policy::starter::{self, Starter};
use serde::Serialize;
use tls::Authority;

use super::{Failure, Outcome};
use crate::{
    config::{Config, SAMPLE},
    output::Output,
};

/// The account in the sample, to be replaced by a real one.
const SAMPLE_ACCOUNT: &str = "acme.snowflakecomputing.com";

/// Write a configuration, a starter policy and the CA.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Host of the Snowflake account to guard; needed when there is no configuration yet. May be given several times.
    #[arg(long, value_name = "HOST")]
    account: Vec<String>,
}

/// What was done, file by file.
#[derive(Debug, Default, Serialize)]
struct Report {
    written: Vec<PathBuf>,
    kept: Vec<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(config: &Path, args: &Args, output: Output) -> Outcome {
    let mut report = Report::default();
    let text = if config.exists() { None } else { Some(sample(&args.account).map_err(Failure::Input)?) };
    let meant = match &text {
        Some(text) => Config::parse(text),
        None => Config::load(config),
    };
    let meant = meant.map_err(Failure::Input)?;
    asked_for(&meant, &args.account, config).map_err(Failure::Input)?;
    match text {
        Some(text) => write(config, &text, &mut report)?,
        None => report.kept.push(config.to_owned()),
    }
    policy(&meant, &mut report)?;
    authority(&meant, &mut report)?;
    Ok(output.print(&report, people)?)
}

/// The sample with the operator's accounts in it.
fn sample(accounts: &[String]) -> Result<String> {
    if accounts.is_empty() {
        return Err(anyhow!("name the account to guard: --account acme.snowflakecomputing.com"));
    }
    let names: Vec<String> = accounts
        .iter()
        .map(|account| Ok(format!("\"{}\"", HostName::parse(account).context("--account")?)))
        .collect::<Result<_>>()?;
    Ok(SAMPLE.replace(&format!("[\"{SAMPLE_ACCOUNT}\"]"), &format!("[{}]", names.join(", "))))
}

/// A configuration that is there already is kept, and must not leave the operator with the belief that an account is
/// guarded which it does not name.
fn asked_for(meant: &Config, accounts: &[String], config: &Path) -> Result<()> {
    for account in accounts {
        let account = HostName::parse(account).context("--account")?;
        ensure!(
            meant.accounts.contains(&account),
            "{} is kept as it is and does not name {account}: add it to guard.accounts there",
            config.display()
        );
    }
    Ok(())
}

/// The starter policy, unless there is any policy: one of an operator's own must not be widened by ours.
fn policy(config: &Config, report: &mut Report) -> Result<()> {
    let has_policy = fs::read_dir(&config.policy).is_ok_and(|mut entries| entries.next().is_some());
    if has_policy {
        report.kept.push(config.policy.clone());
    } else {
        write(&config.policy.join("starter.cedar"), starter::POLICY, report)?;
        starters(&config.policy, &starter::BESIDE, report)?;
        starters(&config.policy.join("examples"), &starter::EXAMPLES, report)?;
    }
    write(&config.classification, starter::CLASSIFICATION, report)
}

fn starters(folder: &Path, starters: &[Starter], report: &mut Report) -> Result<()> {
    for Starter { name, policy, test } in starters {
        write(&folder.join(format!("{name}.cedar")), policy, report)?;
        write(&folder.join(format!("{name}.test.toml")), test, report)?;
    }
    Ok(())
}

fn authority(config: &Config, report: &mut Report) -> Result<()> {
    let dir = config.ca_dir();
    if Authority::load(&dir).is_ok() {
        report.kept.push(dir);
        return Ok(());
    }
    Authority::create(&dir, &config.domains, SystemTime::now()).context("the CA cannot be made")?;
    report.written.push(dir);
    Ok(())
}

fn write(path: &Path, text: &str, report: &mut Report) -> Result<()> {
    let at = || format!("{} cannot be written", path.display());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(at)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(path) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(at)?;
            report.written.push(path.to_owned());
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => report.kept.push(path.to_owned()),
        Err(error) => return Err(error).with_context(at),
    }
    Ok(())
}

fn people(report: &Report) -> String {
    let mut text = String::new();
    for path in &report.written {
        text.push_str(&format!("wrote  {}\n", path.display()));
    }
    for path in &report.kept {
        text.push_str(&format!("kept   {}\n", path.display()));
    }
    text.push_str("next: look at the configuration, then `snowfence doctor` and `snowfence trust install`\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_takes_the_operators_accounts() {
        let text = sample(&["XY1.snowflakecomputing.com".into(), "b.snowflakecomputing.com".into()]).unwrap();
        let accounts = Config::parse(&text).unwrap().accounts;
        assert_eq!(
            accounts.iter().map(HostName::as_str).collect::<Vec<_>>(),
            ["xy1.snowflakecomputing.com", "b.snowflakecomputing.com"]
        );
    }

    #[test]
    fn an_account_must_be_named_and_be_a_host() {
        assert!(sample(&[]).unwrap_err().to_string().contains("--account"));
        assert!(sample(&["https://x".into()]).is_err());
    }

    #[test]
    fn an_account_that_a_kept_configuration_does_not_name_is_refused() {
        let (kept, path) = (Config::parse(SAMPLE).unwrap(), Path::new("/etc/kept.toml"));
        asked_for(&kept, &[], path).unwrap();
        asked_for(&kept, &["ACME.snowflakecomputing.com".into()], path).unwrap();
        let error = asked_for(&kept, &["b.snowflakecomputing.com".into()], path).unwrap_err().to_string();
        assert!(error.contains("/etc/kept.toml") && error.contains("b.snowflakecomputing.com"), "{error}");
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/snowfence.toml");
        let mut report = Report::default();
        write(&path, "first", &mut report).unwrap();
        write(&path, "second", &mut report).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!((report.written.len(), report.kept.len()), (1, 1));
    }
}
