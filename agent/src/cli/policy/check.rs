//! `snowfence policy check`.

use std::path::Path;

use clap::Args as ClapArgs;
use policy::{PolicyError, Problem};
use serde::Serialize;

use super::Place;
use crate::{
    cli::{Failure, Outcome},
    output::{Output, counted},
};

/// Everything that is wrong with the policy and the classification.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Serialize)]
struct Report {
    good: bool,
    /// How many files of rules there are.
    files: usize,
    /// How many rules; absent where there are problems.
    rules: Option<usize>,
    /// What is in the classification; absent where there are problems.
    classification: Option<Counts>,
    problems: Vec<Found>,
}

#[derive(Debug, Serialize)]
struct Counts {
    columns: usize,
    objects: usize,
    masks: usize,
    keys: usize,
    detectors: usize,
}

impl From<policy::Classified> for Counts {
    fn from(classified: policy::Classified) -> Self {
        let policy::Classified { columns, objects, masks, keys, detectors } = classified;
        Self { columns, objects, masks, keys, detectors }
    }
}

/// A problem.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    /// The whole sentence, with its place.
    message: String,
}

impl Found {
    pub(super) fn all(error: &PolicyError) -> Vec<Self> {
        error.problems().iter().map(Self::new).collect()
    }

    fn new(problem: &Problem) -> Self {
        let place = problem.place();
        Self {
            file: place.map(|place| place.file.clone()),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            message: problem.to_string(),
        }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

/// Runs the verb. Problems are a failure: exit code 1.
pub(crate) fn run(config: &Path, args: &Args, output: Output) -> Outcome {
    let files = args.place.read(config)?.files;
    let loaded = files.load();
    let report = Report {
        good: loaded.is_ok(),
        files: files.policies.len(),
        rules: loaded.as_ref().ok().map(|policies| policies.rule_ids().count()),
        classification: loaded.as_ref().ok().map(|policies| policies.classified().into()),
        problems: loaded.as_ref().err().map(Found::all).unwrap_or_default(),
    };
    output.print(&report, people)?;
    if report.good { Ok(()) } else { Err(Failure::Reported) }
}

fn people(report: &Report) -> String {
    let files = counted(report.files, "file", "files");
    match (report.rules, &report.classification) {
        (Some(rules), Some(counts)) => {
            let classified = [
                counted(counts.columns, "pattern of columns", "patterns of columns"),
                counted(counts.objects, "of objects", "of objects"),
                counted(counts.masks, "mask of its own", "masks of its own"),
                counted(counts.keys, "key", "keys"),
                counted(counts.detectors, "detector", "detectors"),
            ];
            let ruled = match rules {
                0 => format!("no rule in {files}: nothing is permitted"),
                rules => format!("{} in {files}, all in order", counted(rules, "rule", "rules")),
            };
            format!("{ruled}\nclassification: {}\n", classified.join(", "))
        }
        _ => {
            let lines: String =
                report.problems.iter().map(|problem| format!("{}\n", problem.message)).collect();
            format!("{lines}{}\n", counted(report.problems.len(), "problem", "problems"))
        }
    }
}
