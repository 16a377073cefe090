//! `snowfence policy`: look at a policy before it judges anybody, and at statements. No verb here talks to an agent or to
//! Snowflake.

mod check;
mod explain;
mod facts;
mod test;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, Subcommand};

use super::{Failure, Outcome};
use crate::{config::Config, output::Output, rules::Files};

/// Look at a policy.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Everything that is wrong with the policy and the classification: file, line, column, and what was meant.
    Check(check::Args),
    /// Run the cases in *.test.toml: who asks what, and what the rules should say.
    Test(test::Args),
    /// Why a statement would be permitted, held or refused, and what would be masked.
    Explain(Box<explain::Args>),
    /// Facts of statements in bulk: JSON lines in, JSON lines out.
    Facts,
}

/// Runs the verb.
pub(crate) fn run(config: &Path, args: &Args, output: Output) -> Outcome {
    match &args.verb {
        Verb::Check(args) => check::run(config, args, output),
        Verb::Test(args) => test::run(config, args, output),
        Verb::Explain(args) => explain::run(config, args, output),
        Verb::Facts => facts::run(),
    }
}

/// Where the policy is: what the configuration says, unless it is said here.
#[derive(Debug, ClapArgs)]
struct Place {
    /// The folder of the policy, instead of the configured one.
    #[arg(long, value_name = "FOLDER")]
    policy: Option<PathBuf>,
    /// The classification, instead of the configured one; with --policy alone, classification.toml beside that folder or
    /// in it.
    #[arg(long, value_name = "FILE")]
    classification: Option<PathBuf>,
}

/// A place that is known.
struct Found {
    folder: PathBuf,
    files: Files,
}

/// What the file beside a policy folder is called.
const CLASSIFICATION: &str = "classification.toml";

impl Place {
    /// Reads the files. What is in them may be wrong; that they cannot be read is bad input.
    fn read(&self, config: &Path) -> Result<Found, Failure> {
        self.find(config).map_err(Failure::Input)
    }

    fn find(&self, config: &Path) -> Result<Found> {
        let (folder, classification) = match (&self.policy, &self.classification) {
            (Some(folder), Some(file)) => (folder.clone(), file.clone()),
            (Some(folder), None) => (folder.clone(), beside(folder)?),
            (None, own) => {
                let config = Config::load(config)?;
                (config.policy, own.clone().unwrap_or(config.classification))
            }
        };
        let files = Files::read(&folder, &classification)?;
        Ok(Found { folder, files })
    }
}

/// The classification of a folder that no configuration speaks of.
fn beside(folder: &Path) -> Result<PathBuf> {
    let beside = folder.parent().map(|parent| parent.join(CLASSIFICATION));
    let places = [Some(folder.join(CLASSIFICATION)), beside];
    places.into_iter().flatten().find(|path| path.is_file()).with_context(|| {
        format!("no {CLASSIFICATION} in {0} or beside it: name it with --classification", folder.display())
    })
}
