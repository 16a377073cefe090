//! The agent's own session beside a job's: opened when something is to be looked up, with what the job presented at its
//! login, and ended with the job's.
//!
//! What was presented is held in memory only, wiped when the session is forgotten, and held at all only where it opens a
//! second session by itself. A login that Snowflake refused is not tried again: a user may be locked for that.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use broker::Lease;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use model::{Ident, ResultSet, Secret, SessionId, TableName};
use snowflake::{
    LoginReply, LoginRequest, LoginSuccess, QueryReply, RenewReply, SessionNames, own,
    sql_api::{ApiReply, Nulls},
};
use sql::SecondaryRoles;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tracing::debug;
use uuid::Uuid;

use super::{
    cache::{Sight, Told},
    question,
};
use crate::{
    corridor::{Corridor, Peer},
    housekeeping,
    limits::{OWN_SESSION_END_WAIT_MAX, OWN_SESSION_RETRY, REQUEST_BYTES_MAX},
    upstream::Inbound,
};

/// There is nothing of that name, or nothing that the role may use: Snowflake does not say which.
const CODE_ABSENT: &str = "002003";

/// The agent's own session beside one of a job.
#[derive(Debug)]
pub(crate) struct Own {
    /// What it is opened with; none where what the job presented is good for one session.
    login: Option<Secret<String>>,
    /// What the job presented, in a word.
    credential: &'static str,
    state: Mutex<State>,
    /// Whether there will be none any more.
    is_over: AtomicBool,
}

#[derive(Debug)]
enum State {
    Unopened,
    Open(Live),
    /// There is none; none before this time, or none at all.
    Gone {
        until: Option<Instant>,
    },
}

#[derive(Debug)]
struct Live {
    token: Secret<String>,
    master: Option<Secret<String>>,
    role: Option<Ident>,
    secondary_roles: SecondaryRoles,
    sequence: u64,
}

/// For whom something is looked up, and where.
#[derive(Clone, Copy)]
pub(super) struct Errand<'a> {
    pub(super) corridor: &'a Corridor,
    pub(super) peer: &'a Peer,
    pub(super) session: SessionId,
    /// As whom.
    pub(super) sight: &'a Sight,
    /// The headers of a request of the SQL API, which bring its credential: what is looked up for it needs no session.
    pub(super) bearer: Option<&'a HeaderMap>,
}

/// Nothing was learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unanswered;

/// What came of one statement in the agent's session.
enum Said {
    Rows(Option<ResultSet>),
    /// Snowflake would not, or could not.
    Failed {
        /// Its code.
        code: String,
    },
}

/// Why there is no session.
enum NoSession {
    /// It may be tried later.
    Now(String),
    /// It is not tried again.
    Ever(String),
}

impl Own {
    /// For a session that was opened with this login.
    pub(crate) fn of(login: &LoginRequest, body: &[u8]) -> Self {
        Self { login: own::login(login, body).ok().flatten(), ..Self::none(login.credential.name()) }
    }

    /// For a session that was opened in another way.
    pub(crate) fn none(credential: &'static str) -> Self {
        let (state, is_over) = (Mutex::new(State::Unopened), AtomicBool::new(false));
        Self { login: None, credential, state, is_over }
    }

    /// For requests that bring their own credential each.
    pub(crate) fn by_request() -> Self {
        Self::none("each request")
    }

    /// Whether nothing can be asked any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// What a table or view is.
    pub(super) async fn ask(&self, errand: Errand<'_>, name: &TableName) -> Result<Told, Unanswered> {
        let (Some(columns), Some(definition)) = (question::columns_of(name), question::definition_of(name))
        else {
            return Ok(Told::Hidden);
        };
        let mut state = self.state.lock().await;
        if errand.bearer.is_none() {
            self.enter(&mut state, errand, name).await?;
        } else if matches!(*state, State::Gone { until: Some(until) } if until > Instant::now()) {
            return Err(Unanswered);
        }
        let columns = match self.say(&mut state, errand, name, &columns).await? {
            Said::Rows(Some(rows)) => question::columns(&rows),
            Said::Failed { code } if code == CODE_ABSENT => return Ok(Told::Absent),
            Said::Rows(None) | Said::Failed { .. } => None,
        };
        let Some(columns) = columns else { return Ok(Told::Hidden) };
        let definition = match self.say(&mut state, errand, name, &definition).await? {
            Said::Rows(Some(rows)) => question::definition(rows),
            Said::Rows(None) | Said::Failed { .. } => None,
        };
        let table =
            definition.and_then(|text| question::table(name, columns, text, errand.sight.fold_quoted));
        Ok(table.map_or(Told::Hidden, |table| Told::Is(Arc::new(table))))
    }

    /// Lets it rest: it did not answer in time.
    pub(super) async fn rest(&self, errand: Errand<'_>) {
        // Whoever has it now will see for himself.
        let Ok(mut state) = self.state.try_lock() else { return };
        if !matches!(*state, State::Gone { .. }) {
            *state = later();
            note(
                errand,
                audit::OwnStep::Unavailable { reason: "Snowflake did not answer in time".to_owned() },
            )
            .await;
        }
    }

    /// Ends it in Snowflake, too.
    pub(crate) async fn end(&self, corridor: &Corridor, peer: &Peer) {
        let State::Open(live) = std::mem::replace(&mut *self.state.lock().await, State::Gone { until: None })
        else {
            return;
        };
        let ending = async {
            let (target, lease) = (own::end_target(Uuid::new_v4()), housekeeping::lease(live.token));
            let inbound = message(&target, Bytes::new())?;
            corridor.upstream.keep(&lease, peer, &inbound).await.ok()
        };
        if !matches!(timeout(OWN_SESSION_END_WAIT_MAX, ending).await, Ok(Some(_))) {
            debug!(connection = %peer.connection, "the agent's own session is left to expire");
        }
    }

    /// Opens the session if there is none, and puts it into the roles.
    async fn enter(&self, state: &mut State, errand: Errand<'_>, name: &TableName) -> Result<(), Unanswered> {
        match state {
            State::Open(_) => {}
            State::Gone { until: Some(until) } if *until <= Instant::now() => {
                self.open(state, errand, name).await?
            }
            State::Unopened => self.open(state, errand, name).await?,
            State::Gone { .. } => return Err(Unanswered),
        }
        let Sight { role: Some(role), secondary_roles, .. } = errand.sight else { return Err(Unanswered) };
        let State::Open(live) = state else { return Err(Unanswered) };
        if live.role.as_ref() != Some(role) {
            // What it is in until that is said, nobody knows.
            live.role = None;
            self.take(state, errand, name, &question::into_role(role)).await?.role = Some(role.clone());
        }
        let State::Open(live) = state else { return Err(Unanswered) };
        if live.secondary_roles != *secondary_roles {
            live.secondary_roles = SecondaryRoles::Unknown;
            let text = question::beside_roles(secondary_roles).ok_or(Unanswered)?;
            self.take(state, errand, name, &text).await?.secondary_roles = secondary_roles.clone();
        }
        Ok(())
    }

    /// Has the session take roles.
    async fn take<'s>(
        &self,
        state: &'s mut State,
        errand: Errand<'_>,
        name: &TableName,
        text: &str,
    ) -> Result<&'s mut Live, Unanswered> {
        match (self.say(state, errand, name, text).await?, state) {
            (Said::Rows(_), State::Open(live)) => Ok(live),
            _ => Err(Unanswered),
        }
    }

    async fn open(&self, state: &mut State, errand: Errand<'_>, name: &TableName) -> Result<(), Unanswered> {
        // Whoever gives up waiting for this leaves it so.
        *state = later();
        match self.log_in(errand, name).await {
            Ok(success) => {
                let server_session = success.server_session_id.map(|id| id.to_string());
                let LoginSuccess { token, master_token: master, names, .. } = success;
                let (role, secondary_roles) = (names.role, SecondaryRoles::Usual);
                *state = State::Open(Live { token, master, role, secondary_roles, sequence: 0 });
                note(errand, audit::OwnStep::Opened { server_session }).await;
                Ok(())
            }
            Err(why) => {
                let reason = match why {
                    NoSession::Now(reason) => reason,
                    NoSession::Ever(reason) => {
                        *state = State::Gone { until: None };
                        self.is_over.store(true, Ordering::Relaxed);
                        reason
                    }
                };
                note(errand, audit::OwnStep::Unavailable { reason }).await;
                Err(Unanswered)
            }
        }
    }

    async fn log_in(&self, errand: Errand<'_>, name: &TableName) -> Result<LoginSuccess, NoSession> {
        let Some(login) = &self.login else {
            let credential = self.credential;
            return Err(NoSession::Ever(format!(
                "a login by {credential} opens one session and no second one"
            )));
        };
        // It is on disk before it is sent.
        let asked = audit::OwnSession { session: errand.session, step: audit::OwnStep::Asked };
        if errand.corridor.journal.append(asked).await.is_err() {
            return Err(NoSession::Now("it could not be recorded".to_owned()));
        }
        let target = own::login_target(&beginning(errand, name), Uuid::new_v4());
        let body = Bytes::from_owner(Wiped(Secret::new(login.expose().clone())));
        let unsendable = || NoSession::Ever("its login cannot be sent".to_owned());
        let inbound = message(&target, body).ok_or_else(unsendable)?;
        let upstream = &errand.corridor.upstream;
        let reply = upstream.keep(&Lease::own(None), errand.peer, &inbound).await;
        let reply = reply.map_err(|error| NoSession::Now(error.to_string()))?;
        let unread = |what: String| NoSession::Now(format!("Snowflake's answer was not understood: {what}"));
        let body = reply.plain().map_err(|error| unread(error.to_string()))?;
        match LoginReply::decode(&body).map_err(|error| unread(error.to_string()))? {
            LoginReply::Success(success) => Ok(success),
            LoginReply::Failure { code, .. } => {
                Err(NoSession::Ever(format!("Snowflake refused a second login (code {code})")))
            }
            LoginReply::Unfinished { .. } => {
                Err(NoSession::Ever("a second login would ask a person for something".to_owned()))
            }
        }
    }

    /// Runs one statement about a table in the session. A token that has expired is renewed, once.
    async fn say(
        &self,
        state: &mut State,
        errand: Errand<'_>,
        name: &TableName,
        text: &str,
    ) -> Result<Said, Unanswered> {
        if let Some(headers) = errand.bearer {
            return by_api(errand, headers, &beginning(errand, name), text).await;
        }
        let is_renewed = match once(state, errand, text).await? {
            Some(said) => return Ok(said),
            None => renew(state, errand).await,
        };
        if is_renewed && let Some(said) = once(state, errand, text).await? {
            return Ok(said);
        }
        // It is over; the next one who asks opens another.
        *state = State::Unopened;
        Err(Unanswered)
    }
}

/// Runs one statement; `None` if the session is over, or its token.
async fn once(state: &mut State, errand: Errand<'_>, text: &str) -> Result<Option<Said>, Unanswered> {
    let State::Open(live) = state else { return Err(Unanswered) };
    live.sequence += 1;
    let target = own::statement_target(Uuid::new_v4());
    let inbound = message(&target, own::statement(text, live.sequence).into()).ok_or(Unanswered)?;
    let lease = housekeeping::lease(Secret::new(live.token.expose().clone()));
    let reply = errand.corridor.upstream.keep(&lease, errand.peer, &inbound).await;
    let body = reply.map_err(|_| Unanswered)?.plain().map_err(|_| Unanswered)?;
    match QueryReply::decode(body) {
        Ok(QueryReply::Success(success)) if success.chunks.is_none() => Ok(Some(Said::Rows(success.result))),
        Ok(QueryReply::Failure(failure)) if failure.is_about_session() => Ok(None),
        Ok(QueryReply::Failure(failure)) => Ok(Some(Said::Failed { code: failure.code })),
        Ok(QueryReply::Success(_) | QueryReply::Running(_)) | Err(_) => Err(Unanswered),
    }
}

/// Where a session begins that is asked about a table: where that is. Names are always asked about in full, but some
/// questions want a session that is somewhere.
fn beginning(errand: Errand<'_>, name: &TableName) -> SessionNames {
    let (database, schema) = (name.database.clone(), name.schema.clone());
    SessionNames { database, schema, role: errand.sight.role.clone(), warehouse: None }
}

/// Runs one statement by the SQL API, with the credential of a request that came by it.
async fn by_api(
    errand: Errand<'_>,
    headers: &HeaderMap,
    names: &SessionNames,
    text: &str,
) -> Result<Said, Unanswered> {
    let body = own::api_statement(text, names);
    let mut inbound = message(&own::api_target(Uuid::new_v4()), body.into()).ok_or(Unanswered)?;
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let lease = Lease::own(authorization.map(|value| Secret::new(value.to_owned())));
    if let Some(kind) = headers.get(own::API_TOKEN_TYPE) {
        inbound.headers.insert(header::HeaderName::from_static(own::API_TOKEN_TYPE), kind.clone());
    }
    let reply = errand.corridor.upstream.keep(&lease, errand.peer, &inbound).await.map_err(|_| Unanswered)?;
    let body = reply.plain().map_err(|_| Unanswered)?;
    match ApiReply::decode(reply.status, body, Nulls::Json, None) {
        Ok(ApiReply::Success(success)) if success.partitions.len() <= 1 => {
            Ok(Said::Rows(Some(success.result)))
        }
        Ok(ApiReply::Failure(failure)) if failure.is_final => Ok(Said::Failed { code: failure.code }),
        Ok(ApiReply::Success(_) | ApiReply::Running(_) | ApiReply::Failure(_)) | Err(_) => Err(Unanswered),
    }
}

/// Asks for new tokens. Returns whether there are some.
async fn renew(state: &mut State, errand: Errand<'_>) -> bool {
    let State::Open(live) = state else { return false };
    let Some(master) = &live.master else { return false };
    let lease = housekeeping::lease(Secret::new(master.expose().clone()));
    let body = Bytes::from_owner(Wiped(own::renewal(&live.token)));
    let Some(inbound) = message(&own::renewal_target(Uuid::new_v4()), body) else { return false };
    let reply = errand.corridor.upstream.keep(&lease, errand.peer, &inbound).await;
    let Some(body) = reply.ok().and_then(|reply| reply.plain().ok()) else { return false };
    let Ok(RenewReply::Success(renewed)) = RenewReply::decode(&body) else { return false };
    live.token = renewed.token;
    if renewed.master_token.is_some() {
        live.master = renewed.master_token;
    }
    true
}

/// A body that is wiped once it was sent.
struct Wiped(Secret<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

fn later() -> State {
    State::Gone { until: Some(Instant::now() + OWN_SESSION_RETRY) }
}

/// A note that cannot be written changes nothing: the statement itself will not be written down either.
async fn note(errand: Errand<'_>, step: audit::OwnStep) {
    let own = audit::OwnSession { session: errand.session, step };
    if let Err(error) = errand.corridor.journal.append(own).await {
        debug!(%error, "a note on the agent's own session could not be recorded");
    }
}

/// A message of the agent's own.
fn message(target: &str, body: Bytes) -> Option<Inbound> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::ACCEPT, HeaderValue::from_static("application/json")),
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::USER_AGENT, HeaderValue::from_static(concat!("Snowfence/", env!("CARGO_PKG_VERSION")))),
    ] {
        headers.insert(name, value);
    }
    let uri = Uri::try_from(target).ok()?;
    Some(Inbound { method: Method::POST, uri, headers, body, bytes_max: REQUEST_BYTES_MAX })
}
