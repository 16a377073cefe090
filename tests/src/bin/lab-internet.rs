//! The lab's internet as a process: it says `ready` on standard output and serves until SIGTERM, SIGINT or the end
//! of standard input.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use lab::internet::{self, Addresses, Options, Validity};

/// The lab's internet: DNS, Snowflake, an OIDC issuer and an ordinary site. Started by the lab in a namespace that
/// has their addresses.
#[derive(Parser)]
#[command(name = "lab-internet")]
struct Arguments {
    /// Folder for the root certificate, the request log and the claims of jobs
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Python environment that has fakesnow
    #[arg(long, value_name = "DIR")]
    fakesnow: PathBuf,
    /// SQL file to run before anyone is served; may be given more than once
    #[arg(long, value_name = "FILE")]
    seed: Vec<PathBuf>,
    /// Seconds after which a session token must be renewed
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    session_validity: u64,
    /// Seconds after which a session cannot be renewed any more
    #[arg(long, value_name = "SECONDS", default_value_t = 4 * 3600)]
    master_validity: u64,
    /// Answer on another port of Snowflake's address, at once and without SQL: for measurements
    #[arg(long)]
    canned: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The sentence alone: whoever started the lab wants to know what to mend, not where this program was.
            drop(writeln!(std::io::stderr(), "lab-internet: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let options = Options {
        dir: arguments.dir,
        python: arguments.fakesnow,
        seeds: arguments.seed,
        validity: Validity {
            session: Duration::from_secs(arguments.session_validity),
            master: Duration::from_secs(arguments.master_validity),
        },
        addresses: Addresses::lab(arguments.canned),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(internet::serve(options, || {
        let mut out = std::io::stdout();
        out.write_all(b"ready\n").and_then(|()| out.flush())
    }))
}
