//! What reading SQL costs, and how well it is done on statements that nobody here wrote: `snowfence policy facts`, asked
//! from outside.
//!
//! Corpora are folders given by their path; they are not part of the repository.

mod facts;
mod lineage;
mod queries;
mod statements;

use std::path::PathBuf;

use anyhow::Result;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Sql {
    /// A folder of corpora: `*.stmts.jsonl` (`{"id","sql"}`) and `*_cases.jsonl` (questions of lineage with their answers)
    #[arg(long, value_name = "PATH")]
    pub corpus: Option<PathBuf>,
    /// Texts of which the time is taken
    #[arg(long, default_value_t = 20_000)]
    pub texts: usize,
    /// List every answer that differs, and why that is right where it was looked at
    #[arg(long)]
    pub differences: bool,
}

/// Measures, and gives the report.
///
/// # Errors
/// The agent cannot be run, or a corpus cannot be read.
pub fn sql(what: &Sql) -> Result<String> {
    let mut report = queries::speed(what.texts)?;
    let Some(folder) = &what.corpus else {
        report.push_str("\nno corpus was given (--corpus PATH): nothing is said of how much is understood\n");
        return Ok(report);
    };
    for file in facts::files(folder, "_cases.jsonl")? {
        report.push_str(&lineage::report(&file, what.differences)?);
    }
    for file in facts::files(folder, ".stmts.jsonl")? {
        report.push_str(&statements::report(&file)?);
    }
    Ok(report)
}
