//! One statement, by the reader that knows most of it: our own for what is administered, the parser for queries and
//! changes of rows, and the survey for what neither knows.

use sqlparser::{
    dialect::SnowflakeDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan, Word},
};

use crate::{
    Access, Catalog, Class, Effect, Elsewhere, Group, Landing, Opaque, Outputs, Parse, SessionNames, Sources,
    Statement, TableUse, copy,
    cursor::Cursor,
    definition, depth, lex, mentions, plain, rewrite,
    script::{Role, Unit},
    statement,
    survey::{self, Place},
    upper::Upper,
};

/// The parser goes on with another stack when less than this is left of its own. It looks now and then, and between two
/// looks it takes more than it would leave by itself where nothing is optimized.
const STACK_LEFT_MIN: usize = 384 << 10;

/// How far the parser may recurse: a few of its functions for each level of nesting that the depth check lets through.
const PARSER_RECURSION_MAX: usize = 4 * depth::NESTING_MAX;

/// What is known of tables: from the catalog, and from what the statements before put into them.
pub(crate) type Known<'a> = (&'a Catalog, &'a [Landing]);

/// Reads a unit. `knows_text`: whether the text that it runs is read beside it.
pub(crate) fn unit(
    unit: &Unit,
    significant: &[&TokenWithSpan],
    names: &SessionNames,
    known: Known<'_>,
    knows_text: bool,
) -> Result<Statement, Opaque> {
    depth::check(significant)?;
    lex::refuse_hidden_end(&unit.tokens)?;
    let piped = match unit.role {
        Role::Block => return Ok(block(significant, names)),
        Role::Piped(count) => count,
        Role::Statement => 0,
    };
    let tokens = rewrite::rewrite(&unit.tokens, names, piped);
    let mut statement = if knows_text { immediate() } else { whole(tokens, significant, names, known)? };
    mentions::add(significant, names, &mut statement);
    if matches!(statement.class, Class::Put | Class::Get) {
        mentions::add_hidden_stage(&unit.tokens, names, &mut statement);
    }
    if piped > 0 {
        rewrite::forget_pipe(&mut statement);
    }
    if significant.iter().any(|t| t.token == Token::Assignment) && !crate::analyze::runs_text(statement.class)
    {
        statement.parse = Parse::Partial;
    }
    let looks_at_rows = statement.moves_data
        || !matches!(statement.class.group(), Group::Ddl | Group::Admin | Group::Session);
    if statement.parse == Parse::Full && !looks_at_rows {
        statement.decides_on = Sources::Nothing;
    }
    Ok(statement)
}

/// The expressions of a block: its statements are read by themselves.
fn block(significant: &[&TokenWithSpan], names: &SessionNames) -> Statement {
    let mut statement = plain::bare(Class::Script, &[], 0);
    "BEGIN".clone_into(&mut statement.verb);
    survey::survey(significant, Place::Rows, names, &mut statement);
    if !statement.tables.is_empty() || !statement.elsewhere.is_empty() {
        statement.parse = Parse::Partial;
    }
    statement.outputs = Outputs::Unknown("a block returns what it likes");
    tidy(&mut statement);
    statement
}

/// `EXECUTE IMMEDIATE` of a text that is read beside it.
fn immediate() -> Statement {
    let mut statement = plain::bare(Class::ExecuteImmediate, &[], 0);
    "EXECUTE IMMEDIATE".clone_into(&mut statement.verb);
    statement.outputs = Outputs::Unknown("it returns what its text returns");
    statement
}

fn whole(
    tokens: Vec<TokenWithSpan>,
    original: &[&TokenWithSpan],
    names: &SessionNames,
    known: Known<'_>,
) -> Result<Statement, Opaque> {
    let names_stage = lex::names_stage(&tokens);
    let significant = lex::significant(&tokens);
    let explain_words = explain_words(&significant);
    if explain_words > 0 {
        let start = tokens.iter().enumerate().filter(|(_, t)| !lex::is_space(&t.token)).nth(explain_words);
        let Some((start, _)) = start else { return Err(Opaque::EndsEarly) };
        let explained = tokens.get(start..).unwrap_or_default();
        if explain_words_of(explained) > 0 {
            return Err(Opaque::TooDeep);
        }
        let inner = lex::significant(explained);
        return Ok(explain(whole(explained.to_vec(), &inner, names, known)?));
    }
    if let Some(statement) = plain::read(&significant, names) {
        return Ok(statement);
    }
    let is_copy = Cursor::new(original).stands(&["COPY"]);
    match parse(tokens, names, known, names_stage) {
        Ok(mut statement) => {
            copy::unloads(original, &mut statement);
            Ok(statement)
        }
        Err(error @ (Opaque::Syntax { .. } | Opaque::EndsEarly | Opaque::Form(_) | Opaque::LongName)) => {
            // Constant names count as the names they are here, too.
            let tokens: Vec<TokenWithSpan> = original.iter().map(|token| (*token).clone()).collect();
            let tokens = rewrite::rewrite(&tokens, names, 0);
            let significant = lex::significant(&tokens);
            let copy = if is_copy { copy::read(&significant, names) } else { None };
            copy.or_else(|| partial(&significant, names)).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

fn explain_words_of(tokens: &[TokenWithSpan]) -> usize {
    explain_words(&lex::significant(tokens))
}

/// How many tokens `EXPLAIN [USING format]` takes at the beginning; 0 if it is not there.
fn explain_words(tokens: &[&TokenWithSpan]) -> usize {
    let at = Cursor::new(tokens);
    match (at.stands(&["EXPLAIN"]), at.stands(&["EXPLAIN", "USING"])) {
        (true, true) => 3,
        (true, false) => 1,
        (false, _) => 0,
    }
}

/// A plan names what the statement would touch, and touches nothing.
fn explain(mut statement: Statement) -> Statement {
    statement.class = Class::Explain;
    "EXPLAIN".clone_into(&mut statement.verb);
    for table in &mut statement.tables {
        table.access = Access::Read;
    }
    for container in &mut statement.containers {
        container.access = Access::Read;
    }
    for object in &mut statement.objects {
        object.access = Access::Read;
    }
    statement.moves_data = false;
    statement.outputs = Outputs::Known(Vec::new());
    tidy(&mut statement);
    statement
}

fn parse(
    tokens: Vec<TokenWithSpan>,
    names: &SessionNames,
    known: Known<'_>,
    names_stage: bool,
) -> Result<Statement, Opaque> {
    if holds_statements(&tokens) {
        return Err(Opaque::Form("statement".to_owned()));
    }
    recursive::set_minimum_stack_size(STACK_LEFT_MIN);
    let mut parser = Parser::new(&SnowflakeDialect)
        .with_recursion_limit(PARSER_RECURSION_MAX)
        .with_tokens_with_locations(tokens);
    let parsed = parser.parse_statement().map_err(|error| syntax_error(&error))?;
    let next = parser.peek_token_ref();
    if next.token != Token::EOF {
        let at = next.span.start;
        return Err(Opaque::Syntax { line: at.line, column: at.column });
    }
    statement::read(&parsed, names, known.0, known.1, names_stage)
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

/// A statement whose kind is known by its first words, and whose rest is surveyed.
fn partial(significant: &[&TokenWithSpan], names: &SessionNames) -> Option<Statement> {
    if let Some(statement) = definition::read(significant, names) {
        return Some(statement);
    }
    // A character that is no part of SQL may be one of a name.
    if significant.iter().any(|t| matches!(t.token, Token::Char(_))) {
        return None;
    }
    let (class, verb) = class(significant)?;
    if class == Class::Select && changes_something(significant) {
        return None;
    }
    let mut statement = plain::bare(class, &[], 0);
    verb.clone_into(&mut statement.verb);
    statement.parse = Parse::Partial;
    survey::survey(significant, Place::Rows, names, &mut statement);
    match class {
        Class::Select => statement.outputs = Outputs::Unknown("it was not understood in full"),
        Class::Call => {
            let mut at = Cursor::new(significant);
            at.pass(1);
            let name = at.name(names).and_then(|parts| parts.last().cloned().flatten());
            statement.functions.extend(name.map(|name| name.to_string()));
            statement.outputs = Outputs::Unknown("a procedure returns what it likes");
        }
        Class::Set => {
            if !statement.tables.is_empty() || significant.len() > 4 {
                statement.elsewhere.push(Elsewhere::VariableHoldsData);
            }
        }
        // One column may be copied into another.
        Class::Update | Class::Merge => {
            let written: Vec<_> =
                statement.tables.iter().filter(|t| t.access == Access::Write).cloned().collect();
            statement
                .tables
                .extend(written.into_iter().map(|used| TableUse { access: Access::Read, ..used }));
            statement.moves_data = true;
        }
        _ => statement.moves_data = true,
    }
    tidy(&mut statement);
    if matches!(class, Class::Insert | Class::Update | Class::Merge) {
        land(&mut statement, Access::Write);
    }
    Some(statement)
}

/// Which columns a statement fills that was not understood in full, and with what: it may be any, with anything.
pub(crate) fn land(statement: &mut Statement, access: Access) {
    let filled = statement.tables.iter().filter(|used| used.access == access);
    let why = "it was not understood in full";
    statement.landings = filled.map(|used| Landing::unknown(Some(used.table.clone()), why)).collect();
    // It is put somewhere, and nobody can say where.
    if statement.landings.is_empty() && !statement.elsewhere.is_empty() {
        statement.landings.push(Landing::unknown(None, why));
    }
}

/// Whether a query holds the verb of a statement that changes something. Snowflake takes none; what it means is not for us
/// to say. `INSERT(…)` is a function.
fn changes_something(significant: &[&TokenWithSpan]) -> bool {
    let mut at = Cursor::new(significant);
    while let Some(token) = at.next() {
        let word = Upper::of(crate::cursor::word(token).unwrap_or_default());
        let is_call = at.peek() == Some(&Token::LParen);
        match word.as_str() {
            "INSERT" | "TRUNCATE" if is_call => {}
            "ALTER" | "CREATE" | "DELETE" | "DROP" | "GRANT" | "INSERT" | "INTO" | "REVOKE" | "UPDATE" => {
                return true;
            }
            _ => {}
        }
    }
    false
}

/// The class of a query or of a change of rows.
fn class(significant: &[&TokenWithSpan]) -> Option<(Class, &'static str)> {
    let mut at = Cursor::new(significant);
    while at.take_token(&Token::LParen) {}
    if at.take(&["WITH"]) {
        let mut depth = 0_usize;
        while let Some(token) = at.peek() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ if depth == 0 && at.position() > 1 && by_verb(&at.word()).is_some() => break,
                _ => {}
            }
            at.pass(1);
        }
        return by_verb(&at.word()).or(Some((Class::Select, "SELECT")));
    }
    by_verb(&at.word())
}

pub(crate) fn by_verb(word: &str) -> Option<(Class, &'static str)> {
    Some(match word {
        "SELECT" | "VALUES" => (Class::Select, "SELECT"),
        "INSERT" => (Class::Insert, "INSERT"),
        "UPDATE" => (Class::Update, "UPDATE"),
        "DELETE" => (Class::Delete, "DELETE"),
        "MERGE" => (Class::Merge, "MERGE"),
        "TRUNCATE" => (Class::Truncate, "TRUNCATE"),
        "CALL" => (Class::Call, "CALL"),
        "SET" => (Class::Set, "SET"),
        _ => return None,
    })
}

/// Each thing once, in order.
fn tidy(statement: &mut Statement) {
    statement.tables.sort();
    statement.tables.dedup();
    statement.functions.sort();
    statement.functions.dedup();
    statement.elsewhere.sort();
    statement.elsewhere.dedup();
}

/// What cannot be known of a statement that runs computed text.
pub(crate) fn dynamic() -> Statement {
    let mut statement = plain::bare(Class::Dynamic, &[], 0);
    "EXECUTE IMMEDIATE".clone_into(&mut statement.verb);
    statement.elsewhere.push(Elsewhere::DynamicSql);
    statement.effects.insert(Effect::Dynamic);
    statement.outputs = Outputs::Unknown("its text is computed");
    statement
}
