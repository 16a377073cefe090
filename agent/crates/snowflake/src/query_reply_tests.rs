//! Tests of answers to statements.

use base64::{Engine, prelude::BASE64_STANDARD};
use model::{Ident, ResultSet, Rows};

use super::{QueryFailure, QueryReply, QuerySuccess};
use crate::DecodeError;

pub(crate) fn success(body: &str) -> QuerySuccess {
    match QueryReply::decode(body.as_bytes().to_vec()) {
        Ok(QueryReply::Success(success)) => *success,
        other => panic!("{other:?}"),
    }
}

fn failure(body: &str) -> QueryFailure {
    match QueryReply::decode(body.as_bytes().to_vec()) {
        Ok(QueryReply::Failure(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

fn error(body: &str) -> DecodeError {
    QueryReply::decode(body.as_bytes().to_vec()).unwrap_err()
}

/// As a server sends it: spacing, order and escapes of its own, numbers beyond 2^53.
pub(crate) const SELECT: &str = r#"{ "data":{"parameters":[{"name":"TIMEZONE","value":"UTC"}],
  "rowtype":[{"name":"ID","database":"DB","schema":"PUBLIC","table":"T","length":null,"type":"FIXED","scale":0,"nullable":false},
             {"name":"EMAIL","database":"","schema":"","table":"","columnSrcTable":"T2","type":"text","nullable" : false,"byteLength":16777216}],
  "rowset":[["1","ann@example.org"], ["2",null],["3","\u00fcber\/\"x\""]],
  "total":3,"returned":3,"queryId":"01bd137c-0100-0001-0000-0000001005b1","databaseProvider":null,
  "finalDatabaseName":"DB","finalSchemaName":"PUBLIC","finalWarehouseName":null,"finalRoleName":"ETL",
  "smkId":92233720368547758079,"statementTypeId":4096,"queryResultFormat":"json",
  "queryContext":{"entries":[{"id":0,"timestamp":1748552075465658123,"priority":0}]}},
 "code":null,"message":null,"success":true}
"#;

#[test]
fn a_json_result_is_read() {
    let reply = success(SELECT);
    assert_eq!(reply.query_id.as_deref(), Some("01bd137c-0100-0001-0000-0000001005b1"));
    assert_eq!((reply.statement_type_id, reply.total, reply.affected), (Some(4096), Some(3), None));
    assert!(reply.chunks.is_none() && !reply.has_children && !reply.is_file_transfer);
    assert_eq!(reply.names.database, Some(Ident::exact("DB")));
    assert_eq!(reply.names.warehouse, None);
    let ResultSet { columns, rows } = reply.result.unwrap();
    assert_eq!((columns[0].type_name.as_str(), columns[0].table.as_str()), ("fixed", "T"));
    assert_eq!(
        (columns[1].name.as_str(), columns[1].table.as_str(), columns[1].nullable),
        ("EMAIL", "T2", false)
    );
    let cell = |text: &str| Some(text.to_owned());
    let expected = vec![
        vec![cell("1"), cell("ann@example.org")],
        vec![cell("2"), None],
        vec![cell("3"), cell("über/\"x\"")],
    ];
    assert_eq!(rows, Rows::Json(expected));
}

#[test]
fn an_arrow_result_is_read() {
    let body = format!(
        r#"{{"data":{{"rowtype":[{{"name":"A","type":"text","nullable":true}}],"rowset":[],"rowsetBase64":"{}",
        "total":1,"queryResultFormat":"arrow"}},"success":true}}"#,
        BASE64_STANDARD.encode(b"\xff\xff\xff\xffstream")
    );
    assert_eq!(success(&body).result.unwrap().rows, Rows::ArrowIpc(b"\xff\xff\xff\xffstream".to_vec()));
}

#[test]
fn results_without_rows_are_told_from_replies_without_results() {
    let columns = r#""rowtype":[{"name":"A","type":"text"}]"#;
    for (data, rows) in [
        (format!(r#"{columns},"rowset":[]"#), Rows::Json(vec![])),
        (format!(r#"{columns},"rowsetBase64":"""#), Rows::ArrowIpc(vec![])),
        (format!(r#"{columns},"rowset":null,"queryResultFormat":"arrow""#), Rows::ArrowIpc(vec![])),
        (columns.to_owned(), Rows::Json(vec![])),
    ] {
        let reply = success(&format!(r#"{{"data":{{{data}}},"success":true}}"#));
        assert_eq!(reply.result.unwrap().rows, rows, "{data}");
    }
    for data in ["", r#""rowset":[]"#, r#""rowtype":null,"rowsetBase64":"""#] {
        assert_eq!(success(&format!(r#"{{"data":{{{data}}},"success":true}}"#)).result, None, "{data}");
    }
}

#[test]
fn ways_of_rows_past_the_reply_are_seen() {
    let with =
        |data: &str| success(&format!(r#"{{"data":{{"rowtype":[],"rowset":[],{data}}},"success":true}}"#));
    assert!(with(r#""chunks":[{"url":"https://x.example/","rowCount":1}]"#).chunks.is_some());
    assert!(with(r#""chunks":[ ]"#).chunks.is_none() && with(r#""chunks":null"#).chunks.is_none());
    assert!(with(r#""resultIds":"01b,01c","resultTypes":"4096,4096""#).has_children);
    assert!(with(r#""command":"UPLOAD""#).is_file_transfer);
    assert!(with(r#""stageInfo":{"locationType":"S3"}"#).is_file_transfer);
    let dml =
        with(r#""stats":{"numRowsInserted":3,"numRowsUpdated":4,"numRowsDeleted":0,"numDmlDuplicates":9}"#);
    assert_eq!(dml.affected, Some(7));
}

#[test]
fn running_statements_are_told_from_done_ones() {
    let body = r#"{"code":"333334","data":{"getResultUrl":"/queries/01b/result","queryId":"01b"},"message":"…","success":true}"#;
    let Ok(QueryReply::Running(running)) = QueryReply::decode(body.into()) else { panic!("not running") };
    assert_eq!(running.query_id.as_deref(), Some("01b"));
    assert_eq!(running.result_url.as_deref(), Some("/queries/01b/result"));
    assert!(running.is_detached);
    assert_eq!(running.into_body(), body.as_bytes());
    for body in [
        r#"{"code":"333333","data":{"queryId":"01b"},"success":true}"#,
        r#"{"code":"333333","data":null,"success":false}"#,
        r#"{"code":null,"data":{"getResultUrl":"/x"},"success":true}"#,
        r#"{"code":"000001","data":{"getResultUrl":"/x"},"success":false}"#,
    ] {
        let reply = QueryReply::decode(body.into()).unwrap();
        assert!(matches!(reply, QueryReply::Running(ref r) if !r.is_detached), "{body}");
    }
}

#[test]
fn a_running_statement_says_by_which_ids_it_will_be_asked_for() {
    let ids = |data: &str| {
        let body = format!(r#"{{"code":"333333","data":{{{data}}},"success":true}}"#);
        let Ok(QueryReply::Running(running)) = QueryReply::decode(body.into()) else { panic!("{data}") };
        running.ids().map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    const A: &str = "01bd42cc-a95c-4499-9444-1481d21ca810";
    const B: &str = "01bd42cc-a95c-4499-9444-1481d21ca811";
    let url = |id: &str| format!(r#""getResultUrl":"/queries/{id}/result""#);
    assert_eq!(ids(&format!(r#""queryId":"{A}",{}"#, url(A))).unwrap(), [A]);
    assert_eq!(ids(&format!(r#""queryId":"{A}",{}"#, url(B))).unwrap(), [A, B]);
    assert_eq!(ids(&url(B)).unwrap(), [B]);
    assert_eq!(ids(&format!(r#""queryId":"{A}""#)).unwrap(), [A]);
    for elsewhere in [
        String::new(),
        r#""queryId":"01b""#.to_owned(),
        format!(r#""getResultUrl":"https://elsewhere.example/queries/{A}/result""#),
        format!(r#""getResultUrl":"/queries/{A}/rows""#),
        r#""getResultUrl":"/monitoring""#.to_owned(),
    ] {
        assert!(ids(&elsewhere).is_err(), "{elsewhere}");
    }
}

#[test]
fn a_failure_is_read_and_can_be_retold() {
    let body = r#"{"data":{"internalError":false,"errorCode":"100038","age":0,"sqlState":"22018","queryId":"01b",
        "line":-1,"pos":-1,"type":"EXECUTION","hint":"canary"},
        "code":"100038","message":"Numeric value 'canary' is not recognized","success":false,"headers":null}"#;
    let failed = failure(body);
    assert_eq!((failed.code.as_str(), failed.sql_state.as_deref()), ("100038", Some("22018")));
    assert_eq!(failed.message(), "Numeric value 'canary' is not recognized");
    assert!(!failed.is_about_session());
    assert!(!format!("{failed:?}").contains("canary"));
    let retold = String::from_utf8(failed.with_message("a value is not recognized")).unwrap();
    assert!(!retold.contains("canary"));
    let again = failure(&retold);
    assert_eq!(again.message(), "a value is not recognized");
    assert_eq!(
        (again.code, again.sql_state, again.query_id),
        (failed.code.clone(), failed.sql_state.clone(), failed.query_id.clone())
    );
    assert_eq!(failed.into_body(), body.as_bytes());
}

#[test]
fn failures_of_the_session_are_told_from_those_of_a_statement() {
    let code =
        |code: &str| failure(&format!(r#"{{"data":null,"code":{code},"message":"m","success":false}}"#));
    for about_session in [r#""390112""#, r#""390104""#, r#""394400""#] {
        assert!(code(about_session).is_about_session(), "{about_session}");
    }
    for about_statement in [r#""002003""#, r#""100038""#, "null", r#""390""#, r#""390 x""#, r#""39011x""#] {
        assert!(!code(about_statement).is_about_session(), "{about_statement}");
    }
    let bare = failure(&String::from_utf8(code("null").with_message("m")).unwrap());
    assert_eq!((bare.code.as_str(), bare.sql_state.as_deref()), ("000603", Some("XX000")));
}

#[test]
fn rows_where_only_some_clients_look_are_refused() {
    let columns = r#""rowtype":[{"name":"A","type":"text"}]"#;
    for body in [
        format!(r#"{{"data":{{{columns},"rowset":[["x"]],"rowsetBase64":"AAAA"}},"success":true}}"#),
        format!(r#"{{"data":{{{columns},"rowset":[["x"]]}},"success":false,"code":"000001"}}"#),
        format!(r#"{{"data":{{{columns},"rowset":[["x"]]}},"success":true,"code":"333334"}}"#),
        r#"{"data":{"rowsetBase64":"AAAA","getResultUrl":"/x"},"success":true,"code":"333333"}"#.to_owned(),
        r#"{"data":{"chunks":[{"url":"https://x/"}]},"success":false,"code":"000001"}"#.to_owned(),
    ] {
        assert_eq!(error(&body), DecodeError::UnexpectedRows, "{body}");
    }
    let undescribed = r#"{"data":{"rowset":[["x"]]},"success":true}"#;
    assert_eq!(error(undescribed), DecodeError::Missing { key: "rowtype" });
}

#[test]
fn other_bodies_are_no_answer_to_a_statement() {
    let column = r#"{"name":"A","type":"text"}"#;
    for body in [
        "<html>".to_owned(),
        String::new(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"success":true}"#.to_owned(),
        r#"{"success":"true","data":{}}"#.to_owned(),
        r#"{"success":true,"data":[]}"#.to_owned(),
        r#"{"success":true,"data":{},"data":{}}"#.to_owned(),
        r#"{"success":true,"data":{}} x"#.to_owned(),
        format!(r#"{{"success":true,"data":{{"rowtype":[{column}],"rowset":[["a"]],"rowset":[]}}}}"#),
        format!(r#"{{"success":true,"data":{{"rowtype":[{column}],"rowset":[[1]]}}}}"#),
        format!(r#"{{"success":true,"data":{{"rowtype":[{column}],"rowset":[[["a"]]]}}}}"#),
        format!(r#"{{"success":true,"data":{{"rowtype":[{column}],"rowset":[{{"a":"b"}}]}}}}"#),
        format!(r#"{{"success":true,"data":{{"rowtype":[{column}],"rowset":["a"]}}}}"#),
        format!(r#"{{"success":true,"data":{{"rowtype":[{column}],"rowset":{{}}}}}}"#),
        format!(r#"{{"success":true,"data":{{"rowtype":[{column}],"rowsetBase64":"A A=="}}}}"#),
        format!(r#"{{"success":true,"data":{{"rowtype":[{column}],"rowsetBase64":["x"]}}}}"#),
        r#"{"success":true,"data":{"rowtype":{"name":"A","type":"text"}}}"#.to_owned(),
        r#"{"success":true,"data":{"rowtype":[{"name":"A"}]}}"#.to_owned(),
        r#"{"success":true,"data":{"rowtype":[{"type":"text"}]}}"#.to_owned(),
        r#"{"success":true,"data":{"rowtype":[{"name":"A","type":"text","type":"fixed"}]}}"#.to_owned(),
        r#"{"success":true,"data":{"rowtype":[{"name":"A","type":"text","nullable":"yes"}]}}"#.to_owned(),
    ] {
        error(&body);
    }
    let latin1 = b"{\"success\":true,\"data\":{\"rowtype\":[],\"rowset\":[[\"\xe9\"]]}}".to_vec();
    assert!(QueryReply::decode(latin1).is_err());
}

#[test]
fn debug_and_errors_show_no_rows() {
    let shown = format!("{:?}", success(SELECT));
    assert!(!shown.contains("example.org") && !shown.contains("EMAIL"));
    let column = r#"{"name":"A","type":"text"}"#;
    let bad =
        format!(r#"{{"success":true,"data":{{"rowtype":[{column}],"rowset":[["hunter2",["hunter2"]]]}}}}"#);
    assert!(!error(&bad).to_string().contains("hunter2"));
    let bad = r#"{"success":true,"data":{"total":"hunter2"}}"#;
    assert!(!error(bad).to_string().contains("hunter2"));
}
