//! What a reply says of chunks, and what a client is told in its place.

use super::*;
use crate::{QueryReply, QuerySuccess};

const CHUNKS: &str = r#""qrmk":"c2VjcmV0","chunkHeaders":{"x-amz-server-side-encryption-customer-key":"c2VjcmV0","x-amz-server-side-encryption-customer-key-md5":"bWQ1"},
 "chunks":[{"url":"https:\/\/b.s3.amazonaws.com/r/1?Signature=a%2Bb\u0026Expires=1","rowCount":5,"uncompressedSize":100,"compressedSize":40},
 {"url":"https://b.s3.amazonaws.com/r/2?Signature=%2F","rowCount":6,"uncompressedSize":0,"compressedSize":50}]"#;

fn reply(format: &str, data: &str) -> String {
    format!(
        r#"{{"data":{{"rowtype":[{{"name":"A","type":"text"}}],"rowset":[["x"]],{data},"total":12,"queryResultFormat":"{format}"}},"success":true}}"#
    )
}

fn success(body: &str) -> QuerySuccess {
    match QueryReply::decode(body.as_bytes().to_vec()).unwrap() {
        QueryReply::Success(success) => *success,
        other => panic!("{other:?}"),
    }
}

fn header<'a>(chunks: &'a Chunks, name: &str) -> Option<&'a str> {
    chunks.headers.get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn chunks_are_read_with_what_a_store_must_be_sent() {
    let chunks = success(&reply("json", CHUNKS)).chunks.unwrap();
    assert_eq!((chunks.list.len(), chunks.rows(), chunks.format), (2, 11, ChunkFormat::Json));
    let [first, second] = &chunks.list[..] else { panic!() };
    assert_eq!(first.url.target().as_str(), "/r/1?Signature=a%2Bb&Expires=1");
    assert_eq!((first.rows, first.bytes, second.bytes), (5, 100, 50));
    assert_eq!(header(&chunks, "x-amz-server-side-encryption-customer-key"), Some("c2VjcmV0"));
    assert_eq!(header(&chunks, "x-amz-server-side-encryption-customer-key-md5"), Some("bWQ1"));
    assert_eq!(chunks.headers.len(), 2);
    assert!(!format!("{chunks:?} {first:?} {:?}", chunks.headers).contains("c2VjcmV0"));
    // The key alone stands for these two (`result_batch.py`, `chunk_downloader.go`).
    let only_key = CHUNKS.replacen("\"chunkHeaders\"", "\"notChunkHeaders\"", 1);
    let arrow = reply("arrow", &only_key).replace(r#"[["x"]]"#, "[]");
    let chunks = success(&arrow).chunks.unwrap();
    assert_eq!(chunks.format, ChunkFormat::Arrow);
    assert_eq!(header(&chunks, "x-amz-server-side-encryption-customer-key"), Some("c2VjcmV0"));
    assert_eq!(header(&chunks, "x-amz-server-side-encryption-customer-algorithm"), Some("AES256"));
    // A store that wants nothing is sent nothing.
    let bare = CHUNKS.split_once("\"chunks\"").unwrap().1;
    assert!(success(&reply("json", &format!("\"chunks\"{bare}"))).chunks.unwrap().headers.is_empty());
}

#[test]
fn a_client_is_told_other_addresses_and_no_key() {
    let body = reply("json", CHUNKS);
    let mut success = success(&body);
    let urls = ["https://acme.example/1".to_owned(), "https://acme.example/2".to_owned()];
    assert!(success.envelope.clone().lead_to(&urls[..1]).is_err(), "one is left");
    success.envelope.lead_to(&urls).unwrap();
    let told = String::from_utf8(success.envelope.encode(success.result).unwrap()).unwrap();
    let before = body.split_once("\"qrmk\"").unwrap().0;
    let behind = body.split_once("Signature=%2F\"").unwrap().1;
    assert_eq!(
        told,
        format!(
            r#"{before}"qrmk":null,"chunkHeaders":{{}},
 "chunks":[{{"url":"https://acme.example/1","rowCount":5,"uncompressedSize":100,"compressedSize":40}},
 {{"url":"https://acme.example/2"{behind}"#
        )
    );
}

#[test]
fn behind_rows_that_have_passed_the_addresses_are_replaced_too() {
    let body = reply("json", CHUNKS);
    let mut passing = crate::Passing::begin(body.as_bytes()).unwrap();
    assert_eq!(passing.take(b" "), Ok(0), "the rows are over");
    let mut success = passing.end().unwrap();
    success
        .envelope
        .lead_to(&["https://acme.example/1".to_owned(), "https://acme.example/2".to_owned()])
        .unwrap();
    let rest = String::from_utf8(success.envelope.encode_behind_rows().unwrap()).unwrap();
    assert!(
        rest.starts_with(r#","qrmk":null,"chunkHeaders":{},"#) && rest.ends_with("\"success\":true} "),
        "{rest}"
    );
    assert!(!rest.contains("amazonaws") && rest.contains("acme.example/2"), "{rest}");
    // Addresses before the rows would be with the client by then.
    let (rows, chunks) = (r#""rowset":[["x"]]"#, CHUNKS.split_once("\n").unwrap().1.trim());
    for early in [chunks, r#""qrmk":"c2VjcmV0""#, r#""chunkHeaders":{"x-amz-a":"b"}"#] {
        let body = reply("json", "\"a\":1").replace(rows, &format!("{early},{rows}"));
        assert!(crate::Passing::begin(body.as_bytes()).is_none(), "{body}");
    }
}

#[test]
fn what_could_lead_to_rows_elsewhere_is_refused() {
    for (from, to) in [
        ("\"chunks\":", "\"chunkFiles\":[\"https://elsewhere.example/\"],\"chunks\":"),
        ("\"chunks\":", "\"chunkUrl\":\"https://elsewhere.example/\",\"chunks\":"),
        ("\"rowCount\":5", "\"rowCount\":5,\"mirror\":\"https://elsewhere.example/\""),
        ("\"rowCount\":5", "\"rowCount\":5,\"urls\":[]"),
        ("\"rowCount\":5", "\"rowCount\":5,\"url\":\"https://elsewhere.example/\""),
        ("\"rowCount\":5", "\"rowCount\":-5"),
        ("\"rowCount\":5", "\"rowCount\":\"5\""),
        ("\"rowCount\":5,", ""),
        ("https:\\/", "http:\\/"),
        ("b.s3.amazonaws.com/r/2", "user@b.s3.amazonaws.com/r/2"),
        ("\"url\":\"https://b.s3", "\"uri\":\"https://b.s3"),
        ("\"chunks\":[", "\"chunks\":[null,"),
        ("\"chunks\":[", "\"chunks\":[[],"),
        ("x-amz-server-side-encryption-customer-key-md5", "host"),
        ("x-amz-server-side-encryption-customer-key-md5", "authorization"),
        ("\"bWQ1\"", "7"),
        ("\"bWQ1\"", "\"a\\r\\nhost: x\""),
    ] {
        let data = CHUNKS.replacen(from, to, 1);
        assert_ne!(data, CHUNKS, "{from}");
        assert!(QueryReply::decode(reply("json", &data).into()).is_err(), "{to}");
    }
    assert!(QueryReply::decode(reply("parquet", CHUNKS).into()).is_err());
    assert!(QueryReply::decode(reply("arrow", CHUNKS).into()).is_err(), "its first rows are JSON");
    assert!(QueryReply::decode(reply("json", r#""chunks":{"0":1}"#).into()).is_err());
    let undescribed =
        reply("json", CHUNKS).replace("\"rowtype\"", "\"rowtypes\"").replace(r#"[["x"]]"#, "[]");
    assert!(QueryReply::decode(undescribed.into()).is_err());
    // A number more is nobody's way.
    let data = CHUNKS.replacen("\"rowCount\":5", "\"rowCount\":5,\"fileVersion\":2,\"isLast\":false", 1);
    assert!(success(&reply("json", &format!("\"chunkFileCount\":2,{data}"))).chunks.is_some());
}
