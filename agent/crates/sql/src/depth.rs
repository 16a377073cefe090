//! A bound on how deep the tree of a statement can get, known before there is a tree.
//!
//! The parser counts its own recursion, but chains (`a + a + a …`, `… UNION … UNION …`) nest as deeply without it, and
//! a tree is dropped by recursion. Depth is bounded by counting, per level of parentheses: what may nest within one
//! list item (`chain`, forgotten at each comma) and what may nest across items (`links`: set operations and joins).

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

use crate::Opaque;

/// Most nested parentheses, brackets and `CASE`s.
pub(crate) const NESTING_MAX: usize = 60;
/// The deepest tree.
const DEPTH_MAX: usize = 3000;

struct Level {
    links: usize,
    chain: usize,
    is_case: bool,
}

impl Level {
    fn new(is_case: bool) -> Self {
        Self { links: 1, chain: 0, is_case }
    }
}

pub(crate) fn check(tokens: &[&TokenWithSpan]) -> Result<(), Opaque> {
    let mut outer: Vec<Level> = Vec::new();
    let mut depth_outside = 0;
    let mut level = Level::new(false);
    for token in tokens {
        match effect(&token.token) {
            Effect::Nothing => {}
            Effect::Chain => level.chain += 1,
            Effect::Link => {
                level.links += 1;
                level.chain = 0;
            }
            Effect::Item => level.chain = 0,
            Effect::Branch if level.is_case => level.chain = 0,
            Effect::Branch => level.chain += 1,
            Effect::Open { is_case } => {
                level.chain += 1;
                depth_outside += level.links + level.chain;
                outer.push(std::mem::replace(&mut level, Level::new(is_case)));
            }
            // An END that ends no CASE, or a parenthesis too many: the parser will say so.
            Effect::Close { is_case } if is_case != level.is_case => level.chain += 1,
            Effect::Close { .. } => {
                if let Some(previous) = outer.pop() {
                    level = previous;
                    depth_outside -= level.links + level.chain;
                }
            }
        }
        if outer.len() > NESTING_MAX || depth_outside + level.links + level.chain > DEPTH_MAX {
            return Err(Opaque::TooDeep);
        }
    }
    Ok(())
}

enum Effect {
    Nothing,
    /// May wrap what stands before it.
    Chain,
    /// Ties a whole clause to what stands before it.
    Link,
    /// Begins a sibling.
    Item,
    /// `WHEN`, `THEN`, `ELSE`: begins a sibling within `CASE`.
    Branch,
    Open {
        is_case: bool,
    },
    Close {
        is_case: bool,
    },
}

fn effect(token: &Token) -> Effect {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Effect::Open { is_case: false },
        Token::RParen | Token::RBracket | Token::RBrace => Effect::Close { is_case: false },
        Token::Comma => Effect::Item,
        Token::Period
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::HexStringLiteral(_)
        | Token::Placeholder(_) => Effect::Nothing,
        Token::Word(word) if word.quote_style.is_some() => Effect::Nothing,
        Token::Word(word) => match word.keyword {
            Keyword::NoKeyword => Effect::Nothing,
            Keyword::CASE => Effect::Open { is_case: true },
            Keyword::END => Effect::Close { is_case: true },
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE => Effect::Branch,
            Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::MINUS
            | Keyword::JOIN
            | Keyword::SELECT => Effect::Link,
            _ => Effect::Chain,
        },
        _ => Effect::Chain,
    }
}
