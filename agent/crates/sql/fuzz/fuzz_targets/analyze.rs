//! Any text: no panic, no overflow of a small stack, no long time, and facts that agree with themselves.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{Ident, SqlText};
use sql::{Catalog, SessionNames, analyze};

/// What a thread of the agent's runtime has.
const STACK_BYTES: usize = 2 << 20;

fuzz_target!(|text: &str| {
    let Ok(text) = SqlText::new(text) else { return };
    let session = SessionNames {
        database: Some(Ident::unquoted("D")),
        schema: Some(Ident::unquoted("S")),
        ..SessionNames::default()
    };
    let reading = move || {
        let facts = analyze(&text, &session, &Catalog::default());
        let length = text.as_str().len();
        let mut end = 0;
        for literal in facts.literals() {
            let range = literal.range();
            assert!(end <= range.start && range.start < range.end && range.end <= length);
            assert!(text.as_str().is_char_boundary(range.start) && text.as_str().is_char_boundary(range.end));
            end = range.end;
        }
        if let Ok(statements) = facts.statements() {
            assert!(!statements.is_empty());
            assert!(!statements[0].is_inside);
        }
    };
    // The sanitizer's frames are several times as large as ours.
    let thread = std::thread::Builder::new().stack_size(4 * STACK_BYTES).spawn(reading);
    assert!(thread.expect("a thread").join().is_ok());
});
