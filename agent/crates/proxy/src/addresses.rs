//! Whose the address is that a connection was going to.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
};

use model::{HostName, OriginalDst};
use tokio::net::TcpStream;

/// A future that a trait answers.
pub type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Who is behind an address, as the agent itself found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Snowflake, or what the operator guards as such.
    Snowflakes,
    /// A proxy of the operator's, which leads to Snowflake and elsewhere.
    Proxys,
    /// Somebody else.
    Others,
}

/// Why it cannot be said whose an address is. Nothing is passed on to such an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it cannot be found out whether {address} is Snowflake's: {reason}")]
pub struct Undecided {
    /// The address.
    pub address: SocketAddr,
    /// What was tried, and what came of it.
    pub reason: String,
}

/// Knows addresses, finds out about unknown ones, and reaches them past the agent's own guard.
///
/// The corridor knows nothing of the kernel and asks nobody; whoever wires it hands this in.
pub trait Addresses: Send + Sync + 'static {
    /// Whose it is, if that is known already.
    fn known(&self, destination: OriginalDst) -> Option<Whose>;

    /// Whether an address is guarded as Snowflake's, or said to be and not proved: a proxy may reach it where we do not.
    fn is_snowflakes(&self, ip: IpAddr) -> bool;

    /// Whose it is, by asking the address itself. The name that a client gave (`named`) may be asked for too, but what
    /// counts is what the address shows for it.
    fn ask(&self, destination: OriginalDst, named: Option<HostName>) -> Answer<Result<Whose, Undecided>>;

    /// Connects to this very address.
    fn connect(&self, destination: OriginalDst) -> Answer<io::Result<TcpStream>>;
}
