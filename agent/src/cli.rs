//! The command tree, and what each exit code means: 0 done, 1 refused or failed, 2 bad usage or bad input.

pub(crate) mod doctor;
pub(crate) mod identity;
pub(crate) mod init;
pub(crate) mod policy;
pub(crate) mod run;
pub(crate) mod sessions;
pub(crate) mod status;
pub(crate) mod trust;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::output::Output;

/// Stands between everything on a CI host and Snowflake: catches, identifies, judges, masks, records.
#[derive(Debug, Parser)]
#[command(name = "snowfence", version, propagate_version = true)]
pub(crate) struct Cli {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/snowfence/snowfence.toml")]
    config: PathBuf,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Guard this host until told to stop; what systemd starts.
    Run,
    /// Write a configuration, a starter policy and the CA. Never overwrites.
    Init(init::Args),
    /// What is attached, guarded, recorded, and what is wrong with it.
    Status,
    /// Check this host and the configuration; name the fix for each thing that is not right.
    Doctor,
    /// The CA in the trust stores of this host.
    Trust(trust::Args),
    /// What a policy says before it judges anybody, and what statements are; nothing here needs a running agent.
    Policy(policy::Args),
    /// The record: who asked Snowflake what, and what came of it.
    Sessions(sessions::Args),
    /// Who a process is to the agent, and how a job without a token gets an identity.
    Identity(identity::Args),
}

/// Why a verb ended without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The input cannot be used, and nothing was changed: exit code 2.
    Input(anyhow::Error),
    /// It was refused, or it failed on the way: exit code 1.
    Failed(anyhow::Error),
    /// The answer itself is the failure, and has been printed: exit code 1.
    Reported,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// What a verb returns.
pub(crate) type Outcome = Result<(), Failure>;

impl Cli {
    /// Runs the verb and says how it ended.
    pub(crate) fn dispatch(self) -> ExitCode {
        let output = Output { json: self.json };
        let outcome = match self.verb {
            Verb::Run => run::run(&self.config),
            Verb::Init(args) => init::run(&self.config, &args, output),
            Verb::Status => status::run(&self.config, output),
            Verb::Doctor => doctor::run(&self.config, output),
            Verb::Trust(args) => trust::run(&self.config, &args, output),
            Verb::Policy(args) => policy::run(&self.config, &args, output),
            Verb::Sessions(args) => sessions::run(&self.config, &args, output),
            Verb::Identity(args) => identity::run(&self.config, &args, output),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Reported) => ExitCode::from(1),
            Err(Failure::Failed(error)) => complain(&error, 1),
            Err(Failure::Input(error)) => complain(&error, 2),
        }
    }
}

fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    // Without standard error the exit code has to do.
    drop(writeln!(io::stderr(), "snowfence: {error:#}"));
    ExitCode::from(code)
}
