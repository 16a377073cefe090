//! What each detector finds, and what only looks like it. The last word of each line says what should come of it.

use super::*;

/// All kinds that are found in a text.
fn found(text: &str) -> Vec<&'static str> {
    Detector::ALL.into_iter().filter(|detector| detector.finds(text)).map(Detector::as_str).collect()
}

/// Put together here, so that nobody who looks for secrets in this file finds any.
fn put(parts: &[&str]) -> String {
    parts.concat()
}

#[test]
fn numbers_and_addresses_are_found_and_near_misses_are_not() {
    for (text, expected) in [
        ("ann@example.org", Some("email")),
        ("write to Ann <ann.b+c@mail.example.co.uk>.", Some("email")),
        ("x@y.zz", Some("email")),
        ("ann@localhost", None),
        ("@example.org", None),
        ("ann@10.0.0.1", None),
        ("at @ noon", None),
        ("a@b@", None),
        ("git@github.com:acme/etl.git", Some("email")),
        ("123-45-6789", Some("ssn")),
        ("ssn 123 45 6789 ok", Some("ssn")),
        ("no. (123-45-6789)", Some("ssn")),
        ("000-45-6789", None),
        ("666-45-6789", None),
        ("900-45-6789", None),
        ("123-00-6789", None),
        ("123-45-0000", None),
        ("123456789", None),
        ("123-45-6789-1", None),
        ("1123-45-6789", None),
        ("123-456-7890", None),
        ("2024-01-02", None),
        ("4111 1111 1111 1111", Some("card")),
        ("card=4111111111111111;", Some("card")),
        ("5500-0000-0000-0004", Some("card")),
        ("340000000000009", Some("card")),
        ("6011000000000004", Some("card")),
        ("4111111111111111 5500000000000004", Some("card")),
        ("id 7 4111111111111111", Some("card")),
        ("4111111111111112", None),
        ("9111111111111111", None),
        ("0000000000000000", None),
        ("41111111111111111111111", None),
        ("x4111111111111111", None),
        ("1640995200123456789", None),
        ("0.4111111111111111", None),
        ("DE89370400440532013000", Some("iban")),
        ("to GB82 WEST 1234 5698 7654 32, please", Some("iban")),
        ("NO9386011117947", Some("iban")),
        ("DE89370400440532013001", None),
        ("DE8937040044053201300", None),
        ("DE893704004405320130000", None),
        ("ZZ89370400440532013000", None),
        ("XDE89370400440532013000", None),
        ("+1 (212) 555-0123", Some("phone")),
        ("call +4915112345678 now", Some("phone")),
        ("+44 20 7946 0958", Some("phone")),
        ("212-555-0123", None),
        ("+0123456789", None),
        ("+1234567", None),
        ("1+23456789", None),
        ("+1234567890123456", None),
        ("a+1 b", None),
        ("", None),
        ("plain text with 42 and 3.14", None),
    ] {
        assert_eq!(found(text), Vec::from_iter(expected), "{text:?}");
    }
}

#[test]
fn keys_and_tokens_are_found_and_near_misses_are_not() {
    let letters = |count: usize| "Ab1".chars().cycle().take(count).collect::<String>();
    let jwt = put(&["eyJ", &letters(20), ".eyJ", &letters(30), ".", &letters(43)]);
    let secret = letters(40);
    for (text, expected) in [
        (jwt.clone(), Some("jwt")),
        (put(&["Bearer ", &jwt, "\n"]), Some("jwt")),
        (put(&["eyJ", &letters(20), ".", &letters(30), ".", &letters(43)]), None),
        (put(&["eyJ", &letters(20), ".eyJ", &letters(30)]), None),
        ("eyJ.eyJ.x".to_owned(), None),
        (put(&["-----BEGIN ", "PRIVATE KEY-----\nMII"]), Some("private-key")),
        (put(&["x\\n-----BEGIN ", "RSA PRIVATE KEY-----\\nMII"]), Some("private-key")),
        (put(&["-----BEGIN ", "PUBLIC KEY-----"]), None),
        (put(&["-----BEGIN ", "CERTIFICATE-----"]), None),
        (put(&["-----BEGIN ", "PRIVATE KEY"]), None),
        (put(&["AKIA", "ABCDEFGHIJ234567"]), Some("aws-key")),
        (put(&["key=ASIA", "ABCDEFGHIJ234567 "]), Some("aws-key")),
        (put(&["AKIA", "ABCDEFGHIJ23456"]), None),
        (put(&["AKIA", "ABCDEFGHIJ2345678"]), None),
        (put(&["AKIA", "abcdefghij234567"]), None),
        (put(&["XAKIA", "ABCDEFGHIJ234567"]), None),
        (put(&["aws_secret_access_key = ", &secret]), Some("aws-key")),
        (put(&["{\"SecretAccessKey\": \"", &secret, "\"}"]), Some("aws-key")),
        (put(&["aws_secret_access_key = ", &secret, "x"]), None),
        (put(&["other_key = ", &secret]), None),
        (
            put(&[
                "{\"type\":\"service_account\",\"private_key_id\":\"a\",\"private_key\":\"-----BEGIN ",
                "PRIVATE KEY-----\"}",
            ]),
            Some("private-key gcp-key"),
        ),
        ("{\"type\":\"service_account\",\"private_key_id\":\"a\"}".to_owned(), None),
        (put(&["AIza", &letters(35)]), Some("gcp-key")),
        (put(&["AIza", &letters(36)]), None),
        (put(&["AccountName=a;AccountKey=", &letters(86), "==;"]), Some("azure-key")),
        (put(&["AccountKey=", &letters(85), "=="]), None),
        (put(&["AccountKey=", &letters(86)]), None),
        (put(&["ver:3-hint:", "4711-", &letters(60)]), Some("snowflake-token")),
        (put(&["ver:3-hint:", "-", &letters(60)]), None),
        (put(&["ver:3-hint:", "4711-", &letters(39)]), None),
        ("server: x, ver:2".to_owned(), None),
        (put(&["ghp_", &letters(36)]), Some("github-token")),
        (put(&["token ghs_", &letters(36), "."]), Some("github-token")),
        (put(&["github_pat_", &letters(22), "_", &letters(59)]), Some("github-token")),
        (put(&["ghp_", &letters(35)]), None),
        (put(&["xghp_", &letters(36)]), None),
    ] {
        let expected: Vec<&str> = expected.into_iter().flat_map(|words| words.split(' ')).collect();
        assert_eq!(found(&text), expected, "{text:?}");
    }
}

#[test]
fn no_text_is_gone_over_more_than_its_length_asks_for() {
    // Texts that make a careless matcher begin again at every byte. A quadratic one would not end on these.
    let size = if cfg!(debug_assertions) { 1 << 18 } else { 1 << 22 };
    for piece in [
        "@",
        "a@",
        "a@a",
        "1-",
        "1 ",
        "4",
        "4 ",
        "+",
        "+1",
        "+1(",
        "eyJ",
        "eyJ.",
        "-----BEGIN ",
        "AKIA",
        "DE89",
        "DE89 ",
        "AccountKey=",
        "secret_access_key=",
        "ver:1-hint:1-",
        "ghp_",
        "A",
        "é",
        " ",
        "123-45-",
        "AIza.",
    ] {
        let text = piece.repeat(size / piece.len());
        for detector in Detector::ALL {
            assert!(!detector.finds(&text), "{detector:?} in {piece:?}");
        }
    }
}

#[test]
fn random_texts_are_looked_at_without_a_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % bound
    };
    let pieces = [
        "@", ".", "+", "-", " ", "4111", "11", "1", "DE89", "eyJ", "é", "ä@b.de", "(", "ver:", "-hint:",
        "AKIA", "\u{0}",
    ];
    for _ in 0..20_000 {
        let text: String = (0..next(12)).map(|_| pieces[next(pieces.len())]).collect();
        for detector in Detector::ALL {
            let is_found = detector.finds(&text);
            // A detector that finds a value finds it as well in a longer text that sets it apart.
            if is_found {
                assert!(detector.finds(&format!("x\n{text}\n")), "{detector:?} {text:?}");
            }
        }
    }
}
