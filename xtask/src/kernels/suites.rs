//! What is run in the guests: the very test programs that run on this machine, and those that run nowhere else.

use std::{io::BufReader, path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::Message;

use crate::{build, place::Place, run};

/// The targets of cargo's that are test programs here.
pub(crate) const TARGETS: [&str; 1] = ["kernel"];

/// One test program, run once.
pub(crate) struct Run {
    /// By which its outcome is found in what the guest says.
    pub(crate) name: &'static str,
    /// The command, as a shell reads it; test programs are in `/t`.
    pub(crate) command: &'static str,
}

/// One boot of a guest.
pub(crate) struct Boot {
    /// Part of a file's name.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) purpose: &'static str,
    /// The list of security modules that the kernel is told, `lsm=` in kernel-parameters(7).
    pub(crate) lsm: &'static str,
    /// What is run, one after the other.
    pub(crate) runs: &'static [Run],
}

/// Every boot. One test at a time: an emulated machine is slow, and its tests wait for one another as it is.
pub(crate) const BOOTS: [Boot; 1] = [Boot {
    name: "plain",
    purpose: "every test, without BPF among the security modules",
    lsm: "lockdown,yama",
    runs: &[Run { name: "kernel", command: "/t/kernel --test-threads=1" }],
}];

/// A test program, as cargo names it and where it is.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Builds the test programs.
pub(crate) fn build(place: &Place) -> Result<Vec<Program>> {
    let mut command = run::cargo();
    command.current_dir(&place.root).arg("test").args(build::HOST);
    for target in TARGETS {
        command.args(["--test", target]);
    }
    command.args(["--no-run", "--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    let mut programs = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        for message in Message::parse_stream(BufReader::new(pipe)) {
            let Message::CompilerArtifact(artifact) = message.context("cannot read what cargo says")? else {
                continue;
            };
            if let Some(path) = artifact.executable
                && TARGETS.contains(&artifact.target.name.as_str())
            {
                programs.push(Program { name: artifact.target.name, path: path.into() });
            }
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() || programs.len() != TARGETS.len() {
        bail!("the test programs were not built ({status})");
    }
    Ok(programs)
}
