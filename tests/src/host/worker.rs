//! The runner: a listener that starts a worker, and a worker that starts the steps of a job, as GitHub's does.
//!
//! `lab-worker` plays both, installed as `bin/Runner.Listener` and `bin/Runner.Worker`. Variables of the service are
//! inherited all the way down; what belongs to the job is given only to the step.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Write as _, stderr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::process::{exit_code, signal};
use super::site::Site;

const CANNOT_EXECUTE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// What a worker is told of the step it shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) command: Vec<String>,
    pub(super) cwd: PathBuf,
    pub(super) variables: BTreeMap<String, String>,
}

impl Job {
    /// Writes the job where only root may read it: it holds what the step may ask a token with.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let text =
            json!({ "command": self.command, "cwd": self.cwd, "variables": self.variables }).to_string();
        let mut open = fs::OpenOptions::new();
        let mut handle = open
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)
            .with_context(|| format!("cannot make {}", file.display()))?;
        handle.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
    }

    fn take(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no job", file.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            command: value.get("command")?.as_array()?.iter().map(text).collect::<Option<_>>()?,
            cwd: value.get("cwd")?.as_str()?.into(),
            variables: value
                .get("variables")?
                .as_object()?
                .iter()
                .map(|(name, value)| Some((name.clone(), text(value)?)))
                .collect::<Option<_>>()?,
        })
    }
}

/// Installs the runner into its folder, with the `.env` file that administrators (and `trust install`) edit.
pub(super) fn install(site: &Site, worker: &Path) -> Result<()> {
    let bin = site.runner().join("bin");
    for folder in [bin.clone(), site.runner().join("_work/_temp"), site.runner().join("_work/_tool")] {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    // Two files, as a runner has them: by its file the worker is known.
    for name in ["Runner.Listener", "Runner.Worker"] {
        let copy = bin.join(name);
        fs::copy(worker, &copy).with_context(|| format!("cannot make {}", copy.display()))?;
    }
    let env = site.runner().join(".env");
    fs::write(&env, "LANG=C.UTF-8\n").with_context(|| format!("cannot write {}", env.display()))
}

/// Plays the runner: `run JOB-FILE` is the listener, `spawnclient JOB-FILE` the worker.
///
/// # Errors
/// Says what kept the step from being started, other than a program that is missing or cannot be executed: that gives
/// 127 or 126, as in shells. The value is the step's exit code.
pub fn runner(arguments: &[OsString]) -> Result<i32> {
    let [verb, job] = arguments else { bail!("usage: lab-worker run|spawnclient JOB-FILE") };
    match verb.to_str() {
        Some("run") => listen(Path::new(job)),
        Some("spawnclient") => work(Path::new(job)),
        _ => bail!("no such verb: {}", verb.display()),
    }
}

/// The service: reads `.env` when it starts, and hands the job to a worker.
fn listen(job: &Path) -> Result<i32> {
    let own = std::env::current_exe().context("cannot tell where the runner is")?;
    let bin = own.parent().context("the runner is in no folder")?;
    let root = bin.parent().context("the runner has no root folder")?;
    let mut worker = Command::new(bin.join("Runner.Worker"));
    worker.args(["spawnclient".as_ref(), job.as_os_str()]).envs(service_variables(&root.join(".env"))?);
    relay(&mut worker, Signal::SIGUSR1)?.context("cannot start Runner.Worker")
}

/// The job: starts the step with what belongs to the job, and becomes its exit code.
fn work(file: &Path) -> Result<i32> {
    let job = Job::take(file)?;
    let (program, arguments) = job.command.split_first().context("the job has no command")?;
    let mut step = Command::new(program);
    step.args(arguments).current_dir(&job.cwd).envs(&job.variables);
    match relay(&mut step, Signal::SIGINT)? {
        Ok(code) => Ok(code),
        Err(error) => {
            writeln!(stderr(), "lab: cannot run {program}: {error}").context("cannot tell of an error")?;
            Ok(if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { CANNOT_EXECUTE })
        }
    }
}

/// Starts a child, passes on what it should hear of, and gives its exit code. An interrupt from a terminal reaches
/// every process there by itself, so it is not passed on; one that shall be arrives as `SIGUSR1`, leaves as `interrupt`.
fn relay(command: &mut Command, interrupt: Signal) -> Result<io::Result<i32>> {
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1])
        .context("cannot watch for signals")?;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(Err(error)),
    };
    for heard in signals.forever() {
        let passed_on = match heard {
            SIGCHLD => match child.try_wait().context("cannot wait for a child")? {
                Some(status) => return Ok(Ok(exit_code(status))),
                None => continue,
            },
            SIGTERM => Signal::SIGTERM,
            SIGUSR1 => interrupt,
            // These come from a terminal, which tells the child too.
            _ => continue,
        };
        signal(&child, passed_on).context("cannot signal a child")?;
    }
    bail!("signals ended before the child did")
}

/// The lines `NAME=value` of a service's `.env` file.
fn service_variables(file: &Path) -> Result<Vec<(String, String)>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("cannot read {}", file.display()))?,
    };
    Ok(variables_of(&text))
}

fn variables_of(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| !name.is_empty());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_read_once_as_it_was_written_and_by_root_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("job");
        let variables = BTreeMap::from([("A".to_owned(), "x=\"y\"\n".to_owned())]);
        let job = Job { command: vec!["sh".into(), "-c".into(), "é".into()], cwd: "/src".into(), variables };
        job.write(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(job.write(&file).is_err());
        assert_eq!(Job::take(&file).unwrap(), job);
        assert!(Job::take(&file).is_err());
    }

    #[test]
    fn what_is_no_job_is_not_run() {
        for text in [
            "",
            "{}",
            r#"{"command":["a"],"cwd":"/"}"#,
            r#"{"command":"a","cwd":"/","variables":{}}"#,
            r#"{"command":["a",1],"cwd":"/","variables":{}}"#,
            r#"{"command":["a"],"cwd":"/","variables":{"A":1}}"#,
        ] {
            assert_eq!(Job::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_service_file_gives_its_lines_with_an_equals_sign() {
        let text = "LANG=C.UTF-8\nSSL_CERT_FILE=/a=b\n\nno variable\n=empty\n";
        let expected =
            [("LANG", "C.UTF-8"), ("SSL_CERT_FILE", "/a=b")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(variables_of(text), expected);
    }

    #[test]
    fn a_program_that_is_not_there_gives_127_and_one_that_cannot_run_126() {
        let place = tempfile::tempdir().unwrap();
        for (program, code) in [("no-such-program-at-all", 127), ("/etc/hostname", 126), ("true", 0)] {
            let file = place.path().join("job");
            Job { command: vec![program.into()], cwd: "/".into(), variables: BTreeMap::new() }
                .write(&file)
                .unwrap();
            assert_eq!(work(&file).unwrap(), code, "{program}");
        }
    }
}
