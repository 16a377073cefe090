//! Exchanges that ask for no data: they keep a session alive, renew it, or end it. They run on a session of the same
//! job, and go upstream as they came.

use broker::Lease;
use model::{Mode, QueryId, Secret};
use snowflake::{AbortRequest, RenewReply, RenewRequest, StatusReply, session_token, telemetry};

use crate::{
    answer::Answer,
    corridor::{Corridor, Peer},
    refusal::{Refusal, What, Withheld},
    upstream::{Inbound, Reply},
};

/// What a driver tells about itself. It stays on this host: the answer is the one Snowflake gives.
pub(crate) fn telemetry(inbound: &Inbound) -> Result<Answer, Refusal> {
    telemetry::count_entries(&inbound.json()?)?;
    Ok(Answer::json(telemetry::ACCEPTED.to_vec()))
}

/// The abort of a statement. Snowflake itself sees to it that the statement is one of the session's.
pub(crate) async fn abort(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
    id: QueryId,
) -> Result<Answer, Refusal> {
    AbortRequest::decode(&inbound.json()?)?;
    forward(corridor, peer, inbound, id).await
}

/// A heartbeat, or whatever else a session's own job may ask for as it is.
pub(crate) async fn forward(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
    id: QueryId,
) -> Result<Answer, Refusal> {
    let token = session_token(&inbound.headers)?.ok_or(Refusal::UnknownSession)?;
    corridor.session(peer, &token)?;
    let reply = corridor.upstream.keep(&lease(token), peer, inbound).await?;
    status(corridor, peer, inbound, id, &reply).await
}

/// The end of a session. It is written down whatever Snowflake answers.
pub(crate) async fn close(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
    id: QueryId,
) -> Result<Answer, Refusal> {
    let token = session_token(&inbound.headers)?.ok_or(Refusal::UnknownSession)?;
    let session = corridor.session(peer, &token)?;
    let lease = lease(token);
    let (reply, ()) =
        tokio::join!(corridor.upstream.keep(&lease, peer, inbound), session.lookups.own.end(corridor, peer));
    let reply = reply?;
    corridor.sessions.forget(session.id);
    session.statements.lose_all("its session was closed before there was an outcome").await;
    let end = audit::SessionEnd { session: session.id, reason: "the client closed it".to_owned() };
    corridor.journal.append(end).await?;
    status(corridor, peer, inbound, id, &reply).await
}

/// New tokens for a session, asked for with its master token. They lead to the same session.
pub(crate) async fn renew(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
    id: QueryId,
) -> Result<Answer, Refusal> {
    let master = session_token(&inbound.headers)?.ok_or(Refusal::UnknownSession)?;
    let session = corridor.session(peer, &master)?;
    let request = RenewRequest::decode(&inbound.json()?)?;
    if corridor.session(peer, &request.old_token)?.id != session.id {
        return Err(Refusal::OtherJob);
    }
    let reply = corridor.upstream.keep(&lease(master), peer, inbound).await?;
    let body = reply.plain()?;
    match RenewReply::decode(&body) {
        Ok(RenewReply::Success(renewed)) => {
            session.renewed(&renewed.token);
            corridor.sessions.bind(&renewed.token, session.clone());
            if let Some(master) = &renewed.master_token {
                corridor.sessions.bind(master, session);
            }
            Ok(Answer::reply(reply.status, reply.headers, body))
        }
        Ok(RenewReply::Failure { .. }) => Ok(Answer::reply(reply.status, reply.headers, body)),
        Err(error) => {
            let withheld = Refusal::Withheld(Withheld::Decode(error));
            pass_if_observing(corridor, peer, inbound, id, withheld)
                .await
                .map(|()| Answer::reply(reply.status, reply.headers, body))
        }
    }
}

/// Observe mode's way for what enforce mode would have refused: on as it came, with whatever credential it carries.
pub(crate) async fn as_it_came(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
) -> Result<Answer, Refusal> {
    let authorization =
        inbound.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let lease = Lease::own(authorization.map(|value| Secret::new(value.to_owned())));
    let reply = corridor.upstream.keep(&lease, peer, inbound).await?;
    plain(&reply)
}

/// The lease of the session's own token, in the form that drivers send it.
pub(crate) fn lease(token: Secret<String>) -> Lease {
    Lease::own(Some(Secret::new(format!("Snowflake Token=\"{}\"", token.expose()))))
}

/// Passes on an answer that says yes or no and nothing more.
async fn status(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
    id: QueryId,
    reply: &Reply,
) -> Result<Answer, Refusal> {
    let body = reply.plain()?;
    if let Err(error) = StatusReply::decode(&body) {
        let withheld = Refusal::Withheld(Withheld::Decode(error));
        pass_if_observing(corridor, peer, inbound, id, withheld).await?;
    }
    Ok(Answer::reply(reply.status, reply.headers.clone(), body))
}

/// An answer that is withheld in enforce mode passes in observe mode, and what would have been done is written down.
///
/// # Errors
/// The refusal itself in enforce mode, or that it cannot be written down.
pub(crate) async fn pass_if_observing(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
    id: QueryId,
    withheld: Refusal,
) -> Result<(), Refusal> {
    if corridor.mode == Mode::Enforce {
        return Err(withheld);
    }
    corridor.write_down(peer, inbound, &withheld, What::Request, id).await?;
    Ok(())
}

/// Passes on an answer as it came.
fn plain(reply: &Reply) -> Result<Answer, Refusal> {
    let body = reply.plain()?;
    Ok(Answer::reply(reply.status, reply.headers.clone(), body))
}
