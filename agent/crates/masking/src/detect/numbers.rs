//! Numbers that people have: in groups, and with check digits where there are some.

use super::runs;
use crate::token::{is_luhn, is_ssn};

/// Digits of a card.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Digits in groups of three, two and four, with `-` or a blank between them.
pub(super) fn has_ssn(text: &str) -> bool {
    let in_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b' ');
    runs(text, in_number).any(|(_, run)| {
        // A longer number with such groups in it is another number: its parts are three in all.
        let words = run.split(' ').filter(|word| !word.is_empty());
        let mut dashed = words.clone().filter(|word| word.contains('-'));
        let spaced: Vec<&str> = words.take(4).collect();
        dashed.any(|word| is_grouped_ssn(&word.split('-').take(4).collect::<Vec<_>>()))
            || (spaced.len() == 3 && is_grouped_ssn(&spaced))
    })
}

fn is_grouped_ssn(groups: &[&str]) -> bool {
    let [area, group, serial] = groups else { return false };
    if (area.len(), group.len(), serial.len()) != (3, 2, 4) {
        return false;
    }
    let digits = digits(area.bytes().chain(group.bytes()).chain(serial.bytes()));
    digits.is_some_and(|digits| is_ssn(&digits))
}

/// Groups of digits, side by side or with one `-` or blank between them, that begin as issuers' numbers do.
pub(super) fn has_card(text: &str) -> bool {
    let in_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b' ');
    runs(text, in_number).any(|(before, run)| {
        let groups: Vec<&str> = run.split([' ', '-']).collect();
        let is_word_before = before.is_some_and(|byte| byte.is_ascii_alphabetic() || b"._+".contains(&byte));
        (0..groups.len()).any(|first| {
            let from_here = groups.get(first..).unwrap_or_default();
            !(first == 0 && is_word_before) && begins_with_card(from_here)
        })
    })
}

fn begins_with_card(groups: &[&str]) -> bool {
    let mut number = Vec::new();
    for group in groups {
        // An empty group is more than one blank: another number begins.
        if group.is_empty() || number.len() + group.len() > *CARD_DIGITS.end() {
            return false;
        }
        number.extend(group.bytes().map(|byte| byte.wrapping_sub(b'0')));
        if CARD_DIGITS.contains(&number.len()) && is_issued(&number) && is_luhn(&number) {
            return true;
        }
    }
    false
}

/// Whether the first digits are of an issuer whose cards have as many digits.
fn is_issued(number: &[u8]) -> bool {
    let prefix = number.iter().take(4).fold(0_u32, |prefix, digit| prefix * 10 + u32::from(*digit));
    matches!(
        (prefix, number.len()),
        (4000..=4999, 13 | 16 | 19)
            | (5100..=5599 | 2221..=2720, 16)
            | (3400..=3499 | 3700..=3799, 15)
            | (3528..=3589 | 6011 | 6200..=6299 | 6440..=6599, 16..=19)
            | (3000..=3059 | 3600..=3699 | 3800..=3999, 14..=19)
            | (5018 | 5020 | 5038 | 6304 | 6759 | 6761..=6763, 13..=19)
    )
}

/// A `+`, the code of a country, and in all eight to fifteen digits.
pub(super) fn has_phone(text: &str) -> bool {
    text.match_indices('+').any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '+' | '=' | '/' | '.')) {
            return false;
        }
        let mut digits = 0;
        let mut is_separated = false;
        let mut last = '+';
        for c in text.get(at + 1..).unwrap_or_default().chars() {
            match c {
                '0' if digits == 0 => return false,
                '0'..='9' => (digits, is_separated) = (digits + 1, false),
                // One separator, or one with a bracket.
                ' ' | '-' | '.' | '(' | ')'
                    if digits > 0 && (!is_separated || "()".contains(c) || "()".contains(last)) =>
                {
                    is_separated = true;
                }
                _ => break,
            }
            last = c;
            if digits > 15 {
                return false;
            }
        }
        digits >= 8 && !last.is_alphabetic()
    })
}

/// Countries with the lengths of their account numbers, as the registry of ISO 13616 has them.
const IBAN_LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 \
     EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 \
     LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 \
     SC31 SD18 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20";

pub(super) fn has_iban(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_alone =
        |at: usize| !at.checked_sub(1).and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    (0..bytes.len()).any(|at| {
        let rest = bytes.get(at..).unwrap_or_default();
        let begins = matches!(rest, [a, b, c, d, ..] if a.is_ascii_uppercase() && b.is_ascii_uppercase()
            && c.is_ascii_digit() && d.is_ascii_digit());
        let length = || text.get(at..at + 2).and_then(iban_length);
        begins && is_alone(at) && length().is_some_and(|length| begins_with_iban(rest, length))
    })
}

/// In groups of four with a blank between them, or without.
fn begins_with_iban(text: &[u8], length: usize) -> bool {
    let mut number = Vec::with_capacity(length);
    let mut rest = text;
    while number.len() < length {
        if number.len() % 4 == 0 && !number.is_empty() {
            rest = rest.strip_prefix(b" ").unwrap_or(rest);
        }
        match rest.split_first() {
            Some((byte, after)) if byte.is_ascii_uppercase() || byte.is_ascii_digit() => {
                number.push(*byte);
                rest = after;
            }
            _ => return false,
        }
    }
    !rest.first().is_some_and(u8::is_ascii_alphanumeric) && is_mod_97(&number)
}

fn iban_length(country: &str) -> Option<usize> {
    let entry = IBAN_LENGTHS.split(' ').find_map(|entry| entry.strip_prefix(country))?;
    entry.parse().ok()
}

/// ISO 7064: with the first four characters at the end and letters as numbers, the rest of a division by 97 is 1.
fn is_mod_97(number: &[u8]) -> bool {
    let (country, account) = number.split_at(number.len().min(4));
    let rest = account.iter().chain(country).fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter.wrapping_sub(b'A')) + 10) % 97,
    });
    rest == 1
}

fn digits(bytes: impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    bytes.map(|byte| byte.is_ascii_digit().then(|| byte - b'0')).collect()
}
