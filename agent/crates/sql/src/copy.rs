//! Our own reader for `COPY`: what goes where is told by its first words, and its options name no tables.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{
    Access, Class, Effect, Elsewhere, Outputs, Parse, SessionNames, Statement,
    cursor::Cursor,
    plain::{self, uses},
    survey::{self, Place},
};

/// What a copy comes from or goes to.
enum End {
    Table(Vec<model::TableName>),
    /// Files of a stage, or at a URL.
    Files {
        is_url: bool,
    },
    Query,
}

/// Reads the statement if it is a `COPY` that is understood; `None` leaves it to the parser.
pub(crate) fn read(tokens: &[&TokenWithSpan], names: &SessionNames) -> Option<Statement> {
    let mut at = Cursor::new(tokens);
    if !at.take(&["COPY"]) {
        return None;
    }
    if at.take(&["FILES", "INTO"]) {
        let mut statement = plain::bare(Class::CopyFiles, &["COPY".to_owned(), "FILES".to_owned()], 2);
        statement.effects.insert(Effect::UnloadStage);
        survey_rest(at, names, &mut statement);
        // The stages are what it is about.
        statement.elsewhere.retain(|elsewhere| *elsewhere != Elsewhere::Stage);
        return Some(statement);
    }
    if !at.take(&["INTO"]) {
        return None;
    }
    let into = end(&mut at, names)?;
    let mut statement = match &into {
        End::Table(tables) => {
            let mut statement = plain::bare(Class::CopyLoad, &["COPY INTO".to_owned()], 1);
            statement.tables.extend(tables.first().map(|table| crate::TableUse {
                table: table.clone(),
                access: Access::Write,
                fallback: false,
            }));
            statement
        }
        End::Files { is_url } => {
            let mut statement = plain::bare(Class::CopyUnload, &["COPY INTO location".to_owned()], 1);
            statement.effects.insert(if *is_url { Effect::UnloadUrl } else { Effect::UnloadStage });
            statement.moves_data = true;
            statement
        }
        End::Query => return None,
    };
    let is_load = statement.class == Class::CopyLoad;
    if at.peek() == Some(&Token::LParen) {
        survey::skip_parentheses(&mut at);
    }
    while !at.is_at_end() && !at.stands(&["FROM"]) {
        at.pass(1);
    }
    let _from = at.take(&["FROM"]);
    match end(&mut at, names) {
        Some(End::Table(tables)) => statement.tables.extend(uses(tables, Access::Read)),
        Some(End::Files { .. }) | None => {}
        Some(End::Query) => query(at, names, &mut statement)?,
    }
    statement.moves_data |= statement.tables.iter().any(|used| used.access == Access::Read);
    if is_load {
        crate::read::land(&mut statement, Access::Write);
    } else {
        statement.landings.push(crate::Landing::unknown(None, "it was not understood in full"));
    }
    validation(at, &mut statement);
    statement.tables.sort();
    statement.tables.dedup();
    Some(statement)
}

/// Where an unload goes, of one that the parser read.
pub(crate) fn unloads(tokens: &[&TokenWithSpan], statement: &mut Statement) {
    if statement.class == Class::CopyUnload {
        let is_stage = match tokens.get(2).map(|t| &t.token) {
            Some(Token::SingleQuotedString(text)) => text.trim_start().starts_with('@'),
            _ => true,
        };
        statement.effects.insert(if is_stage { Effect::UnloadStage } else { Effect::UnloadUrl });
    }
}

/// A query in parentheses; the parser reads what is no transformation of staged files.
fn query(at: Cursor<'_>, names: &SessionNames, statement: &mut Statement) -> Option<()> {
    let mut end = at;
    survey::skip_parentheses(&mut end);
    let count = end.position() - at.position();
    survey::survey(at.rest().get(..count)?, Place::Rows, names, statement);
    let is_load = statement.class == Class::CopyLoad;
    if !is_load || !statement.tables.iter().all(|used| used.access == Access::Write) {
        statement.parse = Parse::Partial;
    }
    // What a load reads are the files it names.
    if is_load {
        statement.elsewhere.retain(|elsewhere| *elsewhere != Elsewhere::Stage);
    }
    statement.elsewhere.sort();
    statement.elsewhere.dedup();
    Some(())
}

/// Validation returns rows of the files, or what they are like.
fn validation(mut at: Cursor<'_>, statement: &mut Statement) {
    while let Some(token) = at.next() {
        let is_it = matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case("VALIDATION_MODE"));
        if is_it {
            statement.elsewhere.push(Elsewhere::Stage);
            statement.outputs = Outputs::Unknown("it returns rows of staged files");
            return;
        }
    }
}

fn survey_rest(at: Cursor<'_>, names: &SessionNames, statement: &mut Statement) {
    survey::survey(at.rest(), Place::Rows, names, statement);
}

/// Passes a table or a location.
fn end(at: &mut Cursor<'_>, names: &SessionNames) -> Option<End> {
    match at.peek()? {
        Token::AtSign => {
            skip_path(at);
            Some(End::Files { is_url: false })
        }
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => {
            let is_url = !text.trim_start().starts_with('@');
            at.pass(1);
            Some(End::Files { is_url })
        }
        Token::LParen => Some(End::Query),
        Token::Word(_) => {
            let parts = at.name(names)?;
            names.tables_of(&parts).map(End::Table)
        }
        _ => None,
    }
}

/// `@~/a/b.csv`, `@%t`, `@db.s.stage/x`: all up to a word or parenthesis that cannot be a part of it.
fn skip_path(at: &mut Cursor<'_>) {
    at.pass(1);
    let mut expects_word = true;
    while let Some(token) = at.peek() {
        match token {
            Token::Word(_) | Token::Number(..) if expects_word => expects_word = false,
            Token::Div | Token::Period | Token::Minus | Token::Mod | Token::Tilde | Token::Eq => {
                expects_word = true
            }
            _ => return,
        }
        at.pass(1);
    }
}
