//! The smallest https client that does: one GET per connection, one deadline over all of it, a limit on the answer,
//! and no redirects.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use identity::IssuerFault;
use model::Secret;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_rustls::TlsConnector;

/// The head of an answer, and the buffer it is read into.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Asks issuers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HttpsClient {
    tls: TlsConnector,
    deadline: Duration,
}

impl HttpsClient {
    /// `deadline` bounds one exchange, from the look-up of the name to the last byte.
    pub(crate) fn new(tls: Arc<rustls::ClientConfig>, deadline: Duration) -> Self {
        Self { tls: TlsConnector::from(tls), deadline }
    }

    /// The body of a 200 answer of at most `bytes_max` bytes.
    pub(crate) async fn get(
        &self,
        url: &Uri,
        bearer: Option<&Secret<String>>,
        bytes_max: usize,
    ) -> Result<Bytes, IssuerFault> {
        match timeout(self.deadline, self.exchange(url, bearer, bytes_max)).await {
            Ok(answer) => answer,
            Err(_) => Err(IssuerFault::TimedOut),
        }
    }

    async fn exchange(
        &self,
        url: &Uri,
        bearer: Option<&Secret<String>>,
        bytes_max: usize,
    ) -> Result<Bytes, IssuerFault> {
        let request = request(url, bearer).ok_or(IssuerFault::Unreachable)?;
        let host = url.host().ok_or(IssuerFault::Unreachable)?;
        let unreachable = |error: &dyn std::fmt::Display| {
            tracing::warn!(host, %error, "an identity provider cannot be reached");
            IssuerFault::Unreachable
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| unreachable(&error))?;
        let port = url.port_u16().unwrap_or(443);
        let tcp = TcpStream::connect((host, port)).await.map_err(|error| unreachable(&error))?;
        tcp.set_nodelay(true).map_err(|error| unreachable(&error))?;
        let tls = self.tls.connect(name, tcp).await.map_err(|error| unreachable(&error))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|error| unreachable(&error))?;
        // The set ends the connection's task when this future is dropped, also by the deadline.
        let mut connections = JoinSet::new();
        connections.spawn(connection);

        let answer = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(IssuerFault::Refused(answer.status().as_u16()));
        }
        let body = Limited::new(answer.into_body(), bytes_max)
            .collect()
            .await
            .map_err(|_| IssuerFault::Malformed)?;
        Ok(body.to_bytes())
    }
}

fn request(url: &Uri, bearer: Option<&Secret<String>>) -> Option<Request<Empty<Bytes>>> {
    let host = match url.port_u16() {
        Some(port) if port != 443 => format!("{}:{port}", url.host()?),
        _ => url.host()?.to_owned(),
    };
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(url.path_and_query()?.as_str())
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("snowfence/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close");
    if let Some(bearer) = bearer {
        let mut value = HeaderValue::try_from(format!("bearer {}", bearer.expose())).ok()?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    request.body(Empty::new()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_issuer::{Answer, FakeIssuer};

    const LIMIT: usize = 1000;
    /// Longer than anything takes that comes to an end.
    const PATIENT: Duration = Duration::from_secs(60);

    async fn get(issuer: &FakeIssuer, path: &str) -> Result<Bytes, IssuerFault> {
        HttpsClient::new(issuer.client_config(), PATIENT).get(&issuer.url(path), None, LIMIT).await
    }

    #[tokio::test]
    async fn a_whole_answer_within_the_limit_is_taken() {
        let issuer = FakeIssuer::start().await;
        issuer.answer("/x", Answer::Body("y".repeat(LIMIT)));
        assert_eq!(get(&issuer, "/x?q=1").await.unwrap().len(), LIMIT);
        let request = issuer.requests().pop().unwrap();
        assert_eq!((request.target.as_str(), request.authorization), ("/x?q=1", None));
    }

    #[tokio::test]
    async fn other_answers_are_faults() {
        let issuer = FakeIssuer::start().await;
        issuer.answer("/big", Answer::Body("y".repeat(LIMIT + 1)));
        issuer.answer("/moved", Answer::Redirect(issuer.url("/big").to_string()));
        issuer.answer("/no", Answer::Status(401));
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
        issuer.answer("/slow", Answer::Never);
        issuer.answer("/drip", Answer::HeadOnly);
        let hasty = HttpsClient::new(issuer.client_config(), Duration::from_millis(300));
        for path in ["/slow", "/drip"] {
            assert_eq!(hasty.get(&issuer.url(path), None, LIMIT).await, Err(IssuerFault::TimedOut), "{path}");
        }
    }

    #[tokio::test]
    async fn the_certificate_must_be_that_of_the_host() {
        let (issuer, stranger) = (FakeIssuer::start().await, FakeIssuer::start().await);
        issuer.answer("/x", Answer::Body("y".to_owned()));
        let client = HttpsClient::new(stranger.client_config(), PATIENT);
        assert_eq!(client.get(&issuer.url("/x"), None, LIMIT).await, Err(IssuerFault::Unreachable));
        assert_eq!((issuer.connections(), issuer.requests().len()), (1, 0));

        let other_name = issuer.url("/x").to_string().replace("localhost", "127.0.0.1").parse().unwrap();
        let client = HttpsClient::new(issuer.client_config(), PATIENT);
        assert_eq!(client.get(&other_name, None, LIMIT).await, Err(IssuerFault::Unreachable));
        assert_eq!((issuer.connections(), issuer.requests().len()), (2, 0));
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let issuer = FakeIssuer::start().await;
        let closed = "https://localhost:1/".parse().unwrap();
        let client = HttpsClient::new(issuer.client_config(), PATIENT);
        assert_eq!(client.get(&closed, None, LIMIT).await, Err(IssuerFault::Unreachable));
    }

    #[test]
    fn a_bearer_is_sent_as_a_sensitive_header_or_not_at_all() {
        let url = "https://h.example:8443/x?y".parse().unwrap();
        let bearer = Secret::new("t0k".to_owned());
        let made = request(&url, Some(&bearer)).unwrap();
        assert_eq!(made.headers()[header::AUTHORIZATION], "bearer t0k");
        assert!(made.headers()[header::AUTHORIZATION].is_sensitive());
        assert_eq!(made.headers()[header::HOST], "h.example:8443");
        assert!(request(&url, Some(&Secret::new("a\nb".to_owned()))).is_none());
    }
}
