//! Text to tokens, refusing what two readers could read in two ways.
//!
//! Our tokenizer and Snowflake's must agree on where strings and comments end: what one takes for a comment and the
//! other for a table name is a way around every rule. Where they are not known to agree, the text is refused.

use sqlparser::{
    dialect::SnowflakeDialect,
    tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace, Word},
};

use crate::{Unreadable, cursor};

/// For how many tokens room is made before they are found.
const TOKENS_EXPECTED_MAX: usize = 2048;

/// The tokens of a text, if all readers find the same ones.
pub(crate) fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, Unreadable> {
    // Escapes are left as they are: their meaning does not matter here, and lengths stay comparable.
    let mut tokens = Vec::with_capacity((text.len() / 2).min(TOKENS_EXPECTED_MAX));
    Tokenizer::new(&SnowflakeDialect, text)
        .with_unescape(false)
        .tokenize_with_location_into_buf(&mut tokens)
        .map_err(|_| Unreadable::Unterminated)?;
    check_agreement(text, &tokens)?;
    // The place of a file ends at a white space, and a comment may be a part of it. Elsewhere nobody needs them.
    if !text.contains('@') && !text.contains("//") {
        tokens.retain(|t| !is_space(&t.token));
    }
    Ok(tokens)
}

/// Those that are neither white space nor comment.
pub(crate) fn significant(tokens: &[TokenWithSpan]) -> Vec<&TokenWithSpan> {
    tokens.iter().filter(|t| !is_space(&t.token)).collect()
}

/// A file location of `PUT` and `GET` may hold `//`, which our tokenizer takes for a comment: nothing may hide there.
pub(crate) fn refuse_hidden_end(tokens: &[TokenWithSpan]) -> Result<(), Unreadable> {
    let hides = |token: &Token| match token {
        Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) => comment.contains(';'),
        _ => false,
    };
    let is_hidden = moves_files(tokens) && tokens.iter().any(|t| hides(&t.token));
    if is_hidden { Err(Unreadable::FileLocation) } else { Ok(()) }
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

fn moves_files(tokens: &[TokenWithSpan]) -> bool {
    let first = tokens.iter().find(|t| !is_space(&t.token)).and_then(|t| cursor::word(&t.token));
    let verbs = ["PUT", "GET", "LIST", "LS", "REMOVE", "RM"];
    first.is_some_and(|first| verbs.iter().any(|verb| first.eq_ignore_ascii_case(verb)))
}

pub(crate) fn is_space(token: &Token) -> bool {
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
    // Most texts have no such character at all.
    let may_be_odd = text.bytes().any(|b| !b.is_ascii() || matches!(b, 0xb | 0xc));
    let odd = |s: &str| if may_be_odd { s.chars().filter(|c| is_odd_space(*c)).count() } else { 0 };
    let has_stage = text.contains('@');
    let mut quoted = 0;
    let mut in_path = false;
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab) => in_path = false,
            // In the path of a stage, readers may take what looks like a comment for a part of the path.
            Token::Whitespace(_) if in_path => return Err(Unreadable::FileLocation),
            token => in_path |= has_stage && is_stage(token),
        }
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

/// Whether an `@` stands outside of strings and quoted names: a stage.
pub(crate) fn names_stage(tokens: &[TokenWithSpan]) -> bool {
    tokens.iter().any(|t| is_stage(&t.token))
}

fn is_stage(token: &Token) -> bool {
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
