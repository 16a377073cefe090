//! The agent's own way to a guarded address.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use agent_common::Mark;
use aya::maps::{Map, MapData, SkStorage};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    config::Config,
    error::{Error, MapFault},
    object::MARKS,
    pins,
};

/// Puts marks on sockets, by their descriptors.
#[derive(Debug, Clone)]
pub(crate) struct Marker(Arc<Mutex<SkStorage<MapData, Mark>>>);

impl Marker {
    pub(crate) fn new(map: Map) -> Result<Self, MapFault> {
        let map = SkStorage::try_from(map).map_err(MapFault::of(MARKS))?;
        Ok(Self(Arc::new(Mutex::new(map))))
    }

    pub(crate) fn mark(&self, socket: &TcpSocket, mark: Mark) -> Result<(), MapFault> {
        // One system call is made under the lock, and nothing in it can leave the map half changed.
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.insert(socket, mark, 0).map_err(MapFault::of(MARKS))
    }
}

/// Opens connections that the kernel programs let through to guarded addresses. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer {
    /// None before there are any programs that look for a mark.
    marker: Option<Marker>,
}

impl Dialer {
    pub(crate) fn new(marker: Marker) -> Self {
        Self { marker: Some(marker) }
    }

    /// For looking at guarded addresses before an agent has started: past the programs that an earlier agent may have
    /// left attached at the pins of `cfg`.
    ///
    /// # Errors
    /// When something is pinned there and cannot be read.
    pub fn before_start(cfg: &Config) -> Result<Self, Error> {
        let marker = pins::marks(&cfg.pins)?.map(|map| Marker::new(Map::SkStorage(map))).transpose()?;
        Ok(Self { marker })
    }

    /// Connects to `addr`, which may be guarded or not, within `limit`. Small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// What connect(2) says, or [`io::ErrorKind::TimedOut`].
    pub async fn connect(&self, addr: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Before the connect: that is when the mark is looked for.
        if let Some(marker) = &self.marker {
            marker.mark(&socket, Mark::UPSTREAM).map_err(io::Error::other)?;
        }
        let stream = timeout(limit, socket.connect(addr)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
