//! What is asked about a statement by Snowflake's id of it: its result, which comes later or again, and how it is doing.
//! Only the session that asked for the statement may ask about it.

use std::sync::Arc;

use http::{HeaderMap, Method, Uri, header};
use model::{QueryId, Secret};
use snowflake::{MonitoringReply, Progress, session_token};
use tracing::debug;
use uuid::Uuid;

use crate::{
    answer::{Answer, Outbox},
    corridor::{Corridor, Peer},
    housekeeping::{lease, pass_if_observing},
    limits::{REQUEST_BYTES_MAX, TURN_ASK_EVERY},
    passing, record,
    refusal::{Refusal, What, Withheld},
    reply::{Effect, Ended, Read},
    session::{Session, Turn},
    statements::Statement,
    upstream::Inbound,
};

/// The result of a statement that was answered with "still running", or of an earlier one.
///
/// # Errors
/// When nothing was sent upstream, or no answer came.
pub(crate) async fn result(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
    id: Uuid,
    outbox: &mut Outbox,
) -> Result<Answer, Refusal> {
    let Subject { token, session, statement } = asked_for(corridor, peer, inbound, id)?;
    let lease = lease(token);
    let fetching = corridor.upstream.fetch(&statement.clearance, &lease, peer, inbound);
    let came = session.unless_ended(fetching).await?;
    statement.ask();
    let door = corridor.door(peer, &session);
    match passing::read(came, &statement.clearance, corridor.mode, door, outbox).await? {
        Read::Running { ids, answer } => {
            session.statements.also(&ids, &statement);
            Ok(answer)
        }
        // The driver renews its session, and asks again.
        Read::Ended(ended) if ended.effect == Effect::NeverRan => Ok(ended.answer),
        Read::Ended(ended) => Ok(finish(corridor, peer, &session, &statement, *ended).await),
    }
}

/// Writes the outcome down, once; whatever is read afterwards is a further reading.
pub(crate) async fn finish(
    corridor: &Corridor,
    peer: &Peer,
    session: &Session,
    statement: &Arc<Statement>,
    ended: Ended,
) -> Answer {
    if let Some(id) = ended.id {
        session.statements.also(&[id], statement);
    }
    if let Some(open) = statement.end() {
        if let Some(hold) = open.hold {
            hold.followed(ended.effect, session).await;
        }
        return record::close(open.receipt, ended.outcome, What::Statement, ended.answer).await;
    }
    let reading = audit::Reading {
        session: session.id,
        query: statement.query(),
        connection: peer.connection,
        outcome: ended.outcome,
    };
    record::read_again(&corridor.journal, reading, ended.answer).await
}

/// How a statement is doing. The answer has no rows.
///
/// # Errors
/// When nothing was sent upstream, or no answer came.
pub(crate) async fn monitoring(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
    id: Uuid,
    exchange: QueryId,
) -> Result<Answer, Refusal> {
    let Subject { token, session, statement } = asked_for(corridor, peer, inbound, id)?;
    let reply = corridor.upstream.keep(&lease(token), peer, inbound).await?;
    let body = reply.plain()?;
    match MonitoringReply::decode(&body, id) {
        Ok(said) => note(&session, &statement, said).await?,
        Err(error) => {
            let withheld = Refusal::Withheld(Withheld::Decode(error));
            pass_if_observing(corridor, peer, inbound, exchange, withheld).await?;
        }
    }
    Ok(Answer::reply(reply.status, reply.headers, body))
}

/// Takes note of what Snowflake says of a statement. A driver that hears of a failure may never ask for the result.
async fn note(session: &Session, statement: &Statement, said: MonitoringReply) -> Result<(), Refusal> {
    match said {
        MonitoringReply::Known(Some(Progress::Succeeded)) => statement.is_over(),
        MonitoringReply::Known(Some(Progress::Failed { code, message })) => {
            if let Some(open) = statement.end() {
                if let Some(hold) = open.hold {
                    hold.followed(Effect::Failed, session).await;
                }
                open.receipt.close(audit::Failed { server_query: None, code, message }).await?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// What a question about a statement is about.
struct Subject {
    token: Secret<String>,
    session: Arc<Session>,
    statement: Arc<Statement>,
}

/// The statement of an id, if the session asked for it.
fn asked_for(corridor: &Corridor, peer: &Peer, inbound: &Inbound, id: Uuid) -> Result<Subject, Refusal> {
    let token = session_token(&inbound.headers)?.ok_or(Refusal::UnknownSession)?;
    let session = corridor.session(peer, &token)?;
    let statement = session.statements.find(id).ok_or(Refusal::UnknownStatement(id))?;
    statement.ask();
    Ok(Subject { token, session, statement })
}

/// Waits for a statement's turn. Those that it waits for may be over without anybody having asked for their results, so
/// Snowflake is asked how they are doing.
pub(crate) async fn wait(
    corridor: &Corridor,
    peer: &Peer,
    session: &Session,
    headers: &HeaderMap,
    turn: impl Future<Output = Turn>,
) -> Turn {
    let mut turn = std::pin::pin!(turn);
    loop {
        tokio::select! {
            turn = turn.as_mut() => return turn,
            () = tokio::time::sleep(TURN_ASK_EVERY) => {}
        }
        for (id, statement) in session.statements.holding_names() {
            if let Err(error) = follow(corridor, peer, session, headers, id, &statement).await {
                debug!(query = %statement.query(), %error, "it is not known whether a statement still runs");
            }
        }
    }
}

async fn follow(
    corridor: &Corridor,
    peer: &Peer,
    session: &Session,
    headers: &HeaderMap,
    id: Uuid,
    statement: &Statement,
) -> Result<(), Refusal> {
    let token = session_token(headers)?.ok_or(Refusal::UnknownSession)?;
    let mut headers = headers.clone();
    headers.remove(header::CONTENT_TYPE);
    headers.remove(header::CONTENT_ENCODING);
    let uri = Uri::try_from(format!("/monitoring/queries/{id}")).map_err(|_| Refusal::Internal)?;
    let (method, body, bytes_max) = (Method::GET, bytes::Bytes::new(), REQUEST_BYTES_MAX);
    let inbound = Inbound { method, uri, headers, body, bytes_max };
    let reply = corridor.upstream.keep(&lease(token), peer, &inbound).await?;
    let said = MonitoringReply::decode(&reply.plain()?, id).map_err(Withheld::from);
    note(session, statement, said.map_err(Refusal::Withheld)?).await
}
