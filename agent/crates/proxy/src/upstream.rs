//! The way to Snowflake: pooled, really verified, and open only to who holds the witnesses.

use std::{
    borrow::Cow,
    future::Future,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use audit::Receipt;
use broker::Lease;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use model::HostName;
use policy::{Clearance, LoginPermit, Permit, StandingClearance};
use snowflake::{
    QueryRequest,
    codec::{self, CodecError},
    sql_api::Submission,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::{
    corridor::Peer,
    limits::{
        REPLY_BYTES_MAX, UPSTREAM_CONNECT_WAIT_MAX, UPSTREAM_IDLE_MAX, UPSTREAM_IDLE_WAIT_MAX,
        UPSTREAM_REPLY_WAIT_MAX,
    },
    refusal::Refusal,
    retries::Repeated,
};

/// Opens TCP connections to the addresses of a guarded host, past the agent's own guard.
///
/// The corridor knows nothing of the kernel; whoever wires it hands this in.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `host` at `port`. The addresses are those the agent itself learned for the host, never one that
    /// a client named.
    fn dial(&self, host: HostName, port: u16) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;
}

/// Why Snowflake could not be asked, or its answer not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("Snowflake's host {host} cannot be reached: {reason}")]
    Unreachable { host: HostName, reason: String },
    #[error("Snowflake did not answer within {} s", UPSTREAM_REPLY_WAIT_MAX.as_secs())]
    Silent,
    #[error("Snowflake's answer broke off or is longer than {} MiB", REPLY_BYTES_MAX >> 20)]
    Broken,
    #[error("the request cannot be sent on: {0}")]
    Unsendable(#[from] http::Error),
}

/// A reply as it came: still compressed, not yet looked at.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A request as the client sent it, kept whole so that it can be sent on as it came.
#[derive(Debug, Clone)]
pub(crate) struct Inbound {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How large the body may be when inflated.
    pub(crate) bytes_max: usize,
}

/// A statement's request, read once: what was judged is what is sent.
#[derive(Debug)]
pub(crate) struct Worded<'a> {
    inbound: &'a Inbound,
    request: QueryRequest,
}

impl<'a> Worded<'a> {
    /// Reads the body of a statement's request.
    pub(crate) fn read(inbound: &'a Inbound) -> Result<Self, Refusal> {
        Ok(Self { inbound, request: QueryRequest::decode(&inbound.json()?)? })
    }

    /// What the body says.
    pub(crate) fn request(&self) -> &QueryRequest {
        &self.request
    }
}

/// A statement's request as the SQL API has it, read once: what was judged is what is sent.
#[derive(Debug)]
pub(crate) struct Posed<'a> {
    inbound: &'a Inbound,
    submission: Submission,
}

impl<'a> Posed<'a> {
    /// Reads the address and the body.
    pub(crate) fn read(inbound: &'a Inbound) -> Result<Self, Refusal> {
        Ok(Self { inbound, submission: Submission::decode(&inbound.uri, &inbound.json()?)? })
    }

    /// What they say.
    pub(crate) fn submission(&self) -> &Submission {
        &self.submission
    }
}

impl Inbound {
    /// The plain body, if it is JSON in the one encoding that has one reading.
    pub(crate) fn json(&self) -> Result<Cow<'_, [u8]>, CodecError> {
        codec::json_in_utf8(single(&self.headers, header::CONTENT_TYPE)?)?;
        codec::plain(&self.body, single(&self.headers, header::CONTENT_ENCODING)?, self.bytes_max)
    }
}

impl Reply {
    /// The plain body.
    pub(crate) fn plain(&self) -> Result<Vec<u8>, CodecError> {
        let coding = single(&self.headers, header::CONTENT_ENCODING)?;
        Ok(codec::plain(&self.body, coding, REPLY_BYTES_MAX)?.into_owned())
    }

    /// Takes the plain body out, without a copy where it came uncompressed.
    pub(crate) fn take_plain(&mut self) -> Result<Vec<u8>, CodecError> {
        let coding = single(&self.headers, header::CONTENT_ENCODING)?;
        let inflated = match codec::plain(&self.body, coding, REPLY_BYTES_MAX)? {
            Cow::Owned(body) => Some(body),
            Cow::Borrowed(_) => None,
        };
        Ok(inflated.unwrap_or_else(|| mem::take(&mut self.body).into()))
    }

    /// Whether the body is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.headers.contains_key(header::CONTENT_ENCODING)
    }
}

/// A header that may be there once, as text. Twice, or unreadable, it has more than one reading.
fn single(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&str>, CodecError> {
    let mut values = headers.get_all(name).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    value.map(Some).ok_or_else(|| CodecError::Coding { coding: "more than one".to_owned() })
}

/// Pooled connections to the guarded hosts.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: Client<Connector, Full<Bytes>>,
}

impl Upstream {
    pub(crate) fn new(dial: Arc<dyn Dial>, originator: Arc<tls::Originator>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(UPSTREAM_IDLE_WAIT_MAX)
            .pool_max_idle_per_host(UPSTREAM_IDLE_MAX)
            .build(Connector { dial, originator });
        Self { client }
    }

    /// Sends a statement. The permit names the text it allows and the receipt the exchange that is on disk; the
    /// request must be the one they speak of.
    pub(crate) async fn execute(
        &self,
        permit: Permit,
        receipt: &Receipt,
        lease: &Lease,
        peer: &Peer,
        worded: Worded<'_>,
    ) -> Result<(Reply, Clearance), Refusal> {
        let (text, id, clearance) = permit.spend();
        if id != receipt.query_id() || text != worded.request.text {
            return Err(Refusal::Internal);
        }
        let reply = self.send(peer, worded.inbound, lease).await?;
        Ok((reply, clearance))
    }

    /// Sends a statement of the SQL API, as [`Upstream::execute`] does.
    pub(crate) async fn pose(
        &self,
        permit: Permit,
        receipt: &Receipt,
        lease: &Lease,
        peer: &Peer,
        posed: &Posed<'_>,
    ) -> Result<(Reply, Clearance), Refusal> {
        let (text, id, clearance) = permit.spend();
        if id != receipt.query_id() || text != posed.submission.text {
            return Err(Refusal::Internal);
        }
        let reply = self.send(peer, posed.inbound, lease).await?;
        Ok((reply, clearance))
    }

    /// Sends a statement's request once more, for the answer that Snowflake gave to it before.
    pub(crate) async fn again(
        &self,
        _repeated: &Repeated,
        lease: &Lease,
        peer: &Peer,
        inbound: &Inbound,
    ) -> Result<Reply, UpstreamError> {
        self.send(peer, inbound, lease).await
    }

    /// Asks for the result of a statement. There is a clearance only for one that was permitted.
    pub(crate) async fn fetch(
        &self,
        _clearance: &StandingClearance,
        lease: &Lease,
        peer: &Peer,
        inbound: &Inbound,
    ) -> Result<Reply, UpstreamError> {
        self.send(peer, inbound, lease).await
    }

    /// Sends a login. That it was permitted and is on disk is what the two witnesses say; neither is looked into.
    pub(crate) async fn log_in(
        &self,
        _permit: LoginPermit,
        _receipt: &Receipt,
        lease: &Lease,
        peer: &Peer,
        inbound: &Inbound,
    ) -> Result<Reply, UpstreamError> {
        self.send(peer, inbound, lease).await
    }

    /// Sends what asks for no data. It is for [`crate::housekeeping`], which knows the exchanges that need neither
    /// permit nor receipt.
    pub(crate) async fn keep(
        &self,
        lease: &Lease,
        peer: &Peer,
        inbound: &Inbound,
    ) -> Result<Reply, UpstreamError> {
        self.send(peer, inbound, lease).await
    }

    async fn send(&self, peer: &Peer, inbound: &Inbound, lease: &Lease) -> Result<Reply, UpstreamError> {
        let host = &peer.host;
        let path = inbound.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let authority = format!("{host}:{}", peer.way.port);
        let uri = Uri::builder().scheme("https").authority(authority).path_and_query(path).build()?;
        let mut request = http::Request::new(Full::new(inbound.body.clone()));
        *request.method_mut() = inbound.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers(host, inbound, lease)?;
        let client = &peer.way.own.as_ref().unwrap_or(self).client;
        let exchange = async {
            let unreachable = |error: hyper_util::client::legacy::Error| UpstreamError::Unreachable {
                host: host.clone(),
                reason: chain(&error),
            };
            let (head, body) = client.request(request).await.map_err(unreachable)?.into_parts();
            let body =
                Limited::new(body, REPLY_BYTES_MAX).collect().await.map_err(|_| UpstreamError::Broken)?;
            Ok(Reply { status: head.status, headers: end_to_end(&head.headers), body: body.to_bytes() })
        };
        timeout(UPSTREAM_REPLY_WAIT_MAX, exchange).await.unwrap_or(Err(UpstreamError::Silent))
    }
}

/// The client's headers, with the credential that was lent in place of whatever it sent.
fn headers(host: &HostName, inbound: &Inbound, lease: &Lease) -> Result<HeaderMap, http::Error> {
    let mut headers = end_to_end(&inbound.headers);
    headers.remove(header::AUTHORIZATION);
    headers.insert(header::HOST, HeaderValue::from_str(host.as_str())?);
    // A driver inflates what it gets and does not mind. A client of the SQL API may not have asked for gzip, and may want
    // to be told by the server's own choice.
    if !inbound.uri.path().starts_with("/api/") || accepts_gzip(&headers) {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    } else {
        headers.remove(header::ACCEPT_ENCODING);
    }
    if let Some(authorization) = lease.authorization() {
        let mut value = HeaderValue::from_str(authorization.expose())?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(headers)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let said = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    said.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        is_gzip && !parts.any(|weight| ["q=0", "q=0.0", "q=0.00", "q=0.000"].contains(&weight))
    })
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Headers that are between the two ends, without those of one hop (RFC 9110, section 7.6.1) and without the length,
/// which is set anew.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    let named: Vec<_> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| header::HeaderName::try_from(name.trim()).ok())
        // These say how the body is read, and the other end must read it as it was read here.
        .filter(|name| name != header::CONTENT_ENCODING && name != header::CONTENT_TYPE)
        .collect();
    for name in named {
        kept.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        kept.remove(name);
    }
    kept.remove("keep-alive");
    kept
}

// === impl Connector ===

#[derive(Clone)]
struct Connector {
    dial: Arc<dyn Dial>,
    originator: Arc<tls::Originator>,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { dial, originator } = self.clone();
        Box::pin(async move {
            let host = HostName::parse(uri.host().unwrap_or_default())?;
            let connecting = async {
                let tcp = dial.dial(host.clone(), uri.port_u16().unwrap_or(443)).await?;
                Ok::<_, Self::Error>(originator.handshake(tcp, &host).await?)
            };
            let tls = timeout(UPSTREAM_CONNECT_WAIT_MAX, connecting)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(Stream(TokioIo::new(tls)))
        })
    }
}

/// A verified connection, for the pool. The pool wants its own trait on the stream, so it is wrapped.
struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_whether_it_takes_gzip() {
        for (said, expected) in [
            (&[][..], false),
            (&["gzip"], true),
            (&["deflate, GZIP;q=0.5, br"], true),
            (&["deflate", "*"], true),
            (&["gzip;q=0"], false),
            (&["identity"], false),
            (&["xgzip"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(accepts_gzip(&headers), expected, "{said:?}");
        }
    }

    #[test]
    fn headers_of_one_hop_stay_behind_and_underscores_survive() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, x-hop, Content-Encoding, content-type"),
            ("content-encoding", "gzip"),
            ("content-type", "application/json"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("client_app_id", "Go"),
            ("x-snowflake-session", "sticky"),
        ] {
            headers.insert(header::HeaderName::from_static(name), header::HeaderValue::from_static(value));
        }
        let kept = end_to_end(&headers);
        let mut names: Vec<_> = kept.keys().map(header::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["client_app_id", "content-encoding", "content-type", "x-snowflake-session"]);
    }

    #[test]
    fn a_request_goes_on_as_it_came_but_for_the_credential_and_the_host() {
        let mut sent = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Snowflake Token=\"theirs\""),
            ("host", "ACME.snowflakecomputing.com:443"),
            ("accept-encoding", "gzip, br"),
            ("content-encoding", "gzip"),
            ("x-snowflake-session", "sticky"),
            ("x-snowflake-service", ""),
            ("traceparent", "00-1-2-01"),
        ] {
            sent.insert(header::HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let body = Bytes::from_static(br#"{"queryContextDTO":{"entries":[]}}"#);
        let (method, uri) = (Method::POST, Uri::from_static("/queries/v1/query-request"));
        let inbound = Inbound { method, uri, headers: sent, body, bytes_max: 64 };
        let lease = Lease::own(Some(model::Secret::new("Snowflake Token=\"lent\"".to_owned())));
        let host = HostName::parse("ACME.SnowflakeComputing.com").unwrap();
        let headers = headers(&host, &inbound, &lease).unwrap();
        for (name, value) in [
            ("authorization", "Snowflake Token=\"lent\""),
            ("host", "acme.snowflakecomputing.com"),
            ("accept-encoding", "gzip"),
            ("content-encoding", "gzip"),
            ("x-snowflake-session", "sticky"),
            ("x-snowflake-service", ""),
            ("traceparent", "00-1-2-01"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
    }
}
