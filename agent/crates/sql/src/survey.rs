//! The reading of what the parser does not know: token by token, naming every identifier that can be a table, and every
//! function. It knows where tables can stand, by the words that Snowflake reserves and nobody can use as a name. In
//! doubt a name is listed.
//! Source: Snowflake documentation, "Reserved & limited keywords".

use sqlparser::{
    ast::{self, ObjectName},
    tokenizer::{Token, TokenWithSpan},
};

use crate::{
    Access, Elsewhere, SessionNames, Statement,
    cursor::{self, Cursor, Parts},
    functions::{self, Reach},
    plain::uses,
};

/// What a list of tokens means beside its tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A query, or rows that are changed.
    Rows,
    /// A definition: `LIKE`, `CLONE` and `ON` are followed by objects.
    Definition,
}

/// Lists what the tokens name.
pub(crate) fn survey(tokens: &[&TokenWithSpan], place: Place, names: &SessionNames, into: &mut Statement) {
    let mut walk = Walk {
        at: Cursor::new(tokens),
        names,
        place,
        into,
        outer: Vec::new(),
        level: Level::default(),
        ctes: Vec::new(),
        is_delete: false,
    };
    walk.run();
}

/// Most names of one `WITH` that are followed; more are listed as tables.
const CTES_FOLLOWED_MAX: usize = 64;

/// What is known between two parentheses.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Whether a comma is followed by a table.
    in_from: bool,
    /// Whether a table can stand here, and what is done to it.
    expects: Option<Access>,
    /// Whether a name that is followed by `(` can only be a table: `INSERT INTO t (…)`.
    no_function: bool,
    /// How many CTEs were known when it began.
    ctes: usize,
}

struct Walk<'a, 't> {
    at: Cursor<'t>,
    names: &'a SessionNames,
    place: Place,
    into: &'a mut Statement,
    outer: Vec<Level>,
    level: Level,
    ctes: Vec<model::Ident>,
    is_delete: bool,
}

impl Walk<'_, '_> {
    fn run(&mut self) {
        while let Some(token) = self.at.peek() {
            match token {
                Token::LParen => self.open(),
                Token::RParen => self.close(),
                Token::Comma => {
                    self.level.expects = self.level.in_from.then_some(Access::Read);
                    self.level.no_function = false;
                    self.at.pass(1);
                }
                Token::Word(word) if word.quote_style.is_none() && self.keyword() => {}
                Token::Word(_) => self.name(),
                Token::SingleQuotedString(_) | Token::DollarQuotedString(_) | Token::AtSign
                    if self.level.expects.is_some() =>
                {
                    self.into.elsewhere.push(Elsewhere::Stage);
                    self.level.expects = None;
                    self.at.pass(1);
                }
                // The expressions of a block have nothing to do with each other.
                Token::SemiColon => {
                    self.outer.clear();
                    self.level = Level::default();
                    self.ctes.clear();
                    self.at.pass(1);
                }
                Token::Placeholder(_) | Token::Colon if self.level.expects.is_some() => {
                    self.into.elsewhere.push(Elsewhere::Identifier);
                    self.level.expects = None;
                    self.at.pass(1);
                }
                // A table can stand here, and what stands is no name.
                _ => {
                    if self.level.expects.take().is_some() {
                        self.into.elsewhere.push(Elsewhere::Identifier);
                    }
                    self.at.pass(1);
                }
            }
        }
    }

    fn open(&mut self) {
        // A parenthesis where a table can stand holds tables: `FROM (t JOIN u)`, `TABLE(t)`.
        let is_table = self.level.expects.is_some();
        let inner = Level {
            in_from: is_table,
            expects: self.level.expects,
            no_function: false,
            ctes: self.ctes.len(),
        };
        self.level.expects = None;
        self.outer.push(std::mem::replace(&mut self.level, inner));
        self.at.pass(1);
    }

    fn close(&mut self) {
        self.ctes.truncate(self.level.ctes);
        self.level = self.outer.pop().unwrap_or_default();
        self.at.pass(1);
    }

    /// Whether the unquoted word here is one that leads to tables, or away from them; then it is passed.
    fn keyword(&mut self) -> bool {
        let word = self.at.word();
        let is_call = |next: Option<&Token>| next == Some(&Token::LParen);
        match word.as_str() {
            "DELETE" => self.is_delete = true,
            "FROM" => {
                let access = if std::mem::take(&mut self.is_delete) { Access::Write } else { Access::Read };
                self.expect(access, access == Access::Read);
            }
            "JOIN" => self.expect(Access::Read, true),
            // `USING (a, b)` of a join names columns; that of MERGE and DELETE a table.
            "USING" if is_call(self.at.ahead(1)) && !self.uses_tables() => self.leave(),
            "USING" => self.expect(Access::Read, true),
            "INTO" | "UPDATE" => self.expect_target(),
            "OVERWRITE" if self.follows("INSERT") => self.expect_target(),
            "TRUNCATE" if self.at.position() == 0 => {
                self.expect_target();
                if self.at.word_ahead(1) == "MATERIALIZED" && self.at.word_ahead(2) == "VIEW" {
                    self.at.pass(2);
                }
            }
            "TABLE" if self.place == Place::Definition && self.follows("RETURNS") => {
                self.at.pass(1);
                skip_parentheses(&mut self.at);
                return true;
            }
            // `RETURN TABLE(result)`: a variable.
            "TABLE" if self.into.class == crate::Class::Script && self.begins_expression() => {
                self.at.pass(1);
                skip_parentheses(&mut self.at);
                return true;
            }
            "SEMANTIC_VIEW" if self.level.expects.is_some() && is_call(self.at.ahead(1)) => {
                self.level.in_from = false;
            }
            "TABLE" if self.level.expects.is_none() => {
                self.expect(Access::Read, false);
                self.level.no_function = !is_call(self.at.ahead(1));
            }
            "VIEW" if self.place == Place::Definition => {
                self.expect(Access::Read, false);
                self.level.no_function = true;
            }
            "IF" if ["NOT", "EXISTS"].contains(&self.at.word_ahead(1).as_str()) => {}
            "OF" if self.follows("ARCHIVE") => self.expect(Access::Read, false),
            "CLONE" | "LIKE" | "ON" | "REFERENCES" | "AFTER" if self.place == Place::Definition => {
                self.expect(Access::Read, word == "AFTER");
            }
            "REFERENCES" => self.expect(Access::Read, false),
            // `FROM VALUES (1), t`: rows where a table can stand.
            "VALUES" if self.level.expects.is_some() => self.level.expects = None,
            "SELECT" | "WHERE" | "GROUP" | "HAVING" | "ORDER" | "QUALIFY" | "SET" | "VALUES" | "WHEN"
            | "ON" | "CONNECT" | "START" => self.leave(),
            "WITH" => {
                self.at.pass(1);
                let _is_recursive = self.at.take(&["RECURSIVE"]);
                self.leave();
                self.ctes_from_here();
                return true;
            }
            "AS" | "BY" | "NULL" | "RETURNS" => self.level.expects = None,
            _ if is_reserved(&word) => {}
            _ => return false,
        }
        self.at.pass(1);
        true
    }

    fn uses_tables(&self) -> bool {
        matches!(self.into.class, crate::Class::Merge | crate::Class::Delete)
    }

    fn expect(&mut self, access: Access, in_from: bool) {
        self.level.expects = Some(access);
        self.level.in_from = in_from;
        self.level.no_function = false;
    }

    fn follows(&self, word: &str) -> bool {
        self.at.behind().and_then(cursor::word).is_some_and(|before| before.eq_ignore_ascii_case(word))
    }

    fn begins_expression(&self) -> bool {
        matches!(self.at.behind(), None | Some(Token::SemiColon)) && self.at.ahead(1) == Some(&Token::LParen)
    }

    fn expect_target(&mut self) {
        self.expect(Access::Write, false);
        self.level.no_function = true;
    }

    fn leave(&mut self) {
        // What should begin a clause and is followed by a comma is somebody's alias.
        if self.at.ahead(1) == Some(&Token::Comma) {
            return;
        }
        self.level.expects = None;
        self.level.in_from = false;
    }

    /// The names that a `WITH` defines at this level, found by looking ahead. They hide tables only if each is named after
    /// its definition alone: one that is named before, or by itself, may be a table there.
    fn ctes_from_here(&mut self) {
        let mut at = self.at;
        let mut found: Vec<(model::Ident, Cursor<'_>, Cursor<'_>)> = Vec::new();
        while let Some([Some(name)]) = at.name(self.names).as_deref() {
            let start = at;
            if at.peek() == Some(&Token::LParen) {
                skip_parentheses(&mut at);
            }
            if !at.take(&["AS"]) || at.peek() != Some(&Token::LParen) || found.len() >= CTES_FOLLOWED_MAX {
                return;
            }
            skip_parentheses(&mut at);
            found.push((name.clone(), start, at));
            if !at.take_token(&Token::Comma) {
                break;
            }
        }
        for (position, (_, start, end)) in found.iter().enumerate() {
            let later = found.get(position..).unwrap_or_default();
            let is_later = |word: &sqlparser::tokenizer::Word| {
                cursor::ident(word, self.names)
                    .is_some_and(|ident| later.iter().any(|(name, ..)| *name == ident))
            };
            if tokens_between(*start, *end).any(|token| matches!(token, Token::Word(word) if is_later(word)))
            {
                return;
            }
        }
        self.ctes.extend(found.into_iter().map(|(name, ..)| name));
    }

    fn name(&mut self) {
        let start = self.at;
        if let Some(computed) = self.computed_name() {
            self.into.elsewhere.push(computed);
            self.level.expects = None;
            return;
        }
        let Some(parts) = self.at.name(self.names) else {
            if self.level.expects.take().is_some() {
                self.into.elsewhere.push(Elsewhere::Identifier);
            }
            self.at.pass(1);
            return;
        };
        let is_call = self.at.peek() == Some(&Token::LParen);
        match self.level.expects.take() {
            Some(access) if is_call && !self.level.no_function => self.table_function(start, &parts, access),
            Some(access) => self.table(&parts, access),
            None if is_call => self.function(start),
            None => {}
        }
    }

    /// `IDENTIFIER(…)`: what is constant was replaced before.
    fn computed_name(&mut self) -> Option<Elsewhere> {
        (self.at.stands(&["IDENTIFIER"]) && self.at.ahead(1) == Some(&Token::LParen)).then(|| {
            self.at.pass(1);
            skip_parentheses(&mut self.at);
            Elsewhere::Identifier
        })
    }

    fn table(&mut self, parts: &Parts, access: Access) {
        if let [Some(name)] = parts.as_slice()
            && self.ctes.contains(name)
            && access == Access::Read
        {
            return;
        }
        let tables = match access {
            Access::Read => self.names.tables_of(parts),
            _ => self.names.table_of(parts).map(|table| vec![table]),
        };
        if matches!(self.at.peek(), Some(Token::Number(..))) {
            self.into.elsewhere.push(Elsewhere::Identifier);
        }
        match tables {
            Some(tables) => self.into.tables.extend(uses(tables, access)),
            // More parts than a table has: a path into a stage, a column. Nobody can say.
            None => self.into.elsewhere.push(Elsewhere::Identifier),
        }
    }

    fn table_function(&mut self, start: Cursor<'_>, parts: &Parts, access: Access) {
        match functions::table_reach(&object_name(start, self.at)) {
            Reach::Arguments => {}
            Reach::Unknown(function) => self.into.functions.push(function),
            Reach::Elsewhere(elsewhere) => {
                if matches!(elsewhere, Elsewhere::TableFunction(_)) {
                    // Some readers take `t (…)` for a table with hints.
                    self.table(parts, access);
                }
                self.into.elsewhere.push(elsewhere);
            }
        }
    }

    fn function(&mut self, start: Cursor<'_>) {
        if is_no_function(&start.word()) {
            return;
        }
        match functions::reach(&object_name(start, self.at)) {
            Reach::Arguments => {}
            Reach::Unknown(function) => self.into.functions.push(function),
            Reach::Elsewhere(elsewhere) => self.into.elsewhere.push(elsewhere),
        }
    }
}

/// Words before a parenthesis that call nothing.
fn is_no_function(word: &str) -> bool {
    matches!(
        word,
        "OVER"
            | "PROCEDURE"
            | "TABLES"
            | "FILES"
            | "WITHIN"
            | "PARTITION"
            | "FILTER"
            | "PIVOT"
            | "UNPIVOT"
            | "MATCH_RECOGNIZE"
            | "PATTERN"
            | "MEASURES"
            | "DEFINE"
            | "AT"
            | "BEFORE"
            | "CHANGES"
            | "END"
            | "KEY"
            | "RANGE"
            | "ROWS"
            | "EXCLUDE"
            | "RENAME"
            | "REPLACE"
            | "VARCHAR"
            | "NUMBER"
            | "DECIMAL"
            | "NUMERIC"
            | "CHAR"
            | "BINARY"
            | "TIMESTAMP_NTZ"
            | "TIMESTAMP_LTZ"
            | "TIMESTAMP_TZ"
            | "TIMESTAMP"
            | "TIME"
            | "ARRAY"
            | "OBJECT"
            | "MAP"
            | "VECTOR"
            | "STRING"
            | "TEXT"
            | "IF"
            | "SEED"
            | "ASOF"
            | "MATCH_CONDITION"
            | "FILE_FORMAT"
            | "EXCEPT"
    )
}

/// The name between two places, as the parser would give it.
fn object_name(start: Cursor<'_>, end: Cursor<'_>) -> ObjectName {
    let parts = tokens_between(start, end).filter_map(|token| match token {
        Token::Word(word) => Some(match word.quote_style {
            Some(quote) => ast::Ident::with_quote(quote, &word.value),
            None => ast::Ident::new(&word.value),
        }),
        _ => None,
    });
    ObjectName::from(parts.collect::<Vec<_>>())
}

fn tokens_between<'t>(start: Cursor<'t>, end: Cursor<'t>) -> impl Iterator<Item = &'t Token> {
    let count = end.position().saturating_sub(start.position());
    start.rest().iter().take(count).map(|t| &t.token)
}

/// Passes a parenthesis and all it holds.
pub(crate) fn skip_parentheses(at: &mut Cursor<'_>) {
    let mut depth = 0_usize;
    while let Some(token) = at.next() {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// Whether a word cannot be a name unless it is quoted.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word).is_ok()
}

/// Sorted. Words that are reserved only as names of columns, or only in expressions, are left out: tables can have them.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "ALL", "ALTER", "AND", "ANY", "AS", "BETWEEN", "BY", "CHECK", "COLUMN", "CONNECT", "CREATE", "CROSS", "CURRENT",
    "DELETE", "DISTINCT", "DROP", "ELSE", "EXISTS", "FOLLOWING", "FOR", "FROM", "FULL", "GRANT", "GROUP", "HAVING",
    "ILIKE", "IN", "INCREMENT", "INNER", "INSERT", "INTERSECT", "INTO", "IS", "JOIN", "LATERAL", "LEFT", "LIKE",
    "MINUS", "NATURAL", "NOT", "NULL", "OF", "ON", "OR", "ORDER", "QUALIFY", "REGEXP", "REVOKE", "RIGHT", "RLIKE",
    "ROW", "ROWS", "SAMPLE", "SELECT", "SET", "SOME", "START", "TABLE", "TABLESAMPLE", "THEN", "TO", "TRIGGER",
    "UNION", "UNIQUE", "UPDATE", "USING", "VALUES", "WHEN", "WHENEVER", "WHERE", "WITH",
];
