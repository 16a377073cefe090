//! Measures the facts on corpora that nobody here wrote and that are no part of this repository:
//! `cargo run -p snowfence-sql --example corpus -- FOLDER`. It fails where a bar is missed.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

use model::{Ident, SqlText};
use serde_json::Value;
use sql::{Class, Facts, Group, Parse, SessionNames, analyze};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<ExitCode> {
    let folder = std::env::args().nth(1).ok_or("name the folder that holds the corpora")?;
    let folder = Path::new(&folder);
    let classes = classes(&folder.join("sqlglot_snowflake.stmts.jsonl"))?;
    let tables = tables(&folder.join("sqllineage_cases.jsonl"))?;
    Ok(if classes && tables { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lines(file: &Path) -> Outcome<Vec<Value>> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn facts(case: &Value) -> Outcome<(String, Facts)> {
    let sql = case.get("sql").and_then(Value::as_str).ok_or("a line has no sql")?;
    let session = SessionNames {
        database: Some(Ident::unquoted("DB")),
        schema: Some(Ident::unquoted("PUBLIC")),
        ..SessionNames::default()
    };
    Ok((sql.replace('\n', " "), analyze(&SqlText::new(sql)?, &session, &sql::Catalog::default())))
}

/// Every statement has a class, and 96 % of queries and changes of rows are read in full.
fn classes(file: &Path) -> Outcome<bool> {
    let (mut all, mut classless, mut rows, mut full) = (0, 0, 0, 0);
    let mut partial: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for case in lines(file)? {
        let (shown, facts) = facts(&case)?;
        all += 1;
        classless += usize::from(facts.class().is_none());
        let Ok(statements) = facts.statements() else {
            partial.entry("opaque".to_owned()).or_default().push(shown);
            continue;
        };
        for statement in statements.iter().filter(|statement| !statement.is_inside) {
            let is_full = statement.parse == Parse::Full;
            if statement.class.group() == Group::Write || statement.class == Class::Select {
                rows += 1;
                full += usize::from(is_full);
            }
            if !is_full {
                partial.entry(statement.verb.clone()).or_default().push(shown.clone());
            }
        }
    }
    for (verb, statements) in &partial {
        println!("not read in full: {verb}: {}", statements.len());
        for statement in statements {
            println!("    {statement:.200}");
        }
    }
    println!(
        "{all} statements, {classless} without a class; {full} of {rows} queries and changes of rows in full"
    );
    Ok(classless == 0 && full * 100 >= rows * 96)
}

/// No table is missed of those that the corpus says a statement reads or changes. Places of files are no tables here, and
/// what is opaque, or calls a function that is not known, says so itself.
fn tables(file: &Path) -> Outcome<bool> {
    let (mut all, mut opaque, mut missed) = (0, 0, 0);
    for case in lines(file)?.iter().filter(|case| case.get("kind").is_some_and(|kind| kind == "table")) {
        let (shown, facts) = facts(case)?;
        all += 1;
        let Ok(statements) = facts.statements() else {
            opaque += 1;
            continue;
        };
        let named: Vec<String> = statements
            .iter()
            .flat_map(|s| &s.tables)
            .map(|used| used.table.to_string().to_uppercase())
            .collect();
        let says_so = statements.iter().any(|s| !s.functions.is_empty() || !s.elsewhere.is_empty());
        let expected =
            ["source", "target"].into_iter().filter_map(|side| case.get(side)?.as_array()).flatten();
        for name in expected.filter_map(Value::as_str).map(str::to_uppercase) {
            let name = name.trim_start_matches("<DEFAULT>.");
            let is_place = name.contains("://");
            if !is_place && !says_so && !named.iter().any(|named| named.ends_with(name)) {
                missed += 1;
                println!("missed {name} in {shown:.200} (named: {named:?})");
            }
        }
    }
    println!("{all} statements with expected tables: {opaque} opaque, {missed} tables missed");
    Ok(missed == 0)
}
