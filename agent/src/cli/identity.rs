//! `snowfence identity`: who a process is to the running agent, and a token for a job that has none. Both work from
//! inside of a job.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Subcommand;

use super::{Failure, Outcome};
use crate::{
    config::Config,
    control::{self, Question},
    output::{Output, printable, table},
    whoami::{Fact, Identity},
};

/// Where the agent listens, for a job, which may not read the configuration.
const USUAL_SOCKET: &str = "/run/snowfence/control.sock";

/// More than any token has.
const TOKEN_BYTES_MAX: u64 = 16 << 10;

/// Who a process is to the agent.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The agent's control socket. Left out: as the configuration says, or where it usually is.
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The identity that this process gets, its claims, the evidence, and where each came from.
    Whoami {
        /// Another process; root only.
        #[arg(long)]
        pid: Option<u32>,
    },
    /// Bind this process's job to an OIDC token. Never in place of an identity that the job has already.
    Bind {
        /// A file with the token. Left out: standard input, so that no argument list shows it.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
}

/// Runs the verb. Nobody being known is an answer, and exit code 0; a token that is refused is a failure: exit code 1.
pub(crate) fn run(config: &Path, args: &Args, output: Output) -> Outcome {
    let question = match &args.verb {
        Verb::Whoami { pid } => Question::Whoami { pid: *pid },
        Verb::Bind { token_file } => {
            Question::Bind { token: token(token_file.as_deref()).map_err(Failure::Input)? }
        }
    };
    let socket = socket(config, args.socket.as_deref()).map_err(Failure::Input)?;
    let answer = control::ask(&socket, &question)?
        .ok_or_else(|| anyhow!("no agent listens at {}; `snowfence run` starts one", socket.display()))?;
    let identity: Identity =
        serde_json::from_str(&answer).context("the agent's answer is not an identity")?;
    Ok(output.print(&identity, people)?)
}

fn socket(config: &Path, named: Option<&Path>) -> Result<PathBuf> {
    match named {
        Some(socket) => Ok(socket.to_owned()),
        None if std::fs::File::open(config).is_ok() => Ok(Config::load(config)?.control_socket()),
        None => Ok(USUAL_SOCKET.into()),
    }
}

fn token(file: Option<&Path>) -> Result<String> {
    let mut text = String::new();
    let read = match file {
        Some(path) => std::fs::File::open(path)
            .with_context(|| format!("the token {} cannot be read", path.display()))?
            .take(TOKEN_BYTES_MAX + 1)
            .read_to_string(&mut text),
        None => std::io::stdin().lock().take(TOKEN_BYTES_MAX + 1).read_to_string(&mut text),
    };
    read.context("the token cannot be read")?;
    let token = text.trim();
    ensure!(
        !token.is_empty(),
        "there is no token to bind to: it is read from standard input, or from --token-file"
    );
    Ok(token.to_owned())
}

fn people(identity: &Identity) -> String {
    let Identity { principal, assurance, reason, expires, attributes, claims, evidence } = identity;
    let mut text = format!("{} ({assurance})\n", printable(principal));
    if let Some(reason) = reason {
        text.push_str(&format!("the client has no identity: {}\n", printable(reason)));
    }
    if let Some(expires) = expires {
        text.push_str(&format!("the token ends at {expires}\n"));
    }
    for facts in [attributes, evidence].into_iter().filter(|facts| !facts.is_empty()) {
        text.push('\n');
        text.push_str(&table(&["WHAT", "VALUE", "FROM"], &facts.iter().map(row).collect::<Vec<_>>()));
    }
    if !claims.is_empty() {
        let rows = claims.iter().map(|(name, value)| vec![printable(name), printable(value)]);
        text.push('\n');
        text.push_str(&table(&["CLAIM", "VALUE"], &rows.collect::<Vec<_>>()));
    }
    text
}

fn row(fact: &Fact) -> Vec<String> {
    [&fact.name, &fact.value, &fact.from].map(|text| printable(text)).into()
}
