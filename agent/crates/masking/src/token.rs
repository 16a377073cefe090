//! Tokens that have the form of what they stand for.
//!
//! The digits of phone, card and social security numbers are permuted, so that two values never have one token. A token may
//! be a number that somebody has. An e-mail address becomes 100 bits of a keyed hash: two have the same one with less chance
//! than one in a billion among as many as there are people.

use crate::{key::Key, mask::HIDDEN, permute::permute, text::is_domain};

/// What a token looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// An e-mail address.
    Email {
        /// Whether the domain stays. If not, it is one that RFC 6761 keeps from ever being used.
        keep_domain: bool,
    },
    /// A telephone number. A country code after a `+` stays, and so does everything that is no digit.
    Phone,
    /// A payment card number with its check digit (ISO/IEC 7812-1).
    Card {
        /// Whether the first six digits stay, which say who issued it.
        keep_issuer: bool,
    },
    /// A social security number of the United States.
    Ssn,
}

/// Digits of a card that say who issued it, as older ones have them.
const ISSUER_DIGITS: usize = 6;
/// Digits of a card, by ISO/IEC 7812-1 and what is in use.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// Digits of a phone number: at most as E.164 has it, and no fewer than make one.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
const SSN_DIGITS: usize = 9;

/// Letters of a hash in an address: 32 of them, five bits each.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const ADDRESS_LETTERS: usize = 20;
/// The domain of addresses whose own is not shown.
const NO_DOMAIN: &str = "token.invalid";

impl Format {
    /// The word used in configuration, records and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Email { .. } => "email",
            Self::Phone => "phone",
            Self::Card { .. } => "card",
            Self::Ssn => "ssn",
        }
    }

    /// Writes the token of a value. A value that is not of this form is hidden whole.
    pub(crate) fn write(self, key: &Key, value: &str, out: &mut String) {
        let token = match self {
            Self::Email { keep_domain } => email(key, value, keep_domain),
            Self::Phone => phone(key, value),
            Self::Card { keep_issuer } => card(key, value, keep_issuer),
            Self::Ssn => ssn(key, value),
        };
        out.push_str(token.as_deref().unwrap_or(HIDDEN));
    }
}

fn email(key: &Key, value: &str, keep_domain: bool) -> Option<String> {
    let (local, domain) = value.rsplit_once('@')?;
    if local.is_empty() || !is_domain(domain) {
        return None;
    }
    let hash = key.hash(&[b"email", value.as_bytes()])?;
    let bits = u128::from_be_bytes(hash.first_chunk().copied()?);
    let mut token: String = (0..ADDRESS_LETTERS)
        .filter_map(|at| LETTERS.get(usize::try_from((bits >> (5 * at)) & 31).ok()?).copied().map(char::from))
        .collect();
    token.push('@');
    token.push_str(if keep_domain { domain } else { NO_DOMAIN });
    Some(token)
}

fn phone(key: &Key, value: &str) -> Option<String> {
    let (digits, has_plus) = (digits(value, " -.()/+")?, value.trim_start().starts_with('+'));
    if !PHONE_DIGITS.contains(&digits.len()) || value.matches('+').count() > usize::from(has_plus) {
        return None;
    }
    let kept = if has_plus { country_digits(&digits) } else { 0 };
    let (country, mut number) = (digits.get(..kept)?.to_vec(), digits.get(kept..)?.to_vec());
    permute(key, &[b"phone", &country], &mut number)?;
    Some(written_as(value, country.into_iter().chain(number)))
}

/// How many digits the country code has, by ITU-T E.164: 1 and 7 alone, a list of two, and three otherwise.
fn country_digits(digits: &[u8]) -> usize {
    match digits {
        [1 | 7, ..] => 1,
        [2, 0 | 7, ..]
        | [3, 0..=4 | 6 | 9, ..]
        | [4, 0 | 1 | 3..=9, ..]
        | [5, 1..=8, ..]
        | [6, 0..=6, ..]
        | [8, 1 | 2 | 4 | 6, ..]
        | [9, 0..=5 | 8, ..] => 2,
        _ => 3,
    }
}

fn card(key: &Key, value: &str, keep_issuer: bool) -> Option<String> {
    let digits = digits(value, " -")?;
    if !CARD_DIGITS.contains(&digits.len()) || !is_luhn(&digits) {
        return None;
    }
    let (issuer, rest) = digits.split_at(if keep_issuer { ISSUER_DIGITS } else { 0 });
    let mut token = digits.clone();
    let (_, number) = token.split_at_mut(issuer.len());
    let (check, number) = number.split_last_mut()?;
    permute(key, &[b"card", issuer], number)?;
    debug_assert_eq!(rest.len(), number.len() + 1);
    *check = 0;
    let sum = luhn_sum(&token);
    *token.last_mut()? = u8::try_from((10 - sum % 10) % 10).ok()?;
    Some(written_as(value, token.into_iter()))
}

/// Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).
pub(crate) fn is_luhn(digits: &[u8]) -> bool {
    luhn_sum(digits).is_multiple_of(10)
}

fn luhn_sum(digits: &[u8]) -> u32 {
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let digits = digits.iter().rev().map(|digit| u32::from(*digit));
    digits.enumerate().map(|(at, digit)| if at % 2 == 1 { doubled(digit) } else { digit }).sum()
}

fn ssn(key: &Key, value: &str) -> Option<String> {
    let mut digits = digits(value, " -")?;
    let is_grouped = match value.len() {
        SSN_DIGITS => true,
        11 => value.bytes().enumerate().all(|(at, byte)| byte.is_ascii_digit() != (at == 3 || at == 6)),
        _ => false,
    };
    if digits.len() != SSN_DIGITS || !is_grouped || !is_ssn(&digits) {
        return None;
    }
    // Numbers that are never given are stepped over. The permutation comes back to where it began, which is not one of
    // them, so this ends; one in eight is.
    loop {
        permute(key, &[b"ssn"], &mut digits)?;
        if is_ssn(&digits) {
            return Some(written_as(value, digits.into_iter()));
        }
    }
}

/// Whether nine digits can be a social security number: no part is all zeros, and the area is not 666 or above 899.
pub(crate) fn is_ssn(digits: &[u8]) -> bool {
    match digits {
        [a, b, c, d, e, serial @ ..] if serial.len() == 4 => {
            let area = (*a, *b, *c);
            area != (0, 0, 0)
                && area != (6, 6, 6)
                && *a != 9
                && (*d, *e) != (0, 0)
                && serial.iter().any(|digit| *digit != 0)
        }
        _ => false,
    }
}

/// The digits of a text that holds nothing but them and these characters.
fn digits(text: &str, others: &str) -> Option<Vec<u8>> {
    let mut digits = Vec::new();
    for c in text.chars() {
        match c.to_digit(10) {
            Some(digit) => digits.push(u8::try_from(digit).ok()?),
            None if others.contains(c) => {}
            None => return None,
        }
    }
    Some(digits)
}

/// A text with other digits in the places of its own.
fn written_as(text: &str, mut digits: impl Iterator<Item = u8>) -> String {
    let digit = |c: char| match c {
        '0'..='9' => digits.next().map_or(c, |digit| char::from(b'0' + digit)),
        c => c,
    };
    text.chars().map(digit).collect()
}

#[cfg(test)]
mod tests;
