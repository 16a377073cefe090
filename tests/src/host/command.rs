//! Commands in the lab: as steps of a job, or as what is no job.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::lab::Lab;
use super::options::{Identity, JobFacts};
use super::site::Place;
use super::worker::Job;
use super::{enter, environment, process};

/// How often a command's output is looked at.
const OUTPUT_POLL: Duration = Duration::from_millis(20);

/// A command to be run in a lab; what is not said is as the lab's options have it.
#[derive(Debug)]
#[must_use = "nothing runs before `run`, `spawn` or `status`"]
pub struct JobCommand<'lab> {
    lab: &'lab Lab,
    words: Vec<String>,
    identity: Identity,
    facts: JobFacts,
    variables: BTreeMap<String, String>,
    cwd: PathBuf,
    deadline: Duration,
}

impl<'lab> JobCommand<'lab> {
    pub(super) fn new(lab: &'lab Lab, words: Vec<String>) -> Self {
        let options = lab.options();
        Self {
            lab,
            words,
            identity: options.identity,
            facts: JobFacts::default(),
            variables: BTreeMap::new(),
            cwd: lab.cwd().to_owned(),
            deadline: options.deadline,
        }
    }

    /// Who the command is.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// Which job the command is a step of.
    pub fn facts(mut self, facts: JobFacts) -> Self {
        self.facts = facts;
        self
    }

    /// Adds a variable, or sets one otherwise than the lab does.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Where the command starts.
    pub fn cwd(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.cwd);
        self
    }

    /// How long [`JobCommand::run`] waits before it kills the command and fails.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs the command without input, to its end, and gives what it wrote.
    ///
    /// # Errors
    /// It could not be started, or did not end in time. An exit code other than 0 is no error.
    pub fn run(self) -> Result<Output> {
        let deadline = self.deadline;
        self.spawn()?.wait(deadline)
    }

    /// Starts the command without input; what it writes is kept.
    ///
    /// # Errors
    /// It could not be started.
    pub fn spawn(self) -> Result<Running> {
        let (stdout, stderr) = (scratch()?, scratch()?);
        let copies = (stdout.try_clone(), stderr.try_clone());
        let mut command = self.command()?;
        command.stdin(Stdio::null()).stdout(copies.0.context("cannot share a file")?);
        command.stderr(copies.1.context("cannot share a file")?);
        let child = command.spawn().context("cannot run lab-exec")?;
        Ok(Running { child, stdout, stderr })
    }

    /// Starts the command with the caller's own input, output and terminal.
    pub(super) fn attach(self) -> Result<Child> {
        self.command()?.spawn().context("cannot run lab-exec")
    }

    fn command(self) -> Result<Command> {
        if self.words.is_empty() {
            bail!("there is no command to run");
        }
        let site = self.lab.site();
        let mut variables = environment::snowflake();
        let place = if self.identity == Identity::None { Place::User } else { Place::Runner };
        let mut command = enter::at(self.lab.exec(), site, place, Some(&self.cwd));
        environment::clean(&mut command, site);
        environment::clients(&mut command, self.lab.tools(), site);
        if self.identity == Identity::None {
            variables.extend(self.variables);
            command.envs(variables).args(self.words);
            return Ok(command);
        }
        let token = environment::request_token(self.identity, &self.facts, site)?;
        variables.extend(environment::step(&self.facts, site, &self.cwd, token.as_deref()));
        variables.extend(self.variables);
        let file = self.lab.job_file();
        Job { command: self.words, cwd: self.cwd, variables }.write(&file)?;
        command.arg(site.runner().join("bin/Runner.Listener")).arg("run").arg(file);
        Ok(command)
    }
}

/// A command that was started and not waited for yet. Dropped, it is killed with all it has started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Running {
    /// The process at the root of the command: the runner's listener, or the command itself if it is no job.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    ///
    /// # Errors
    /// The file that keeps it cannot be read.
    pub fn stdout_so_far(&self) -> Result<String> {
        let length = self.stdout.metadata().context("cannot look at a file")?.len();
        let mut bytes = vec![0; usize::try_from(length).context("too much output")?];
        self.stdout.read_exact_at(&mut bytes, 0).context("cannot read a file")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until what it has written to standard output is as expected, and gives that.
    ///
    /// # Errors
    /// It was not so within the deadline; the text has what it had written by then.
    pub fn wait_until(&self, deadline: Duration, is_so: impl Fn(&str) -> bool) -> Result<String> {
        let start = Instant::now();
        loop {
            let said = self.stdout_so_far()?;
            if is_so(&said) {
                return Ok(said);
            }
            if start.elapsed() > deadline {
                bail!("what was waited for did not come within {deadline:?}; the command wrote:\n{said}");
            }
            std::thread::sleep(OUTPUT_POLL);
        }
    }

    /// Its status, if it has ended.
    ///
    /// # Errors
    /// The process cannot be watched.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot watch a command")
    }

    /// Asks it to end; a job's step gets the same signal.
    ///
    /// # Errors
    /// The process has gone.
    pub fn terminate(&self) -> Result<()> {
        process::signal(&self.child, Signal::SIGTERM).context("cannot signal a command")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end in time, and was killed; the text has what it had written.
    pub fn wait(mut self, deadline: Duration) -> Result<Output> {
        let status = process::wait(&mut self.child, deadline).context("cannot watch a command")?;
        let Some(status) = status else {
            process::kill_tree(&mut self.child);
            let (stdout, stderr) = (contents(&mut self.stdout)?, contents(&mut self.stderr)?);
            bail!(
                "the command did not end within {deadline:?}; it wrote:\n{}{}",
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            );
        };
        Ok(Output { status, stdout: contents(&mut self.stdout)?, stderr: contents(&mut self.stderr)? })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        process::kill_tree(&mut self.child);
    }
}

/// Output goes to files and not to pipes, so that a daemon that a command leaves behind cannot hold up its reader.
fn scratch() -> Result<File> {
    tempfile::tempfile().context("cannot make a file for output")
}

fn contents(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).context("cannot read a file")?;
    Ok(bytes)
}

/// The words of a command as text, which is what a job description can hold.
pub(super) fn words<S: AsRef<OsStr>>(command: &[S]) -> Result<Vec<String>> {
    let text = |word: &S| word.as_ref().to_str().map(str::to_owned);
    command
        .iter()
        .map(|word| text(word).with_context(|| format!("{} is not UTF-8", word.as_ref().display())))
        .collect()
}
