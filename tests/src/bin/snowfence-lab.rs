//! `cargo xtask lab`: runs a command as an unmodified job behind the agent, with its own input, output and exit code.

use std::ffi::OsString;
use std::io::{Write as _, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lab::{AgentStartFailed, Identity, Lab, Mode, Network, Options};

/// The lab itself failed; the command has not run, or not to its end.
const LAB_FAILED: i32 = 125;
/// As clap has it.
const BAD_USAGE: i32 = 2;

/// Run COMMAND as an unmodified CI job on a lab host with the agent installed. The exit code is COMMAND's; 2 for
/// bad options, 125 if the lab failed, and the agent's own if it refused to start.
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
    /// Run COMMAND in a container, as a step that starts one does.
    #[arg(long, value_name = "NETWORK", value_enum)]
    container: Option<Network>,
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
        container: cli.container,
        verbose: cli.verbose,
        ..Options::default()
    };
    if let Err(error) = options.check() {
        return complain(&error, BAD_USAGE);
    }
    match Lab::start(options).and_then(|lab| lab.conduct(&cli.command)) {
        Ok(code) => exit_code(code),
        Err(error) => {
            let refused = error.downcast_ref::<AgentStartFailed>().and_then(|failed| failed.code);
            complain(&error, refused.unwrap_or(LAB_FAILED))
        }
    }
}

fn complain(error: &anyhow::Error, code: i32) -> ExitCode {
    // Without standard error the exit code has to do.
    drop(writeln!(stderr(), "lab: {error:#}"));
    exit_code(code)
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
