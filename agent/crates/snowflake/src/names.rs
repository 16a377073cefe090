//! The names that a session resolves short object names against.

use model::Ident;

use crate::{error::DecodeError, json::Object, query_string::QueryString};

/// Database, schema, warehouse and role of a session, where known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionNames {
    /// The database.
    pub database: Option<Ident>,
    /// The schema.
    pub schema: Option<Ident>,
    /// The warehouse.
    pub warehouse: Option<Ident>,
    /// The primary role.
    pub role: Option<Ident>,
}

impl SessionNames {
    /// What a login asks for, in the address.
    pub(crate) fn asked(query: &QueryString) -> Self {
        let name = |parameter| query.get(parameter).map(written);
        Self {
            database: name("databaseName"),
            schema: name("schemaName"),
            warehouse: name("warehouse"),
            role: name("roleName"),
        }
    }

    /// What a login's reply reports.
    pub(crate) fn of_login(info: &Object<'_>) -> Result<Self, DecodeError> {
        Self::reported(info, ["databaseName", "schemaName", "warehouseName", "roleName"])
    }

    /// What a query's reply reports after the statement ran.
    pub(crate) fn of_query(data: &Object<'_>) -> Result<Self, DecodeError> {
        Self::reported(data, ["finalDatabaseName", "finalSchemaName", "finalWarehouseName", "finalRoleName"])
    }

    fn reported(object: &Object<'_>, keys: [&'static str; 4]) -> Result<Self, DecodeError> {
        let [database, schema, warehouse, role] = keys;
        let name = |key| {
            let text = object.text(key)?.filter(|text| !text.is_empty());
            Ok::<_, DecodeError>(text.map(|text| Ident::exact(unquoted(&text).unwrap_or(text))))
        };
        Ok(Self {
            database: name(database)?,
            schema: name(schema)?,
            warehouse: name(warehouse)?,
            role: name(role)?,
        })
    }
}

/// A name as a person writes it: folded, unless in double quotes.
fn written(text: &str) -> Ident {
    match unquoted(text) {
        Some(name) => Ident::exact(name),
        None => Ident::unquoted(text),
    }
}

fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.replace("\"\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_names_fold_unless_quoted() {
        let query = QueryString::parse(Some(
            "databaseName=analytics&schemaName=%22My+%22%22S%22%22%22&warehouse=&roleName=%22",
        ))
        .unwrap();
        let names = SessionNames::asked(&query);
        assert_eq!(names.database, Some(Ident::exact("ANALYTICS")));
        assert_eq!(names.schema, Some(Ident::exact("My \"S\"")));
        assert_eq!(names.warehouse, None);
        assert_eq!(names.role, Some(Ident::exact("\"")));
    }

    #[test]
    fn reported_names_are_exact() {
        let info = r#"{"databaseName":"db","schemaName":"\"s\"","warehouseName":"","roleName":null}"#;
        let names = SessionNames::of_login(&Object::parse(info).unwrap()).unwrap();
        assert_eq!(names.database, Some(Ident::exact("db")));
        assert_eq!(names.schema, Some(Ident::exact("s")));
        assert_eq!((names.warehouse, names.role), (None, None));
        assert!(SessionNames::of_login(&Object::parse(r#"{"databaseName":1}"#).unwrap()).is_err());
    }
}
