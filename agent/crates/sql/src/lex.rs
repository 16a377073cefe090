//! Text to tokens, refusing what two readers could read in two ways.
//!
//! Our tokenizer and Snowflake's must agree on where strings and comments end: what one takes for a comment and the
//! other for a table name is a way around every rule. Where they are not known to agree, the text is refused.

use sqlparser::{
    dialect::SnowflakeDialect,
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace, Word},
};

use crate::{Opaque, Unreadable, depth};

/// The tokens of one statement.
pub(crate) struct Lexed {
    /// All but its semicolon. The parser needs the white space: the name of a stage ends there.
    tokens: Vec<TokenWithSpan>,
    /// Whether an `@` stands outside of strings and quoted names: a stage.
    pub(crate) names_stage: bool,
}

/// Most statements in one text.
const STATEMENTS_MAX: usize = 1000;

impl Lexed {
    /// `None` where there is nothing but white space.
    fn new(tokens: Vec<TokenWithSpan>) -> Result<Option<Self>, Opaque> {
        let names_stage = tokens.iter().any(|t| names_stage(&t.token));
        let lexed = Self { tokens, names_stage };
        let significant = lexed.significant();
        if significant.is_empty() {
            return Ok(None);
        }
        if begins_script(&significant) || has_flow_operator(&significant) {
            return Err(Opaque::Script);
        }
        depth::check(&significant)?;
        if moves_files(&significant) {
            lexed.refuse_hidden_end()?;
        }
        Ok(Some(lexed))
    }

    /// A file location of `PUT` and `GET` may hold `//`, which our tokenizer takes for a comment: nothing may hide there.
    fn refuse_hidden_end(&self) -> Result<(), Unreadable> {
        let hides = |token: &Token| match token {
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) => comment.contains(';'),
            _ => false,
        };
        let is_hidden = self.tokens.iter().any(|t| hides(&t.token));
        if is_hidden { Err(Unreadable::FileLocation) } else { Ok(()) }
    }

    /// Those that are neither white space nor comment.
    pub(crate) fn significant(&self) -> Vec<&TokenWithSpan> {
        self.tokens.iter().filter(|t| !is_space(&t.token)).collect()
    }

    /// All but the first `count` significant ones.
    pub(crate) fn after(self, count: usize) -> Vec<TokenWithSpan> {
        let significant = self.tokens.iter().enumerate().filter(|(_, t)| !is_space(&t.token));
        let start = significant.map(|(at, _)| at).nth(count).unwrap_or(self.tokens.len());
        let mut tokens = self.tokens;
        tokens.split_off(start)
    }
}

/// The tokens of a text, if all readers find the same ones.
pub(crate) fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, Unreadable> {
    // Escapes are left as they are: their meaning does not matter here, and lengths stay comparable.
    let tokens = Tokenizer::new(&SnowflakeDialect, text)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|_| Unreadable::Unterminated)?;
    check_agreement(text, &tokens)?;
    Ok(tokens)
}

/// Splits tokens into those of each statement; there is at least one.
pub(crate) fn split(tokens: Vec<TokenWithSpan>) -> Result<Vec<Lexed>, Opaque> {
    let mut statements = Vec::new();
    let mut current = Vec::new();
    for token in tokens.into_iter().filter(|t| t.token != Token::EOF) {
        if token.token == Token::SemiColon {
            statements.extend(Lexed::new(std::mem::take(&mut current))?);
        } else {
            current.push(token);
        }
        if statements.len() > STATEMENTS_MAX {
            return Err(Opaque::TooMany);
        }
    }
    statements.extend(Lexed::new(current)?);
    if statements.is_empty() { Err(Opaque::Empty) } else { Ok(statements) }
}

/// The leading words, for people: two where the first alone says little.
pub(crate) fn verb(tokens: &[TokenWithSpan]) -> String {
    let significant = tokens.iter().filter(|t| !is_space(&t.token));
    let mut words = significant.map_while(|t| match &t.token {
        Token::Word(Word { value, quote_style: None, .. }) => Some(value.to_uppercase()),
        _ => None,
    });
    let first = words.next().unwrap_or_default();
    match first.as_str() {
        "CREATE" | "ALTER" | "DROP" | "UNDROP" | "COPY" | "EXECUTE" | "SHOW" | "DESCRIBE" | "DESC" => {
            let noise =
                ["OR", "REPLACE", "TEMP", "TEMPORARY", "TRANSIENT", "SECURE", "LOCAL", "GLOBAL", "TERSE"];
            match words.find(|word| !noise.contains(&word.as_str())) {
                Some(second) if second.len() <= VERB_WORD_BYTES_MAX => format!("{first} {second}"),
                _ => first,
            }
        }
        _ if first.len() > VERB_WORD_BYTES_MAX => String::new(),
        _ => first,
    }
}

/// No keyword is longer; a longer word is somebody's data.
const VERB_WORD_BYTES_MAX: usize = 24;

fn moves_files(tokens: &[&TokenWithSpan]) -> bool {
    matches!(tokens.first().map(|t| &t.token), Some(Token::Word(Word { value, quote_style: None, .. }))
        if ["PUT", "GET", "LIST", "LS", "REMOVE", "RM"].iter().any(|verb| value.eq_ignore_ascii_case(verb)))
}

fn is_space(token: &Token) -> bool {
    matches!(token, Token::Whitespace(_) | Token::EOF)
}

/// White space that readers may disagree about.
fn is_odd_space(c: char) -> bool {
    c.is_whitespace() && !matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Characters that end a line for some readers.
fn is_odd_line_end(c: char) -> bool {
    matches!(c, '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn check_agreement(text: &str, tokens: &[TokenWithSpan]) -> Result<(), Unreadable> {
    let odd = |s: &str| s.chars().filter(|c| is_odd_space(*c)).count();
    let mut quoted = 0;
    for token in tokens {
        quoted += match &token.token {
            Token::Whitespace(Whitespace::SingleLineComment { comment, prefix }) => {
                if prefix == "#" {
                    return Err(Unreadable::HashComment);
                }
                // The one at the very end belongs to a line break of two characters.
                let line = comment.trim_end_matches('\n');
                let line = line.strip_suffix('\r').unwrap_or(line);
                if line.contains(is_odd_line_end) {
                    return Err(Unreadable::LineEnd);
                }
                odd(line)
            }
            Token::Whitespace(Whitespace::MultiLineComment(comment)) => {
                if comment.contains("/*") {
                    return Err(Unreadable::NestedComment);
                }
                odd(comment)
            }
            Token::Word(Word { quote_style: Some('"'), value, .. }) | Token::SingleQuotedString(value) => {
                odd(value)
            }
            Token::Word(Word { quote_style: Some(_), .. })
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::DoubleQuotedString(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleDoubleQuotedString(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedByteStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_)
            | Token::QuoteDelimitedStringLiteral(_)
            | Token::NationalQuoteDelimitedStringLiteral(_) => return Err(Unreadable::ForeignQuote),
            Token::HexStringLiteral(value) if !value.bytes().all(|b| b.is_ascii_hexdigit()) => {
                return Err(Unreadable::ForeignQuote);
            }
            Token::DollarQuotedString(string) if string.tag.is_some() => return Err(Unreadable::DollarTag),
            Token::DollarQuotedString(string) => odd(&string.value),
            _ => 0,
        };
    }
    // The tokenizer takes any Unicode space for a space and does not say which it was.
    if odd(text) == quoted { Ok(()) } else { Err(Unreadable::WhiteSpace) }
}

fn names_stage(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_none() && word.value.contains('@'),
        Token::Placeholder(text) => text.contains('@'),
        Token::AtSign
        | Token::AtArrow
        | Token::ArrowAt
        | Token::AtQuestion
        | Token::AtAt
        | Token::CaretAt
        | Token::AtDashAt
        | Token::CustomBinaryOperator(_) => true,
        _ => false,
    }
}

/// `DECLARE …`, and `BEGIN` unless it begins a transaction.
fn begins_script(tokens: &[&TokenWithSpan]) -> bool {
    let keyword = |i: usize| match tokens.get(i).map(|t| &t.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    };
    match keyword(0) {
        Some(Keyword::DECLARE | Keyword::IF | Keyword::CASE | Keyword::FOR | Keyword::WHILE) => true,
        Some(Keyword::BEGIN) => {
            tokens.len() > 1
                && !matches!(keyword(1), Some(Keyword::TRANSACTION | Keyword::WORK | Keyword::NAME))
                && tokens.get(1).is_some_and(|t| t.token != Token::SemiColon)
        }
        _ => false,
    }
}

/// `->>` hands the result of one statement to the next.
fn has_flow_operator(tokens: &[&TokenWithSpan]) -> bool {
    tokens.windows(2).any(|pair| match pair {
        [a, b] => matches!(
            (&a.token, &b.token),
            (Token::LongArrow, _)
                | (Token::Arrow, Token::Gt | Token::GtEq)
                | (Token::Minus, Token::ShiftRight)
        ),
        _ => false,
    })
}
