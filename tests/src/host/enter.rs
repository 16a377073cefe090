//! Becoming a command inside the lab: joins a cgroup and namespaces, then executes.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::site::{Net, Place, Site};
use super::{cgroup, network};

/// What `lab-exec enter` joins before it becomes a command.
#[derive(Debug, clap::Args)]
pub struct Enter {
    /// A mount namespace, as a path such as /proc/PID/ns/mnt.
    #[arg(long, value_name = "PATH")]
    pub mnt: Option<PathBuf>,
    /// A network namespace, as a path that means something inside that mount namespace.
    #[arg(long, value_name = "PATH")]
    pub net: Option<PathBuf>,
    /// A cgroup, as its folder.
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
    /// Where the command starts; by default where lab-exec was started.
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Kill the command when the thread that started it ends.
    #[arg(long)]
    pub pdeathsig: bool,
    /// The command and its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Joins, and becomes the command; returns only if that fails.
#[must_use]
pub fn enter(options: &Enter) -> anyhow::Error {
    match join(options) {
        Ok(mut command) => {
            let program = command.get_program().to_owned();
            let failure = command.exec();
            anyhow!(failure).context(format!("cannot run {}", program.display()))
        }
        Err(error) => error,
    }
}

fn join(options: &Enter) -> Result<Command> {
    let cwd = match &options.cwd {
        Some(folder) => folder.clone(),
        None => std::env::current_dir().context("cannot tell the current folder")?,
    };
    if let Some(folder) = &options.cgroup {
        cgroup::join(folder)?;
    }
    if let Some(path) = &options.mnt {
        let namespace = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        setns(namespace, CloneFlags::CLONE_NEWNS)
            .with_context(|| format!("cannot enter {}", path.display()))?;
    }
    if let Some(path) = &options.net {
        network::enter(path)?;
    }
    // Entering a mount namespace leads to its root.
    std::env::set_current_dir(&cwd).with_context(|| format!("cannot go to {}", cwd.display()))?;
    if options.pdeathsig {
        prctl::set_pdeathsig(Signal::SIGKILL).context("cannot tie this process to its parent")?;
    }
    let (program, arguments) = options.command.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// A command line that starts a program at a place in the lab; program and arguments are to be added.
pub(super) fn at(exec: &Path, site: &Site, place: Place, cwd: Option<&Path>) -> Command {
    at_cgroup(exec, site, place.net(), &site.cgroup_of(place), cwd)
}

/// The same for a cgroup that is no place of its own.
pub(super) fn at_cgroup(exec: &Path, site: &Site, net: Net, cgroup: &Path, cwd: Option<&Path>) -> Command {
    let mut command = Command::new(exec);
    command.arg("enter");
    command.arg("--mnt").arg(site.mount_namespace());
    command.arg("--net").arg(site.network_namespace(net));
    command.arg("--cgroup").arg(cgroup);
    if let Some(folder) = cwd {
        command.arg("--cwd").arg(folder);
    }
    command.arg("--");
    command
}
