//! A login, from top to bottom: read, judged, written down, sent, bound to the job.

use std::sync::Arc;

use broker::Lease;
use model::{AccountName, Ident, Mode, QueryId, SessionId};
use policy::{Decision, LoginAsk};
use snowflake::{LoginReply, LoginRequest, LoginSuccess};
use uuid::Uuid;

use crate::{
    answer::Answer,
    catalog::own::Own,
    corridor::{Corridor, Peer},
    departures::Entrance,
    record,
    refusal::{Refusal, What, Withheld},
    session::{Session, names_at_login},
    upstream::{Inbound, Reply, UpstreamError},
};

/// Answers a login.
///
/// # Errors
/// When nothing was sent upstream.
pub(crate) async fn login(
    corridor: &Corridor,
    peer: &Arc<Peer>,
    inbound: &Inbound,
    id: QueryId,
) -> Result<Answer, Refusal> {
    let account = corridor.account(&peer.host).ok_or_else(|| Refusal::NotAnAccount(peer.host.clone()))?;
    let request = LoginRequest::decode(&inbound.uri, &inbound.json()?)?;
    if request.account.as_ref().is_some_and(|named| !snowflake::is_account(account, named)) {
        return Err(Refusal::OtherAccount);
    }
    if let Some(parameter) = request.session_parameters.name_changing() {
        return Err(Refusal::NameChanging(parameter));
    }
    let session = SessionId::new(Uuid::new_v4());
    let intent = |verdict| intent(peer, account, &request, session, id, verdict);

    let would_bar = corridor.would_bar(peer, request.user.as_deref(), What::Login, id);
    if corridor.mode == Mode::Enforce
        && let Some(barred) = corridor.barred(peer, request.user.as_deref())
    {
        return refuse(corridor, barred, id, intent).await;
    }
    let asked = LoginAsk {
        principal: &peer.principal,
        account,
        user: request.user.as_deref().unwrap_or_default(),
        role: request.names.role.as_ref().map(Ident::as_str),
        credential: request.credential.name(),
        is_static: request.credential.is_static(),
        client: request.client_app.as_deref().unwrap_or_default(),
        mode: corridor.mode,
    };
    let permit = match corridor.policies.get().login(&asked) {
        Decision::Permit(permit) => permit,
        Decision::Denial(denial) => return refuse(corridor, Refusal::Denied(denial), id, intent).await,
        Decision::Hold(hold) => return refuse(corridor, Refusal::Held(hold.into_denial()), id, intent).await,
    };
    let mut verdict =
        record::permitted(corridor.mode, What::Login, id, permit.rules(), permit.would_refuse());
    verdict.would_refuse = would_bar.or(verdict.would_refuse);
    let receipt = corridor.journal.open(intent(verdict)).await?;
    // The credential of a login travels in the body, not in a header.
    let lease = Lease::own(None);
    let sent = corridor.upstream.log_in(permit, &receipt, &lease, peer, inbound).await;
    let own = Own::of(&request, &inbound.json()?);
    Ok(finish(corridor, peer, account, (&request, own), receipt, sent).await)
}

/// Writes a refused login down, then refuses it. If it cannot be written down, it is refused all the same.
async fn refuse(
    corridor: &Corridor,
    refusal: Refusal,
    id: QueryId,
    intent: impl Fn(audit::Verdict) -> audit::Login,
) -> Result<Answer, Refusal> {
    let sentence = refusal.sentence(What::Login, id);
    let verdict = record::refused(corridor.mode, refusal.decision(), refusal.rules(), sentence);
    corridor.journal.append(intent(verdict)).await?;
    Ok(refusal.answer(What::Login, id))
}

/// Takes Snowflake's answer, binds the session, writes the outcome down, and only then answers.
async fn finish(
    corridor: &Corridor,
    peer: &Arc<Peer>,
    account: &AccountName,
    (request, own): (&LoginRequest, Own),
    receipt: audit::Receipt,
    sent: Result<Reply, UpstreamError>,
) -> Answer {
    let (id, session) = (receipt.query_id(), receipt.session_id());
    let reply = match sent {
        Ok(reply) => reply,
        Err(error) => {
            let refusal = Refusal::Upstream(error);
            let reason = refusal.to_string();
            return record::close(
                receipt,
                audit::Lost { reason },
                What::Login,
                refusal.answer(What::Login, id),
            )
            .await;
        }
    };
    let decoded =
        reply.plain().map_err(Withheld::from).and_then(|body| Ok((LoginReply::decode(&body)?, body)));
    let mut begun = None;
    let (outcome, body) = match decoded {
        Err(withheld) => return withhold(corridor.mode, receipt, reply, withheld).await,
        Ok((LoginReply::Success(success), body)) => {
            let user = request.user.clone().unwrap_or_default();
            let names = names_at_login(&success);
            let bound = Session::new(session, account.clone(), user, peer.job(), names);
            let bound = bound.looking_up(own);
            let bound = match corridor.status.is_set() {
                true => Arc::new(bound.owned(peer.clone(), &success.token)),
                false => Arc::new(bound),
            };
            corridor.sessions.bind(&success.token, bound.clone());
            if let Some(master) = &success.master_token {
                corridor.sessions.bind(master, bound.clone());
            }
            begun = Some(bound);
            (audit::Outcome::from(logged_in(&success)), body)
        }
        Ok((LoginReply::Failure { code, message }, body)) => {
            (audit::Failed { server_query: None, code, message: Some(message) }.into(), body)
        }
        Ok((LoginReply::Unfinished { next_action }, body)) => {
            let message = next_action.map(|step| format!("a further step is needed: {step}"));
            (audit::Failed { server_query: None, code: String::new(), message }.into(), body)
        }
    };
    let answer = Answer::reply(reply.status, reply.headers, body);
    let answer = record::close(receipt, outcome, What::Login, answer).await;
    if let Some(session) = begun {
        // Somebody may have left between the question whether they have and the time from which the session is found.
        corridor.end_if_departed(&session, Entrance::Login).await;
    }
    answer
}

/// What Snowflake said of the new session.
fn logged_in(success: &LoginSuccess) -> audit::LoggedIn {
    let text = |ident: &Option<Ident>| ident.as_ref().map(ToString::to_string);
    let reported = &success.names;
    audit::LoggedIn {
        server_session: success.server_session_id.map(|id| id.to_string()),
        role: text(&reported.role),
        warehouse: text(&reported.warehouse),
        database: text(&reported.database),
        schema: text(&reported.schema),
    }
}

/// An answer that was not understood. In observe mode it passes, and nobody knows what came of the login.
async fn withhold(mode: Mode, receipt: audit::Receipt, reply: Reply, withheld: Withheld) -> Answer {
    let id = receipt.query_id();
    let refusal = Refusal::Withheld(withheld);
    let reason = refusal.to_string();
    if let (Mode::Observe, Ok(body)) = (mode, reply.plain()) {
        let lost = audit::Lost { reason: format!("{reason}; it was passed on") };
        let answer = Answer::reply(reply.status, reply.headers, body);
        return record::close(receipt, lost, What::Login, answer).await;
    }
    let outcome = audit::Withheld { server_query: None, reason };
    record::close(receipt, outcome, What::Login, refusal.answer(What::Login, id)).await
}

fn intent(
    peer: &Peer,
    account: &AccountName,
    request: &LoginRequest,
    session: SessionId,
    query: QueryId,
    verdict: audit::Verdict,
) -> audit::Login {
    let client = [&request.client_app, &request.client_version];
    let client: Vec<&str> = client.into_iter().flatten().map(String::as_str).collect();
    audit::Login {
        session,
        query,
        connection: peer.connection,
        destination: peer.destination.to_string(),
        who: record::who(&peer.principal),
        process: (&peer.process).into(),
        account: account.to_string(),
        user: request.user.clone(),
        role: request.names.role.as_ref().map(ToString::to_string),
        warehouse: request.names.warehouse.as_ref().map(ToString::to_string),
        credential: request.credential.name().to_owned(),
        client: (!client.is_empty()).then(|| client.join(" ")),
        verdict,
    }
}
