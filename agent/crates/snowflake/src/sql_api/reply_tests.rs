//! Replies of the SQL API: read, and put together again.

use super::*;

const ID: &str = "01bd42cc-a95c-4499-9444-1481d21ca810";

/// A reply as the documentation shows it: two partitions, spaces where Snowflake has none.
fn reply(data: &str) -> String {
    format!(
        r#"{{"resultSetMetaData":{{"numRows":3,"format":"jsonv2","partitionInfo":[{{"rowCount":2,"uncompressedSize":20}},
        {{"rowCount":1,"uncompressedSize":10,"compressedSize":9}}],"rowType":[{{"name":"ID","database":"D","schema":"S",
        "table":"T","nullable":false,"type":"fixed","scale":0,"precision":38}},{{"name":"X","database":"","schema":"",
        "table":"","nullable":true,"type":"TEXT","length":9}}]}},"data": {data},"code":"090001","sqlState":"00000",
        "statementHandle":"{ID}","statementStatusUrl":"/api/v2/statements/{ID}?requestId=1","createdOn":1700000000000}}"#
    )
}

fn decode(status: u16, body: &str, nulls: Nulls) -> Result<ApiReply, DecodeError> {
    ApiReply::decode(StatusCode::from_u16(status).unwrap(), body.into(), nulls, None)
}

fn success(body: &str, nulls: Nulls) -> ApiSuccess {
    match decode(200, body, nulls).unwrap() {
        ApiReply::Success(success) => *success,
        other => panic!("{other:?}"),
    }
}

fn rows(success: &ApiSuccess) -> &Vec<Vec<Option<String>>> {
    let Rows::Json(rows) = &success.result.rows else { panic!("no JSON") };
    rows
}

#[test]
fn a_result_is_read_and_comes_back_byte_for_byte() {
    for (nulls, data) in [
        (Nulls::Json, r#"[["1","ann@x.org"], ["2",null]]"#),
        (Nulls::Json, r#"[["1","null"],["2","\u0041\/"]]"#),
        (Nulls::Text, r#"[["1","null"],["2","b"]]"#),
        (Nulls::Text, r#"[["1","null"],["2",null]]"#),
        (Nulls::Json, "[]"),
        (Nulls::Json, "null"),
    ] {
        let body = reply(data);
        let read = success(&body, nulls);
        assert_eq!((read.handle, read.partitions.as_slice()), (Uuid::try_parse(ID).ok(), &[2, 1][..]));
        assert_eq!((read.total, read.has_children), (Some(3), false));
        let [id, x] = read.result.columns.as_slice() else { panic!("{:?}", read.result.columns) };
        assert_eq!((id.name.as_str(), id.type_name.as_str(), id.nullable), ("ID", "fixed", false));
        assert_eq!((x.table.as_str(), x.type_name.as_str(), x.nullable), ("", "text", true));
        assert_eq!(String::from_utf8(read.envelope.encode(read.result).unwrap()).unwrap(), body, "{data}");
    }
}

#[test]
fn null_is_read_as_the_client_asked_for_it() {
    let of = |nulls, data: &str| rows(&success(&reply(data), nulls)).concat();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of(Nulls::Json, r#"[["null",null]]"#), [text("null"), None]);
    assert_eq!(of(Nulls::Text, r#"[["null","NULL"]]"#), [None, text("NULL")]);
    // The server did not do as it was asked, so the text is a value.
    assert_eq!(of(Nulls::Text, r#"[["null",null]]"#), [text("null"), None]);
}

#[test]
fn rows_that_were_changed_take_their_place_and_nothing_else_moves() {
    let masked = |nulls, data: &str| {
        let mut read = success(&reply(data), nulls);
        if let Rows::Json(rows) = &mut read.result.rows {
            for row in rows {
                row[1] = None;
            }
        }
        read.result.columns[0].nullable = true;
        String::from_utf8(read.envelope.encode(read.result).unwrap()).unwrap()
    };
    let data = r#"[["1","canary"],["\u0032","null"]]"#;
    let expected = |data: &str| reply(data).replace(r#""nullable":false"#, r#""nullable":true"#);
    assert_eq!(masked(Nulls::Json, data), expected(r#"[["1",null],["\u0032",null]]"#));
    assert_eq!(masked(Nulls::Text, data), expected(r#"[["1","null"],["\u0032","null"]]"#));
}

#[test]
fn a_later_partition_has_the_columns_of_the_first() {
    let first = success(&reply(r#"[["1","a"],["2","b"]]"#), Nulls::Json);
    let later =
        |body: &str| ApiReply::decode(StatusCode::OK, body.into(), Nulls::Json, Some(&first.result.columns));
    let body = r#"{"data":[["3","canary"]]}"#;
    let Ok(ApiReply::Success(mut partition)) = later(body) else { panic!("not read") };
    assert_eq!(partition.result.columns, first.result.columns);
    assert!(partition.handle.is_none() && partition.partitions.is_empty() && partition.total.is_none());
    partition.result.rows = Rows::Json(vec![vec![Some("3".into()), None]]);
    assert_eq!(partition.envelope.encode(partition.result).unwrap(), br#"{"data":[["3",null]]}"#);
    // The first one again is taken, other columns are not.
    assert!(later(&reply("[]")).is_ok());
    assert!(later(&reply("[]").replace(r#""name":"X""#, r#""name":"Y""#)).is_err());
    assert!(decode(200, body, Nulls::Json).is_err(), "without its columns it cannot be masked");
}

#[test]
fn a_statement_that_runs_says_where_it_is() {
    let body =
        format!(r#"{{"code":"333334","message":"in progress","statementHandle":"{ID}","createdOn":1}}"#);
    let Ok(ApiReply::Running(running)) = decode(202, &body, Nulls::Json) else { panic!("not running") };
    assert_eq!(running.handle.to_string(), ID);
    assert_eq!(running.into_body(), body.as_bytes());
}

#[test]
fn a_failure_is_kept_as_it_came() {
    for (status, body, code, is_final) in [
        (
            422,
            format!(r#"{{"code":"002003","sqlState":"42S02","message":"no","statementHandle":"{ID}"}}"#),
            "002003",
            true,
        ),
        (408, r#"{"code":"000630","message":"no"}"#.into(), "000630", true),
        (401, r#"{"data":null,"code":"390303","message":"no","success":false}"#.into(), "390303", false),
        (
            401,
            r#"{"data":{"nextAction":"RETRY_LOGIN"},"code":"390144","message":"no","success":false}"#.into(),
            "390144",
            false,
        ),
        (429, r#"{"code":null}"#.into(), "429", false),
        (503, "<html>later</html>".into(), "503", false),
        (500, String::new(), "500", false),
    ] {
        let Ok(ApiReply::Failure(failure)) = decode(status, &body, Nulls::Json) else { panic!("{status}") };
        assert_eq!((failure.code.as_str(), failure.is_final), (code, is_final), "{status}");
        assert!(!format!("{failure:?}").contains("no\""));
        assert_eq!(failure.into_body(), body.as_bytes());
    }
}

#[test]
fn several_statements_are_seen() {
    let body = reply(r#"[["1","b"]]"#)
        .replace(r#""code":"090001""#, &format!(r#""code":"090001","statementHandles":["{ID}","{ID}"]"#));
    assert!(success(&body, Nulls::Json).has_children);
}

#[test]
fn what_may_hold_rows_unseen_is_refused() {
    for (status, body) in [
        (200, String::new()),
        (200, "[]".to_owned()),
        (200, "{}".to_owned()),
        (200, r#"{"data":[["a"]]}"#.to_owned()),
        (200, reply(r#"{"a":1}"#)),
        (200, reply("[[1]]")),
        (200, reply(r#"["a"]"#)),
        (200, reply(r#"[[["a"]]]"#)),
        (200, reply("[]").replace("rowType", "rowtype")),
        (200, reply("[]").replace(r#""type":"TEXT""#, r#""kind":"TEXT""#)),
        (200, reply("[]").replace(r#""rowCount":1"#, r#""rows":1"#)),
        (200, reply("[]").replace(ID, "1")),
        (200, reply("[]").replace(r#""data": "#, r#""data":[["a","b"]],"data": "#)),
        (200, reply("[]") + "x"),
        (202, "{}".to_owned()),
        (202, reply("[]")),
        (202, format!(r#"{{"statementHandle":"{ID}","data":[["a"]]}}"#)),
        (422, r#"{"code":"1","data":[["a"]]}"#.to_owned()),
        (422, reply("null")),
        (201, reply("[]")),
        (204, String::new()),
        (302, String::new()),
    ] {
        assert!(decode(status, &body, Nulls::Json).is_err(), "{status} {body}");
    }
    assert!(ApiReply::decode(StatusCode::OK, b"{\"data\":[\"\xff\"]}".to_vec(), Nulls::Json, None).is_err());
}

#[test]
fn debug_shows_no_row() {
    let read = success(&reply(r#"[["1","hunter2"]]"#), Nulls::Json);
    assert!(!format!("{read:?}").contains("hunter2"));
}
