//! Where columns come from, construct by construct. A line is `output=source|source …`, then after `/` what decides: `-` is
//! nothing, `?` anything, `T.*` any column of `T`.

use std::sync::Arc;

use model::{ColumnName, Ident, SqlText, TableName};

use super::session;
use crate::{Catalog, Outputs, SessionNames, Sources, Table, View, analyze, table_name};

mod names;
mod queries;
mod random;
mod shapes;
mod views;
mod writes;

fn columns(list: &str) -> Vec<Ident> {
    list.split_whitespace().map(|name| Ident::exact(name.replace('~', " "))).collect()
}

fn view(columns_list: &str, definition: &str, names: &SessionNames) -> Table {
    let view = View { definition: definition.to_owned(), names: names.clone() };
    Table { columns: columns(columns_list), view: Some(view) }
}

/// Some tables, and views on them.
fn catalog() -> Catalog {
    let session = session();
    let mut catalog = Catalog::default();
    for (name, list) in [
        ("t", "ID A B C SSN V"),
        ("u", "ID X Y SSN"),
        ("odd", "a A My~Col DAY"),
        ("events", "TS USER_ID KIND AMOUNT"),
        ("emp", "ID BOSS NAME PAY"),
        ("tgt", "P Q R"),
    ] {
        let name = table_name(name, &session).unwrap();
        catalog.insert_table(name, Arc::new(Table::with_columns(columns(list))));
    }
    let elsewhere = SessionNames { schema: Some(Ident::unquoted("vault")), ..session.clone() };
    let secret = table_name("vault.secret", &session).unwrap();
    catalog.insert_table(secret, Arc::new(Table::with_columns(columns("K PIN"))));
    for (name, list, definition, names) in [
        ("v_plain", "ID S", "select id, ssn as s from t", &session),
        (
            "v_ddl",
            "P Q",
            "create or replace secure view v_ddl(p, q) as select a, upper(b) from t where c = 1;",
            &session,
        ),
        ("v_on_view", "S2", "select s as s2 from v_plain", &session),
        ("v_vault", "K PIN", "select * from secret", &elsewhere),
        ("v_union", "N", "select a from t union all select x from u", &session),
        ("v_circle", "A", "select a from v_circle", &session),
        ("v_broken", "A", "select from where", &session),
        ("v_changed", "A B", "select a from t", &session),
        ("v_unread", "A", "select a from nowhere", &session),
    ] {
        let name = table_name(name, &session).unwrap();
        catalog.insert_table(name, Arc::new(view(list, definition, names)));
    }
    catalog
}

fn list(sources: &Sources) -> String {
    let of = |columns: &[ColumnName], tables: &[TableName]| {
        let columns = columns.iter().map(ToString::to_string);
        columns.chain(tables.iter().map(|table| format!("{table}.*"))).collect::<Vec<_>>().join("|")
    };
    match sources {
        Sources::Nothing => "-".to_owned(),
        Sources::Column(columns) | Sources::Derived(columns) => of(columns, &[]),
        Sources::Within { columns, tables } => of(columns, tables),
        Sources::Wildcard(tables) => of(&[], tables),
        Sources::Unknown => "?".to_owned(),
    }
    .replace("ANALYTICS.PUBLIC.", "")
}

fn line_of(outputs: &Outputs) -> String {
    match outputs {
        Outputs::Unknown(_) => "?".to_owned(),
        Outputs::Known(outputs) => {
            let of_output = |output: &crate::Output| {
                let name = match (&output.name, output.is_many) {
                    (Some(name), _) => name.to_string(),
                    (None, true) => "*".to_owned(),
                    (None, false) => String::new(),
                };
                format!("{name}={}", list(&output.sources))
            };
            outputs.iter().map(of_output).collect::<Vec<_>>().join(" ")
        }
    }
}

/// Outputs and landings of the last statement, and what it decides on.
fn followed(sql: &str, catalog: &Catalog) -> (String, String) {
    let facts = analyze(&SqlText::new(sql).unwrap(), &session(), catalog);
    let statement = facts.statements().unwrap_or_else(|opaque| panic!("{sql}: {opaque}")).last().unwrap();
    let mut line = line_of(&statement.outputs);
    for landing in &statement.landings {
        let table = landing.table.as_ref().map_or("(stage)".to_owned(), ToString::to_string);
        line.push_str(&format!(
            "{}{}: {}",
            if line.is_empty() { "" } else { " " },
            table.replace("ANALYTICS.PUBLIC.", ""),
            line_of(&landing.columns)
        ));
    }
    (line, list(&statement.decides_on))
}

/// Compares; an expectation without `/` does not say what decides.
fn check_in(catalog: &Catalog, cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        let (outputs, decides) = followed(sql, catalog);
        let is = if expected.contains(" / ") { format!("{outputs} / {decides}") } else { outputs };
        if is != *expected {
            wrong.push(format!("{sql}\n  is       {is}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// With the tables of [`catalog`].
fn known(cases: &[(&str, &str)]) {
    check_in(&catalog(), cases);
}

/// With nothing known of any table.
fn open(cases: &[(&str, &str)]) {
    check_in(&Catalog::default(), cases);
}
