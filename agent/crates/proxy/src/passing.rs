//! A long answer for whose rows nothing is owed: it goes to the client as it comes, and little of it is in memory at any
//! time. It is gone through on its way. What came of the statement is written down before the client has the last of it;
//! a client that must not have it, or whose session is ended from here, finds its connection closed in the middle.

use std::mem;

use bytes::Bytes;
use model::Mode;
use policy::{StandingClearance, Untouched};
use snowflake::codec::{self, Inflater};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    answer::{Answer, Outbox, Piece},
    chunks::Door,
    limits::{PASSING_WAIT_MAX, REPLY_BYTES_MAX},
    refusal::{Refusal, Withheld},
    reply::{self, Effect, Ended, Left, Read},
    upstream::{Came, Long, UpstreamError},
};

/// How much of a compressed answer is inflated at one time. It comes to a thousand times as much at most.
const INFLATED_AT_ONCE_BYTES: usize = 4 << 10;

/// An answer that passes.
struct Passing {
    long: Box<Long>,
    untouched: Untouched,
    inflater: Option<Inflater>,
    rows: Result<snowflake::Passing, Withheld>,
    /// The last piece with rows that came, plain. The client gets it when another has come, or all is well in the end.
    held: Bytes,
    /// What came behind the rows.
    behind: Vec<u8>,
    /// How long all of it is, so far, plain.
    bytes: usize,
}

/// Why an answer did not come to its end.
enum Stopped {
    /// One of the two sides is gone, or the session is ended, and nobody knows what the client has.
    Lost(String),
    Withheld(Withheld),
}

/// Reads an answer as [`reply::read`] does. One that is long, and owes nothing, is given to the client meanwhile.
///
/// # Errors
/// When it does not come as a whole, or its session is ended meanwhile, and nothing of it was given.
pub(crate) async fn read(
    came: Came,
    clearance: &StandingClearance,
    mode: Mode,
    door: Door<'_>,
    outbox: &mut Outbox,
) -> Result<Read, Refusal> {
    let long = match came {
        Came::Whole(reply) => return Ok(reply::read(reply, clearance, mode, door)),
        Came::Long(long) if !outbox.may_begin() => long,
        Came::Long(long) => match Passing::begin(long, clearance) {
            Ok(passing) => {
                let ended = passing.pass(clearance, mode, door, outbox).await;
                return Ok(Read::Ended(Box::new(ended)));
            }
            Err(long) => long,
        },
    };
    Ok(reply::read(door.session.unless_ended(long.whole()).await?, clearance, mode, door))
}

impl Passing {
    /// Begins, if what has come tells that nothing is owed.
    fn begin(mut long: Box<Long>, clearance: &StandingClearance) -> Result<Self, Box<Long>> {
        let Ok(is_compressed) = long.coding().and_then(codec::is_compressed) else {
            return Err(long);
        };
        let mut inflater = is_compressed.then(Inflater::new);
        let head = match &mut inflater {
            None => Some(Bytes::copy_from_slice(&long.begun)),
            Some(inflater) => inflate_head(inflater, &long.begun),
        };
        let begun = head.and_then(|head| Some((snowflake::Passing::begin(&head)?, head)));
        let begun = begun.and_then(|(rows, head)| Some((clearance.untouched(rows.columns())?, rows, head)));
        let Some((untouched, rows, head)) = begun else { return Err(long) };
        long.begun.clear();
        let (bytes, behind) = (head.len(), head.get(rows.passes()..).unwrap_or_default().to_vec());
        let held = head.slice(..bytes - behind.len());
        Ok(Self { long, untouched, inflater, rows: Ok(rows), bytes, held, behind })
    }

    /// Gives it to the client, and says what came of the statement. The last piece is in the answer that is returned.
    async fn pass(
        mut self,
        clearance: &StandingClearance,
        mode: Mode,
        door: Door<'_>,
        outbox: &mut Outbox,
    ) -> Ended {
        let (status, headers) = (self.long.status, mem::take(&mut self.long.headers));
        // How long it will be is not known before it is known whether it leads to chunks.
        let pieces = outbox.begin(&self.untouched, status, headers);
        let carrying = async { Ok::<_, Refusal>(self.carry(&pieces, mode).await) };
        let carried = door.session.unless_ended(carrying).await;
        let carried = carried.unwrap_or_else(|ended| Err(Stopped::Lost(ended.to_string())));
        let Self { long, rows, held, behind, .. } = self;
        let counted = match carried {
            Ok(()) => {
                long.done();
                rows.and_then(|rows| Ok(rows.end()?))
            }
            Err(Stopped::Lost(reason)) => {
                let outcome = audit::Lost { reason }.into();
                return Ended { outcome, answer: Answer::begun(None), id: None, effect: Effect::Unknown };
            }
            Err(Stopped::Withheld(withheld)) => {
                return reply::stopped(withheld, None, Effect::Unknown, Mode::Enforce, Answer::begun(None));
            }
        };
        let left = Left { pieces, rows: held, behind };
        match counted {
            Ok(success) => reply::finished(success, clearance, mode, door, left),
            Err(withheld) => reply::stopped(withheld, None, Effect::Unknown, mode, left.rest()),
        }
    }

    /// Moves the pieces, all but the last.
    async fn carry(&mut self, pieces: &mpsc::Sender<Piece>, mode: Mode) -> Result<(), Stopped> {
        while let Some(piece) = self.long.piece().await.map_err(|error| Stopped::Lost(error.to_string()))? {
            if self.inflater.is_none() {
                self.give(piece, pieces, mode).await?;
                continue;
            }
            for slice in piece.chunks(INFLATED_AT_ONCE_BYTES) {
                let Some(inflater) = &mut self.inflater else { break };
                let plain = inflater.take(slice).map_err(|error| Stopped::Withheld(error.into()))?;
                self.give(plain.into(), pieces, mode).await?;
            }
        }
        match self.inflater.take().map(Inflater::end) {
            Some(Ok(plain)) => self.give(plain.into(), pieces, mode).await,
            Some(Err(error)) => Err(Stopped::Withheld(error.into())),
            None => Ok(()),
        }
    }

    /// Goes through a piece, and gives the one before it to the client.
    async fn give(&mut self, piece: Bytes, pieces: &mpsc::Sender<Piece>, mode: Mode) -> Result<(), Stopped> {
        if piece.is_empty() {
            return Ok(());
        }
        self.bytes += piece.len();
        if self.bytes > REPLY_BYTES_MAX {
            return Err(Stopped::Lost(UpstreamError::Broken.to_string()));
        }
        let passes = match self.rows.as_mut().map(|rows| rows.take(&piece)) {
            Ok(Ok(passes)) => passes,
            Ok(Err(error)) if mode == Mode::Enforce => return Err(Stopped::Withheld(error.into())),
            Ok(Err(error)) => {
                self.rows = Err(error.into());
                piece.len()
            }
            Err(_) => piece.len(),
        };
        self.behind.extend_from_slice(piece.get(passes..).unwrap_or_default());
        let piece = piece.slice(..passes);
        if piece.is_empty() {
            return Ok(());
        }
        let piece = Piece { bytes: mem::replace(&mut self.held, piece), is_last: false };
        match timeout(PASSING_WAIT_MAX, pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                Err(Stopped::Lost("the client went away before it had the whole answer".to_owned()))
            }
            Err(_) => {
                let seconds = PASSING_WAIT_MAX.as_secs();
                Err(Stopped::Lost(format!("the client took nothing of the answer for {seconds} s")))
            }
        }
    }
}

/// The plain beginning of a compressed answer; none where it is none, or more than fits.
fn inflate_head(inflater: &mut Inflater, begun: &[u8]) -> Option<Bytes> {
    let mut head = Vec::new();
    for slice in begun.chunks(INFLATED_AT_ONCE_BYTES) {
        head.extend_from_slice(&inflater.take(slice).ok()?);
        if head.len() > REPLY_BYTES_MAX {
            return None;
        }
    }
    Some(head.into())
}

#[cfg(test)]
mod tests;
