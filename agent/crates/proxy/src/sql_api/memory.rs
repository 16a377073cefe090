//! What is remembered between requests of the SQL API: who was admitted, which requests were seen, and what is owed for
//! statements whose rows come later. All of it is bounded.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use model::{AccountName, Ident, RequestId, SessionId};
use sha2::{Digest, Sha256};
use snowflake::{SessionNames, sql_api::Bearer};
use uuid::Uuid;

use crate::{
    corridor::Peer,
    departures::Entrance,
    limits::{
        API_ADMITTED_MAX, API_ADMITTED_WAIT_MAX, API_REQUESTS_MAX, API_STATEMENTS_MAX,
        API_STATEMENTS_WAIT_MAX,
    },
    retries::Retries,
    session::Session,
    sql_api::{admission::Admitted, kept::Kept},
};

type Sha = [u8; 32];

/// A statement as a job may ask for it. Another job does not find it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    account: AccountName,
    job: String,
    handle: Uuid,
}

/// All of it.
pub(crate) struct Memory {
    salt: Uuid,
    admitted: Recent<Sha, Arc<Admitted>>,
    statements: Recent<Place, Arc<Kept>>,
    /// Requests that were seen, by a digest of all that must be the same in a retry.
    seen: Recent<Sha, ()>,
    /// Requests with a credential of their own, by their ids.
    pub(super) retries: Retries,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            salt: Uuid::new_v4(),
            admitted: Recent::new(API_ADMITTED_MAX, API_ADMITTED_WAIT_MAX),
            statements: Recent::new(API_STATEMENTS_MAX, API_STATEMENTS_WAIT_MAX),
            seen: Recent::new(API_REQUESTS_MAX, API_STATEMENTS_WAIT_MAX),
            retries: Retries::default(),
        }
    }

    /// A name for a credential as one job presents it: a salted digest, so that no usable token is kept. The role is in
    /// it because rules about logins may look at it.
    pub(super) fn credential(
        &self,
        account: &AccountName,
        peer: &Peer,
        bearer: &Bearer,
        asked: &SessionNames,
    ) -> Sha {
        let (job, role) = (peer.job(), asked.role.as_ref().map_or("", Ident::as_str));
        let mut digest = Sha256::new_with_prefix(self.salt.as_bytes());
        for part in [account.as_str(), &job, role, bearer.credential.name(), bearer.token.expose()] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    pub(super) fn admitted(&self, credential: &Sha) -> Option<Arc<Admitted>> {
        self.admitted.find(credential, Instant::now())
    }

    pub(super) fn admit(&self, credential: Sha, admitted: Arc<Admitted>) {
        drop(self.admitted.insert(credential, admitted, Instant::now()));
    }

    pub(super) fn dismiss(&self, credential: &Sha) {
        self.admitted.forget(credential);
    }

    /// Sessions in which something may be asked for, or still runs, each at least once, and how they were come into.
    pub(crate) async fn sessions(&self) -> Vec<(Arc<Session>, Entrance)> {
        let admitted = self.admitted.all().into_iter();
        let mut sessions: Vec<_> =
            admitted.map(|(_, admitted)| (admitted.session().clone(), Entrance::EachRequest)).collect();
        for (_, kept) in self.statements.all() {
            sessions.extend(kept.runs_in().await);
        }
        sessions
    }

    /// Closes in the record what still runs in a session, and lets nobody in by it any more: who comes again is judged
    /// again. Gives the handles of what ran.
    pub(crate) async fn end(&self, session: SessionId, reason: &str) -> Vec<Uuid> {
        self.admitted.retain(|admitted| admitted.session().id != session);
        let mut ran = Vec::new();
        for (place, kept) in self.statements.all() {
            if kept.session() == session && kept.lose(reason).await {
                ran.push(place.handle);
            }
        }
        ran
    }

    /// Remembers a request that is judged.
    pub(super) fn note(&self, request: RequestId, content: &[u8]) {
        self.seen.insert(seen(request, content), (), Instant::now());
    }

    /// Whether a request was judged before with the same content.
    pub(super) fn has_seen(&self, request: RequestId, content: &[u8]) -> bool {
        self.seen.find(&seen(request, content), Instant::now()).is_some()
    }

    /// Remembers a statement for the job that submitted it. Where a retry is given the handle of the first try, the
    /// outcome is written down with the retry.
    pub(super) async fn keep(&self, account: &AccountName, peer: &Peer, handle: Uuid, kept: Arc<Kept>) {
        let place = Place { account: account.clone(), job: peer.job(), handle };
        if let Some(before) = self.statements.insert(place, kept, Instant::now()) {
            before.hand_over().await;
        }
    }

    /// A statement of the job's own.
    pub(super) fn statement(&self, account: &AccountName, peer: &Peer, handle: Uuid) -> Option<Arc<Kept>> {
        let place = Place { account: account.clone(), job: peer.job(), handle };
        self.statements.find(&place, Instant::now())
    }
}

fn seen(request: RequestId, content: &[u8]) -> Sha {
    Sha256::new_with_prefix(request.uuid().as_bytes()).chain_update(content).finalize().into()
}

/// Values by key. Those that came first are forgotten first.
struct Recent<K, V> {
    count_max: usize,
    wait_max: Duration,
    inner: Mutex<Inner<K, V>>,
}

struct Inner<K, V> {
    values: HashMap<K, (Instant, V)>,
    /// When each value came. A key that came again is here twice.
    order: VecDeque<(Instant, K)>,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    fn new(count_max: usize, wait_max: Duration) -> Self {
        let inner = Inner { values: HashMap::new(), order: VecDeque::new() };
        Self { count_max, wait_max, inner: Mutex::new(inner) }
    }

    /// Puts a value in, and gives back the one whose place it took.
    fn insert(&self, key: K, value: V, now: Instant) -> Option<V> {
        let mut inner = self.lock();
        inner.order.push_back((now, key.clone()));
        let before = inner.values.insert(key, (now, value));
        let is_old = |came: Instant| now.duration_since(came) > self.wait_max;
        while inner.order.len() > self.count_max || inner.order.front().is_some_and(|(came, _)| is_old(*came))
        {
            let Some((came, key)) = inner.order.pop_front() else { break };
            if inner.values.get(&key).is_some_and(|(latest, _)| *latest == came) {
                inner.values.remove(&key);
            }
        }
        before.filter(|(came, _)| !is_old(*came)).map(|(_, value)| value)
    }

    fn find(&self, key: &K, now: Instant) -> Option<V> {
        let inner = self.lock();
        let (came, value) = inner.values.get(key)?;
        (now.duration_since(*came) <= self.wait_max).then(|| value.clone())
    }

    fn all(&self) -> Vec<(K, V)> {
        self.lock().values.iter().map(|(key, (_, value))| (key.clone(), value.clone())).collect()
    }

    fn retain(&self, is_kept: impl Fn(&V) -> bool) {
        self.lock().values.retain(|_, (_, value)| is_kept(value));
    }

    fn forget(&self, key: &K) {
        self.lock().values.remove(key);
    }

    /// A panic while it was held has ended that exchange with a refusal; the map itself is whole.
    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    #[test]
    fn what_came_first_is_forgotten_first() {
        let (recent, now) = (Recent::new(3, WAIT), Instant::now());
        for n in 0..5 {
            assert_eq!(recent.insert(n, n * 10, now), None);
        }
        let found: Vec<_> = (0..5).map(|n| recent.find(&n, now)).collect();
        assert_eq!(found, [None, None, Some(20), Some(30), Some(40)]);
        recent.forget(&3);
        assert_eq!(recent.find(&3, now), None);
    }

    #[test]
    fn nothing_is_found_after_its_time() {
        let (recent, start) = (Recent::new(9, WAIT), Instant::now());
        recent.insert("a", 1, start);
        let later = start + WAIT;
        assert_eq!(recent.find(&"a", later), Some(1));
        let too_late = later + Duration::from_secs(1);
        assert_eq!(recent.find(&"a", too_late), None);
        assert_eq!(recent.insert("b", 2, too_late), None);
        assert_eq!(recent.lock().values.len(), 1, "it does not stay in memory either");
    }

    #[test]
    fn a_value_that_is_replaced_comes_back_and_its_key_counts_from_then_on() {
        let (recent, start) = (Recent::new(9, WAIT), Instant::now());
        recent.insert("a", 1, start);
        let half = start + WAIT / 2;
        assert_eq!(recent.insert("a", 2, half), Some(1));
        assert_eq!(recent.insert("b", 3, start + WAIT + WAIT / 4), None);
        assert_eq!(recent.find(&"a", half + WAIT), Some(2));
        for n in 0..99 {
            recent.insert("c", n, start);
        }
        assert!(recent.lock().order.len() <= 9, "a key that comes again and again is bounded, too");
    }

    #[test]
    fn what_is_kept_no_longer_is_not_found() {
        let (recent, now) = (Recent::new(9, WAIT), Instant::now());
        for n in 0..4 {
            recent.insert(n, n * 10, now);
        }
        recent.retain(|value| value % 20 == 0);
        let mut all = recent.all();
        all.sort_unstable();
        assert_eq!(all, [(0, 0), (2, 20)]);
        assert_eq!(recent.find(&1, now), None);
    }

    #[test]
    fn a_request_was_seen_only_with_the_same_id_and_content() {
        let memory = Memory::new();
        let (one, two) = (RequestId::new(Uuid::from_u128(1)), RequestId::new(Uuid::from_u128(2)));
        assert!(!memory.has_seen(one, b"a"));
        memory.note(one, b"a");
        assert!(memory.has_seen(one, b"a"));
        assert!(!memory.has_seen(one, b"b") && !memory.has_seen(two, b"a"));
    }
}
