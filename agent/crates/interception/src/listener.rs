//! Where redirected connections arrive: one listener per address family, marked, and known to the programs.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use agent_common::{Listener, Mark, Origin};
use aya::maps::{HashMap, Map, MapData, MapError, SkStorage};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};

use crate::{
    dialer::Marker,
    error::{Error, MapFault},
    intercepted::Intercepted,
    object, sys,
};

/// Connections that may wait to be accepted. The kernel takes the lesser of this and `net.core.somaxconn`.
const BACKLOG_MAX: u32 = 4_096;
/// How long to wait when the process or the host has no descriptors or memory left for a connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// The listeners of the agent's own network namespace.
#[derive(Debug)]
pub(crate) struct Listeners {
    v4: TcpListener,
    /// None where the namespace has no IPv6.
    v6: Option<TcpListener>,
    accepted: SkStorage<MapData, Origin>,
}

impl Listeners {
    /// Binds, marks and registers, in this order: by the time the programs know of a listener, it is there and ours.
    /// Entries of an earlier run are removed: its listeners died with it.
    pub(crate) fn open(port: u16, marker: &Marker, registry: Map, accepted: Map) -> Result<Self, Error> {
        let accepted = accepted.try_into().map_err(MapFault::of(object::ACCEPTED))?;
        let v4 = bind(Ipv4Addr::LOCALHOST.into(), port, marker)?;
        let v6 = match bind(Ipv6Addr::LOCALHOST.into(), port, marker) {
            Err(Error::Listen { source, .. }) if is_without_ipv6(&source) => None,
            other => Some(other?),
        };
        let listeners = Self { v4, v6, accepted };
        register(registry, &listeners)?;
        Ok(listeners)
    }

    /// The port on `127.0.0.1`.
    pub(crate) fn port(&self) -> u16 {
        // A bound socket has an address; 0 would be said of one that is not.
        self.v4.local_addr().map_or(0, |addr| addr.port())
    }

    /// The next connection that was redirected here. Any other is closed: the programs have counted it.
    pub(crate) async fn accept(&self) -> Result<Intercepted, Error> {
        loop {
            let stream = match self.accept_any().await {
                Ok(stream) => stream,
                Err(error) if is_exhaustion(&error) => {
                    tracing::warn!(%error, "cannot accept a connection: waiting");
                    sleep(EXHAUSTED_PAUSE).await;
                    continue;
                }
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => return Err(Error::Accept(error)),
            };
            match self.accepted.get(&stream, 0) {
                Ok(origin) => return Ok(Intercepted::new(stream, origin)),
                Err(MapError::KeyNotFound) => {
                    tracing::debug!("closed a connection that was not redirected here");
                }
                Err(MapError::SyscallError(error)) if is_exhaustion(&error.io_error) => {
                    tracing::warn!(%error, "closed a connection whose record could not be read");
                }
                Err(error) => return Err(MapFault::of(object::ACCEPTED)(error).into()),
            }
        }
    }

    async fn accept_any(&self) -> io::Result<TcpStream> {
        let Some(v6) = &self.v6 else { return Ok(self.v4.accept().await?.0) };
        let (stream, _client) = tokio::select! {
            accepted = self.v4.accept() => accepted?,
            accepted = v6.accept() => accepted?,
        };
        Ok(stream)
    }
}

fn bind(ip: IpAddr, port: u16, marker: &Marker) -> Result<TcpListener, Error> {
    let addr = SocketAddr::new(ip, port);
    let failed = |source| Error::Listen { addr, source };
    let socket = if ip.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    marker.mark(&socket, Mark::LISTENER)?;
    // Connections of an earlier run may linger on the port.
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(addr).map_err(failed)?;
    socket.listen(BACKLOG_MAX).map_err(failed)
}

fn register(registry: Map, listeners: &Listeners) -> Result<(), Error> {
    let fault = MapFault::of(object::LISTENERS);
    let mut registry: HashMap<_, u64, Listener> = registry.try_into().map_err(&fault)?;
    let earlier = registry.keys().collect::<Result<Vec<_>, _>>().map_err(&fault)?;
    for namespace in earlier {
        registry.remove(&namespace).map_err(&fault)?;
    }
    let local = |listener: &TcpListener| listener.local_addr().map_err(Error::Accept);
    let namespace = sys::netns_cookie(&listeners.v4).map_err(Error::Accept)?;
    let port6 = listeners.v6.as_ref().map(local).transpose()?.map_or(0, |addr| addr.port());
    let entry = Listener { port4: local(&listeners.v4)?.port(), port6 };
    registry.insert(namespace, entry, 0).map_err(&fault)?;
    Ok(())
}

/// What bind(2) and socket(2) say where IPv6 is not compiled in, or switched off on loopback.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Errors after which the listener is as good as before, once something is freed. accept(2)
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Errors that belong to a connection that has ended in the queue. accept(2)
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPERM
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_one_connection_or_of_a_full_house_does_not_end_the_listener() {
        let error = io::Error::from_raw_os_error;
        assert!(is_of_one_connection(&error(libc::ECONNABORTED)));
        assert!(is_exhaustion(&error(libc::EMFILE)));
        for fatal in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK, libc::EFAULT] {
            assert!(!is_of_one_connection(&error(fatal)) && !is_exhaustion(&error(fatal)));
        }
    }

    #[test]
    fn a_taken_port_is_not_mistaken_for_a_lack_of_ipv6() {
        assert!(is_without_ipv6(&io::Error::from_raw_os_error(libc::EADDRNOTAVAIL)));
        assert!(!is_without_ipv6(&io::Error::from_raw_os_error(libc::EADDRINUSE)));
        assert!(!is_without_ipv6(&io::Error::from_raw_os_error(libc::EACCES)));
    }
}
