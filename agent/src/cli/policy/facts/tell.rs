//! One line of the output: facts as JSON.

use std::collections::BTreeSet;

use model::{ColumnName, TableName};
use serde::Serialize;
use serde_json::Value;
use sql::{Access, Catalog, Container, Facts, Output, Outputs, Sources, Statement};

/// What is told of one text.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    id: Value,
    statements: Vec<ToldStatement>,
}

#[derive(Debug, Serialize)]
struct ToldStatement {
    class: &'static str,
    parse: &'static str,
    reads: BTreeSet<String>,
    writes: BTreeSet<String>,
    calls: BTreeSet<String>,
    effects: Vec<&'static str>,
    outputs: Vec<ToldOutput>,
    decides_on: BTreeSet<String>,
}

#[derive(Debug, Serialize)]
struct ToldOutput {
    name: Option<String>,
    sources: ToldSources,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ToldSources {
    Unknown(&'static str),
    Known(BTreeSet<String>),
}

const UNKNOWN: &str = "unknown";
/// What a list is called, and ends in, that stands for any number of columns.
const ANY: &str = "*";

impl Told {
    pub(super) fn of(id: Value, facts: &Facts, catalog: &Catalog) -> Self {
        let statements = match facts.statements() {
            Ok(statements) => {
                let mut made = Made::default();
                let tell = |statement| {
                    let told = told(statement, catalog, &made);
                    made.add(statement);
                    told
                };
                statements.iter().map(tell).collect()
            }
            Err(_) => vec![opaque()],
        };
        Self { id, statements }
    }
}

/// Nothing is known of it.
fn opaque() -> ToldStatement {
    ToldStatement {
        class: "OPAQUE",
        parse: "opaque",
        reads: BTreeSet::new(),
        writes: BTreeSet::new(),
        calls: BTreeSet::new(),
        effects: Vec::new(),
        outputs: vec![ToldOutput { name: None, sources: ToldSources::Unknown(UNKNOWN) }],
        decides_on: BTreeSet::from([UNKNOWN.to_owned()]),
    }
}

/// Tables that the text itself has made: what is in them came from elsewhere, and that is told. Their own columns are only a
/// way there.
#[derive(Default)]
struct Made(BTreeSet<TableName>);

impl Made {
    fn add(&mut self, statement: &Statement) {
        let is_told = |columns: &Outputs| matches!(columns, Outputs::Known(_));
        let new = statement.landings.iter().filter(|landing| landing.is_new && is_told(&landing.columns));
        self.0.extend(new.filter_map(|landing| landing.table.clone()));
    }

    fn has(&self, table: &TableName) -> bool {
        self.0.contains(table)
    }
}

fn told(statement: &Statement, catalog: &Catalog, made: &Made) -> ToldStatement {
    let mut reads = BTreeSet::new();
    let mut writes = BTreeSet::new();
    let mut calls: BTreeSet<String> = statement.functions.iter().cloned().collect();
    for used in &statement.tables {
        if used.fallback && statement.tables.iter().any(|first| is_found_first(first, used, catalog)) {
            continue;
        }
        if used.access == Access::Read { &mut reads } else { &mut writes }.insert(table(&used.table));
    }
    for used in &statement.containers {
        if used.access == Access::Read { &mut reads } else { &mut writes }.insert(container(&used.container));
    }
    // A schema that neither the statement nor the session names.
    reads.remove("");
    writes.remove("");
    for used in &statement.objects {
        let list = match used.access {
            Access::Read => &mut reads,
            Access::Call => &mut calls,
            Access::Write | Access::Create | Access::Alter | Access::Drop | Access::Grant => &mut writes,
        };
        let name = &used.name;
        list.insert(joined([name.database.as_ref(), name.schema.as_ref(), Some(&name.name)]));
    }
    let mut outputs = told_outputs(&statement.outputs, made);
    outputs.extend(statement.landings.iter().flat_map(|landing| told_outputs(&landing.columns, made)));
    ToldStatement {
        class: statement.class.action(),
        parse: statement.parse.as_str(),
        reads,
        writes,
        calls,
        effects: statement.effects.iter().map(|effect| effect.as_str()).collect(),
        outputs,
        decides_on: match sources(&statement.decides_on, made) {
            ToldSources::Known(columns) => columns,
            ToldSources::Unknown(word) => BTreeSet::from([word.to_owned()]),
        },
    }
}

/// Whether a name is known to be found in the place where Snowflake looks first.
fn is_found_first(first: &sql::TableUse, second: &sql::TableUse, catalog: &Catalog) -> bool {
    !first.fallback
        && first.table.name == second.table.name
        && first.table.database == second.table.database
        && catalog.table(&first.table).is_some()
}

fn told_outputs(outputs: &Outputs, made: &Made) -> Vec<ToldOutput> {
    match outputs {
        Outputs::Known(outputs) => outputs.iter().map(|output| told_output(output, made)).collect(),
        Outputs::Unknown(_) => vec![ToldOutput { name: None, sources: ToldSources::Unknown(UNKNOWN) }],
    }
}

fn told_output(output: &Output, made: &Made) -> ToldOutput {
    let name = output.name.as_ref().map(ToString::to_string);
    ToldOutput {
        name: name.or_else(|| output.is_many.then(|| ANY.to_owned())),
        sources: sources(&output.sources, made),
    }
}

fn sources(sources: &Sources, made: &Made) -> ToldSources {
    let of_columns = |columns: &[ColumnName]| {
        let told = columns.iter().filter(|column| !made.has(&column.table));
        told.map(column).collect::<BTreeSet<_>>()
    };
    let of_tables = |tables: &[TableName]| {
        let told = tables.iter().filter(|table| !made.has(table));
        told.map(|name| format!("{}.{ANY}", table(name))).collect::<BTreeSet<_>>()
    };
    match sources {
        Sources::Nothing => ToldSources::Known(BTreeSet::new()),
        Sources::Column(columns) | Sources::Derived(columns) => ToldSources::Known(of_columns(columns)),
        Sources::Wildcard(tables) => ToldSources::Known(of_tables(tables)),
        Sources::Within { columns, tables } => {
            ToldSources::Known(of_columns(columns).into_iter().chain(of_tables(tables)).collect())
        }
        Sources::Unknown => ToldSources::Unknown(UNKNOWN),
    }
}

fn column(column: &ColumnName) -> String {
    format!("{}.{}", table(&column.table), column.name)
}

fn table(table: &TableName) -> String {
    joined([table.database.as_ref(), table.schema.as_ref(), Some(&table.name)])
}

fn container(container: &Container) -> String {
    match container {
        Container::Database(database) => database.to_string(),
        Container::Schema { database, schema } => joined([database.as_ref(), schema.as_ref()]),
    }
}

/// The parts that are known, with dots between.
fn joined<const N: usize>(parts: [Option<&model::Ident>; N]) -> String {
    let parts: Vec<&str> = parts.into_iter().flatten().map(model::Ident::as_str).collect();
    parts.join(".")
}
