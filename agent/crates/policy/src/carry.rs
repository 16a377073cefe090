//! Where the tags of what a statement reads will be after it ran.

use std::collections::BTreeSet;

use model::{Ident, TableName};
use sql::{Access, Class, Container, Effect, Statement};

use crate::{
    beside::Carried,
    plan::{Guard, Plan},
};

/// What a permitted statement tags, because it puts there what it reads. `all_tags` are those of every pattern.
pub(crate) fn carried(statement: &Statement, plan: &Plan, all_tags: &BTreeSet<String>) -> Vec<Carried> {
    if !statement.moves_data {
        return Vec::new();
    }
    let sources = sources(statement, plan, all_tags);
    let tables =
        statement.tables.iter().filter(|used| used.access != Access::Read && used.access != Access::Drop);
    let places = tables.map(|used| Place::table(&used.table));
    let made = |access: Access| matches!(access, Access::Create | Access::Alter);
    let copies = reads_container(statement);
    let containers = statement.containers.iter().filter(|used| copies && made(used.access));
    let places = places.chain(containers.map(|used| Place::container(&used.container)));
    let found: BTreeSet<Carried> =
        places.flat_map(|place| sources.iter().map(move |source| place.carried(source))).collect();
    found.into_iter().collect()
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
        let of_guard = |guard: &Guard| {
            let column = guard.tagged.pattern.exact_column();
            Source { column, tags: guard.tagged.tags.clone() }
        };
        return plan.guards.iter().map(of_guard).collect();
    }
    let tags = plan.guards.iter().flat_map(|guard| guard.tagged.tags.iter().cloned()).collect();
    some(Source { column: None, tags })
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
