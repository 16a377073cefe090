//! What Snowflake is asked about a table or view, and what its answers say. None of these wants a warehouse.

use model::{Ident, ResultSet, Rows, TableName};
use snowflake::own::quoted;
use sql::{SecondaryRoles, SessionNames, Table, View};

/// The columns of a table or view.
pub(super) fn columns_of(table: &TableName) -> Option<String> {
    Some(format!("DESCRIBE TABLE {}", full_name(table)?))
}

/// What a table or view was defined with. `VIEW` stands for tables, too.
pub(super) fn definition_of(table: &TableName) -> Option<String> {
    let name = full_name(table)?.replace('\\', "\\\\").replace('\'', "''");
    Some(format!("SELECT GET_DDL('VIEW', '{name}')"))
}

/// Puts the session into a role.
pub(super) fn into_role(role: &Ident) -> String {
    format!("USE ROLE {}", quoted(role))
}

/// Gives the session these roles beside its own; `None` if it cannot be said.
pub(super) fn beside_roles(roles: &SecondaryRoles) -> Option<String> {
    let list = match roles {
        SecondaryRoles::Unknown | SecondaryRoles::Usual => return None,
        SecondaryRoles::All => "ALL".to_owned(),
        SecondaryRoles::None => "NONE".to_owned(),
        SecondaryRoles::These(roles) => roles.iter().map(quoted).collect::<Vec<_>>().join(", "),
    };
    Some(format!("USE SECONDARY ROLES {list}"))
}

/// All three parts, or nothing: a name that is not whole means another table in every session.
fn full_name(table: &TableName) -> Option<String> {
    let (database, schema) = (table.database.as_ref()?, table.schema.as_ref()?);
    Some(format!("{}.{}.{}", quoted(database), quoted(schema), quoted(&table.name)))
}

/// The columns, from the answer to [`columns_of`].
pub(super) fn columns(result: &ResultSet) -> Option<Vec<Ident>> {
    let at = |name: &str| result.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
    let (name, kind) = (at("name")?, at("kind")?);
    let Rows::Json(rows) = &result.rows else { return None };
    let mut columns = Vec::with_capacity(rows.len());
    for row in rows {
        // Anything else than a column would be one that is not shown, or a form that is not known.
        match (row.get(name)?, row.get(kind)?.as_deref()) {
            (Some(name), Some("COLUMN")) => columns.push(Ident::exact(name.clone())),
            _ => return None,
        }
    }
    (!columns.is_empty()).then_some(columns)
}

/// The text, from the answer to [`definition_of`].
pub(super) fn definition(result: ResultSet) -> Option<String> {
    let Rows::Json(rows) = result.rows else { return None };
    let [row] = <[_; 1]>::try_from(rows).ok()?;
    let [text] = <[_; 1]>::try_from(row).ok()?;
    text
}

/// The table or view that both answers speak of. `None` for what is neither, or something whose rows come from elsewhere
/// without its text saying so here: a dynamic or external table.
pub(super) fn table(
    name: &TableName,
    columns: Vec<Ident>,
    definition: String,
    fold_quoted: bool,
) -> Option<Table> {
    match kind(&definition)? {
        Kind::Table => Some(Table { columns, view: None }),
        // Whether its quoted names folded when it was made, nobody here knows.
        Kind::View if fold_quoted && definition.contains('"') => None,
        Kind::View => {
            let (database, schema) = (name.database.clone(), name.schema.clone());
            let names = SessionNames { database, schema, fold_quoted, ..SessionNames::default() };
            Some(Table { columns, view: Some(View { definition, names }) })
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Table,
    View,
}

/// What a definition begins with says what it is of.
fn kind(definition: &str) -> Option<Kind> {
    let mut words = definition.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut words = words.by_ref().filter(|word| !word.is_empty()).map(str::to_ascii_uppercase);
    if words.next()? != "CREATE" {
        return None;
    }
    let mut is_replaced = false;
    for word in words.take(6) {
        match word.as_str() {
            "OR" if !is_replaced => is_replaced = true,
            "REPLACE" | "SECURE" | "RECURSIVE" | "MATERIALIZED" | "TRANSIENT" | "TEMPORARY" | "TEMP"
            | "LOCAL" | "GLOBAL" | "VOLATILE" | "HYBRID" => {}
            "TABLE" => return Some(Kind::Table),
            "VIEW" => return Some(Kind::View),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use model::ColumnMeta;

    use super::*;

    fn name(parts: [Option<&str>; 2], table: &str) -> TableName {
        let [database, schema] = parts.map(|part| part.map(Ident::exact));
        TableName { database, schema, name: Ident::exact(table) }
    }

    fn result(columns: &[&str], rows: &[&[Option<&str>]]) -> ResultSet {
        let column = |name: &&str| ColumnMeta {
            name: (*name).to_owned(),
            database: String::new(),
            schema: String::new(),
            table: String::new(),
            type_name: "text".to_owned(),
            nullable: true,
        };
        let cells = |row: &&[Option<&str>]| row.iter().map(|cell| cell.map(str::to_owned)).collect();
        ResultSet {
            columns: columns.iter().map(column).collect(),
            rows: Rows::Json(rows.iter().map(cells).collect()),
        }
    }

    #[test]
    fn questions_name_one_object_whatever_its_name() {
        let odd = name([Some("D"), Some("s.t")], "a\"b'c\\d");
        assert_eq!(columns_of(&odd).unwrap(), "DESCRIBE TABLE \"D\".\"s.t\".\"a\"\"b'c\\d\"");
        assert_eq!(
            definition_of(&odd).unwrap(),
            "SELECT GET_DDL('VIEW', '\"D\".\"s.t\".\"a\"\"b''c\\\\d\"')"
        );
        assert_eq!(into_role(&Ident::exact("R\"; DROP TABLE X")), "USE ROLE \"R\"\"; DROP TABLE X\"");
        let some = SecondaryRoles::These(vec![Ident::exact("A"), Ident::exact("b\"")]);
        assert_eq!(beside_roles(&some).unwrap(), "USE SECONDARY ROLES \"A\", \"b\"\"\"");
        assert_eq!(beside_roles(&SecondaryRoles::All).unwrap(), "USE SECONDARY ROLES ALL");
        assert_eq!(beside_roles(&SecondaryRoles::Usual), None);
        for half in [name([None, Some("S")], "T"), name([Some("D"), None], "T")] {
            assert_eq!((columns_of(&half), definition_of(&half)), (None, None));
        }
    }

    #[test]
    fn columns_are_read_in_order_or_not_at_all() {
        let said = result(
            &["name", "type", "kind"],
            &[&[Some("ID"), Some("NUMBER"), Some("COLUMN")], &[Some("low"), None, Some("COLUMN")]],
        );
        assert_eq!(columns(&said).unwrap(), [Ident::exact("ID"), Ident::exact("low")]);
        for odd in [
            result(&["name", "kind"], &[&[Some("ID"), Some("VIRTUAL")]]),
            result(&["name", "kind"], &[&[None, Some("COLUMN")]]),
            result(&["name", "kind"], &[&[Some("ID")]]),
            result(&["name", "kind"], &[]),
            result(&["status"], &[&[Some("ok")]]),
        ] {
            assert_eq!(columns(&odd), None);
        }
    }

    #[test]
    fn a_definition_says_whether_it_is_of_a_view() {
        for (text, expected) in [
            ("create or replace view V(\n\tA\n) as select a from t;", Some(Kind::View)),
            ("CREATE VIEW PUBLIC.V AS SELECT 1", Some(Kind::View)),
            ("create or replace secure view V as select 1", Some(Kind::View)),
            ("create or replace materialized view V as select 1", Some(Kind::View)),
            ("create or replace TRANSIENT TABLE T (\n\tVIEW NUMBER\n);", Some(Kind::Table)),
            ("create or replace dynamic table T as select 1", None),
            ("create or replace external table T", None),
            ("create or replace stream S on table T", None),
            ("create or replace or", None),
            ("select 1", None),
            ("", None),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn a_view_is_read_where_it_lives() {
        let (name, columns) = (name([Some("D"), Some("S")], "V"), vec![Ident::exact("A")]);
        let of = |text: &str, folds| table(&name, columns.clone(), text.to_owned(), folds);
        let view = of("create view V as select \"a\" as A from t", false).unwrap().view.unwrap();
        assert_eq!(view.names.schema, Some(Ident::exact("S")));
        assert_eq!(of("create view V as select \"a\" as A from t", true), None);
        assert_eq!(of("create table V (A int)", true).unwrap().view, None);
    }

    #[test]
    fn a_definition_is_one_cell() {
        assert_eq!(definition(result(&["x"], &[&[Some("create view")]])).as_deref(), Some("create view"));
        for odd in [
            result(&["x"], &[]),
            result(&["x"], &[&[None]]),
            result(&["x"], &[&[Some("a")], &[Some("b")]]),
            result(&["x", "y"], &[&[Some("a"), Some("b")]]),
        ] {
            assert_eq!(definition(odd), None);
        }
    }
}
