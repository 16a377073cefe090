//! Running other programs: what fails says what was run.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, IsTerminal, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The cargo that runs this program, for commands on the workspace itself.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a command whose whole output is chatter: it goes to standard error, so that standard output stays with the
/// program that this one becomes.
pub(crate) fn run_aside(command: &mut Command) -> Result<()> {
    run(command.stdout(std::io::stderr()))
}

/// Runs a command and returns what it wrote to standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", line(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", line(command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a command can be started and succeeds. What it says is not shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a `cargo build` that says nothing when nothing had to be built.
pub(crate) fn build_quietly(command: &mut Command) -> Result<()> {
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdout(std::io::stderr())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", line(command)))?;
    if let Some(pipe) = child.stderr.take() {
        for text in BufReader::new(pipe).split(b'\n') {
            let text = text.context("cannot read what cargo says")?;
            if !is_closing_line(&String::from_utf8_lossy(&text)) {
                let mut out = std::io::stderr().lock();
                out.write_all(&text).and_then(|()| out.write_all(b"\n")).context("cannot write")?;
            }
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {}", line(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", line(command));
    }
    Ok(())
}

/// Whether this is the line cargo always ends with, in colour or not.
fn is_closing_line(text: &str) -> bool {
    text.contains("Finished") && text.contains(" target(s) in ")
}

/// Becomes the command. Returns only when that was not possible.
pub(crate) fn become_it(command: &mut Command) -> anyhow::Error {
    let error = command.exec();
    anyhow::Error::new(error).context(format!("cannot start {}", line(command)))
}

/// The command as a person would type it, near enough to read.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command() {
        let error = run(Command::new("false").arg("x")).unwrap_err();
        assert_eq!(error.to_string(), "false x failed (exit status: 1)");
        assert!(format!("{:#}", run(&mut Command::new("/nowhere/x")).unwrap_err()).contains("/nowhere/x"));
        assert!(
            output(Command::new("sh").args(["-c", "echo why >&2; exit 3"]))
                .unwrap_err()
                .to_string()
                .ends_with("why")
        );
        assert!(!succeeds(&mut Command::new("false")));
        assert!(!succeeds(&mut Command::new("/nowhere/x")));
    }

    #[test]
    fn only_the_closing_line_is_dropped() {
        assert!(is_closing_line("    Finished `dev` profile [unoptimized] target(s) in 0.3s"));
        assert!(is_closing_line("\u{1b}[1m\u{1b}[92m    Finished\u{1b}[0m `dev` profile target(s) in 0.3s"));
        assert!(!is_closing_line("warning: unused variable: `Finished`"));
        assert!(!is_closing_line("   Compiling xtask v0.1.0"));
    }
}
