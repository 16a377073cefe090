//! What becomes of the replies about one statement: what is passed on, what is withheld, and what is written down.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;

use super::*;
use crate::testing::{Record, clearance_in, session};

const ID: &str = "01bd42cc-a95c-4499-9444-1481d21ca810";

fn kept(receipt: Receipt, mode: Mode, query: &str) -> Kept {
    let uri = format!("/api/v2/statements{query}").parse().unwrap();
    let asked = Submission::decode(&uri, br#"{"statement":"select ssn, city from t"}"#).unwrap();
    Kept::new(running(receipt), clearance_in("select ssn, city from t", mode), &asked, mode)
}

/// In a session of its own.
fn running(receipt: Receipt) -> Running {
    Running { receipt, _changing: None, session: Arc::new(session()), entrance: Entrance::EachRequest }
}

fn reply(status: u16, body: &str) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, headers: HeaderMap::new(), body: Bytes::from(body.to_owned()) }
}

fn packed(body: &str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Reply { status: StatusCode::OK, headers, body: codec::gzip(body.as_bytes()).into() }
}

/// The first part of a result of three rows: two here, one in the next.
fn result(data: &str) -> String {
    format!(
        r#"{{"resultSetMetaData":{{"numRows":3,"rowType":[{{"name":"SSN","type":"text"}},{{"name":"CITY","type":"text"}}],
        "partitionInfo":[{{"rowCount":2}},{{"rowCount":1}}]}},"data":{data},"statementHandle":"{ID}"}}"#
    )
}

const TWO: &str = r#"[["canary-1","Oslo"],["canary-2","Rome"]]"#;
const ONE: &str = r#"{"data":[["canary-3","Bern"]]}"#;
const RUNNING: &str = r#"{"code":"333334","statementHandle":"01bd42cc-a95c-4499-9444-1481d21ca810"}"#;

async fn first(kept: &Kept, reply: &Reply) -> (u16, String) {
    let answer = kept.first(kept.decode(reply).await, reply).await;
    told(answer).await
}

async fn next(kept: &Kept, record: &Record, reply: &Reply, partition: usize) -> (u16, String) {
    let decoded = kept.decode(reply).await;
    let connection = ConnectionId::new(Uuid::from_u128(9));
    told(kept.next(&record.journal, connection, decoded, reply, partition).await.unwrap()).await
}

/// Status and plain body of an answer.
async fn told(answer: Answer) -> (u16, String) {
    let response: Response<crate::answer::Outgoing> = answer.into();
    let coding =
        response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let plain = codec::plain(&body, coding.as_deref(), 9_999).unwrap();
    (status, String::from_utf8(plain.into_owned()).unwrap())
}

#[tokio::test]
async fn every_part_is_cleared_and_the_outcome_is_written_down_once() {
    let record = Record::start();
    let kept = kept(record.receipt(1).await, Mode::Enforce, "");
    assert_eq!(first(&kept, &reply(202, RUNNING)).await, (202, RUNNING.to_owned()));
    assert!(kept.is_running().await && record.outcomes().is_empty());
    let masked = result(r#"[[null,"Oslo"],[null,"Rome"]]"#);
    for _ in 0..2 {
        assert_eq!(next(&kept, &record, &reply(200, &result(TWO)), 0).await, (200, masked.clone()));
    }
    let part = r#"{"data":[[null,"Bern"]]}"#;
    for came in [reply(200, ONE), packed(ONE)] {
        assert_eq!(next(&kept, &record, &came, 1).await, (200, part.to_owned()));
    }
    let outcomes = record.outcomes();
    let [audit::Outcome::Answered(answered)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!((answered.rows, answered.masked.len()), (3, 1));
    assert_eq!(answered.server_query.as_deref(), Some(ID));
}

#[tokio::test]
async fn null_is_written_as_it_was_asked_for() {
    let record = Record::start();
    let kept = kept(record.receipt(1).await, Mode::Enforce, "?nullable=false");
    let came = result(r#"[["canary-1","null"],["canary-2","Rome"]]"#);
    let (_, body) = first(&kept, &reply(200, &came)).await;
    assert_eq!(body, result(r#"[["null","null"],["null","Rome"]]"#));
}

#[tokio::test]
async fn what_is_not_what_it_says_is_withheld() {
    let several =
        result(TWO).replace(r#""statementHandle""#, r#""statementHandles":["a","b"],"statementHandle""#);
    let whole = result(r#"[["canary-1","Oslo"]]"#);
    for came in
        [several, whole, result(r#"[["canary-1"],["canary-2"]]"#), r#"{"data":[["canary"]]}"#.to_owned()]
    {
        let record = Record::start();
        let kept = kept(record.receipt(1).await, Mode::Enforce, "");
        let (status, body) = first(&kept, &reply(200, &came)).await;
        assert!(status == 422 && body.contains("Snowfence refused") && !body.contains("canary"), "{body}");
        let (status, body) = next(&kept, &record, &reply(200, &result(TWO)), 0).await;
        assert!(status == 422 && !body.contains("canary"), "its outcome is written down: {body}");
        let outcomes = record.outcomes();
        assert!(matches!(outcomes.as_slice(), [audit::Outcome::Withheld(_)]), "{outcomes:?}");
    }
}

#[tokio::test]
async fn a_later_part_with_other_rows_than_were_told_is_withheld() {
    let record = Record::start();
    let kept = kept(record.receipt(1).await, Mode::Enforce, "");
    assert_eq!(first(&kept, &reply(200, &result(TWO))).await.0, 200);
    for came in [r#"{"data":[]}"#, r#"{"data":[["canary","a"],["canary","b"]]}"#, r#"{"data":[["canary"]]}"#]
    {
        let (status, body) = next(&kept, &record, &reply(200, came), 1).await;
        assert!(status == 422 && !body.contains("canary"), "{body}");
    }
}

#[tokio::test]
async fn observe_mode_passes_what_it_would_have_withheld_and_says_so() {
    let record = Record::start();
    let kept = kept(record.receipt(1).await, Mode::Observe, "");
    let came = result(r#"[["canary-1","Oslo"]]"#);
    assert_eq!(first(&kept, &reply(200, &came)).await, (200, came));
    let outcomes = record.outcomes();
    let [audit::Outcome::Answered(answered)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert!(answered.would_withhold.is_some());
}

#[tokio::test]
async fn a_failure_ends_a_statement_and_a_busy_server_does_not() {
    let record = Record::start();
    let failure = r#"{"code":"002003","message":"no"}"#;
    let one = kept(record.receipt(1).await, Mode::Enforce, "");
    first(&one, &reply(202, RUNNING)).await;
    assert_eq!(next(&one, &record, &reply(503, "<html>"), 0).await, (503, "<html>".to_owned()));
    assert!(one.is_running().await);
    assert_eq!(next(&one, &record, &reply(422, failure), 0).await, (422, failure.to_owned()));
    let other = kept(record.receipt(2).await, Mode::Enforce, "");
    assert_eq!(first(&other, &reply(503, "<html>")).await.0, 503);
    let outcomes = record.outcomes();
    assert!(
        matches!(outcomes.as_slice(), [audit::Outcome::Failed(_), audit::Outcome::Failed(_)]),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn what_was_ended_has_no_rows() {
    let record = Record::start();
    let ended = kept(record.receipt(1).await, Mode::Enforce, "");
    first(&ended, &reply(202, RUNNING)).await;
    let told = br#"{"code":"000604","message":"SQL execution canceled"}"#;
    ended.cancelled(&ApiFailure::decode(StatusCode::OK, told.to_vec()).unwrap()).await.unwrap();
    let (status, body) = next(&ended, &record, &reply(200, &result(TWO)), 0).await;
    assert!(status == 422 && !body.contains("canary"), "{body}");
    let again = kept(record.receipt(2).await, Mode::Enforce, "");
    first(&again, &reply(202, RUNNING)).await;
    again.hand_over().await;
    assert!(!again.is_running().await);
    let outcomes = record.outcomes();
    assert!(
        matches!(outcomes.as_slice(), [audit::Outcome::Failed(_), audit::Outcome::Lost(_)]),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn a_statement_that_is_ended_from_here_is_lost_once_and_has_no_rows() {
    let record = Record::start();
    let kept = kept(record.receipt(1).await, Mode::Enforce, "");
    first(&kept, &reply(202, RUNNING)).await;
    let (session, entrance) = kept.runs_in().await.unwrap();
    assert_eq!((session.id, entrance), (kept.session(), Entrance::EachRequest));
    assert!(kept.lose("she has left").await && !kept.lose("again").await);
    assert!(kept.runs_in().await.is_none());
    let (status, body) = next(&kept, &record, &reply(200, &result(TWO)), 0).await;
    assert!(status == 422 && !body.contains("canary"), "{body}");
    assert_eq!(record.lost().await, ["she has left"]);
}
