//! Where redirected connections arrive in one network namespace: one listener per address family, marked, and a task
//! for each that hands over what it accepts.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use agent_common::{Listener, Mark, Origin};
use aya::maps::{MapData, MapError, SkStorage};
use nix::sys::socket::{Shutdown, shutdown};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    task::JoinHandle,
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

/// What every listener shares: where to look up who connected, and where to hand it over.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    accepted: Arc<SkStorage<MapData, Origin>>,
    caught: mpsc::Sender<Result<Intercepted, Error>>,
    began: Instant,
}

impl Desk {
    pub(crate) fn new(
        accepted: SkStorage<MapData, Origin>,
        caught: mpsc::Sender<Result<Intercepted, Error>>,
    ) -> Self {
        Self { accepted: Arc::new(accepted), caught, began: Instant::now() }
    }

    /// Milliseconds since the agent began to listen, and never zero.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// The listeners of one namespace. Dropped, they no longer listen.
#[derive(Debug)]
pub(crate) struct Listening {
    /// Cookie of the namespace.
    pub(crate) netns_cookie: u64,
    /// What the programs are told.
    pub(crate) ports: Listener,
    sockets: Vec<Arc<TcpListener>>,
    tasks: Vec<JoinHandle<()>>,
    used_at: Arc<AtomicU64>,
}

impl Listening {
    /// Binds and marks in the namespace of the calling thread, which must be in a tokio runtime. With `is_home`, a
    /// listener that breaks is an error that [`Listeners::accept`](crate::listeners::Listeners::accept) answers;
    /// elsewhere, where whoever governs the namespace can take it away, it just ends.
    pub(crate) fn open(port: u16, is_home: bool, marker: &Marker, desk: &Desk) -> Result<Self, Error> {
        let v4 = bind(Ipv4Addr::LOCALHOST.into(), port, marker)?;
        let v6 = match bind(Ipv6Addr::LOCALHOST.into(), port, marker) {
            Err(Error::Listen { source, .. }) if is_without_ipv6(&source) => None,
            other => Some(other?),
        };
        let local = |listener: &TcpListener| listener.local_addr().map_err(Error::Accept);
        let port6 = v6.as_ref().map(local).transpose()?.map_or(0, |addr| addr.port());
        let ports = Listener { port4: local(&v4)?.port(), port6 };
        let netns_cookie = sys::netns_cookie(&v4).map_err(Error::Accept)?;
        let sockets: Vec<_> = [Some(v4), v6].into_iter().flatten().map(Arc::new).collect();
        let used_at = Arc::new(AtomicU64::new(desk.now()));
        let tasks = sockets.iter().map(|socket| {
            let (socket, desk, used_at) = (socket.clone(), desk.clone(), used_at.clone());
            tokio::spawn(async move {
                let Err(error) = serve(&socket, &desk, &used_at).await else { return };
                if is_home {
                    // Nobody waits any more when the agent is about to end.
                    let _ending = desk.caught.send(Err(error)).await;
                } else {
                    tracing::warn!(netns_cookie, %error, "a listener was taken away");
                }
            })
        });
        let tasks = tasks.collect();
        Ok(Self { netns_cookie, ports, sockets, tasks, used_at })
    }

    /// Whether every listener still takes connections, as far as is known yet.
    pub(crate) fn is_whole(&self) -> bool {
        self.tasks.iter().all(|task| !task.is_finished())
    }

    /// When it last had a connection, or began: comparable among listeners.
    pub(crate) fn used_at(&self) -> u64 {
        self.used_at.load(Ordering::Relaxed)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // The tasks end in their own time, and what they hold with them; who connects now must be refused now.
        for socket in &self.sockets {
            if let Err(errno) = shutdown(socket.as_raw_fd(), Shutdown::Read) {
                tracing::debug!(%errno, "a listener had ended already");
            }
        }
    }
}

/// Accepts until the listener breaks. A connection that was not redirected here is closed: the programs have counted
/// it.
async fn serve(socket: &TcpListener, desk: &Desk, used_at: &AtomicU64) -> Result<(), Error> {
    loop {
        let stream: TcpStream = match socket.accept().await {
            Ok((stream, _client)) => stream,
            Err(error) if is_exhaustion(&error) => {
                tracing::warn!(%error, "cannot accept a connection: waiting");
                sleep(EXHAUSTED_PAUSE).await;
                continue;
            }
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => return Err(Error::Accept(error)),
        };
        used_at.store(desk.now(), Ordering::Relaxed);
        let caught = match desk.accepted.get(&stream, 0) {
            Ok(origin) => Ok(Intercepted::new(stream, origin)),
            Err(MapError::KeyNotFound) => {
                tracing::debug!("closed a connection that was not redirected here");
                continue;
            }
            Err(MapError::SyscallError(error)) if is_exhaustion(&error.io_error) => {
                tracing::warn!(%error, "closed a connection whose record could not be read");
                continue;
            }
            Err(error) => Err(MapFault::of(object::ACCEPTED)(error).into()),
        };
        if desk.caught.send(caught).await.is_err() {
            return Ok(());
        }
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
