//! Names of things in Snowflake, by its rules: an unquoted identifier is upper-cased, a quoted one is kept.
//! Source: Snowflake documentation, "Identifier requirements".

use std::{fmt, sync::Arc};

/// One identifier, already normalized: what Snowflake stores, without quotes. Cheap to clone: names are told many times.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ident(Arc<str>);

impl Ident {
    /// An identifier written without quotes: folded to upper case.
    #[must_use]
    pub fn unquoted(text: &str) -> Self {
        Self(text.to_uppercase().into())
    }

    /// An identifier written in double quotes, or one Snowflake itself reported: kept as it is.
    pub fn exact(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// The name as Snowflake stores it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Snowflake account, as named by the first labels of its host: upper case, `ACME` for
/// `acme.snowflakecomputing.com`, `XY1.EU-CENTRAL-1` for `xy1.eu-central-1.snowflakecomputing.com`, however it is
/// reached (a private link, the address that is the same in all regions).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(String);

impl AccountName {
    /// Folds the name to upper case.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_uppercase())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A table, view or table-like object. A part that neither the statement nor the session named is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The database, if known.
    pub database: Option<Ident>,
    /// The schema, if known.
    pub schema: Option<Ident>,
    /// The object's own name.
    pub name: Ident,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |p: &Option<Ident>| p.as_ref().map_or("?".to_owned(), |i| i.to_string());
        write!(f, "{}.{}.{}", part(&self.database), part(&self.schema), self.name)
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnName {
    /// The table it belongs to.
    pub table: TableName,
    /// The column's own name.
    pub name: Ident,
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.name)
    }
}
