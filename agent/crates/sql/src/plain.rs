//! Our own reader for administrative statements, which the parser knows in part only: their first words say what they
//! are, and what follows cannot hold a query.

use std::collections::BTreeSet;

use sqlparser::{
    dialect::SnowflakeDialect,
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Token, TokenWithSpan, Word},
};

use crate::{
    Access, Class, Container, ContainerUse, Elsewhere, Opaque, Outputs, Parse, SessionNames, Sources,
    Statement, TableUse,
};

/// What belongs to the account, by the first words after `CREATE`, `ALTER` and `DROP`.
const ACCOUNT_KINDS: &[&[&str]] = &[
    &["ACCOUNT"],
    &["AGGREGATION", "POLICY"],
    &["API", "INTEGRATION"],
    &["APPLICATION", "ROLE"],
    &["AUTHENTICATION", "POLICY"],
    &["CATALOG", "INTEGRATION"],
    &["COMPUTE", "POOL"],
    &["CONNECTION"],
    &["DATABASE", "ROLE"],
    &["EXTERNAL", "ACCESS", "INTEGRATION"],
    &["EXTERNAL", "VOLUME"],
    &["FAILOVER", "GROUP"],
    &["INTEGRATION"],
    &["MANAGED", "ACCOUNT"],
    &["MASKING", "POLICY"],
    &["NETWORK", "POLICY"],
    &["NETWORK", "RULE"],
    &["NOTIFICATION", "INTEGRATION"],
    &["PACKAGES", "POLICY"],
    &["PASSWORD", "POLICY"],
    &["PROJECTION", "POLICY"],
    &["REPLICATION", "GROUP"],
    &["RESOURCE", "MONITOR"],
    &["ROLE"],
    &["ROW", "ACCESS", "POLICY"],
    &["SECRET"],
    &["SECURITY", "INTEGRATION"],
    &["SESSION", "POLICY"],
    &["SHARE"],
    &["STORAGE", "INTEGRATION"],
    &["TAG"],
    &["USER"],
    &["WAREHOUSE"],
];

/// Session parameters that change which table a name means.
const NAME_PARAMETERS: &[&str] = &["SEARCH_PATH", "QUOTED_IDENTIFIERS_IGNORE_CASE"];

/// Reads the statement if it is one of these; `None` leaves it to the parser.
pub(crate) fn read(tokens: &[&TokenWithSpan], names: &SessionNames) -> Option<Result<Statement, Opaque>> {
    let words = leading_words(tokens);
    let first = words.first()?.as_str();
    let statement = match first {
        "SHOW" => bare(Class::Show, &words, 2),
        "DESC" | "DESCRIBE" => return Some(describe(tokens, &words, names)),
        "USE" if is_simple(tokens.get(1..)?) => bare(Class::Use, &words, 1),
        "UNSET" if is_simple(tokens.get(1..)?) => bare(Class::Set, &words, 1),
        "ALTER" if words.get(1).is_some_and(|w| w == "SESSION") => alter_session(tokens, &words),
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" if words.len() == tokens.len() => {
            bare(Class::Transaction, &words, 1)
        }
        "PUT" => bare(Class::Put, &words, 1),
        "GET" => bare(Class::Get, &words, 1),
        "LIST" | "LS" => bare(Class::List, &words, 1),
        "REMOVE" | "RM" => bare(Class::Remove, &words, 1),
        "EXECUTE" if words.get(1).is_some_and(|w| w == "IMMEDIATE") => {
            let mut statement = bare(Class::ExecuteImmediate, &words, 2);
            statement.elsewhere.push(Elsewhere::DynamicSql);
            statement.outputs = Outputs::Unknown("its text is computed");
            statement
        }
        "EXECUTE" => Statement {
            outputs: Outputs::Unknown("it runs code that is stored elsewhere"),
            ..bare(Class::Execute, &words, 2)
        },
        "UNDROP" => return undrop(tokens, &words, names),
        "CREATE" | "ALTER" | "DROP" => administer(first, words.get(1..)?)?,
        _ => return None,
    };
    Some(Ok(statement))
}

/// A statement that names nothing.
pub(crate) fn bare(class: Class, words: &[String], verb_words: usize) -> Statement {
    Statement {
        class,
        verb: words.iter().take(verb_words).map(String::as_str).collect::<Vec<_>>().join(" "),
        parse: Parse::Full,
        is_inside: false,
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

fn describe(tokens: &[&TokenWithSpan], words: &[String], names: &SessionNames) -> Result<Statement, Opaque> {
    let mut statement = bare(Class::Describe, words, 1);
    "DESCRIBE".clone_into(&mut statement.verb);
    let after_modifiers = words
        .iter()
        .skip(1)
        .position(|w| {
            !matches!(w.as_str(), "EXTERNAL" | "DYNAMIC" | "ICEBERG" | "EVENT" | "HYBRID" | "MATERIALIZED")
        })
        .map_or(1, |skipped| skipped + 1);
    let is_table = words.get(after_modifiers).is_some_and(|w| matches!(w.as_str(), "TABLE" | "VIEW"));
    if is_table {
        let name = name_at(tokens, after_modifiers + 1)?;
        match names.tables(&name) {
            Ok(tables) => statement.tables = uses(tables, Access::Read),
            Err(unnamed) => note(&mut statement, unnamed)?,
        }
    }
    Ok(statement)
}

fn undrop(
    tokens: &[&TokenWithSpan],
    words: &[String],
    names: &SessionNames,
) -> Option<Result<Statement, Opaque>> {
    let mut statement = bare(Class::Undrop, words, 1);
    let name = match name_at(tokens, 2) {
        Ok(name) => name,
        Err(opaque) => return Some(Err(opaque)),
    };
    let kind = words.get(1).map(String::as_str);
    let container = match kind {
        Some("TABLE") => {
            match names.table(&name) {
                Ok(table) => statement.tables = uses(vec![table], Access::Drop),
                Err(unnamed) => return Some(note(&mut statement, unnamed).map(|()| statement)),
            }
            return Some(Ok(statement));
        }
        Some("SCHEMA") => names.schema(&name),
        Some("DATABASE") => names.database(&name),
        _ => return None,
    };
    Some(match container {
        Ok(container) => {
            statement.containers.push(ContainerUse { container, access: Access::Drop });
            Ok(statement)
        }
        Err(unnamed) => note(&mut statement, unnamed).map(|()| statement),
    })
}

fn administer(verb: &str, words: &[String]) -> Option<Statement> {
    let noise: &[&str] = &["OR", "REPLACE", "ALTER", "TEMPORARY", "TEMP"];
    let kind: Vec<&str> = words.iter().map(String::as_str).skip_while(|w| noise.contains(w)).collect();
    let account_kind = ACCOUNT_KINDS.iter().find(|words| kind.starts_with(words))?;
    let mut statement = bare(Class::Administer, &[], 0);
    statement.verb = format!("{verb} {}", account_kind.join(" "));
    Some(statement)
}

/// The object name that begins at a token, after an optional `IF EXISTS`.
fn name_at(tokens: &[&TokenWithSpan], at: usize) -> Result<sqlparser::ast::ObjectName, Opaque> {
    let rest = tokens.get(at..).unwrap_or_default().iter().map(|t| (*t).clone()).collect();
    let mut parser = Parser::new(&SnowflakeDialect).with_tokens_with_locations(rest);
    let _present = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    parser.parse_object_name(false).map_err(|error| crate::analyze::syntax_error(&error))
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

/// A container with an access.
pub(crate) fn within(container: Container, access: Access) -> ContainerUse {
    ContainerUse { container, access }
}
