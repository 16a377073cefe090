//! The closed list of masks, and what each makes of one text.

/// What stands for the hidden part of a value. Its length says nothing about the value's.
const HIDDEN: &str = "****";

/// How a column is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mask {
    /// Every value becomes NULL.
    Null,
    /// The last characters of a text stay, never more than half of them: `123-45-6789` becomes `****6789`.
    Partial {
        /// How many characters stay at most.
        keep_last: usize,
    },
    /// The domain of an e-mail address stays: `ann@example.org` becomes `****@example.org`. A text that is no
    /// address is hidden whole.
    KeepDomain,
}

impl Mask {
    /// The word used in configuration, records and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Partial { .. } => "partial",
            Self::KeepDomain => "keep-domain",
        }
    }

    /// What a text becomes; `None` is NULL.
    pub(crate) fn text(self, value: &str) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Partial { keep_last } => Some(partial(value, keep_last)),
            Self::KeepDomain => Some(keep_domain(value)),
        }
    }
}

/// A JSON value that a driver can parse, for columns whose cells are JSON documents.
pub(crate) const HIDDEN_JSON: &str = "\"****\"";

fn partial(value: &str, keep_last: usize) -> String {
    let chars = value.chars().count();
    let kept = keep_last.min(chars / 2);
    let tail = value.chars().skip(chars - kept);
    HIDDEN.chars().chain(tail).collect()
}

fn keep_domain(value: &str) -> String {
    match value.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && is_domain(domain) => format!("{HIDDEN}@{domain}"),
        _ => HIDDEN.to_owned(),
    }
}

/// Whether a text can only be a public host name: dotted, and the last label is letters. Anything looser would show
/// what follows an `@` in free text.
fn is_domain(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let top = |l: &str| l.len() >= 2 && l.bytes().all(|b| b.is_ascii_alphabetic());
    text.len() <= 253
        && text.split('.').all(label)
        && text.rsplit_once('.').is_some_and(|(_, last)| top(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_keeps_a_tail_but_never_most_of_a_value() {
        for (value, keep_last, masked) in [
            ("123-45-6789", 4, "****6789"),
            ("123-45-6789", 0, "****"),
            ("6789", 4, "****89"),
            ("7", 4, "****"),
            ("", 4, "****"),
            ("äöüßéè", 2, "****éè"),
            ("123456", usize::MAX, "****456"),
        ] {
            let got = Mask::Partial { keep_last }.text(value);
            assert_eq!(got.as_deref(), Some(masked), "{value:?} keep {keep_last}");
        }
    }

    #[test]
    fn keep_domain_shows_domains_of_addresses_and_nothing_else() {
        for (value, masked) in [
            ("ann@example.org", "****@example.org"),
            ("a@b@mail.example.co.uk", "****@mail.example.co.uk"),
            ("@example.org", "****"),
            ("ann@localhost", "****"),
            ("ann@123-45-6789", "****"),
            ("ann@10.0.0.1", "****"),
            ("call me @ 555.1234 ok", "****"),
            ("my secret is @hunter2.", "****"),
            ("ann@exa mple.org", "****"),
            ("plain", "****"),
            ("", "****"),
        ] {
            assert_eq!(Mask::KeepDomain.text(value).as_deref(), Some(masked), "{value:?}");
        }
    }

    #[test]
    fn null_is_null() {
        assert_eq!(Mask::Null.text("x"), None);
    }

    #[test]
    fn the_constant_for_json_columns_is_json() {
        assert_eq!(serde_json::from_str::<String>(HIDDEN_JSON).unwrap(), HIDDEN);
    }
}
