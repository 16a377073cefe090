//! What Snowflake said of tables and views, for as long as it may be believed: a while, and until somebody on this host
//! changes them.
//!
//! What a role sees is not what another one sees, so everything is kept by who asked. One asks, others that want the
//! same wait for the answer. While a statement that changes an object is under way, nobody can say what that object is:
//! it is neither told nor asked about, and an answer that was under way then is not kept.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex},
};

use model::{AccountName, Ident, SessionId, TableName};
use sql::{SecondaryRoles, Table};
use tokio::{sync::watch, time::Instant};

use super::changes::{Change, InAccount};
use crate::{
    limits::{CATALOG_AGE_MAX, CATALOG_BYTES_MAX, CATALOG_ENTRY_BYTES_MAX, UNASKED_WAIT_MAX},
    session::lock,
};

/// Who sees: the same user in the same roles sees the same.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sight {
    pub(crate) account: AccountName,
    pub(crate) user: String,
    /// None: the user's own.
    pub(crate) role: Option<Ident>,
    /// The roles beside it.
    pub(crate) secondary_roles: SecondaryRoles,
    /// Where it is not known who the user is.
    pub(crate) session: Option<SessionId>,
    /// Whether quoted names fold, in which case a view's text may say something else.
    pub(crate) fold_quoted: bool,
}

/// A table or view, as somebody sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    sight: Arc<Sight>,
    table: TableName,
}

/// What Snowflake said of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is this table or view.
    Is(Arc<Table>),
    /// There is nothing of that name, or nothing that the role may use.
    Absent,
    /// Something, which it does not tell enough of: a secure view, a table that others fill.
    Hidden,
}

/// Tells one answer from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

/// All answers that are kept.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    answers: HashMap<Key, Answer>,
    bytes: usize,
    last: u64,
    asking: HashMap<Key, Asking>,
    under_way: Vec<UnderWay>,
}

/// A change that somebody is at. One of which nobody hears for long is taken to be over.
#[derive(Debug)]
struct UnderWay {
    id: u64,
    change: InAccount,
    since: Instant,
}

#[derive(Debug)]
struct Answer {
    told: Told,
    stamp: Stamp,
    at: Instant,
    bytes: usize,
}

#[derive(Debug)]
struct Asking {
    /// Somebody has begun to change it, or was at it.
    is_spoiled: bool,
    done: watch::Sender<()>,
}

/// What is known of a table or view.
#[derive(Debug)]
pub(crate) enum Found<'c> {
    /// What Snowflake said.
    Known(Told, Stamp),
    /// Nobody can say.
    Changing,
    /// Somebody asks; wait for this, and look again.
    Asked(watch::Receiver<()>),
    /// Nobody has asked: whoever gets this does.
    Unknown(Ticket<'c>),
}

/// Held by who asks about one table or view.
#[derive(Debug)]
pub(crate) struct Ticket<'c> {
    cache: &'c Cache,
    key: Key,
}

/// Held as long as a statement may change what something is.
#[derive(Debug)]
#[must_use]
pub(crate) struct Changing {
    cache: Arc<Cache>,
    id: u64,
}

impl Cache {
    /// What is known of a table or view now.
    pub(crate) fn find(&self, sight: &Arc<Sight>, table: &TableName) -> Found<'_> {
        let mut inner = lock(&self.0);
        if inner.is_changing(sight, table) {
            return Found::Changing;
        }
        let key = Key { sight: sight.clone(), table: table.clone() };
        if let Some(answer) = inner.answers.get(&key)
            && answer.at.elapsed() < CATALOG_AGE_MAX
        {
            return Found::Known(answer.told.clone(), answer.stamp);
        }
        if let Some(asking) = inner.asking.get(&key) {
            return Found::Asked(asking.done.subscribe());
        }
        let asking = Asking { is_spoiled: false, done: watch::Sender::new(()) };
        inner.asking.insert(key.clone(), asking);
        Found::Unknown(Ticket { cache: self, key })
    }

    /// Whether an answer is still the one that would be given.
    pub(crate) fn is_current(&self, sight: &Arc<Sight>, table: &TableName, stamp: Stamp) -> bool {
        let inner = lock(&self.0);
        let key = Key { sight: sight.clone(), table: table.clone() };
        let is_it = |answer: &Answer| answer.stamp == stamp && answer.at.elapsed() < CATALOG_AGE_MAX;
        inner.answers.get(&key).is_some_and(is_it) && !inner.is_changing(sight, table)
    }

    /// Notes that a statement is about to change something, until the guard is dropped.
    pub(crate) fn change(self: &Arc<Self>, account: AccountName, change: Change) -> Changing {
        let mut inner = lock(&self.0);
        let change = InAccount { account, change };
        inner.forget(&change);
        inner.last += 1;
        let id = inner.last;
        inner.under_way.push(UnderWay { id, change, since: Instant::now() });
        Changing { cache: self.clone(), id }
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        let mut inner = lock(&self.cache.0);
        if let Some(at) = inner.under_way.iter().position(|under_way| under_way.id == self.id) {
            let UnderWay { change, .. } = inner.under_way.swap_remove(at);
            inner.forget(&change);
        }
    }
}

impl InAccount {
    fn concerns(&self, sight: &Sight, table: &TableName) -> bool {
        self.account == sight.account && self.change.covers(table)
    }
}

impl Inner {
    fn is_changing(&self, sight: &Sight, table: &TableName) -> bool {
        let is_live = |under_way: &&UnderWay| under_way.since.elapsed() < UNASKED_WAIT_MAX;
        self.under_way.iter().filter(is_live).any(|under_way| under_way.change.concerns(sight, table))
    }

    fn forget(&mut self, change: &InAccount) {
        let concerned = |key: &Key| change.concerns(&key.sight, &key.table);
        let mut gone = 0;
        self.answers.retain(|key, answer| {
            let stays = !concerned(key);
            gone += if stays { 0 } else { answer.bytes };
            stays
        });
        self.bytes -= gone;
        for (_, asking) in self.asking.iter_mut().filter(|(key, _)| concerned(key)) {
            asking.is_spoiled = true;
        }
    }

    /// Room for an answer: first from those that are too old, then from any, as many as are there.
    fn make_room(&mut self, bytes: usize) {
        if self.bytes + bytes <= CATALOG_BYTES_MAX {
            return;
        }
        self.answers.retain(|_, answer| answer.at.elapsed() < CATALOG_AGE_MAX);
        self.bytes = self.answers.values().map(|answer| answer.bytes).sum();
        if self.bytes + bytes > CATALOG_BYTES_MAX {
            drop(mem::take(&mut self.answers));
            self.bytes = 0;
        }
    }
}

impl Ticket<'_> {
    /// Keeps what Snowflake said. An answer that is the same as before has the same stamp. `None` if it may be an old one
    /// already.
    pub(crate) fn answer(self, told: Told) -> Option<(Told, Stamp)> {
        let mut inner = lock(&self.cache.0);
        if inner.asking.get(&self.key).is_none_or(|asking| asking.is_spoiled) {
            return None;
        }
        let before = inner.answers.remove(&self.key);
        inner.bytes -= before.as_ref().map_or(0, |answer| answer.bytes);
        let stamp = match before {
            Some(answer) if answer.told == told => answer.stamp,
            _ => {
                inner.last += 1;
                Stamp(inner.last)
            }
        };
        let bytes = size(&self.key, &told);
        if bytes <= CATALOG_ENTRY_BYTES_MAX {
            inner.make_room(bytes);
            inner.bytes += bytes;
            let answer = Answer { told: told.clone(), stamp, at: Instant::now(), bytes };
            inner.answers.insert(self.key.clone(), answer);
        }
        drop(inner);
        Some((told, stamp))
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(asking) = lock(&self.cache.0).asking.remove(&self.key) {
            asking.done.send_replace(());
        }
    }
}

/// About how much memory an answer takes.
fn size(key: &Key, told: &Told) -> usize {
    let name = [key.table.database.as_ref(), key.table.schema.as_ref(), Some(&key.table.name)];
    let name: usize = name.into_iter().flatten().map(|part| part.as_str().len()).sum();
    let content = match told {
        Told::Absent | Told::Hidden => 0,
        Told::Is(table) => {
            let of_column = |column: &Ident| column.as_str().len() + size_of::<Ident>();
            let columns: usize = table.columns.iter().map(of_column).sum();
            columns + table.view.as_ref().map_or(0, |view| view.definition.len())
        }
    };
    size_of::<(Key, Answer)>() + name + content
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sight(role: &str) -> Arc<Sight> {
        let (account, user) = (AccountName::new("acme"), "U".to_owned());
        let (role, secondary_roles) = (Some(Ident::exact(role)), SecondaryRoles::Usual);
        Arc::new(Sight { account, user, role, secondary_roles, session: None, fold_quoted: false })
    }

    fn name(text: &str) -> TableName {
        let part = |text: &str| Some(Ident::exact(text));
        TableName { database: part("D"), schema: part("S"), name: Ident::exact(text) }
    }

    fn columns(names: &[&str]) -> Told {
        Told::Is(Arc::new(Table::with_columns(names.iter().copied().map(Ident::exact))))
    }

    fn ask<'c>(cache: &'c Cache, role: &str, table: &str) -> Ticket<'c> {
        match cache.find(&sight(role), &name(table)) {
            Found::Unknown(ticket) => ticket,
            found => panic!("{found:?}"),
        }
    }

    fn known(cache: &Cache, role: &str, table: &str) -> Option<Stamp> {
        match cache.find(&sight(role), &name(table)) {
            Found::Known(_, stamp) => Some(stamp),
            _ => None,
        }
    }

    fn on(table: &str) -> Change {
        Change::Objects(vec![name(table).into()])
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_who_asked_and_for_a_while() {
        let cache = Cache::default();
        let (_, stamp) = ask(&cache, "R", "T").answer(columns(&["A"])).unwrap();
        assert_eq!(known(&cache, "R", "T"), Some(stamp));
        assert!(cache.is_current(&sight("R"), &name("T"), stamp));
        assert_eq!(known(&cache, "OTHER", "T"), None);
        tokio::time::advance(CATALOG_AGE_MAX).await;
        assert!(!cache.is_current(&sight("R"), &name("T"), stamp));
        // The same answer has the same stamp, another one another.
        let (_, same) = ask(&cache, "R", "T").answer(columns(&["A"])).unwrap();
        assert_eq!(same, stamp);
        tokio::time::advance(CATALOG_AGE_MAX).await;
        let (_, other) = ask(&cache, "R", "T").answer(columns(&["A", "B"])).unwrap();
        assert_ne!(other, stamp);
    }

    #[tokio::test(start_paused = true)]
    async fn one_asks_and_the_others_wait() {
        let cache = Cache::default();
        let ticket = ask(&cache, "R", "T");
        let Found::Asked(mut done) = cache.find(&sight("R"), &name("T")) else { panic!("asked twice") };
        let waits = tokio::time::timeout(Duration::from_secs(1), done.changed()).await;
        assert!(waits.is_err());
        ticket.answer(Told::Absent);
        // The sender is gone by now, or has sent: either ends the waiting.
        drop(done.changed().await);
        assert!(known(&cache, "R", "T").is_some());
        // One who gives up lets the next one ask.
        drop(ask(&cache, "R", "U"));
        drop(ask(&cache, "R", "U"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_being_changed_is_not_told_and_is_forgotten() {
        let cache = Arc::new(Cache::default());
        for table in ["T", "U"] {
            ask(&cache, "R", table).answer(columns(&["A"]));
        }
        let stamp = known(&cache, "R", "T").unwrap();
        let changing = cache.change(AccountName::new("acme"), on("T"));
        assert!(matches!(cache.find(&sight("R"), &name("T")), Found::Changing));
        assert!(!cache.is_current(&sight("R"), &name("T"), stamp));
        assert!(known(&cache, "R", "U").is_some());
        drop(changing);
        let (_, after) = ask(&cache, "R", "T").answer(columns(&["A"])).unwrap();
        assert_ne!(after, stamp);
        let elsewhere = cache.change(AccountName::new("other"), Change::All);
        assert!(known(&cache, "R", "T").is_some());
        drop(elsewhere);
        drop(cache.change(AccountName::new("acme"), Change::All));
        assert!(known(&cache, "R", "T").is_none() && known(&cache, "R", "U").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_may_be_an_old_one_is_not_kept() {
        let cache = Arc::new(Cache::default());
        let ticket = ask(&cache, "R", "T");
        drop(cache.change(AccountName::new("acme"), on("T")));
        assert_eq!(ticket.answer(columns(&["A"])), None);
        assert_eq!(known(&cache, "R", "T"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_bounded() {
        let cache = Cache::default();
        let long = "x".repeat(1_000);
        for n in 0..2 * CATALOG_BYTES_MAX / 1_000 {
            ask(&cache, "R", &n.to_string()).answer(columns(&[&long]));
            assert!(lock(&cache.0).bytes <= CATALOG_BYTES_MAX);
        }
        let inner = lock(&cache.0);
        assert_eq!(inner.bytes, inner.answers.values().map(|answer| answer.bytes).sum::<usize>());
        assert!(inner.asking.is_empty());
        drop(inner);
        let huge = "x".repeat(CATALOG_ENTRY_BYTES_MAX);
        ask(&cache, "R", "HUGE").answer(columns(&[&huge]));
        assert_eq!(known(&cache, "R", "HUGE"), None);
    }
}
