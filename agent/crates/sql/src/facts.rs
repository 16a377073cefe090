//! What is known of a text and its statements, as plain data.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use model::{ColumnName, Ident, SqlText, TableName};

use crate::{Class, Effect, Elsewhere, Literal, ObjectUse, Opaque, SecondaryRoles, SessionNames};

/// What [`crate::analyze`] found out about one text. It carries that text, so that what was read is what is judged.
#[derive(Debug, Clone)]
pub struct Facts {
    text: SqlText,
    verb: String,
    literals: Vec<Literal>,
    reading: Result<Vec<Statement>, Opaque>,
    wants: BTreeSet<TableName>,
    leaves: Option<Box<SessionNames>>,
    /// Of verb and statements.
    hash: u64,
}

impl Facts {
    pub(crate) fn new(
        text: SqlText,
        verb: String,
        literals: Vec<Literal>,
        reading: Result<Vec<Statement>, Opaque>,
        (wants, leaves): (BTreeSet<TableName>, Option<SessionNames>),
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        verb.hash(&mut hasher);
        reading.iter().for_each(|statements| statements.hash(&mut hasher));
        let hash = hasher.finish();
        Self { text, verb, literals, reading, wants, leaves: leaves.map(Box::new), hash }
    }

    /// The text these facts are about.
    #[must_use]
    pub fn text(&self) -> &SqlText {
        &self.text
    }

    /// The words the text begins with, upper case: `SELECT`, `CREATE TABLE`. Empty for a text without words.
    /// For people and the record; it is known for what is otherwise opaque, too.
    #[must_use]
    pub fn verb(&self) -> &str {
        &self.verb
    }

    /// What the catalog had no entry for, and would tell more: whoever can ask Snowflake asks for these, and analyzes
    /// again. That may want more, because views show other tables. Some may not exist.
    #[must_use]
    pub fn wants(&self) -> &BTreeSet<TableName> {
        &self.wants
    }

    /// What the session's names are after the text, where it may change them; what nobody can say is not known there.
    #[must_use]
    pub fn leaves(&self) -> Option<&SessionNames> {
        self.leaves.as_deref()
    }

    /// What kind of statement the text begins with. Of what is opaque too, by its first words, where they tell: for the
    /// record and for statistics, never for a verdict.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        match self.statements() {
            Ok(statements) => statements.first().map(|statement| statement.class),
            Err(_) => crate::guess::class(self.text.as_str()),
        }
    }

    /// The literals of the text, in order. Empty when nobody can say where they end ([`Opaque::Ambiguous`]): then all of
    /// the text may be one.
    #[must_use]
    pub fn literals(&self) -> &[Literal] {
        &self.literals
    }

    /// The statements, at least one, in the order in which they run. What a block or an `EXECUTE IMMEDIATE` runs follows
    /// it, marked [`Statement::is_inside`]. Each is to be judged, and all must be allowed.
    ///
    /// # Errors
    /// Why nothing is known of the text.
    pub fn statements(&self) -> Result<&[Statement], &Opaque> {
        self.reading.as_deref()
    }

    /// Whether these facts and others say the same of statements. The texts may differ where statements do not: in literals,
    /// comments, spaces.
    #[must_use]
    pub fn say_the_same_as(&self, others: &Self) -> bool {
        self.hash == others.hash && self.verb == others.verb && self.reading == others.reading
    }

    /// A number that is the same for facts that say the same of statements, made once: for tables of them.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many statements Snowflake answers one by one: those that are not inside another one. 0 for what is opaque.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.statements().map_or(0, |all| all.iter().filter(|statement| !statement.is_inside).count())
    }
}

/// How much of a statement was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Parse {
    /// All of it.
    Full,
    /// Its kind, and every name in it that can be an object's; not which part each of them plays. It names too many
    /// objects rather than too few.
    Partial,
}

impl Parse {
    /// The word used in output: `full`, `partial`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
        }
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Statement {
    /// Its class.
    pub class: Class,
    /// What a person would call it: `SELECT`, `CREATE USER`, `DROP`.
    pub verb: String,
    /// How much of it was understood.
    pub parse: Parse,
    /// Whether it runs within the statement before it that is not inside: a block, an `EXECUTE IMMEDIATE`.
    pub is_inside: bool,
    /// The primary role that it runs in, if that is known.
    pub role: Option<Ident>,
    /// The roles that count beside it.
    pub secondary_roles: SecondaryRoles,
    /// Every table, view or table-like object it names, each access once.
    pub tables: Vec<TableUse>,
    /// Every schema and database it names as an object, and the schemas of named objects that are no tables.
    pub containers: Vec<ContainerUse>,
    /// Every other object it names: stages, users, warehouses, policies, …
    pub objects: Vec<ObjectUse>,
    /// Functions it calls that are not known to be Snowflake's own: each may run code that reads anything.
    pub functions: Vec<String>,
    /// Ways it reaches data that its text does not name.
    pub elsewhere: Vec<Elsewhere>,
    /// Whether it puts data that it reads, or a table it names, where it can be read under another name.
    pub moves_data: bool,
    /// What it does beside reading and changing the objects it names.
    pub effects: BTreeSet<Effect>,
    /// Where each column of its result comes from.
    pub outputs: Outputs,
    /// What it fills, column by column.
    pub landings: Vec<Landing>,
    /// The columns that decide which rows it shows or changes, without being shown.
    pub decides_on: Sources,
    /// Tables whose columns would tell more.
    pub(crate) wants: BTreeSet<TableName>,
}

impl Statement {
    /// Whether `tables` is all that the statement reads.
    #[must_use]
    pub fn names_all_it_reads(&self) -> bool {
        let runs_code = self.class.group() == crate::Group::Execute;
        self.parse == Parse::Full && self.functions.is_empty() && self.elsewhere.is_empty() && !runs_code
    }

    /// Whether it runs text that is computed, so that nobody can say what it does.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        self.effects.contains(&Effect::Dynamic)
    }
}

/// A table and what is done to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableUse {
    /// The table.
    pub table: TableName,
    /// What is done.
    pub access: Access,
    /// Whether this is the second place where Snowflake looks for an unqualified name: the schema `PUBLIC`, after the
    /// session's own. Without a catalog nobody here knows which of the two is meant, so both are listed.
    pub fallback: bool,
}

/// A schema or database and what is done to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerUse {
    /// The schema or database.
    pub container: Container,
    /// What is done to it, or in it.
    pub access: Access,
}

/// What holds tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Container {
    /// A database.
    Database(Ident),
    /// A schema; `None` where neither statement nor session names that part.
    Schema {
        /// Its database.
        database: Option<Ident>,
        /// Its own name.
        schema: Option<Ident>,
    },
}

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Rows or definition are read.
    Read,
    /// Rows are changed.
    Write,
    /// It is made or replaced.
    Create,
    /// Its definition is changed.
    Alter,
    /// It is removed, or brought back.
    Drop,
    /// Somebody is given it, or loses it, or a right on it.
    Grant,
    /// It is run: a procedure, a function, a task.
    Call,
}

impl Access {
    /// The word used in records: `read`, `write`, `create`, `alter`, `drop`, `grant`, `call`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Alter => "alter",
            Self::Drop => "drop",
            Self::Grant => "grant",
            Self::Call => "call",
        }
    }
}

/// The columns of a table that a statement fills: where they come from tells what the table holds from then on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Landing {
    /// The table; `None` for files of a stage, or where its name is computed.
    pub table: Option<TableName>,
    /// Its columns that are filled. One without a name is filled by position.
    pub columns: Outputs,
    /// Whether the statement makes the table, so that it has no other columns.
    pub is_new: bool,
    /// Whether its columns are filled in order and nobody knows what they are called: the names here are those of what
    /// fills them.
    pub is_by_position: bool,
}

impl Landing {
    /// A table, or files, of which any column may be filled with anything, for this reason.
    pub(crate) fn unknown(table: Option<TableName>, reason: &'static str) -> Self {
        Self { table, columns: Outputs::Unknown(reason), is_new: false, is_by_position: false }
    }

    /// Its columns in order; `None` where one of them is not told.
    pub(crate) fn names(&self) -> Option<Vec<Ident>> {
        let Outputs::Known(columns) = &self.columns else { return None };
        columns.iter().map(|column| column.name.clone().filter(|_| !column.is_many)).collect()
    }
}

/// Where the columns of a result come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outputs {
    /// In order of the select list. An entry that is many stands for any number of columns.
    Known(Vec<Output>),
    /// Any column may come from any table of the statement, for this reason.
    Unknown(&'static str),
}

/// One entry of a select list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Output {
    /// Name of the output column, where the text tells it.
    pub name: Option<Ident>,
    /// What can reach it.
    pub sources: Sources,
    /// Whether it stands for any number of columns.
    pub is_many: bool,
}

/// The columns that can reach an output.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sources {
    /// No column: literals, `COUNT(*)`.
    Nothing,
    /// One of these columns, unchanged. More than one where the text does not say which table a name belongs to.
    Column(Vec<ColumnName>),
    /// An expression over any of these columns.
    Derived(Vec<ColumnName>),
    /// An expression over any of these columns and over any column of these tables, whatever it is called.
    Within {
        /// The columns.
        columns: Vec<ColumnName>,
        /// The tables.
        tables: Vec<TableName>,
    },
    /// All columns of these tables, under their own names: `*`.
    Wildcard(Vec<TableName>),
    /// Any column of any table of the statement.
    Unknown,
}
