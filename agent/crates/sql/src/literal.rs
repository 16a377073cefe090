//! Where the literals of a text are: what fingerprints leave out.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// A literal of a text: a string, a number, a `$$ … $$`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Literal {
    start: u32,
    end: u32,
}

impl Literal {
    /// `None` for a place beyond what a text can have.
    pub(crate) fn new(range: Range<usize>) -> Option<Self> {
        Some(Self { start: u32::try_from(range.start).ok()?, end: u32::try_from(range.end).ok()? })
    }

    /// Its bytes in the text, quotes included.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        // A u32 fits where a text of a megabyte does.
        self.start as usize..self.end as usize
    }
}

/// What a text literal says; `None` where that depends on escapes that are not followed.
pub(crate) fn content(token: &Token) -> Option<String> {
    let text = match token {
        Token::DollarQuotedString(text) => return Some(text.value.clone()),
        Token::SingleQuotedString(text) => text,
        _ => return None,
    };
    let mut content = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            // The tokenizer leaves doubled quotes as they are.
            '\'' => {
                chars.next();
                content.push('\'');
            }
            '\\' => match chars.next()? {
                c @ ('\'' | '"' | '\\') => content.push(c),
                'n' => content.push('\n'),
                't' => content.push('\t'),
                'r' => content.push('\r'),
                _ => return None,
            },
            c => content.push(c),
        }
    }
    Some(content)
}

/// The literals among the tokens of a text.
pub(crate) fn find(text: &str, tokens: &[TokenWithSpan]) -> Vec<Literal> {
    let mut place = Place { text, byte: 0, at: Location::new(1, 1) };
    let mut literals = Vec::new();
    for token in tokens.iter().filter(|t| is_literal(&t.token)) {
        let start = place.go_to(token.span.start);
        let end = place.go_to(token.span.end);
        literals.extend(Literal::new(start..end));
    }
    literals
}

fn is_literal(token: &Token) -> bool {
    matches!(
        token,
        Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::HexStringLiteral(_)
    )
}

/// A place in a text that only goes forward. The tokenizer counts lines and characters; we want bytes.
struct Place<'t> {
    text: &'t str,
    byte: usize,
    at: Location,
}

impl Place<'_> {
    fn go_to(&mut self, to: Location) -> usize {
        let rest = self.text.get(self.byte..).unwrap_or_default();
        for c in rest.chars() {
            if self.at >= to {
                break;
            }
            self.byte += c.len_utf8();
            if c == '\n' {
                self.at = Location::new(self.at.line + 1, 1);
            } else {
                self.at.column += 1;
            }
        }
        self.byte
    }
}

#[cfg(test)]
mod tests {
    use model::SqlText;

    use crate::{SessionNames, analyze};

    #[test]
    fn literals_are_found_by_their_bytes() {
        for (sql, expected) in [
            (
                "select 'a''b', 1.5 from \"t\" where x = $$é\n$$ -- 'no'\n and \ny = 'ü' and z = x'0a'",
                vec!["'a''b'", "1.5", "$$é\n$$", "'ü'", "x'0a'"],
            ),
            ("select 1; frobnicate '2'", vec!["1", "'2'"]),
            ("select 'unterminated", vec![]),
        ] {
            let facts =
                analyze(&SqlText::new(sql).unwrap(), &SessionNames::default(), &crate::Catalog::default());
            let found: Vec<&str> =
                facts.literals().iter().map(|literal| sql.get(literal.range()).unwrap()).collect();
            assert_eq!(found, expected, "{sql}");
        }
    }
}
