//! Requests that a proxy answers itself, without a tunnel: passed on one by one, because each of them may be for
//! Snowflake, and each connection may carry many.

use std::{error::Error, pin::pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, client::conn::http1::SendRequest, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::Mutex, task::JoinSet};
use tracing::{debug, warn};

use crate::{
    arrival::Arrival,
    corridor::{Corridor, told},
    limits::HEAD_WAIT_MAX,
    proxy_head::Place,
};

type Answer = Response<Either<Full<Bytes>, Incoming>>;

/// Serves a connection whose first request asks for no tunnel, to its end.
pub(crate) async fn serve(corridor: &Arc<Corridor>, arrival: Arrival) {
    let connection = arrival.id();
    let Some(_place) = corridor.passage.enter(connection) else { return };
    let served = forward(corridor, arrival).await;
    if let Err(error) = served {
        debug!(%connection, error, "a connection to a proxy ended early");
    }
}

/// One connection to the proxy for the client's one, so that a proxy that knows its clients by connection is content.
async fn forward(corridor: &Arc<Corridor>, arrival: Arrival) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (connection, destination) = (arrival.id(), arrival.destination());
    arrival.send_at_once()?;
    let server = corridor.addresses.connect(destination).await?;
    let (sender, serving) = hyper::client::conn::http1::Builder::new()
        .preserve_header_case(true)
        .handshake(TokioIo::new(server))
        .await?;
    // The set ends the task when this future does.
    let mut tasks = JoinSet::new();
    tasks.spawn(serving);
    let sender = Mutex::new(sender);
    let service = service_fn(|request| {
        let (corridor, sender) = (corridor, &sender);
        async move {
            match verdict(corridor, &request) {
                Ok(()) => pass(sender, request).await,
                Err(status) => {
                    warn!(%connection, %destination, %status, "a request to a proxy was refused");
                    Ok(refusal(status))
                }
            }
        }
    });
    let serving = http1::Builder::new()
        .preserve_header_case(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .serve_connection(TokioIo::new(arrival.into_stream()), service);
    let mut serving = pin!(serving);
    let mut stopping = corridor.stopping();
    tokio::select! {
        served = serving.as_mut() => Ok(served?),
        () = told(&mut stopping) => {
            serving.as_mut().graceful_shutdown();
            Ok(serving.await?)
        }
    }
}

/// Whether a request may be passed on. One that is for Snowflake would reach it without TLS that we could read, or by
/// TLS that the proxy speaks itself; port 80 is answered as it is on a guarded address.
fn verdict(corridor: &Corridor, request: &Request<Incoming>) -> Result<(), StatusCode> {
    if request.method() == Method::CONNECT {
        // Clients open tunnels on connections of their own.
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let in_headers = request.headers().get_all(header::HOST).iter().map(HeaderValue::to_str);
    let authorities = in_headers.chain(request.uri().authority().map(|authority| Ok(authority.as_str())));
    for authority in authorities {
        let Ok(authority) = authority else { return Err(StatusCode::BAD_REQUEST) };
        let host =
            authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let is_guarded = match Place::read(host.map_or(authority, |(host, _)| host)) {
            Some(Place::Name(name)) => corridor.is_guarded(&name),
            Some(Place::Address(ip)) => corridor.addresses.is_snowflakes(ip),
            None => return Err(StatusCode::BAD_REQUEST),
        };
        if is_guarded {
            return Err(StatusCode::NOT_FOUND);
        }
    }
    Ok(())
}

/// Where the proxy has closed its connection, the client's ends as well: it then asks again, as it would ask the proxy.
async fn pass(
    sender: &Mutex<SendRequest<Incoming>>,
    mut request: Request<Incoming>,
) -> hyper::Result<Answer> {
    // What follows a change of protocol could not be read.
    request.headers_mut().remove(header::UPGRADE);
    let mut sender = sender.lock().await;
    sender.ready().await?;
    Ok(sender.send_request(request).await?.map(Either::Right))
}

/// An empty answer after which the connection ends.
fn refusal(status: StatusCode) -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
