//! What is known since a login, found again by the session token, on whatever connection it comes.
//!
//! Drivers spread one session over several connections (Node's heartbeat and telemetry have their own), so nothing
//! here hangs on a connection. Tokens are kept as salted digests: a dump of the agent's memory after the exchange
//! shows no usable token here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use model::{AccountName, Secret, SessionId};
use sha2::{Digest, Sha256};
use snowflake::SessionNames;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use uuid::Uuid;

use crate::{
    catalog::{Lookups, own::Own},
    limits::SESSIONS_MAX,
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
    /// Whether quoted names are upper-cased too (`QUOTED_IDENTIFIERS_IGNORE_CASE`), as the login's reply said.
    pub(crate) fold_quoted: bool,
    /// Snowflake's number of the session.
    pub(crate) number: Option<u64>,
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
        fold_quoted: bool,
        number: Option<u64>,
    ) -> Self {
        Self {
            id,
            account,
            user,
            job,
            fold_quoted,
            number,
            names: Mutex::new(names),
            turn: Arc::default(),
            retries: Retries::default(),
            statements: Statements::default(),
            lookups: Lookups::by(Own::none("other means")),
            used: Mutex::new(Instant::now()),
        }
    }

    /// The same, with a session of the agent's own beside it.
    pub(crate) fn looking_up(self, own: Own) -> Self {
        Self { lookups: Lookups::by(own), ..self }
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
        Arc::new(Session::new(id, AccountName::new("acme"), "U".into(), "job".into(), names, false, None))
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
