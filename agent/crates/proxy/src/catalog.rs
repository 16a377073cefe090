//! What the tables and views are that a statement names: their columns, and what views show.
//!
//! Snowflake is asked for it, in a session of the agent's own (`catalog/own.rs`) and never in the job's, and what it says
//! is kept for a while (`catalog/cache.rs`). Whatever goes wrong, and whatever takes too long, is not known then, and what
//! is not known is masked as if it were anything: the client never hears of it, and no mask is ever lost by it.

pub(crate) mod cache;
pub(crate) mod changes;
pub(crate) mod copies;
pub(crate) mod made_anew;
pub(crate) mod own;
mod question;

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex},
};

use http::HeaderMap;
use model::{AccountName, SqlText, TableName};
use policy::Beside;
use sql::{Access, Facts, SecondaryRoles, SessionNames, TableUse};
use tokio::time::{Instant, timeout_at};

use crate::{
    catalog::{
        cache::{Cache, Changing, Found, Sight, Stamp, Told},
        copies::Copies,
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
    /// The tables and views that it reads because views show them.
    pub(crate) reached: Arc<BTreeSet<TableName>>,
    /// The tables and views that it reads, and of which nobody knows what they show.
    pub(crate) unresolved: Arc<BTreeSet<TableName>>,
}

impl Understood {
    /// What it is judged by beside its facts.
    pub(crate) fn beside(&self, copies: &Copies, account: &AccountName) -> Beside {
        let (reached, unresolved) = (self.reached.clone(), self.unresolved.clone());
        let statements = self.facts.statements().unwrap_or_default();
        let named = statements.iter().flat_map(|statement| &statement.tables).map(|used| &used.table);
        let (carried, carried_anywhere) =
            copies.beside(account, named.chain(reached.iter()).chain(unresolved.iter()));
        Beside { reached, unresolved, carried, carried_anywhere }
    }
}

impl From<Arc<Facts>> for Understood {
    /// Nothing was looked up.
    fn from(facts: Arc<Facts>) -> Self {
        let unresolved = Arc::new(unread(&facts));
        Self { facts, reached: Arc::default(), unresolved }
    }
}

/// Who reads a text, and from where.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) corridor: &'a Corridor,
    pub(crate) peer: &'a Peer,
    pub(crate) session: &'a Session,
    /// The headers of a request that brings its own credential, and is no part of a session of Snowflake's.
    pub(crate) bearer: Option<&'a HeaderMap>,
}

impl Lookups {
    pub(crate) fn by(own: Own) -> Self {
        Self { own, private: Mutex::default() }
    }

    /// Follows a statement that is about to run. What it makes is the session's own from then on, whether it succeeds or
    /// not.
    pub(crate) fn follow(&self, facts: &Facts) {
        let mut private = lock(&self.private);
        private.is_blind |= changes::runs_code(facts);
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

    /// Whether the session may have a table of its own of this name.
    pub(crate) fn may_hide(&self, table: &TableName) -> bool {
        self.is_blind() || self.hides(table)
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
        let Some(sight) = sight(reader, &names) else { return seen.analyze(text, names).into() };
        let is_current = |basis: &Basis| self.is_current(&sight, basis);
        if let Some((facts, basis)) = seen.find(text, &names, is_current) {
            let (reached, unresolved) = (basis.reached.clone(), basis.unresolved.clone());
            return Understood { facts, reached, unresolved };
        }
        let looking = Looking {
            catalog: self,
            reader,
            sight: &sight,
            until: Instant::now() + CATALOG_WAIT_MAX,
            known: sql::Catalog::default(),
            basis: Vec::new(),
            asked: BTreeSet::new(),
            reached: BTreeSet::new(),
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
fn sight(reader: Reader<'_>, names: &SessionNames) -> Option<Arc<Sight>> {
    let Reader { session, bearer, .. } = reader;
    if session.lookups.is_blind() || session.lookups.own.is_over() {
        return None;
    }
    let (role, secondary_roles) = (names.role.clone(), names.secondary_roles.clone());
    // A request without a session has the role of its user, where it names none.
    if bearer.is_none() && (role.is_none() || secondary_roles == SecondaryRoles::Unknown) {
        return None;
    }
    let (account, user) = (session.account.clone(), session.user.clone());
    // Which user a credential is of, and whether quoted names fold for him, is not always known: then what is learned is
    // for this session alone, and may be either way.
    let session = bearer.map(|_| session.id);
    let fold_quoted = names.fold_quoted || bearer.is_some();
    Some(Arc::new(Sight { account, user, session, role, secondary_roles, fold_quoted }))
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
    /// What is known.
    reached: BTreeSet<TableName>,
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
        // What the text names itself is in its facts.
        self.reached.retain(|table| !names_itself(&facts, table));
        let (facts, reached) = (Arc::new(facts), Arc::new(self.reached));
        let unresolved = Arc::new(self.unresolved);
        if self.is_whole {
            let (reached, unresolved) = (reached.clone(), unresolved.clone());
            let basis = Basis { sight: self.sight.clone(), of: self.basis, reached, unresolved };
            seen.keep(text, names, facts.clone(), basis);
        }
        Understood { facts, reached, unresolved }
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
            Told::Is(found) => {
                self.reached.insert(table.clone());
                self.known.insert_table(table, found);
            }
            Told::Absent => self.known.insert_missing(table),
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
        let Reader { corridor, peer, session, bearer, .. } = self.reader;
        let errand = Errand { corridor, peer, session: session.id, sight: self.sight, bearer };
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
    !names_itself(facts, table) || uses(facts, table).any(|used| used.access == Access::Read)
}

fn names_itself(facts: &Facts, table: &TableName) -> bool {
    uses(facts, table).next().is_some()
}

fn uses<'f>(facts: &'f Facts, table: &'f TableName) -> impl Iterator<Item = &'f TableUse> {
    let tables = facts.statements().unwrap_or_default().iter().flat_map(|statement| &statement.tables);
    tables.filter(move |used| used.table == *table)
}
