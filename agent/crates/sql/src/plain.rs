//! Our own reader for administrative statements, which the parser knows in part only: their first words say what they
//! are, and what follows cannot hold a query.

use std::collections::BTreeSet;

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::{
    Access, Class, Elsewhere, Opaque, Outputs, Parse, SecondaryRoles, SessionNames, Sources, Statement,
    TableUse, cursor, definition,
};

/// Session parameters that change which table a name means.
const NAME_PARAMETERS: &[&str] = &["SEARCH_PATH", "QUOTED_IDENTIFIERS_IGNORE_CASE"];

/// Reads the statement if it is one of these; `None` leaves it to the parser.
pub(crate) fn read(tokens: &[&TokenWithSpan], names: &SessionNames) -> Option<Statement> {
    // What the parser is for; most statements are.
    if ["SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE"]
        .iter()
        .any(|verb| cursor::begins_with(tokens, verb))
    {
        return None;
    }
    let words = leading_words(tokens);
    let first = words.first()?.as_str();
    let second = words.get(1).map(String::as_str);
    Some(match first {
        "USE" if is_simple(tokens.get(1..)?) => bare(Class::Use, &words, 1),
        // Where it leads is computed.
        "USE" => Statement { elsewhere: vec![Elsewhere::Identifier], ..bare(Class::Use, &words, 1) },
        "UNSET" if is_simple(tokens.get(1..)?) => bare(Class::Set, &words, 1),
        "UNSET" if is_list(tokens.get(1..)?) => bare(Class::Set, &words, 1),
        "ALTER" if second == Some("SESSION") && words.get(2).is_none_or(|word| word != "POLICY") => {
            alter_session(tokens, &words)
        }
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" if words.len() == tokens.len() => {
            bare(Class::Transaction, &words, 1)
        }
        "PUT" => bare(Class::Put, &words, 1),
        "GET" => bare(Class::Get, &words, 1),
        "LIST" | "LS" => bare(Class::List, &words, 1),
        "REMOVE" | "RM" => bare(Class::Remove, &words, 1),
        "EXECUTE" if second == Some("IMMEDIATE") => crate::read::dynamic(),
        "EXECUTE" => definition::execute(tokens, names),
        "GRANT" | "REVOKE" | "COMMENT" | "SHOW" | "DESC" | "DESCRIBE" | "DROP" | "UNDROP" => {
            return definition::read(tokens, names);
        }
        "CREATE" | "ALTER" if !definition::is_for_the_parser(tokens) => {
            return definition::read(tokens, names);
        }
        _ => return None,
    })
}

/// A statement that names nothing.
pub(crate) fn bare(class: Class, words: &[String], verb_words: usize) -> Statement {
    Statement {
        class,
        verb: words.iter().take(verb_words).map(String::as_str).collect::<Vec<_>>().join(" "),
        parse: Parse::Full,
        is_inside: false,
        role: None,
        secondary_roles: SecondaryRoles::Unknown,
        tables: Vec::new(),
        containers: Vec::new(),
        objects: Vec::new(),
        functions: Vec::new(),
        elsewhere: Vec::new(),
        moves_data: false,
        effects: BTreeSet::new(),
        outputs: Outputs::Known(Vec::new()),
        landings: Vec::new(),
        decides_on: Sources::Unknown,
        wants: BTreeSet::new(),
    }
}

/// The unquoted words the statement begins with, upper case.
fn leading_words(tokens: &[&TokenWithSpan]) -> Vec<String> {
    tokens
        .iter()
        .map_while(|t| match &t.token {
            Token::Word(Word { value, quote_style: None, .. }) => Some(value.to_uppercase()),
            _ => None,
        })
        .collect()
}

/// Whether nothing but names and literals is there: no parentheses, so nothing that is computed from data.
fn is_simple(tokens: &[&TokenWithSpan]) -> bool {
    tokens.iter().all(|t| {
        matches!(
            t.token,
            Token::Word(_)
                | Token::Period
                | Token::Comma
                | Token::Eq
                | Token::Minus
                | Token::Number(..)
                | Token::SingleQuotedString(_)
        )
    })
}

/// `(a, b)`.
fn is_list(tokens: &[&TokenWithSpan]) -> bool {
    let is_name = |t: &&TokenWithSpan| matches!(t.token, Token::Word(_) | Token::Comma);
    match tokens {
        [open, names @ .., close] => {
            open.token == Token::LParen && close.token == Token::RParen && names.iter().all(is_name)
        }
        _ => false,
    }
}

fn alter_session(tokens: &[&TokenWithSpan], words: &[String]) -> Statement {
    let mut statement = bare(Class::AlterSession, words, 2);
    statement.elsewhere = tokens
        .iter()
        .filter_map(|t| match &t.token {
            Token::Word(word) => Some(word.value.to_uppercase()),
            _ => None,
        })
        .filter(|word| NAME_PARAMETERS.contains(&word.as_str()))
        .map(Elsewhere::NameResolution)
        .collect();
    statement
}

/// Lists tables with one access; all but the first are where Snowflake looks next.
pub(crate) fn uses(tables: Vec<model::TableName>, access: Access) -> Vec<TableUse> {
    let with_position = tables.into_iter().enumerate();
    with_position.map(|(i, table)| TableUse { table, access, fallback: i > 0 }).collect()
}

/// Keeps what a name led to if it was no name.
pub(crate) fn note(statement: &mut Statement, unnamed: crate::names::Unnamed) -> Result<(), Opaque> {
    match unnamed {
        crate::names::Unnamed::Elsewhere(elsewhere) => {
            statement.elsewhere.push(elsewhere);
            Ok(())
        }
        crate::names::Unnamed::Opaque(opaque) => Err(opaque),
    }
}
