//! What is known since a login, found again by the session token, on whatever connection it comes.
//!
//! Drivers spread one session over several connections (Node's heartbeat and telemetry have their own), so nothing
//! here hangs on a connection. Tokens are kept as salted digests: a dump of the agent's memory after the exchange
//! shows no usable token here. Only where sessions may have to be ended from here, because somebody leaves, the last
//! token of each is kept as it is: Snowflake ends a session for nobody else.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use model::{AccountName, RequestId, Secret, SessionId};
use sha2::{Digest, Sha256};
use sql::{SecondaryRoles, SessionNames};
use tokio::sync::{Notify, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use uuid::Uuid;

use crate::{
    catalog::{Lookups, own::Own},
    corridor::Peer,
    limits::{OPEN_REQUESTS_MAX, SESSIONS_MAX, VARIABLE_BYTES_MAX, VARIABLES_MAX},
    refusal::Refusal,
    retries::Retries,
    statements::Statements,
};

type TokenDigest = [u8; 32];

/// One login and what followed.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) account: AccountName,
    pub(crate) user: String,
    /// The job that logged in. The session works from no other.
    pub(crate) job: String,
    /// What names are read against now: place, roles and variables, as far as they are known.
    names: Mutex<SessionNames>,
    /// Statements share it; one that may change the session's names has it alone. Otherwise a statement could be judged
    /// by names that are others when Snowflake reads it.
    turn: Arc<RwLock<()>>,
    /// Its requests, by their ids.
    pub(crate) retries: Retries,
    /// Its statements, by Snowflake's ids.
    pub(crate) statements: Statements,
    /// What tables and views are, as it sees them.
    pub(crate) lookups: Lookups,
    used: Mutex<Instant>,
    /// What it takes to end it from here; none where that never happens.
    owner: Option<Owner>,
    /// Why it was ended from here, once it was.
    ended: OnceLock<String>,
    ending: Notify,
}

/// In whose name a session can be ended.
#[derive(Debug)]
struct Owner {
    /// The connection that it was opened on.
    peer: Arc<Peer>,
    token: Mutex<Option<Secret<String>>>,
    /// Requests whose statements may still run.
    open: Mutex<VecDeque<RequestId>>,
}

/// A statement is under way. Dropped, it is over, unless it was said to stay.
#[derive(Debug)]
pub(crate) struct Flight<'a> {
    session: &'a Session,
    request: Option<RequestId>,
}

impl Flight<'_> {
    /// Snowflake says that it still runs.
    pub(crate) fn stays(mut self) {
        self.request = None;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        // In a session that is ended nobody heard what became of it.
        let is_ended = self.session.ended.get().is_some();
        if let (Some(request), Some(owner), false) = (self.request, &self.session.owner, is_ended) {
            lock(&owner.open).retain(|open| *open != request);
        }
    }
}

/// Held while a statement is judged and executed, until Snowflake says that it is over.
#[derive(Debug)]
pub(crate) enum Turn {
    /// With others, whose statements leave the session's names alone, as this one does.
    Shared { _guard: OwnedRwLockReadGuard<()> },
    /// Alone.
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

impl Session {
    pub(crate) fn new(
        id: SessionId,
        account: AccountName,
        user: String,
        job: String,
        names: SessionNames,
    ) -> Self {
        Self {
            id,
            account,
            user,
            job,
            names: Mutex::new(names),
            turn: Arc::default(),
            retries: Retries::default(),
            statements: Statements::default(),
            lookups: Lookups::by(Own::none("other means")),
            used: Mutex::new(Instant::now()),
            owner: None,
            ended: OnceLock::new(),
            ending: Notify::new(),
        }
    }

    /// The same, so that it can be ended from here, in the name of the connection that it was opened on.
    pub(crate) fn owned(mut self, peer: Arc<Peer>, token: &Secret<String>) -> Self {
        let (token, open) = (Mutex::new(Some(copy(token))), Mutex::default());
        self.owner = Some(Owner { peer, token, open });
        self
    }

    /// Whoever opened it, if it can be ended from here.
    pub(crate) fn owner(&self) -> Option<&Peer> {
        self.owner.as_ref().map(|owner| owner.peer.as_ref())
    }

    /// Its token is another one now.
    pub(crate) fn renewed(&self, token: &Secret<String>) {
        if let Some(owner) = &self.owner {
            *lock(&owner.token) = Some(copy(token));
        }
    }

    /// The token that it can be ended with; only the first who asks gets it.
    pub(crate) fn take_token(&self) -> Option<Secret<String>> {
        lock(&self.owner.as_ref()?.token).take()
    }

    /// Notes that a statement goes upstream.
    pub(crate) fn flies(&self, request: Option<RequestId>) -> Flight<'_> {
        if let (Some(request), Some(owner)) = (request, &self.owner) {
            let mut open = lock(&owner.open);
            if open.len() >= OPEN_REQUESTS_MAX {
                open.pop_front();
            }
            open.push_back(request);
        }
        Flight { session: self, request }
    }

    /// The requests whose statements may still run.
    pub(crate) fn take_open(&self) -> VecDeque<RequestId> {
        self.owner.as_ref().map(|owner| mem::take(&mut *lock(&owner.open))).unwrap_or_default()
    }

    /// Ends it from here; false if it was ended before. Whoever waits for an answer in it is told why.
    pub(crate) fn end(&self, why: String) -> bool {
        let is_first = self.ended.set(why).is_ok();
        self.ending.notify_waiters();
        is_first
    }

    /// The refusal of whatever is asked in it, once it was ended from here.
    pub(crate) fn ended(&self) -> Option<Refusal> {
        self.ended.get().cloned().map(Refusal::Ended)
    }

    /// What comes of an exchange, unless the session is ended from here meanwhile.
    pub(crate) async fn unless_ended<T, E>(
        &self,
        exchange: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Refusal>
    where
        Refusal: From<E>,
    {
        let mut ending = std::pin::pin!(self.ending.notified());
        // From here on an end is heard of; before, it can be seen.
        ending.as_mut().enable();
        if let Some(refusal) = self.ended() {
            return Err(refusal);
        }
        tokio::select! {
            done = exchange => Ok(done?),
            () = ending => Err(self.ended().unwrap_or(Refusal::Internal)),
        }
    }

    /// The same, with a session of the agent's own beside it.
    pub(crate) fn looking_up(self, own: Own) -> Self {
        Self { lookups: Lookups::by(own), ..self }
    }

    pub(crate) fn names(&self) -> SessionNames {
        lock(&self.names).clone()
    }

    /// What they are now is known.
    pub(crate) fn set_names(&self, mut names: SessionNames) {
        let is_too_long = |text: &String| text.len() > VARIABLE_BYTES_MAX;
        if names.variables.len() > VARIABLES_MAX || names.variables.values().any(is_too_long) {
            names.variables.clear();
        }
        *lock(&self.names) = names;
    }

    /// Follows what a reply reported; what it leaves out stays as it was.
    pub(crate) fn follow(&self, reported: snowflake::SessionNames) {
        let mut names = lock(&self.names);
        names.database = reported.database.or(names.database.take());
        names.schema = reported.schema.or(names.schema.take());
        names.role = reported.role.or(names.role.take());
    }

    /// What they are is not known until a reply tells: Snowflake was given a statement that may have changed them,
    /// and did not say.
    pub(crate) fn lose_names(&self) {
        let mut names = lock(&self.names);
        *names = names.forgotten();
    }

    /// Waits until a statement may be judged that leaves the session's names alone.
    pub(crate) async fn share(&self) -> Turn {
        Turn::Shared { _guard: self.turn.clone().read_owned().await }
    }

    /// Waits until a statement may be judged that may change the session's names.
    pub(crate) async fn alone(&self) -> Turn {
        Turn::Alone { _guard: self.turn.clone().write_owned().await }
    }
}

/// What names are read against in a session that was just opened. Variables that the client may have set with its login
/// are not known: nobody looks for them.
pub(crate) fn names_at_login(login: &snowflake::LoginSuccess) -> SessionNames {
    let (fold_quoted, number) = (login.fold_quoted, login.server_session_id);
    let secondary_roles = SecondaryRoles::Usual;
    placed(SessionNames { fold_quoted, number, secondary_roles, ..SessionNames::default() }, &login.names)
}

/// The same names in another place and role; in none where none is named.
pub(crate) fn placed(names: SessionNames, named: &snowflake::SessionNames) -> SessionNames {
    let snowflake::SessionNames { database, schema, role, warehouse: _ } = named.clone();
    SessionNames { database, schema, role, ..names }
}

/// All sessions, by token.
#[derive(Debug)]
pub(crate) struct Sessions {
    salt: Uuid,
    by_token: Mutex<HashMap<TokenDigest, Arc<Session>>>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self { salt: Uuid::new_v4(), by_token: Mutex::default() }
    }

    /// Binds a token to a session, for as long as the session is used now and then.
    pub(crate) fn bind(&self, token: &Secret<String>, session: Arc<Session>) {
        let mut sessions = lock(&self.by_token);
        if sessions.len() >= SESSIONS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, s)| *lock(&s.used)).map(|(digest, _)| *digest);
            if let Some(oldest) = oldest {
                sessions.remove(&oldest);
            }
        }
        sessions.insert(self.digest(token), session);
    }

    /// The session of a token.
    pub(crate) fn find(&self, token: &Secret<String>) -> Option<Arc<Session>> {
        let session = lock(&self.by_token).get(&self.digest(token)).cloned()?;
        *lock(&session.used) = Instant::now();
        Some(session)
    }

    /// Forgets a session under all its tokens.
    pub(crate) fn forget(&self, id: SessionId) {
        lock(&self.by_token).retain(|_, session| session.id != id);
    }

    /// How many logins are alive.
    pub(crate) fn count(&self) -> usize {
        self.all().iter().filter(|session| session.ended.get().is_none()).count()
    }

    /// Every session, once.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        let by_id: HashMap<_, _> = lock(&self.by_token).values().map(|s| (s.id, s.clone())).collect();
        by_id.into_values().collect()
    }

    fn digest(&self, token: &Secret<String>) -> TokenDigest {
        Sha256::new().chain_update(self.salt.as_bytes()).chain_update(token.expose()).finalize().into()
    }
}

fn copy(token: &Secret<String>) -> Secret<String> {
    Secret::new(token.expose().clone())
}

/// A panic while a lock was held has ended that exchange with a refusal; the map itself is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use model::Ident;

    use super::*;

    fn session(n: u128) -> Arc<Session> {
        let names = SessionNames { database: Some(Ident::exact("DB")), ..SessionNames::default() };
        let id = SessionId::new(Uuid::from_u128(n));
        Arc::new(Session::new(id, AccountName::new("acme"), "U".into(), "job".into(), names))
    }

    fn token(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_session_is_found_by_any_of_its_tokens_until_it_ends() {
        let sessions = Sessions::new();
        sessions.bind(&token("a"), session(1));
        let found = sessions.find(&token("a")).unwrap();
        sessions.bind(&token("renewed"), found);
        assert_eq!(sessions.count(), 1);
        assert!(sessions.find(&token("b")).is_none());
        sessions.forget(SessionId::new(Uuid::from_u128(1)));
        assert!(sessions.find(&token("a")).is_none() && sessions.find(&token("renewed")).is_none());
    }

    #[tokio::test]
    async fn a_statement_that_changes_names_runs_alone() {
        use std::time::Duration;

        let session = session(1);
        let waits = async |turn: &mut (dyn Future<Output = Turn> + Unpin)| {
            tokio::time::timeout(Duration::from_millis(20), turn).await.is_err()
        };
        let (first, second) = (session.share().await, session.share().await);
        let mut alone = Box::pin(session.alone());
        assert!(waits(&mut alone).await);
        drop((first, second));
        let turn = alone.await;
        let mut shared = Box::pin(session.share());
        assert!(waits(&mut shared).await);
        drop(turn);
        assert!(!waits(&mut shared).await);
    }

    fn peer() -> Arc<Peer> {
        Arc::new(Peer {
            connection: model::ConnectionId::new(Uuid::from_u128(1)),
            destination: "203.0.113.10:443".parse().map(model::OriginalDst::new).unwrap(),
            process: crate::testing::process(),
            worker: None,
            principal: Arc::new(identity::testing::observed(&serde_json::json!({}))),
            host: model::HostName::parse("acme.snowflakecomputing.com").unwrap(),
            way: crate::corridor::Way { port: 443, own: None },
        })
    }

    #[tokio::test]
    async fn whoever_waits_in_a_session_that_is_ended_is_told_why() {
        let session = session(1);
        let done = session.unless_ended(async { Ok::<_, Refusal>(1) }).await;
        assert_eq!(done.unwrap(), 1);
        let waiting = session.unless_ended(std::future::pending::<Result<(), Refusal>>());
        let (waited, is_first) = tokio::join!(waiting, async { session.end("she has left".to_owned()) });
        assert!(is_first && !session.end("again".to_owned()));
        assert_eq!(waited.unwrap_err().to_string(), "its session was ended: she has left");
        let later = session.unless_ended(async { Ok::<_, Refusal>(1) }).await;
        assert_eq!(later.unwrap_err().to_string(), "its session was ended: she has left");
    }

    #[test]
    fn a_token_is_kept_only_where_a_session_can_be_ended_from_here() {
        let plain = session(1);
        plain.renewed(&token("b"));
        assert!(plain.owner().is_none() && plain.take_token().is_none());
        let owned = Arc::into_inner(session(1)).unwrap().owned(peer(), &token("a"));
        owned.renewed(&token("b"));
        assert_eq!(owned.take_token().unwrap().expose(), "b");
        assert!(owned.take_token().is_none(), "one ends it");
    }

    #[test]
    fn statements_that_may_still_run_are_known_until_they_are_over() {
        let session = Arc::into_inner(session(1)).unwrap().owned(peer(), &token("a"));
        let request = |n| Some(RequestId::parse(&Uuid::from_u128(n).to_string()).unwrap());
        drop(session.flies(request(1)));
        assert!(session.take_open().is_empty());
        session.flies(request(2)).stays();
        let third = session.flies(request(3));
        session.end("she has left".to_owned());
        drop(third);
        assert_eq!(session.take_open(), [request(2), request(3)].map(Option::unwrap));
        for n in 0..100 {
            session.flies(request(n)).stays();
        }
        assert_eq!(session.take_open().len(), OPEN_REQUESTS_MAX);
    }

    #[test]
    fn names_follow_what_is_reported_and_keep_the_rest() {
        let session = session(1);
        let reported = snowflake::SessionNames { schema: Some(Ident::exact("S")), ..Default::default() };
        session.follow(reported);
        let names = session.names();
        assert_eq!((names.database, names.schema), (Some(Ident::exact("DB")), Some(Ident::exact("S"))));
    }

    #[test]
    fn variables_are_followed_as_many_and_as_long_as_is_usual() {
        let session = session(1);
        let holding = |count: usize, bytes: usize| {
            let variable = |n: usize| (Ident::exact(format!("V{n}")), "x".repeat(bytes));
            session
                .set_names(SessionNames { variables: (0..count).map(variable).collect(), ..session.names() });
            session.names().variables.len()
        };
        assert_eq!(holding(VARIABLES_MAX, VARIABLE_BYTES_MAX), VARIABLES_MAX);
        assert_eq!(holding(VARIABLES_MAX + 1, 1), 0);
        assert_eq!(holding(1, VARIABLE_BYTES_MAX + 1), 0);
    }

    #[test]
    fn the_table_of_sessions_is_bounded() {
        let sessions = Sessions::new();
        for n in 0..=SESSIONS_MAX {
            sessions.bind(&token(&n.to_string()), session(n as u128));
        }
        assert_eq!(sessions.count(), SESSIONS_MAX);
    }
}
