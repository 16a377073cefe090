//! Splits a text as Snowflake does: at semicolons, into the statements of scripting blocks, and at the flow operator.
//!
//! A block is not followed in its logic: whatever it might run is listed. So it does not matter which `END` closes which
//! `IF`; only where the block ends, and in doubt it goes on.
//! Source: Snowflake documentation, "Snowflake Scripting reference", "Flow operators".

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Opaque, cursor, lex::is_space, upper::Upper};

/// Most statements in one text.
pub(crate) const STATEMENTS_MAX: usize = 1000;
/// Most statements with a body within each other.
const NESTING_MAX: usize = 4;
/// The flow operator, as far as the tokenizer knows it.
const FLOW: Token = Token::LongArrow;

/// Something that is read by itself.
pub(crate) struct Unit {
    /// All of its tokens. The parser needs the white space: the name of a stage ends there.
    pub(crate) tokens: Vec<TokenWithSpan>,
    pub(crate) role: Role,
    /// Whether it runs within the unit before it that is not inside.
    pub(crate) is_inside: bool,
}

/// What a unit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Statement,
    /// A block; its tokens are the expressions in it that are no statements.
    Block,
    /// A statement that may read the results of so many before it, as `$1`, `$2`, …
    Piped(usize),
}

/// Splits tokens into those of each statement; there is at least one.
pub(crate) fn split(tokens: Vec<TokenWithSpan>) -> Result<Vec<Unit>, Opaque> {
    let mut splitter = Splitter::default();
    let is_one = !tokens.iter().any(|t| matches!(t.token, Token::SemiColon | Token::EOF));
    // Most texts are one statement, and stay where they are.
    let (mut piece, tokens) = if is_one { (tokens, Vec::new()) } else { (Vec::new(), tokens) };
    for token in tokens {
        match token.token {
            Token::EOF => {}
            Token::SemiColon => splitter.piece(std::mem::take(&mut piece)),
            _ => piece.push(token),
        }
        if splitter.units.len() > STATEMENTS_MAX {
            return Err(Opaque::TooMany);
        }
    }
    splitter.piece(piece);
    match splitter.units.len() {
        0 => Err(Opaque::Empty),
        1..=STATEMENTS_MAX => Ok(splitter.units),
        _ => Err(Opaque::TooMany),
    }
}

#[derive(Default)]
struct Splitter {
    units: Vec<Unit>,
    /// How many of `BEGIN`, `IF`, `FOR`, … wait for their `END`.
    depth: usize,
    /// Between `DECLARE` and `BEGIN`.
    is_declaring: bool,
    /// Which unit is the block that is open.
    block: Option<usize>,
    /// Whether that block is the body of the statement before it.
    is_body: bool,
    /// How many statements with a body are within each other.
    nesting: usize,
}

impl Splitter {
    /// What stands between two semicolons.
    fn piece(&mut self, piece: Vec<TokenWithSpan>) {
        if self.block.is_some() {
            self.in_block(&piece, 0);
        } else {
            self.statement(piece, false);
        }
    }

    fn statement(&mut self, tokens: Vec<TokenWithSpan>, is_inside: bool) {
        let words = Words::new(&tokens);
        if words.is_empty() {
            return;
        }
        if words.begins_block() {
            self.units.push(Unit { tokens: Vec::new(), role: Role::Block, is_inside });
            self.block = Some(self.units.len() - 1);
            self.is_body = is_inside;
            self.in_block(&tokens, 0);
            return;
        }
        if self.nesting < NESTING_MAX
            && let Some((head, body)) = words.body()
        {
            let tail = tokens.get(body..).unwrap_or_default().to_vec();
            self.push(tokens.get(..head).unwrap_or_default().to_vec(), Role::Statement, is_inside);
            self.nesting += 1;
            self.statement(tail, true);
            self.nesting -= 1;
            return;
        }
        let mut start = 0;
        let mut count = 0;
        // Of a chain, what is first is answered; nothing may stand before its first operator.
        let units_before = self.units.len();
        for (at, token) in tokens.iter().enumerate() {
            if token.token == FLOW {
                let link = tokens.get(start..at).unwrap_or_default().to_vec();
                self.push(link, piped(count), is_inside || self.units.len() > units_before);
                start = at + 1;
                count += 1;
            }
        }
        let last = if start == 0 { tokens } else { tokens.get(start..).unwrap_or_default().to_vec() };
        self.push(last, piped(count), is_inside || self.units.len() > units_before);
    }

    fn push(&mut self, tokens: Vec<TokenWithSpan>, role: Role, is_inside: bool) {
        if tokens.iter().any(|t| !is_space(&t.token)) {
            self.units.push(Unit { tokens, role, is_inside });
        }
    }

    /// One statement of a block, with the words of the block's own language before it.
    fn in_block(&mut self, tokens: &[TokenWithSpan], mut from: usize) {
        let words = Words::new(tokens);
        let span = |from: usize, to: usize| {
            let place = |number: usize| words.place(number).unwrap_or(tokens.len());
            tokens.get(place(from)..place(to)).unwrap_or_default()
        };
        let rest = |from: usize| span(from, usize::MAX);
        while let Some(first) = words.at(from) {
            match first.as_str() {
                "BEGIN" if words.begins_transaction(from) => return self.statement_in_block(rest(from)),
                "BEGIN" => {
                    self.depth += usize::from(!self.is_declaring);
                    self.is_declaring = false;
                    from += 1;
                }
                "DECLARE" => {
                    self.depth += 1;
                    self.is_declaring = true;
                    from += 1;
                }
                _ if self.is_declaring => return self.expression(rest(from)),
                "ELSE" | "EXCEPTION" => from += 1,
                "LOOP" | "REPEAT" => {
                    self.depth += 1;
                    from += 1;
                }
                "IF" | "FOR" | "WHILE" | "CASE" | "ELSEIF" | "WHEN" | "UNTIL" => {
                    self.depth += usize::from(matches!(first.as_str(), "IF" | "FOR" | "WHILE" | "CASE"));
                    let (ends, is_passed): (&[&str], bool) = match first.as_str() {
                        "FOR" | "WHILE" => (&["DO", "LOOP"], true),
                        "CASE" => (&["WHEN"], false),
                        "UNTIL" => (&["END"], false),
                        _ => (&["THEN"], true),
                    };
                    let end = words.find(from + 1, ends);
                    self.expression(span(from + 1, end.unwrap_or(usize::MAX)));
                    let Some(end) = end else { return };
                    from = end + usize::from(is_passed);
                }
                "END" => {
                    self.depth = self.depth.saturating_sub(1);
                    let ends = ["IF", "FOR", "WHILE", "LOOP", "REPEAT", "CASE"];
                    let has_word = words.at(from + 1).is_some_and(|word| ends.contains(&word.as_str()));
                    from += 1 + usize::from(has_word);
                    if self.depth == 0 {
                        return self.after_block(rest(from));
                    }
                }
                "OPEN" | "FETCH" | "CLOSE" | "BREAK" | "CONTINUE" | "EXIT" | "ITERATE" | "NULL" | "RAISE"
                | "AWAIT" | "CANCEL" => return,
                "LET" | "RETURN" | "ASYNC" => return self.expression(rest(from + 1)),
                _ if words.is_assignment(from) => return self.expression(rest(from)),
                _ => return self.statement_in_block(rest(from)),
            }
        }
    }

    /// What stands behind the `END` of a block: a label, or nothing.
    fn after_block(&mut self, rest: &[TokenWithSpan]) {
        self.block = None;
        if rest.iter().filter(|t| !is_space(&t.token)).count() > 1 {
            self.push(rest.to_vec(), Role::Statement, self.is_body);
        }
    }

    fn statement_in_block(&mut self, tokens: &[TokenWithSpan]) {
        let (block, depth, is_body) = (self.block, self.depth, self.is_body);
        self.statement(tokens.to_vec(), true);
        if self.block.is_none() || self.block == block {
            (self.block, self.depth, self.is_body) = (block, depth, is_body);
        } else {
            // It has a body that is a block: both wait for their END.
            self.depth += depth;
        }
    }

    /// An expression of a block: the statements in it are units, the rest is the block's.
    fn expression(&mut self, tokens: &[TokenWithSpan]) {
        let mut kept = Vec::new();
        let mut at = 0;
        let mut before: Option<&Token> = None;
        while let Some(token) = tokens.get(at) {
            if begins_statement(&token.token) && before.is_none_or(leads_to_statement) {
                let end = end_of_statement(tokens, at);
                self.push(tokens.get(at..end).unwrap_or_default().to_vec(), Role::Statement, true);
                at = end;
                before = None;
                continue;
            }
            if !is_space(&token.token) {
                before = Some(&token.token);
            }
            kept.push(token.clone());
            at += 1;
        }
        if let Some(block) = self.block.and_then(|block| self.units.get_mut(block)) {
            block.tokens.extend(kept);
            block.tokens.push(TokenWithSpan::wrap(Token::SemiColon));
        }
    }
}

fn piped(count: usize) -> Role {
    if count == 0 { Role::Statement } else { Role::Piped(count) }
}

/// Whether a statement within an expression can begin with this.
fn begins_statement(token: &Token) -> bool {
    let verbs = [
        "SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "CALL", "EXECUTE", "SHOW", "DESCRIBE",
        "DESC", "CREATE", "ALTER", "DROP", "TRUNCATE", "COPY", "GRANT", "REVOKE", "LIST", "LS", "REMOVE",
        "RM", "UNDROP", "EXPLAIN",
    ];
    cursor::word(token).is_some_and(|word| verbs.iter().any(|verb| word.eq_ignore_ascii_case(verb)))
}

/// Whether a statement can stand behind this: `:=`, `(`, `DEFAULT`, `FOR`.
fn leads_to_statement(token: &Token) -> bool {
    match token {
        Token::LParen | Token::Assignment => true,
        token => cursor::word(token).is_some_and(|word| {
            ["DEFAULT", "FOR", "ASYNC"].iter().any(|lead| word.eq_ignore_ascii_case(lead))
        }),
    }
}

/// Where a statement within an expression ends: at the parenthesis that was open before it.
fn end_of_statement(tokens: &[TokenWithSpan], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return at,
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The tokens of a piece that are no white space, by number.
struct Words<'t> {
    tokens: &'t [TokenWithSpan],
    significant: Vec<usize>,
}

impl<'t> Words<'t> {
    fn new(tokens: &'t [TokenWithSpan]) -> Self {
        let significant =
            tokens.iter().enumerate().filter(|(_, t)| !is_space(&t.token)).map(|(at, _)| at).collect();
        Self { tokens, significant }
    }

    fn is_empty(&self) -> bool {
        self.significant.is_empty()
    }

    /// Where the token of this number is among all tokens.
    fn place(&self, number: usize) -> Option<usize> {
        self.significant.get(number).copied()
    }

    fn token(&self, number: usize) -> Option<&'t Token> {
        self.place(number).and_then(|at| self.tokens.get(at)).map(|t| &t.token)
    }

    /// The unquoted word of this number, upper case; empty for another token, `None` at the end.
    fn at(&self, number: usize) -> Option<Upper> {
        self.token(number).map(|token| Upper::of(cursor::word(token).unwrap_or_default()))
    }

    fn is_assignment(&self, from: usize) -> bool {
        self.token(from + 1) == Some(&Token::Assignment)
    }

    /// `BEGIN`, unless it begins a transaction, and the other words that only a block can begin with.
    fn begins_block(&self) -> bool {
        let second = self.at(1);
        match self.at(0).as_deref() {
            Some("DECLARE" | "IF" | "FOR" | "WHILE" | "LOOP" | "REPEAT" | "CASE") => second.is_some(),
            Some("BEGIN") => second.is_some() && !self.begins_transaction(0),
            _ => false,
        }
    }

    /// Whether the `BEGIN` of this number is that of a transaction.
    fn begins_transaction(&self, number: usize) -> bool {
        let next = self.at(number + 1);
        next.is_some_and(|word| matches!(word.as_str(), "TRANSACTION" | "WORK" | "NAME"))
    }

    /// The number of the first of these words that stands outside of parentheses and of `CASE … END`.
    fn find(&self, from: usize, wanted: &[&str]) -> Option<usize> {
        let (mut depth, mut cases) = (0_usize, 0_usize);
        for number in from..self.significant.len() {
            match self.token(number)? {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                token => {
                    let word = Upper::of(cursor::word(token).unwrap_or_default());
                    if depth == 0 && cases == 0 && wanted.contains(&word.as_str()) {
                        return Some(number);
                    }
                    match word.as_str() {
                        "CASE" => cases += 1,
                        "END" => cases = cases.saturating_sub(1),
                        _ => {}
                    }
                }
            }
        }
        None
    }

    /// For a routine, a task or an alert whose body is no text: where its head ends and where its body begins.
    fn body(&self) -> Option<(usize, usize)> {
        let first = self.at(0)?;
        if !matches!(first.as_str(), "CREATE" | "ALTER") {
            return None;
        }
        let kind = (1..8).filter_map(|i| self.at(i)).find(|word| {
            matches!(
                word.as_str(),
                "PROCEDURE" | "FUNCTION" | "TASK" | "ALERT" | "TRIGGER" | "TABLE" | "VIEW" | "USER"
            )
        })?;
        let (head, body) = match kind.as_str() {
            "PROCEDURE" | "FUNCTION" | "TRIGGER" => {
                let block = self.find(1, &["BEGIN", "DECLARE"])?;
                (block, block)
            }
            "TASK" => {
                let mut at = self.find(1, &["AS"])?;
                // `EXECUTE AS USER u` is not it.
                while self.at(at - 1).is_some_and(|word| word == "EXECUTE") {
                    at = self.find(at + 1, &["AS"])?;
                }
                (at, at + 1)
            }
            "ALERT" => {
                let at = self.find(1, &["THEN", "ACTION"])?;
                (at, at + 1)
            }
            _ => return None,
        };
        Some((self.place(head)?, self.place(body)?))
    }
}
