//! What kind of statement it is: the words policies speak in.

/// The class of a statement. Each is one action of the policy language; see [`Class::action`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the statement of that name; the others are explained")]
pub enum Class {
    Select,
    Show,
    Describe,
    Explain,
    Insert,
    Update,
    Delete,
    Merge,
    Truncate,
    /// `COPY INTO <table>`.
    CopyLoad,
    /// `CREATE` of something that lives in a schema, of a schema or of a database.
    Create,
    /// `ALTER` of the same.
    Alter,
    /// `DROP` of the same.
    Drop,
    Undrop,
    Comment,
    Grant,
    Revoke,
    /// `CREATE`, `ALTER` or `DROP` of what belongs to the account: users, roles, warehouses, integrations, policies, …
    Administer,
    /// `COPY INTO <location>`.
    CopyUnload,
    /// `COPY FILES`, from one stage to another.
    CopyFiles,
    Put,
    Get,
    List,
    Remove,
    Use,
    /// `SET` and `UNSET` of session variables.
    Set,
    AlterSession,
    /// `BEGIN`, `COMMIT`, `ROLLBACK`.
    Transaction,
    Call,
    /// `EXECUTE TASK` and its like.
    Execute,
    /// `EXECUTE IMMEDIATE` of a text that is known; what it runs is judged beside it.
    ExecuteImmediate,
    /// A scripting block; what it runs is judged beside it.
    Script,
    /// Text is run that is computed: nobody can say what it does.
    Dynamic,
}

/// A family of classes that rules permit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Shows rows or metadata, changes nothing.
    Read,
    /// Changes rows.
    Write,
    /// Changes what exists.
    Ddl,
    /// Changes who may do what, or what belongs to the account.
    Admin,
    /// Moves data through a stage, past the result that masks are put on.
    Unload,
    /// Changes the client's own session.
    Session,
    /// Runs code that is stored or computed elsewhere.
    Execute,
}

impl Class {
    /// Every class, in the order of their declaration.
    pub const ALL: [Self; 33] = [
        Self::Select,
        Self::Show,
        Self::Describe,
        Self::Explain,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Merge,
        Self::Truncate,
        Self::CopyLoad,
        Self::Create,
        Self::Alter,
        Self::Drop,
        Self::Undrop,
        Self::Comment,
        Self::Grant,
        Self::Revoke,
        Self::Administer,
        Self::CopyUnload,
        Self::CopyFiles,
        Self::Put,
        Self::Get,
        Self::List,
        Self::Remove,
        Self::Use,
        Self::Set,
        Self::AlterSession,
        Self::Transaction,
        Self::Call,
        Self::Execute,
        Self::ExecuteImmediate,
        Self::Script,
        Self::Dynamic,
    ];

    /// The name of the policy action: `SELECT`, `COPY_LOAD`, `ALTER_SESSION`, …
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Show => "SHOW",
            Self::Describe => "DESCRIBE",
            Self::Explain => "EXPLAIN",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Merge => "MERGE",
            Self::Truncate => "TRUNCATE",
            Self::CopyLoad => "COPY_LOAD",
            Self::Create => "CREATE",
            Self::Alter => "ALTER",
            Self::Drop => "DROP",
            Self::Undrop => "UNDROP",
            Self::Comment => "COMMENT",
            Self::Grant => "GRANT",
            Self::Revoke => "REVOKE",
            Self::Administer => "ADMINISTER",
            Self::CopyUnload => "COPY_UNLOAD",
            Self::CopyFiles => "COPY_FILES",
            Self::Put => "PUT",
            Self::Get => "GET",
            Self::List => "LIST",
            Self::Remove => "REMOVE",
            Self::Use => "USE",
            Self::Set => "SET",
            Self::AlterSession => "ALTER_SESSION",
            Self::Transaction => "TRANSACTION",
            Self::Call => "CALL",
            Self::Execute => "EXECUTE",
            Self::ExecuteImmediate => "EXECUTE_IMMEDIATE",
            Self::Script => "SCRIPT",
            Self::Dynamic => "DYNAMIC",
        }
    }

    /// The family it belongs to.
    #[must_use]
    pub fn group(self) -> Group {
        match self {
            Self::Select | Self::Show | Self::Describe | Self::Explain => Group::Read,
            Self::Insert | Self::Update | Self::Delete | Self::Merge | Self::Truncate | Self::CopyLoad => {
                Group::Write
            }
            Self::Create | Self::Alter | Self::Drop | Self::Undrop | Self::Comment => Group::Ddl,
            Self::Grant | Self::Revoke | Self::Administer => Group::Admin,
            Self::CopyUnload | Self::CopyFiles | Self::Put | Self::Get | Self::List | Self::Remove => {
                Group::Unload
            }
            Self::Use | Self::Set | Self::AlterSession | Self::Transaction => Group::Session,
            Self::Call | Self::Execute | Self::ExecuteImmediate | Self::Script | Self::Dynamic => {
                Group::Execute
            }
        }
    }
}

impl Group {
    /// The name of the policy action group: `read`, `write`, …
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Ddl => "ddl",
            Self::Admin => "admin",
            Self::Unload => "unload",
            Self::Session => "session",
            Self::Execute => "execute",
        }
    }
}
