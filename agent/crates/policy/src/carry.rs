//! Where the tags of what a statement reads will be after it ran.

use std::collections::BTreeSet;

use model::{Ident, TableName};
use sql::{Access, Class, Container, Effect, Landing, Outputs, Sources, Statement};

use crate::{
    beside::Carried,
    plan::{Guard, Plan},
};

/// The name of the table under which files of stages are listed, all of them together.
pub const STAGES: &str = "@";

/// What a permitted statement tags, because it puts there what it reads. `all_tags` are those of every pattern, and
/// `staged` those of what went into files of stages before.
pub(crate) fn carried(
    statement: &Statement,
    plan: &Plan,
    all_tags: &BTreeSet<String>,
    staged: &BTreeSet<String>,
) -> Vec<Carried> {
    let mut found: BTreeSet<Carried> = statement
        .landings
        .iter()
        .flat_map(|landing| landed(statement, landing, plan, all_tags, staged))
        .collect();
    if statement.moves_data && statement.landings.is_empty() {
        found.extend(moved(statement, plan, all_tags));
    }
    found.into_iter().collect()
}

/// A table whose columns are filled, each from where the statement says.
fn landed(
    statement: &Statement,
    landing: &Landing,
    plan: &Plan,
    all_tags: &BTreeSet<String>,
    staged: &BTreeSet<String>,
) -> Vec<Carried> {
    let place = match &landing.table {
        Some(table) => Place::table(table),
        None => Place { database: None, schema: None, table: Some(Ident::exact(STAGES)) },
    };
    // Nobody knows which column of a file is which.
    let unknown = if statement.class == Class::CopyLoad { staged.clone() } else { anything(plan, all_tags) };
    let Outputs::Known(outputs) = &landing.columns else {
        return some(Source { column: None, tags: unknown })
            .iter()
            .map(|source| place.carried(source))
            .collect();
    };
    let mut sources = Vec::new();
    for output in outputs {
        let tags = plan.tags(&output.sources).unwrap_or_else(|| unknown.clone());
        match &output.sources {
            // All columns of a table under their own names.
            Sources::Wildcard(tables)
                if landing.is_new
                    && !landing.is_by_position
                    && !tables.iter().any(|t| plan.unresolved.contains(t)) =>
            {
                let of_tables = plan.guards.iter().filter(|guard| tables.contains(&guard.table));
                sources.extend(of_tables.map(of_guard));
            }
            // Where columns are filled by their place, one or many at once, nobody knows which is which.
            _ => {
                let is_known = !output.is_many && landing.table.is_some() && !landing.is_by_position;
                let column = output.name.clone().filter(|_| is_known);
                sources.push(Source { column, tags });
            }
        }
    }
    sources.into_iter().flat_map(some).map(|source| place.carried(&source)).collect()
}

/// A tagged column under its own name.
fn of_guard(guard: &Guard) -> Source {
    Source { column: guard.tagged.pattern.exact_column(), tags: guard.tagged.tags.clone() }
}

/// The tags of all that a statement reads.
fn anything(plan: &Plan, all_tags: &BTreeSet<String>) -> BTreeSet<String> {
    if plan.reads_more {
        return all_tags.clone();
    }
    plan.guards.iter().flat_map(|guard| guard.tagged.tags.iter().cloned()).collect()
}

/// Tables that are copied, renamed or swapped as a whole.
fn moved(statement: &Statement, plan: &Plan, all_tags: &BTreeSet<String>) -> Vec<Carried> {
    let sources = sources(statement, plan, all_tags);
    let tables =
        statement.tables.iter().filter(|used| used.access != Access::Read && used.access != Access::Drop);
    let places = tables.map(|used| Place::table(&used.table));
    let made = |access: Access| matches!(access, Access::Create | Access::Alter);
    let copies = reads_container(statement);
    let containers = statement.containers.iter().filter(|used| copies && made(used.access));
    let places = places.chain(containers.map(|used| Place::container(&used.container)));
    places.flat_map(|place| sources.iter().map(move |source| place.carried(source))).collect()
}

/// Tags, and the column that has them where its name stays the same.
struct Source {
    column: Option<Ident>,
    tags: BTreeSet<String>,
}

fn sources(statement: &Statement, plan: &Plan, all_tags: &BTreeSet<String>) -> Vec<Source> {
    if plan.reads_more || reads_container(statement) {
        // Nobody knows what of it.
        return some(Source { column: None, tags: all_tags.clone() });
    }
    if copies_whole(statement) {
        return plan.guards.iter().map(of_guard).collect();
    }
    some(Source { column: None, tags: anything(plan, all_tags) })
}

fn some(source: Source) -> Vec<Source> {
    if source.tags.is_empty() { Vec::new() } else { vec![source] }
}

/// Whether all of a schema or database is copied.
fn reads_container(statement: &Statement) -> bool {
    statement.containers.iter().any(|used| used.access == Access::Read)
}

/// Whether columns keep their names: what is copied, renamed or swapped is whole.
fn copies_whole(statement: &Statement) -> bool {
    statement.class == Class::Alter || statement.effects.contains(&Effect::Clone)
}

/// Where it goes.
struct Place {
    database: Option<Ident>,
    schema: Option<Ident>,
    table: Option<Ident>,
}

impl Place {
    fn table(table: &TableName) -> Self {
        let TableName { database, schema, name } = table.clone();
        Self { database, schema, table: Some(name) }
    }

    fn container(container: &Container) -> Self {
        match container.clone() {
            Container::Database(database) => Self { database: Some(database), schema: None, table: None },
            Container::Schema { database, schema } => Self { database, schema, table: None },
        }
    }

    fn carried(&self, source: &Source) -> Carried {
        Carried {
            database: self.database.clone(),
            schema: self.schema.clone(),
            table: self.table.clone(),
            column: source.column.clone(),
            tags: source.tags.clone(),
        }
    }
}
