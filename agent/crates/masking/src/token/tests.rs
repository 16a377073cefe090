//! Tests of tokens: their form, and that no two values share one.

use std::collections::HashSet;

use super::*;

fn key() -> Key {
    Key::new("k", &[3; 32]).unwrap()
}

fn token(format: Format, value: &str) -> String {
    let mut out = String::new();
    format.write(&key(), value, &mut out);
    out
}

fn shape(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect()
}

#[test]
fn numbers_keep_their_shape_and_nothing_else() {
    for (format, value) in [
        (Format::Phone, "+1 (212) 555-0123"),
        (Format::Phone, "+4915112345678"),
        (Format::Phone, "212.555.0123"),
        (Format::Card { keep_issuer: false }, "4111 1111 1111 1111"),
        (Format::Card { keep_issuer: true }, "5500-0000-0000-0004"),
        (Format::Card { keep_issuer: true }, "340000000000009"),
        (Format::Ssn, "123-45-6789"),
        (Format::Ssn, "123456789"),
    ] {
        let masked = token(format, value);
        assert_eq!(shape(&masked), shape(value), "{value}");
        assert_ne!(masked, value);
        assert_eq!(masked, token(format, value), "the same each time");
    }
}

#[test]
fn a_country_code_stays() {
    for (value, kept) in [
        ("+1 212 555 0123", "+1"),
        ("+49 151 1234567", "+49"),
        ("+353 86 123 4567", "+353"),
        ("+7 912 345 6789", "+7"),
    ] {
        assert!(token(Format::Phone, value).starts_with(kept), "{value}");
    }
}

#[test]
fn a_card_has_its_check_digit_and_may_keep_its_issuer() {
    for value in
        ["4111111111111111", "5500000000000004", "340000000000009", "6011000000000004", "4222222222222"]
    {
        for keep_issuer in [true, false] {
            let masked = token(Format::Card { keep_issuer }, value);
            assert!(is_luhn(&digits(&masked, "").unwrap()), "{masked}");
            assert_eq!(masked[..6] == value[..6], keep_issuer, "{value} {masked}");
        }
    }
}

#[test]
fn an_address_keeps_its_domain_or_gets_one_that_nobody_has() {
    let kept = token(Format::Email { keep_domain: true }, "ann@example.org");
    let (local, domain) = kept.split_once('@').unwrap();
    assert_eq!((local.len(), domain), (ADDRESS_LETTERS, "example.org"));
    assert!(token(Format::Email { keep_domain: false }, "ann@example.org").ends_with("@token.invalid"));
    assert_ne!(kept, token(Format::Email { keep_domain: true }, "bob@example.org"));
}

#[test]
fn what_has_another_form_is_hidden() {
    for (format, value) in [
        (Format::Email { keep_domain: true }, "ann at example.org"),
        (Format::Email { keep_domain: true }, "@example.org"),
        (Format::Phone, "12345"),
        (Format::Phone, "call 212 555 0123"),
        (Format::Phone, "1+2125550123"),
        (Format::Phone, "1234567890123456"),
        (Format::Card { keep_issuer: true }, "4111111111111112"),
        (Format::Card { keep_issuer: true }, "411111111111"),
        (Format::Ssn, "000-45-6789"),
        (Format::Ssn, "666-45-6789"),
        (Format::Ssn, "12-345-6789"),
        (Format::Ssn, "1234567890"),
        (Format::Ssn, ""),
    ] {
        assert_eq!(token(format, value), HIDDEN, "{value}");
    }
}

#[test]
fn without_the_key_all_is_hidden() {
    let mut out = String::new();
    Format::Ssn.write(&Key::named("k"), "123-45-6789", &mut out);
    assert_eq!(out, HIDDEN);
}

#[test]
fn no_two_numbers_have_one_token() {
    let mut seen = HashSet::new();
    for number in 0..3_000 {
        let masked = token(Format::Ssn, &format!("123-45-{:04}", number + 1));
        assert!(is_ssn(&digits(&masked, "-").unwrap()), "{masked}");
        assert!(seen.insert(masked));
    }
    for number in 0..3_000 {
        let mut card = digits(&format!("411111000000{number:03}0"), "").unwrap();
        *card.last_mut().unwrap() = u8::try_from((10 - luhn_sum(&card) % 10) % 10).unwrap();
        let card: String = card.into_iter().map(|digit| char::from(b'0' + digit)).collect();
        assert!(seen.insert(token(Format::Card { keep_issuer: true }, &card)));
    }
}
