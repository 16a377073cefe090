//! Port 80 of a guarded address: the revocation helpers that some drivers ask before the TLS handshake.
//!
//! A driver that gets no answer there waits 5 to 20 seconds (protocol part 6.3); one that gets 404 goes on at once.
//! Nothing is sent on: certificates made here carry no revocation address.

use std::convert::Infallible;

use http::Response;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tracing::debug;

use crate::{
    answer::{Answer, Outgoing},
    limits::PLAIN_WAIT_MAX,
};

/// Answers 404 to whatever is asked, once.
pub(crate) async fn serve(stream: TcpStream) {
    let service = service_fn(|_| async { Ok::<Response<Outgoing>, Infallible>(Answer::not_found().into()) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PLAIN_WAIT_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "a plain connection ended early");
    }
}
