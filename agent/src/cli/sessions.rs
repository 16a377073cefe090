//! `snowfence sessions`: read the record. Works on the files alone, of a running agent or a stopped one.

mod show;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail, ensure};
use audit::read::{self, Listing, SessionSummary};
use model::SessionId;

use super::{Failure, Outcome};
use crate::{
    config::{self, Config},
    output::{Output, printable, table},
};

/// Who asked Snowflake what, and what came of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The agent's state folder; the configured one when left out.
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// One line for each login, and for each connection that was refused before there was one.
    List,
    /// One session in full: job, identity, process, and each statement with its decision, rules and masks.
    Show {
        /// The session's id, or the beginning of it.
        id: String,
    },
}

/// Runs the verb.
pub(crate) fn run(config: &Path, args: &Args, output: Output) -> Outcome {
    let record = match &args.state {
        Some(state) => config::record_dir(state),
        None => Config::load(config).map_err(Failure::Input)?.record_dir(),
    };
    match fs::metadata(&record) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let at = record.display();
            return Err(Failure::Input(anyhow!(
                "there is no record in {at}; has the agent run with this state?"
            )));
        }
        Err(error) => {
            let at = format!("the record in {} cannot be read; it is for root only", record.display());
            return Err(Failure::Failed(anyhow::Error::new(error).context(at)));
        }
    }
    let listing = read::sessions(&record).context("the record cannot be read")?;
    match &args.verb {
        Verb::List => output.print(&listing, list)?,
        Verb::Show { id } => {
            let id = resolve(&listing, id).map_err(Failure::Input)?;
            let detail = read::session(&record, id)
                .context("the record cannot be read")?
                .with_context(|| format!("session {id} is not in the record any more"))?;
            output.print(&detail, show::text)?;
        }
    }
    match &listing.damage {
        None => Ok(()),
        Some(damage) => Err(Failure::Failed(anyhow!("the record is damaged: {damage}"))),
    }
}

/// Finds the one session whose id begins so.
fn resolve(listing: &Listing, prefix: &str) -> anyhow::Result<SessionId> {
    ensure!(!prefix.is_empty(), "give the id of a session; `snowfence sessions list` shows them");
    let prefix = prefix.to_ascii_lowercase();
    let mut found =
        listing.sessions.iter().map(|s| s.session).filter(|id| id.to_string().starts_with(&prefix));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => bail!("no session's id begins with {prefix:?}; `snowfence sessions list` shows them"),
        (Some(_), Some(_)) => bail!("more than one session's id begins with {prefix:?}; give more of it"),
    }
}

fn list(listing: &Listing) -> String {
    let heading = [
        "SESSION",
        "STARTED",
        "ASSURANCE",
        "REPOSITORY",
        "RUN",
        "ACTOR",
        "USER",
        "LOGIN",
        "STATEMENTS",
        "REFUSED",
        "MASKED",
    ];
    let rows: Vec<Vec<String>> = listing.sessions.iter().map(row).collect();
    let mut text = if rows.is_empty() { "no sessions\n".to_owned() } else { table(&heading, &rows) };
    for refused in &listing.refused {
        let pid = refused.connection.process.as_ref().map_or(0, |process| process.pid);
        let reason = printable(&refused.connection.reason);
        text.push_str(&format!(
            "{}  connection to {} from process {pid} refused: {reason}\n",
            short_time(&refused.time.to_string()),
            refused.connection.destination
        ));
    }
    for refused in &listing.refused_requests {
        text.push_str(&format!(
            "{}  {} to {} from process {}: {}\n",
            short_time(&refused.time.to_string()),
            printable(&refused.request.exchange),
            refused.request.server_name,
            refused.request.process.pid,
            printable(&refused.request.reason)
        ));
    }
    text
}

fn row(session: &SessionSummary) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), printable);
    let would = if session.would_refuse > 0 {
        format!(" (+{} would be)", session.would_refuse)
    } else {
        String::new()
    };
    vec![
        session.session.to_string().chars().take(8).collect(),
        short_time(&session.started.to_string()),
        show::assurance(session.who.assurance).to_owned(),
        or_dash(&session.who.repository),
        or_dash(&session.who.run_id),
        or_dash(&session.who.actor),
        or_dash(&session.user),
        show::decision(session.login).to_owned(),
        session.statements.to_string(),
        format!("{}{would}", session.refused),
        session.masked_cells.to_string(),
    ]
}

/// To the second: `2026-11-23 06:30:01`.
fn short_time(rfc3339: &str) -> String {
    rfc3339.chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect()
}
