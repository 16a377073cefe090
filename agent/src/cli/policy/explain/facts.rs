//! What is known of a statement, for people and for programs.

use serde::Serialize;
use sql::{Outputs, Sources, Statement};

#[derive(Debug, Serialize)]
pub(super) struct StatementFacts {
    pub(super) class: &'static str,
    pub(super) verb: String,
    /// `full` or `partial`.
    pub(super) parse: &'static str,
    pub(super) objects: Vec<Touched>,
    /// Functions that are not Snowflake's own.
    pub(super) functions: Vec<String>,
    pub(super) effects: Vec<&'static str>,
    /// Ways to data that the text does not name.
    pub(super) elsewhere: Vec<String>,
    pub(super) outputs: Vec<Output>,
    /// Why nothing is known of where the columns come from.
    pub(super) outputs_unknown: Option<String>,
    /// Columns that decide which rows there are.
    pub(super) decides_on: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Touched {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) access: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Output {
    pub(super) name: Option<String>,
    /// Full names of columns; `TABLE.*` for all of a table; `?` where it may be any.
    pub(super) sources: Vec<String>,
    /// Whether it is one of them unchanged.
    pub(super) unchanged: bool,
}

impl StatementFacts {
    pub(super) fn new(statement: &Statement) -> Self {
        let tables = statement.tables.iter().map(|used| Touched {
            kind: "table".to_owned(),
            name: used.table.to_string(),
            access: used.access.as_str(),
        });
        let containers = statement.containers.iter().map(|used| {
            let part =
                |part: &Option<model::Ident>| part.as_ref().map_or("?".to_owned(), ToString::to_string);
            let (kind, name) = match &used.container {
                sql::Container::Database(database) => ("database", database.to_string()),
                sql::Container::Schema { database, schema } => {
                    ("schema", format!("{}.{}", part(database), part(schema)))
                }
            };
            Touched { kind: kind.to_owned(), name, access: used.access.as_str() }
        });
        let objects = statement.objects.iter().map(|used| Touched {
            kind: used.kind.as_str().to_owned(),
            name: used.full_name(),
            access: used.access.as_str(),
        });
        let (outputs, outputs_unknown) = match &statement.outputs {
            Outputs::Known(outputs) => (outputs.iter().map(output).collect(), None),
            Outputs::Unknown(why) => (Vec::new(), Some((*why).to_owned())),
        };
        Self {
            class: statement.class.action(),
            verb: statement.verb.clone(),
            parse: statement.parse.as_str(),
            objects: tables.chain(containers).chain(objects).collect(),
            functions: statement.functions.clone(),
            effects: statement.effects.iter().map(|effect| effect.as_str()).collect(),
            elsewhere: statement.elsewhere.iter().map(ToString::to_string).collect(),
            outputs,
            outputs_unknown,
            decides_on: sources(&statement.decides_on),
        }
    }
}

fn output(output: &sql::Output) -> Output {
    Output {
        name: output.name.as_ref().map(ToString::to_string),
        sources: sources(&output.sources),
        unchanged: matches!(output.sources, Sources::Column(_) | Sources::Wildcard(_)),
    }
}

fn sources(sources: &Sources) -> Vec<String> {
    match sources {
        Sources::Nothing => Vec::new(),
        Sources::Column(columns) | Sources::Derived(columns) => {
            columns.iter().map(|column| format!("{}.{}", column.table, column.name)).collect()
        }
        Sources::Within { columns, tables } => columns
            .iter()
            .map(|column| format!("{}.{}", column.table, column.name))
            .chain(tables.iter().map(|table| format!("{table}.*")))
            .collect(),
        Sources::Wildcard(tables) => tables.iter().map(|table| format!("{table}.*")).collect(),
        Sources::Unknown => vec!["?".to_owned()],
    }
}
