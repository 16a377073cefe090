//! Connections to Snowflake, kept open between requests. Whoever sends a request moves its connection's bytes himself, in
//! his own task: no other has to be woken for them.

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use model::HostName;
use tokio::{
    io::BufReader,
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::client::TlsStream;

use super::Dial;
use crate::{
    limits::{UPSTREAM_CONNECT_WAIT_MAX, UPSTREAM_IDLE_MAX, UPSTREAM_IDLE_WAIT_MAX, UPSTREAM_READ_BYTES},
    session::lock,
};

/// A verified connection.
type Stream = TokioIo<TlsStream<BufReader<TcpStream>>>;

/// Where a connection leads.
type Place = (HostName, u16);

/// Opens connections, and keeps those that are idle.
pub(super) struct Pool {
    dial: Arc<dyn Dial>,
    originator: Arc<tls::Originator>,
    idle: Arc<Idle>,
}

/// Why no reply came.
#[derive(Debug, thiserror::Error)]
pub(super) enum PoolError {
    #[error("{0}")]
    Dial(io::Error),
    #[error("it did not answer within {} s", UPSTREAM_CONNECT_WAIT_MAX.as_secs())]
    Late,
    #[error("{0}")]
    Handshake(#[from] tls::OriginateError),
    #[error("{}", chain(.0))]
    Http(#[from] hyper::Error),
}

/// A reply under way on a connection.
pub(super) struct Replying {
    open: Box<Open>,
    place: Place,
    idle: Arc<Idle>,
}

/// A connection, and the handle by which a request gets onto it.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    connection: http1::Connection<Stream, Full<Bytes>>,
    is_over: bool,
}

/// Idle connections, the last one used at the end.
#[derive(Default)]
struct Idle(Mutex<Parked>);

#[derive(Default)]
struct Parked {
    by_place: HashMap<Place, Vec<(Box<Open>, Instant)>>,
    /// Whether somebody closes those that stay idle.
    is_swept: bool,
}

impl Pool {
    pub(super) fn new(dial: Arc<dyn Dial>, originator: Arc<tls::Originator>) -> Self {
        Self { dial, originator, idle: Arc::default() }
    }

    /// Sends a request, and gives the head of the reply. A connection that turns out to have been closed before anything
    /// was sent on it is replaced by another.
    pub(super) async fn send(
        &self,
        place: Place,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Replying), PoolError> {
        loop {
            let (mut open, is_new) = match self.idle.take(&place) {
                Some(open) => (open, false),
                None => (self.open(&place).await?, true),
            };
            let sending = open.sender.try_send_request(request);
            match drive(&mut open.connection, &mut open.is_over, sending).await {
                Some(Ok(response)) => {
                    return Ok((response, Replying { open, place, idle: self.idle.clone() }));
                }
                Some(Err(mut error)) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(error.into_error().into()),
                },
                None => return Err(PoolError::Dial(io::ErrorKind::ConnectionAborted.into())),
            }
        }
    }

    async fn open(&self, (host, port): &Place) -> Result<Box<Open>, PoolError> {
        let connecting = async {
            let tcp = self.dial.dial(host.clone(), *port).await.map_err(PoolError::Dial)?;
            // The TLS library asks for 4 KiB at a time, which would be a system call for each.
            let buffered = BufReader::with_capacity(UPSTREAM_READ_BYTES, tcp);
            Ok::<_, PoolError>(self.originator.handshake(buffered, host).await?)
        };
        let tls = timeout(UPSTREAM_CONNECT_WAIT_MAX, connecting).await.map_err(|_| PoolError::Late)??;
        let mut settings = http1::Builder::new();
        settings.read_buf_exact_size(Some(UPSTREAM_READ_BYTES));
        let (sender, connection) = settings.handshake(TokioIo::new(tls)).await?;
        Ok(Box::new(Open { sender, connection, is_over: false }))
    }
}

impl Replying {
    /// The next piece of a reply's body; `None` at its end.
    pub(super) async fn piece(&mut self, body: &mut Incoming) -> Option<Result<Bytes, ()>> {
        loop {
            let Open { connection, is_over, .. } = self.open.as_mut();
            match drive(connection, is_over, body.frame()).await {
                Some(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Some(None) => return None,
                Some(Some(Err(_))) | None => return Some(Err(())),
            }
        }
    }

    /// Keeps the connection for another request, once the whole reply was read.
    pub(super) fn done(mut self) {
        if self.open.is_idle() {
            self.idle.keep(self.place, self.open);
        }
    }
}

impl Open {
    /// Whether it is there and ready for a request, as far as this host has heard.
    fn is_idle(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.is_over = self.is_over || Pin::new(&mut self.connection).poll(&mut nobody).is_ready();
        !self.is_over && self.sender.is_ready()
    }
}

impl Idle {
    fn take(&self, place: &Place) -> Option<Box<Open>> {
        loop {
            let (mut open, since) = lock(&self.0).by_place.get_mut(place)?.pop()?;
            if since.elapsed() < UPSTREAM_IDLE_WAIT_MAX && open.is_idle() {
                return Some(open);
            }
        }
    }

    fn keep(self: &Arc<Self>, place: Place, open: Box<Open>) {
        let mut parked = lock(&self.0);
        let there = parked.by_place.entry(place).or_default();
        if there.len() < UPSTREAM_IDLE_MAX {
            there.push((open, Instant::now()));
        }
        if !parked.is_swept {
            parked.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what was idle for too long. Whether anything is left.
    fn close_old(&self) -> bool {
        let mut parked = lock(&self.0);
        for there in parked.by_place.values_mut() {
            there.retain(|(_, since)| since.elapsed() < UPSTREAM_IDLE_WAIT_MAX);
        }
        parked.by_place.retain(|_, there| !there.is_empty());
        parked.is_swept = !parked.by_place.is_empty();
        parked.is_swept
    }
}

/// Closes connections that stay idle, as long as there are any.
async fn sweep(idle: Weak<Idle>) {
    let mut pause = UPSTREAM_IDLE_WAIT_MAX;
    loop {
        sleep(pause).await;
        pause = UPSTREAM_IDLE_WAIT_MAX / 4 + Duration::from_secs(1);
        let Some(idle) = idle.upgrade() else { return };
        if !idle.close_old() {
            return;
        }
    }
}

/// Waits for something that comes by a connection, whose bytes are moved meanwhile. None when the connection is over, and
/// it has not come.
async fn drive<T>(
    connection: &mut http1::Connection<Stream, Full<Bytes>>,
    is_over: &mut bool,
    awaited: impl Future<Output = T>,
) -> Option<T> {
    let mut awaited = pin!(awaited);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(come) = awaited.as_mut().poll(cx) {
            return Poll::Ready(Some(come));
        }
        if !*is_over && Pin::new(&mut *connection).poll(cx).is_ready() {
            *is_over = true;
        }
        match awaited.as_mut().poll(cx) {
            Poll::Ready(come) => Poll::Ready(Some(come)),
            Poll::Pending if *is_over => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
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
