//! What becomes of a reply: what is passed on, and what is withheld although Snowflake gave it.

use model::{Ident, Mode};

use super::*;
use crate::testing::{Doorway, clearance_in};

/// A reply with two rows of one column, and more in `data`.
fn reply(column: &str, more: &str) -> Reply {
    let body = format!(
        r#"{{"data":{{"rowtype":[{{"name":"{column}","type":"text","nullable":false}}],"rowset":[["canary-1"],["canary-2"]],
        "queryId":"{ID}","finalSchemaName":"OTHER","queryResultFormat":"json"{more}}},"code":null,"message":null,"success":true}}"#
    );
    raw(body)
}

const ID: &str = "01bd42cc-a95c-4499-9444-1481d21ca810";

fn raw(body: impl Into<bytes::Bytes>) -> Reply {
    Reply { status: http::StatusCode::OK, headers: http::HeaderMap::new(), body: body.into() }
}

fn ended(text: &str, reply: &Reply, mode: Mode) -> Ended {
    let reply = Reply { status: reply.status, headers: reply.headers.clone(), body: reply.body.clone() };
    match read(reply, &clearance_in(text, mode), mode, Doorway::open().door()) {
        Read::Ended(ended) => *ended,
        Read::Running { .. } => panic!("still running"),
    }
}

async fn body(answer: Answer) -> String {
    let response: http::Response<crate::answer::Outgoing> = answer.into();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// What a client of an agent that enforces gets, or why it gets nothing.
async fn passed(text: &str, column: &str, more: &str) -> Result<String, String> {
    let ended = ended(text, &reply(column, more), Mode::Enforce);
    match ended.outcome {
        audit::Outcome::Withheld(withheld) => {
            let told = body(ended.answer).await;
            assert!(told.contains("Snowfence refused") && !told.contains("canary"), "{told}");
            Err(withheld.reason)
        }
        _ => Ok(body(ended.answer).await),
    }
}

const CHUNKS: &str = r#","qrmk":"c2VjcmV0","chunks":[{"url":"https://b.s3.amazonaws.com/1","rowCount":5,"uncompressedSize":1,"compressedSize":1}],"total":7"#;

#[tokio::test]
async fn untagged_rows_pass_as_they_came_and_tagged_ones_masked() {
    let as_it_came = passed("select city from t", "CITY", r#","total":2"#).await.unwrap();
    assert!(as_it_came.contains(r#"[["canary-1"],["canary-2"]]"#), "{as_it_came}");
    let masked = passed("select ssn from t", "SSN", r#","total":2"#).await.unwrap();
    assert!(masked.contains("[[null],[null]]") && !masked.contains("canary"), "{masked}");
}

#[tokio::test]
async fn a_client_is_never_told_where_chunks_are_whether_masks_are_owed_or_not() {
    for (text, column, rows) in [
        ("select ssn from t", "SSN", "[[null],[null]]"),
        ("select city from t", "CITY", r#"[["canary-1"],["canary-2"]]"#),
    ] {
        let told = passed(text, column, CHUNKS).await.unwrap();
        assert!(told.contains(rows) && !told.contains("amazonaws") && !told.contains("c2VjcmV0"), "{told}");
        assert!(told.contains(r#""url":"https://acme.snowflakecomputing.com/snowfence/chunks/"#), "{told}");
        let ended = ended(text, &reply(column, CHUNKS), Mode::Observe);
        let audit::Outcome::Answered(answered) = ended.outcome else { panic!("{:?}", ended.outcome) };
        assert_eq!((answered.rows, answered.chunks, answered.would_withhold), (7, 1, None));
    }
}

#[tokio::test]
async fn a_result_that_leads_to_a_host_that_is_no_store_is_withheld() {
    let elsewhere = CHUNKS.replace("b.s3.amazonaws.com", "elsewhere.example");
    for (text, column) in [("select ssn from t", "SSN"), ("select city from t", "CITY")] {
        let withheld = passed(text, column, &elsewhere).await.unwrap_err();
        assert!(withheld.contains("its rows are at elsewhere.example"), "{withheld}");
    }
}

#[tokio::test]
async fn a_result_whose_chunks_have_other_rows_than_it_says_is_withheld() {
    for said in ["\"total\":2", "\"total\":5", "\"total\":8"] {
        let withheld = passed("select city from t", "CITY", &CHUNKS.replace("\"total\":7", said)).await;
        assert_eq!(withheld.unwrap_err(), Withheld::Short.to_string(), "{said}");
    }
}

#[tokio::test]
async fn a_masked_result_that_leads_elsewhere_is_withheld() {
    for more in [r#","resultIds":"01c,01d""#, r#","command":"DOWNLOAD","stageInfo":{"creds":{}}"#] {
        let withheld = passed("select ssn from t", "SSN", more).await.unwrap_err();
        assert_eq!(withheld, Withheld::Elsewhere.to_string(), "{more}");
    }
}

#[tokio::test]
async fn a_result_with_other_rows_than_it_says_is_withheld() {
    for total in ["0", "1", "3"] {
        let more = format!(r#","total":{total}"#);
        let withheld = passed("select city from t", "CITY", &more).await.unwrap_err();
        assert_eq!(withheld, Withheld::Short.to_string(), "{total}");
    }
}

/// What enforce mode withholds passes in observe mode as it came, and the record says the same of it.
#[tokio::test]
async fn observe_mode_passes_on_what_would_be_withheld_and_says_why() {
    for (text, reply) in [
        ("select ssn from t", reply("SSN", &CHUNKS.replace("amazonaws.com", "example"))),
        ("select city from t", reply("CITY", &CHUNKS.replace("https:", "http:"))),
        ("select ssn from t", reply("SSN", r#","resultIds":"01c,01d""#)),
        ("select city from t", reply("CITY", r#","total":3"#)),
        ("select ssn from t", raw(r#"{"data":{"rowset":[["canary-1"]]},"success":true}"#)),
        ("select ssn from t", raw("no JSON at all")),
    ] {
        let enforced = ended(text, &reply, Mode::Enforce);
        let audit::Outcome::Withheld(withheld) = enforced.outcome else { panic!("{:?}", enforced.outcome) };
        let observed = ended(text, &reply, Mode::Observe);
        let audit::Outcome::Answered(answered) = observed.outcome else { panic!("{:?}", observed.outcome) };
        assert_eq!(answered.would_withhold, Some(withheld.reason));
        assert_eq!(body(observed.answer).await.as_bytes(), reply.body);
        assert_eq!(observed.effect, enforced.effect);
    }
}

#[tokio::test]
async fn what_is_masked_in_one_mode_is_listed_alike_in_the_other() {
    let listed = |mode| {
        let ended = ended("select ssn from t", &reply("SSN", r#","total":2"#), mode);
        let audit::Outcome::Answered(answered) = ended.outcome else { panic!("{:?}", ended.outcome) };
        answered
    };
    let (mut enforced, observed) = (listed(Mode::Enforce), listed(Mode::Observe));
    assert_eq!((enforced.masked[0].cells, observed.masked[0].cells), (2, 0));
    assert_eq!(enforced.masked[0].rows, Some((0, 1)));
    (enforced.masked[0].cells, enforced.masked[0].rows) = (0, None);
    assert_eq!(enforced, observed);
}

#[tokio::test]
async fn still_running_passes_as_it_came() {
    let said = format!(
        r#"{{"data":{{"getResultUrl":"/queries/{ID}/result","queryId":"{ID}","queryAbortsAfterSecs":300}},"code":"333334","success":true}}"#
    );
    let (clearance, way) = (clearance_in("select ssn from t", Mode::Enforce), Doorway::open());
    let read = read(raw(said.clone()), &clearance, Mode::Enforce, way.door());
    let Read::Running { ids, answer } = read else { panic!("ended") };
    assert_eq!(ids.iter().map(ToString::to_string).collect::<Vec<_>>(), [ID]);
    assert_eq!(body(answer).await, said);
    // An address on another host would be a way around the masks.
    let elsewhere = said.replace("/queries/", "https://elsewhere.example/queries/");
    let ended = ended("select ssn from t", &raw(elsewhere), Mode::Enforce);
    assert!(matches!(ended.outcome, audit::Outcome::Withheld(_)));
}

#[tokio::test]
async fn what_nobody_asked_to_change_stays_as_it_is() {
    let context = r#","queryContext":{"entries":[{"id":0,"timestamp":1748552075465658,"priority":0,"context":"CAQ="}]}"#;
    let mut reply = reply("SSN", context);
    reply.headers.insert("x-snowflake-session", http::HeaderValue::from_static("sticky"));
    let ended = ended("select ssn from t", &reply, Mode::Enforce);
    let response: http::Response<crate::answer::Outgoing> = ended.answer.copy().unwrap().into();
    assert_eq!(response.headers()["x-snowflake-session"], "sticky");
    let body = body(ended.answer).await;
    assert!(body.contains(context) && body.contains("[[null],[null]]"), "{body}");
}

#[test]
fn what_a_statement_did_to_its_session_is_read_from_its_end() {
    let Effect::Succeeded(names) = ended("select city from t", &reply("CITY", ""), Mode::Enforce).effect
    else {
        panic!("not a success");
    };
    assert_eq!(names.schema, Some(Ident::exact("OTHER")));
    let failed = |code: &str| {
        let body =
            format!(r#"{{"data":{{"queryId":"{ID}"}},"code":"{code}","message":"m","success":false}}"#);
        ended("select city from t", &raw(body), Mode::Enforce)
    };
    assert_eq!(failed("000604").effect, Effect::Failed);
    assert!(failed("000604").id.is_some());
    assert_eq!(failed("390112").effect, Effect::NeverRan);
    assert_eq!(ended("select city from t", &raw("x"), Mode::Enforce).effect, Effect::Unknown);
}
