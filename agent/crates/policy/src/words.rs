//! Words of a rule that the schema takes for any text: tags, effects and the like, and the names of things. One that
//! nothing has is a rule that never applies, which for a forbid is a door left open.

use std::collections::BTreeMap;

use cedar_policy::Policy;
use model::{AccountName, Ident};
use serde_json::Value;
use sql::{Class, Effect, Level, ObjectKind};

use crate::{Classification, PolicyFile, Problem, entities::quoted, literals, near, rule::Rule};

/// Tags and effects that nothing has, and that are nearly the name of one. Whether a tag is on any column at all is the
/// operator's to know: rules may be there before the columns.
pub(crate) fn misspelt(
    files: &[PolicyFile],
    rules: &BTreeMap<String, Rule>,
    classification: &Classification,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (id, rule) in rules {
        let mut look = |what: &'static str, attribute: &str, known: &[&str], is_closed: bool| {
            for word in literals::compared_with(&rule.policy, attribute) {
                let meant = near::meant(&word, known.iter().copied()).map(str::to_owned);
                if !known.contains(&word.as_str()) && (is_closed || meant.is_some()) {
                    let place = rule.place_of_text(files, &word);
                    problems.push(Problem::Word { place, rule: id.clone(), what, word, meant });
                }
            }
        };
        look("tag", "tags", &classification.tags().collect::<Vec<_>>(), false);
        look("effect", "effects", &Effect::ALL.map(Effect::as_str), true);
        look("assurance", "assurance", &["verified", "observed", "none"], true);
        look("agent evidence", "agent_evidence", &["executable", "asserted"], true);
        look("mode", "mode", &["observe", "enforce"], true);
        look("parse", "parse", &["full", "partial"], true);
        look("class", "class", &Class::ALL.map(Class::action), true);
        look("word for secondary roles", "secondary_roles", SECONDARY_ROLES, true);
        for (of_type, name) in entities(&rule.policy) {
            if let Some(meant) = meant(&of_type, &name) {
                let place = rule.place_of_text(files, &name);
                problems.push(Problem::Name { place, rule: id.clone(), of_type, name, meant });
            }
        }
    }
    problems
}

const SECONDARY_ROLES: &[&str] = &["usual", "all", "none", "some", "unknown"];

/// Every thing that a rule names: its type and its id.
fn entities(policy: &Policy) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Ok(json) = policy.to_json() {
        collect(&json, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

fn collect(json: &Value, found: &mut Vec<(String, String)>) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => {
            if let (Some(Value::String(of_type)), Some(Value::String(id))) =
                (members.get("type"), members.get("id"))
            {
                found.push((of_type.clone(), id.clone()));
            }
            members.values().for_each(|member| collect(member, found));
        }
        _ => {}
    }
}

/// What a name should be, if nothing can be called that.
fn meant(of_type: &str, id: &str) -> Option<String> {
    let (prefix, name, parts) = match of_type {
        "Account" => {
            let stored = AccountName::new(id);
            return (stored.as_str() != id).then(|| format!("Account::\"{stored}\""));
        }
        "Database" => ("", id, 1),
        "Schema" => ("", id, 2),
        "Table" | "Stage" | "Procedure" | "Function" => ("", id, 3),
        // One with a * is what a pattern is called.
        "Column" if !id.contains('*') => ("", id, 4),
        "Object" => {
            let Some((word, name)) = id.split_once(':') else {
                return Some("its kind before its name: Object::\"warehouse:ETL_WH\"".to_owned());
            };
            let kinds = ObjectKind::ALL;
            let Some(kind) = kinds.iter().find(|kind| kind.as_str() == word) else {
                let near = near::meant(word, kinds.iter().map(|kind| kind.as_str())).unwrap_or("warehouse");
                return Some(format!("Object::\"{near}:{name}\""));
            };
            let parts = match kind.level() {
                Level::Account => 1,
                Level::Database => 2,
                Level::Schema => 3,
            };
            (id.get(..=word.len()).unwrap_or_default(), name, parts)
        }
        _ => return None,
    };
    const PARTS: [&str; 4] = ["DATABASE", "SCHEMA", "NAME", "COLUMN"];
    let stored = stored(name).filter(|stored| stored.len() == parts);
    let expected = match stored {
        Some(stored) => stored.iter().map(quoted).collect::<Vec<_>>().join("."),
        // A name of one part may hold anything but what would make two of it.
        None => PARTS.get(..parts).unwrap_or_default().join("."),
    };
    (expected != name).then(|| format!("{of_type}::\"{prefix}{expected}\""))
}

/// The parts of a name as Snowflake stores them, if it were written in a statement.
fn stored(name: &str) -> Option<Vec<Ident>> {
    let mut parts = Vec::new();
    let mut rest = name;
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(inside) => {
                let end = end_of_quotes(inside)?;
                let (text, after) = (inside.get(..end)?, inside.get(end + 1..)?);
                (Ident::exact(text.replace("\"\"", "\"")), after)
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (Ident::unquoted(rest.get(..end)?), rest.get(end..)?)
            }
        };
        if part.as_str().is_empty() {
            return None;
        }
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(parts),
        }
    }
}

/// Where quotes end that begin before a text.
fn end_of_quotes(inside: &str) -> Option<usize> {
    let mut chars = inside.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '"' && chars.next_if(|(_, next)| *next == '"').is_none() {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_snowflake_stores_them() {
        for (of_type, good) in [
            ("Account", "ACME"),
            ("Database", "ANALYTICS"),
            ("Database", "\"my db\""),
            ("Schema", "ANALYTICS.PUBLIC"),
            ("Table", "A.B.\"lower.case\""),
            ("Table", "A.B.\"a \"\"b\"\"\""),
            ("Column", "A.B.T.C"),
            ("Column", "*.*.*.ssn"),
            ("Object", "warehouse:ETL_WH"),
            ("Object", "pipe:A.B.P"),
            ("Group", "anything"),
        ] {
            assert_eq!(meant(of_type, good), None, "{good}");
        }
        for (of_type, bad, expected) in [
            ("Account", "acme", "Account::\"ACME\""),
            ("Database", "analytics", "Database::\"ANALYTICS\""),
            ("Table", "A.b.T", "Table::\"A.B.T\""),
            ("Table", "A.\"B\".T", "Table::\"A.B.T\""),
            ("Table", "A.T", "Table::\"DATABASE.SCHEMA.NAME\""),
            ("Schema", "PUBLIC", "Schema::\"DATABASE.SCHEMA\""),
            ("Schema", "A..B", "Schema::\"DATABASE.SCHEMA\""),
            ("Table", "A.B.\"open", "Table::\"DATABASE.SCHEMA.NAME\""),
            ("Object", "warehouze:W", "Object::\"warehouse:W\""),
            ("Object", "warehouse:w", "Object::\"warehouse:W\""),
            ("Object", "W", "its kind before its name: Object::\"warehouse:ETL_WH\""),
        ] {
            assert_eq!(meant(of_type, bad).as_deref(), Some(expected), "{bad}");
        }
    }
}
