//! Ways in which a statement reaches data that its text does not name as a table.

/// One such way. A statement with any of them touches more than its list of tables says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Elsewhere {
    /// Rows of an earlier result.
    #[error("RESULT_SCAN reads the rows of an earlier statement")]
    ResultScan,
    /// Rows of a table function that is not known to make them from its arguments alone.
    #[error("the table function {0} reads what its name does not say")]
    TableFunction(String),
    /// A name that is computed.
    #[error("IDENTIFIER(…) computes a name; write the name itself")]
    Identifier,
    /// A `SYSTEM$…` function.
    #[error("{0} reads or changes the system itself")]
    SystemFunction(String),
    /// A function that opens files of a stage to whoever has its result.
    #[error("{0} opens staged files to whoever holds its result")]
    FileUrl(String),
    /// Files of a stage, or of a URL.
    #[error("it reads staged files, which have no columns to judge")]
    Stage,
    /// Text that is executed.
    #[error("EXECUTE IMMEDIATE runs text that is computed; send the statement itself")]
    DynamicSql,
    /// A session variable that would hold data.
    #[error("SET stores data read from tables in a variable, where no rule sees it; set constants only")]
    VariableHoldsData,
    /// A session parameter that decides which table a name means.
    #[error("{0} changes which table a name means")]
    NameResolution(String),
}
