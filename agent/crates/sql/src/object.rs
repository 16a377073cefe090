//! Objects that are neither tables nor what holds tables: what kinds there are, where each kind lives, and its words.
//! Source: Snowflake documentation, "SQL command reference", "Object identifiers".

use std::fmt;

use model::Ident;

use crate::Access;

/// An object and what is done to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectUse {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name.
    pub name: ObjectPath,
    /// What is done.
    pub access: Access,
    /// Whether this is the second place where Snowflake looks for an unqualified name.
    pub fallback: bool,
}

/// The name of an object. Parts that its kind has, and that neither the statement nor the session names, are `None`, as
/// are parts that its kind does not have.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectPath {
    /// The database.
    pub database: Option<Ident>,
    /// The schema.
    pub schema: Option<Ident>,
    /// The object's own name.
    pub name: Ident,
}

impl ObjectUse {
    /// The full name, `?` for what is not known: `ANALYTICS.PUBLIC.LANDING` for a stage, `ETL_SVC` for a user.
    #[must_use]
    pub fn full_name(&self) -> String {
        let part = |part: &Option<Ident>| part.as_ref().map_or("?".to_owned(), ToString::to_string);
        let ObjectPath { database, schema, name } = &self.name;
        match self.kind.level() {
            Level::Account => name.to_string(),
            Level::Database => format!("{}.{name}", part(database)),
            Level::Schema => format!("{}.{}.{name}", part(database), part(schema)),
        }
    }
}

/// What an object belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// The account: its name has one part.
    Account,
    /// A database: two parts.
    Database,
    /// A schema: three parts.
    Schema,
}

macro_rules! kinds {
    ($($kind:ident, $level:ident, $word:literal;)*) => {
        /// What an object is. Kinds that Snowflake treats alike are one: every integration is an [`ObjectKind::Integration`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each is Snowflake's object of that name")]
        pub enum ObjectKind { $($kind,)* }

        impl ObjectKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The word used in rules, records and output: `stage`, `network-policy`, …
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }

            /// What it belongs to.
            #[must_use]
            pub fn level(self) -> Level {
                match self { $(Self::$kind => Level::$level,)* }
            }
        }
    };
}

kinds! {
    Account, Account, "account";
    Application, Account, "application";
    ApplicationPackage, Account, "application-package";
    ComputePool, Account, "compute-pool";
    Connection, Account, "connection";
    ExternalVolume, Account, "external-volume";
    FailoverGroup, Account, "failover-group";
    Integration, Account, "integration";
    Listing, Account, "listing";
    NetworkPolicy, Account, "network-policy";
    ReplicationGroup, Account, "replication-group";
    ResourceMonitor, Account, "resource-monitor";
    Role, Account, "role";
    Share, Account, "share";
    User, Account, "user";
    Warehouse, Account, "warehouse";
    // Something of the account that has no kind here: a profile, a private exchange, an organization's own.
    AccountObject, Account, "account-object";
    // An application is to its roles what a database is to its own.
    ApplicationRole, Database, "application-role";
    DatabaseRole, Database, "database-role";
    Alert, Schema, "alert";
    CortexSearchService, Schema, "cortex-search-service";
    FileFormat, Schema, "file-format";
    Function, Schema, "function";
    GitRepository, Schema, "git-repository";
    ImageRepository, Schema, "image-repository";
    Model, Schema, "model";
    NetworkRule, Schema, "network-rule";
    Notebook, Schema, "notebook";
    Pipe, Schema, "pipe";
    Policy, Schema, "policy";
    Procedure, Schema, "procedure";
    Secret, Schema, "secret";
    Sequence, Schema, "sequence";
    Service, Schema, "service";
    Stage, Schema, "stage";
    Streamlit, Schema, "streamlit";
    Tag, Schema, "tag";
    Task, Schema, "task";
    // Something of a schema that has no kind here: a data metric, a snapshot, a project.
    SchemaObject, Schema, "schema-object";
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
