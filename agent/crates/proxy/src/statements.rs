//! The statements of one session by Snowflake's ids: those that still run, and those whose results may be read again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use audit::{Lost, Outcome, Receipt};
use model::QueryId;
use policy::StandingClearance;
use tokio::time::{Instant, sleep};
use tracing::warn;
use uuid::Uuid;

use crate::{
    catalog::{cache::Changing, copies::Carrying},
    limits::{RESULTS_MAX, RUNNING_MAX, UNASKED_WAIT_MAX},
    renaming::Renaming,
    reply::Effect,
    session::{Session, Turn, lock},
};

/// All that a session remembers of its statements. One statement may have several ids.
#[derive(Debug, Default)]
pub(crate) struct Statements(Mutex<HashMap<Uuid, Arc<Statement>>>);

/// A statement that Snowflake gave an id.
#[derive(Debug)]
pub(crate) struct Statement {
    /// What is owed for its rows, however often they are read.
    pub(crate) clearance: StandingClearance,
    open: Mutex<Option<Open>>,
    asked: Mutex<Instant>,
}

/// What is held for as long as the outcome of a statement is not known.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) receipt: Receipt,
    /// None once Snowflake has said that it is over: others may have changed the session's names since.
    pub(crate) hold: Option<Hold>,
}

/// The session's names are held as they are.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) renaming: Renaming,
    /// What it may change of tables and views is not known as long as it runs.
    pub(crate) _changing: Option<Changing>,
    /// Where it puts tagged data, and where none is any more.
    pub(crate) carrying: Option<Carrying>,
    pub(crate) _turn: Turn,
}

impl Hold {
    /// The statement is over: the session follows what it did, and so does what is known of where data went.
    pub(crate) async fn followed(self, effect: Effect, session: &Session) {
        let failed = matches!(effect, Effect::Failed | Effect::NeverRan) && !self.renaming.may_fail_in_part();
        let succeeded = matches!(effect, Effect::Succeeded(_));
        effect.followed(session, self.renaming);
        match self.carrying {
            Some(carrying) if failed => carrying.failed().await,
            Some(carrying) if succeeded => carrying.succeeded().await,
            _ => {}
        }
    }
}

impl Statement {
    /// The agent's own id of it.
    pub(crate) fn query(&self) -> QueryId {
        self.clearance.query_id()
    }

    /// Notes that somebody asks about it.
    pub(crate) fn ask(&self) {
        *lock(&self.asked) = Instant::now();
    }

    /// Takes what is held for it, when its outcome is known; none if that was taken before.
    pub(crate) fn end(&self) -> Option<Open> {
        lock(&self.open).take()
    }

    /// Snowflake has said that it is over, and not what came of it: names may change again.
    pub(crate) fn is_over(&self) {
        if let Some(open) = lock(&self.open).as_mut() {
            open.hold = None;
        }
    }

    fn is_open(&self) -> bool {
        lock(&self.open).is_some()
    }

    fn holds_names(&self) -> bool {
        lock(&self.open).as_ref().is_some_and(|open| open.hold.is_some())
    }

    /// Closes it in the record, if it is open, as one of which nobody will know what came.
    async fn lose(&self, reason: &str) {
        let Some(open) = self.end() else { return };
        let lost = Outcome::from(Lost { reason: reason.to_owned() });
        if let Err(error) = open.receipt.close(lost).await {
            warn!(query = %self.query(), %error, "the loss of a statement could not be recorded");
        }
    }
}

impl Statements {
    /// Remembers a statement that is over.
    pub(crate) fn ended(&self, id: Uuid, clearance: StandingClearance) {
        self.insert(&[id], clearance, None);
    }

    /// Remembers a statement that still runs. One that nobody asks about is closed in the record after a while.
    pub(crate) fn running(&self, ids: &[Uuid], clearance: StandingClearance, open: Open) {
        let known = ids.iter().find_map(|id| self.find(*id)).filter(|statement| !statement.is_open());
        let statement = match known {
            // Snowflake has executed this one before: a retry of long ago. What was owed for it then stays owed.
            Some(statement) => {
                statement.ask();
                *lock(&statement.open) = Some(open);
                statement
            }
            None => self.insert(ids, clearance, Some(open)),
        };
        tokio::spawn(watch_over(Arc::downgrade(&statement)));
    }

    /// Remembers that Snowflake gave a statement further ids.
    pub(crate) fn also(&self, ids: &[Uuid], statement: &Arc<Statement>) {
        let mut known = lock(&self.0);
        for id in ids {
            // An id that is another statement's stays that one's: what is owed for rows is never exchanged.
            known.entry(*id).or_insert_with(|| statement.clone());
        }
        drop(make_room(&mut known));
    }

    /// A statement of this session.
    pub(crate) fn find(&self, id: Uuid) -> Option<Arc<Statement>> {
        lock(&self.0).get(&id).cloned()
    }

    /// Those of which the session's names depend, each by one id.
    pub(crate) fn holding_names(&self) -> Vec<(Uuid, Arc<Statement>)> {
        let known = lock(&self.0);
        let holding = known.iter().filter(|(_, statement)| statement.holds_names());
        holding.map(|(id, statement)| (*id, statement.clone())).collect()
    }

    /// Closes all that are open, in the record.
    pub(crate) async fn lose_all(&self, reason: &str) {
        let all: Vec<_> = lock(&self.0).values().cloned().collect();
        for statement in all {
            statement.lose(reason).await;
        }
    }

    fn insert(&self, ids: &[Uuid], clearance: StandingClearance, open: Option<Open>) -> Arc<Statement> {
        let asked = Mutex::new(Instant::now());
        let statement = Arc::new(Statement { clearance, open: Mutex::new(open), asked });
        self.also(ids, &statement);
        statement
    }
}

/// Forgets those that nobody has asked about for longest, a quarter at a time. A receipt that is dropped says so in the
/// record.
fn make_room(known: &mut HashMap<Uuid, Arc<Statement>>) -> Vec<Arc<Statement>> {
    let mut forgotten = Vec::new();
    for (is_open, max) in [(false, RESULTS_MAX), (true, RUNNING_MAX)] {
        if known.len() <= max {
            continue;
        }
        let of_kind = known.iter().filter(|(_, statement)| statement.is_open() == is_open);
        let mut of_kind: Vec<_> = of_kind.map(|(id, statement)| (*lock(&statement.asked), *id)).collect();
        if of_kind.len() > max {
            of_kind.sort_unstable();
            of_kind.truncate(of_kind.len() - max * 3 / 4);
            forgotten.extend(of_kind.iter().filter_map(|(_, id)| known.remove(id)));
        }
    }
    forgotten
}

/// Closes a statement once nobody has asked about it for long. Its result may still be read.
async fn watch_over(statement: Weak<Statement>) {
    while let Some(statement) = statement.upgrade().filter(|statement| statement.is_open()) {
        let left = UNASKED_WAIT_MAX.saturating_sub(lock(&statement.asked).elapsed());
        if left.is_zero() {
            let minutes = UNASKED_WAIT_MAX.as_secs() / 60;
            return statement.lose(&format!("nobody asked about it for {minutes} minutes")).await;
        }
        drop(statement);
        sleep(left).await;
    }
}

#[cfg(test)]
mod tests;
