//! What is known of the objects that a text names: plain data, gathered by somebody else.
//!
//! Nothing here asks anybody. What has no entry is not known, and whatever depends on it is unknown; so an entry that may
//! be out of date, or that a temporary table of the session may hide, is better left out.

use std::{collections::HashMap, sync::Arc};

use model::{Ident, TableName};

use crate::SessionNames;

/// Tables, views and routines by their full names. Cheap to clone: entries are shared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    /// `None` where there is known to be no such table.
    tables: HashMap<TableName, Option<Arc<Table>>>,
    routines: HashMap<TableName, Routine>,
}

/// A table or a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its columns, in order, named as Snowflake stores them.
    pub columns: Vec<Ident>,
    /// What it shows, if it is a view. A table has its own rows.
    pub view: Option<View>,
}

/// What a view shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The query, or the whole `CREATE VIEW` statement as `GET_DDL` returns it.
    pub definition: String,
    /// What the names in it mean. Snowflake reads them against the view's own database and schema.
    pub names: SessionNames,
}

/// What a catalog says of a name.
pub(crate) enum Known<'c> {
    Table(&'c Table),
    /// There is none.
    Missing,
    /// It has no entry.
    Unknown,
}

/// What is known of a function or procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routine {
    /// None of its overloads reads anything beyond its arguments.
    ReadsNothing,
}

impl Table {
    /// A table with these columns, in order.
    pub fn with_columns(columns: impl IntoIterator<Item = Ident>) -> Self {
        Self { columns: columns.into_iter().collect(), view: None }
    }
}

impl Catalog {
    /// Puts a table or view in, or replaces it. The name has all three parts, unless sessions without a database or
    /// schema are meant.
    pub fn insert_table(&mut self, name: TableName, table: Arc<Table>) {
        self.tables.insert(name, Some(table));
    }

    /// Puts a function or procedure in, or replaces it.
    pub fn insert_routine(&mut self, name: TableName, routine: Routine) {
        self.routines.insert(name, routine);
    }

    /// Notes that there is no such table or view, for anybody. An unqualified name is looked for in several schemas, and
    /// this says that it is not in one of them.
    pub fn insert_missing(&mut self, name: TableName) {
        self.tables.insert(name, None);
    }

    /// Takes what is known of a table or view out.
    pub fn remove_table(&mut self, name: &TableName) {
        self.tables.remove(name);
    }

    /// What is known of a table or view; `None` is not that it is not there, but that nobody here knows.
    #[must_use]
    pub fn table(&self, name: &TableName) -> Option<&Table> {
        self.tables.get(name)?.as_deref()
    }

    /// The same, with what is known to be missing told apart.
    pub(crate) fn entry(&self, name: &TableName) -> Known<'_> {
        match self.tables.get(name) {
            Some(Some(table)) => Known::Table(table),
            Some(None) => Known::Missing,
            None => Known::Unknown,
        }
    }

    /// What is known of a function or procedure.
    #[must_use]
    pub fn routine(&self, name: &TableName) -> Option<Routine> {
        self.routines.get(name).copied()
    }
}
