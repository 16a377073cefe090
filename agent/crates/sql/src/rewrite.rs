//! What Snowflake means and the parser does not know, in words that it knows. Only what means the same to whoever asks
//! which objects and columns a statement touches; a rule that is not sure leaves the tokens as they are.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Effect, Outputs, SessionNames, Statement, cursor, lex, literal, upper::Upper};

/// Stands for the result of an earlier statement of a chain. No object has that name: it is 300 characters long.
fn pipe_name() -> String {
    "|".repeat(300)
}

/// The tokens of a statement as the parser shall read them. `piped`: how many results of earlier statements it can read.
pub(crate) fn rewrite(tokens: &[TokenWithSpan], names: &SessionNames, piped: usize) -> Vec<TokenWithSpan> {
    let mut rewriter = Rewriter {
        tokens,
        at: 0,
        out: Vec::with_capacity(tokens.len()),
        names,
        piped,
        pattern: None,
        braces: 0,
        in_head: false,
        fills: false,
        in_merge: false,
        closes: None,
    };
    rewriter.in_head = rewriter.word(0).is("CREATE");
    rewriter.fills = rewriter.word(0).is("INSERT");
    rewriter.in_merge = rewriter.word(0).is("MERGE");
    while rewriter.at < tokens.len() {
        if !rewriter.rule() {
            rewriter.keep(1);
        }
    }
    rewriter.out
}

/// Takes out what [`rewrite`] put in the place of earlier results, and says that they are read.
pub(crate) fn forget_pipe(statement: &mut Statement) {
    let name = pipe_name();
    let before = statement.tables.len();
    statement.tables.retain(|used| used.table.name.as_str() != name);
    if statement.tables.len() < before {
        statement.effects.insert(Effect::ResultScan);
    }
    statement.outputs = Outputs::Unknown("it may show an earlier result");
}

struct Rewriter<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    out: Vec<TokenWithSpan>,
    names: &'a SessionNames,
    piped: usize,
    /// Within `MATCH_RECOGNIZE (…)`: how many parentheses are open in it.
    pattern: Option<usize>,
    /// How many `{` became a call.
    braces: usize,
    /// Before the `AS` of a `CREATE`.
    in_head: bool,
    /// Before the rows of an `INSERT`.
    fills: bool,
    in_merge: bool,
    /// Where a parenthesis closes whose beginning was left out.
    closes: Option<usize>,
}

impl Rewriter<'_> {
    /// The place of the significant token so many after this one.
    fn place(&self, by: usize) -> Option<usize> {
        let significant =
            self.tokens.iter().enumerate().skip(self.at).filter(|(_, t)| !lex::is_space(&t.token));
        significant.map(|(at, _)| at).nth(by)
    }

    fn ahead(&self, by: usize) -> Option<&Token> {
        self.place(by).and_then(|at| self.tokens.get(at)).map(|t| &t.token)
    }

    fn word(&self, by: usize) -> Keyed<'_> {
        Keyed(self.ahead(by).and_then(cursor::word).unwrap_or_default())
    }

    fn behind(&self) -> Option<&Token> {
        self.out.iter().rev().map(|t| &t.token).find(|token| !lex::is_space(token))
    }

    fn word_behind(&self) -> Keyed<'_> {
        Keyed(self.behind().and_then(cursor::word).unwrap_or_default())
    }

    fn keep(&mut self, count: usize) {
        self.out.extend(self.tokens.iter().skip(self.at).take(count).cloned());
        self.at += count;
    }

    /// Leaves out tokens up to and with the significant one so many after this one.
    fn drop(&mut self, count: usize) {
        self.at = self.place(count.saturating_sub(1)).map_or(self.tokens.len(), |at| at + 1);
    }

    fn put(&mut self, token: Token) {
        let span = self.tokens.get(self.at).map(|t| t.span).unwrap_or_else(sqlparser::tokenizer::Span::empty);
        self.out.push(TokenWithSpan::new(token, span));
    }

    /// Applies a rule here; false if none fits.
    fn rule(&mut self) -> bool {
        let tokens = self.tokens;
        let Some(token) = tokens.get(self.at).map(|t| &t.token) else { return false };
        if self.pattern.is_some() && self.in_pattern(token) {
            return true;
        }
        match token {
            Token::Word(word) if word.quote_style.is_none() => self.word_rule(&Upper::of(&word.value)),
            Token::LParen if self.fills => self.rows_in_parentheses(),
            Token::RParen if self.closes == Some(self.at) => {
                self.drop(1);
                true
            }
            Token::LBrace => self.brace(),
            Token::RBrace if self.braces > 0 => {
                self.braces -= 1;
                self.put(Token::RParen);
                self.drop(1);
                true
            }
            // `model!method(…)`: a call of something that is not Snowflake's own.
            Token::ExclamationMark if matches!(self.behind(), Some(Token::Word(_))) => {
                self.put(Token::Period);
                self.drop(1);
                true
            }
            Token::Placeholder(text) => self.pipe(text),
            _ => false,
        }
    }

    fn word_rule(&mut self, word: &str) -> bool {
        if self.in_head && self.in_head_rule(word) {
            return true;
        }
        self.fills &= !matches!(word, "SELECT" | "VALUES" | "WITH");
        match word {
            "IDENTIFIER" | "TABLE" => self.constant_name(),
            // What an array holds says nothing of columns.
            "ARRAY" if self.ahead(1) == Some(&Token::LParen) && self.follows_cast() => {
                self.keep(1);
                self.drop_parentheses();
                true
            }
            "NVARCHAR" | "VARCHAR"
                if self.ahead(1) == Some(&Token::LParen) && self.ahead(2) == Some(&Token::RParen) =>
            {
                self.keep(1);
                self.drop(2);
                true
            }
            // `MERGE`: `UPDATE ALL BY NAME` is what others write as `UPDATE SET *`.
            "ALL" if self.word(1).is("BY") && self.word(2).is("NAME") && self.in_merge => {
                if self.word_behind().is("UPDATE") {
                    self.put(keyword("SET"));
                }
                self.put(Token::Mul);
                self.drop(3);
                true
            }
            "DIRECTED" if self.word(1).is("JOIN") => {
                self.drop(1);
                true
            }
            "MATCH_RECOGNIZE" if self.ahead(1) == Some(&Token::LParen) => {
                self.pattern = Some(0);
                false
            }
            "DATE_PART" if self.ahead(1) == Some(&Token::LParen) && self.word(3).is("FROM") => {
                self.put(keyword("EXTRACT"));
                self.drop(1);
                true
            }
            // `NTH_VALUE(x, 2) FROM LAST IGNORE NULLS OVER (…)`.
            "FROM"
                if self.behind() == Some(&Token::RParen)
                    && (self.word(1).is("FIRST") || self.word(1).is("LAST"))
                    && ["IGNORE", "RESPECT", "OVER"].iter().any(|next| self.word(2).is(next)) =>
            {
                self.drop(2);
                true
            }
            "WITH" if self.word(2).is("TIME") && self.word(3).is("ZONE") && self.word(1).is("LOCAL") => {
                self.drop(4);
                true
            }
            "VARYING" if ["NCHAR", "CHAR", "NATIONAL"].iter().any(|before| self.word_behind().is(before)) => {
                self.drop(1);
                true
            }
            "RENAME" | "ADD" if self.behind() == Some(&Token::RParen) && self.word(1).is("FIELDS") => {
                self.drop(2);
                true
            }
            // In a block: `SELECT a INTO :x FROM t` gives values to variables.
            "INTO" if matches!(self.ahead(1), Some(Token::Placeholder(_) | Token::Colon)) => {
                self.drop_into_variables()
            }
            _ => false,
        }
    }

    /// Clauses of `CREATE TABLE` and `CREATE VIEW` that name no table: policies and tags are noted elsewhere.
    fn in_head_rule(&mut self, word: &str) -> bool {
        let with = usize::from(word == "WITH");
        if word == "AS" {
            self.in_head = false;
            return false;
        }
        if self.word(with).is("ROW") && self.word(with + 1).is("ACCESS") && self.word(with + 2).is("POLICY") {
            let on = (with + 4..with + 10).find(|by| self.word(*by).is("ON"));
            let Some(on) = on.filter(|on| self.ahead(on + 1) == Some(&Token::LParen)) else { return false };
            self.drop(on + 1);
            self.drop_parentheses();
            return true;
        }
        if self.word(with).is("TAG") && self.ahead(with + 1) == Some(&Token::LParen) {
            self.drop(with + 1);
            self.drop_parentheses();
            return true;
        }
        match word {
            "CHANGE_TRACKING" if self.ahead(1) == Some(&Token::Eq) => {
                self.drop(3);
                true
            }
            "RELY" | "NORELY" if !matches!(self.behind(), Some(Token::LParen | Token::Comma)) => {
                self.drop(1);
                true
            }
            _ => false,
        }
    }

    fn follows_cast(&self) -> bool {
        self.behind() == Some(&Token::DoubleColon) || self.word_behind().is("AS")
    }

    /// Leaves out a parenthesis and all it holds.
    fn drop_parentheses(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && !lex::is_space(&token.token) {
                return;
            }
        }
    }

    /// `INSERT INTO t (WITH … SELECT …)`: the parser takes the parenthesis for a list of columns.
    fn rows_in_parentheses(&mut self) -> bool {
        if !self.word(1).is("WITH") {
            return false;
        }
        let mut end = Self { out: Vec::new(), ..*self };
        end.drop_parentheses();
        self.closes = end.at.checked_sub(1);
        self.drop(1);
        true
    }

    /// `IDENTIFIER('db.s.t')`, `IDENTIFIER($v)`, `TABLE('t')`: a name that is known.
    fn constant_name(&mut self) -> bool {
        if self.ahead(1) != Some(&Token::LParen) || self.ahead(3) != Some(&Token::RParen) {
            return false;
        }
        let text = match self.ahead(2) {
            Some(Token::Placeholder(variable)) => {
                let name = variable.strip_prefix('$').map(model::Ident::unquoted);
                name.and_then(|name| self.names.variables.get(&name).cloned())
            }
            Some(token) => literal::content(token),
            None => None,
        };
        let Some(name) = text.and_then(|text| name_tokens(&text)) else { return false };
        for token in name {
            self.put(token);
        }
        self.drop(4);
        true
    }

    /// `FROM $1` in a chain: the result of an earlier statement of it.
    fn pipe(&mut self, text: &str) -> bool {
        let number = text.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        let is_earlier = number.is_some_and(|number| (1..=self.piped).contains(&number));
        let is_table = self.word_behind().is("FROM") || self.word_behind().is("JOIN");
        if is_earlier && is_table {
            self.put(Token::make_word(&pipe_name(), Some('"')));
            self.drop(1);
        }
        is_earlier && is_table
    }

    /// `{*}`, `{t.*}`, `{* EXCLUDE a}`: an object of the columns.
    fn brace(&mut self) -> bool {
        let is_star = |token: Option<&Token>| token == Some(&Token::Mul);
        let is_wildcard = is_star(self.ahead(1))
            || (self.ahead(2) == Some(&Token::Period)
                && (is_star(self.ahead(3))
                    || (self.ahead(4) == Some(&Token::Period) && is_star(self.ahead(5)))));
        if !is_wildcard {
            return false;
        }
        self.put(keyword("OBJECT_CONSTRUCT"));
        self.put(Token::LParen);
        self.drop(1);
        self.braces += 1;
        true
    }

    fn drop_into_variables(&mut self) -> bool {
        let mut count = 1;
        loop {
            match self.ahead(count) {
                Some(Token::Placeholder(_)) => count += 1,
                Some(Token::Colon) => count += 2,
                _ => return false,
            }
            if self.ahead(count) != Some(&Token::Comma) {
                break;
            }
            count += 1;
        }
        self.drop(count);
        true
    }

    /// `MATCH_RECOGNIZE`: which rows match decides, and the patterns name no columns.
    fn in_pattern(&mut self, token: &Token) -> bool {
        let depth = self.pattern.unwrap_or_default();
        match token {
            Token::LParen => self.pattern = Some(depth + 1),
            Token::RParen => self.pattern = (depth > 1).then(|| depth - 1),
            Token::Word(word) if word.quote_style.is_none() && depth == 1 => {
                let word = Keyed(&word.value);
                if (word.is("FINAL") || word.is("RUNNING")) && matches!(self.ahead(1), Some(Token::Word(_))) {
                    self.drop(1);
                    return true;
                }
                if word.is("AFTER") && self.word(1).is("MATCH") {
                    let pattern = (2..10).find(|by| self.word(*by).is("PATTERN"));
                    if let Some(pattern) = pattern {
                        self.drop(pattern);
                        return true;
                    }
                }
                if word.is("PATTERN") && self.ahead(1) == Some(&Token::LParen) {
                    return self.simple_pattern();
                }
            }
            _ => {}
        }
        false
    }

    fn simple_pattern(&mut self) -> bool {
        let mut depth = 0_usize;
        let mut end = None;
        for (at, token) in self.tokens.iter().enumerate().skip(self.at) {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 1 => {
                    end = Some(at);
                    break;
                }
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        let Some(end) = end else { return false };
        self.put(keyword("PATTERN"));
        self.put(Token::LParen);
        self.put(Token::make_word("x", None));
        self.put(Token::RParen);
        self.at = end + 1;
        true
    }
}

/// A word of the text, compared without regard to case.
struct Keyed<'t>(&'t str);

impl Keyed<'_> {
    fn is(&self, word: &str) -> bool {
        self.0.eq_ignore_ascii_case(word)
    }
}

fn keyword(word: &str) -> Token {
    Token::make_word(word, None)
}

/// The tokens of a name in a text; `None` if there is more than a name.
fn name_tokens(text: &str) -> Option<Vec<Token>> {
    let tokens = lex::tokens(text).ok()?;
    let mut name: Vec<Token> =
        tokens.into_iter().map(|t| t.token).filter(|token| !lex::is_space(token)).collect();
    let mut expects_word = true;
    for token in &mut name {
        match token {
            Token::Word(word) if expects_word && !word.value.contains('@') => {
                expects_word = false;
                // With quotes it stays a name wherever it is put.
                if word.quote_style.is_none() {
                    *token = Token::make_word(&word.value.to_uppercase(), Some('"'));
                }
            }
            Token::Period if !expects_word => expects_word = true,
            _ => return None,
        }
    }
    (!expects_word).then_some(name)
}
