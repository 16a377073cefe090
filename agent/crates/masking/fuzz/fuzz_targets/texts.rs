//! Any text as a cell: under every mask a text or NULL, in a document every byte outside of the parts, and from every detector an
//! answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use masking::{Detector, Format, JsonPath, Key, Mask, Unit, Watch, apply, watch};
use model::{ColumnMeta, ResultSet, Rows};

fn result(type_name: &str, text: &str) -> ResultSet {
    let column = ColumnMeta {
        name: "C".to_owned(),
        database: String::new(),
        schema: String::new(),
        table: String::new(),
        type_name: type_name.to_owned(),
        nullable: false,
    };
    ResultSet { columns: vec![column], rows: Rows::Json(vec![vec![Some(text.to_owned())]]) }
}

fn masked(type_name: &str, text: &str, mask: Mask) -> Option<String> {
    let applied = apply(result(type_name, text), &[Some(mask)]).unwrap();
    let Rows::Json(rows) = applied.result.rows else { panic!("another format") };
    rows.into_iter().flatten().next().unwrap()
}

fuzz_target!(|text: &str| {
    let key = || Key::new("k", &[7; 32]).unwrap();
    for mask in [
        Mask::Partial { keep_last: 4 },
        Mask::KeepDomain,
        Mask::Hash(key()),
        Mask::Date(Unit::Year),
        Mask::Token(Format::Email { keep_domain: true }, key()),
        Mask::Token(Format::Phone, key()),
        Mask::Token(Format::Card { keep_issuer: true }, key()),
        Mask::Token(Format::Ssn, key()),
    ] {
        let once = masked("text", text, mask.clone());
        assert!(once.is_some() && once == masked("text", text, mask));
    }
    for type_name in ["date", "time", "timestamp_ntz", "timestamp_tz"] {
        let cut = masked(type_name, text, Mask::Date(Unit::Month));
        if let Some(cut) = cut {
            assert_eq!(masked(type_name, &cut, Mask::Date(Unit::Month)), Some(cut));
        }
    }
    let within = |path: &str| Mask::Within([(JsonPath::parse(path).unwrap(), Mask::Null)].into());
    let elsewhere = masked("variant", text, within("nowhere.to.be.found")).unwrap();
    assert!(elsewhere == text || elsewhere == "\"****\"" || text.contains("nowhere") || text.contains('\\'));
    let inside = masked("variant", text, within("*.*")).unwrap();
    assert_eq!(masked("variant", &inside, within("*.*")), Some(inside));
    let watches = Detector::ALL.map(|detector| Watch { detector, every: 1, cells_max: 1, mask: None });
    assert!(watch(result("text", text), &[watches.to_vec()]).is_ok());
});
