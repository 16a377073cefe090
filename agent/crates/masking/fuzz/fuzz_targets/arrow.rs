//! Any bytes as an Arrow stream, under any mask: no panic, no memory beyond a multiple of what came in, and what comes out can be
//! read and has as many rows.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use masking::{Detector, Format, JsonPath, Key, Mask, Unit, Watch, apply, count_rows, watch};
use model::{ColumnMeta, ResultSet, Rows};

const TYPES: [&str; 10] = [
    "text",
    "variant",
    "fixed",
    "real",
    "boolean",
    "date",
    "time",
    "timestamp_ntz",
    "timestamp_tz",
    "binary",
];

/// A row of four bytes becomes a keyed hash at most.
const GROWTH: usize = 64;
const ROOM: usize = 1 << 16;

fn mask(choice: u8) -> Option<Mask> {
    let key = || Key::new("k", &[7; 32]).unwrap();
    let plain = match choice % 8 {
        0 => return None,
        1 => Mask::Null,
        2 => Mask::Partial { keep_last: 4 },
        3 => Mask::Hash(key()),
        4 => Mask::Date(Unit::Month),
        5 => Mask::Token(Format::Ssn, key()),
        6 => Mask::Within([(JsonPath::parse("a[0].*").unwrap(), Mask::KeepDomain)].into()),
        _ => Mask::Fixed("x".into()),
    };
    Some(if choice & 8 != 0 { Mask::Retyped(Arc::new(plain)) } else { plain })
}

fuzz_target!(init: {
    // A panic that masking makes an error of is none here either; any other still ends the run.
    std::panic::set_hook(Box::new(|_| {}));
}, |input: (u8, [u8; 4], &[u8])| {
    let (width, choices, stream) = input;
    let width = usize::from(width % 4) + 1;
    let column = |choice: &u8| ColumnMeta {
        name: "C".to_owned(),
        database: String::new(),
        schema: String::new(),
        table: String::new(),
        type_name: TYPES[usize::from(choice / 16) % TYPES.len()].to_owned(),
        nullable: false,
    };
    let columns: Vec<ColumnMeta> = choices.iter().take(width).map(column).collect();
    let plan: Vec<Option<Mask>> = choices.iter().take(width).map(|choice| mask(*choice)).collect();
    let result = ResultSet { columns, rows: Rows::ArrowIpc(stream.to_vec()) };
    if let Ok(applied) = apply(result.clone(), &plan) {
        let Rows::ArrowIpc(masked) = &applied.result.rows else { panic!("another format") };
        assert!(masked.len() <= GROWTH * stream.len() + ROOM, "{} of {}", masked.len(), stream.len());
        if plan.iter().any(Option::is_some) {
            assert_eq!(count_rows(&applied.result.rows).unwrap(), count_rows(&result.rows).unwrap());
        }
    }
    let look = |detector| Watch { detector, every: 1, cells_max: 1_000, mask: Some(Mask::KeepDomain) };
    let watches = vec![vec![look(Detector::Email), look(Detector::Card)]; width];
    if let Ok(watched) = watch(result.clone(), &watches) {
        assert_eq!(count_rows(&watched.result.rows).ok(), count_rows(&result.rows).ok());
    }
});
