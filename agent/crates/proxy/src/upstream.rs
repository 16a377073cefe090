//! The way to Snowflake: pooled, really verified, and open only to who holds the witnesses.

mod pool;

use std::{borrow::Cow, fmt, future::Future, io, pin::Pin, sync::Arc};

use audit::Receipt;
use broker::Lease;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use model::HostName;
use policy::{Clearance, LoginPermit, Permit, StandingClearance};
use snowflake::{
    QueryRequest,
    codec::{self, CodecError},
    sql_api::Submission,
};
use tokio::{net::TcpStream, time::timeout};

use self::pool::{Pool, Replying};
use crate::{
    corridor::Peer,
    limits::{LONG_REPLY_BYTES_MIN, REPLY_BYTES_MAX, UPSTREAM_REPLY_WAIT_MAX},
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
    #[error("the host {host} cannot be reached: {reason}")]
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

/// A reply to a statement.
#[derive(Debug)]
pub(crate) enum Came {
    /// It is there.
    Whole(Reply),
    /// It is long, and more than its beginning has not come.
    Long(Box<Long>),
}

/// A long reply under way, still compressed.
pub(crate) struct Long {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What has come of the body.
    pub(crate) begun: BytesMut,
    /// How long the body says it is, compressed or not.
    pub(crate) length: Option<u64>,
    pieces: Pieces,
}

/// Where the pieces of a reply come from.
enum Pieces {
    Connection {
        body: Incoming,
        replying: Replying,
    },
    /// From a test.
    #[cfg(test)]
    Given(std::collections::VecDeque<Result<Bytes, ()>>),
}

impl Pieces {
    async fn next(&mut self) -> Option<Result<Bytes, ()>> {
        match self {
            Self::Connection { body, replying } => replying.piece(body).await,
            #[cfg(test)]
            Self::Given(pieces) => pieces.pop_front(),
        }
    }

    /// Whether there are no more.
    fn is_over(&self) -> bool {
        match self {
            Self::Connection { body, .. } => body.is_end_stream(),
            #[cfg(test)]
            Self::Given(pieces) => pieces.is_empty(),
        }
    }

    /// Lets the connection go on to another request, when there are no more.
    fn done(self) {
        match self {
            Self::Connection { replying, .. } => replying.done(),
            #[cfg(test)]
            Self::Given(_) => {}
        }
    }
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

    /// The plain body, which is no copy where it came uncompressed.
    pub(crate) fn shared_plain(&self) -> Result<Bytes, CodecError> {
        let coding = single(&self.headers, header::CONTENT_ENCODING)?;
        Ok(match codec::plain(&self.body, coding, REPLY_BYTES_MAX)? {
            Cow::Owned(body) => body.into(),
            Cow::Borrowed(_) => self.body.clone(),
        })
    }

    /// Whether the body is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.headers.contains_key(header::CONTENT_ENCODING)
    }
}

impl Came {
    /// The whole of it.
    pub(crate) async fn whole(self) -> Result<Reply, UpstreamError> {
        match self {
            Self::Whole(reply) => Ok(reply),
            Self::Long(long) => long.whole().await,
        }
    }
}

impl Long {
    fn of(reply: http::Response<Incoming>, replying: Replying) -> Self {
        let (head, body) = reply.into_parts();
        let (status, headers) = (head.status, end_to_end(&head.headers));
        let (begun, length) = (BytesMut::new(), body.size_hint().exact());
        Self { status, headers, begun, length, pieces: Pieces::Connection { body, replying } }
    }

    /// The next piece of the body; `None` behind the last one.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let piece = timeout(UPSTREAM_REPLY_WAIT_MAX, self.pieces.next());
        match piece.await.map_err(|_| UpstreamError::Silent)? {
            Some(piece) => piece.map(Some).map_err(|()| UpstreamError::Broken),
            None => Ok(None),
        }
    }

    /// Waits for the rest, and keeps it.
    pub(crate) async fn whole(mut self) -> Result<Reply, UpstreamError> {
        while let Some(piece) = self.piece().await? {
            self.begun.extend_from_slice(&piece);
            if self.begun.len() > REPLY_BYTES_MAX {
                return Err(UpstreamError::Broken);
            }
        }
        let Self { status, headers, begun, pieces, .. } = self;
        pieces.done();
        Ok(Reply { status, headers, body: begun.freeze() })
    }

    /// How the body is compressed, if it is.
    pub(crate) fn coding(&self) -> Result<Option<&str>, CodecError> {
        single(&self.headers, header::CONTENT_ENCODING)
    }

    /// Lets go of it when its last piece was taken.
    pub(crate) fn done(self) {
        self.pieces.done();
    }
}

#[cfg(test)]
impl Came {
    /// A reply of these pieces, long or not, as it would come by a connection. One that is an error is where that breaks.
    pub(crate) async fn of(
        headers: HeaderMap,
        pieces: impl IntoIterator<Item = Result<Bytes, ()>>,
    ) -> Result<Self, UpstreamError> {
        let (status, begun, length) = (StatusCode::OK, BytesMut::new(), None);
        begin(Long { status, headers, begun, length, pieces: Pieces::Given(pieces.into_iter().collect()) })
            .await
    }
}

#[cfg(test)]
impl Long {
    /// A reply of these pieces, as it would come by a connection.
    pub(crate) fn given(
        status: StatusCode,
        headers: HeaderMap,
        pieces: impl IntoIterator<Item = Result<Bytes, ()>>,
    ) -> Self {
        let pieces = Pieces::Given(pieces.into_iter().collect());
        Self { status, headers, begun: BytesMut::new(), length: None, pieces }
    }
}

impl fmt::Debug for Long {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Long({}, {} bytes so far)", self.status, self.begun.len())
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
pub(crate) struct Upstream {
    pool: Pool,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

impl Upstream {
    pub(crate) fn new(dial: Arc<dyn Dial>, originator: Arc<tls::Originator>) -> Self {
        Self { pool: Pool::new(dial, originator) }
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
    ) -> Result<(Came, Clearance), Refusal> {
        let (text, id, clearance) = permit.spend();
        if id != receipt.query_id() || text != worded.request.text {
            return Err(Refusal::Internal);
        }
        let came = self.send(peer, worded.inbound, lease).await?;
        Ok((came, clearance))
    }

    /// Sends a statement of the SQL API, as [`Upstream::execute`] does. Nothing is sent before the reply is waited for.
    pub(crate) fn pose<'a>(
        &'a self,
        permit: Permit,
        receipt: &Receipt,
        lease: &'a Lease,
        peer: &'a Peer,
        posed: &'a Posed<'_>,
    ) -> Result<(impl Future<Output = Result<Reply, UpstreamError>> + use<'a>, Clearance), Refusal> {
        let (text, id, clearance) = permit.spend();
        if id != receipt.query_id() || text != posed.submission.text {
            return Err(Refusal::Internal);
        }
        let inbound = posed.inbound;
        let sent = async move { self.send(peer, inbound, lease).await?.whole().await };
        Ok((sent, clearance))
    }

    /// Sends a statement's request once more, for the answer that Snowflake gave to it before.
    pub(crate) async fn again(
        &self,
        _repeated: &Repeated,
        lease: &Lease,
        peer: &Peer,
        inbound: &Inbound,
    ) -> Result<Came, UpstreamError> {
        self.send(peer, inbound, lease).await
    }

    /// Asks for the result of a statement. There is a clearance only for one that was permitted.
    pub(crate) async fn fetch(
        &self,
        _clearance: &StandingClearance,
        lease: &Lease,
        peer: &Peer,
        inbound: &Inbound,
    ) -> Result<Came, UpstreamError> {
        self.send(peer, inbound, lease).await
    }

    /// Asks a store for a chunk of a result. There is a clearance only for one that was permitted, and nothing of the
    /// client's in the request.
    pub(crate) async fn download(
        &self,
        _clearance: &StandingClearance,
        place: (HostName, u16),
        request: http::Request<Full<Bytes>>,
    ) -> Result<Long, UpstreamError> {
        let host = place.0.clone();
        let unreachable =
            |error: pool::PoolError| UpstreamError::Unreachable { host, reason: error.to_string() };
        let (reply, replying) = self.pool.send(place, request).await.map_err(unreachable)?;
        Ok(Long::of(reply, replying))
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
        self.send(peer, inbound, lease).await?.whole().await
    }

    /// Sends what asks for no data. It is for [`crate::housekeeping`], which knows the exchanges that need neither
    /// permit nor receipt.
    pub(crate) async fn keep(
        &self,
        lease: &Lease,
        peer: &Peer,
        inbound: &Inbound,
    ) -> Result<Reply, UpstreamError> {
        self.send(peer, inbound, lease).await?.whole().await
    }

    async fn send(&self, peer: &Peer, inbound: &Inbound, lease: &Lease) -> Result<Came, UpstreamError> {
        let host = &peer.host;
        let path = inbound.uri.path_and_query().cloned();
        let mut request = http::Request::new(Full::new(inbound.body.clone()));
        *request.method_mut() = inbound.method.clone();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        *request.headers_mut() = headers(host, inbound, lease)?;
        let pool = &peer.way.own.as_ref().unwrap_or(self).pool;
        let exchange = async {
            let unreachable = |error: pool::PoolError| UpstreamError::Unreachable {
                host: host.clone(),
                reason: error.to_string(),
            };
            let (reply, replying) =
                pool.send((host.clone(), peer.way.port), request).await.map_err(unreachable)?;
            begin(Long::of(reply, replying)).await
        };
        timeout(UPSTREAM_REPLY_WAIT_MAX, exchange).await.unwrap_or(Err(UpstreamError::Silent))
    }
}

/// Waits for a reply until it is whole, or known to be long.
async fn begin(mut long: Long) -> Result<Came, UpstreamError> {
    let Some(first) = long.piece().await? else { return Ok(Came::Whole(long.whole().await?)) };
    if long.pieces.is_over() {
        let Long { status, headers, pieces, .. } = long;
        pieces.done();
        return Ok(Came::Whole(Reply { status, headers, body: first }));
    }
    let expected = long.length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    long.begun.reserve(expected.min(LONG_REPLY_BYTES_MIN).max(first.len()));
    long.begun.extend_from_slice(&first);
    while long.begun.len() < LONG_REPLY_BYTES_MIN {
        match long.piece().await? {
            Some(piece) => long.begun.extend_from_slice(&piece),
            None => return Ok(Came::Whole(long.whole().await?)),
        }
    }
    Ok(Came::Long(Box::new(long)))
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
