//! What is surely no more, or made anew, once a text has succeeded; and what it may bring back.
//!
//! A tag that data took along goes when the data does. That is believed only of a text that is one statement, and whose
//! words leave no doubt: `DROP TABLE IF EXISTS` of a view, or a `CREATE TABLE IF NOT EXISTS`, may succeed and do nothing, and
//! a temporary table only hides another one. Such texts end nothing.

use model::{Ident, TableName};
use policy::Carried;
use sql::{Access, Class, Container, Facts, Parse, Statement};

use crate::catalog::Lookups;

/// What a text does to tables, views and what holds them, by their full names.
#[derive(Debug, Default)]
pub(crate) struct Anew {
    ends: Vec<Whole>,
    brings_back: Vec<Option<Whole>>,
}

/// A table, or all of a schema or database.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Whole {
    database: Ident,
    schema: Option<Ident>,
    table: Option<Ident>,
}

impl Anew {
    /// What a text does in a session that may have tables of its own.
    pub(crate) fn of(facts: &Facts, lookups: &Lookups) -> Self {
        let statements = facts.statements().unwrap_or_default();
        let ends = match statements {
            [statement] => ended(facts, statement, lookups).into_iter().collect(),
            _ => Vec::new(),
        };
        let undropping = statements.iter().filter(|statement| statement.class == Class::Undrop);
        let mut brings_back: Vec<_> = undropping.flat_map(brought_back).collect();
        // It may be named by a number, too: `UNDROP TABLE IDENTIFIER(7)`.
        let is_numbered = facts.text().as_str().to_ascii_uppercase().contains("IDENTIFIER");
        let is_opaque = facts.statements().is_err() && facts.verb().starts_with("UNDROP");
        if is_opaque || (is_numbered && !brings_back.is_empty()) {
            brings_back.push(None);
        }
        Self { ends, brings_back }
    }

    pub(super) fn may_end(&self) -> bool {
        !self.ends.is_empty()
    }

    pub(super) fn may_bring_back(&self) -> bool {
        !self.brings_back.is_empty()
    }

    /// Whether these columns are no more if it succeeds.
    pub(super) fn ends(&self, carried: &Carried) -> bool {
        self.ends.iter().any(|whole| whole.holds(carried))
    }

    /// Whether it may bring these columns back.
    pub(super) fn brings_back(&self, carried: &Carried) -> bool {
        self.brings_back.iter().any(|whole| whole.as_ref().is_none_or(|whole| whole.holds(carried)))
    }
}

impl Whole {
    fn table(table: &TableName) -> Option<Self> {
        let TableName { database, schema, name } = table.clone();
        Some(Self { database: database?, schema: Some(schema?), table: Some(name) })
    }

    fn container(container: &Container) -> Option<Self> {
        Some(match container.clone() {
            Container::Database(database) => Self { database, schema: None, table: None },
            Container::Schema { database, schema } => {
                Self { database: database?, schema: Some(schema?), table: None }
            }
        })
    }

    /// Whether all that a place speaks of is in it.
    fn holds(&self, carried: &Carried) -> bool {
        let is_in = |own: &Option<Ident>, part: &Option<Ident>| own.is_none() || own == part;
        carried.database.as_ref() == Some(&self.database)
            && is_in(&self.schema, &carried.schema)
            && is_in(&self.table, &carried.table)
    }
}

/// What one statement ends, if that is sure.
fn ended(facts: &Facts, statement: &Statement, lookups: &Lookups) -> Option<Whole> {
    let access = match statement.class {
        Class::Create => Access::Create,
        Class::Drop => Access::Drop,
        _ => return None,
    };
    let upper = facts.text().as_str().to_ascii_uppercase();
    let says = |word: &str| upper.contains(word);
    // Whatever may stand before its name, or none of it: the words may be anywhere in the text.
    let makes_own = access == Access::Create && ["TEMP", "VOLATILE", "LOCAL"].into_iter().any(says);
    let is_known_new = matches!(statement.landings.as_slice(), [landing] if landing.is_new);
    let may_do_nothing = says("EXISTS") && !is_known_new;
    if statement.parse != Parse::Full || makes_own {
        return None;
    }
    match facts.verb() {
        "CREATE TABLE" | "CREATE VIEW" | "DROP TABLE" | "DROP VIEW" if !may_do_nothing => {
            let mut tables = statement.tables.iter().filter(|used| used.access == access);
            let (Some(used), None) = (tables.next(), tables.next()) else { return None };
            if lookups.may_hide(&used.table) { None } else { Whole::table(&used.table) }
        }
        // Where there is none of that name, nothing is in it.
        "DROP SCHEMA" | "DROP DATABASE" => container(statement, access),
        "CREATE SCHEMA" | "CREATE DATABASE" if !may_do_nothing => container(statement, access),
        _ => None,
    }
}

fn container(statement: &Statement, access: Access) -> Option<Whole> {
    let mut containers = statement.containers.iter().filter(|used| used.access == access);
    match (containers.next(), containers.next()) {
        (Some(used), None) => Whole::container(&used.container),
        _ => None,
    }
}

/// What an `UNDROP` names; `None` for what it may be besides.
fn brought_back(statement: &Statement) -> Vec<Option<Whole>> {
    let tables = statement.tables.iter().map(|used| Whole::table(&used.table));
    let containers = statement.containers.iter().filter(|used| used.access != Access::Read);
    let named: Vec<_> = tables.chain(containers.map(|used| Whole::container(&used.container))).collect();
    let is_plain = statement.parse == Parse::Full && statement.elsewhere.is_empty();
    if named.is_empty() || !is_plain { vec![None] } else { named }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::SqlText;
    use sql::{Catalog, SessionNames};

    use super::*;
    use crate::catalog::own::Own;

    fn facts(text: &str) -> Facts {
        let (database, schema) = (Some(Ident::exact("D")), Some(Ident::exact("S")));
        let names = SessionNames { database, schema, ..SessionNames::default() };
        sql::analyze(&SqlText::new(text).unwrap(), &names, &Catalog::default())
    }

    /// `D.S.X`; `*` for any.
    fn place(text: &str) -> Carried {
        let mut parts = text.split('.').map(|part| (part != "*").then(|| Ident::exact(part)));
        let mut next = || parts.next().flatten();
        let (database, schema, table) = (next(), next(), next());
        Carried { database, schema, table, column: None, tags: BTreeSet::from(["pii".to_owned()]) }
    }

    fn after(text: &str, in_a_session_that_ran: &str) -> Anew {
        let lookups = Lookups::by(Own::none("none"));
        if !in_a_session_that_ran.is_empty() {
            lookups.follow(&facts(in_a_session_that_ran));
        }
        Anew::of(&facts(text), &lookups)
    }

    fn ends(text: &str, name: &str) -> bool {
        after(text, "").ends(&place(name))
    }

    #[test]
    fn what_is_dropped_or_made_anew_is_no_more() {
        for text in [
            "create or replace table x as select a from t",
            "create or replace transient table d.s.x as select a from t where exists (select 1 from u)",
            "/* app: dbt */ create or replace table x as (select a from t);",
            "create table x (a int)",
            "create or replace table x clone t",
            "create or replace view x as select a from t",
            "create or replace secure view x (b) as select a from t",
            "drop table x",
            "drop view d.s.x",
            "drop schema s",
            "drop schema if exists d.s cascade",
            "drop database d",
            "create or replace schema s",
            "create or replace database d",
        ] {
            assert!(ends(text, "D.S.X"), "{text}");
            assert!(!ends(text, "D2.S.X") && !ends(text, "*.S.X"), "{text}");
        }
        for (text, other) in
            [("drop table x", "D.S.Y"), ("drop table x", "D.S.*"), ("drop schema s", "D.R.X")]
        {
            assert!(!ends(text, other), "{text} {other}");
        }
    }

    #[test]
    fn where_it_is_not_sure_nothing_ends() {
        for text in [
            "create table if not exists x as select a from t",
            "create table if /* so */ not exists x (a int)",
            "create view if not exists x as select a from t",
            "create temporary table x as select a from t",
            "create or replace temp table x (a int)",
            "create /* x */ local temporary table x (a int)",
            "create volatile table x (a int)",
            "create or alter table x (a int)",
            "create or replace dynamic table x target_lag = '1 minute' warehouse = w as select a from t",
            "drop table if exists x",
            "drop view if exists x",
            "drop stage x",
            "drop table identifier($x)",
            "truncate table x",
            "delete from x",
            "insert overwrite into x select a from t",
            "alter table x rename to y",
            "alter table x swap with y",
            "drop table x; select 1",
            "begin drop table x; end",
            "execute immediate 'drop table x'",
            "call p()",
            "what is this",
        ] {
            assert!(!ends(text, "D.S.X"), "{text}");
        }
        // A table of the session's own stands before the one of that name.
        assert!(!after("drop table x", "create temp table x (a int)").ends(&place("D.S.X")));
        assert!(!after("drop table x", "call p()").ends(&place("D.S.X")));
        assert!(after("drop table x", "create temp table y (a int)").ends(&place("D.S.X")));
    }

    #[test]
    fn what_was_dropped_may_come_back() {
        for (text, place_of, other) in [
            ("undrop table x", "D.S.X", "D.S.Y"),
            ("undrop schema s", "D.S.X", "D.R.X"),
            ("undrop database d", "D.S.X", "E.S.X"),
        ] {
            let anew = after(text, "");
            assert!(anew.brings_back(&place(place_of)) && !anew.brings_back(&place(other)), "{text}");
        }
        assert!(after("undrop table identifier(7)", "").brings_back(&place("D.S.X")));
        assert!(!after("drop table x", "").may_bring_back());
    }
}
