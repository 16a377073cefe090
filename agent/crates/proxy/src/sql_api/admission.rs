//! Who is asking, and may they: the login of an API that has none.
//!
//! A request with a credential of its own (`Authorization: Bearer …`) is judged as a login with that credential, once for
//! each job, token and role, and written down as one. What follows names that session. Its outcome is written down with
//! Snowflake's first answer: 401 or 403 means that it was not let in, and the next request is judged as a login again.
//! Such a session has no end, as Snowflake has none either, but where somebody behind it leaves.

use std::sync::Arc;

use broker::Lease;
use http::StatusCode;
use model::{AccountName, Ident, Mode, QueryId, Secret, SessionId};
use policy::{Decision, LoginAsk, LoginPermit};
use snowflake::{
    SessionNames,
    sql_api::{ApiReply, Authorization, Bearer},
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    answer::Answer,
    catalog::own::Own,
    corridor::{Corridor, Peer},
    departures::Entrance,
    housekeeping,
    limits::CLIENT_CHARS_MAX,
    record,
    refusal::{Refusal, What, Withheld},
    session::Session,
    upstream::Inbound,
};

/// What becomes of whoever asks.
pub(super) enum Admission {
    /// They may ask.
    Admitted(Caller),
    /// They may not; that is written down, and this is the answer.
    Refused(Answer),
}

/// Somebody who may ask.
pub(super) struct Caller {
    pub(super) session: Arc<Session>,
    /// The credential of this very request.
    pub(super) lease: Lease,
    bearer: Option<(Credential, Arc<Admitted>)>,
}

type Credential = [u8; 32];

/// A credential that was permitted.
pub(super) struct Admitted {
    session: Arc<Session>,
    /// Says that it was.
    _permit: LoginPermit,
    /// Until Snowflake has said what it thinks of the credential.
    login: Mutex<Option<audit::Receipt>>,
}

/// Finds out who is asking. `asked` are the names that the request would use.
pub(super) async fn admit(
    corridor: &Corridor,
    peer: &Arc<Peer>,
    inbound: &Inbound,
    asked: &SessionNames,
) -> Result<Admission, Refusal> {
    let account = corridor.account(&peer.host).ok_or_else(|| Refusal::NotAnAccount(peer.host.clone()))?;
    // Snowflake knows accounts under other names, too, which this host does not.
    if Authorization::account(&inbound.headers)?.is_some_and(|named| !snowflake::is_account(account, &named))
    {
        return Err(Refusal::OtherAccount);
    }
    match Authorization::read(&inbound.headers)? {
        Authorization::Session(token) => {
            let session = corridor.session(peer, &token)?;
            Ok(Admission::Admitted(Caller { session, lease: housekeeping::lease(token), bearer: None }))
        }
        Authorization::Bearer(bearer) => log_in(corridor, peer, inbound, account, &bearer, asked).await,
    }
}

async fn log_in(
    corridor: &Corridor,
    peer: &Arc<Peer>,
    inbound: &Inbound,
    account: &AccountName,
    bearer: &Bearer,
    asked: &SessionNames,
) -> Result<Admission, Refusal> {
    let barred = corridor.barred(peer, bearer.user.as_deref());
    let credential = corridor.sql_api.credential(account, peer, bearer, asked);
    let lease = lease(&bearer.token);
    if let Some(admitted) = corridor.sql_api.admitted(&credential) {
        if let (Mode::Enforce, Some(barred)) = (corridor.mode, barred) {
            return Err(barred);
        }
        let session = admitted.session.clone();
        return Ok(Admission::Admitted(Caller { session, lease, bearer: Some((credential, admitted)) }));
    }
    let (session, id) = (SessionId::new(Uuid::new_v4()), QueryId::new(Uuid::new_v4()));
    let client = client(inbound);
    let intent = |verdict| intent(peer, account, bearer, asked, (session, id), client.clone(), verdict);
    let would_bar = corridor.would_bar(peer, bearer.user.as_deref(), What::ApiLogin, id);
    if let (Mode::Enforce, Some(barred)) = (corridor.mode, barred) {
        return refuse(corridor, barred, id, intent).await;
    }
    let ask = LoginAsk {
        principal: &peer.principal,
        account,
        user: bearer.user.as_deref().unwrap_or_default(),
        role: asked.role.as_ref().map(Ident::as_str),
        credential: bearer.credential.name(),
        is_static: bearer.credential.is_static(),
        client: client.as_deref().unwrap_or_default(),
        mode: corridor.mode,
    };
    let permit = match corridor.policies.get().login(&ask) {
        Decision::Permit(permit) => permit,
        Decision::Denial(denial) => return refuse(corridor, Refusal::Denied(denial), id, intent).await,
        Decision::Hold(hold) => return refuse(corridor, Refusal::Held(hold.into_denial()), id, intent).await,
    };
    let mut verdict =
        record::permitted(corridor.mode, What::ApiLogin, id, permit.rules(), permit.would_refuse());
    verdict.would_refuse = would_bar.or(verdict.would_refuse);
    let receipt = corridor.journal.open(intent(verdict)).await?;
    let user = bearer.user.clone().unwrap_or_default();
    // It has no names but those that each request brings.
    let names = sql::SessionNames::default();
    let session = Session::new(session, account.clone(), user, peer.job(), names);
    let session = session.looking_up(Own::by_request());
    let session = match corridor.status.is_set() {
        true => Arc::new(session.owned(peer.clone(), &bearer.token)),
        false => Arc::new(session),
    };
    let login = Mutex::new(Some(receipt));
    let admitted = Arc::new(Admitted { session: session.clone(), _permit: permit, login });
    corridor.sql_api.admit(credential, admitted.clone());
    // Whoever left since they were let in was not found among those who are in.
    corridor.end_if_departed(&session, Entrance::EachRequest).await;
    Ok(Admission::Admitted(Caller { session, lease, bearer: Some((credential, admitted)) }))
}

/// Writes a refused login down, then refuses it. If it cannot be written down, it is refused all the same.
async fn refuse(
    corridor: &Corridor,
    refusal: Refusal,
    id: QueryId,
    intent: impl Fn(audit::Verdict) -> audit::Login,
) -> Result<Admission, Refusal> {
    let sentence = refusal.sentence(What::ApiLogin, id);
    let verdict = record::refused(corridor.mode, refusal.decision(), refusal.rules(), sentence);
    corridor.journal.append(intent(verdict)).await?;
    Ok(Admission::Refused(refusal.answer(What::ApiLogin, id)))
}

impl Admitted {
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Caller {
    /// How the session was come into.
    pub(super) fn entrance(&self) -> Entrance {
        if self.is_bearer() { Entrance::EachRequest } else { Entrance::Login }
    }

    /// Whether the request brings a credential of its own.
    pub(super) fn is_bearer(&self) -> bool {
        self.bearer.is_some()
    }

    /// Writes down what Snowflake thinks of the credential, the first time that it says so.
    pub(super) async fn settle(
        &self,
        corridor: &Corridor,
        status: StatusCode,
        reply: &Result<ApiReply, Withheld>,
    ) -> Result<(), Refusal> {
        let Some((credential, admitted)) = &self.bearer else { return Ok(()) };
        let outcome = match (status, reply) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, reply) => {
                corridor.sql_api.dismiss(credential);
                let failure = reply.as_ref().ok().and_then(|reply| match reply {
                    ApiReply::Failure(failure) => Some(failure),
                    ApiReply::Success(_) | ApiReply::Running(_) => None,
                });
                let code = failure.map_or(status.as_u16().to_string(), |failure| failure.code.clone());
                let message = failure.and_then(|failure| failure.message.clone());
                audit::Outcome::from(audit::Failed { server_query: None, code, message })
            }
            (StatusCode::UNPROCESSABLE_ENTITY | StatusCode::REQUEST_TIMEOUT, _) => logged_in(),
            (status, _) if status.is_success() => logged_in(),
            // Nobody may have looked at it.
            _ => return Ok(()),
        };
        // Held meanwhile, so that nobody has an answer in this session before it is written down.
        let mut login = admitted.login.lock().await;
        let Some(receipt) = login.take() else { return Ok(()) };
        let closed = receipt.close(outcome).await;
        closed.map(drop).map_err(|error| Refusal::Withheld(Withheld::Unrecorded(error)))
    }
}

/// The credential of a request, in the form that it came in.
pub(crate) fn lease(token: &Secret<String>) -> Lease {
    Lease::own(Some(Secret::new(format!("Bearer {}", token.expose()))))
}

/// The API does not say what is in force.
fn logged_in() -> audit::Outcome {
    let nothing =
        audit::LoggedIn { server_session: None, role: None, warehouse: None, database: None, schema: None };
    nothing.into()
}

/// What the client says it is.
fn client(inbound: &Inbound) -> Option<String> {
    let agent = inbound.headers.get(http::header::USER_AGENT)?.to_str().ok()?;
    Some(agent.chars().take(CLIENT_CHARS_MAX).collect())
}

fn intent(
    peer: &Peer,
    account: &AccountName,
    bearer: &Bearer,
    asked: &SessionNames,
    (session, query): (SessionId, QueryId),
    client: Option<String>,
    verdict: audit::Verdict,
) -> audit::Login {
    audit::Login {
        session,
        query,
        connection: peer.connection,
        destination: peer.destination.to_string(),
        who: record::who(&peer.principal),
        process: (&peer.process).into(),
        account: account.to_string(),
        user: bearer.user.clone(),
        role: asked.role.as_ref().map(ToString::to_string),
        warehouse: asked.warehouse.as_ref().map(ToString::to_string),
        credential: bearer.credential.name().to_owned(),
        client,
        verdict,
    }
}
