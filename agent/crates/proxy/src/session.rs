//! What is known since a login, found again by the session token, on whatever connection it comes.
//!
//! Drivers spread one session over several connections (Node's heartbeat and telemetry have their own), so nothing
//! here hangs on a connection. Tokens are kept as salted digests: a dump of the agent's memory after the exchange
//! shows no usable token here.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use model::{AccountName, Ident, RequestId, Secret, SessionId};
use sha2::{Digest, Sha256};
use snowflake::SessionNames;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use uuid::Uuid;

use crate::limits::{RETRIES_MAX, SESSIONS_MAX};

type TokenDigest = [u8; 32];

/// One login and what followed.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) account: AccountName,
    pub(crate) user: String,
    /// The job that logged in. The session works from no other.
    pub(crate) job: String,
    /// Whether quoted names are upper-cased too (`QUOTED_IDENTIFIERS_IGNORE_CASE`), as the login's reply said.
    pub(crate) fold_quoted: bool,
    names: Mutex<SessionNames>,
    /// Statements share it; one that may change the session's names has it alone. Otherwise a statement could be judged
    /// by names that are others when Snowflake reads it.
    turn: Arc<RwLock<()>>,
    retries: Mutex<VecDeque<Asked>>,
    used: Mutex<Instant>,
}

/// A request that was seen.
#[derive(Debug)]
struct Asked {
    request: RequestId,
    digest: [u8; 32],
    /// What the session's names were.
    names: SessionNames,
}

/// Held while a statement is judged and executed.
#[derive(Debug)]
pub(crate) enum Turn {
    /// With others, whose statements leave the session's names alone, as this one does.
    Shared { _guard: OwnedRwLockReadGuard<()> },
    /// Alone.
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

/// What a request id says about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Not seen before.
    First,
    /// Seen, with the same text, bindings and parameters: the driver tries again. Snowflake answers as it did then, or
    /// executes it now: these are the names that were the same at both times.
    Same(SessionNames),
    /// Seen with something else in it.
    Different,
}

impl Session {
    pub(crate) fn new(
        id: SessionId,
        account: AccountName,
        user: String,
        job: String,
        names: SessionNames,
        fold_quoted: bool,
    ) -> Self {
        Self {
            id,
            account,
            user,
            job,
            fold_quoted,
            names: Mutex::new(names),
            turn: Arc::default(),
            retries: Mutex::default(),
            used: Mutex::new(Instant::now()),
        }
    }

    pub(crate) fn names(&self) -> SessionNames {
        lock(&self.names).clone()
    }

    /// Follows what a reply reported; what it leaves out stays as it was.
    pub(crate) fn follow(&self, reported: SessionNames) {
        let mut names = lock(&self.names);
        names.database = reported.database.or(names.database.take());
        names.schema = reported.schema.or(names.schema.take());
        names.warehouse = reported.warehouse.or(names.warehouse.take());
        names.role = reported.role.or(names.role.take());
    }

    /// What they are is not known until a reply tells: Snowflake was given a statement that may have changed them,
    /// and did not say.
    pub(crate) fn lose_names(&self) {
        *lock(&self.names) = SessionNames::default();
    }

    /// Waits until a statement may be judged that leaves the session's names alone.
    pub(crate) async fn share(&self) -> Turn {
        Turn::Shared { _guard: self.turn.clone().read_owned().await }
    }

    /// Waits until a statement may be judged that may change the session's names.
    pub(crate) async fn alone(&self) -> Turn {
        Turn::Alone { _guard: self.turn.clone().write_owned().await }
    }

    /// Remembers a request and says whether it is a retry. `content` is what must not differ between tries; `names` are
    /// the session's now.
    pub(crate) fn repeat(&self, request: RequestId, content: &[u8], names: &SessionNames) -> Repeat {
        let digest: [u8; 32] = Sha256::digest(content).into();
        let mut seen = lock(&self.retries);
        match seen.iter().find(|asked| asked.request == request) {
            Some(before) if before.digest == digest => Repeat::Same(common(&before.names, names)),
            Some(_) => Repeat::Different,
            None => {
                if seen.len() == RETRIES_MAX {
                    seen.pop_front();
                }
                seen.push_back(Asked { request, digest, names: names.clone() });
                Repeat::First
            }
        }
    }
}

/// The names that are the same in both; the others are not known.
fn common(a: &SessionNames, b: &SessionNames) -> SessionNames {
    let same = |a: &Option<Ident>, b: &Option<Ident>| if a == b { a.clone() } else { None };
    SessionNames {
        database: same(&a.database, &b.database),
        schema: same(&a.schema, &b.schema),
        warehouse: same(&a.warehouse, &b.warehouse),
        role: same(&a.role, &b.role),
    }
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
        let sessions = lock(&self.by_token);
        let ids: std::collections::HashSet<_> = sessions.values().map(|session| session.id).collect();
        ids.len()
    }

    fn digest(&self, token: &Secret<String>) -> TokenDigest {
        Sha256::new().chain_update(self.salt.as_bytes()).chain_update(token.expose()).finalize().into()
    }
}

/// A panic while a lock was held has ended that exchange with a refusal; the map itself is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(n: u128) -> Arc<Session> {
        let names = SessionNames { database: Some(Ident::exact("DB")), ..SessionNames::default() };
        let id = SessionId::new(Uuid::from_u128(n));
        Arc::new(Session::new(id, AccountName::new("acme"), "U".into(), "job".into(), names, false))
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

    #[test]
    fn a_retry_is_the_same_request_and_nothing_else() {
        let session = session(1);
        let (one, two) = (RequestId::new(Uuid::from_u128(1)), RequestId::new(Uuid::from_u128(2)));
        let names = session.names();
        assert_eq!(session.repeat(one, b"select 1", &names), Repeat::First);
        assert_eq!(session.repeat(one, b"select 1", &names), Repeat::Same(names.clone()));
        assert_eq!(session.repeat(one, b"drop table t", &names), Repeat::Different);
        assert_eq!(session.repeat(two, b"select 1", &names), Repeat::First);
    }

    #[test]
    fn a_retry_under_other_names_has_only_those_that_are_the_same() {
        let session = session(1);
        let request = RequestId::new(Uuid::from_u128(1));
        assert_eq!(session.repeat(request, b"select a from t", &session.names()), Repeat::First);
        let moved = SessionNames {
            schema: Some(Ident::exact("S")),
            role: Some(Ident::exact("R")),
            ..session.names()
        };
        let Repeat::Same(names) = session.repeat(request, b"select a from t", &moved) else { panic!() };
        assert_eq!(names, SessionNames { database: Some(Ident::exact("DB")), ..SessionNames::default() });
        session.lose_names();
        assert_eq!(session.names(), SessionNames::default());
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

    #[test]
    fn names_follow_what_is_reported_and_keep_the_rest() {
        let session = session(1);
        session.follow(SessionNames { schema: Some(Ident::exact("S")), ..SessionNames::default() });
        let names = session.names();
        assert_eq!((names.database, names.schema), (Some(Ident::exact("DB")), Some(Ident::exact("S"))));
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
