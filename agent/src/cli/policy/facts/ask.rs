//! One line of the input: a statement, and what it is to be read against.

use std::sync::Arc;

use model::{Ident, SqlText};
use serde_json::{Map, Value};
use sql::{Catalog, SecondaryRoles, SessionNames, Table};

/// What is asked for.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) text: SqlText,
    pub(super) names: SessionNames,
    pub(super) catalog: Catalog,
}

impl Ask {
    /// Reads `{"id", "sql", "session"?, "schema"?}`. Other keys are left alone, so that a line may carry what its owner
    /// wants to keep beside.
    pub(super) fn read(line: &Value) -> Result<Self, String> {
        let line = line.as_object().ok_or("the line is no JSON object")?;
        let sql = line.get("sql").and_then(Value::as_str).ok_or("`sql` is missing, or no string")?;
        let text = SqlText::new(sql).map_err(|error| error.to_string())?;
        let names = match line.get("session") {
            None | Some(Value::Null) => SessionNames::default(),
            Some(Value::Object(session)) => session_names(session)?,
            Some(_) => return Err("`session` is no object".to_owned()),
        };
        let catalog = match line.get("schema") {
            None | Some(Value::Null) => Catalog::default(),
            Some(Value::Object(schema)) => catalog(schema, &names)?,
            Some(_) => return Err("`schema` is no object".to_owned()),
        };
        Ok(Self { text, names, catalog })
    }
}

fn session_names(session: &Map<String, Value>) -> Result<SessionNames, String> {
    let identifier = |key: &str| match session.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            sql::identifier(text).map(Some).ok_or_else(|| format!("`session.{key}` is no identifier"))
        }
        Some(_) => Err(format!("`session.{key}` is no string")),
    };
    let mut names = SessionNames {
        database: identifier("database")?,
        schema: identifier("schema")?,
        role: identifier("role")?,
        secondary_roles: secondary_roles(session.get("secondary_roles"))?,
        ..SessionNames::default()
    };
    match session.get("quoted_identifiers_ignore_case") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(fold)) => names.fold_quoted = *fold,
        Some(_) => {
            return Err("`session.quoted_identifiers_ignore_case` is neither true nor false".to_owned());
        }
    }
    match session.get("variables") {
        None | Some(Value::Null) => {}
        Some(Value::Object(variables)) => {
            for (name, value) in variables {
                let (Some(name), Some(value)) = (sql::identifier(name), value.as_str()) else {
                    return Err("`session.variables` holds more than names with a string each".to_owned());
                };
                names.variables.insert(name, value.to_owned());
            }
        }
        Some(_) => return Err("`session.variables` is no object".to_owned()),
    }
    Ok(names)
}

/// `"all"`, `"none"`, `"usual"`, or a list of names.
fn secondary_roles(written: Option<&Value>) -> Result<SecondaryRoles, String> {
    match written {
        None | Some(Value::Null) => Ok(SecondaryRoles::Unknown),
        Some(Value::String(word)) if word == "all" => Ok(SecondaryRoles::All),
        Some(Value::String(word)) if word == "none" => Ok(SecondaryRoles::None),
        Some(Value::String(word)) if word == "usual" => Ok(SecondaryRoles::Usual),
        Some(Value::Array(roles)) => {
            let roles = roles.iter().map(|role| sql::identifier(role.as_str()?)).collect::<Option<Vec<_>>>();
            roles.map(SecondaryRoles::These).ok_or_else(|| {
                "`session.secondary_roles` holds something else than names of roles".to_owned()
            })
        }
        Some(_) => {
            Err("`session.secondary_roles` is neither \"all\", \"none\", \"usual\" nor a list".to_owned())
        }
    }
}

/// Tables with their columns. What is given is taken for all there is: a name that is found in `PUBLIC` alone is not in
/// the session's own schema.
fn catalog(schema: &Map<String, Value>, names: &SessionNames) -> Result<Catalog, String> {
    let mut catalog = Catalog::default();
    let mut given = Vec::with_capacity(schema.len());
    for (table, columns) in schema {
        let name = sql::table_name(table, names)
            .ok_or_else(|| format!("`schema`: {table:?} is no name of a table in up to three parts"))?;
        let columns = match columns {
            Value::Array(columns) => columns
                .iter()
                .map(Value::as_str)
                .collect::<Option<Vec<&str>>>()
                .ok_or_else(|| format!("`schema`: a column of {table:?} is no string"))?,
            Value::Object(columns) => columns.keys().map(String::as_str).collect(),
            _ => return Err(format!("`schema`: the columns of {table:?} are no list")),
        };
        let columns =
            columns.into_iter().map(|column| sql::identifier(column).unwrap_or_else(|| Ident::exact(column)));
        catalog.insert_table(name.clone(), Arc::new(Table::with_columns(columns)));
        given.push(name);
    }
    for name in given {
        let own = model::TableName { schema: names.schema.clone(), ..name.clone() };
        let is_public = name.schema.as_ref().is_some_and(|schema| schema.as_str() == "PUBLIC");
        if is_public && name.database == names.database && catalog.table(&own).is_none() {
            catalog.insert_missing(own);
        }
    }
    Ok(catalog)
}
