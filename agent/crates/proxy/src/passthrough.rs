//! A connection to an address that nobody has named: served if it is Snowflake's, and otherwise passed on as it is.
//!
//! What is passed on is never decrypted. Whether it may be is for the agent's own question to the address to say; what
//! the client says can only make it a connection to Snowflake, never make it none.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use model::{ConnectionId, HostName, Mode, OriginalDst};
use tls::Hello;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, SemaphorePermit, watch},
};
use tracing::{debug, warn};

use crate::{
    addresses::{Undecided, Whose},
    arrival::Arrival,
    corridor::Corridor,
    limits::{HELLO_WAIT_MAX, PASSED_MAX},
    peek, relay,
};

/// What was passed on since the agent started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Connections that are open now.
    pub open: usize,
    /// Connections in all.
    pub connections: u64,
    /// Bytes, in both directions together.
    pub bytes: u64,
    /// Connections that were refused, because it could not be found out whose the address is or there was no place.
    pub refused: u64,
}

/// The way for what is not Snowflake's, and what went along it.
pub(crate) struct Passage {
    places: Semaphore,
    connections: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
}

impl Passage {
    pub(crate) fn new() -> Self {
        Self {
            places: Semaphore::new(PASSED_MAX),
            connections: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(crate) fn passed(&self) -> Passed {
        Passed {
            open: PASSED_MAX.saturating_sub(self.places.available_permits()),
            connections: self.connections.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// A place for one more connection, which is counted; none where there are too many.
    pub(crate) fn enter(&self, connection: ConnectionId) -> Option<SemaphorePermit<'_>> {
        match self.places.try_acquire() {
            Ok(place) => {
                self.connections.fetch_add(1, Ordering::Relaxed);
                Some(place)
            }
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                warn!(%connection, max = PASSED_MAX, "a connection was refused: too many are passed on at one time");
                None
            }
        }
    }

    /// Joins a client's connection with one to where it goes, until both are done.
    pub(crate) async fn join(
        &self,
        connection: ConnectionId,
        client: &TcpStream,
        server: &TcpStream,
        stopping: watch::Receiver<bool>,
    ) {
        let Some(_place) = self.enter(connection) else {
            relay::reset(client);
            return;
        };
        if let Err(error) = relay::join(client, server, &self.bytes, stopping).await {
            debug!(%connection, %error, "a passed connection ended early");
        }
    }
}

/// Serves or passes on one connection, to its end.
pub(crate) async fn meet(corridor: Arc<Corridor>, arrival: Arrival) {
    match whose(&corridor, &arrival).await {
        Ok(Whose::Others) => pass(&corridor, arrival).await,
        Ok(Whose::Snowflakes | Whose::Proxys) => corridor.admit(arrival).await,
        Err(undecided) => {
            let (connection, pid) = (arrival.id(), arrival.owner().pid);
            corridor.passage.refused.fetch_add(1, Ordering::Relaxed);
            warn!(%connection, pid, %undecided, "a connection to an unknown address was refused");
            corridor.record_refused(&arrival, undecided.to_string()).await;
            if corridor.mode == Mode::Observe {
                pass(&corridor, arrival).await;
            } else {
                relay::reset(&arrival.into_stream());
            }
        }
    }
}

/// Whose the address is. A client that asks for a guarded name is taken at its word: it is then served as if the
/// address were known, and reaches Snowflake at an address that the agent itself learned.
async fn whose(corridor: &Corridor, arrival: &Arrival) -> Result<Whose, Undecided> {
    let named = named(arrival).await;
    let is_guarded = named.as_ref().is_some_and(|name| corridor.is_guarded(name));
    let asking = corridor.addresses.ask(arrival.destination(), named);
    if !is_guarded {
        return asking.await;
    }
    // Whether the address is to be guarded from now on is not for this client to wait for.
    tokio::spawn(async move {
        if let Err(undecided) = asking.await {
            debug!(%undecided, "an address that was asked for under a guarded name");
        }
    });
    Ok(Whose::Snowflakes)
}

/// The server name that the client asks for, if it says one in time.
async fn named(arrival: &Arrival) -> Option<HostName> {
    match peek::hello(arrival.stream(), HELLO_WAIT_MAX).await {
        Ok(Hello::Named(name)) => name,
        Ok(Hello::Incomplete | Hello::NotTls) => None,
        Err(error) => {
            debug!(connection = %arrival.id(), %error, "a client broke off before it said anything");
            None
        }
    }
}

async fn pass(corridor: &Corridor, arrival: Arrival) {
    let (connection, destination) = (arrival.id(), arrival.destination());
    let client = arrival.into_stream();
    match reach(corridor, connection, destination).await {
        Some(server) => corridor.passage.join(connection, &client, &server, corridor.stopping()).await,
        None => relay::reset(&client),
    }
}

/// A connection to where the client's was going.
async fn reach(corridor: &Corridor, connection: ConnectionId, destination: OriginalDst) -> Option<TcpStream> {
    let connected = corridor.addresses.connect(destination).await;
    connected
        .inspect_err(
            |error| debug!(%connection, %destination, %error, "where a connection goes cannot be reached"),
        )
        .ok()
}
