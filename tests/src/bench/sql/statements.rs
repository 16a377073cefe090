//! How many statements of a corpus are understood, and which are not, by their first words.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::facts::{ask, lines};

/// How many statements that begin with the same words are understood, and how far.
#[derive(Default)]
struct Counts {
    full: usize,
    partial: usize,
    opaque: usize,
}

/// The report's part about one file.
pub(super) fn report(file: &Path) -> Result<String> {
    let asked = lines(file)?;
    let (answers, _) = ask(&asked)?;
    let mut all = Counts::default();
    let mut queries = Counts::default();
    let mut by_words: BTreeMap<String, Counts> = BTreeMap::new();
    for (asked, answer) in asked.iter().zip(&answers) {
        let statements = answer["statements"].as_array().map(Vec::as_slice).unwrap_or_default();
        let parse = |word: &str| statements.iter().any(|statement| statement["parse"] == word);
        let words = first_words(asked["sql"].as_str().unwrap_or_default());
        let is_query = matches!(
            words.split(' ').next(),
            Some("SELECT" | "WITH" | "VALUES" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "(" | "FROM")
        );
        for counts in
            [Some(&mut all), is_query.then_some(&mut queries), Some(by_words.entry(words).or_default())]
        {
            let Some(counts) = counts else { continue };
            match (parse("opaque") || statements.is_empty(), parse("partial")) {
                (true, _) => counts.opaque += 1,
                (false, true) => counts.partial += 1,
                (false, false) => counts.full += 1,
            }
        }
    }
    let mut report = format!("\n{}\n", file.display());
    report.push_str(&line("all texts", &all));
    report.push_str(&line("queries and DML", &queries));
    for (words, counts) in by_words.iter().filter(|(_, counts)| counts.partial + counts.opaque > 0) {
        report.push_str(&line(&format!("  {words}"), counts));
    }
    Ok(report)
}

fn line(name: &str, counts: &Counts) -> String {
    let Counts { full, partial, opaque } = counts;
    let total = full + partial + opaque;
    let share = |count: usize| 100.0 * count as f64 / total.max(1) as f64;
    format!(
        "{name:<30} {total:6}  full {full:5} ({:5.1} %)  partial {partial:5} ({:5.1} %)  opaque {opaque:5} ({:5.1} %)\n",
        share(*full),
        share(*partial),
        share(*opaque),
    )
}

/// The first word, and the second where the first alone says little.
fn first_words(sql: &str) -> String {
    let noise = ["OR", "REPLACE", "TEMP", "TEMPORARY", "TRANSIENT", "SECURE"];
    let mut words =
        sql.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    if sql.trim_start().starts_with('(') {
        return "(".to_owned();
    }
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    match first.as_str() {
        "CREATE" | "ALTER" | "DROP" | "COPY" | "EXECUTE" | "SHOW" | "UNDROP" => {
            let second = words.map(str::to_ascii_uppercase).find(|word| !noise.contains(&word.as_str()));
            format!("{first} {}", second.unwrap_or_default())
        }
        _ => first,
    }
}

/// What is in an answer under a key, of all its statements together.
pub(super) fn of_all(answer: &Value, key: &str) -> Vec<Value> {
    let statements = answer["statements"].as_array().into_iter().flatten();
    statements.flat_map(|statement| statement[key].as_array().cloned().unwrap_or_default()).collect()
}
