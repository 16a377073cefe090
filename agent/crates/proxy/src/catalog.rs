//! What the tables and views are that a statement names: their columns, and what views show.
//!
//! Snowflake is asked for it, in a session of the agent's own (`catalog/own.rs`) and never in the job's, and what it says
//! is kept for a while (`catalog/cache.rs`). Whatever goes wrong, and whatever takes too long, is not known then, and what
//! is not known is masked as if it were anything: the client never hears of it, and no mask is ever lost by it.

pub(crate) mod cache;
pub(crate) mod changes;
pub(crate) mod own;
mod question;

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex},
};

use model::{Ident, SqlText, TableName};
use sql::{Access, Facts, SessionNames};
use tokio::time::{Instant, timeout_at};

use crate::{
    catalog::{
        cache::{Cache, Changing, Found, Sight, Stamp, Told},
        own::{Errand, Own},
    },
    corridor::{Corridor, Peer},
    limits::{CATALOG_ASKED_MAX, CATALOG_ROUNDS_MAX, CATALOG_WAIT_MAX, PRIVATE_TABLES_MAX},
    seen::{Basis, Seen},
    session::{Session, lock},
};

/// Everything that is known of tables and views.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    cache: Arc<Cache>,
}

/// What a session may be told of tables and views.
#[derive(Debug)]
pub(crate) struct Lookups {
    /// The session in which it is asked for.
    pub(crate) own: Own,
    private: Mutex<Private>,
}

/// What a session sees as no other does.
#[derive(Debug, Default)]
struct Private {
    /// Tables and views of its own.
    names: HashSet<TableName>,
    /// It may see anything else than others do.
    is_blind: bool,
}

/// What a text means.
#[derive(Debug, Clone)]
pub(crate) struct Understood {
    pub(crate) facts: Arc<Facts>,
    /// The tables and views that it reads, and of which nobody knows what they show.
    pub(crate) unresolved: Arc<BTreeSet<TableName>>,
}

impl From<Arc<Facts>> for Understood {
    /// Nothing was looked up.
    fn from(facts: Arc<Facts>) -> Self {
        let unresolved = Arc::new(unread(&facts));
        Self { facts, unresolved }
    }
}

/// Who reads a text, and from where.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) corridor: &'a Corridor,
    pub(crate) peer: &'a Peer,
    pub(crate) session: &'a Session,
    pub(crate) role: Option<&'a Ident>,
}

impl Lookups {
    pub(crate) fn by(own: Own) -> Self {
        Self { own, private: Mutex::default() }
    }

    /// Follows a statement that is about to run. What it makes is the session's own from then on, whether it succeeds or
    /// not.
    pub(crate) fn follow(&self, facts: &Facts) {
        let mut private = lock(&self.private);
        private.is_blind |= changes::runs_code(facts) || changes::changes_sight(facts);
        let renamed = changes::renamed(facts);
        if renamed.iter().any(|name| private.names.contains(name)) {
            private.names.extend(renamed);
        }
        private.names.extend(changes::private_names(facts));
        if private.names.len() > PRIVATE_TABLES_MAX {
            private.is_blind = true;
            private.names.clear();
        }
    }

    fn is_blind(&self) -> bool {
        lock(&self.private).is_blind
    }

    fn hides(&self, table: &TableName) -> bool {
        lock(&self.private).names.contains(table)
    }
}

impl Catalog {
    /// Notes that a permitted statement is about to run, until the guard is dropped: what it may change is not known
    /// meanwhile.
    pub(crate) fn begin(&self, session: &Session, facts: &Facts) -> Option<Changing> {
        session.lookups.follow(facts);
        changes::of(facts).map(|change| self.cache.change(session.account.clone(), change))
    }

    /// What a text means in a session, with all that can be learned of the tables and views that it names.
    pub(crate) async fn read(&self, reader: Reader<'_>, text: &SqlText, names: SessionNames) -> Understood {
        let seen = &reader.corridor.seen;
        let Some(sight) = sight(reader, names.fold_quoted) else { return seen.analyze(text, names).into() };
        let is_current = |basis: &Basis| self.is_current(&sight, basis);
        if let Some((facts, basis)) = seen.find(text, &names, is_current) {
            return Understood { facts, unresolved: basis.unresolved.clone() };
        }
        let looking = Looking {
            catalog: self,
            reader,
            sight: &sight,
            until: Instant::now() + CATALOG_WAIT_MAX,
            known: sql::Catalog::default(),
            basis: Vec::new(),
            asked: BTreeSet::new(),
            unresolved: BTreeSet::new(),
            is_whole: true,
        };
        looking.read(seen, text, names).await
    }

    fn is_current(&self, sight: &Arc<Sight>, basis: &Basis) -> bool {
        basis.sight == *sight
            && basis.of.iter().all(|(table, stamp)| self.cache.is_current(sight, table, *stamp))
    }
}

/// As whom a session sees; none if that is not known, or nothing can be asked.
fn sight(reader: Reader<'_>, fold_quoted: bool) -> Option<Arc<Sight>> {
    let Reader { session, role, .. } = reader;
    if session.lookups.is_blind() || session.lookups.own.is_over() {
        return None;
    }
    let (account, user) = (session.account.clone(), session.user.clone());
    Some(Arc::new(Sight { account, user, role: role?.clone(), fold_quoted }))
}

/// One text on its way to be understood.
struct Looking<'a> {
    catalog: &'a Catalog,
    reader: Reader<'a>,
    sight: &'a Arc<Sight>,
    until: Instant,
    known: sql::Catalog,
    /// What is known, and how it was said.
    basis: Vec<(TableName, Stamp)>,
    asked: BTreeSet<TableName>,
    /// What nobody knows.
    unresolved: BTreeSet<TableName>,
    /// Whether the same would be learned in the next moment.
    is_whole: bool,
}

impl Looking<'_> {
    /// Views name further tables, and so on.
    async fn read(mut self, seen: &Seen, text: &SqlText, names: SessionNames) -> Understood {
        let mut facts = sql::analyze(text, &names, &self.known);
        for _ in 0..CATALOG_ROUNDS_MAX {
            let wanted: Vec<_> = facts.wants().difference(&self.asked).cloned().collect();
            if wanted.is_empty() {
                break;
            }
            let before = self.basis.len();
            for table in wanted {
                self.look_up(table).await;
            }
            if self.basis.len() > before {
                facts = sql::analyze(text, &names, &self.known);
            }
        }
        // Views over views over views: what was not looked at is not known, either.
        self.unresolved.extend(facts.wants().difference(&self.asked).cloned());
        self.unresolved.retain(|table| is_read(&facts, table));
        let (facts, unresolved) = (Arc::new(facts), Arc::new(self.unresolved));
        if self.is_whole {
            let (sight, unresolved) = (self.sight.clone(), unresolved.clone());
            seen.keep(text, names, facts.clone(), Basis { sight, of: self.basis, unresolved });
        }
        Understood { facts, unresolved }
    }

    async fn look_up(&mut self, table: TableName) {
        self.asked.insert(table.clone());
        let is_hidden = self.reader.session.lookups.hides(&table);
        let is_named = table.database.is_some() && table.schema.is_some();
        let told = if is_hidden || !is_named || self.asked.len() > CATALOG_ASKED_MAX {
            self.is_whole &= !is_hidden;
            Told::Hidden
        } else if let Some((told, stamp)) = self.told(&table).await {
            self.basis.push((table.clone(), stamp));
            told
        } else {
            self.is_whole = false;
            Told::Hidden
        };
        match told {
            Told::Is(found) => self.known.insert_table(table, found),
            Told::Absent => {}
            Told::Hidden => {
                self.unresolved.insert(table);
            }
        }
    }

    /// What Snowflake says of a name, now or a moment ago.
    async fn told(&self, table: &TableName) -> Option<(Told, Stamp)> {
        let (cache, until) = (&self.catalog.cache, self.until);
        loop {
            match cache.find(self.sight, table) {
                Found::Known(told, stamp) => return Some((told, stamp)),
                Found::Changing => return None,
                // An error there means that it was answered before this one listened.
                Found::Asked(mut done) => drop(timeout_at(until, done.changed()).await.ok()?),
                Found::Unknown(ticket) => return ticket.answer(self.ask(table).await?),
            }
        }
    }

    /// Asks, if there is an answer in time.
    async fn ask(&self, table: &TableName) -> Option<Told> {
        let Reader { corridor, peer, session, .. } = self.reader;
        let Sight { role, fold_quoted, .. } = self.sight.as_ref();
        let errand = Errand { corridor, peer, session: session.id, role, fold_quoted: *fold_quoted };
        match timeout_at(self.until, session.lookups.own.ask(errand, table)).await {
            Ok(answered) => answered.ok(),
            Err(_) => {
                session.lookups.own.rest(errand).await;
                None
            }
        }
    }
}

/// The tables and views of which nobody here knows what they show: all that are read, where nothing was looked up. What is
/// written to only shows nothing.
fn unread(facts: &Facts) -> BTreeSet<TableName> {
    let wanted = facts.wants().iter();
    wanted.filter(|table| is_read(facts, table)).cloned().collect()
}

/// Whether a text reads a table or view, as far as its own words say; what a view names is always read.
fn is_read(facts: &Facts, table: &TableName) -> bool {
    let tables = facts.statements().unwrap_or_default().iter().flat_map(|statement| &statement.tables);
    let mut uses = tables.filter(|used| used.table == *table).peekable();
    uses.peek().is_none() || uses.any(|used| used.access == Access::Read)
}
