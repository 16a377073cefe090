//! What a statement leaves of the names of its session, for the statements after it in the same text.

use model::Ident;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{
    SessionNames,
    cursor::{self, Cursor},
    literal,
    names::PUBLIC,
};

/// The names after a statement, if it changes them. Where nobody can say how, nothing is known any more.
pub(crate) fn change(tokens: &[&TokenWithSpan], names: &SessionNames) -> Option<SessionNames> {
    let mut at = Cursor::new(tokens);
    let first = at.word();
    at.next();
    match first.as_str() {
        "USE" => used(at, names),
        "SET" | "UNSET" => Some(assigned(&first, at, names)),
        "CREATE" => {
            at.skip(&["OR", "REPLACE", "TRANSIENT"]);
            created(at, names)
        }
        "ALTER" | "DROP" | "UNDROP" => {
            matches!(at.word().as_str(), "DATABASE" | "SCHEMA").then(|| unknown(names))
        }
        // Code that runs may change what it likes.
        "CALL" | "EXECUTE" | "DECLARE" => Some(unknown(names)),
        "BEGIN" if !at.is_at_end() && !at.stands(&["TRANSACTION"]) && !at.stands(&["WORK"]) => {
            Some(unknown(names))
        }
        _ => None,
    }
}

/// Only what no statement can change.
pub(crate) fn unknown(names: &SessionNames) -> SessionNames {
    SessionNames { fold_quoted: names.fold_quoted, number: names.number, ..SessionNames::default() }
}

/// `USE DATABASE d`, `USE SCHEMA s`, `USE d.s`.
fn used(mut at: Cursor<'_>, names: &SessionNames) -> Option<SessionNames> {
    if ["ROLE", "SECONDARY", "WAREHOUSE"].iter().any(|kind| at.stands(&[kind])) && at.ahead(1).is_some() {
        return None;
    }
    let is_schema = at.take(&["SCHEMA"]);
    let _is_database = at.take(&["DATABASE"]);
    let parts = at.name(names).filter(|_| at.is_at_end());
    Some(current(parts.as_deref(), is_schema, names))
}

/// A new database or schema becomes the session's own, unless it was there already.
fn created(mut at: Cursor<'_>, names: &SessionNames) -> Option<SessionNames> {
    let is_schema = at.take(&["SCHEMA"]);
    let is_database = at.take(&["DATABASE"]) && !at.stands(&["ROLE"]);
    if !is_schema && !is_database {
        return None;
    }
    if at.stands(&["IF"]) {
        return Some(unknown(names));
    }
    Some(current(at.name(names).as_deref(), is_schema, names))
}

/// The session in another place. A database is entered by its schema `PUBLIC`.
fn current(parts: Option<&[Option<Ident>]>, is_schema: bool, names: &SessionNames) -> SessionNames {
    let (database, schema) = match parts {
        Some([Some(schema)]) if is_schema => (names.database.clone(), schema.clone()),
        Some([Some(database)]) => (Some(database.clone()), Ident::unquoted(PUBLIC)),
        Some([Some(database), Some(schema)]) => (Some(database.clone()), schema.clone()),
        _ => return unknown(names),
    };
    SessionNames { database, schema: Some(schema), ..names.clone() }
}

/// Variables after `SET v = …`, `SET (v, w) = (…)` and `UNSET v`: known where a plain text is given to a plain name.
fn assigned(verb: &str, at: Cursor<'_>, names: &SessionNames) -> SessionNames {
    let mut after = names.clone();
    let mut forget = at;
    while let Some(token) = forget.next() {
        if let Token::Word(word) = token {
            match cursor::ident(word, names) {
                Some(name) => after.variables.remove(&name),
                None => {
                    after.variables.clear();
                    break;
                }
            };
        }
    }
    let (Some(Token::Word(name)), Some(Token::Eq), Some(value), None) =
        (at.peek(), at.ahead(1), at.ahead(2), at.ahead(3))
    else {
        return after;
    };
    if let ("SET", Some(name), Some(text)) = (verb, cursor::ident(name, names), literal::content(value)) {
        after.variables.insert(name, text);
    }
    after
}
