//! Starts things inside the lab: `enter` becomes a command in its namespaces and cgroup, `hold` holds the lab itself.

use std::io::{Write as _, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lab::host::{Enter, enter, hold};

/// What shells give for a command that cannot be executed.
const CANNOT_EXECUTE: u8 = 126;

#[derive(Debug, Parser)]
#[command(name = "lab-exec")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Join namespaces and a cgroup, and become a command.
    Enter(Enter),
    /// Lay a lab out, and clear it away when standard input ends.
    Hold {
        /// A certifi package of the jobs' Python environments; may be given again.
        #[arg(long, value_name = "DIR")]
        certifi: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let (outcome, code) = match Cli::parse().verb {
        Verb::Enter(options) => (Err(enter(&options)), CANNOT_EXECUTE),
        Verb::Hold { certifi } => (hold(&certifi), 1),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without standard error the exit code has to do.
            drop(writeln!(stderr(), "lab: {error:#}"));
            ExitCode::from(code)
        }
    }
}
