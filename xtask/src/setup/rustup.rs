//! Parts of the Rust toolchain that rustup's smallest profile leaves out.

use std::process::Command;

use anyhow::{Context, Result};

use crate::run;

/// Adds the formatter and the linter where they are missing. Returns whether they were.
pub(crate) fn components() -> Result<bool> {
    let missing: Vec<&str> = [("rustfmt", "fmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(_, verb)| !run::succeeds(run::cargo().args([verb, "--version"])))
        .map(|(component, _)| component)
        .collect();
    if missing.is_empty() {
        return Ok(false);
    }
    let list = missing.join(" ");
    eprintln!("setup: adding {list} to the Rust toolchain");
    run::run_aside(Command::new("rustup").args(["component", "add"]).args(&missing))
        .with_context(|| format!("the Rust toolchain has no {list}, and rustup could not add it"))?;
    Ok(true)
}
