//! What a name means: case, quotes, and the parts a statement leaves out.
//! Source: Snowflake documentation, "Identifier requirements" and "Object name resolution".

use std::collections::BTreeMap;

use model::{Ident, TableName};
use sqlparser::{
    ast::{self, ObjectName, ObjectNamePart},
    dialect::SnowflakeDialect,
    parser::Parser,
    tokenizer::Token,
};

use crate::{Container, Elsewhere, Level, ObjectKind, ObjectPath, Opaque};

/// The schema that Snowflake looks in after the session's own, and the one that `db..t` means.
pub(crate) const PUBLIC: &str = "PUBLIC";

/// What names are resolved against: the state of the session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SessionNames {
    /// The current database, if there is one.
    pub database: Option<Ident>,
    /// The current schema, if there is one.
    pub schema: Option<Ident>,
    /// The primary role, if it is known. No name is read by it; statements say which one they run in.
    pub role: Option<Ident>,
    /// The roles beside it.
    pub secondary_roles: SecondaryRoles,
    /// The session's `QUOTED_IDENTIFIERS_IGNORE_CASE`: quoted names are upper-cased, too.
    pub fold_quoted: bool,
    /// Snowflake's number of the session, if it is known: a statement may end what runs in its own session.
    pub number: Option<u64>,
    /// What session variables are known to hold. One that is not here may hold anything.
    pub variables: BTreeMap<Ident, String>,
}

/// The roles whose rights count beside those of the primary one.
/// Source: Snowflake documentation, "USE SECONDARY ROLES".
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum SecondaryRoles {
    /// Nobody knows which.
    #[default]
    Unknown,
    /// Those that the user begins with.
    Usual,
    /// All that the user has.
    All,
    /// None.
    None,
    /// These, sorted.
    These(Vec<Ident>),
}

impl SecondaryRoles {
    /// The word used in rules: `unknown`, `usual`, `all`, `none`, `some`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Usual => "usual",
            Self::All => "all",
            Self::None => "none",
            Self::These(_) => "some",
        }
    }
}

/// Why a name is no plain one.
pub(crate) enum Unnamed {
    /// It leads somewhere else.
    Elsewhere(Elsewhere),
    /// It cannot be read.
    Opaque(Opaque),
}

impl SessionNames {
    /// Only what no statement can change: how names are folded, and which session it is.
    #[must_use]
    pub fn forgotten(&self) -> Self {
        Self { fold_quoted: self.fold_quoted, number: self.number, ..Self::default() }
    }

    /// One identifier as Snowflake stores it. The tokenizer leaves doubled quotes as they are.
    pub(crate) fn ident(&self, ident: &ast::Ident) -> Ident {
        self.stored(&ident.value, ident.quote_style.is_some())
    }

    /// An identifier's text as Snowflake stores it.
    pub(crate) fn stored(&self, text: &str, is_quoted: bool) -> Ident {
        if !is_quoted {
            return Ident::unquoted(text);
        }
        let text = text.replace("\"\"", "\"");
        if self.fold_quoted { Ident::unquoted(&text) } else { Ident::exact(text) }
    }

    /// The parts of a name, each as Snowflake stores it; `None` for the part left out of `db..t`.
    pub(crate) fn parts(&self, name: &ObjectName) -> Result<Vec<Option<Ident>>, Unnamed> {
        name.0
            .iter()
            .map(|part| match part {
                ObjectNamePart::Function(_) => Err(Unnamed::Elsewhere(Elsewhere::Identifier)),
                ObjectNamePart::Identifier(ident) => match ident.quote_style {
                    // A quoted text in the place of a table is a file location.
                    Some('\'') => Err(Unnamed::Elsewhere(Elsewhere::Stage)),
                    None if ident.value.starts_with(['@', '$', '?', ':']) => {
                        Err(Unnamed::Elsewhere(Elsewhere::Identifier))
                    }
                    None if ident.value.is_empty() => Ok(None),
                    _ => Ok(Some(self.ident(ident))),
                },
            })
            .collect()
    }

    /// The one table that a statement changes or makes.
    pub(crate) fn table(&self, name: &ObjectName) -> Result<TableName, Unnamed> {
        self.table_of(&self.parts(name)?).ok_or(Unnamed::Opaque(Opaque::LongName))
    }

    /// The same, of a name's parts; `None` if no table has so many.
    pub(crate) fn table_of(&self, parts: &[Option<Ident>]) -> Option<TableName> {
        let public = || Some(Ident::unquoted(PUBLIC));
        match parts {
            [Some(name)] => Some(TableName {
                database: self.database.clone(),
                schema: self.schema.clone(),
                name: name.clone(),
            }),
            [Some(schema), Some(name)] => Some(TableName {
                database: self.database.clone(),
                schema: Some(schema.clone()),
                name: name.clone(),
            }),
            [Some(database), schema, Some(name)] => Some(TableName {
                database: Some(database.clone()),
                schema: schema.clone().or_else(public),
                name: name.clone(),
            }),
            _ => None,
        }
    }

    /// The tables that a query may mean by a name, the likeliest first: an unqualified one is looked for in the session's
    /// schema, then in `PUBLIC` (the default of `SEARCH_PATH`).
    pub(crate) fn tables(&self, name: &ObjectName) -> Result<Vec<TableName>, Unnamed> {
        self.tables_of(&self.parts(name)?).ok_or(Unnamed::Opaque(Opaque::LongName))
    }

    /// The same, of a name's parts.
    pub(crate) fn tables_of(&self, parts: &[Option<Ident>]) -> Option<Vec<TableName>> {
        let first = self.table_of(parts)?;
        let public = Ident::unquoted(PUBLIC);
        if parts.len() > 1 || first.schema.as_ref().is_none_or(|schema| *schema == public) {
            return Some(vec![first]);
        }
        let second = TableName { schema: Some(public), ..first.clone() };
        Some(vec![first, second])
    }

    /// A database.
    pub(crate) fn database_of(&self, parts: &[Option<Ident>]) -> Option<Container> {
        match parts {
            [Some(database)] => Some(Container::Database(database.clone())),
            _ => None,
        }
    }

    /// A schema.
    pub(crate) fn schema_named(&self, parts: &[Option<Ident>]) -> Option<Container> {
        let (database, schema) = match parts {
            [Some(schema)] => (self.database.clone(), schema),
            [Some(database), Some(schema)] => (Some(database.clone()), schema),
            _ => return None,
        };
        Some(Container::Schema { database, schema: Some(schema.clone()) })
    }

    /// An object of a kind, as its name's parts tell; `None` if no such object has so many.
    pub(crate) fn object(&self, kind: ObjectKind, parts: &[Option<Ident>]) -> Option<ObjectPath> {
        let last = || parts.last().cloned().flatten();
        match kind.level() {
            Level::Account if parts.len() == 1 => {
                Some(ObjectPath { database: None, schema: None, name: last()? })
            }
            Level::Database => match parts {
                [Some(name)] => {
                    Some(ObjectPath { database: self.database.clone(), schema: None, name: name.clone() })
                }
                [Some(database), Some(name)] => {
                    Some(ObjectPath { database: Some(database.clone()), schema: None, name: name.clone() })
                }
                _ => None,
            },
            Level::Schema => {
                let TableName { database, schema, name } = self.table_of(parts)?;
                Some(ObjectPath { database, schema, name })
            }
            Level::Account => None,
        }
    }
}

/// One identifier as somebody writes it in SQL, as Snowflake stores it: `id` is `ID`, `"id"` is `id`. `None` for what is
/// none.
#[must_use]
pub fn identifier(text: &str) -> Option<Ident> {
    match SessionNames::default().parts(&written(text)?).ok()?.as_slice() {
        [Some(name)] => Some(name.clone()),
        _ => None,
    }
}

/// The table that is meant by a name of one to three parts, as somebody writes it in SQL, in a session with these names.
/// `None` for what is no such name.
#[must_use]
pub fn table_name(text: &str, session: &SessionNames) -> Option<TableName> {
    session.table(&written(text)?).ok()
}

/// A name that stands alone in a text.
pub(crate) fn written(text: &str) -> Option<ObjectName> {
    let mut parser = Parser::new(&SnowflakeDialect).try_with_sql(text).ok()?;
    let name = parser.parse_object_name(false).ok()?;
    (parser.peek_token_ref().token == Token::EOF).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_snowflake_stores_them() {
        for (text, expected) in [
            ("id", Some("ID")),
            ("\"id\"", Some("id")),
            ("\"a \"\"b\"\"\"", Some("a \"b\"")),
            ("date", Some("DATE")),
            ("a.b", None),
            ("a b", None),
            ("", None),
            ("'a'", None),
            ("a; drop table b", None),
        ] {
            assert_eq!(identifier(text).as_ref().map(Ident::as_str), expected, "{text}");
        }
        let session = SessionNames {
            database: Some(Ident::unquoted("d")),
            schema: Some(Ident::unquoted("s")),
            ..Default::default()
        };
        for (text, expected) in [
            ("t", Some("D.S.T")),
            ("x.t", Some("D.X.T")),
            ("y.x.\"t\"", Some("Y.X.t")),
            ("y..t", Some("Y.PUBLIC.T")),
            ("z.y.x.t", None),
            ("t(1)", None),
        ] {
            assert_eq!(
                table_name(text, &session).map(|name| name.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
