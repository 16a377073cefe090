//! An identity provider on loopback with real TLS, for tests: answers what it is told to, and remembers who asked.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

/// What a path answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Body(String),
    Status(u16),
    Redirect(String),
    /// Nothing, ever.
    Never,
    /// A head, and a body that never ends.
    HeadOnly,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    requests: Vec<Seen>,
    connections: usize,
}

/// Runs until it is dropped.
pub(crate) struct FakeIssuer {
    port: u16,
    state: Arc<Mutex<State>>,
    client_config: Arc<rustls::ClientConfig>,
    _tasks: JoinSet<()>,
}

impl FakeIssuer {
    pub(crate) async fn start() -> Self {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = signed.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
        let server = rustls::ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![certificate.clone()], key).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, TlsAcceptor::from(Arc::new(server)), Arc::clone(&state)));
        Self { port, state, client_config: Arc::new(client), _tasks: tasks }
    }

    /// A configuration that trusts this issuer's certificate and no other.
    pub(crate) fn client_config(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.client_config)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, path: &str) -> Uri {
        format!("https://localhost:{}{path}", self.port).parse().unwrap()
    }

    /// What a path answers, or a path with this very query.
    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How often somebody connected, whatever came of it.
    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// How often a path was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.requests().iter().filter(|seen| seen.target.split('?').next() == Some(path)).count()
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        state.lock().unwrap().connections += 1;
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        connections.spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else { return };
            let service = service_fn(move |request| reply(request, Arc::clone(&state)));
            // A client that goes away is no concern of the tests' server.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn reply(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let answer = {
        let mut state = state.lock().unwrap();
        let authorization = head.headers.get(header::AUTHORIZATION);
        state.requests.push(Seen {
            method: head.method.to_string(),
            target: head.uri.to_string(),
            authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
        let whole = state.answers.get(&head.uri.to_string());
        whole.or_else(|| state.answers.get(head.uri.path())).cloned().unwrap_or(Answer::Status(404))
    };
    let full = |text: String| Full::new(Bytes::from(text)).boxed();
    Ok(match answer {
        Answer::Body(text) => Response::new(full(text)),
        Answer::Status(status) => Response::builder().status(status).body(full(String::new())).unwrap(),
        Answer::Redirect(to) => {
            Response::builder().status(302).header(header::LOCATION, to).body(full(String::new())).unwrap()
        }
        Answer::Never => std::future::pending().await,
        Answer::HeadOnly => Response::new(Endless.boxed()),
    })
}

/// A body of which nothing ever comes.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}
