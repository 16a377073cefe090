//! Why a text was not understood.

/// Why a text was not understood. The text completes "the statement was not understood: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Opaque {
    /// No statement in it.
    #[error("it is empty")]
    Empty,
    /// More statements in one text than are read.
    #[error("it holds more statements than are read at once (STATEMENTS_MAX); send it in parts")]
    TooMany,
    /// Deeper than is followed.
    #[error(
        "it is nested too deeply (beyond NESTING_MAX, DEPTH_MAX, OPEN_JOINS_MAX or DOUBLINGS_MAX); fewer parentheses or shorter \
         chains of operators are needed"
    )]
    TooDeep,
    /// Two readers could disagree about where a string or a comment ends.
    #[error("{0}")]
    Ambiguous(#[from] Unreadable),
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
    /// `//` in a file's location, behind which another statement may begin.
    #[error("it holds what may be a comment or the location of a file; write the location in quotes")]
    FileLocation,
    /// Backticks, `N'…'` and other quotes that Snowflake does not know.
    #[error("it holds a kind of quote that is not Snowflake's")]
    ForeignQuote,
}
