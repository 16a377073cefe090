//! What a statement leaves of the names of its session, for the statements after it in the same text.

use model::Ident;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{
    SecondaryRoles, SessionNames,
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
        // The place goes, and the roles and variables stay.
        "ALTER" | "DROP" | "UNDROP" => {
            let is_place = matches!(at.word().as_str(), "DATABASE" | "SCHEMA");
            is_place.then(|| SessionNames { database: None, schema: None, ..names.clone() })
        }
        // Code that runs may change what it likes.
        "CALL" | "EXECUTE" | "DECLARE" => Some(names.forgotten()),
        "BEGIN" if !at.is_at_end() && !at.stands(&["TRANSACTION"]) && !at.stands(&["WORK"]) => {
            Some(names.forgotten())
        }
        _ => None,
    }
}

/// `USE ROLE r`, `USE SECONDARY ROLES ALL`, `USE DATABASE d`, `USE SCHEMA s`, `USE d.s`.
fn used(mut at: Cursor<'_>, names: &SessionNames) -> Option<SessionNames> {
    if at.ahead(1).is_some() {
        if at.stands(&["WAREHOUSE"]) {
            return None;
        }
        if at.take(&["SECONDARY"]) {
            at.skip(&["ROLES"]);
            return Some(SessionNames { secondary_roles: secondary(at, names), ..names.clone() });
        }
        if at.take(&["ROLE"]) {
            let role = match at.name(names).filter(|_| at.is_at_end()).as_deref() {
                Some([Some(role)]) => Some(role.clone()),
                _ => None,
            };
            return Some(SessionNames { role, ..names.clone() });
        }
    }
    let is_schema = at.take(&["SCHEMA"]);
    let _is_database = at.take(&["DATABASE"]);
    let parts = at.name(names).filter(|_| at.is_at_end());
    Some(current(parts.as_deref(), is_schema, names))
}

/// `ALL`, `NONE`, or a list of names.
fn secondary(mut at: Cursor<'_>, names: &SessionNames) -> SecondaryRoles {
    let is_last = at.ahead(1).is_none();
    if is_last && at.stands(&["ALL"]) {
        return SecondaryRoles::All;
    }
    if is_last && at.stands(&["NONE"]) {
        return SecondaryRoles::None;
    }
    let mut roles = Vec::new();
    loop {
        match at.name(names).as_deref() {
            Some([Some(role)]) => roles.push(role.clone()),
            _ => return SecondaryRoles::Unknown,
        }
        if at.is_at_end() {
            roles.sort();
            roles.dedup();
            return SecondaryRoles::These(roles);
        }
        if !at.take_token(&Token::Comma) {
            return SecondaryRoles::Unknown;
        }
    }
}

/// A new database or schema becomes the session's own, unless it was there already.
fn created(mut at: Cursor<'_>, names: &SessionNames) -> Option<SessionNames> {
    let is_schema = at.take(&["SCHEMA"]);
    let is_database = at.take(&["DATABASE"]) && !at.stands(&["ROLE"]);
    if !is_schema && !is_database {
        return None;
    }
    if at.stands(&["IF"]) {
        return Some(SessionNames { database: None, schema: None, ..names.clone() });
    }
    Some(current(at.name(names).as_deref(), is_schema, names))
}

/// The session in another place. A database is entered by its schema `PUBLIC`.
fn current(parts: Option<&[Option<Ident>]>, is_schema: bool, names: &SessionNames) -> SessionNames {
    let (database, schema) = match parts {
        Some([Some(schema)]) if is_schema => (names.database.clone(), schema.clone()),
        Some([Some(database)]) => (Some(database.clone()), Ident::unquoted(PUBLIC)),
        Some([Some(database), Some(schema)]) => (Some(database.clone()), schema.clone()),
        _ => return SessionNames { database: None, schema: None, ..names.clone() },
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
    if verb == "SET" {
        after.variables.extend(constants(at, names).unwrap_or_default());
    }
    after
}

/// The variables of `v = 'text'` and `(v, w) = ('text', 'text')`; `None` if anything else stands there.
fn constants(mut at: Cursor<'_>, names: &SessionNames) -> Option<Vec<(Ident, String)>> {
    let name = |token: Option<&Token>| match token? {
        Token::Word(word) => cursor::ident(word, names),
        _ => None,
    };
    let text = |token: Option<&Token>| literal::content(token?);
    let (variables, values) = if at.peek() == Some(&Token::LParen) {
        let variables = list(&mut at, name)?;
        (variables, at.take_token(&Token::Eq).then(|| list(&mut at, text))??)
    } else {
        let variable = name(at.next())?;
        (vec![variable], vec![at.take_token(&Token::Eq).then(|| text(at.next()))??])
    };
    (at.is_at_end() && variables.len() == values.len()).then(|| variables.into_iter().zip(values).collect())
}

/// `(a, b)`, each as `read` has it.
fn list<'t, T>(at: &mut Cursor<'t>, read: impl Fn(Option<&'t Token>) -> Option<T>) -> Option<Vec<T>> {
    at.take_token(&Token::LParen).then_some(())?;
    let mut all = vec![read(at.next())?];
    while at.take_token(&Token::Comma) {
        all.push(read(at.next())?);
    }
    at.take_token(&Token::RParen).then_some(all)
}
