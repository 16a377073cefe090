//! Where the programs are that a lab is made of.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The first gives a job its `python3`; the others add `python3-connector5`, `python3-sqlalchemy`, `snow` and `dbt`.
const PY_CLIENTS: [&str; 6] = ["py-client", "py-py5-client", "py-alchemy", "py-snow", "py-dbt", "py-scim"];
/// `node`, with Snowflake's driver beside it.
const NODE_CLIENT: &str = "node-client";
/// Two published crates, each as a program.
const RUST_CLIENTS: &str = "rust-clients";

/// The programs of one lab.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    /// `lab-exec`.
    pub(super) exec: PathBuf,
    /// `lab-worker`, which plays the runner.
    pub(super) worker: PathBuf,
    /// `lab-internet`.
    pub(super) internet: PathBuf,
    /// `snowfence`; it need not be there for a lab without agent.
    pub(super) agent: PathBuf,
    /// The Python environments that jobs find, in the order of their PATH.
    pub(super) py_clients: Vec<PathBuf>,
    /// The folder with the `node` that jobs find, and what it can load.
    pub(super) node_client: PathBuf,
    /// The folder with the clients in Rust.
    pub(super) rust_clients: PathBuf,
    /// The Python environment of the Snowflake server.
    pub(super) py_server: PathBuf,
}

impl Tools {
    /// Finds them all; `agent` is the agent's program if it is not to be looked for.
    pub(super) fn find(agent: Option<&Path>) -> Result<Self> {
        let folder = programs()?;
        let cache = cache()?;
        let agent = agent.map(PathBuf::from).or_else(|| env::var_os("SNOWFENCE_BIN").map(PathBuf::from));
        Ok(Self {
            exec: existing(folder.join("lab-exec"), "cargo build -p snowfence-tests")?,
            worker: existing(folder.join("lab-worker"), "cargo build -p snowfence-tests")?,
            internet: existing(folder.join("lab-internet"), "cargo build -p snowfence-tests")?,
            agent: agent.unwrap_or_else(|| folder.join("snowfence")),
            py_clients: PY_CLIENTS
                .iter()
                .map(|name| existing(cache.join(name), "cargo xtask setup"))
                .collect::<Result<_>>()?,
            node_client: existing(cache.join(NODE_CLIENT), "cargo xtask setup")?,
            rust_clients: existing(cache.join(RUST_CLIENTS), "cargo xtask setup")?,
            py_server: existing(cache.join("py-server"), "cargo xtask setup")?,
        })
    }

    /// The folders of programs that jobs find first.
    pub(super) fn path(&self) -> impl Iterator<Item = PathBuf> {
        self.py_clients.iter().chain([&self.node_client, &self.rust_clients]).map(|client| client.join("bin"))
    }

    /// The agent's program, or what to do to get it.
    pub(super) fn agent(&self) -> Result<&Path> {
        if !self.agent.is_file() {
            bail!("there is no agent at {}; run `cargo xtask build`", self.agent.display());
        }
        Ok(&self.agent)
    }
}

/// A file of this package's sources, such as the default policy.
pub(super) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The folders of Python's own certificates in those environments where `certifi` is installed.
pub(super) fn certifi(environments: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for environment in environments {
        let lib = environment.join("lib");
        let versions = fs::read_dir(&lib).with_context(|| format!("cannot list {}", lib.display()))?;
        let packages = versions.flatten().map(|entry| entry.path().join("site-packages/certifi"));
        found.extend(packages.filter(|path| path.is_dir()));
    }
    if found.is_empty() {
        bail!("no Python environment has a certifi package; run `cargo xtask setup`");
    }
    Ok(found)
}

/// Beside this program, or one above for tests, which cargo puts into `deps`.
fn programs() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program is")?;
    let folder = own.parent().context("this program is in no folder")?;
    let in_deps = folder.file_name().is_some_and(|name| name == "deps");
    Ok(if in_deps { folder.parent().unwrap_or(folder) } else { folder }.to_owned())
}

fn cache() -> Result<PathBuf> {
    if let Some(named) = env::var_os("SNOWFENCE_CACHE") {
        return Ok(named.into());
    }
    if let Some(base) = env::var_os("XDG_CACHE_HOME") {
        return Ok(Path::new(&base).join("snowfence"));
    }
    let home = env::var_os("HOME").context("neither SNOWFENCE_CACHE nor XDG_CACHE_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/snowfence"))
}

/// A folder of the cache that not every lab wants.
pub(super) fn cached(name: &str) -> Result<PathBuf> {
    existing(cache()?.join(name), "cargo xtask setup")
}

fn existing(path: PathBuf, fix: &str) -> Result<PathBuf> {
    if !path.exists() {
        bail!("{} is missing; run `{fix}`", path.display());
    }
    Ok(path)
}
