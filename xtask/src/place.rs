//! Where things are: the workspace, the cache that survives it, and what is built.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

/// Folders and files that more than one task names.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The workspace.
    pub(crate) root: PathBuf,
    /// What `setup` makes and no build needs to make again.
    pub(crate) cache: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
}

impl Place {
    /// Asks the environment and cargo. The cache is `SNOWFENCE_CACHE`, else `snowfence` in the user's cache folder;
    /// the lab reads the same variables.
    pub(crate) fn find() -> Result<Self> {
        let root = workspace();
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .exec()
            .context("cannot read the workspace")?;
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = set("SNOWFENCE_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("snowfence")))
            .or_else(|| set("HOME").map(|folder| folder.join(".cache/snowfence")))
            .context("no cache folder: set HOME or SNOWFENCE_CACHE")?;
        let cache = std::path::absolute(cache).context("the cache folder cannot be made absolute")?;
        Ok(Self { root, cache, target: metadata.target_directory.into() })
    }

    /// Tools that `setup` builds; `bin` is below it.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// The kernel programs, where `interception` looks for them.
    pub(crate) fn bpf_object(&self) -> PathBuf {
        self.target.join("bpf/snowfence.bpf.o")
    }

    /// A program that `cargo build` makes.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// The agent.
    pub(crate) fn agent(&self) -> PathBuf {
        self.program("snowfence")
    }
}

/// The workspace this program was built from: the folder above its own package.
pub(crate) fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
