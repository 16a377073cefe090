//! Chunks: the rows of a large result, which its reply leads to and cloud storage has. The client is told addresses of its
//! account's own host in place of the store's, so it asks here. The agent gets the chunk from the store, masks it as the
//! reply was masked, and gives it on as it comes; no more than a batch of rows is in memory at any time.
//!
//! A chunk that cannot be given is HTTP 404, which drivers show or try again, and never something that they could take for
//! rows. One of which something is wrong when part of it was given is broken off.

mod fetch;
mod give;
mod passage;
mod table;

use std::sync::Arc;

use model::{HostName, Mode, QueryId};
use policy::ClearError;
use snowflake::{ArrowError, ChunkId, DecodeError, EncodeError, codec::CodecError};
use tokio::sync::Semaphore;

use self::give::Giving;
pub(crate) use self::{
    passage::Passage,
    table::{Announced, Door},
};
use crate::{
    answer::{Answer, Outbox},
    corridor::{Corridor, Peer},
    limits::{CHUNK_WAIT_MAX, CHUNKS_AT_ONCE_MAX, PASSING_WAIT_MAX},
    refusal::{Refusal, What},
    session::Session,
    upstream::{Dial, Inbound, Upstream, UpstreamError},
};

/// The stores of results, as whoever wires the corridor knows them.
pub struct Storage {
    /// Domains in which a store may be.
    pub domains: Vec<HostName>,
    /// Opens connections to a store, at whatever address it is that may be one.
    pub dial: Arc<dyn Dial>,
}

/// All that there is of chunks.
pub(crate) struct Stores {
    pub(crate) announced: Announced,
    upstream: Upstream,
    /// How many may be under way.
    places: Semaphore,
}

/// Why a chunk is not given, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    #[error("its store answers with HTTP status {0}")]
    Status(u16),
    #[error("its store sends on to another address (HTTP status {0})")]
    Redirect(u16),
    #[error("its store answers with an error in XML")]
    Xml,
    #[error("it is longer than the result says")]
    TooLong,
    #[error("it took longer than {} minutes", CHUNK_WAIT_MAX.as_secs() / 60)]
    Late,
    #[error("it was not understood: {0}")]
    Encoding(#[from] CodecError),
    #[error("it was not understood: {0}")]
    Decode(#[from] DecodeError),
    #[error("it was not understood: {0}")]
    Arrow(#[from] ArrowError),
    #[error("the masks could not be applied: {0}")]
    Clear(#[from] ClearError),
    #[error("the masked rows could not be put back: {0}")]
    Encode(#[from] EncodeError),
    #[error("it has {found} rows where the result says {said}")]
    Rows { said: u64, found: u64 },
    #[error("the client went away before it had the whole chunk")]
    Gone,
    #[error("the client took nothing of it for {} s", PASSING_WAIT_MAX.as_secs())]
    Stuck,
    #[error("the client could not tell a chunk that was broken off from a whole one; HTTP/1.1 is needed")]
    Unframed,
    #[error("it cannot be recorded: {0}")]
    Unrecorded(audit::Error),
    #[error("the session was ended while it was under way")]
    Ended,
}

impl Stores {
    pub(crate) fn new(storage: Storage, originator: Arc<tls::Originator>) -> Self {
        Self {
            announced: Announced::new(storage.domains),
            upstream: Upstream::new(storage.dial, originator),
            places: Semaphore::new(CHUNKS_AT_ONCE_MAX),
        }
    }
}

/// Gives a chunk of a result.
///
/// # Errors
/// When it is nobody's, or another's.
pub(crate) async fn chunk(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
    asked: ChunkId,
    id: QueryId,
    outbox: &mut Outbox,
) -> Result<Answer, Refusal> {
    let (session, result) = corridor.stores.announced.find(asked.result).ok_or(Refusal::UnknownChunk)?;
    let chunk = result.chunks.list.get(asked.index).ok_or(Refusal::UnknownChunk)?;
    if let Err(refusal) = may_have(corridor, peer, &session) {
        if corridor.mode == Mode::Enforce {
            return Err(refusal);
        }
        corridor.write_down(peer, inbound, &refusal, What::Chunk, id).await?;
    }
    let mut giving = Giving::new(outbox, Passage::of(&result));
    let carried = async {
        let _place = corridor.stores.places.acquire().await.map_err(|_| ChunkError::Ended)?;
        // What came by a corporate proxy goes by it.
        let upstream = peer.way.own.as_ref().unwrap_or(&corridor.stores.upstream);
        let came = fetch::fetch(upstream, &result, chunk).await?;
        giving.carry(came, chunk).await
    };
    let within = tokio::time::timeout(CHUNK_WAIT_MAX, carried);
    let carried = session.unless_ended(async { Ok::<_, Refusal>(within.await) }).await;
    let carried = match carried {
        Ok(Ok(carried)) => carried,
        Ok(Err(_)) => Err(ChunkError::Late),
        Err(_) => Err(ChunkError::Ended),
    };
    let (outcome, refusal) = match carried {
        Ok(tally) => (giving.given(tally), None),
        Err(error) => (giving.withheld(&error), Some(Refusal::Chunk(error))),
    };
    let entry = audit::Chunk {
        session: session.id,
        query: result.clearance.query_id(),
        connection: peer.connection,
        index: asked.index as u64,
        outcome,
    };
    let recorded = corridor.journal.append(entry).await.map_err(ChunkError::Unrecorded);
    let refusal = recorded.err().map(Refusal::Chunk).or(refusal);
    Ok(match refusal {
        None => giving.rest(),
        Some(_) if giving.has_begun() => Answer::begun(None),
        Some(refusal) => refusal.answer(What::Chunk, id),
    })
}

/// Whether the client behind a connection may have what a session was told of.
fn may_have(corridor: &Corridor, peer: &Peer, session: &Session) -> Result<(), Refusal> {
    if session.job != peer.job() || corridor.account(&peer.host) != Some(&session.account) {
        return Err(Refusal::OtherJob);
    }
    match (session.ended(), corridor.mode) {
        (Some(ended), _) => Err(ended),
        // What would have been refused is said where a statement is judged.
        (None, Mode::Observe) => Ok(()),
        (None, Mode::Enforce) => corridor.barred(peer, Some(&session.user)).map_or(Ok(()), Err),
    }
}

#[cfg(test)]
mod tests;
