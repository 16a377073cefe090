//! The smallest client that does: one exchange per connection, one deadline over all of it, a limit on the answer, and
//! no redirects. Over https to providers, and over a socket of a job to what gives tokens there.

use std::{os::fd::AsRawFd, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Bytes,
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use identity::IssuerFault;
use model::{Secret, Timestamp};
use rustls_pki_types::ServerName;
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::mount::JobSocket;

/// The head of an answer, and the buffer it is read into.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Asks issuers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HttpsClient {
    tls: TlsConnector,
    deadline: Duration,
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) url: &'a Uri,
    /// Shown as `Authorization: <scheme> <credential>`.
    pub(crate) credential: Option<(&'static str, &'a Secret<String>)>,
    /// JSON that is posted; `None` asks with GET.
    pub(crate) body: Option<String>,
    /// How much of an answer is taken.
    pub(crate) bytes_max: usize,
}

/// What was answered, with status 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    /// By the clock of who answered, where it told.
    pub(crate) date: Option<Timestamp>,
}

impl HttpsClient {
    /// `deadline` bounds one exchange, from the look-up of the name to the last byte.
    pub(crate) fn new(tls: Arc<rustls::ClientConfig>, deadline: Duration) -> Self {
        Self { tls: TlsConnector::from(tls), deadline }
    }

    /// Asks the host of the address, over https whatever the address says.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Result<Answer, IssuerFault> {
        let exchange = async {
            let stream = self.connect(question.url).await?;
            exchange(TokioIo::new(stream), question).await
        };
        timeout(self.deadline, exchange).await.unwrap_or(Err(IssuerFault::TimedOut))
    }

    /// The body of a 200 answer of at most `bytes_max` bytes.
    pub(crate) async fn get(
        &self,
        url: &Uri,
        bearer: Option<&Secret<String>>,
        bytes_max: usize,
    ) -> Result<Bytes, IssuerFault> {
        let credential = bearer.map(|bearer| ("bearer", bearer));
        self.ask(&Question { url, credential, body: None, bytes_max }).await.map(|answer| answer.body)
    }

    /// Asks whoever listens on a socket of a job.
    pub(crate) async fn ask_socket(
        &self,
        socket: &JobSocket,
        question: &Question<'_>,
    ) -> Result<Answer, IssuerFault> {
        let exchange = async {
            // The descriptor is of the very socket that was looked at, whatever has its path by now.
            let path = format!("/proc/self/fd/{}", socket.descriptor().as_raw_fd());
            let stream = UnixStream::connect(path).await.map_err(|_| IssuerFault::Unreachable)?;
            exchange(TokioIo::new(stream), question).await
        };
        timeout(self.deadline, exchange).await.unwrap_or(Err(IssuerFault::TimedOut))
    }

    async fn connect(&self, url: &Uri) -> Result<tokio_rustls::client::TlsStream<TcpStream>, IssuerFault> {
        let host = url.host().ok_or(IssuerFault::Unreachable)?;
        let unreachable = |error: &dyn std::fmt::Display| {
            tracing::warn!(host, %error, "an identity provider cannot be reached");
            IssuerFault::Unreachable
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| unreachable(&error))?;
        let port = url.port_u16().unwrap_or(443);
        let tcp = TcpStream::connect((host, port)).await.map_err(|error| unreachable(&error))?;
        tcp.set_nodelay(true).map_err(|error| unreachable(&error))?;
        self.tls.connect(name, tcp).await.map_err(|error| unreachable(&error))
    }
}

async fn exchange(
    stream: impl Read + Write + Send + Unpin + 'static,
    question: &Question<'_>,
) -> Result<Answer, IssuerFault> {
    let request = request(question).ok_or(IssuerFault::Unreachable)?;
    let unreachable = |error: hyper::Error| {
        tracing::warn!(host = question.url.host(), %error, "an identity provider cannot be asked");
        IssuerFault::Unreachable
    };
    let builder = http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(stream).await;
    let (mut sender, connection) = builder.map_err(unreachable)?;
    // The set ends the connection's task when this future is dropped, also by the deadline.
    let mut connections = JoinSet::new();
    connections.spawn(connection);

    let answer = sender.send_request(request).await.map_err(unreachable)?;
    if answer.status() != StatusCode::OK {
        return Err(IssuerFault::Refused(answer.status().as_u16()));
    }
    let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok()).and_then(parse_date);
    let body = Limited::new(answer.into_body(), question.bytes_max).collect().await;
    Ok(Answer { body: body.map_err(|_| IssuerFault::Malformed)?.to_bytes(), date })
}

fn parse_date(text: &str) -> Option<Timestamp> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from_unix_seconds(parsed.as_second()))
}

fn request(question: &Question<'_>) -> Option<Request<Full<Bytes>>> {
    let url = question.url;
    let host = match url.port_u16() {
        Some(port) if port != 443 => format!("{}:{port}", url.host()?),
        _ => url.host()?.to_owned(),
    };
    let mut request = Request::builder()
        .method(if question.body.is_some() { Method::POST } else { Method::GET })
        .uri(url.path_and_query()?.as_str())
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("snowfence/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close");
    if let Some((scheme, credential)) = &question.credential {
        let mut value = HeaderValue::try_from(format!("{scheme} {}", credential.expose())).ok()?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    if question.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request.body(Full::new(question.body.clone().unwrap_or_default().into())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_issuer::{Answer as Reply, FakeIssuer};

    const LIMIT: usize = 1000;
    /// Longer than anything takes that comes to an end.
    const PATIENT: Duration = Duration::from_secs(60);

    async fn ask(client: &HttpsClient, url: &Uri, body: Option<&str>) -> Result<Answer, IssuerFault> {
        let question = Question { url, credential: None, body: body.map(str::to_owned), bytes_max: LIMIT };
        client.ask(&question).await
    }

    async fn get(issuer: &FakeIssuer, path: &str) -> Result<Bytes, IssuerFault> {
        let client = HttpsClient::new(issuer.client_config(), PATIENT);
        ask(&client, &issuer.url(path), None).await.map(|answer| answer.body)
    }

    #[tokio::test]
    async fn a_whole_answer_within_the_limit_is_taken() {
        let issuer = FakeIssuer::start().await;
        issuer.answer("/x", Reply::Body("y".repeat(LIMIT)));
        assert_eq!(get(&issuer, "/x?q=1").await.unwrap().len(), LIMIT);
        let request = issuer.requests().pop().unwrap();
        assert_eq!((request.target.as_str(), request.authorization), ("/x?q=1", None));
    }

    #[tokio::test]
    async fn a_body_is_posted() {
        let issuer = FakeIssuer::start().await;
        issuer.answer("/x", Reply::Body("{}".to_owned()));
        let client = HttpsClient::new(issuer.client_config(), PATIENT);
        ask(&client, &issuer.url("/x"), Some("{\"a\":1}")).await.unwrap();
        let request = issuer.requests().pop().unwrap();
        assert_eq!((request.method.as_str(), request.body.as_str()), ("POST", "{\"a\":1}"));
    }

    #[test]
    fn a_date_is_read_as_servers_write_it() {
        let date = parse_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date.unix_seconds(), 784_111_777);
        assert_eq!(parse_date("yesterday"), None);
    }

    #[tokio::test]
    async fn other_answers_are_faults() {
        let issuer = FakeIssuer::start().await;
        issuer.answer("/big", Reply::Body("y".repeat(LIMIT + 1)));
        issuer.answer("/moved", Reply::Redirect(issuer.url("/big").to_string()));
        issuer.answer("/no", Reply::Status(401));
        let faults = [
            ("/big", IssuerFault::Malformed),
            ("/moved", IssuerFault::Refused(302)),
            ("/no", IssuerFault::Refused(401)),
            ("/missing", IssuerFault::Refused(404)),
        ];
        for (path, fault) in faults {
            assert_eq!(get(&issuer, path).await, Err(fault), "{path}");
        }
        assert_eq!(issuer.requests().len(), faults.len(), "a redirect was followed");
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_is_given_up_on() {
        let issuer = FakeIssuer::start().await;
        issuer.answer("/slow", Reply::Never);
        issuer.answer("/drip", Reply::HeadOnly);
        let hasty = HttpsClient::new(issuer.client_config(), Duration::from_millis(300));
        for path in ["/slow", "/drip"] {
            assert_eq!(ask(&hasty, &issuer.url(path), None).await, Err(IssuerFault::TimedOut), "{path}");
        }
    }

    #[tokio::test]
    async fn the_certificate_must_be_that_of_the_host() {
        let (issuer, stranger) = (FakeIssuer::start().await, FakeIssuer::start().await);
        issuer.answer("/x", Reply::Body("y".to_owned()));
        let client = HttpsClient::new(stranger.client_config(), PATIENT);
        assert_eq!(ask(&client, &issuer.url("/x"), None).await, Err(IssuerFault::Unreachable));
        assert_eq!((issuer.connections(), issuer.requests().len()), (1, 0));

        let other_name = issuer.url("/x").to_string().replace("localhost", "127.0.0.1").parse().unwrap();
        let client = HttpsClient::new(issuer.client_config(), PATIENT);
        assert_eq!(ask(&client, &other_name, None).await, Err(IssuerFault::Unreachable));
        assert_eq!((issuer.connections(), issuer.requests().len()), (2, 0));
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let issuer = FakeIssuer::start().await;
        let closed = "https://localhost:1/".parse().unwrap();
        let client = HttpsClient::new(issuer.client_config(), PATIENT);
        assert_eq!(ask(&client, &closed, None).await, Err(IssuerFault::Unreachable));
    }

    #[test]
    fn a_bearer_is_sent_as_a_sensitive_header_or_not_at_all() {
        let url = "https://h.example:8443/x?y".parse().unwrap();
        let bearer = Secret::new("t0k".to_owned());
        let question = |credential| Question { url: &url, credential, body: None, bytes_max: 0 };
        let made = request(&question(Some(("bearer", &bearer)))).unwrap();
        assert_eq!(made.headers()[header::AUTHORIZATION], "bearer t0k");
        assert!(made.headers()[header::AUTHORIZATION].is_sensitive());
        assert_eq!(made.headers()[header::HOST], "h.example:8443");
        let broken = Secret::new("a\nb".to_owned());
        assert!(request(&question(Some(("bearer", &broken)))).is_none());
    }
}
