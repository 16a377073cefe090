//! Questions of lineage with their answers: which columns reach which, and which tables are named. Every answer of the
//! agent is right, too wide, unknown, or leaves something out; the last must not be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::facts::{ask, lines, texts};
use super::statements::of_all;

/// How an answer compares to the one that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Exact,
    Wider,
    Unknown,
    NotRead,
    LeavesOut,
}

/// Questions whose expected answer is not Snowflake's, by a part of their name, and why.
const REVIEWED: &[(&str, &str)] = &[
    ("using_function", "COUNT(*) shows no column, and a function's output is named by its text"),
    ("unqualified_column_from_join_is_unresolved", "both tables are named, where the corpus names none"),
    (
        "lateral_ref",
        "in Snowflake an output may be named by another one, unless the table is known to have a column of that name",
    ),
    ("tsql_assignment_operator", "`name = value` is a comparison in Snowflake"),
    ("later_branch_introduces_new_output_columns", "Snowflake refuses a UNION of different widths"),
    ("partition_excludes_partition_columns", "Hive's PARTITION is not Snowflake's"),
    (
        "test_metadata_target_column",
        "without the schema nobody can know what the target's columns are called",
    ),
    ("test_swapping_partitions", "a function of Vertica, whose tables are texts"),
    ("test_copy_into_path", "a URL is no table; that files are read is an effect"),
    ("test_procedure_column", "names in the body of a procedure are of the procedure's schema"),
    ("test_tsql_table_hints", "a name in brackets is T-SQL's"),
    ("wildcard_with_qualifier", "a table that has an alias is not known by its own name"),
    ("func[if(", "Snowflake has no such function: it is somebody's own"),
    ("func[conv(", "Snowflake has no such function: it is somebody's own"),
    ("column_with_ctas_and_func", "Snowflake has no function IF: it is somebody's own"),
    (
        "case_when_with_subquery",
        "tables are not known, so a column in a subquery may be one of the query around it",
    ),
    ("wildcard", "without the schema nobody can know which column of a `*` it is"),
    ("session_metadata", "without the schema a column without a qualifier may be of either table"),
    ("select_column_from_tables", "without the schema a column without a qualifier may be of either table"),
    ("tempview_view_subquery", "without the schema a column without a qualifier may be of either table"),
];

struct Question<'a> {
    case: &'a Value,
    verdict: Verdict,
    missing: Vec<String>,
}

/// The report's part about one file.
pub(super) fn report(file: &Path, differences: bool) -> Result<String> {
    let cases = lines(file)?;
    let asked: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(n, case)| serde_json::json!({"id": n, "sql": case["sql"], "schema": case["schema"]}))
        .collect();
    let (answers, _) = ask(&asked)?;
    let judged: Vec<Question<'_>> =
        cases.iter().zip(&answers).map(|(case, answer)| judge(case, answer)).collect();
    let mut report = format!("\n{}\n", file.display());
    let is_column = |question: &&Question<'_>| question.case["kind"] == "column";
    let has_schema =
        |question: &&Question<'_>| question.case["schema"].as_object().is_some_and(|s| !s.is_empty());
    report.push_str(&summary("columns", judged.iter().filter(is_column)));
    report.push_str(&summary("  with their schema", judged.iter().filter(is_column).filter(has_schema)));
    report.push_str(&summary("tables", judged.iter().filter(|question| !is_column(question))));
    for question in judged.iter().filter(|question| differences || question.verdict == Verdict::LeavesOut) {
        if question.verdict != Verdict::Exact {
            let name = question.case["test"].as_str().unwrap_or_default();
            let why = REVIEWED.iter().find(|(part, _)| name.contains(part)).map_or("", |(_, why)| why);
            let missing = question.missing.join(" ");
            _ = writeln!(
                report,
                "  {:?} {} {name}: {missing} {why}",
                question.verdict, question.case["dialect"]
            );
        }
    }
    Ok(report)
}

fn summary<'q>(name: &str, questions: impl Iterator<Item = &'q Question<'q>>) -> String {
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    let (mut reviewed, mut wider_reviewed) = (0, 0);
    for question in questions {
        *counts.entry(question.verdict).or_default() += 1;
        let test = question.case["test"].as_str().unwrap_or_default();
        let is_reviewed = REVIEWED.iter().any(|(part, _)| test.contains(part));
        reviewed += usize::from(question.verdict == Verdict::LeavesOut && is_reviewed);
        let is_wider = matches!(question.verdict, Verdict::Wider | Verdict::Unknown);
        wider_reviewed += usize::from(is_wider && is_reviewed);
    }
    let total: usize = counts.values().sum();
    let of = |verdict: Verdict| counts.get(&verdict).copied().unwrap_or(0);
    let read = total - of(Verdict::NotRead);
    let share = |count: usize| 100.0 * count as f64 / read.max(1) as f64;
    format!(
        "{name:<22} {total:4} asked, {read:4} read  exact {:4} ({:5.1} %)  wider {:3}  unknown {:3} ({:4.1} %), of these \
         {wider_reviewed} where no less is sound  leave out {:3}, of these {reviewed} where the corpus does not mean Snowflake\n",
        of(Verdict::Exact),
        share(of(Verdict::Exact)),
        of(Verdict::Wider),
        of(Verdict::Unknown),
        share(of(Verdict::Unknown)),
        of(Verdict::LeavesOut),
    )
}

fn judge<'a>(case: &'a Value, answer: &Value) -> Question<'a> {
    let statements = answer["statements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (verdict, missing) = if statements.iter().any(|statement| statement["parse"] != "full") {
        (Verdict::NotRead, Vec::new())
    } else if case["kind"] == "column" {
        columns(case, answer)
    } else {
        tables(case, answer)
    };
    Question { case, verdict, missing }
}

/// The expected pairs of source and target against the outputs of the same name.
fn columns(case: &Value, answer: &Value) -> (Verdict, Vec<String>) {
    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pair in case["lineage"].as_array().into_iter().flatten() {
        let pair = texts(pair);
        let [source, target] = pair.as_slice() else { continue };
        expected.entry(column_of(target)).or_default().insert(bare(source));
    }
    let outputs = of_all(answer, "outputs");
    let mut verdict = Verdict::Exact;
    let mut missing = Vec::new();
    for (target, sources) in &expected {
        let found = reaching(&outputs, target);
        let Some(found) = found else {
            verdict = verdict.max(Verdict::Unknown);
            continue;
        };
        let left_out: Vec<&String> = sources.iter().filter(|source| !is_in(source, &found)).collect();
        if !left_out.is_empty() {
            verdict = Verdict::LeavesOut;
            missing.extend(left_out.into_iter().map(|source| format!("{source}->{target}")));
        } else if *sources != found {
            verdict = verdict.max(Verdict::Wider);
        }
    }
    (verdict, missing)
}

/// What reaches the outputs of this name; those without one may be it. `None` where it is not known.
fn reaching(outputs: &[Value], target: &str) -> Option<BTreeSet<String>> {
    let named: Vec<&Value> = outputs
        .iter()
        .filter(|output| {
            output["name"].as_str().is_some_and(|name| name.to_uppercase() == target || name == "*")
        })
        .collect();
    let may_be: Vec<&Value> = if named.is_empty() {
        outputs.iter().filter(|output| output["name"].is_null()).collect()
    } else {
        named
    };
    let mut found = BTreeSet::new();
    for output in may_be {
        if output["sources"] == "unknown" {
            return None;
        }
        found.extend(texts(&output["sources"]).iter().map(|source| bare(source)));
    }
    Some(found)
}

/// A source may be found itself, or as any column of its table.
fn is_in(source: &str, found: &BTreeSet<String>) -> bool {
    let whole = source.rsplit_once('.').map(|(table, _)| format!("{table}.*"));
    found.contains(source) || whole.is_some_and(|whole| found.contains(&whole))
}

/// Every table that is expected must be named, in whatever part.
fn tables(case: &Value, answer: &Value) -> (Verdict, Vec<String>) {
    let named: BTreeSet<String> = ["reads", "writes"]
        .iter()
        .flat_map(|key| of_all(answer, key))
        .filter_map(|name| Some(bare(name.as_str()?)))
        .collect();
    let expected: BTreeSet<String> =
        ["source", "target"].iter().flat_map(|key| texts(&case[*key])).map(|name| bare(&name)).collect();
    let missing: Vec<String> = expected.difference(&named).cloned().collect();
    let verdict = match (missing.is_empty(), expected == named) {
        (false, _) => Verdict::LeavesOut,
        (true, true) => Verdict::Exact,
        (true, false) => Verdict::Wider,
    };
    (verdict, missing)
}

/// A name as Snowflake would store it, without the corpus's word for a schema that is not named.
fn bare(name: &str) -> String {
    name.to_uppercase().replace("<DEFAULT>.", "")
}

/// The last part of a target's name. The text of an expression may have dots in it.
fn column_of(target: &str) -> String {
    let target = bare(target);
    match target.split_once('(') {
        Some(_) => target.split_once('.').map_or(target.clone(), |(_, rest)| rest.to_owned()),
        None => target.rsplit('.').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(lineage: Value, outputs: Value) -> Verdict {
        let case = json!({"kind": "column", "lineage": lineage});
        judge(&case, &json!({"statements": [{"parse": "full", "outputs": outputs}]})).verdict
    }

    #[test]
    fn an_answer_is_judged_by_what_it_leaves_out() {
        let expected = json!([["a.x", "t.c"], ["a.y", "t.c"]]);
        for (sources, is) in [
            (json!(["A.X", "A.Y"]), Verdict::Exact),
            (json!(["A.X", "A.Y", "B.Z"]), Verdict::Wider),
            (json!(["A.*"]), Verdict::Wider),
            (json!("unknown"), Verdict::Unknown),
            (json!(["A.X"]), Verdict::LeavesOut),
            (json!([]), Verdict::LeavesOut),
        ] {
            assert_eq!(
                verdict(expected.clone(), json!([{"name": "C", "sources": sources}])),
                is,
                "{sources}"
            );
        }
        assert_eq!(
            verdict(expected.clone(), json!([{"name": "D", "sources": ["A.X", "A.Y"]}])),
            Verdict::LeavesOut
        );
        assert_eq!(verdict(expected, json!([{"name": null, "sources": ["A.X", "A.Y"]}])), Verdict::Exact);
    }

    #[test]
    fn every_expected_table_is_named() {
        let case = json!({"kind": "table", "source": ["<default>.a", "b"], "target": ["c"]});
        let answer =
            |reads: Value| json!({"statements": [{"parse": "full", "reads": reads, "writes": ["C"]}]});
        assert_eq!(judge(&case, &answer(json!(["A", "B"]))).verdict, Verdict::Exact);
        assert_eq!(judge(&case, &answer(json!(["A"]))).missing, ["B"]);
        assert_eq!(judge(&case, &json!({"statements": [{"parse": "opaque"}]})).verdict, Verdict::NotRead);
    }
}
