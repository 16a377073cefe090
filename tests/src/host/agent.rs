//! The agent under test: its configuration, its service, and what it says.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::options::{Options, cedar_files};
use super::site::{CGROUP, Place, Site};
use super::tools::Tools;
use super::{cgroup, enter, environment, process};

const READY_WAIT: Duration = Duration::from_secs(30);
const STOP_WAIT: Duration = Duration::from_secs(10);
const NOTIFY_POLL: Duration = Duration::from_millis(20);
const NOTIFY_BYTES_MAX: usize = 4096;
const LISTEN_PORT: u16 = 15001;
/// What a service finds in `PATH` unless its unit says otherwise.
const SERVICE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The agent did not come up, or refused what it was given.
#[derive(Debug, Clone)]
pub struct AgentStartFailed {
    /// Which verb of the agent it was.
    pub verb: String,
    /// Its exit code; none if it was still running without being ready.
    pub code: Option<i32>,
    /// What it said last.
    pub log: String,
}

impl std::fmt::Display for AgentStartFailed {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verb, code, log } = self;
        match code {
            Some(code) => write!(to, "`snowfence {verb}` ended with exit code {code}:\n{log}"),
            None => write!(to, "`snowfence {verb}` was not ready within {} s:\n{log}", READY_WAIT.as_secs()),
        }
    }
}

impl std::error::Error for AgentStartFailed {}

/// The agent of one lab; it may be running or not.
#[derive(Debug)]
pub(super) struct Agent {
    exe: PathBuf,
    exec: PathBuf,
    site: Site,
    state: PathBuf,
    installed: Mutex<bool>,
    running: Mutex<Option<Child>>,
}

impl Agent {
    /// Writes configuration and policy; nothing is started.
    pub(super) fn configure(tools: &Tools, site: &Site, options: &Options) -> Result<Self> {
        let state = match &options.state {
            Some(folder) => {
                fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
                fs::canonicalize(folder).with_context(|| format!("cannot find {}", folder.display()))?
            }
            None => site.folder.join("state"),
        };
        let policy = site.etc().join("policy");
        fs::create_dir_all(&policy).with_context(|| format!("cannot make {}", policy.display()))?;
        for file in cedar_files(&options.policy_folder())? {
            copy(&file, &policy.join(file.file_name().unwrap_or_default()))?;
        }
        copy(&options.classification_file(), &site.etc().join("classification.toml"))?;
        let agent = Self {
            exe: tools.agent.clone(),
            exec: tools.exec.clone(),
            site: site.clone(),
            state,
            installed: Mutex::new(false),
            running: Mutex::new(None),
        };
        let text = agent.configuration(options, tools)?;
        fs::write(agent.config(), text)
            .with_context(|| format!("cannot write {}", agent.config().display()))?;
        Ok(agent)
    }

    fn configuration(&self, options: &Options, tools: &Tools) -> Result<String> {
        let folder = quoted(&self.site.folder)?;
        let attach = quoted(&cgroup::mount_point()?.join(CGROUP).join("host"))?;
        let state = quoted(&self.state)?;
        let roots = tools.py_clients.iter().map(|root| Ok(format!("\"{}\"", quoted(root)?)));
        let roots = roots.collect::<Result<Vec<_>>>()?.join(", ");
        Ok(format!(
            r#"mode = "{mode}"

[paths]
state = "{state}"
run = "{folder}/run"
policy = "{folder}/etc/policy"
classification = "{folder}/etc/classification.toml"

[attach]
cgroup = "{attach}"
pins = "/sys/fs/bpf/snowfence"

[listen]
port = {LISTEN_PORT}

[guard]
accounts = ["acme.snowflakecomputing.com"]

[workload]
workers = ["{folder}/actions-runner/bin/Runner.Worker"]

[identity.github]
issuer = "https://token.actions.githubusercontent.com"
audience = "snowfence"
request_hosts = ["actions.githubusercontent.com"]

[trust]
runner_env_files = ["{folder}/actions-runner/.env"]
certifi_roots = [{roots}]

{settings}
"#,
            mode = options.mode.as_str(),
            settings = options.settings,
        ))
    }

    /// What an administrator does once: makes the CA, and makes the host trust it. Later calls do nothing.
    pub(super) fn install(&self) -> Result<()> {
        let mut installed = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*installed {
            self.must(&["init"])?;
            self.must(&["trust", "install"])?;
            *installed = true;
        }
        Ok(())
    }

    fn must(&self, verb: &[&str]) -> Result<()> {
        let output = self.cli(verb)?;
        if !output.status.success() {
            let log = [output.stdout, output.stderr].concat();
            bail!(AgentStartFailed {
                verb: verb.join(" "),
                code: Some(process::exit_code(output.status)),
                log: String::from_utf8_lossy(&log).trim_end().to_owned(),
            });
        }
        Ok(())
    }

    /// Runs a verb of the agent beside its service, as an administrator would.
    pub(super) fn cli(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(Place::User);
        command.arg("--config").arg(self.config()).args(arguments).stdin(Stdio::null());
        command.output().context("cannot run lab-exec")
    }

    fn command(&self, place: Place) -> Command {
        let mut command = enter::at(&self.exec, &self.site, place, Some(Path::new("/")));
        environment::clean(&mut command, &self.site);
        command.env("PATH", SERVICE_PATH).arg(&self.exe);
        command
    }

    /// Starts the service and waits until it says that it is ready. Does nothing if it runs.
    pub(super) fn start(&self) -> Result<()> {
        let mut running = self.running();
        if running.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None))) {
            return Ok(());
        }
        *running = None;
        let socket = self.site.folder.join("notify");
        remove_file(&socket)?;
        let notify = UnixDatagram::bind(&socket).context("cannot make the agent's notification socket")?;
        notify
            .set_read_timeout(Some(NOTIFY_POLL))
            .context("cannot set up the agent's notification socket")?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .context("cannot open the agent's log")?;
        let mut command = self.command(Place::Agent);
        command.arg("--config").arg(self.config()).arg("run").env("NOTIFY_SOCKET", &socket).process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the agent's log")?)
            .stderr(log);
        let mut child = command.spawn().context("cannot run lab-exec")?;
        let ready = self.wait_until_ready(&notify, &mut child);
        if ready.is_ok() {
            *running = Some(child);
        } else {
            process::kill_tree(&mut child);
        }
        ready
    }

    fn wait_until_ready(&self, notify: &UnixDatagram, child: &mut Child) -> Result<()> {
        let start = Instant::now();
        let mut message = [0_u8; NOTIFY_BYTES_MAX];
        let failed =
            |code| AgentStartFailed { verb: "run".to_owned(), code, log: process::tail(&self.log()) };
        while start.elapsed() < READY_WAIT {
            match notify.recv(&mut message) {
                Ok(length) => {
                    let said = message.get(..length).unwrap_or_default();
                    if said.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                        return Ok(());
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error).context("cannot read the agent's notification socket"),
            }
            if let Some(status) = child.try_wait().context("cannot watch the agent")? {
                bail!(failed(Some(process::exit_code(status))));
            }
        }
        bail!(failed(None))
    }

    /// Ends the service as systemd does, and gives its exit code; none if it was not running.
    pub(super) fn stop(&self) -> Result<Option<i32>> {
        let Some(mut child) = self.running().take() else { return Ok(None) };
        process::signal(&child, Signal::SIGTERM).context("cannot signal the agent")?;
        if let Some(status) = process::wait(&mut child, STOP_WAIT).context("cannot watch the agent")? {
            return Ok(Some(process::exit_code(status)));
        }
        process::kill_tree(&mut child);
        bail!("the agent did not end within {} s of SIGTERM", STOP_WAIT.as_secs())
    }

    /// Kills the service: it gets no chance to do anything about it.
    pub(super) fn kill(&self) -> Result<()> {
        let mut child = self.running().take().context("the agent is not running")?;
        child.kill().context("cannot kill the agent")?;
        child.wait().map(drop).context("cannot wait for the agent")
    }

    /// The service's process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        let mut running = self.running();
        let child = running.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    pub(super) fn config(&self) -> PathBuf {
        self.site.etc().join("snowfence.toml")
    }

    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// Where the service's output goes, over all its starts.
    pub(super) fn log(&self) -> PathBuf {
        self.site.folder.join("agent.log")
    }

    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        // A test that panicked in between leaves a child that is still worth stopping.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).with_context(|| format!("cannot copy {}", from.display()))
}

/// A path for a TOML string; those that would need escapes are refused rather than escaped.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    if text.contains(['"', '\\']) || text.contains(char::is_control) {
        bail!("{text} holds characters that a configuration cannot");
    }
    Ok(text.to_owned())
}

fn remove_file(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Opens the service's log for reading from the start, making it if need be.
pub(super) fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_toml_would_read_otherwise_are_refused() {
        assert_eq!(quoted(Path::new("/tmp/a b")).unwrap(), "/tmp/a b");
        for bad in ["/a\"b", "/a\\b", "/a\nb"] {
            assert!(quoted(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
