//! The lab's Python environments, each made from a file that pins every version.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{place::Place, run};

/// Debian's own interpreter: whichever `python3` is first in PATH may be a wrapper of something that is not there later.
const PYTHON: &str = "/usr/bin/python3";
/// Inside an environment: the digest of the file it was made from, written when it is complete.
const STAMP: &str = "requirements.sha256";

/// Makes the environment `py-NAME` in the cache from `tests/python/requirements-NAME.txt`, unless it is there and
/// holds what the file names. Returns whether it was made.
pub(crate) fn environment(place: &Place, name: &str) -> Result<bool> {
    let file = place.root.join(format!("tests/python/requirements-{name}.txt"));
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let wanted = requirements(&text).with_context(|| format!("in {}", file.display()))?;
    let digest = digest(&text);
    let folder = place.cache.join(format!("py-{name}"));
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|old| old == digest) {
        return Ok(false);
    }
    if holds(&folder, &wanted) {
        eprintln!("setup: {} holds what its file asks for", folder.display());
    } else {
        eprintln!("setup: making {} with {} packages", folder.display(), wanted.len());
        make(&folder, &file)?;
    }
    fs::write(&stamp, digest).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(true)
}

/// Two connectors cannot share one interpreter, nor two SQLAlchemys, so a job finds the environments after the first under
/// names of their own, `python3-NAME`. The link stands beside the interpreter that it names: Python looks for its
/// environment from where it was called.
pub(crate) fn second_interpreter(place: &Place, environment: &str, name: &str) -> Result<()> {
    let link = place.cache.join(format!("py-{environment}/bin/python3-{name}"));
    match symlink("python3", &link) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot make {}", link.display()))
        }
        _ => Ok(()),
    }
}

/// The line by which something made from a text knows itself the next time.
pub(super) fn digest(text: &str) -> String {
    format!("{:x}\n", HexDigest(Sha256::digest(text).into()))
}

fn make(folder: &Path, file: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let python = if Path::new(PYTHON).exists() { PYTHON } else { "python3" };
    run::run_aside(Command::new(python).args(["-m", "venv"]).arg(folder))?;
    let mut install = Command::new(pip(folder));
    // No dependency is chosen here: the file names them all.
    install.args([
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]);
    run::run_aside(install.arg("--requirement").arg(file))?;
    run::run_aside(Command::new(pip(folder)).args(["--disable-pip-version-check", "check"]))
}

fn pip(folder: &Path) -> PathBuf {
    folder.join("bin/pip")
}

/// Whether an environment that someone made otherwise holds exactly these packages or more.
fn holds(folder: &Path, wanted: &BTreeSet<String>) -> bool {
    run::output(Command::new(pip(folder)).args(["--disable-pip-version-check", "freeze", "--all"]))
        .is_ok_and(|frozen| requirements(&frozen).is_ok_and(|there| wanted.is_subset(&there)))
}

/// The `name==version` lines of a requirement file, in the spelling by which two of them compare (PEP 503).
fn requirements(text: &str) -> Result<BTreeSet<String>> {
    let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(line, _)| line).trim());
    lines.filter(|line| !line.is_empty()).map(requirement).collect()
}

fn requirement(line: &str) -> Result<String> {
    match line.split_once("==") {
        Some((name, version))
            if !name.is_empty() && !version.contains(|c: char| c.is_whitespace() || c == '*') =>
        {
            let name = name.split_once('[').map_or(name, |(name, _)| name);
            Ok(format!("{}=={version}", name.to_lowercase().replace(['_', '.'], "-")))
        }
        _ => bail!("`{line}` does not pin one version: write `name==version`"),
    }
}

struct HexDigest([u8; 32]);

impl std::fmt::LowerHex for HexDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_compare_whatever_their_spelling() {
        let file = requirements(
            "# pinned\nPyJWT==2.15.1\nfakesnow[server]==0.12.1  # x\n\ntyping_extensions==4.16.0\n",
        )
        .unwrap();
        let frozen =
            requirements("fakesnow==0.12.1\npyjwt==2.15.1\ntyping.extensions==4.16.0\nextra==1\n").unwrap();
        assert!(file.is_subset(&frozen));
        assert!(!frozen.is_subset(&file));
        assert!(
            !file.is_subset(
                &requirements("fakesnow==0.12.2\npyjwt==2.15.1\ntyping-extensions==4.16.0").unwrap()
            )
        );
    }

    #[test]
    fn what_is_not_pinned_is_refused() {
        for bad in ["requests", "requests>=2", "==1", "requests==2.*", "a==1 --hash=x", "x @ file:///y"] {
            assert!(requirements(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_that_is_no_environment_holds_nothing() {
        assert!(!holds(Path::new("/nowhere"), &BTreeSet::new()));
    }
}
