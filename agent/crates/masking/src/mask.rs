//! The closed list of masks.

use std::sync::Arc;

use crate::{calendar::Unit, document, key::Key, path::JsonPath, text, token::Format};

/// What stands for the hidden part of a value. Its length says nothing about the value's.
pub(crate) const HIDDEN: &str = "****";

/// How a column is masked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Mask {
    /// Every value becomes NULL.
    Null,
    /// Every value becomes this text.
    Fixed(Arc<str>),
    /// The last characters of a text stay, never more than half of them: `123-45-6789` becomes `****6789`.
    Partial {
        /// How many characters stay at most.
        keep_last: usize,
    },
    /// The domain of an e-mail address stays: `ann@example.org` becomes `****@example.org`. A text that is no
    /// address is hidden whole.
    KeepDomain,
    /// A keyed hash behind the key's name: `shop:0f3c…`. The same value has the same one wherever the key is the same, so
    /// that joins still work.
    Hash(Key),
    /// The year, or year and month, of a date stay.
    Date(Unit),
    /// A token of the same form as the value.
    Token(Format, Key),
    /// As the other mask; a column that is no text becomes one for it, in all that describes it.
    Retyped(Arc<Mask>),
    /// Parts of a JSON document, each under its own mask. All else of it stays as it is.
    Within(Arc<[(JsonPath, Mask)]>),
}

impl Mask {
    /// The word used in configuration, records and output.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Fixed(_) => "fixed",
            Self::Partial { .. } => "partial",
            Self::KeepDomain => "keep-domain",
            Self::Hash(_) => "hash",
            Self::Date(_) => "date",
            Self::Token(..) => "token",
            Self::Retyped(mask) => mask.name(),
            Self::Within(parts) => match parts.as_ref() {
                [(_, mask)] => mask.name(),
                _ => "within",
            },
        }
    }

    /// The keys that it needs.
    pub fn keys(&self) -> Vec<&Key> {
        match self {
            Self::Hash(key) | Self::Token(_, key) => vec![key],
            Self::Retyped(mask) => mask.keys(),
            Self::Within(parts) => parts.iter().flat_map(|(_, mask)| mask.keys()).collect(),
            Self::Null | Self::Fixed(_) | Self::Partial { .. } | Self::KeepDomain | Self::Date(_) => {
                Vec::new()
            }
        }
    }

    /// Writes what a text becomes; `None`, and nothing is written, if that is NULL.
    pub(crate) fn text(&self, value: &str, out: &mut String) -> Option<()> {
        match self {
            Self::Null => return None,
            Self::Fixed(text) => out.push_str(text),
            Self::Partial { keep_last } => text::partial(value, *keep_last, out),
            Self::KeepDomain => text::keep_domain(value, out),
            Self::Hash(key) => text::hash(key, value, out),
            Self::Date(unit) => text::date(*unit, value, out),
            Self::Token(format, key) => format.write(key, value, out),
            Self::Retyped(mask) => return mask.text(value, out),
            Self::Within(parts) => match document::masked(value, parts) {
                Some(document) => out.push_str(&document),
                None => out.push_str(HIDDEN),
            },
        }
        Some(())
    }

    /// The same, as a text of its own.
    pub(crate) fn owned_text(&self, value: &str) -> Option<String> {
        let mut out = String::new();
        self.text(value, &mut out).map(|()| out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mask_makes_its_own_of_a_text() {
        let key = Key::new("shop", &[1; 32]).unwrap();
        let ssn = Mask::Token(Format::Ssn, key.clone());
        for (mask, value, expected) in [
            (Mask::Null, "x", None),
            (Mask::Fixed("(hidden)".into()), "x", Some("(hidden)")),
            (Mask::Partial { keep_last: 2 }, "abcdef", Some("****ef")),
            (Mask::KeepDomain, "a@b.cd", Some("****@b.cd")),
            (Mask::Date(Unit::Year), "2020-02-02", Some("2020-01-01")),
            (ssn.clone(), "no number", Some("****")),
            (Mask::Retyped(Arc::new(Mask::KeepDomain)), "a@b.cd", Some("****@b.cd")),
            (Mask::Retyped(Arc::new(Mask::Null)), "a@b.cd", None),
        ] {
            assert_eq!(mask.owned_text(value).as_deref(), expected, "{mask:?}");
        }
        assert!(Mask::Hash(key.clone()).owned_text("x").unwrap().starts_with("shop:"));
        assert_eq!(Mask::Retyped(Arc::new(ssn)).keys(), [&key]);
        assert!(Mask::KeepDomain.keys().is_empty());
    }
}
