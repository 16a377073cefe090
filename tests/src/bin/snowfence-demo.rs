//! `cargo xtask demo`: the story of a leaked token, with a real driver, real kernel programs and real output.

use std::io::{self, Write};
use std::process::{ExitCode, Output};

use anyhow::{Context as _, Result, ensure};
use lab::{Identity, Lab, Options};
use serde_json::Value;

/// The step that each scene runs, unmodified.
const STEP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/demo.py");

fn main() -> ExitCode {
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The last word of a demo that went wrong; there is nobody left to tell if it cannot be written.
            drop(writeln!(io::stderr(), "the demo failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Result<()> {
    say(
        "A CI runner with Snowfence installed, in network namespaces of its own. The pipeline was not changed: its step \
         is an ordinary Python script with an ordinary password for Snowflake.",
    )?;
    let lab = Lab::start(Options::default())?;

    say("1. A job of acme/etl reads customers. E-mail and SSN come back masked.")?;
    let read = step(
        &lab,
        Identity::Verified,
        &["select name, email, ssn, city from customers order by id limit 4"],
    )?;
    ensure!(read.status.success(), "the job could not read customers");

    say("2. The same job tries to drop the table. No rule permits it, and the driver says so.")?;
    let dropped =
        step(&lab, Identity::Verified, &["drop table customers", "select count(*) from customers"])?;
    ensure!(!dropped.status.success(), "the table was dropped");

    say("3. Somebody on the same host has the leaked password, but is no CI job.")?;
    let leaked = step(&lab, Identity::None, &["select ssn from customers"])?;
    ensure!(!leaked.status.success(), "a process that is no job was let in");

    say("4. What the security engineer sees.")?;
    show(&lab, &["sessions", "list"])?;
    let list = lab.snowfence(&["sessions", "list", "--json"])?;
    let list: Value = serde_json::from_slice(&list.stdout).context("sessions list --json")?;
    let sessions = list.get("sessions").and_then(Value::as_array).context("no sessions were recorded")?;
    for session in sessions {
        let id = session.get("session").and_then(Value::as_str).context("a session has no id")?;
        let id = id.get(..8).unwrap_or(id);
        show(&lab, &["sessions", "show", id])?;
    }
    lab.stop()?;
    say("The lab is gone again; nothing of it is left on this machine.")
}

/// Runs the step as somebody, and prints what it printed.
fn step(lab: &Lab, identity: Identity, statements: &[&str]) -> Result<Output> {
    let command: Vec<&str> = ["python3", STEP].iter().chain(statements).copied().collect();
    let output = lab.command(&command)?.identity(identity).run()?;
    print(&output)?;
    Ok(output)
}

/// Runs a verb of the agent's, and prints what it printed.
fn show(lab: &Lab, verb: &[&str]) -> Result<()> {
    write(format_args!("$ snowfence {}\n", verb.join(" ")))?;
    let output = lab.snowfence(verb)?;
    print(&output)?;
    ensure!(output.status.success(), "snowfence {} failed", verb.join(" "));
    Ok(())
}

fn print(output: &Output) -> Result<()> {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    write(format_args!("{out}{err}\n"))
}

fn say(text: &str) -> Result<()> {
    write(format_args!("\n=== {text}\n\n"))
}

fn write(text: std::fmt::Arguments<'_>) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_fmt(text).and_then(|()| out.flush()).context("standard output is closed")
}
