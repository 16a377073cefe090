//! `cargo xtask lab`: runs a command as an unmodified job behind the agent, with its own input, output and exit code.

use std::ffi::OsString;
use std::io::{Write as _, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lab::{AgentStartFailed, Identity, Lab, Mode, Options};

/// The lab itself failed; the command has not run, or not to its end.
const LAB_FAILED: i32 = 125;

/// Run COMMAND as an unmodified CI job on a lab host with the agent installed. The exit code is COMMAND's; 125 if the
/// lab failed, or the agent's own if it refused to start.
#[derive(Debug, Parser)]
#[command(name = "snowfence-lab", bin_name = "cargo xtask lab")]
struct Cli {
    /// No agent: what a client sees when nothing stands between.
    #[arg(long)]
    direct: bool,
    /// What the agent does with its verdicts.
    #[arg(long, value_enum, default_value = "enforce")]
    mode: Mode,
    /// A folder of *.cedar files instead of the lab's own policy.
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
    /// A classification of columns instead of the lab's own.
    #[arg(long, value_name = "FILE")]
    classification: Option<PathBuf>,
    /// SQL to run against the server first; may be given again.
    #[arg(long, value_name = "FILE")]
    seed: Vec<PathBuf>,
    /// Who COMMAND is to the host.
    #[arg(long, value_enum, default_value = "verified")]
    identity: Identity,
    /// Keep the agent's state here.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where COMMAND starts; by default here.
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Say what is done, and show the agent's log, on standard error.
    #[arg(short, long)]
    verbose: bool,
    /// The command and its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let options = Options {
        agent: !cli.direct,
        mode: cli.mode,
        policy: cli.policy,
        classification: cli.classification,
        seeds: cli.seed,
        identity: cli.identity,
        state: cli.state,
        cwd: cli.cwd,
        verbose: cli.verbose,
        ..Options::default()
    };
    let code = Lab::start(options).and_then(|lab| lab.conduct(&cli.command)).unwrap_or_else(|error| {
        // Without standard error the exit code has to do.
        drop(writeln!(stderr(), "lab: {error:#}"));
        error.downcast_ref::<AgentStartFailed>().and_then(|failed| failed.code).unwrap_or(LAB_FAILED)
    });
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
