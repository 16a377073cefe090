//! Lines in, lines out: the example of the documentation, and lines that cannot be used.

use serde_json::{Value, json};

use super::answer;

const DOCUMENTATION: &str = include_str!("../../../../../docs/facts.md");

fn told(line: &Value) -> Value {
    match answer(7, line.to_string().as_bytes()) {
        Ok(told) => serde_json::to_value(told).unwrap(),
        Err(error) => error,
    }
}

fn outputs(line: &Value) -> Value {
    told(line)["statements"][0]["outputs"].clone()
}

#[test]
fn the_example_of_the_documentation_is_what_is_answered() {
    let blocks: Vec<Vec<Value>> = DOCUMENTATION
        .split("```json\n")
        .skip(1)
        .map(|block| {
            block
                .split("```")
                .next()
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        })
        .collect();
    let [asked, answered] = blocks.as_slice() else { panic!("two examples, {} found", blocks.len()) };
    assert_eq!(asked.len(), 3);
    assert_eq!(asked.iter().map(told).collect::<Vec<_>>(), *answered);
}

#[test]
fn a_line_that_cannot_be_used_is_answered_with_its_id() {
    for (line, id, why) in [
        (json!({"id": "x"}), json!("x"), "`sql` is missing"),
        (json!({"id": [1], "sql": 1}), json!([1]), "`sql` is missing"),
        (json!(["sql"]), json!(7), "no JSON object"),
        (json!({"id": 1, "sql": "select 1", "session": "db"}), json!(1), "`session` is no object"),
        (json!({"id": 1, "sql": "select 1", "session": {"database": "a b"}}), json!(1), "`session.database`"),
        (json!({"id": 1, "sql": "x", "session": {"role": 1}}), json!(1), "`session.role`"),
        (json!({"id": 1, "sql": "x", "session": {"secondary_roles": "some"}}), json!(1), "secondary_roles"),
        (json!({"id": 1, "sql": "x", "session": {"secondary_roles": ["a b"]}}), json!(1), "names of roles"),
        (
            json!({"id": 1, "sql": "select 1", "session": {"variables": {"a": 1}}}),
            json!(1),
            "`session.variables`",
        ),
        (json!({"id": 1, "sql": "select 1", "schema": {"t": "a"}}), json!(1), "no list"),
        (json!({"id": 1, "sql": "select 1", "schema": {"t": [1]}}), json!(1), "no string"),
        (json!({"id": 1, "sql": "select 1", "schema": {"a.b.c.d": ["x"]}}), json!(1), "no name of a table"),
        (json!({"id": 1, "sql": "x".repeat((1 << 20) + 1)}), json!(1), "BYTES_MAX"),
    ] {
        let answer = told(&line);
        assert_eq!(answer["id"], id);
        assert!(answer["error"].as_str().unwrap().contains(why), "{why}: {answer}");
    }
    let broken = answer(3, b"{\"id\": 1, ").unwrap_err();
    assert_eq!(broken["id"], 3);
    assert!(answer(3, b" \r\n").unwrap().is_none());
}

#[test]
fn what_is_not_understood_has_a_class_and_says_so() {
    let answer = told(&json!({"id": 1, "sql": "select 'never ends"}));
    assert_eq!(
        answer["statements"],
        json!([{"class": "OPAQUE", "parse": "opaque", "reads": [], "writes": [], "calls": [], "effects": [],
                "outputs": [{"name": null, "sources": "unknown"}], "decides_on": ["unknown"]}])
    );
}

#[test]
fn names_are_read_against_the_session_and_the_schema() {
    let session = json!({"database": "d", "schema": "\"raw\"", "variables": {"tbl": "d.s.t"}});
    let schema = json!({"d.s.t": {"a": "int", "\"b\"": "text"}, "D.PUBLIC.P": ["x"], "here": ["y"]});
    let of = |sql: &str| outputs(&json!({"sql": sql, "session": session, "schema": schema}));
    assert_eq!(
        of("select * from s.t"),
        json!([{"name": "A", "sources": ["D.S.T.A"]}, {"name": "b", "sources": ["D.S.T.b"]}])
    );
    assert_eq!(of("select x from p"), json!([{"name": "X", "sources": ["D.PUBLIC.P.X"]}]));
    assert_eq!(of("select * from here"), json!([{"name": "Y", "sources": ["D.raw.HERE.Y"]}]));
    assert_eq!(
        of("select z from other"),
        json!([{"name": "Z", "sources": ["D.PUBLIC.OTHER.Z", "D.raw.OTHER.Z"]}])
    );
    let reads = |sql: &str| {
        told(&json!({"sql": sql, "session": session, "schema": schema}))["statements"][0]["reads"].clone()
    };
    assert_eq!(reads("select * from here"), json!(["D.raw.HERE"]));
    assert_eq!(reads("select * from other"), json!(["D.PUBLIC.OTHER", "D.raw.OTHER"]));
}

#[test]
fn a_line_too_long_is_skipped_to_its_end() {
    let mut input = std::io::BufReader::with_capacity(4, &b"rest of it\nnext"[..]);
    super::skip_line(&mut input).unwrap();
    let mut next = String::new();
    std::io::BufRead::read_line(&mut input, &mut next).unwrap();
    assert_eq!(next, "next");
}

#[test]
fn a_table_that_the_text_makes_is_only_a_way() {
    let told = told(&json!({
        "sql": "create table n as select ssn as s, a from t; insert into n select x, y from u; create view v as select * from n; \
                create table if not exists m as select b from t; select n.s, v.a, m.b, (select count(*) from n where a = 1) from n, v, m",
        "schema": {"t": ["ssn", "a", "b"], "u": ["x", "y"], "m": ["b"]},
    }));
    let last = &told["statements"][4];
    // Of what may have been there before, its own column counts.
    assert_eq!(
        last["outputs"],
        json!([
            {"name": "S", "sources": ["T.SSN", "U.X"]},
            {"name": "A", "sources": ["T.A", "U.Y"]},
            {"name": "B", "sources": ["M.B", "T.B"]},
            {"name": null, "sources": []},
        ])
    );
    assert_eq!(last["decides_on"], json!(["T.A", "U.Y"]));
    assert_eq!(last["reads"], json!(["M", "N", "V"]));
}

#[test]
fn what_nobody_names_is_not_told() {
    let told = told(&json!({"sql": "drop function f"}));
    assert_eq!(told["statements"][0]["writes"], json!(["F"]));
}

#[test]
fn a_statement_that_is_understood_in_part_may_fill_anything() {
    let told = told(&json!({"sql": "insert into t table u"}));
    assert_eq!(told["statements"][0]["outputs"], json!([{"name": null, "sources": "unknown"}]));
}
