//! Requests as they come (drivers compress bodies) and replies as Snowflake sends them (it compresses too).

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use serde_json::Value;

use crate::internet::serve::{Reply, json_text};

const PLAIN_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Smaller replies are not worth the work.
const COMPRESSED_FROM_BYTES: usize = 1024;

/// A request, with its body plain and read as JSON.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) accepts_gzip: bool,
    pub(super) user_agent: String,
    /// The body as the client wrote it, before compression.
    pub(super) body: Bytes,
    /// The body's JSON; null where it is none.
    pub(super) json: Value,
    token: String,
    bearer: String,
}

impl Asked {
    /// Reads a request; `None` when its body is not what its `Content-Encoding` says, or too large.
    pub(super) fn read(request: Request<Bytes>) -> Option<Self> {
        let (head, body) = request.into_parts();
        let body = match text(&head.headers, header::CONTENT_ENCODING) {
            "" | "identity" => body,
            "gzip" => gunzip(&body)?,
            _ => return None,
        };
        let authorization = text(&head.headers, header::AUTHORIZATION);
        let token = authorization.strip_prefix("Snowflake Token=\"").and_then(|rest| rest.strip_suffix('"'));
        Some(Self {
            token: token.unwrap_or_default().to_owned(),
            bearer: authorization.strip_prefix("Bearer ").unwrap_or_default().to_owned(),
            accepts_gzip: text(&head.headers, header::ACCEPT_ENCODING).contains("gzip"),
            user_agent: text(&head.headers, header::USER_AGENT).to_owned(),
            method: head.method,
            uri: head.uri,
            json: serde_json::from_slice(&body).unwrap_or_default(),
            body,
        })
    }

    /// The token in `Authorization: Snowflake Token="…"`; empty without one.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The token in `Authorization: Bearer …`; empty without one.
    pub(super) fn bearer(&self) -> &str {
        &self.bearer
    }

    /// The same request as a driver would send it, with another body.
    pub(super) fn as_query(&self, json: &Value) -> Self {
        let uri = Uri::from_static("/queries/v1/query-request");
        Self { uri, json: json.clone(), body: json.to_string().into(), ..self.clone() }
    }

    /// Path and query string.
    pub(super) fn target(&self) -> &str {
        self.uri.path_and_query().map_or("/", |target| target.as_str())
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn gunzip(body: &[u8]) -> Option<Bytes> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(body).take(PLAIN_BYTES_MAX + 1).read_to_end(&mut plain).ok()?;
    (plain.len() as u64 <= PLAIN_BYTES_MAX).then(|| plain.into())
}

/// Status 200 and a JSON body, compressed where the client takes that and it pays.
pub(super) fn reply(plain: Bytes, accepts_gzip: bool) -> Reply {
    let packed = (accepts_gzip && plain.len() >= COMPRESSED_FROM_BYTES).then(|| gzip(&plain)).flatten();
    let Some(packed) = packed else { return json_text(StatusCode::OK, plain) };
    let mut reply = json_text(StatusCode::OK, packed);
    reply.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    reply
}

/// The gzip form of a body.
pub(super) fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(encoding: &str, body: Bytes) -> Request<Bytes> {
        Request::post("/queries/v1/query-request?requestId=1")
            .header("Content-Encoding", encoding)
            .header("Authorization", "Snowflake Token=\"ver:1\"")
            .body(body)
            .unwrap()
    }

    #[test]
    fn a_body_is_read_plain_or_compressed() {
        let body = json!({ "sqlText": "select 1" }).to_string();
        let packed = gzip(body.as_bytes()).unwrap();
        for (encoding, sent) in [("", Bytes::from(body.clone())), ("gzip", packed)] {
            let asked = Asked::read(request(encoding, sent)).unwrap();
            assert_eq!((asked.json["sqlText"].as_str(), asked.token()), (Some("select 1"), "ver:1"));
            assert_eq!(
                (asked.target(), &asked.body[..]),
                ("/queries/v1/query-request?requestId=1", body.as_bytes())
            );
        }
    }

    #[test]
    fn a_body_that_is_not_what_it_says_is_not_read() {
        for (encoding, sent) in [("gzip", "{}"), ("br", "{}"), ("gzip", "")] {
            assert!(
                Asked::read(request(encoding, Bytes::from_static(sent.as_bytes()))).is_none(),
                "{encoding}"
            );
        }
    }

    #[test]
    fn large_replies_are_compressed_for_those_who_take_it() {
        let (small, large) = (json!({}), json!("x".repeat(COMPRESSED_FROM_BYTES)));
        let packed = |value: &Value, accepts| {
            reply(value.to_string().into(), accepts).headers().contains_key(header::CONTENT_ENCODING)
        };
        assert!(packed(&large, true));
        assert!(!packed(&large, false) && !packed(&small, true));
    }
}
