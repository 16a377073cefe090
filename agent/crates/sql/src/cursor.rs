//! A walk along the tokens of a statement, for the readers that are our own.

use model::Ident;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::{SessionNames, upper::Upper};

/// A place among tokens that are neither white space nor comments. Copied to look ahead.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'t> {
    tokens: &'t [&'t TokenWithSpan],
    at: usize,
}

/// The parts of a name, from the widest; `None` for the one left out of `db..t`.
pub(crate) type Parts = Vec<Option<Ident>>;

impl<'t> Cursor<'t> {
    pub(crate) fn new(tokens: &'t [&'t TokenWithSpan]) -> Self {
        Self { tokens, at: 0 }
    }

    /// The token here.
    pub(crate) fn peek(&self) -> Option<&'t Token> {
        self.ahead(0)
    }

    /// The token so many after this one.
    pub(crate) fn ahead(&self, by: usize) -> Option<&'t Token> {
        self.tokens.get(self.at + by).map(|t| &t.token)
    }

    /// Goes on, and says what was here.
    pub(crate) fn next(&mut self) -> Option<&'t Token> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The unquoted word here, upper case; empty if there is none.
    pub(crate) fn word(&self) -> Upper {
        self.word_ahead(0)
    }

    /// The unquoted word so many tokens after this one, upper case.
    pub(crate) fn word_ahead(&self, by: usize) -> Upper {
        Upper::of(self.ahead(by).and_then(word).unwrap_or_default())
    }

    /// Whether these words stand here, in any case.
    pub(crate) fn stands(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, wanted)| {
            self.ahead(i).and_then(word).is_some_and(|found| found.eq_ignore_ascii_case(wanted))
        })
    }

    /// Passes these words if they stand here.
    pub(crate) fn take(&mut self, words: &[&str]) -> bool {
        let stands = self.stands(words);
        if stands {
            self.at += words.len();
        }
        stands
    }

    /// The same walk, so many tokens earlier.
    pub(crate) fn returned(&self, by: usize) -> Self {
        Self { at: self.at.saturating_sub(by), ..*self }
    }

    /// Passes so many tokens.
    pub(crate) fn pass(&mut self, count: usize) {
        self.at = self.tokens.len().min(self.at + count);
    }

    /// How many tokens were passed.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The token before this one.
    pub(crate) fn behind(&self) -> Option<&'t Token> {
        self.back(1)
    }

    /// The token so many before this one.
    pub(crate) fn back(&self, by: usize) -> Option<&'t Token> {
        self.at.checked_sub(by).and_then(|at| self.tokens.get(at)).map(|t| &t.token)
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'t [&'t TokenWithSpan] {
        self.tokens.get(self.at..).unwrap_or_default()
    }

    /// Passes any of these words, as often as they stand here.
    pub(crate) fn skip(&mut self, words: &[&str]) {
        while words.iter().any(|word| self.take(&[word])) {}
    }

    /// Passes this token if it is here.
    pub(crate) fn take_token(&mut self, token: &Token) -> bool {
        let is_here = self.peek() == Some(token);
        self.at += usize::from(is_here);
        is_here
    }

    /// Passes a name and gives its parts; `None`, passing nothing, if there is none or if it is computed.
    pub(crate) fn name(&mut self, names: &SessionNames) -> Option<Parts> {
        let mut ahead = *self;
        let mut parts = Vec::new();
        loop {
            match ahead.next()? {
                Token::Word(word) => parts.push(Some(ident(word, names)?)),
                Token::Period if parts.last().is_some_and(Option::is_some) => {
                    parts.push(None);
                    continue;
                }
                _ => return None,
            }
            if parts.len() > PARTS_MAX {
                return None;
            }
            if !ahead.take_token(&Token::Period) {
                break;
            }
        }
        *self = ahead;
        Some(parts)
    }
}

/// No object's name has more.
const PARTS_MAX: usize = 4;

/// Whether the first token is this unquoted word, in any case.
pub(crate) fn begins_with(tokens: &[&TokenWithSpan], wanted: &str) -> bool {
    tokens.first().and_then(|t| word(&t.token)).is_some_and(|found| found.eq_ignore_ascii_case(wanted))
}

/// The unquoted word that a token is.
pub(crate) fn word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(Word { value, quote_style: None, .. }) => Some(value),
        _ => None,
    }
}

/// A word as Snowflake stores the name it is; `None` for variables, placeholders and stages.
pub(crate) fn ident(word: &Word, names: &SessionNames) -> Option<Ident> {
    if word.quote_style.is_none()
        && (word.value.starts_with(['@', '$', '?', ':']) || word.value.contains('@'))
    {
        return None;
    }
    Some(names.stored(&word.value, word.quote_style.is_some()))
}
