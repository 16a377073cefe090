//! Chunks as they pass: what a client gets of a good one, and of what a hostile store sends.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use model::{ColumnMeta, Mode};
use snowflake::{QueryReply, codec};

use super::{table::ChunkedResult, *};
use crate::{
    answer::Outbox,
    session::lock,
    testing::{Doorway, clearance_in},
    upstream::Long,
};

/// What a result says of a chunk.
const SAID: &str = r#""rowCount":3,"uncompressedSize":60"#;

/// A result of two columns, of which the second is called as the text's last one, and whose chunk is said to be so.
fn result(text: &str, said: &str, format: &str, mode: Mode) -> Arc<ChunkedResult> {
    let name = ["SSN", "NOTE"].into_iter().find(|name| text.contains(&name.to_lowercase())).unwrap_or("CITY");
    let body = format!(
        r#"{{"data":{{"rowtype":[{{"name":"N","type":"fixed"}},{{"name":"{name}","type":"text"}}],"queryResultFormat":"{format}",
        "chunks":[{{"url":"https://b.s3.amazonaws.com/r/1?Signature=x",{said}}}]}},"success":true}}"#
    );
    let Ok(QueryReply::Success(success)) = QueryReply::decode(body.into()) else { panic!("no success") };
    let columns: Vec<ColumnMeta> = success.result.unwrap().columns;
    let way = Doorway::open();
    let clearance = clearance_in(text, mode);
    let urls = way.door().open(columns, success.chunks.unwrap(), &clearance).unwrap();
    let uri: http::Uri = urls[0].parse().unwrap();
    let snowflake::Exchange::Chunk(id) = snowflake::classify(&http::Method::GET, &uri) else {
        panic!("{uri}");
    };
    way.announced.find(id.result).unwrap().1
}

/// What a client got, and what is written down.
struct Told {
    got: Vec<u8>,
    /// None where nothing was begun.
    is_whole: Option<bool>,
    outcome: audit::ChunkOutcome,
}

impl Told {
    fn reason(&self) -> &str {
        match &self.outcome {
            audit::ChunkOutcome::Withheld(withheld) => &withheld.reason,
            other => panic!("{other:?}"),
        }
    }
}

async fn told(result: &ChunkedResult, headers: HeaderMap, pieces: Vec<Result<Bytes, ()>>) -> Told {
    let came = Long::given(StatusCode::OK, headers, pieces);
    let (mut outbox, inbox) = Outbox::new(Version::HTTP_11);
    let got = Arc::new(Mutex::new(Vec::new()));
    let client = tokio::spawn({
        let got = got.clone();
        async move {
            let mut body = inbox.await.ok()?.into_body();
            loop {
                match body.frame().await {
                    Some(Ok(frame)) => lock(&got).extend_from_slice(frame.data_ref().unwrap()),
                    end => return Some(end.is_none()),
                }
            }
        }
    });
    let (outcome, answer) = {
        let mut giving = Giving::new(&mut outbox, Passage::of(result));
        match giving.carry(came, &result.chunks.list[0]).await {
            Ok(tally) => (giving.given(tally), Some(giving.rest())),
            Err(error) => (giving.withheld(&error), giving.has_begun().then(|| Answer::begun(None))),
        }
    };
    if let Some(answer) = answer {
        answer.give(&mut outbox).await;
    }
    drop(outbox);
    let is_whole = client.await.unwrap();
    let got = lock(&got).clone();
    Told { got, is_whole, outcome }
}

fn pieces(body: &[u8], length: usize) -> Vec<Result<Bytes, ()>> {
    body.chunks(length).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

fn gzip() -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))])
}

const ROWS: &str = r#"["1","canary-1"],["2",null],["3","canary-3"]"#;

/// Many rows, of little that comes again.
fn many(rows: u64) -> String {
    let row = |n: u64| {
        let noise = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("[\"{n}\",\"canary {noise:x}{:x}\"]", noise.rotate_left(29).wrapping_mul(noise))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(",")
}

fn masked(outcome: &audit::ChunkOutcome) -> (u64, u64, u64) {
    let audit::ChunkOutcome::Given(given) = outcome else { panic!("{outcome:?}") };
    (given.rows, given.bytes, given.masked.iter().map(|column| column.cells).sum())
}

#[tokio::test]
async fn a_masked_chunk_is_given_plain_however_it_comes() {
    let result = result("select n, ssn from t", SAID, "json", Mode::Enforce);
    let packed = codec::gzip(ROWS.as_bytes());
    let expected = r#"["1",null],["2",null],["3",null]"#;
    for (headers, body) in [
        (HeaderMap::new(), ROWS.as_bytes()),
        (gzip(), &packed[..]),
        // Stores are known to leave the header out.
        (HeaderMap::new(), &packed[..]),
    ] {
        for length in [1, 5, 1000] {
            let told = told(&result, headers.clone(), pieces(body, length)).await;
            assert_eq!((told.got.as_slice(), told.is_whole), (expected.as_bytes(), Some(true)));
            assert_eq!(masked(&told.outcome), (3, expected.len() as u64, 2));
        }
    }
}

#[tokio::test]
async fn what_owes_nothing_passes_as_it_comes_and_so_does_all_in_observe_mode() {
    let packed = codec::gzip(ROWS.as_bytes());
    for (text, mode, columns) in
        [("select n, city from t", Mode::Enforce, 0), ("select n, ssn from t", Mode::Observe, 1)]
    {
        let result = result(text, SAID, "json", mode);
        // Nobody looks into it.
        for body in [&packed[..], b"\x00 no rows at all"] {
            let told = told(&result, gzip(), pieces(body, 10)).await;
            assert_eq!((told.got.as_slice(), told.is_whole), (body, Some(true)));
            assert_eq!(masked(&told.outcome), (3, body.len() as u64, 0));
            let audit::ChunkOutcome::Given(given) = &told.outcome else { panic!() };
            assert_eq!(given.masked.len(), columns);
        }
    }
}

#[tokio::test]
async fn what_is_looked_for_is_found_in_chunks_and_told_in_both_modes() {
    let key = "-----BEGIN PRIVATE KEY-----";
    let body = format!(r#"["1","nothing"],["2",null],["3","{key}"]"#);
    for (mode, expected, cells) in
        [(Mode::Enforce, body.replace(&format!("\"{key}\""), "null"), 1), (Mode::Observe, body.clone(), 0)]
    {
        let result = result("select n, note from t", SAID, "json", mode);
        for length in [1, 1000] {
            let told = told(&result, HeaderMap::new(), pieces(body.as_bytes(), length)).await;
            assert_eq!((told.got.as_slice(), told.is_whole), (expected.as_bytes(), Some(true)));
            assert_eq!(masked(&told.outcome), (3, expected.len() as u64, cells));
            let audit::ChunkOutcome::Given(given) = &told.outcome else { panic!() };
            let found: Vec<_> =
                given.found.iter().map(|found| (found.detector.as_str(), found.rows)).collect();
            assert_eq!(found, [("private-key", 1)]);
        }
    }
}

#[tokio::test]
async fn a_long_chunk_is_given_while_it_comes() {
    let body = many(40_000);
    let said = format!(r#""rowCount":40000,"uncompressedSize":{}"#, body.len());
    let result = result("select n, ssn from t", &said, "json", Mode::Enforce);
    for (headers, body) in
        [(HeaderMap::new(), body.clone().into_bytes()), (gzip(), codec::gzip(body.as_bytes()))]
    {
        let mut pieces = pieces(&body, 16_000);
        let told_all = told(&result, headers.clone(), pieces.clone()).await;
        assert_eq!((told_all.is_whole, masked(&told_all.outcome).2), (Some(true), 40_000));
        assert!(!String::from_utf8(told_all.got.clone()).unwrap().contains("canary"));
        // One that breaks is broken off behind what was given, and said to be so.
        *pieces.last_mut().unwrap() = Err(());
        let broken = told(&result, headers, pieces).await;
        assert_eq!(
            (broken.is_whole, broken.reason()),
            (Some(false), UpstreamError::Broken.to_string().as_str())
        );
        assert!(broken.got.len() > told_all.got.len() / 2 && told_all.got.starts_with(&broken.got));
        let audit::ChunkOutcome::Withheld(withheld) = &broken.outcome else { panic!() };
        assert_eq!(withheld.bytes, broken.got.len() as u64);
    }
}

#[tokio::test]
async fn a_hostile_chunk_is_an_error_with_a_name_and_shows_nothing() {
    let bomb = codec::gzip(&vec![b' '; 64 << 20]);
    let packed = codec::gzip(ROWS.as_bytes());
    let damaged: Vec<u8> = [&packed[..20], b"!!!!", &packed[24..]].concat();
    let endless = vec![b' '; 4 << 20];
    for (body, says) in [
        (&bomb[..], "longer than the result says"),
        (&endless, "longer than the result says"),
        (&packed[..packed.len() - 9], "not valid gzip"),
        (&damaged, "not valid gzip"),
        (&[&packed[..], &packed].concat(), "bytes after its end"),
        (&ROWS.as_bytes()[..ROWS.len() - 1], "rows of cells"),
        (&ROWS.as_bytes()[..30], "rows of cells"),
        (ROWS.replace("canary-1", "\u{fffd}").replace('\u{fffd}', "\u{1}").as_bytes(), "rows of cells"),
        (b"[\"1\",\"\xff\xfe\"]", "rows of cells"),
        (b"[[\"1\",\"a\"]]", "rows of cells"),
        (b"{\"data\":null}", "rows of cells"),
        (b"<Error><Code>AccessDenied</Code></Error>", "rows of cells"),
        (b"", "0 rows where the result says 3"),
        (br#"["1","a"]"#, "1 rows where the result says 3"),
        (br#"["1","a"],["2","b"],["3","c"],["4","d"]"#, "4 rows where the result says 3"),
        (br#"["1","a"],["2","b"],["3","c","canary"]"#, "3 cells for 2 columns"),
        (br#"["1","a"],["2","b"],["canary"]"#, "1 cells for 2 columns"),
    ] {
        let result = result("select n, ssn from t", SAID, "json", Mode::Enforce);
        let told = told(&result, HeaderMap::new(), pieces(body, 8192)).await;
        assert!(
            told.reason().contains(says),
            "{}: {}",
            body[..body.len().min(60)].escape_ascii(),
            told.reason()
        );
        assert!(!String::from_utf8_lossy(&told.got).contains("canary"));
        assert_ne!(told.is_whole, Some(true));
    }
    let result = result("select n, ssn from t", SAID, "arrow", Mode::Enforce);
    for (body, says) in [
        (ROWS.as_bytes(), "Arrow stream"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f", "larger than"),
        (b"\xff\xff\xff\xff\x10\x00\x00\x00AAAAAAAAAAAAAAAA", "something else than messages"),
        (b"\xff\xff\xff\xff\x00\x00\x00\x00", "other messages"),
    ] {
        let told = told(&result, HeaderMap::new(), pieces(body, 3)).await;
        assert!(told.reason().contains(says), "{}", told.reason());
        assert_eq!(told.is_whole, None, "it is 404");
    }
}

#[tokio::test]
async fn a_coding_that_is_not_known_is_not_guessed_at() {
    let result = result("select n, ssn from t", SAID, "json", Mode::Enforce);
    let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static("br"))]);
    let told = told(&result, headers, pieces(ROWS.as_bytes(), 1000)).await;
    assert!(told.reason().contains("\"br\" is not known"), "{}", told.reason());
}

#[tokio::test]
async fn what_was_said_of_a_result_holds_for_its_session_only() {
    let way = Doorway::open();
    let result = result("select n, ssn from t", SAID, "json", Mode::Enforce);
    let open = |way: &Doorway| {
        let urls = way.door().open(result.columns.clone(), result.chunks.clone(), &result.clearance).unwrap();
        let key = urls[0].rsplit('/').nth(1).unwrap().parse().unwrap();
        assert_eq!(urls, [format!("https://acme.snowflakecomputing.com/snowfence/chunks/{key}/0")]);
        key
    };
    let (first, second) = (open(&way), open(&way));
    assert!(first != second && way.announced.find(first).is_some() && way.announced.find(second).is_some());
    let announced = way.close();
    assert!(announced.find(first).is_none(), "its session is over");
}

#[tokio::test(start_paused = true)]
async fn what_was_said_of_a_result_holds_as_long_as_its_addresses() {
    let way = Doorway::open();
    let result = result("select n, ssn from t", SAID, "json", Mode::Enforce);
    let urls = way.door().open(result.columns.clone(), result.chunks.clone(), &result.clearance).unwrap();
    let key = urls[0].rsplit('/').nth(1).unwrap().parse().unwrap();
    let hold = crate::limits::CHUNKS_KEPT_WAIT_MAX;
    tokio::time::advance(hold - std::time::Duration::from_secs(1)).await;
    assert!(way.announced.find(key).is_some());
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    assert!(way.announced.find(key).is_none());
}

#[tokio::test]
async fn a_host_that_is_no_store_is_never_asked() {
    let way = Doorway::open();
    let result = result("select n, ssn from t", SAID, "json", Mode::Enforce);
    for host in
        ["evil.example", "amazonaws.com.evil.example", "evilamazonaws.com", "metadata.google.internal"]
    {
        let body = format!(
            r#"{{"data":{{"rowtype":[{{"name":"N","type":"fixed"}}],"chunks":[{{"url":"https://{host}/1",{SAID}}}]}},"success":true}}"#
        );
        let Ok(QueryReply::Success(success)) = QueryReply::decode(body.into()) else { panic!("no success") };
        let refused = way.door().open(result.columns.clone(), success.chunks.unwrap(), &result.clearance);
        let reason = refused.unwrap_err().to_string();
        assert!(reason.contains(host) && reason.contains("upstream.result_domains"), "{reason}");
    }
}

#[tokio::test]
async fn the_oldest_results_of_a_session_make_room_for_its_newest() {
    let way = Doorway::open();
    let result = result("select n, ssn from t", SAID, "json", Mode::Enforce);
    let mut chunks = result.chunks.clone();
    chunks.list = vec![chunks.list[0].clone(); 40_000];
    let key = |chunks| {
        let urls = way.door().open(result.columns.clone(), chunks, &result.clearance).unwrap();
        urls[0].rsplit('/').nth(1).unwrap().parse().unwrap()
    };
    let keys: Vec<uuid::Uuid> = (0..4).map(|_| key(chunks.clone())).collect();
    let found: Vec<bool> = keys.iter().map(|key| way.announced.find(*key).is_some()).collect();
    assert_eq!(found, [false, false, true, true]);
    chunks.list = vec![chunks.list[0].clone(); 200_000];
    let refused = way.door().open(result.columns.clone(), chunks, &result.clearance);
    assert!(refused.unwrap_err().to_string().contains("200000 chunks"));
}
