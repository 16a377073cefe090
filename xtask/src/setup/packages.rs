//! What comes from Debian.

use std::{collections::BTreeSet, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{bpf::Toolchain, build, run};

/// Packages, and what wants them. Debian 12 (with its security archive) has all of them.
pub(super) const NEEDED: &[&str] = &[
    // The compiler of the kernel programs, and the library it compiles for them.
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    // bpf-linker links against these.
    "llvm-22-dev",
    "libzstd-dev",
    "zlib1g-dev",
    // Build scripts of dependencies.
    "gcc",
    "g++",
    "libc6-dev",
    "make",
    // The lab and its clients: namespaces, address translation, certificates, Python.
    "ca-certificates",
    "curl",
    "iproute2",
    "nftables",
    "openssl",
    "procps",
    "python3-venv",
    // Containers of the lab, and a look into the kernel's maps.
    "bpftool",
    "podman",
    "runc",
    // The corporate proxy of a test: the program alone, without the service.
    "tinyproxy-bin",
];

/// Installs what is missing of `needed`. Returns whether anything was.
///
/// A machine that is not a Debian is taken as it is when it has the means to build the kernel programs: its packages
/// have other names.
pub(super) fn install(needed: &[&'static str]) -> Result<bool> {
    if !Path::new("/usr/bin/dpkg-query").exists() {
        if Toolchain::find().is_some() {
            return Ok(false);
        }
        bail!(
            "this machine has no dpkg, and no toolchain that builds the kernel programs: use Debian 12, or \
             `rustup toolchain install nightly --component rust-src`"
        );
    }
    let missing = missing(needed, &installed()?);
    if missing.is_empty() {
        return Ok(false);
    }
    let list = missing.join(" ");
    let by_hand = format!("apt-get install --no-install-recommends {list}");
    build::needs_root("installing packages")
        .with_context(|| format!("missing packages; as root: {by_hand}"))?;
    eprintln!("setup: installing {list}");
    run::run_aside(apt().arg("update")).context("the package lists were not refreshed")?;
    let mut command = apt();
    command.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
    run::run_aside(&mut command).with_context(|| {
        format!("packages were not installed; Debian 12 with its security archive has them all: {by_hand}")
    })?;
    Ok(true)
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["--quiet", "--option", "Dpkg::Use-Pty=0"]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Names of the packages that are completely installed.
fn installed() -> Result<BTreeSet<String>> {
    let listing = run::output(Command::new("dpkg-query").args([
        "--show",
        "--showformat",
        "${db:Status-Status} ${Package}\n",
    ]))?;
    Ok(parse(&listing))
}

fn parse(listing: &str) -> BTreeSet<String> {
    listing.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect()
}

fn missing(needed: &[&'static str], installed: &BTreeSet<String>) -> Vec<&'static str> {
    needed.iter().copied().filter(|name| !installed.contains(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_was_removed_or_half_installed_is_missing() {
        let all: String = NEEDED.iter().map(|name| format!("installed {name}\n")).collect();
        assert!(missing(NEEDED, &parse(&all)).is_empty());
        let broken = all
            .replace("installed gcc\n", "config-files gcc\n")
            .replace("installed make\n", "half-installed make\n");
        assert_eq!(missing(NEEDED, &parse(&broken)), ["gcc", "make"]);
        assert_eq!(missing(NEEDED, &parse("")).len(), NEEDED.len());
    }
}
