//! What Snowflake's answer to a statement comes to, wherever it comes: inline, later by the statement's id, or again.

use model::{Mode, QueryId};
use policy::StandingClearance;
use snowflake::{QueryReply, QuerySuccess, SessionNames};
use uuid::Uuid;

use crate::{
    answer::Answer,
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
pub(crate) fn read(mut reply: Reply, clearance: &StandingClearance, mode: Mode) -> Read {
    let query = clearance.query_id();
    // An answer that is withheld is passed on as it came where nothing is enforced.
    let plain = if mode == Mode::Enforce { reply.take_plain() } else { reply.plain() };
    let reply = &reply;
    let decoded = plain
        .map_err(Withheld::from)
        .and_then(|body| Ok(QueryReply::decode_for(body, |columns| clearance.owes_masks(columns))?));
    let as_it_came = |body: Vec<u8>| Answer::reply(reply.status, reply.headers.clone(), body);
    let withheld = |withheld, server_query, effect| {
        Read::Ended(Box::new(withhold(withheld, server_query, effect, query, mode, reply)))
    };
    match decoded {
        Err(error) => withheld(error, None, Effect::Unknown),
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
            let (server_query, effect) = (success.query_id.clone(), Effect::Succeeded(success.names.clone()));
            match pass(*success, clearance) {
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

/// The rows of a statement that went well, cleared.
fn pass(
    success: QuerySuccess,
    clearance: &StandingClearance,
) -> Result<(audit::Answered, Vec<u8>), Withheld> {
    let mut answered = audit::Answered {
        server_query: success.query_id,
        rows: 0,
        columns: Vec::new(),
        masked: Vec::new(),
        would_withhold: None,
    };
    let Some(result) = success.result else { return Ok((answered, success.envelope.encode(None)?)) };
    answered.columns = result.columns.iter().map(|column| column.name.clone()).collect();
    let (is_whole, is_plain) = (!success.has_chunks, !success.has_children && !success.is_file_transfer);
    let cleared = clearance.once().clear(result)?;
    let owes_masks = !cleared.masked().is_empty();
    let withheld = if owes_masks && !is_whole {
        Some(Withheld::Chunks)
    } else if owes_masks && !is_plain {
        Some(Withheld::Elsewhere)
    } else if is_whole && success.total.is_some_and(|total| total != cleared.rows()) {
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
    answered.rows = success.total.unwrap_or(cleared.rows());
    answered.masked = record::masked(cleared.masked());
    Ok((answered, success.envelope.encode(Some(cleared.into_result()))?))
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
            let outcome = audit::Answered {
                server_query,
                rows: 0,
                columns: Vec::new(),
                masked: Vec::new(),
                would_withhold: Some(reason),
            };
            let answer = Answer::reply(reply.status, reply.headers.clone(), body);
            Ended { outcome: outcome.into(), answer, id, effect }
        }
        _ => {
            let outcome = audit::Withheld { server_query, reason };
            let answer = refusal.answer(What::Statement, query);
            Ended { outcome: outcome.into(), answer, id, effect }
        }
    }
}

fn id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok()
}

#[cfg(test)]
mod tests;
