//! One form, and what has none.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::to_vec;

#[derive(Serialize)]
struct Whole {
    b: Vec<Option<&'static str>>,
    a: Part,
    #[serde(rename = "B")]
    capital: i32,
    kinds: Vec<Kind>,
    none: Option<u32>,
    nothing: Vec<u8>,
    empty: Empty,
    pair: (u64, Option<&'static str>),
}

#[derive(Serialize)]
struct Part {
    z: Option<&'static str>,
    y: bool,
    x_y: u64,
    x: char,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Unit,
    New(u64),
    Struct { q: Option<&'static str>, p: &'static str },
}

fn whole() -> Whole {
    Whole {
        b: vec![Some("1"), None, Some("é\n\u{7f}\u{1}/\""), Some("null")],
        a: Part { z: None, y: true, x_y: u64::MAX, x: '\\' },
        capital: -7,
        kinds: vec![Kind::Unit, Kind::New(9), Kind::Struct { q: Some("null"), p: "" }],
        none: None,
        nothing: Vec::new(),
        empty: Empty {},
        pair: (1, None),
    }
}

#[test]
fn there_is_one_way_to_write_a_value() {
    let text = String::from_utf8(to_vec(&whole()).unwrap()).unwrap();
    let wanted = concat!(
        r#"{"B":-7,"a":{"x":"\\","x_y":18446744073709551615,"y":true},"#,
        r#""b":["1",null,"é\n"#,
        "\u{7f}",
        r#"\u0001/\"","null"],"empty":{},"kinds":["unit",{"new":9},{"struct":{"p":"","q":"null"}}],"nothing":[],"pair":[1,null]}"#,
    );
    assert_eq!(text, wanted);
    // It says what serde_json says.
    let mut plain = serde_json::to_value(whole()).unwrap();
    for place in ["", "/a"] {
        let members = plain.pointer_mut(place).unwrap().as_object_mut().unwrap();
        members.retain(|_, value| !value.is_null());
    }
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), plain);
}

#[test]
fn what_the_schema_does_not_have_is_an_error() {
    assert!(to_vec(&0.5).is_err());
    assert!(to_vec(&BTreeMap::from([("a", 1)])).is_err());
}
