//! What a statement may change of what tables and views are. Where that is not sure, it may change everything.

use model::{AccountName, Ident, TableName};
use sql::{Access, Class, Container, Facts, Group, Statement};

/// What may be something else after a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// These.
    Objects(Vec<Place>),
    /// Anything in the account.
    All,
}

/// Objects by the parts of their names; a part that is `None` may be any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    database: Option<Ident>,
    schema: Option<Ident>,
    name: Option<Ident>,
}

/// What a text may change; `None` if it leaves all as it is.
pub(crate) fn of(facts: &Facts) -> Option<Change> {
    match facts.statements() {
        Ok(statements) => statements.iter().filter_map(of_statement).reduce(Change::and),
        Err(_) => Some(Change::All),
    }
}

fn of_statement(statement: &Statement) -> Option<Change> {
    match statement.class.group() {
        Group::Execute | Group::Admin => return Some(Change::All),
        // Files may bring new columns with them.
        Group::Write if statement.class != Class::CopyLoad => return None,
        Group::Ddl | Group::Write => {}
        Group::Read | Group::Unload | Group::Session => return None,
    }
    let changes = |access: Access| access != Access::Read;
    let tables = statement.tables.iter().filter(|used| changes(used.access)).map(|used| used.table.clone());
    let containers = statement.containers.iter().filter(|used| changes(used.access));
    let places: Vec<Place> =
        tables.map(Place::from).chain(containers.map(|used| Place::from(&used.container))).collect();
    // A definition that names nothing is one whose names were not found.
    Some(if places.is_empty() { Change::All } else { Change::Objects(places) })
}

/// The tables and views that a text makes, or gives a name, in its own session alone: no other session sees them, and in
/// this one they stand before others of the same name. The word that says so may be anywhere in a text.
pub(crate) fn private_names(facts: &Facts) -> Vec<TableName> {
    const WORDS: [&str; 3] = ["TEMP", "VOLATILE", "LOCAL"];
    let made = all(facts).iter().filter(|statement| statement.class == Class::Create);
    let made = made.flat_map(|statement| &statement.tables).filter(|used| used.access == Access::Create);
    let made: Vec<TableName> = made.map(|used| used.table.clone()).collect();
    if made.is_empty() {
        return made;
    }
    // The words of a text within the text may be hidden in it.
    if all(facts).iter().any(|statement| statement.class.group() == Group::Execute) {
        return made;
    }
    let upper = facts.text().as_str().to_ascii_uppercase();
    if WORDS.iter().any(|word| upper.contains(word)) { made } else { Vec::new() }
}

/// The tables and views that a text gives other names.
pub(crate) fn renamed(facts: &Facts) -> Vec<TableName> {
    let alter = all(facts).iter().filter(|statement| statement.class == Class::Alter);
    alter.flat_map(|statement| &statement.tables).map(|used| used.table.clone()).collect()
}

/// Whether a text runs code that may make tables of the session's own, under names that nobody here reads. A block, and a
/// text that is known, run nothing but the statements that are listed with them.
pub(crate) fn runs_code(facts: &Facts) -> bool {
    let runs = |statement: &Statement| {
        matches!(statement.class, Class::Call | Class::Execute | Class::Dynamic) || statement.is_dynamic()
    };
    facts.statements().map_or(true, |statements| statements.iter().any(runs))
}

/// The statements of a text; none of one that was not understood.
fn all(facts: &Facts) -> &[Statement] {
    facts.statements().unwrap_or_default()
}

impl Change {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Objects(mut places), Self::Objects(others)) => {
                places.extend(others);
                Self::Objects(places)
            }
            _ => Self::All,
        }
    }

    pub(super) fn covers(&self, table: &TableName) -> bool {
        match self {
            Self::All => true,
            Self::Objects(places) => places.iter().any(|place| place.covers(table)),
        }
    }
}

impl Place {
    fn covers(&self, table: &TableName) -> bool {
        let fits = |part: &Option<Ident>, of_table: Option<&Ident>| {
            part.as_ref().is_none_or(|part| of_table.is_none_or(|name| same(part, name)))
        };
        fits(&self.database, table.database.as_ref())
            && fits(&self.schema, table.schema.as_ref())
            && fits(&self.name, Some(&table.name))
    }
}

/// Whether two names may be one, whatever quotes do to them.
fn same(a: &Ident, b: &Ident) -> bool {
    a == b || a.as_str().to_uppercase() == b.as_str().to_uppercase()
}

impl From<TableName> for Place {
    fn from(table: TableName) -> Self {
        Self { database: table.database, schema: table.schema, name: Some(table.name) }
    }
}

impl From<&Container> for Place {
    fn from(container: &Container) -> Self {
        match container {
            Container::Database(database) => {
                Self { database: Some(database.clone()), schema: None, name: None }
            }
            Container::Schema { database, schema } => {
                Self { database: database.clone(), schema: schema.clone(), name: None }
            }
        }
    }
}

/// A change of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InAccount {
    pub(super) account: AccountName,
    pub(super) change: Change,
}

#[cfg(test)]
mod tests {
    use model::SqlText;
    use sql::{Catalog, SessionNames};

    use super::*;

    fn facts(text: &str) -> Facts {
        let (database, schema) = (Some(Ident::exact("DB")), Some(Ident::exact("S")));
        let names = SessionNames { database, schema, ..SessionNames::default() };
        sql::analyze(&SqlText::new(text).unwrap(), &names, &Catalog::default())
    }

    fn table(database: &str, schema: &str, name: &str) -> TableName {
        let part = |text: &str| Some(Ident::exact(text));
        TableName { database: part(database), schema: part(schema), name: Ident::exact(name) }
    }

    #[test]
    fn definitions_change_what_they_name_and_nothing_else() {
        for text in [
            "create or replace view v as select * from t",
            "create table v (x int)",
            "create or replace table v clone t",
            "alter table v add column x int",
            "drop view if exists v",
            "undrop table v",
            "create or replace table \"v\" as select 1 x",
        ] {
            let change = of(&facts(text)).unwrap_or_else(|| panic!("{text}"));
            assert!(change.covers(&table("DB", "S", "V")), "{text}: {change:?}");
            assert!(!change.covers(&table("DB", "R", "V")), "{text}: {change:?}");
            assert!(!change.covers(&table("DB", "S", "OTHER")), "{text}: {change:?}");
        }
        let swap = of(&facts("alter table a swap with b")).unwrap();
        assert!(swap.covers(&table("DB", "S", "A")) && swap.covers(&table("DB", "S", "B")));
    }

    #[test]
    fn a_container_is_all_that_is_in_it() {
        let schema = of(&facts("drop schema s")).unwrap();
        assert!(schema.covers(&table("DB", "S", "X")) && !schema.covers(&table("DB", "R", "X")));
        let database = of(&facts("create or replace database d")).unwrap();
        assert!(database.covers(&table("D", "R", "X")) && !database.covers(&table("DB", "S", "X")));
    }

    #[test]
    fn what_may_do_anything_changes_everything() {
        for text in [
            "select 1; drop table t; call p()",
            "call p()",
            "execute immediate 'x'",
            "grant select on t to role r",
            "what is this",
            "",
        ] {
            assert_eq!(of(&facts(text)), Some(Change::All), "{text}");
        }
    }

    #[test]
    fn reading_and_writing_rows_changes_nothing() {
        for text in [
            "select * from t",
            "insert into t select * from u",
            "update t set x = 1",
            "delete from t",
            "merge into t using u on t.a = u.a when matched then delete",
            "use schema r",
            "begin",
            "show tables",
        ] {
            assert_eq!(of(&facts(text)), None, "{text}");
        }
    }

    #[test]
    fn tables_of_the_session_alone_are_told() {
        for text in ["create temporary table v as select 1 x", "create or replace temp view v as select 1 x"]
        {
            assert_eq!(private_names(&facts(text)), [table("DB", "S", "V")], "{text}");
        }
        assert!(private_names(&facts("create table v (x int)")).is_empty());
        assert!(renamed(&facts("alter table v rename to w")).contains(&table("DB", "S", "W")));
        assert_eq!(
            private_names(&facts("execute immediate 'create table v (x int)'")),
            [table("DB", "S", "V")],
            "nobody looks for the word within the text"
        );
    }

    #[test]
    fn code_is_what_runs_more_than_it_says() {
        for text in [
            "call p()",
            "begin call p(); end",
            "begin let r resultset := (call p()); end",
            "execute immediate 'call p()'",
            "execute immediate $x",
            "begin let q := 'select 1'; execute immediate :q; end",
            "execute task t",
            "what is this",
        ] {
            assert!(runs_code(&facts(text)), "{text}");
        }
        for text in [
            "select 1",
            "begin select 1; insert into t values (1); end",
            "execute immediate 'select 1'",
            "execute immediate $$ begin select 1; end $$",
            "create procedure p() returns int language sql as $$ begin return 1; end $$",
        ] {
            assert!(!runs_code(&facts(text)), "{text}");
        }
    }
}
