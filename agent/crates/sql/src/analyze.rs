//! The door: any text in, facts out. Total, and bounded in length, depth and number of statements.

use std::{borrow::Cow, collections::BTreeSet};

use model::SqlText;
use sqlparser::{
    dialect::SnowflakeDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan, Word},
};

use crate::{
    Access, Catalog, Class, Facts, Opaque, Outputs, SessionNames, Statement, depth, follow,
    lex::{self, Lexed},
    literal, plain, statement,
};

/// How far the parser may recurse: a few of its functions for each level of nesting that the depth check lets through.
const PARSER_RECURSION_MAX: usize = 4 * depth::NESTING_MAX;

/// Reads a text as Snowflake would read it in a session with these names, with what the catalog knows of the objects that
/// it names. With an empty catalog every answer is still true, and more of them are "unknown".
///
/// Never fails and never panics: what is not understood is [`Opaque`] and says why.
#[must_use]
pub fn analyze(text: &SqlText, session: &SessionNames, catalog: &Catalog) -> Facts {
    let tokens = match lex::tokens(text.as_str()) {
        Ok(tokens) => tokens,
        Err(unreadable) => {
            return Facts::new(
                text.clone(),
                String::new(),
                Vec::new(),
                Err(unreadable.into()),
                BTreeSet::new(),
            );
        }
    };
    let verb = lex::verb(&tokens);
    let literals = literal::find(text.as_str(), &tokens);
    let reading = read_all(tokens, session, catalog);
    let wants = reading.iter().flatten().flat_map(|statement| statement.wants.iter().cloned()).collect();
    Facts::new(text.clone(), verb, literals, reading, wants)
}

/// Each statement under the names that those before it leave.
fn read_all(
    tokens: Vec<TokenWithSpan>,
    session: &SessionNames,
    catalog: &Catalog,
) -> Result<Vec<Statement>, Opaque> {
    let mut names = Cow::Borrowed(session);
    let mut statements = Vec::new();
    for lexed in lex::split(tokens)? {
        let change = follow::change(&lexed.significant(), &names);
        statements.push(read(lexed, &names, catalog)?);
        if let Some(changed) = change {
            names = Cow::Owned(changed);
        }
    }
    Ok(statements)
}

fn read(lexed: Lexed, session: &SessionNames, catalog: &Catalog) -> Result<Statement, Opaque> {
    let names_stage = lexed.names_stage;
    let (explain_words, plain) = {
        let tokens = lexed.significant();
        (explain_words(&tokens), plain::read(&tokens, session))
    };
    if explain_words > 0 {
        return explain(parse(lexed.after(explain_words), session, catalog, names_stage)?);
    }
    match plain {
        Some(statement) => statement,
        None => parse(lexed.after(0), session, catalog, names_stage),
    }
}

/// How many tokens `EXPLAIN [USING format]` takes at the beginning; 0 if it is not there.
fn explain_words(tokens: &[&TokenWithSpan]) -> usize {
    let is = |i: usize, word: &str| {
        matches!(tokens.get(i).map(|t| &t.token),
            Some(Token::Word(Word { value, quote_style: None, .. })) if value.eq_ignore_ascii_case(word))
    };
    match (is(0, "EXPLAIN"), is(1, "USING")) {
        (true, true) => 3,
        (true, false) => 1,
        (false, _) => 0,
    }
}

/// A plan names what the statement would touch, and touches nothing.
fn explain(mut statement: Statement) -> Result<Statement, Opaque> {
    statement.class = Class::Explain;
    "EXPLAIN".clone_into(&mut statement.verb);
    for table in &mut statement.tables {
        table.access = Access::Read;
    }
    for container in &mut statement.containers {
        container.access = Access::Read;
    }
    statement.tables.sort();
    statement.tables.dedup();
    statement.moves_data = false;
    statement.outputs = Outputs::Known(Vec::new());
    Ok(statement)
}

fn parse(
    tokens: Vec<TokenWithSpan>,
    session: &SessionNames,
    catalog: &Catalog,
    names_stage: bool,
) -> Result<Statement, Opaque> {
    if holds_statements(&tokens) {
        return Err(Opaque::Script);
    }
    let mut parser = Parser::new(&SnowflakeDialect)
        .with_recursion_limit(PARSER_RECURSION_MAX)
        .with_tokens_with_locations(tokens);
    let parsed = parser.parse_statement().map_err(|error| syntax_error(&error))?;
    let next = parser.peek_token_ref();
    if next.token != Token::EOF {
        let at = next.span.start;
        return Err(Opaque::Syntax { line: at.line, column: at.column });
    }
    statement::read(&parsed, session, catalog, names_stage)
}

/// Whether the parser would read statements within the statement. It does so by recursion, with a large part of the
/// stack for each; and none of them is a statement that is judged.
fn holds_statements(tokens: &[TokenWithSpan]) -> bool {
    let mut significant = tokens.iter().map(|t| &t.token).filter(|t| !matches!(t, Token::Whitespace(_)));
    let last_is_text = matches!(
        significant.clone().next_back(),
        Some(Token::SingleQuotedString(_) | Token::DollarQuotedString(_))
    );
    let keyword = |token: Option<&Token>| match token {
        Some(Token::Word(Word { keyword, quote_style: None, .. })) => Some(*keyword),
        _ => None,
    };
    match keyword(significant.next()) {
        Some(
            Keyword::BEGIN
            | Keyword::CASE
            | Keyword::DECLARE
            | Keyword::DESC
            | Keyword::DESCRIBE
            | Keyword::EXPLAIN
            | Keyword::FOR
            | Keyword::IF
            | Keyword::PREPARE
            | Keyword::WHILE,
        ) => true,
        // The body of a routine is the last thing in it; where it is no text, it is a list of statements.
        Some(Keyword::CREATE | Keyword::ALTER) if !last_is_text => significant
            .map_while(|token| keyword(Some(token)))
            .any(|word| matches!(word, Keyword::PROCEDURE | Keyword::FUNCTION | Keyword::TRIGGER)),
        _ => false,
    }
}

/// Where the parser stopped. Its own message quotes the text, so only the place is taken from it.
pub(crate) fn syntax_error(error: &ParserError) -> Opaque {
    let message = match error {
        ParserError::RecursionLimitExceeded => return Opaque::TooDeep,
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let place = message.rsplit_once(" at Line: ").and_then(|(_, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((line.parse().ok()?, column.parse().ok()?))
    });
    place.map_or(Opaque::EndsEarly, |(line, column)| Opaque::Syntax { line, column })
}
