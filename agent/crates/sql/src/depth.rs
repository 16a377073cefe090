//! A bound on how deep the tree of a statement can get, known before there is a tree.
//!
//! The parser counts its own recursion, but chains (`a + a + a …`, `… UNION … UNION …`) nest as deeply without it, and
//! a tree is dropped by recursion. Depth is bounded by counting, per level of parentheses: what may nest within one
//! list item (`chain`, forgotten at each comma) and what may nest across items (`links`: set operations and joins).
//!
//! Some constructs cost the parser far more than their place in the tree, and have bounds of their own: a join whose
//! condition comes later is read by recursion; `POSITION(`, `IN (` and what follows `->` are read twice at each level.

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

use crate::Opaque;

/// Most nested parentheses, brackets and `CASE`s.
pub(crate) const NESTING_MAX: usize = 60;
/// The deepest tree.
const DEPTH_MAX: usize = 3000;
/// Most joins that wait for their `ON` at one time: each takes tens of kilobytes of stack.
const OPEN_JOINS_MAX: usize = 16;
/// Most `POSITION(`, `IN (` and `->` within each other: each doubles the time.
const DOUBLINGS_MAX: usize = 8;

struct Level {
    links: usize,
    chain: usize,
    open_joins: usize,
    doublings: usize,
    is_case: bool,
}

impl Level {
    fn new(is_case: bool, doublings: usize) -> Self {
        Self { links: 1, chain: 0, open_joins: 0, doublings, is_case }
    }
}

pub(crate) fn check(tokens: &[&TokenWithSpan]) -> Result<(), Opaque> {
    let mut outer: Vec<Level> = Vec::new();
    let mut depth_outside = 0;
    let mut level = Level::new(false, 0);
    for (at, token) in tokens.iter().enumerate() {
        let back = |by: usize| at.checked_sub(by).and_then(|at| tokens.get(at)).map(|t| &t.token);
        let previous = back(1).and_then(keyword);
        match keyword(&token.token) {
            // These two have no condition to wait for; after another `JOIN` they are names of tables.
            Some(Keyword::JOIN)
                if matches!(previous, Some(Keyword::CROSS | Keyword::NATURAL))
                    && back(2).and_then(keyword) != Some(Keyword::JOIN) => {}
            Some(Keyword::JOIN) => level.open_joins += 1,
            Some(Keyword::ON | Keyword::USING) if previous != Some(Keyword::JOIN) => {
                level.open_joins = level.open_joins.saturating_sub(1);
            }
            _ if token.token == Token::Arrow => level.doublings += 1,
            // What stands there is first read as a query, then as a list of values.
            _ if back(1) == Some(&Token::LParen) && back(2).and_then(keyword) == Some(Keyword::IN) => {
                level.doublings += 1;
            }
            _ => {}
        }
        match effect(&token.token) {
            Effect::Nothing => {}
            Effect::Chain => level.chain += 1,
            Effect::Link => {
                level.links += 1;
                level.chain = 0;
            }
            Effect::Item => {
                level.chain = 0;
                level.doublings = 0;
            }
            Effect::Branch if level.is_case => level.chain = 0,
            Effect::Branch => level.chain += 1,
            Effect::Open { is_case } => {
                level.chain += 1;
                depth_outside += level.links + level.chain;
                let doublings = usize::from(previous == Some(Keyword::POSITION));
                outer.push(std::mem::replace(&mut level, Level::new(is_case, doublings)));
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
        let levels = || outer.iter().chain([&level]);
        if outer.len() > NESTING_MAX
            || depth_outside + level.links + level.chain > DEPTH_MAX
            || levels().map(|level| level.open_joins).sum::<usize>() > OPEN_JOINS_MAX
            || levels().map(|level| level.doublings).sum::<usize>() > DOUBLINGS_MAX
        {
            return Err(Opaque::TooDeep);
        }
    }
    Ok(())
}

fn keyword(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
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
