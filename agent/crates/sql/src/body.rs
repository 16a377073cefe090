//! The bodies of functions and procedures that are texts: those in SQL are read like any other text, those in another language
//! stay what they are.
//! Source: Snowflake documentation, "CREATE FUNCTION", "CREATE PROCEDURE", "CALL (with anonymous procedure)".

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{
    Class, Statement,
    cursor::{self, Cursor},
    literal, survey,
};

/// The text that a new routine runs when it is called, as a text of statements; `None` if it has none in SQL.
pub(crate) fn of(tokens: &[&TokenWithSpan], statement: &Statement) -> Option<String> {
    let mut at = Cursor::new(tokens);
    let is_procedure = match statement.class {
        Class::Create => routine(&mut at)?,
        Class::Call if at.take(&["WITH"]) => true,
        _ => return None,
    };
    let mut text = None;
    while let Some(token) = at.peek() {
        match token {
            Token::LParen => {
                survey::skip_parentheses(&mut at);
                continue;
            }
            _ if at.stands(&["LANGUAGE"]) && at.word_ahead(1) != "SQL" => return None,
            // It is answered by a service, or by somebody outside: its text is where they are asked.
            Token::Eq if at.behind().and_then(cursor::word).is_some_and(is_answered_by) => return None,
            _ if at.stands(&["AS"]) => text = text.or(at.ahead(1)).filter(is_text),
            _ => {}
        }
        at.pass(1);
    }
    let body = literal::content(text?)?;
    if body.trim().is_empty() {
        return None;
    }
    Some(if is_procedure || is_query(&body) { body } else { format!("SELECT {body}") })
}

/// Passes the kind of a routine that is made, and says whether it is a procedure.
fn routine(at: &mut Cursor<'_>) -> Option<bool> {
    while !at.is_at_end() && at.position() < HEAD_WORDS_MAX {
        if at.take(&["PROCEDURE"]) {
            return Some(true);
        }
        if at.take(&["FUNCTION"]) {
            return Some(false);
        }
        if at.word().is_empty() {
            return None;
        }
        at.pass(1);
    }
    None
}

/// `CREATE OR REPLACE TEMPORARY SECURE AGGREGATE FUNCTION` and a few more.
const HEAD_WORDS_MAX: usize = 8;

fn is_answered_by(word: &str) -> bool {
    word.eq_ignore_ascii_case("SERVICE") || word.eq_ignore_ascii_case("API_INTEGRATION")
}

fn is_text(token: &&Token) -> bool {
    matches!(token, Token::SingleQuotedString(_) | Token::DollarQuotedString(_))
}

/// Whether the body of a function is a query, and no expression.
fn is_query(body: &str) -> bool {
    let first = body.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let word: String = first.chars().take_while(char::is_ascii_alphabetic).collect();
    ["SELECT", "WITH", "VALUES", "BEGIN", "DECLARE"].iter().any(|verb| word.eq_ignore_ascii_case(verb))
        || first.starts_with("--")
        || first.starts_with("/*")
        || first.starts_with("//")
}
