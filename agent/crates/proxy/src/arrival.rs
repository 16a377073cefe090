//! A connection that the kernel handed over.

use std::io;

use model::{ConnectionId, OriginalDst, SocketOwner};
use tokio::net::TcpStream;

/// The first witness: a client's connection, where it was going, and who opened it. Made where the kernel's half is
/// wired to the corridor, and nowhere else.
#[derive(Debug)]
pub struct Arrival {
    id: ConnectionId,
    stream: TcpStream,
    destination: OriginalDst,
    owner: SocketOwner,
}

impl Arrival {
    /// Takes what the kernel recorded for an accepted connection.
    #[must_use]
    pub fn new(id: ConnectionId, stream: TcpStream, destination: OriginalDst, owner: SocketOwner) -> Self {
        Self { id, stream, destination, owner }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn destination(&self) -> OriginalDst {
        self.destination
    }

    pub(crate) fn owner(&self) -> &SocketOwner {
        &self.owner
    }

    /// Has small writes sent at once (`TCP_NODELAY`): an answer is one write, and the client waits for it.
    pub(crate) fn send_at_once(&self) -> io::Result<()> {
        self.stream.set_nodelay(true)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}
