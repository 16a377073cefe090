//! HTTP/1.1 over TCP, with or without TLS: accepts, shakes hands, and asks a `Site` for each answer.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Bulk binds are the largest bodies that drivers send.
const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// After an accept error (too many files, say) the next one is tried a little later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An answer, whole.
pub(super) type Reply = Response<Full<Bytes>>;

/// Who is asking: the other end of the connection, and the name it asked for in its ClientHello.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) peer: SocketAddr,
    /// Empty without TLS.
    pub(super) server_name: String,
}

/// Something that answers requests. It cannot fail: every failure has an answer too.
pub(super) trait Site: Send + Sync + 'static {
    /// Answers one request whose body has arrived.
    fn answer(&self, caller: &Caller, request: Request<Bytes>) -> impl Future<Output = Reply> + Send;
}

/// Serves a site under TLS for ever.
pub(super) async fn tls(listener: TcpListener, config: Arc<ServerConfig>, site: impl Site) -> io::Result<()> {
    let (acceptor, site) = (TlsAcceptor::from(config), Arc::new(site));
    loop {
        let Some((stream, peer)) = accept(&listener).await else { continue };
        let (acceptor, site) = (acceptor.clone(), Arc::clone(&site));
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                let server_name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
                converse(stream, Caller { peer, server_name }, site).await;
            }
        });
    }
}

/// Serves a site without TLS for ever.
pub(super) async fn plain(listener: TcpListener, site: impl Site) -> io::Result<()> {
    let site = Arc::new(site);
    loop {
        let Some((stream, peer)) = accept(&listener).await else { continue };
        tokio::spawn(converse(stream, Caller { peer, server_name: String::new() }, Arc::clone(&site)));
    }
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, peer)) => stream.set_nodelay(true).ok().map(|()| (stream, peer)),
        Err(_) => {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn converse<S: Site>(stream: impl AsyncRead + AsyncWrite + Unpin, caller: Caller, site: Arc<S>) {
    let service = service_fn(|request: Request<Incoming>| async {
        let (head, body) = request.into_parts();
        Ok::<_, Infallible>(match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
            Ok(body) => site.answer(&caller, Request::from_parts(head, body.to_bytes())).await,
            Err(_) => text(StatusCode::PAYLOAD_TOO_LARGE, "the body did not arrive whole, or is too large\n"),
        })
    });
    // How a connection ends is the client's affair: resets and half-closed sockets are everyday life here.
    drop(
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await,
    );
}

/// A plain text answer.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Reply {
    reply(status, "text/plain; charset=utf-8", text.into().into())
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    reply(status, "application/json", value.to_string().into())
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    reply
}
