//! Large results in parts: the first rows in the reply, the others as chunks at a store, which is another host.
//!
//! Snowflake decides by size. Here a result comes in chunks where the statement says so, by a comment
//! `/* in chunks of 300 */`, or where the session's warehouse is called `CHUNKS_WH`. What a store gives, and what it wants
//! to be sent, is as a driver for each reads it (protocol parts 2.3 and 4.1): `chunkHeaders` and a gzip body; a plain one with
//! `/* in plain chunks of 300 */`; `qrmk` alone with `/* in keyed chunks of 300 */`, which the Python connector 5 does not
//! understand; and with `/* in expired chunks of 300 */` addresses that hold no longer.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{shape, wire};
use crate::internet::addresses::STORE_HOST;
use crate::internet::serve::Reply;

/// A warehouse whose results come in chunks, for a client whose statements cannot be changed.
const WAREHOUSE: &str = "CHUNKS_WH";
const WAREHOUSE_ROWS: usize = 300;
/// How long Snowflake's addresses hold.
const HOLD: Duration = Duration::from_secs(6 * 3600);
/// A driver fetches its chunks soon or never.
const OBJECTS_KEPT: usize = 4096;
const KEY: &str = "x-amz-server-side-encryption-customer-key";
const KEY_MD5: &str = "x-amz-server-side-encryption-customer-key-md5";
const ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";

/// How a result is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    rows: usize,
    way: Way,
}

/// In what way its chunks differ from those of any result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Usual,
    Plain,
    Keyed,
    Expired,
}

/// The words of a comment for each.
const WAYS: [(&str, Way); 4] = [
    ("/* in chunks of ", Way::Usual),
    ("/* in plain chunks of ", Way::Plain),
    ("/* in keyed chunks of ", Way::Keyed),
    ("/* in expired chunks of ", Way::Expired),
];

impl Cut {
    /// What a statement's comment, or else the session's warehouse, says.
    pub(super) fn of(sql: &str, warehouse: Option<&str>) -> Option<Self> {
        for (words, way) in WAYS {
            let number = sql.split_once(words).and_then(|(_, rest)| rest.split_once(" */"));
            if let Some(rows) = number.and_then(|(rows, _)| rows.parse().ok()).filter(|rows| *rows > 0) {
                return Some(Self { rows, way });
            }
        }
        let is_chunked = warehouse.is_some_and(|name| name.eq_ignore_ascii_case(WAREHOUSE));
        is_chunked.then_some(Self { rows: WAREHOUSE_ROWS, way: Way::Usual })
    }
}

/// What is at the store.
#[derive(Default)]
pub(super) struct Store(Mutex<HashMap<String, Object>>);

struct Object {
    /// The signed query string, byte for byte.
    query: String,
    /// Headers that must come with the request.
    wanted: Vec<(&'static str, String)>,
    expires: u64,
    body: Bytes,
    is_packed: bool,
}

impl Store {
    /// Leaves the first rows in a reply that has more, and puts the others here.
    ///
    /// # Errors
    /// When its rows cannot be read.
    pub(super) fn cut(&self, reply: &mut Value, cut: Cut) -> Result<()> {
        let result = Uuid::new_v4();
        let data = shape::object(reply, "data");
        let (first, others) = match shape::text(data, "/queryResultFormat") {
            Some("arrow") => arrow_parts(data, cut.rows)?,
            _ => json_parts(data, cut.rows),
        };
        if others.is_empty() {
            return Ok(());
        }
        shape::set(data, first.0, first.1);
        let key = BASE64_STANDARD.encode(result.as_bytes());
        let key_md5 = BASE64_STANDARD.encode(Uuid::new_v4().as_bytes());
        let numbered = others.into_iter().enumerate();
        let chunks: Result<Vec<_>> = numbered
            .map(|(number, part)| {
                self.put(&format!("/results/{result}_0/main/data_0_0_{number}"), part, cut, &key, &key_md5)
            })
            .collect();
        shape::set(data, "chunks", json!(chunks?));
        shape::set(data, "qrmk", json!(key));
        if cut.way != Way::Keyed {
            shape::set(data, "chunkHeaders", json!({ KEY: key, KEY_MD5: key_md5 }));
        }
        Ok(())
    }

    /// Puts one chunk here, and gives what a reply says of it.
    fn put(&self, path: &str, part: Part, cut: Cut, key: &str, key_md5: &str) -> Result<Value> {
        let lifetime = if cut.way == Way::Expired { Duration::ZERO } else { HOLD };
        let expires = now() + lifetime.as_secs();
        let signature = BASE64_STANDARD.encode(Uuid::new_v4().as_bytes());
        let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let is_plain = cut.way == Way::Plain;
        let coding = if is_plain { "" } else { "&response-content-encoding=gzip" };
        let query = format!(
            "{ALGORITHM}=AES256{coding}&AWSAccessKeyId=AKIALAB&Expires={expires}&Signature={signature}"
        );
        let described = part.body.len();
        let packed = wire::gzip(&part.body).context("a chunk cannot be compressed")?;
        let said = json!({
            "url": format!("https://{STORE_HOST}{path}?{query}"), "rowCount": part.rows,
            "uncompressedSize": described, "compressedSize": packed.len(),
        });
        let second = if cut.way == Way::Keyed {
            (ALGORITHM, "AES256".to_owned())
        } else {
            (KEY_MD5, key_md5.to_owned())
        };
        let wanted = vec![(KEY, key.to_owned()), second];
        let body = if is_plain { part.body } else { packed };
        let mut objects = self.objects();
        if objects.len() >= OBJECTS_KEPT {
            objects.clear();
        }
        objects.insert(path.to_owned(), Object { query, wanted, expires, body, is_packed: !is_plain });
        Ok(said)
    }

    /// Answers as a store does: its errors are XML.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Reply {
        let objects = self.objects();
        let object = match objects.get(request.uri().path()) {
            Some(object) if request.method() == Method::GET => object,
            _ => return error(StatusCode::NOT_FOUND, "NoSuchKey"),
        };
        let is_sent = |(name, value): &(&str, String)| text(request.headers(), name) == value;
        if request.uri().query() != Some(&object.query) {
            return error(StatusCode::FORBIDDEN, "SignatureDoesNotMatch");
        }
        if object.expires <= now() {
            return error(StatusCode::FORBIDDEN, "AccessDenied");
        }
        if !object.wanted.iter().all(is_sent) || request.headers().contains_key(header::AUTHORIZATION) {
            return error(StatusCode::BAD_REQUEST, "InvalidRequest");
        }
        let mut reply = Response::new(object.body.clone().into());
        let headers: &mut HeaderMap = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("binary/octet-stream"));
        if object.is_packed {
            headers.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
        }
        reply
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<String, Object>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some rows as the body of a chunk.
struct Part {
    rows: usize,
    body: Bytes,
}

type Parts = ((&'static str, Value), Vec<Part>);

/// The key and value of the first rows, and the others.
fn json_parts(data: &Value, rows: usize) -> Parts {
    let all = data.get("rowset").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut parts = all.chunks(rows);
    let first = json!(parts.next().unwrap_or_default());
    let body = |part: &[Value]| part.iter().map(Value::to_string).collect::<Vec<_>>().join(",");
    let others = parts.map(|part| Part { rows: part.len(), body: body(part).into() }).collect();
    (("rowset", first), others)
}

fn arrow_parts(data: &Value, rows: usize) -> Result<Parts> {
    let key = "rowsetBase64";
    let text = shape::text(data, "/rowsetBase64").unwrap_or_default();
    if text.is_empty() {
        return Ok(((key, json!(text)), Vec::new()));
    }
    let reader = StreamReader::try_new(Cursor::new(BASE64_STANDARD.decode(text)?), None)?;
    let schema = reader.schema();
    let all: Vec<RecordBatch> = reader.collect::<std::result::Result<_, _>>()?;
    // Each chunk has two batches, because those of Snowflake have several.
    let half = rows.div_ceil(2);
    let halves = all.iter().flat_map(|batch| {
        (0..batch.num_rows()).step_by(half).map(move |at| batch.slice(at, half.min(batch.num_rows() - at)))
    });
    let halves: Vec<RecordBatch> = halves.collect();
    let mut parts = Vec::new();
    for pair in halves.chunks(2) {
        let mut body = Vec::new();
        let mut writer = StreamWriter::try_new(&mut body, &schema)?;
        for batch in pair {
            writer.write(batch)?;
        }
        writer.finish()?;
        drop(writer);
        parts.push(Part { rows: pair.iter().map(RecordBatch::num_rows).sum(), body: body.into() });
    }
    if parts.len() < 2 {
        return Ok(((key, json!(text)), Vec::new()));
    }
    let others = parts.split_off(1);
    let first = parts.first().map(|part| BASE64_STANDARD.encode(&part.body)).unwrap_or_default();
    Ok(((key, json!(first)), others))
}

fn error(status: StatusCode, code: &str) -> Reply {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code></Error>");
    let mut reply = Response::new(Bytes::from(body).into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/xml"));
    reply
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(rows: usize) -> Value {
        let rows: Vec<_> = (0..rows).map(|n| json!([n.to_string()])).collect();
        json!({ "data": { "queryResultFormat": "json", "rowset": rows, "total": rows.len() }, "success": true })
    }

    /// The request of a driver that was told this reply, with `change` made of it.
    fn ask(store: &Store, reply: &Value, change: impl FnOnce(&mut Request<()>)) -> StatusCode {
        let url = shape::text(reply, "/data/chunks/0/url").unwrap();
        let mut request = Request::get(url).body(()).unwrap();
        for (name, value) in reply["data"]["chunkHeaders"].as_object().unwrap() {
            let name = header::HeaderName::try_from(name.as_str()).unwrap();
            request.headers_mut().insert(name, value.as_str().unwrap().parse().unwrap());
        }
        change(&mut request);
        store.answer(&request).status()
    }

    #[test]
    fn a_statement_or_a_warehouse_says_how_its_result_comes() {
        let cut = |rows, way| Some(Cut { rows, way });
        for (sql, warehouse, expected) in [
            ("select 1", None, None),
            ("select 1", Some("CI_WH"), None),
            ("select 1", Some("chunks_wh"), cut(300, Way::Usual)),
            ("select 1 /* in chunks of 7 */", None, cut(7, Way::Usual)),
            ("select 1 /* in plain chunks of 7 */", Some("CHUNKS_WH"), cut(7, Way::Plain)),
            ("select 1 /* in keyed chunks of 7 */", None, cut(7, Way::Keyed)),
            ("select 1 /* in expired chunks of 7 */", None, cut(7, Way::Expired)),
            ("select 1 /* in chunks of 0 */", None, None),
            ("select 1 /* in chunks of some */", None, None),
        ] {
            assert_eq!(Cut::of(sql, warehouse), expected, "{sql} {warehouse:?}");
        }
    }

    #[test]
    fn a_store_gives_a_chunk_for_exactly_what_it_signed() {
        let (store, cut) = (Store::default(), Cut::of("/* in chunks of 2 */", None).unwrap());
        let mut reply = reply(5);
        store.cut(&mut reply, cut).unwrap();
        assert_eq!(
            (&reply["data"]["rowset"], reply["data"]["chunks"].as_array().unwrap().len()),
            (&json!([["0"], ["1"]]), 2)
        );
        assert_eq!(
            (&reply["data"]["chunks"][1]["rowCount"], &reply["data"]["total"]),
            (&json!(1), &json!(5))
        );
        assert_eq!(ask(&store, &reply, |_| {}), StatusCode::OK);
        let target = |from: &'static str, to: &'static str| {
            move |request: &mut Request<()>| {
                let changed = request.uri().to_string().replacen(from, to, 1);
                assert_ne!(changed, request.uri().to_string());
                *request.uri_mut() = changed.parse().unwrap();
            }
        };
        assert_eq!(ask(&store, &reply, target("%3D", "=")), StatusCode::FORBIDDEN);
        assert_eq!(ask(&store, &reply, target("AWSAccessKeyId", "awsaccesskeyid")), StatusCode::FORBIDDEN);
        assert_eq!(ask(&store, &reply, target("data_0", "data_9")), StatusCode::NOT_FOUND);
        let no_key = |request: &mut Request<()>| drop(request.headers_mut().remove(KEY));
        assert_eq!(ask(&store, &reply, no_key), StatusCode::BAD_REQUEST);
        let token = |request: &mut Request<()>| {
            request.headers_mut().insert(header::AUTHORIZATION, "Snowflake Token=\"x\"".parse().unwrap());
        };
        assert_eq!(ask(&store, &reply, token), StatusCode::BAD_REQUEST, "a token is none of its business");
    }

    #[test]
    fn addresses_run_out_and_short_results_stay_whole() {
        let store = Store::default();
        let mut expired = reply(5);
        store.cut(&mut expired, Cut::of("/* in expired chunks of 2 */", None).unwrap()).unwrap();
        assert_eq!(ask(&store, &expired, |_| {}), StatusCode::FORBIDDEN);
        let mut short = reply(5);
        store.cut(&mut short, Cut::of("/* in chunks of 5 */", None).unwrap()).unwrap();
        assert_eq!(short, reply(5));
    }
}
