//! What Snowflake's answer to a statement comes to, wherever it comes: inline, later by the statement's id, or again.

use bytes::Bytes;
use model::{Mode, QueryId};
use policy::{Cleared, StandingClearance};
use snowflake::{Chunks, Passing, QueryReply, QuerySuccess, SessionNames};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    answer::{Answer, LastPiece, Piece},
    chunks::Door,
    record,
    refusal::{Refusal, What, Withheld},
    renaming::Renaming,
    session::Session,
    upstream::Reply,
};

/// An answer that was read.
pub(crate) enum Read {
    /// The statement still runs, and will be asked for by these ids. There are no rows in the answer.
    Running { ids: Vec<Uuid>, answer: Answer },
    /// It is over.
    Ended(Box<Ended>),
}

/// The end of a statement.
pub(crate) struct Ended {
    /// What is written down.
    pub(crate) outcome: audit::Outcome,
    /// What the client gets. The rows in it went through the clearance.
    pub(crate) answer: Answer,
    /// Snowflake's id of the statement, where it was told in the form by which results are asked for.
    pub(crate) id: Option<Uuid>,
    /// What it did to its session.
    pub(crate) effect: Effect,
}

/// What a statement did to its session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It went well, and these are the names now.
    Succeeded(SessionNames),
    /// It failed.
    Failed,
    /// It never ran: the session must be renewed or ended, and drivers act on that and ask once more.
    NeverRan,
    /// Nobody knows.
    Unknown,
}

impl Effect {
    /// Has the session follow it.
    pub(crate) fn followed(self, session: &Session, renaming: Renaming) {
        match self {
            Self::Succeeded(names) => renaming.succeeded(session, names),
            Self::Failed | Self::NeverRan => renaming.failed(session),
            Self::Unknown => {}
        }
    }
}

/// Reads an answer, and clears the rows in it.
pub(crate) fn read(reply: Reply, clearance: &StandingClearance, mode: Mode, door: Door<'_>) -> Read {
    let query = clearance.query_id();
    let plain = match reply.shared_plain() {
        Ok(plain) => plain,
        Err(error) => {
            return Read::Ended(Box::new(withhold(error.into(), None, Effect::Unknown, query, mode, &reply)));
        }
    };
    // Most are of this kind: rows for which nothing is owed. Whatever is wrong with one is found once more below.
    if let Some(mut success) = Passing::whole(&plain)
        && success.chunks.is_none()
        && success.result.as_ref().is_some_and(|result| !clearance.owes_masks(&result.columns))
    {
        let (server_query, effect) = said(&success);
        return Read::Ended(Box::new(match account(&mut success, clearance, door) {
            Ok((_, answered)) => {
                let answer = Answer::reply(reply.status, reply.headers, plain);
                let id = server_query.as_deref().and_then(id);
                Ended { outcome: answered.into(), answer, id, effect }
            }
            Err(withheld) => withhold(withheld, server_query, effect, query, mode, &reply),
        }));
    }
    decode(reply, plain, clearance, mode, door)
}

/// The same, for any answer.
fn decode(mut reply: Reply, plain: Bytes, clearance: &StandingClearance, mode: Mode, door: Door<'_>) -> Read {
    let query = clearance.query_id();
    if mode == Mode::Enforce {
        // Nobody looks at it again, and then the plain body is no copy of it. In observe mode an answer that is withheld is
        // passed on as it came.
        reply.body = Bytes::new();
    }
    let reply = &reply;
    let decoded = QueryReply::decode_for(plain.into(), |columns| clearance.owes_masks(columns));
    let as_it_came = |body: Vec<u8>| Answer::reply(reply.status, reply.headers.clone(), body);
    let withheld = |withheld, server_query, effect| {
        Read::Ended(Box::new(withhold(withheld, server_query, effect, query, mode, reply)))
    };
    match decoded {
        Err(error) => withheld(error.into(), None, Effect::Unknown),
        Ok(QueryReply::Running(running)) => match running.ids() {
            Ok(ids) => Read::Running { ids, answer: as_it_came(running.into_body()) },
            Err(error) => withheld(error.into(), running.query_id, Effect::Unknown),
        },
        Ok(QueryReply::Failure(failure)) => {
            let effect = if failure.is_about_session() { Effect::NeverRan } else { Effect::Failed };
            let outcome = audit::Failed {
                server_query: failure.query_id.clone(),
                code: failure.code.clone(),
                message: Some(failure.message().to_owned()),
            };
            let id = failure.query_id.as_deref().and_then(id);
            Read::Ended(Box::new(Ended {
                outcome: outcome.into(),
                answer: as_it_came(failure.into_body()),
                id,
                effect,
            }))
        }
        Ok(QueryReply::Success(success)) => {
            let (server_query, effect) = said(&success);
            match pass(*success, clearance, door) {
                Ok((outcome, body)) => {
                    let id = server_query.as_deref().and_then(id);
                    Read::Ended(Box::new(Ended {
                        outcome: outcome.into(),
                        answer: as_it_came(body),
                        id,
                        effect,
                    }))
                }
                Err(error) => withheld(error, server_query, effect),
            }
        }
    }
}

/// What a client does not have yet of an answer whose rows passed as they came.
pub(crate) struct Left {
    pub(crate) pieces: mpsc::Sender<Piece>,
    /// The last of the rows.
    pub(crate) rows: Bytes,
    /// What stands behind them, as it came.
    pub(crate) behind: Vec<u8>,
}

impl Left {
    /// All that is left.
    pub(crate) fn rest(self) -> Answer {
        let bytes = [&self.rows[..], &self.behind].concat().into();
        Answer::begun(Some(LastPiece { pieces: self.pieces, bytes }))
    }
}

/// The end of an answer whose rows passed as they came.
pub(crate) fn finished(
    mut success: QuerySuccess,
    clearance: &StandingClearance,
    mode: Mode,
    door: Door<'_>,
    left: Left,
) -> Ended {
    let (server_query, effect) = said(&success);
    let accounted = account(&mut success, clearance, door);
    match accounted.and_then(|(_, answered)| Ok((answered, success.envelope.encode_behind_rows()?))) {
        Ok((answered, behind)) => {
            let id = server_query.as_deref().and_then(id);
            let answer = Left { behind, ..left }.rest();
            Ended { outcome: answered.into(), answer, id, effect }
        }
        Err(withheld) => stopped(withheld, server_query, effect, mode, left.rest()),
    }
}

/// The end of an answer of which something is wrong that was found when most of it was given: the client gets what is
/// left in observe mode alone.
pub(crate) fn stopped(
    withheld: Withheld,
    server_query: Option<String>,
    effect: Effect,
    mode: Mode,
    rest: Answer,
) -> Ended {
    let id = server_query.as_deref().and_then(id);
    let reason = Refusal::Withheld(withheld).to_string();
    match mode {
        Mode::Observe => Ended { outcome: passed_on(server_query, reason).into(), answer: rest, id, effect },
        Mode::Enforce => {
            let outcome = audit::Withheld { server_query, reason };
            Ended { outcome: outcome.into(), answer: Answer::begun(None), id, effect }
        }
    }
}

/// Snowflake's id of a statement that went well, and what it did to its session.
fn said(success: &QuerySuccess) -> (Option<String>, Effect) {
    (success.query_id.clone(), Effect::Succeeded(success.names.clone()))
}

/// The rows of a statement that went well, cleared.
fn pass(
    mut success: QuerySuccess,
    clearance: &StandingClearance,
    door: Door<'_>,
) -> Result<(audit::Answered, Vec<u8>), Withheld> {
    let (cleared, answered) = account(&mut success, clearance, door)?;
    Ok((answered, success.envelope.encode(cleared.map(Cleared::into_result))?))
}

/// Clears the rows, opens the door to those that the answer leads to, and says what is written down of them.
fn account(
    success: &mut QuerySuccess,
    clearance: &StandingClearance,
    door: Door<'_>,
) -> Result<(Option<Cleared>, audit::Answered), Withheld> {
    let mut answered = audit::Answered {
        server_query: success.query_id.clone(),
        rows: 0,
        columns: Vec::new(),
        masked: Vec::new(),
        found: Vec::new(),
        chunks: 0,
        would_withhold: None,
    };
    let Some(result) = success.result.take() else { return Ok((None, answered)) };
    answered.columns = result.columns.iter().map(|column| column.name.clone()).collect();
    let is_plain = !success.has_children && !success.is_file_transfer;
    let (columns, chunks) = (result.columns.clone(), success.chunks.take());
    let cleared = clearance.once().clear(result)?;
    let owes_masks = !cleared.masked().is_empty();
    let rows = cleared.rows().saturating_add(chunks.as_ref().map_or(0, Chunks::rows));
    let withheld = if owes_masks && !is_plain {
        Some(Withheld::Elsewhere)
    } else if success.total.is_some_and(|total| total != rows) {
        // A stream that was cut between two messages reads as one that ended early.
        Some(Withheld::Short)
    } else {
        None
    };
    if let Some(withheld) = withheld {
        if cleared.is_enforced() {
            return Err(withheld);
        }
        answered.would_withhold = Some(withheld.to_string());
    }
    if let Some(chunks) = chunks {
        answered.chunks = chunks.list.len() as u64;
        match door.open(columns, chunks, clearance) {
            Ok(urls) => success.envelope.lead_to(&urls)?,
            Err(withheld) if cleared.is_enforced() => return Err(withheld),
            Err(withheld) => drop(answered.would_withhold.get_or_insert(withheld.to_string())),
        }
    }
    answered.rows = success.total.unwrap_or(rows);
    answered.masked = record::masked(cleared.masked());
    answered.found = record::found(cleared.found());
    Ok((Some(cleared), answered))
}

/// An answer that is not passed on. In observe mode it is, as it came, and what would have been done is written down.
fn withhold(
    withheld: Withheld,
    server_query: Option<String>,
    effect: Effect,
    query: QueryId,
    mode: Mode,
    reply: &Reply,
) -> Ended {
    let id = server_query.as_deref().and_then(id);
    let refusal = Refusal::Withheld(withheld);
    let reason = refusal.to_string();
    match (mode, reply.plain()) {
        (Mode::Observe, Ok(body)) => {
            let answer = Answer::reply(reply.status, reply.headers.clone(), body);
            Ended { outcome: passed_on(server_query, reason).into(), answer, id, effect }
        }
        _ => {
            let outcome = audit::Withheld { server_query, reason };
            let answer = refusal.answer(What::Statement, query);
            Ended { outcome: outcome.into(), answer, id, effect }
        }
    }
}

/// What is written down of an answer that passed and would have been withheld.
fn passed_on(server_query: Option<String>, reason: String) -> audit::Answered {
    audit::Answered {
        server_query,
        rows: 0,
        columns: Vec::new(),
        masked: Vec::new(),
        found: Vec::new(),
        chunks: 0,
        would_withhold: Some(reason),
    }
}

fn id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok()
}

#[cfg(test)]
mod tests;
