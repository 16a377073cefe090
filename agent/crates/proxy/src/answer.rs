//! What goes back to a client: always a whole message, never an error status that a driver would retry.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// An answer, complete before its first byte is sent.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// A message of our own in Snowflake's shape. The content type matters: Node takes a body of any other type for
    /// a failed request and sends the statement again (protocol trap 6).
    pub(crate) fn json(body: Vec<u8>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status: StatusCode::OK, headers, body: body.into() }
    }

    /// Snowflake's own reply, with its headers and the body given, which is never compressed: over loopback that
    /// costs more than it saves.
    pub(crate) fn reply(status: StatusCode, mut headers: HeaderMap, body: Vec<u8>) -> Self {
        headers.remove(header::CONTENT_ENCODING);
        Self { status, headers, body: body.into() }
    }

    /// Snowflake's own reply, with every byte of its body as it came, compressed or not.
    pub(crate) fn as_it_came(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body }
    }

    /// A refusal of a credential that came with a request of the SQL API. Clients take 401 for an old token and send the
    /// request again with a new one, and 422 for a statement that failed; 403 they show, with its body.
    pub(crate) fn forbidden(body: Vec<u8>) -> Self {
        Self { status: StatusCode::FORBIDDEN, ..Self::json(body) }
    }

    /// A refusal in the shape of the SQL API, whose failures are HTTP 422 (protocol part 3.3).
    pub(crate) fn unprocessable(body: Vec<u8>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, ..Self::json(body) }
    }

    /// How long its body is, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// A plain "there is no such thing", for what drivers ask over plain HTTP.
    pub(crate) fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let mut response = Self::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }
}
