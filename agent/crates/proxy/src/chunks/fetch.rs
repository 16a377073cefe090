//! A chunk on its way from the store.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use snowflake::Chunk;
use tokio::time::{sleep, timeout};

use super::{ChunkError, table::ChunkedResult};
use crate::{
    limits::{CHUNK_REPLY_WAIT_MAX, CHUNK_TRIES_MAX, CHUNK_TRY_AFTER},
    upstream::{Long, Upstream, UpstreamError},
};

/// Asks the store for a chunk, again where drivers would, and gives it once its head is there.
pub(super) async fn fetch(
    upstream: &Upstream,
    result: &ChunkedResult,
    chunk: &Chunk,
) -> Result<Long, ChunkError> {
    let place = (chunk.url.host().clone(), chunk.url.port());
    let mut pause = CHUNK_TRY_AFTER;
    for _ in 1..CHUNK_TRIES_MAX {
        let asking = upstream.download(&result.clearance, place.clone(), request(result, chunk)?);
        match read(timeout(CHUNK_REPLY_WAIT_MAX, asking).await.unwrap_or(Err(UpstreamError::Silent))) {
            Err(error) if may_pass(&error) => sleep(pause).await,
            read => return read,
        }
        pause *= 2;
    }
    let asking = upstream.download(&result.clearance, place, request(result, chunk)?);
    read(timeout(CHUNK_REPLY_WAIT_MAX, asking).await.unwrap_or(Err(UpstreamError::Silent)))
}

/// What a driver asks a store: no credential, the headers that the result names, and what is signed as it is.
fn request(result: &ChunkedResult, chunk: &Chunk) -> Result<Request<Full<Bytes>>, ChunkError> {
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from(chunk.url.target().clone());
    *request.headers_mut() = result.chunks.headers.clone();
    let host = HeaderValue::from_str(chunk.url.host().as_str());
    let host = host.map_err(|error| UpstreamError::Unsendable(error.into()))?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(request)
}

/// What a store's answer is, if it is the chunk.
fn read(came: Result<Long, UpstreamError>) -> Result<Long, ChunkError> {
    let came = came?;
    let status = came.status;
    if status.is_redirection() {
        return Err(ChunkError::Redirect(status.as_u16()));
    }
    if status != StatusCode::OK {
        return Err(ChunkError::Status(status.as_u16()));
    }
    let kind = came.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if kind.windows(3).any(|word| word.eq_ignore_ascii_case(b"xml")) {
        return Err(ChunkError::Xml);
    }
    Ok(came)
}

/// Whether drivers would ask again (protocol part 4.1): stores answer 403 now and then for what they gave before.
fn may_pass(error: &ChunkError) -> bool {
    match error {
        ChunkError::Status(status) => matches!(status, 403 | 408 | 429 | 500..=599),
        ChunkError::Upstream(UpstreamError::Unreachable { .. } | UpstreamError::Broken) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn answer(status: u16, kind: &'static str) -> Result<Long, UpstreamError> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Ok(Long::given(StatusCode::from_u16(status).unwrap(), headers, []))
    }

    #[test]
    fn what_is_no_chunk_is_not_taken_for_one() {
        assert!(read(answer(200, "binary/octet-stream")).is_ok());
        for (status, kind, says, is_asked_again) in [
            (301, "text/html", "another address", false),
            (307, "binary/octet-stream", "another address", false),
            (404, "application/xml", "status 404", false),
            (206, "binary/octet-stream", "status 206", false),
            (204, "binary/octet-stream", "status 204", false),
            (403, "application/xml", "status 403", true),
            (429, "text/plain", "status 429", true),
            (503, "application/xml", "status 503", true),
            (200, "application/xml", "XML", false),
            (200, "Text/XML; charset=utf-8", "XML", false),
        ] {
            let error = read(answer(status, kind)).unwrap_err();
            assert!(error.to_string().contains(says), "{status} {kind}: {error}");
            assert_eq!(may_pass(&error), is_asked_again, "{status} {kind}");
        }
    }
}
