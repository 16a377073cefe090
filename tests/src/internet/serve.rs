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

/// One site at several places.
impl<S: Site> Site for Arc<S> {
    fn answer(&self, caller: &Caller, request: Request<Bytes>) -> impl Future<Output = Reply> + Send {
        S::answer(self, caller, request)
    }
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
    let service = service_fn(|request: Request<Incoming>| {
        let (caller, site) = (caller.clone(), Arc::clone(&site));
        async move { Ok::<_, Infallible>(answer(caller, site, request).await) }
    });
    // How a connection ends is the client's affair: resets and half-closed sockets are everyday life here.
    drop(
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await,
    );
}

async fn answer<S: Site>(caller: Caller, site: Arc<S>, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, REQUEST_BYTES_MAX).collect().await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "the body did not arrive whole, or is too large\n");
    };
    let request = Request::from_parts(head, body.to_bytes());
    // A task of its own: what a client has asked for is done to its end, also when the client hangs up meanwhile.
    let answer = tokio::spawn(async move { site.answer(&caller, request).await });
    answer.await.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "this server has a fault\n"))
}

/// A plain text answer.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Reply {
    reply(status, "text/plain; charset=utf-8", text.into().into())
}

/// An answer of plain bytes.
pub(super) fn bytes(bytes: Bytes) -> Reply {
    reply(StatusCode::OK, "application/octet-stream", bytes)
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    json_text(status, value.to_string().into())
}

/// An answer that is JSON text already, or will be once it is decompressed.
pub(super) fn json_text(status: StatusCode, text: Bytes) -> Reply {
    reply(status, "application/json", text)
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    reply
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;

    use super::*;

    /// Says when an answer begins and when it is done, which takes a while.
    struct Slow(mpsc::UnboundedSender<&'static str>);

    impl Site for Slow {
        async fn answer(&self, caller: &Caller, request: Request<Bytes>) -> Reply {
            self.0.send("begun").unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.0.send("done").unwrap();
            text(
                StatusCode::OK,
                format!("{} {} {}", caller.peer.ip(), request.uri().path(), request.body().len()),
            )
        }
    }

    async fn slow() -> (SocketAddr, mpsc::UnboundedReceiver<&'static str>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (said, heard) = mpsc::unbounded_channel();
        tokio::spawn(plain(listener, Slow(said)));
        (address, heard)
    }

    #[tokio::test]
    async fn a_connection_serves_one_request_after_the_other() {
        let (address, _heard) = slow().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        stream.write_all(b"GET /b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut replies = String::new();
        stream.read_to_string(&mut replies).await.unwrap();
        for body in ["127.0.0.1 /a 2", "127.0.0.1 /b 0"] {
            assert_eq!(replies.matches(body).count(), 1, "{replies}");
        }
    }

    #[tokio::test]
    async fn what_was_asked_is_done_also_when_the_client_hangs_up() {
        let (address, mut heard) = slow().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(heard.recv().await, Some("begun"));
        drop(stream);
        assert_eq!(heard.recv().await, Some("done"));
    }
}
