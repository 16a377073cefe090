//! Tests of putting rows back.

use base64::{Engine, prelude::BASE64_STANDARD};
use model::{ResultSet, Rows};

use super::EncodeError;
use crate::{
    QueryReply, QuerySuccess,
    query_reply::tests::{SELECT, success},
};

fn encode(change: impl FnOnce(&mut ResultSet)) -> Result<String, EncodeError> {
    let reply = success(SELECT);
    let mut result = reply.result.unwrap();
    change(&mut result);
    reply.envelope.encode(Some(result)).map(|body| String::from_utf8(body).unwrap())
}

fn json(result: &mut ResultSet) -> &mut Vec<Vec<Option<String>>> {
    match &mut result.rows {
        Rows::Json(rows) => rows,
        _ => panic!("no JSON rows"),
    }
}

#[test]
fn what_is_not_changed_comes_back_byte_for_byte() {
    assert_eq!(encode(|_| {}).unwrap(), SELECT);
    let without_result = r#"{ "data": {"command":"UPLOAD","smkId":92233720368547758079} ,"success":true }"#;
    let reply = success(without_result);
    assert_eq!(reply.envelope.encode(None).unwrap(), without_result.as_bytes());
}

#[test]
fn only_changed_cells_and_descriptions_differ() {
    let masked = encode(|result| {
        json(result)[0][1] = Some("\"****\"\n@é".to_owned());
        json(result)[2][1] = None;
        result.columns[1].nullable = true;
    })
    .unwrap();
    let expected = SELECT
        .replace("\"ann@example.org\"", "\"\\\"****\\\"\\n@é\"")
        .replace(r#""\u00fcber\/\"x\"""#, "null")
        .replace("\"nullable\" : false", "\"nullable\" : true");
    assert_eq!(masked, expected);
    let filled = encode(|result| json(result)[1][1] = Some(String::new())).unwrap();
    assert_eq!(filled, SELECT.replace("[\"2\",null]", "[\"2\",\"\"]"));
}

#[test]
fn a_column_never_becomes_less_nullable() {
    let body = r#"{"data":{"rowtype":[{"name":"A","type":"text","nullable":true},{"name":"B","type":"text"}],"rowset":[["a","b"]]},"success":true}"#;
    let reply = success(body);
    let mut result = reply.result.unwrap();
    result.columns[0].nullable = false;
    assert_eq!(reply.envelope.encode(Some(result)).unwrap(), body.as_bytes());
}

#[test]
fn arrow_streams_are_replaced_whole() {
    let body = |stream: &[u8]| {
        format!(
            r#"{{"data":{{"rowtype":[{{"name":"A","type":"text"}}], "rowsetBase64" : "{}", "total":1}},"success":true}}"#,
            BASE64_STANDARD.encode(stream)
        )
    };
    for (before, after) in [(&b"one"[..], &b"one"[..]), (b"one", b"another"), (b"one", b""), (b"", b"")] {
        let reply = success(&body(before));
        let mut result = reply.result.unwrap();
        result.rows = Rows::ArrowIpc(after.to_vec());
        assert_eq!(reply.envelope.encode(Some(result)).unwrap(), body(after).as_bytes());
    }
}

#[test]
fn a_column_that_became_text_is_described_so() {
    let body = |column: &str, cell: &str| {
        format!(
            r#"{{"data":{{"rowtype":[{column},{{"name":"B","type":"fixed"}}],"rowset":[[{cell},"1"]]}},"success":true}}"#
        )
    };
    for (before, after) in [
        (
            r#"{"name":"A","length":null,"type":"fixed","scale" : 2,"precision":38,"byteLength":null,"nullable":false}"#,
            r#"{"name":"A","length":16777216,"type":"text","scale" : null,"precision":null,"byteLength":16777216,"nullable":true}"#,
        ),
        (
            r#"{"name":"A","type":"FIXED"}"#,
            r#"{"name":"A","type":"text","length":16777216,"byteLength":16777216,"precision":null,"scale":null}"#,
        ),
    ] {
        let reply = success(&body(before, "\"1.50\""));
        let mut result = reply.result.unwrap();
        result.columns[0].type_name = "text".to_owned();
        result.columns[0].nullable = true;
        json(&mut result)[0][0] = Some("k:07".to_owned());
        let encoded = String::from_utf8(reply.envelope.encode(Some(result)).unwrap()).unwrap();
        assert_eq!(encoded, body(after, "\"k:07\""));
    }
}

#[test]
fn rows_of_another_reply_are_refused() {
    assert_eq!(encode(|result| json(result).truncate(2)), Err(EncodeError::Shape));
    assert_eq!(encode(|result| json(result).push(vec![None, None])), Err(EncodeError::Shape));
    assert_eq!(encode(|result| json(result)[1].push(None)), Err(EncodeError::Shape));
    assert_eq!(encode(|result| json(result)[1].clear()), Err(EncodeError::Shape));
    assert_eq!(encode(|result| result.rows = Rows::ArrowIpc(vec![])), Err(EncodeError::Format));
    assert_eq!(encode(|result| result.columns.truncate(1)), Err(EncodeError::Columns));
    assert_eq!(encode(|result| result.columns.swap(0, 1)), Err(EncodeError::Columns));
    assert_eq!(encode(|result| result.columns[0].type_name = "real".into()), Err(EncodeError::Columns));
    let select = success(SELECT);
    assert_eq!(select.envelope.encode(None), Err(EncodeError::Presence));
    let without = success(r#"{"data":{},"success":true}"#);
    assert_eq!(without.envelope.encode(select.result), Err(EncodeError::Presence));
}

#[test]
fn a_reply_without_a_key_for_rows_takes_none() {
    for (format, empty, some) in [
        ("json", Rows::Json(vec![]), Rows::Json(vec![vec![None]])),
        ("arrow", Rows::ArrowIpc(vec![]), Rows::ArrowIpc(b"x".to_vec())),
    ] {
        let body = format!(
            r#"{{"data":{{"rowtype":[{{"name":"A","type":"text"}}],"queryResultFormat":"{format}"}},"success":true}}"#
        );
        for (rows, expected) in [(empty, Ok(body.clone().into_bytes())), (some, Err(EncodeError::Shape))] {
            let reply = success(&body);
            let result = ResultSet { rows, ..reply.result.unwrap() };
            assert_eq!(reply.envelope.encode(Some(result)), expected);
        }
    }
}

#[test]
fn rows_that_were_only_counted_stay_as_they_came() {
    let reply = || match QueryReply::decode_for(SELECT.as_bytes().to_vec(), |columns| columns.len() != 2) {
        Ok(QueryReply::Success(reply)) => *reply,
        other => panic!("{other:?}"),
    };
    let encode = |rows| {
        let reply = reply();
        reply.envelope.encode(Some(ResultSet { rows, ..reply.result.unwrap() }))
    };
    assert_eq!(reply().result.unwrap().rows, Rows::Counted(3));
    assert_eq!(encode(Rows::Counted(3)).unwrap(), SELECT.as_bytes());
    assert_eq!(encode(Rows::Counted(2)), Err(EncodeError::Shape));
    assert_eq!(encode(Rows::Json(vec![vec![None, None]; 3])), Err(EncodeError::Format));
    let kept = success(SELECT);
    let result = ResultSet { rows: Rows::Counted(3), ..kept.result.unwrap() };
    assert_eq!(kept.envelope.encode(Some(result)), Err(EncodeError::Format));
}

/// Numbers that are the same in every run.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move |bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % bound
    }
}

#[test]
fn random_rows_come_back_as_they_were_put_in() {
    let mut next = numbers();
    let alphabet: Vec<char> = "ab\"\\/\n\u{0}é😀[]{},:".chars().collect();
    let cell = |next: &mut dyn FnMut(usize) -> usize| {
        (next(4) > 0).then(|| (0..next(6)).map(|_| alphabet[next(alphabet.len())]).collect::<String>())
    };
    for _ in 0..300 {
        let (width, height) = (1 + next(4), next(6));
        let columns = vec![r#"{"name":"C","type":"text","nullable":false}"#; width].join(", ");
        let rows: Vec<Vec<_>> = (0..height).map(|_| (0..width).map(|_| cell(&mut next)).collect()).collect();
        let rowset = serde_json::to_string(&rows).unwrap().replace(',', " ,");
        let body = format!(r#"{{"data":{{"rowset":{rowset},"rowtype":[{columns}]}},"success":true}}"#);
        let reply = success(&body);
        let mut result = reply.result.unwrap();
        for row in json(&mut result) {
            for value in row {
                if next(3) == 0 {
                    *value = cell(&mut next);
                }
            }
        }
        let encoded = String::from_utf8(reply.envelope.encode(Some(result.clone())).unwrap()).unwrap();
        assert_eq!(success(&encoded).result.unwrap(), result);
    }
}

#[test]
fn damaged_replies_are_read_or_refused_but_never_crash() {
    let mut next = numbers();
    for _ in 0..5_000 {
        let mut body = SELECT.as_bytes().to_vec();
        for _ in 0..=next(3) {
            let at = next(body.len());
            match next(3) {
                0 => body[at] = u8::try_from(next(256)).unwrap(),
                1 => drop(body.remove(at)),
                _ => body.insert(at, b"{}[]\",:\\0n"[next(10)]),
            }
        }
        let (kept, counted) =
            (QueryReply::decode(body.clone()), QueryReply::decode_for(body.clone(), |_| false));
        match (kept, counted) {
            (Ok(QueryReply::Success(kept)), Ok(QueryReply::Success(counted))) => {
                let rows = |reply: &QuerySuccess| match reply.result.as_ref().map(|result| &result.rows) {
                    Some(Rows::Json(rows)) => Some(rows.len() as u64),
                    Some(Rows::Counted(rows)) => Some(*rows),
                    _ => None,
                };
                assert_eq!(rows(&counted), rows(&kept));
                assert_eq!(counted.envelope.encode(counted.result), Ok(body.clone()));
                assert_eq!(kept.envelope.encode(kept.result), Ok(body));
            }
            (kept, counted) => assert_eq!(counted.is_ok(), kept.is_ok(), "{kept:?} {counted:?}"),
        }
    }
}
