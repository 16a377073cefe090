//! How much memory facts take: whoever keeps them must know, because a short text may name few objects many times over.

use std::mem::{size_of, size_of_val};

use model::{ColumnName, Ident, TableName};

use crate::{
    Container, Facts, Landing, ObjectUse, Output, Outputs, SecondaryRoles, SessionNames, Sources, Statement,
};

impl Facts {
    /// Their size in bytes, the text's included. What the allocator adds is not counted.
    #[must_use]
    pub fn size(&self) -> usize {
        let statements = self.statements().unwrap_or_default();
        size_of::<Self>()
            + self.text().as_str().len()
            + self.wants().iter().map(table).sum::<usize>()
            + size_of_val(self.literals())
            + size_of_val(statements)
            + statements.iter().map(of_statement).sum::<usize>()
            + self.leaves().map_or(0, SessionNames::size)
    }
}

impl SessionNames {
    /// Their size in bytes, likewise.
    #[must_use]
    pub fn size(&self) -> usize {
        let of_variable = |(name, text): (&Ident, &String)| ident(name) + size_of::<String>() + text.len();
        let places = [&self.database, &self.schema, &self.role];
        size_of::<Self>()
            + places
                .into_iter()
                .map(|place| place.as_ref().map_or(0, |place| place.as_str().len()))
                .sum::<usize>()
            + of_roles(&self.secondary_roles)
            + self.variables.iter().map(of_variable).sum::<usize>()
    }
}

fn of_roles(roles: &SecondaryRoles) -> usize {
    match roles {
        SecondaryRoles::These(roles) => roles.iter().map(ident).sum(),
        _ => 0,
    }
}

fn of_statement(statement: &Statement) -> usize {
    let containers = statement.containers.iter().map(|used| match &used.container {
        Container::Database(database) => ident(database),
        Container::Schema { database, schema } => part(database.as_ref()) + part(schema.as_ref()),
    });
    let landings = statement.landings.iter().map(|landing| {
        size_of::<Landing>() + landing.table.as_ref().map_or(0, table) + of_outputs(&landing.columns)
    });
    let objects = statement.objects.iter().map(|used| {
        let name = &used.name;
        size_of::<ObjectUse>() + part(name.database.as_ref()) + part(name.schema.as_ref()) + ident(&name.name)
    });
    of_outputs(&statement.outputs)
        + statement.role.as_ref().map_or(0, |role| role.as_str().len())
        + of_roles(&statement.secondary_roles)
        + landings.sum::<usize>()
        + of_sources(&statement.decides_on)
        + objects.sum::<usize>()
        + statement.tables.iter().map(|used| table(&used.table)).sum::<usize>()
        + containers.sum::<usize>()
        + statement.functions.iter().map(|name| size_of::<String>() + name.len()).sum::<usize>()
        // Places elsewhere are quoted from the text, each piece once.
        + statement.elsewhere.len() * size_of::<crate::Elsewhere>()
}

fn of_outputs(outputs: &Outputs) -> usize {
    match outputs {
        Outputs::Known(outputs) => outputs.iter().map(of_output).sum(),
        Outputs::Unknown(_) => 0,
    }
}

fn of_output(output: &Output) -> usize {
    size_of::<Output>() + part(output.name.as_ref()) + of_sources(&output.sources)
}

fn of_sources(sources: &Sources) -> usize {
    match sources {
        Sources::Column(columns) | Sources::Derived(columns) => columns.iter().map(column).sum(),
        Sources::Within { columns, tables } => {
            columns.iter().map(column).sum::<usize>() + tables.iter().map(table).sum::<usize>()
        }
        Sources::Wildcard(tables) => tables.iter().map(table).sum(),
        Sources::Nothing | Sources::Unknown => 0,
    }
}

fn column(column: &ColumnName) -> usize {
    table(&column.table) + ident(&column.name)
}

fn table(table: &TableName) -> usize {
    part(table.database.as_ref()) + part(table.schema.as_ref()) + ident(&table.name)
}

fn part(part: Option<&Ident>) -> usize {
    part.map_or(size_of::<Ident>(), ident)
}

fn ident(ident: &Ident) -> usize {
    size_of::<Ident>() + ident.as_str().len()
}

#[cfg(test)]
mod tests {
    use model::SqlText;

    use crate::{Catalog, SessionNames, analyze};

    #[test]
    fn facts_grow_with_the_names_they_repeat_and_not_with_the_text_alone() {
        let size = |text: &str| {
            analyze(&SqlText::new(text).unwrap(), &SessionNames::default(), &Catalog::default()).size()
        };
        let columns: Vec<String> = (0..500).map(|n| format!("c{n}")).collect();
        let (name, columns) = ("n".repeat(200), columns.join(", "));
        let text = format!("select {columns} from {name}");
        assert!(size(&text) > 500 * 200, "{}", size(&text));
        assert!(size(&format!("select '{}'", "x".repeat(10_000))) < 11_000);
        assert!(size("not sql at all") < 1_000);
    }
}
