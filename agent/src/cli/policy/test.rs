//! `snowfence policy test`.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args as ClapArgs;
use policy::{CaseResult, Cases};
use serde::Serialize;

use super::{Place, check::Found};
use crate::{
    cli::{Failure, Outcome},
    output::{Output, counted, printable},
    rules,
};

/// Run cases.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Files of cases, instead of every *.test.toml of the policy folder.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    good: bool,
    cases: Vec<Case>,
}

#[derive(Debug, Serialize)]
struct Case {
    file: String,
    line: usize,
    name: String,
    good: bool,
    /// What is not as expected.
    differences: Vec<String>,
}

/// Runs the verb. A case that does not hold is a failure: exit code 1.
pub(crate) fn run(config: &Path, args: &Args, output: Output) -> Outcome {
    let found = args.place.read(config)?;
    let policies = found.files.load().map_err(|error| unusable(&Found::all(&error)))?;
    let files = if args.files.is_empty() { in_folder(&found.folder)? } else { args.files.clone() };
    let mut cases = Vec::new();
    for path in &files {
        let file = rules::read(path).map_err(Failure::Input)?;
        let parsed = Cases::parse(&file).map_err(|error| unusable(&Found::all(&error)))?;
        cases.extend(parsed.run(&policies).into_iter().map(Case::new));
    }
    let report = Report { good: cases.iter().all(|case| case.good), cases };
    output.print(&report, people)?;
    if report.good { Ok(()) } else { Err(Failure::Reported) }
}

/// Every file of cases in a folder. None at all is a mistake: nothing would be tested, and all would be well.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let at = || format!("the policy folder {} cannot be read", folder.display());
    let entries = std::fs::read_dir(folder).with_context(at).map_err(Failure::Input)?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.with_context(at).map_err(Failure::Input)?;
    paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".test.toml")));
    paths.sort();
    if paths.is_empty() {
        return Err(Failure::Input(anyhow!("there is no *.test.toml in {}", folder.display())));
    }
    Ok(paths)
}

fn unusable(problems: &[Found]) -> Failure {
    let lines: Vec<&str> = problems.iter().map(Found::message).collect();
    Failure::Input(anyhow!("nothing can be tested:\n{}", lines.join("\n")))
}

impl Case {
    fn new(result: CaseResult) -> Self {
        let CaseResult { place, name, differences } = result;
        Self { file: place.file, line: place.line, name, good: differences.is_empty(), differences }
    }
}

fn people(report: &Report) -> String {
    let mut text = String::new();
    for case in report.cases.iter().filter(|case| !case.good) {
        text.push_str(&format!("{}:{}: {}\n", case.file, case.line, printable(&case.name)));
        for difference in &case.differences {
            text.push_str(&format!("    {}\n", printable(difference)));
        }
    }
    let failed = report.cases.iter().filter(|case| !case.good).count();
    let all = counted(report.cases.len(), "case", "cases");
    text.push_str(&match failed {
        0 => format!("{all}, all as expected\n"),
        failed => format!("{all}, {failed} not as expected\n"),
    });
    text
}
