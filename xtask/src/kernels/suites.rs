//! What is run in the guests: the very test programs that run on this machine, and those that run nowhere else.

use std::{io::BufReader, path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::Message;

use crate::{build, place::Place, run};

/// The targets of cargo's that are test programs here.
pub(crate) const TARGETS: [&str; 2] = ["kernel", "lsm"];

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

/// Every boot. Few tests at a time, for an emulated machine is slow; one, where there is one root to attach to.
pub(crate) const BOOTS: [Boot; 3] = [
    Boot {
        name: "plain",
        purpose: "every test, without BPF among the security modules",
        lsm: "lockdown,yama",
        runs: &[Run { name: "kernel", command: "/t/kernel --test-threads=2" }],
    },
    Boot {
        name: "root",
        purpose: "the main tests, with the programs on the root of the cgroup hierarchy",
        lsm: "lockdown,yama",
        runs: &[Run {
            name: "root",
            command: "SNOWFENCE_TEST_ATTACH_TO_ROOT=1 /t/kernel --test-threads=1 ways:: restart::while \
                      restart::no_connect restart::detaching restart::removing restart::a_restart \
                      namespaces::a_new_namespace",
        }],
    },
    Boot {
        name: "lsm",
        purpose: "the optional layer, with BPF among the security modules",
        lsm: "lockdown,yama,bpf",
        runs: &[Run { name: "lsm", command: "/t/lsm --test-threads=1 --nocapture" }],
    },
];

/// The names of all of them.
pub(crate) const fn names() -> [&'static str; BOOTS.len()] {
    let [a, b, c] = &BOOTS;
    [a.name, b.name, c.name]
}

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
