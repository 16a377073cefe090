//! What is known of a statement, as plain data.

use std::collections::BTreeSet;

use model::{ColumnName, Ident, SqlText, TableName};

use crate::{Class, Elsewhere};

/// What [`crate::analyze`] found out about one text. It carries that text, so that what was read is what is judged.
#[derive(Debug, Clone)]
pub struct Facts {
    text: SqlText,
    verb: String,
    reading: Result<Statement, Opaque>,
    wants: BTreeSet<TableName>,
}

impl Facts {
    pub(crate) fn new(
        text: SqlText,
        verb: String,
        reading: Result<Statement, Opaque>,
        wants: BTreeSet<TableName>,
    ) -> Self {
        Self { text, verb, reading, wants }
    }

    /// The text these facts are about.
    #[must_use]
    pub fn text(&self) -> &SqlText {
        &self.text
    }

    /// The words the statement begins with, upper case: `SELECT`, `CREATE TABLE`. Empty for a text without words.
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

    /// The statement.
    ///
    /// # Errors
    /// Why nothing is known of it.
    pub fn statement(&self) -> Result<&Statement, &Opaque> {
        self.reading.as_ref()
    }
}

/// Why a text was not understood. The text completes "the statement was not understood: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Opaque {
    /// No statement in it.
    #[error("it is empty")]
    Empty,
    /// More than one.
    #[error("it holds more than one statement; send them one by one")]
    SeveralStatements,
    /// Deeper than is followed.
    #[error(
        "it is nested too deeply (beyond NESTING_MAX, DEPTH_MAX, OPEN_JOINS_MAX or DOUBLINGS_MAX); fewer parentheses or shorter \
         chains of operators are needed"
    )]
    TooDeep,
    /// Two readers could disagree about where a string or a comment ends.
    #[error("{0}")]
    Ambiguous(#[from] Unreadable),
    /// A scripting block.
    #[error("it is a scripting block; send its statements one by one")]
    Script,
    /// Not what the grammar knows.
    #[error("near line {line}, column {column}")]
    Syntax {
        /// Line in the text, from 1.
        line: u64,
        /// Column in that line, from 1.
        column: u64,
    },
    /// The grammar wants more.
    #[error("it ends too early")]
    EndsEarly,
    /// Known to the grammar, and not read further by this version.
    #[error("this form of {0} is not read by this version")]
    Form(String),
    /// A name with more parts than any object has.
    #[error("it names an object in more than three parts")]
    LongName,
}

/// What makes a text readable in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// An unterminated string and its like.
    #[error("a string, a quoted name or a comment does not end")]
    Unterminated,
    /// `#`, which only some readers take for a comment.
    #[error("it holds a # comment; write -- instead")]
    HashComment,
    /// `/*` within a comment: readers differ in which `*/` ends it.
    #[error("it holds a comment within a comment")]
    NestedComment,
    /// A character that ends a line only for some readers.
    #[error("a line comment holds a character that may end the line")]
    LineEnd,
    /// White space that is not plain.
    #[error("it holds white space that is neither space, tab nor line break")]
    WhiteSpace,
    /// `$tag$ … $tag$`, which Snowflake does not know.
    #[error("it holds a tagged dollar quote; write $$ instead")]
    DollarTag,
    /// Backticks, `N'…'` and other quotes that Snowflake does not know.
    #[error("it holds a kind of quote that is not Snowflake's")]
    ForeignQuote,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its class.
    pub class: Class,
    /// What a person would call it: `SELECT`, `CREATE USER`, `DROP`.
    pub verb: String,
    /// Every table, view or table-like object it names, each access once.
    pub tables: Vec<TableUse>,
    /// Every schema and database it names as an object, and the schemas of named objects that are no tables.
    pub containers: Vec<ContainerUse>,
    /// Functions it calls that are not known to be Snowflake's own: each may run code that reads anything.
    pub functions: Vec<String>,
    /// Ways it reaches data that its text does not name.
    pub elsewhere: Vec<Elsewhere>,
    /// Whether it puts data that it reads, or a table it names, where it can be read under another name.
    pub moves_data: bool,
    /// Where each column of its result comes from.
    pub outputs: Outputs,
}

impl Statement {
    /// Whether `tables` is all that the statement reads.
    #[must_use]
    pub fn names_all_it_reads(&self) -> bool {
        let runs_code = self.class.group() == crate::Group::Execute;
        self.functions.is_empty() && self.elsewhere.is_empty() && !runs_code
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
}

impl Access {
    /// The word used in records: `read`, `write`, `create`, `alter`, `drop`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Alter => "alter",
            Self::Drop => "drop",
        }
    }
}

/// Where the columns of a result come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outputs {
    /// In order of the select list. A wildcard stands for any number of columns.
    Known(Vec<Output>),
    /// Any column may come from any table of the statement, for this reason.
    Unknown(&'static str),
}

/// One entry of a select list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Name of the output column, where the text tells it.
    pub name: Option<Ident>,
    /// What can reach it.
    pub sources: Sources,
}

/// The columns that can reach an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// No column: literals, `COUNT(*)`.
    Nothing,
    /// One of these columns, unchanged. More than one where the text does not say which table a name belongs to.
    Column(Vec<ColumnName>),
    /// An expression over any of these columns.
    Derived(Vec<ColumnName>),
    /// All columns of these tables, under their own names: `*`.
    Wildcard(Vec<TableName>),
    /// Any column of any table of the statement.
    Unknown,
}
