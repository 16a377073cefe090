//! The class of statements of every kind, as a person who knows Snowflake would say it.

use model::SqlText;

use super::session;
use crate::analyze;

const REVIEWED: &str = include_str!("classes.txt");

#[test]
fn every_kind_of_statement_has_its_class() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut expected = "";
    let mut lines = REVIEWED.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(class) = line.strip_prefix("== ") {
            expected = class;
            continue;
        }
        let mut sql = line.to_owned();
        while let Some(more) = lines.next_if(|next| next.starts_with(' ')) {
            sql.push('\n');
            sql.push_str(more);
        }
        count += 1;
        let facts = analyze(&SqlText::new(&sql).unwrap(), &session(), &crate::Catalog::default());
        let found = match facts.statements() {
            Ok(statements) => statements.first().unwrap().class.action().to_owned(),
            Err(opaque) => format!("opaque: {opaque}"),
        };
        if found != expected {
            wrong.push(format!("{sql}\n  is {found}, and not {expected}"));
        }
    }
    assert!(count >= 1000, "{count}");
    assert!(wrong.is_empty(), "{} of {count}\n{}", wrong.len(), wrong.join("\n"));
}
