//! The class of a text that cannot be read, by its first words.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Class, SessionNames, definition, plain, read};

/// How many words are looked at.
const WORDS_MAX: usize = 8;

/// The class that the first words of a text tell, if they do. Comments before them are passed.
pub(crate) fn class(text: &str) -> Option<Class> {
    let words = first_words(text);
    let tokens: Vec<TokenWithSpan> =
        words.iter().map(|word| TokenWithSpan::wrap(Token::make_word(word, None))).collect();
    let tokens: Vec<&TokenWithSpan> = tokens.iter().collect();
    let names = SessionNames::default();
    let first = words.first()?.to_uppercase();
    match first.as_str() {
        "WITH" => Some(Class::Select),
        "COPY" => Some(Class::CopyLoad),
        "EXPLAIN" => Some(Class::Explain),
        "BEGIN" | "DECLARE" => Some(Class::Script),
        _ => read::by_verb(&first)
            .map(|(class, _)| class)
            .or_else(|| plain::read(&tokens, &names).map(|statement| statement.class))
            .or_else(|| definition::read(&tokens, &names).map(|statement| statement.class)),
    }
}

fn first_words(text: &str) -> Vec<&str> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(' || c == ';');
        let comment_end = if rest.starts_with("--") || rest.starts_with("//") || rest.starts_with('#') {
            rest.find('\n')
        } else if rest.starts_with("/*") {
            rest.find("*/").map(|at| at + 2)
        } else {
            break;
        };
        match comment_end {
            Some(end) => rest = rest.get(end..).unwrap_or_default(),
            None => return Vec::new(),
        }
    }
    rest.split(|c: char| c.is_whitespace())
        .take(WORDS_MAX)
        .take_while(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_words_tell_the_class() {
        for (text, expected) in [
            ("select 1 # x", Some(Class::Select)),
            ("-- x\n /* y */ ( with a as", Some(Class::Select)),
            ("create or replace view v as", Some(Class::Create)),
            ("create user u `x`", Some(Class::Administer)),
            ("drop table `t`", Some(Class::Drop)),
            ("grant select on", Some(Class::Grant)),
            ("put x `y`", Some(Class::Put)),
            ("frobnicate", None),
            ("", None),
            ("/* never ends", None),
        ] {
            assert_eq!(class(text), expected, "{text}");
        }
    }
}
