//! The kernel programs: `agent-ebpf`, compiled for the BPF target and put where `interception` embeds it from.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{place::Place, run};

/// The kernel's own byte order on every machine this is built for.
const TARGET: &str = "bpfel-unknown-none";
/// The package, and the binary it makes.
const PACKAGE: &str = "agent-ebpf";
/// Variables by which the cargo and rustup that run this program would reach into a build by another toolchain.
const FOREIGN: [&str; 10] = [
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTUP_TOOLCHAIN",
];

/// A toolchain that can build `core` for the BPF target, which no stable toolchain of rustup's can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// Debian's `rustc-web`, `cargo-web` and `rust-web-src`.
    Debian,
    /// rustup's `nightly` with `rust-src`.
    Nightly,
}

impl Toolchain {
    /// The first that is complete on this machine; Debian's before rustup's, because it is pinned by the release.
    pub(crate) fn find() -> Option<Self> {
        if Self::has_source(Command::new("/usr/bin/rustc")) && Path::new("/usr/bin/cargo").exists() {
            return Some(Self::Debian);
        }
        let mut rustc = Command::new("rustup");
        rustc.args(["run", "nightly", "rustc"]);
        Self::has_source(rustc).then_some(Self::Nightly)
    }

    fn has_source(mut rustc: Command) -> bool {
        clean(&mut rustc);
        run::output(rustc.args(["--print", "sysroot"])).is_ok_and(|sysroot| {
            Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs").exists()
        })
    }

    fn cargo(self) -> Command {
        let mut command = match self {
            Self::Debian => Command::new("/usr/bin/cargo"),
            Self::Nightly => Command::new("rustup"),
        };
        clean(&mut command);
        match self {
            // Debian's compiler is a stable one; this lets it take what only a nightly would.
            Self::Debian => command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1"),
            Self::Nightly => command.args(["run", "nightly", "cargo"]),
        };
        command
    }
}

/// Builds the kernel programs. Says nothing when they were up to date.
pub(crate) fn build(place: &Place) -> Result<()> {
    let Some(toolchain) = Toolchain::find() else {
        bail!("no toolchain builds the kernel programs here: run `cargo xtask setup`");
    };
    let folder = place.target.join("bpf-build");
    let mut command = toolchain.cargo();
    command
        .current_dir(&place.root)
        .args([
            "build",
            "--release",
            "-Zbuild-std=core",
            "--target",
            TARGET,
            "--package",
            PACKAGE,
            "--target-dir",
        ])
        .arg(&folder)
        .env("PATH", path_with(&place.tools().join("bin"))?)
        .env("RUSTFLAGS", flags(env::consts::ARCH)?);
    run::build_quietly(&mut command).context("the kernel programs were not built")?;
    publish(&folder.join(TARGET).join("release").join(PACKAGE), &place.bpf_object())
}

fn clean(command: &mut Command) {
    for name in FOREIGN {
        command.env_remove(name);
    }
}

/// Compiler flags. `bpf_target_arch` is the machine the programs will run on: it chooses the layout of registers.
/// Debug information becomes BTF, by which the loader fits the programs to the kernel it finds.
fn flags(arch: &str) -> Result<String> {
    match arch {
        "x86_64" | "aarch64" => {
            Ok(format!("--cfg bpf_target_arch=\"{arch}\" -Cdebuginfo=2 -Clink-arg=--btf"))
        }
        other => bail!("no kernel programs for {other}: build on x86_64 or aarch64"),
    }
}

/// `PATH` with one folder before all others.
fn path_with(first: &Path) -> Result<std::ffi::OsString> {
    let old = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first.to_owned()).chain(env::split_paths(&old));
    env::join_paths(folders).context("a folder in PATH holds a colon")
}

/// Copies the object to its place unless the same bytes are there, so that a build that changed nothing rebuilds
/// nothing above it. Written beside and renamed: a build running at the same time never reads half of it.
fn publish(built: &Path, object: &Path) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(object).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let folder = object.parent().context("the object has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let beside = PathBuf::from(format!("{}.{}", object.display(), std::process::id()));
    fs::write(&beside, bytes)
        .and_then(|()| fs::rename(&beside, object))
        .with_context(|| format!("cannot write {}", object.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_name_the_machine_the_programs_run_on() {
        assert!(flags("aarch64").unwrap().contains("bpf_target_arch=\"aarch64\""));
        assert!(flags("mips").is_err());
    }

    #[test]
    fn an_object_that_did_not_change_is_left_alone() {
        let folder = env::temp_dir().join(format!("xtask-publish-{}", std::process::id()));
        let (built, object) = (folder.join("built"), folder.join("bpf/object"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&built, b"one").unwrap();
        publish(&built, &object).unwrap();
        let first = fs::metadata(&object).unwrap().modified().unwrap();
        publish(&built, &object).unwrap();
        assert_eq!(fs::metadata(&object).unwrap().modified().unwrap(), first);
        fs::write(&built, b"two").unwrap();
        publish(&built, &object).unwrap();
        assert_eq!(fs::read(&object).unwrap(), b"two");
        assert!(publish(&folder.join("missing"), &object).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
