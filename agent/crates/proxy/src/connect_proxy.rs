//! A corporate proxy that jobs are told to use: what they ask it for is read, and what leads to Snowflake is kept here.
//!
//! A tunnel to a guarded name is served as a direct connection would be, and the agent's own way to Snowflake then goes
//! through the same proxy, in the client's name. A tunnel to anything else is opened as the client asked, and passed on
//! untouched unless a guarded name stands in the ClientHello in it. Other requests are passed on one by one
//! (`proxied`), because one connection may carry many. What cannot be read is refused.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use model::{HostName, OriginalDst};
use tls::Hello;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tracing::{debug, warn};

use crate::{
    addresses::Addresses,
    arrival::Arrival,
    corridor::{Corridor, Way, told},
    limits::{
        HELLO_WAIT_MAX, PROXY_BODY_WAIT_MAX, PROXY_HEAD_BYTES_MAX, PROXY_HEAD_WAIT_MAX, PROXY_WAIT_MAX,
    },
    peek, proxied,
    proxy_head::{Answered, Asked, Credentials, Place, Tunnel},
    relay,
    upstream::Dial,
};

/// Where TLS is looked for in a tunnel.
const HTTPS: u16 = 443;
/// Where drivers ask about certificates, without TLS.
const HTTP: u16 = 80;

/// What we say once a tunnel to Snowflake is there.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Serves one connection to a proxy, to its end.
pub(crate) async fn serve(corridor: Arc<Corridor>, mut arrival: Arrival) {
    let connection = arrival.id();
    let (mut proxy, mut stopping) = (None, corridor.stopping());
    loop {
        let asking = peek::first(arrival.stream(), PROXY_HEAD_BYTES_MAX, PROXY_HEAD_WAIT_MAX, Asked::read);
        let asked = tokio::select! {
            asked = asking => asked,
            // Nothing is under way: the agent need not wait for what may come.
            () = told(&mut stopping) => return,
        };
        let went_on = match asked {
            Ok(Some(Asked::Tunnel(tunnel))) => open(&corridor, arrival, tunnel, proxy).await,
            Ok(Some(Asked::Message)) => return proxied::serve(&corridor, arrival).await,
            Ok(Some(Asked::Unreadable(reason))) => return refuse(&corridor, arrival, reason).await,
            // The client is done, or never said a whole head.
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match went_on {
            Ok(Some(refused)) => (arrival, proxy) = refused,
            Ok(None) => return,
            Err(error) => {
                debug!(%connection, %error, "a connection to a proxy ended early");
                return;
            }
        }
    }
}

/// A connection on which the proxy refused a tunnel, and the one to the proxy if it goes on: the client may ask again.
type Refused = Option<(Arrival, Option<TcpStream>)>;

/// Opens a tunnel and serves or passes on what goes through it.
async fn open(
    corridor: &Arc<Corridor>,
    mut arrival: Arrival,
    tunnel: Tunnel,
    proxy: Option<TcpStream>,
) -> io::Result<Refused> {
    let guarded = match &tunnel.to {
        Place::Name(name) if corridor.is_guarded(name) => Some(Some(name.clone())),
        Place::Address(ip) if corridor.addresses.is_snowflakes(*ip) => Some(None),
        _ => None,
    };
    let mut head = vec![0; tunnel.bytes];
    arrival.stream_mut().read_exact(&mut head).await?;
    let destination = arrival.destination();
    // The proxy is not asked about an address of Snowflake's: there is no name yet to ask for.
    if guarded == Some(None) {
        arrival.stream_mut().write_all(ESTABLISHED).await?;
        admit(corridor, arrival, tunnel, None).await;
        return Ok(None);
    }
    let mut server = match proxy {
        Some(server) => server,
        None => corridor.addresses.connect(destination).await?,
    };
    match &guarded {
        Some(Some(name)) => {
            server.write_all(tunnel.credentials.request(name, tunnel.port).expose()).await?;
        }
        _ => server.write_all(&head).await?,
    }
    let answered = answer(&server).await?;
    let mut head = vec![0; answered.bytes];
    server.read_exact(&mut head).await?;
    if !answered.is_tunnel() {
        return pass_back(arrival, server, &head, answered).await;
    }
    if let Some(Some(name)) = guarded {
        arrival.stream_mut().write_all(ESTABLISHED).await?;
        admit(corridor, arrival, tunnel, Some((name, server))).await;
        return Ok(None);
    }
    arrival.stream_mut().write_all(&head).await?;
    if tunnel.port == HTTPS && names_guarded(corridor, arrival.stream()).await? {
        drop(server);
        admit(corridor, arrival, tunnel, None).await;
        return Ok(None);
    }
    let (connection, stopping) = (arrival.id(), corridor.stopping());
    corridor.passage.join(connection, &arrival.into_stream(), &server, stopping).await;
    Ok(None)
}

/// The proxy's answer to a request for a tunnel, looked at and not yet taken.
async fn answer(server: &TcpStream) -> io::Result<Answered> {
    let read = peek::first(server, PROXY_HEAD_BYTES_MAX, PROXY_WAIT_MAX, Answered::read).await?;
    let answered = read.ok_or_else(|| io::Error::other("the proxy gave no answer"))?;
    answered.map_err(|error| io::Error::other(format!("the proxy's answer cannot be read: {error}")))
}

/// Whether the client asks for a guarded name in a tunnel to somewhere else.
async fn names_guarded(corridor: &Corridor, client: &TcpStream) -> io::Result<bool> {
    let hello = peek::hello(client, HELLO_WAIT_MAX).await?;
    Ok(matches!(hello, Hello::Named(Some(name)) if corridor.is_guarded(&name)))
}

/// Passes a refusal back as it came. Where its length is known, both connections go on: some proxies want to be asked
/// more than once on the same one.
async fn pass_back(
    mut arrival: Arrival,
    mut server: TcpStream,
    head: &[u8],
    answered: Answered,
) -> io::Result<Refused> {
    let client = arrival.stream_mut();
    client.write_all(head).await?;
    let length = answered.body_bytes.unwrap_or(u64::MAX);
    let body = async { tokio::io::copy(&mut (&mut server).take(length), client).await };
    let sent = timeout(PROXY_BODY_WAIT_MAX, body).await??;
    if answered.body_bytes != Some(sent) {
        client.shutdown().await?;
        return Ok(None);
    }
    Ok(Some((arrival, Some(server))))
}

/// Serves a tunnel to Snowflake. `first` is a tunnel that the proxy has opened already.
async fn admit(
    corridor: &Arc<Corridor>,
    arrival: Arrival,
    tunnel: Tunnel,
    first: Option<(HostName, TcpStream)>,
) {
    let Tunnel { port, credentials, .. } = tunnel;
    if port == HTTP {
        return crate::plain::serve(arrival.into_stream()).await;
    }
    let first = Mutex::new(first.map(|(host, stream)| (host, port, stream)));
    let (proxy, addresses) = (arrival.destination(), corridor.addresses.clone());
    let dial = Arc::new(ThroughProxy { proxy, addresses, credentials: Arc::new(credentials), first });
    corridor.clone().admit_by(arrival, Way::through(port, dial, corridor)).await;
}

async fn refuse(corridor: &Corridor, arrival: Arrival, reason: &str) {
    let (connection, pid, destination) = (arrival.id(), arrival.owner().pid, arrival.destination());
    warn!(%connection, %destination, pid, reason, "a connection to a proxy was refused");
    corridor
        .record_refused(&arrival, format!("what a client says to a proxy cannot be read: {reason}"))
        .await;
    relay::reset(&arrival.into_stream());
}

/// The agent's way to Snowflake for one client's connection: through the proxy that it asked, in its name.
struct ThroughProxy {
    proxy: OriginalDst,
    addresses: Arc<dyn Addresses>,
    credentials: Arc<Credentials>,
    /// A tunnel that is open and was not used yet.
    first: Mutex<Option<(HostName, u16, TcpStream)>>,
}

impl Dial for ThroughProxy {
    fn dial(&self, host: HostName, port: u16) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (connecting, credentials) = (self.addresses.connect(self.proxy), self.credentials.clone());
        Box::pin(async move {
            if let Some((its_host, its_port, stream)) = first
                && (its_host, its_port) == (host.clone(), port)
            {
                return Ok(stream);
            }
            let mut server = connecting.await?;
            server.write_all(credentials.request(&host, port).expose()).await?;
            let answered = answer(&server).await?;
            let mut head = vec![0; answered.bytes];
            server.read_exact(&mut head).await?;
            if answered.is_tunnel() {
                return Ok(server);
            }
            Err(io::Error::other(format!("the proxy answers {} for {host}:{port}", answered.status)))
        })
    }
}
