//! A chunk on its way to the client: all but its last piece, which waits until the record has it.

use std::mem;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use policy::Tally;
use snowflake::Chunk;
use tokio::{sync::mpsc, time::timeout};

use super::{
    ChunkError,
    passage::{Masked, Passage},
};
use crate::{
    answer::{Answer, LastPiece, Outbox, Piece},
    limits::{CHUNK_BYTES_SLACK, PASSING_WAIT_MAX},
    record,
    upstream::Long,
};

/// A chunk that is given.
pub(super) struct Giving<'a> {
    outbox: &'a mut Outbox,
    passage: Option<Passage>,
    headers: HeaderMap,
    /// How long it will be, where that is known.
    length: Option<u64>,
    /// None until the client has the first of it.
    pieces: Option<mpsc::Sender<Piece>>,
    /// The last piece. The client gets it when another has come, or all is well in the end.
    held: Bytes,
    /// How much the client was given, and what is held.
    bytes: u64,
}

impl<'a> Giving<'a> {
    pub(super) fn new(outbox: &'a mut Outbox, passage: Passage) -> Self {
        Self {
            outbox,
            passage: Some(passage),
            headers: HeaderMap::new(),
            length: None,
            pieces: None,
            held: Bytes::new(),
            bytes: 0,
        }
    }

    /// Gives what comes, and says what it was.
    pub(super) async fn carry(&mut self, mut came: Long, chunk: &Chunk) -> Result<Tally, ChunkError> {
        if !self.outbox.may_begin() {
            return Err(ChunkError::Unframed);
        }
        let mut passage = self.passage.take().ok_or(ChunkError::Ended)?;
        let bytes_max = chunk.bytes.saturating_mul(2).saturating_add(CHUNK_BYTES_SLACK);
        self.expect(&passage, &came)?;
        let mut arrived = 0;
        while let Some(piece) = came.piece().await? {
            arrived += piece.len() as u64;
            if arrived > bytes_max {
                return Err(ChunkError::TooLong);
            }
            let piece = match &mut passage {
                Passage::AsTheyCome { .. } => piece,
                Passage::Masked(masked) => masked.take(&piece, bytes_max)?.into(),
            };
            self.give(piece, &passage).await?;
        }
        came.done();
        match passage {
            Passage::AsTheyCome { tally, .. } => Ok(Tally { rows: chunk.rows, ..tally }),
            Passage::Masked(masked) => {
                let (last, tally) = masked.end(chunk, bytes_max)?;
                self.hold_also(&last);
                Ok(tally)
            }
        }
    }

    /// Prepares the head of the answer. A checksum of what was masked would be wrong.
    fn expect(&mut self, passage: &Passage, came: &Long) -> Result<(), ChunkError> {
        let kept = if passage.keeps_bytes() {
            self.length = came.length;
            &[header::CONTENT_TYPE, header::CONTENT_ENCODING, header::ETAG, header::LAST_MODIFIED][..]
        } else {
            Masked::expects(came.coding()?)?;
            &[header::CONTENT_TYPE]
        };
        for name in kept {
            if let Some(value) = came.headers.get(name) {
                self.headers.insert(name, value.clone());
            }
        }
        Ok(())
    }

    /// Holds a piece, and gives the one before it to the client.
    async fn give(&mut self, piece: Bytes, passage: &Passage) -> Result<(), ChunkError> {
        if piece.is_empty() {
            return Ok(());
        }
        self.bytes += piece.len() as u64;
        let before = mem::replace(&mut self.held, piece);
        if before.is_empty() {
            return Ok(());
        }
        let headers = &mut self.headers;
        let begin = || self.outbox.begin_chunk(passage, mem::take(headers), self.length);
        let pieces = self.pieces.get_or_insert_with(begin);
        match timeout(PASSING_WAIT_MAX, pieces.send(Piece { bytes: before, is_last: false })).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ChunkError::Gone),
            Err(_) => Err(ChunkError::Stuck),
        }
    }

    /// Puts the last bytes to those that are held.
    fn hold_also(&mut self, last: &[u8]) {
        self.bytes += last.len() as u64;
        if !last.is_empty() {
            self.held = [&self.held[..], last].concat().into();
        }
    }

    /// What is written down of a chunk that is given.
    pub(super) fn given(&self, tally: Tally) -> audit::ChunkOutcome {
        let Tally { rows, masked, found } = tally;
        let (masked, found) = (record::masked(&masked), record::found(&found));
        audit::ChunkOutcome::Given(audit::GivenChunk { rows, bytes: self.bytes, masked, found })
    }

    /// What is written down of one that is not, or not to its end.
    pub(super) fn withheld(&self, error: &ChunkError) -> audit::ChunkOutcome {
        let bytes = if self.has_begun() { self.bytes - self.held.len() as u64 } else { 0 };
        audit::ChunkOutcome::Withheld(audit::WithheldChunk { reason: error.to_string(), bytes })
    }

    /// Whether the client has any of it.
    pub(super) fn has_begun(&self) -> bool {
        self.pieces.is_some()
    }

    /// What the client does not have yet.
    pub(super) fn rest(self) -> Answer {
        match self.pieces {
            Some(pieces) => Answer::begun(Some(LastPiece { pieces, bytes: self.held })),
            None => Answer::as_it_came(StatusCode::OK, self.headers, self.held),
        }
    }
}
