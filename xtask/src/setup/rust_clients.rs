//! Two published clients in Rust, as programs that jobs find. They are a workspace of their own, so that none of their
//! dependencies is ever one of the product's.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::python;
use crate::{place::Place, run};

/// The programs.
const PROGRAMS: [&str; 2] = ["rust-connector", "rust-api"];
/// What they are made of, in their own workspace.
const SOURCES: [&str; 5] =
    ["Cargo.toml", "Cargo.lock", "src/lib.rs", "src/bin/rust-connector.rs", "src/bin/rust-api.rs"];
/// Inside the folder: the digest of what they were made from, written when they are complete.
const STAMP: &str = "sources.sha256";

/// Makes `rust-clients` in the cache from `tests/drivers-rs`, unless it is there already. Returns whether it was made.
pub(crate) fn build(place: &Place) -> Result<bool> {
    let workspace = place.root.join("tests/drivers-rs");
    let texts = SOURCES.iter().map(|name| {
        let file = workspace.join(name);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    });
    let digest = python::digest(&texts.collect::<Result<Vec<_>>>()?.concat());
    let folder = place.cache.join("rust-clients");
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|old| old == digest) {
        return Ok(false);
    }
    eprintln!("setup: building {} into {}", PROGRAMS.join(" and "), folder.display());
    make(&workspace, &folder, &place.cache.join("rust-clients-build"))?;
    fs::write(&stamp, digest).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(true)
}

fn make(workspace: &Path, folder: &Path, objects: &Path) -> Result<()> {
    let mut command = run::cargo();
    command.args(["build", "--locked", "--bins", "--target-dir"]).arg(objects).current_dir(workspace);
    run::run_aside(&mut command).context("the clients in Rust were not built")?;
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    for name in PROGRAMS {
        let built = objects.join("debug").join(name);
        fs::copy(&built, bin.join(name)).with_context(|| format!("cannot copy {}", built.display()))?;
    }
    // The objects are of no use to anything else.
    fs::remove_dir_all(objects).with_context(|| format!("cannot remove {}", objects.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_counts() {
        let workspace = crate::place::workspace().join("tests/drivers-rs");
        let count = |folder: &str| fs::read_dir(workspace.join(folder)).unwrap().count();
        // One file and the folder of programs; the programs.
        assert_eq!((count("src"), count("src/bin")), (2, PROGRAMS.len()));
        assert!(SOURCES.iter().all(|name| workspace.join(name).is_file()));
    }

    #[test]
    fn the_workspace_is_no_part_of_the_products() {
        let manifest = fs::read_to_string(crate::place::workspace().join("Cargo.toml")).unwrap();
        let own = fs::read_to_string(crate::place::workspace().join("tests/drivers-rs/Cargo.toml")).unwrap();
        assert!(!manifest.contains("drivers-rs") && own.contains("\n[workspace]\n"));
    }
}
