//! `cargo xtask test kernels`: the kernel programs' own tests on the kernels that are promised, in virtual machines.
//!
//! Each kernel comes from Debian ([mod@line], [`apt`]), is booted with a file system that holds the test programs
//! ([`image`]), and says over its serial line how they went ([`guest`], [`report`]). Nothing of the host is needed but
//! two cores: the machine is emulated, so that it runs where no other may.

mod apt;
mod guest;
mod image;
mod line;
mod report;
mod suites;

use std::{env::consts::ARCH, fs};

use anyhow::{Context as _, Result, bail};

use crate::{bpf, build, place::Place, setup};
use guest::Guest;
use line::{LINES, Line};
use report::Outcome;

/// What the host needs for it, beside what everything needs: the emulator, what goes into the guest, and what makes a
/// file system of it.
const PACKAGES: [&str; 8] = [
    "qemu-system-x86",
    "busybox-static",
    "cpio",
    "gzip",
    "kmod",
    "util-linux",
    "xz-utils",
    "debian-archive-keyring",
];

/// Names by which a kernel is chosen.
pub(crate) const NAMES: [&str; LINES.len()] = line::names();

/// Names of the boots, by which one is chosen.
pub(crate) const BOOT_NAMES: [&str; suites::BOOTS.len()] = suites::names();

/// Tests one kernel or all, in one of its boots or all.
pub(crate) fn test(place: &Place, kernel: Option<&str>, boot: Option<&str>) -> Result<()> {
    build::needs_root("the kernel matrix")?;
    if ARCH != "x86_64" {
        bail!("the kernel matrix boots Debian's kernels for x86_64, and this machine is {ARCH}");
    }
    setup::toolchain_with(place, &PACKAGES)?;
    bpf::build(place)?;
    let programs = suites::build(place)?;
    let logs = place.target.join("kernels");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let mut outcomes = Vec::new();
    for line in LINES.iter().filter(|line| kernel.is_none_or(|name| name == line.name)) {
        let found = apt::fetch(place, line)?;
        eprintln!("kernels: {} is Linux {} ({})", line.name, found.release, found.version);
        let image = image::make(place, line, &found, &programs)?;
        for boot in suites::BOOTS.iter().filter(|one| boot.is_none_or(|name| name == one.name)) {
            let log = logs.join(format!("{}-{}.log", line.name, boot.name));
            eprintln!("kernels: {}: {} ({})", line.name, boot.purpose, log.display());
            let said = Guest { kernel: &found.vmlinuz, image: &image, boot, log: &log }.run()?;
            // What a test could not show on this kernel is for a person to judge.
            for shortfall in
                said.iter().filter_map(|said| said.find("NOT SHOWN").and_then(|at| said.get(at..)))
            {
                eprintln!("kernels: {}: {shortfall}", line.name);
            }
            for run in boot.runs {
                let outcome = report::judge(run.name, &said);
                eprintln!("kernels: {}: {}: {outcome}", line.name, run.name);
                outcomes.push((line, found.version.clone(), run.name, outcome));
            }
        }
    }
    conclude(&outcomes)
}

/// One line for each run, and an error unless every one of them went well.
fn conclude(outcomes: &[(&Line, String, &str, Outcome)]) -> Result<()> {
    eprintln!();
    for (line, version, run, outcome) in outcomes {
        eprintln!("{:<8} {version:<20} {run:<8} {outcome}", line.name);
    }
    let bad = outcomes.iter().filter(|(.., outcome)| !outcome.is_good()).count();
    match bad {
        _ if outcomes.is_empty() => bail!("no kernel was tested"),
        0 => Ok(()),
        _ => bail!("{bad} of {} runs did not go well", outcomes.len()),
    }
}
