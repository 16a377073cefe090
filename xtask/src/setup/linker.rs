//! The linker of the kernel programs, built once into the cache.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{bpf::Toolchain, place::Place, run};

/// The version the kernel programs are linked with.
const VERSION: &str = "0.13.0";
/// Debian's LLVM: the linker must not be older than the compiler's own.
const LLVM: &str = "/usr/lib/llvm-22";

/// Builds the linker unless this version is there. Returns whether it was built.
pub(crate) fn build(place: &Place) -> Result<bool> {
    let tools = place.tools();
    let said = run::output(Command::new(tools.join("bin/bpf-linker")).arg("--version"));
    if said.is_ok_and(|said| is_this(&said)) {
        return Ok(false);
    }
    eprintln!("setup: building bpf-linker {VERSION} into {}", tools.display());
    let mut command = run::cargo();
    command
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force", "--root"])
        .arg(&tools);
    // One folder for its objects whatever the workspace uses: they are of no use to anything else.
    command.arg("--target-dir").arg(place.cache.join("tools-build"));
    if Path::new(LLVM).exists() {
        command.env("LLVM_PREFIX", LLVM).args(["--no-default-features", "--features", "llvm-22"]);
    } else if Toolchain::find() == Some(Toolchain::Nightly) {
        // Its default is to use the LLVM that rustup's toolchain brings.
        command.env("RUSTUP_TOOLCHAIN", "nightly");
    }
    run::run_aside(&mut command).context("bpf-linker was not built")?;
    let _absent = std::fs::remove_dir_all(place.cache.join("tools-build"));
    Ok(true)
}

fn is_this(said: &str) -> bool {
    said.trim() == format!("bpf-linker {VERSION}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_not_this_one() {
        assert!(is_this("bpf-linker 0.13.0\n"));
        for other in ["", "bpf-linker 0.13.01", "bpf-linker 0.12.0", "0.13.0"] {
            assert!(!is_this(other), "{other:?}");
        }
    }
}
