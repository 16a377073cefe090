//! What masks make of one text.

use std::fmt::Write as _;

use crate::{
    calendar::{self, Unit},
    key::Key,
    mask::HIDDEN,
};

/// Hex digits of a keyed hash that are shown: 128 bits, of which no two texts have the same by chance.
const HASH_HEX_BYTES: usize = 16;

/// The last characters, never more than half of them.
pub(crate) fn partial(value: &str, keep_last: usize, out: &mut String) {
    out.push_str(HIDDEN);
    // Characters are counted from the end, so that a long text is not gone through for a short tail.
    let chars = if value.is_ascii() { value.len() } else { value.chars().count() };
    let kept = keep_last.min(chars / 2);
    let start = match kept.checked_sub(1) {
        Some(last) => value.char_indices().rev().nth(last).map_or(value.len(), |(at, _)| at),
        None => value.len(),
    };
    out.push_str(value.get(start..).unwrap_or_default());
}

/// The domain of an address.
pub(crate) fn keep_domain(value: &str, out: &mut String) {
    out.push_str(HIDDEN);
    match value.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && is_domain(domain) => {
            out.push('@');
            out.push_str(domain);
        }
        _ => {}
    }
}

/// Whether a text can only be a public host name: dotted, and the last label is letters. Anything looser would show
/// what follows an `@` in free text.
pub(crate) fn is_domain(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let top = |l: &str| l.len() >= 2 && l.bytes().all(|b| b.is_ascii_alphabetic());
    text.len() <= 253
        && text.split('.').all(label)
        && text.rsplit_once('.').is_some_and(|(_, last)| top(last))
}

/// The name of the key and its hash of the text. All of it is hidden if only the name is known.
pub(crate) fn hash(key: &Key, value: &str, out: &mut String) {
    let Some(hash) = key.hash(&[b"hash", value.as_bytes()]) else {
        out.push_str(HIDDEN);
        return;
    };
    out.push_str(key.name());
    out.push(':');
    for byte in hash.iter().take(HASH_HEX_BYTES) {
        // Writing into a String cannot fail.
        write!(out, "{byte:02x}").unwrap_or_default();
    }
}

/// The year, or year and month, of a text that begins with a date as ISO 8601 has it. Any other is hidden.
pub(crate) fn date(unit: Unit, value: &str, out: &mut String) {
    match iso_day(value) {
        Some(day) => write_date(unit.first_day(day), out),
        None => out.push_str(HIDDEN),
    }
}

/// A day as `YYYY-MM-DD`.
pub(crate) fn write_date(day: i64, out: &mut String) {
    let (year, month, day) = calendar::date(day);
    let sign = if year < 0 { "-" } else { "" };
    write!(out, "{sign}{:04}-{month:02}-{day:02}", year.unsigned_abs()).unwrap_or_default();
}

/// The day of `YYYY-MM-DD`, behind which there may be a time.
fn iso_day(value: &str) -> Option<i64> {
    let (date, rest) = value.split_at_checked(10)?;
    if !(rest.is_empty() || rest.starts_with(['T', 't', ' '])) {
        return None;
    }
    let mut parts = date.splitn(3, '-');
    let mut part = |digits: usize| {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i64>().ok().filter(|_| is_number)
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let counted = calendar::day_of(year, month, day);
    // What is no day of the calendar is another one when it is written again.
    (calendar::date(counted) == (year, month, day)).then_some(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

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
            assert_eq!(written(|out| partial(value, keep_last, out)), masked, "{value:?} keep {keep_last}");
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
            assert_eq!(written(|out| keep_domain(value, out)), masked, "{value:?}");
        }
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_text_and_key_alone() {
        let key = |name, byte| Key::new(name, &[byte; 32]).unwrap();
        let of = |key: &Key, value| written(|out| hash(key, value, out));
        let token = of(&key("shop", 1), "ann");
        assert_eq!(token.len(), "shop:".len() + 2 * HASH_HEX_BYTES);
        assert_eq!(token, of(&key("shop", 1), "ann"));
        assert_ne!(token, of(&key("shop", 1), "bob"));
        assert_ne!(token, of(&key("shop", 2), "ann"));
        assert_eq!(of(&key("other", 1), "ann").strip_prefix("other"), token.strip_prefix("shop"));
        assert_eq!(of(&Key::named("shop"), "ann"), HIDDEN);
    }

    #[test]
    fn a_date_is_cut_to_its_unit_and_anything_else_is_hidden() {
        for (value, unit, masked) in [
            ("1984-07-23", Unit::Year, "1984-01-01"),
            ("1984-07-23", Unit::Month, "1984-07-01"),
            ("1984-07-23T10:11:12Z", Unit::Month, "1984-07-01"),
            ("1984-07-23 10:11", Unit::Year, "1984-01-01"),
            ("1984-02-30", Unit::Year, "****"),
            ("1984-7-23", Unit::Year, "****"),
            ("1984-07-231", Unit::Year, "****"),
            ("23.07.1984", Unit::Year, "****"),
            ("+984-07-23", Unit::Year, "****"),
            ("198é-07-2", Unit::Year, "****"),
            ("", Unit::Year, "****"),
        ] {
            assert_eq!(written(|out| date(unit, value, out)), masked, "{value}");
        }
    }
}
