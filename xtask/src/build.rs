//! Building the agent and the lab, and becoming one of the lab's programs.

use std::{ffi::OsString, process::Command};

use anyhow::{Result, bail};

use crate::{bpf, place::Place, run, setup};

/// What is compiled for this machine: all but the kernel programs. The same for every verb, so that none builds a
/// dependency again with other features.
pub(crate) const HOST: [&str; 3] = ["--workspace", "--exclude", "agent-ebpf"];

/// The kernel programs, the agent and every program of the lab.
pub(crate) fn all(place: &Place) -> Result<()> {
    bpf::build(place)?;
    run::build_quietly(run::cargo().current_dir(&place.root).arg("build").args(HOST).arg("--bins"))
}

/// Makes everything ready and becomes one of the lab's programs with these arguments.
pub(crate) fn hand_over(place: &Place, program: &str, arguments: &[OsString]) -> Result<()> {
    needs_root(program)?;
    setup::run(place)?;
    all(place)?;
    let mut command = Command::new(place.program(program));
    environment(&mut command, place);
    Err(run::become_it(command.args(arguments)))
}

/// The benchmarks that stand in rooms of their own, and need no lab, each with the room's package.
const ROOMS: [(&str, &str); 2] = [("identity", "snowfence-workload"), ("masks", "snowfence-masking")];
/// The benchmark of reading SQL, and that of the two rooms that it is read and judged in, which comes first.
const SQL: &str = "sql";
const STATEMENT: &str = "statement";

/// Makes everything ready, with what the agent is measured beside where it is, builds it as it is released, and becomes the benchmark.
pub(crate) fn bench(place: &Place, arguments: &[OsString]) -> Result<()> {
    if let Some((what, rest)) = arguments.split_first()
        && let Some((name, package)) = ROOMS.into_iter().find(|(name, _)| what == name)
    {
        let mut command = run::cargo();
        command.current_dir(&place.root).args(["bench", "--package", package, "--bench", name, "--"]);
        return Err(run::become_it(command.args(rest)));
    }
    // Reading SQL needs no lab, and is measured beside nothing.
    if arguments.first().is_some_and(|what| what == SQL) {
        setup::toolchain(place)?;
        let mut rooms = run::cargo();
        rooms.current_dir(&place.root).args(["bench", "--package", "snowfence-policy", "--bench", STATEMENT]);
        run::run(&mut rooms)?;
    } else {
        needs_root("the benchmark")?;
        setup::run(place)?;
        setup::bench(place)?;
    }
    bpf::build(place)?;
    let mut build = run::cargo();
    build.current_dir(&place.root).args(["build", "--release", "--bins"]);
    run::build_quietly(build.args(["--package", "snowfence", "--package", "snowfence-tests"]))?;
    let folder = place.target.join("release");
    let mut command = Command::new(folder.join("snowfence-bench"));
    command.env("SNOWFENCE_CACHE", &place.cache).env("SNOWFENCE_BIN", folder.join("snowfence"));
    Err(run::become_it(command.args(arguments)))
}

/// What the lab is told about where things are. Not where the kernel programs are: they are in the agent, and a build
/// that is told differently about them builds the agent again.
pub(crate) fn environment(command: &mut Command, place: &Place) {
    command.env("SNOWFENCE_CACHE", &place.cache).env("SNOWFENCE_BIN", place.agent());
}

/// The lab makes namespaces and loads kernel programs. Better to say so before minutes of building.
pub(crate) fn needs_root(what: &str) -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !is_root(&status) {
        bail!("{what} needs root: it makes network namespaces and loads kernel programs; run it as root");
    }
    Ok(())
}

/// Whether `/proc/self/status` says that the effective user is root: the second number of `Uid:`, proc(5).
fn is_root(status: &str) -> bool {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_who_has_the_effective_uid_zero() {
        assert!(is_root("Name:\tx\nUid:\t1000\t0\t0\t0\n"));
        assert!(!is_root("Name:\tx\nUid:\t0\t1000\t0\t0\n"));
        assert!(!is_root(""));
    }
}
