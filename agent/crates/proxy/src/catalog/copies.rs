//! Where tagged data went: the tags of a table that is made from tagged columns, kept for all that is judged later.
//!
//! A place is kept on disk before the statement is sent that puts data there, so that a crash loses none. It is let go
//! when Snowflake says that the statement failed, or that what was there is no more: dropped, or made anew
//! (`catalog/made_anew.rs`). What was dropped may come back, and its tags with it: it stays listed as that. In whatever is
//! not sure tags stay. When no more can be kept, statements that would put tagged data anywhere are refused.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    io, mem,
    pin::Pin,
    sync::{Arc, Mutex},
};

use model::{AccountName, TableName};
use policy::Carried;
use tracing::warn;

use super::made_anew::Anew;
use crate::{limits::COPIES_MAX, session::lock};

/// Keeps on disk where tagged data went, in the order in which it is told. The corridor knows no files; whoever wires it
/// hands this in.
pub trait Shelf: Send + Sync + 'static {
    /// Adds a place, or takes it away again. Done when it is durable.
    fn keep(&self, place: Place) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;
}

/// A place where tagged data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The account.
    pub account: AccountName,
    /// The columns, and their tags.
    pub carried: Carried,
    /// What is known of it.
    pub state: State,
}

/// What is known of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Tagged data may be there.
    Here,
    /// None came there: the statement that would have put it there failed.
    Gone,
    /// What was there was dropped, at this time in seconds since 1970; `None` until the shelf has written it down.
    Dropped(Option<u64>),
}

/// Where tagged data went, so far as this host saw it.
pub struct Copies {
    shelf: Arc<dyn Shelf>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_account: HashMap<AccountName, InAccount>,
    /// How many places hold data.
    count: usize,
    /// How many were dropped.
    dropped: usize,
}

#[derive(Debug, Default)]
struct InAccount {
    /// By the table's name in upper case; without one, what may be in any table.
    by_table: HashMap<Option<String>, BTreeMap<Carried, Standing>>,
    /// How many places have a tag.
    tags: BTreeMap<String, usize>,
}

/// How sure it is that data is there.
#[derive(Debug, Default)]
struct Standing {
    /// It is on disk.
    is_kept: bool,
    /// A statement succeeded, or nobody knows whether it did.
    is_settled: bool,
    /// Statements under way that would put some there.
    pending: usize,
    /// How many statements there were so far that would.
    begun: u64,
    /// Whether what was there was dropped, and when.
    dropped: Option<Option<u64>>,
    /// The same, until the statement that would put some there again is over.
    was_dropped: Option<Option<u64>>,
}

/// Why a place was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CarryError {
    #[error("the list of places where tagged data went is full (COPIES_MAX, {COPIES_MAX} places)")]
    Full,
    #[error("where tagged data would go cannot be written down: {0}")]
    Shelf(#[from] io::Error),
}

/// Held as long as a statement runs that puts tagged data somewhere.
#[derive(Debug)]
#[must_use]
pub(crate) struct Carrying {
    copies: Arc<Copies>,
    account: AccountName,
    places: Vec<Carried>,
    /// What is no more if the statement succeeds, unless another one begins to put data there meanwhile.
    ends: Vec<(Carried, u64)>,
}

impl Copies {
    /// Begins with what was kept before, in the order in which it was.
    pub fn new(kept: impl IntoIterator<Item = Place>, shelf: Arc<dyn Shelf>) -> Self {
        let mut known = Known::default();
        for Place { account, carried, state } in kept {
            if state == State::Gone {
                known.remove(&account, &carried);
                continue;
            }
            known.return_place(&account, &carried);
            let standing = known.standing(&account, &carried);
            (standing.is_kept, standing.is_settled) = (true, true);
            if let State::Dropped(at) = state {
                known.drop_place(&account, &carried, at);
            }
        }
        Self { shelf, known: Mutex::new(known) }
    }

    /// All places: what is worth keeping of what was kept.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let known = lock(&self.known);
        let of_account = known.by_account.iter().flat_map(|(account, places)| {
            places.by_table.values().flatten().map(move |(carried, standing)| (account, carried, standing))
        });
        let place = |(account, carried, standing): (&AccountName, &Carried, &Standing)| Place {
            account: account.clone(),
            carried: carried.clone(),
            state: standing.dropped.map_or(State::Here, State::Dropped),
        };
        of_account.map(place).collect()
    }

    /// What went to any of these tables, and the tags of all that went anywhere.
    pub(crate) fn beside<'t>(
        &self,
        account: &AccountName,
        tables: impl Iterator<Item = &'t TableName>,
    ) -> (Vec<Carried>, BTreeSet<String>) {
        let known = lock(&self.known);
        let Some(places) = known.by_account.get(account) else { return Default::default() };
        // What went into files of stages may come out of any.
        let mut found: BTreeSet<Carried> = places.of_key(&Some(policy::STAGES.to_owned())).cloned().collect();
        for table in tables {
            for key in [None, Some(table.name.as_str().to_uppercase())] {
                found.extend(places.of_key(&key).filter(|carried| carried.may_be_in(table)).cloned());
            }
        }
        (found.into_iter().collect(), places.tags.keys().cloned().collect())
    }

    /// Keeps where a statement that is about to be sent puts tagged data, because it copies some (`places`) or brings
    /// dropped tables back, and notes what will be no more if it succeeds.
    pub(crate) async fn carry(
        self: &Arc<Self>,
        account: &AccountName,
        places: &[Carried],
        anew: &Anew,
    ) -> Result<Option<Carrying>, CarryError> {
        let (places, ends, new) = {
            let mut known = lock(&self.known);
            let mut places = places.to_vec();
            places.extend(known.returning(account, anew));
            let is_here = |place: &&Carried| known.find(account, place).is_some_and(Standing::is_here);
            let added = places.len() - places.iter().filter(is_here).count();
            if known.count + added > COPIES_MAX {
                return Err(CarryError::Full);
            }
            // What another one is about to write is written twice rather than not yet.
            let is_kept = |place: &&Carried| {
                known.find(account, place).is_some_and(|found| found.is_kept && found.is_here())
            };
            let new: Vec<_> = places.iter().filter(|place| !is_kept(place)).cloned().collect();
            for place in &places {
                known.begin(account, place);
            }
            (places, known.ending(account, anew), new)
        };
        if places.is_empty() && ends.is_empty() {
            return Ok(None);
        }
        // Dropped on the way, it leaves its places as they are.
        let carrying = Carrying { copies: self.clone(), account: account.clone(), places, ends };
        for carried in new {
            let place = Place { account: account.clone(), carried, state: State::Here };
            self.shelf.keep(place.clone()).await?;
            lock(&self.known).standing(account, &place.carried).is_kept = true;
        }
        Ok(Some(carrying))
    }
}

impl std::fmt::Debug for Copies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copies").field("count", &lock(&self.known).count).finish_non_exhaustive()
    }
}

impl Carrying {
    /// The statement failed: nothing is there because of it.
    pub(crate) async fn failed(mut self) {
        let places = mem::take(&mut self.places);
        let gone: Vec<(Carried, State)> = {
            let mut known = lock(&self.copies.known);
            let now = |place: Carried| known.undo(&self.account, &place).map(|state| (place, state));
            places.into_iter().filter_map(now).collect()
        };
        self.write(gone).await;
    }

    /// The statement succeeded: what it dropped, or made anew, is no more.
    pub(crate) async fn succeeded(mut self) {
        let ended: Vec<(Carried, State)> = {
            let mut known = lock(&self.copies.known);
            let ends = mem::take(&mut self.ends);
            let is_over = |(place, begun): &(Carried, u64)| {
                // One that began to put data there meanwhile may have put it into what is there now.
                let untouched = known
                    .find(&self.account, place)
                    .is_some_and(|found| found.pending == 0 && found.begun == *begun && found.is_here());
                untouched && known.drop_place(&self.account, place, None)
            };
            ends.into_iter().filter(is_over).map(|(place, _)| (place, State::Dropped(None))).collect()
        };
        self.write(ended).await;
    }

    /// Writes down that nothing is there any more.
    async fn write(&self, places: Vec<(Carried, State)>) {
        for (carried, state) in places {
            let place = Place { account: self.account.clone(), carried, state };
            if let Err(error) = self.copies.shelf.keep(place).await {
                warn!(%error, "a place without tagged data is listed again from the next start on");
            }
        }
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        let mut known = lock(&self.copies.known);
        for place in &self.places {
            let standing = known.standing(&self.account, place);
            standing.pending -= 1;
            standing.is_settled = true;
        }
    }
}

impl Standing {
    fn is_here(&self) -> bool {
        self.dropped.is_none()
    }
}

impl InAccount {
    /// What is there of a table's name.
    fn of_key(&self, key: &Option<String>) -> impl Iterator<Item = &Carried> {
        let all = self.by_table.get(key).into_iter().flatten();
        all.filter(|(_, standing)| standing.is_here()).map(|(carried, _)| carried)
    }

    fn count_tags(&mut self, carried: &Carried) {
        for tag in &carried.tags {
            *self.tags.entry(tag.clone()).or_default() += 1;
        }
    }

    fn discount_tags(&mut self, carried: &Carried) {
        for tag in &carried.tags {
            if let Some(count) = self.tags.get_mut(tag) {
                *count -= 1;
            }
        }
        self.tags.retain(|_, count| *count > 0);
    }
}

impl Known {
    fn key(carried: &Carried) -> Option<String> {
        carried.table.as_ref().map(|table| table.as_str().to_uppercase())
    }

    fn find(&self, account: &AccountName, carried: &Carried) -> Option<&Standing> {
        self.by_account.get(account)?.by_table.get(&Self::key(carried))?.get(carried)
    }

    fn standing(&mut self, account: &AccountName, carried: &Carried) -> &mut Standing {
        let is_new = self.find(account, carried).is_none();
        let places = self.by_account.entry(account.clone()).or_default();
        if is_new {
            self.count += 1;
            places.count_tags(carried);
        }
        places.by_table.entry(Self::key(carried)).or_default().entry(carried.clone()).or_default()
    }

    /// A statement begins to put data there. What was dropped is there again.
    fn begin(&mut self, account: &AccountName, carried: &Carried) {
        let was_dropped = self.return_place(account, carried);
        let standing = self.standing(account, carried);
        standing.pending += 1;
        standing.begun += 1;
        if was_dropped.is_some() {
            (standing.is_kept, standing.is_settled, standing.was_dropped) = (false, false, was_dropped);
        }
    }

    /// Takes what was dropped for being there again. When it was dropped, if it was.
    fn return_place(&mut self, account: &AccountName, carried: &Carried) -> Option<Option<u64>> {
        let at = self.standing(account, carried).dropped.take()?;
        self.dropped -= 1;
        self.count += 1;
        self.by_account.entry(account.clone()).or_default().count_tags(carried);
        Some(at)
    }

    /// One that would have put data there failed. What is written down of the place, if that is all there was.
    fn undo(&mut self, account: &AccountName, carried: &Carried) -> Option<State> {
        let standing = self.standing(account, carried);
        standing.pending -= 1;
        if standing.is_settled || standing.pending > 0 {
            return None;
        }
        match standing.was_dropped.take() {
            Some(at) if self.drop_place(account, carried, at) => Some(State::Dropped(at)),
            Some(_) => None,
            None => {
                self.remove(account, carried);
                Some(State::Gone)
            }
        }
    }

    fn remove(&mut self, account: &AccountName, carried: &Carried) {
        let Some(places) = self.by_account.get_mut(account) else { return };
        let in_table = places.by_table.get_mut(&Self::key(carried));
        match in_table.and_then(|in_table| in_table.remove(carried)) {
            None => {}
            Some(standing) if standing.is_here() => {
                self.count -= 1;
                places.discount_tags(carried);
            }
            Some(_) => self.dropped -= 1,
        }
    }

    /// Notes that what was there was dropped; false if no more can be noted.
    fn drop_place(&mut self, account: &AccountName, carried: &Carried, at: Option<u64>) -> bool {
        if self.dropped >= COPIES_MAX {
            return false;
        }
        let standing = self.standing(account, carried);
        if standing.dropped.replace(at).is_none() {
            self.dropped += 1;
            self.count -= 1;
            self.by_account.entry(account.clone()).or_default().discount_tags(carried);
        }
        true
    }

    /// What was dropped and may be there again after a statement.
    fn returning(&self, account: &AccountName, anew: &Anew) -> Vec<Carried> {
        let Some(places) = self.by_account.get(account).filter(|_| anew.may_bring_back()) else {
            return Vec::new();
        };
        let dropped = places.by_table.values().flatten().filter(|(_, standing)| !standing.is_here());
        dropped.map(|(carried, _)| carried).filter(|carried| anew.brings_back(carried)).cloned().collect()
    }

    /// What holds data now, and holds none after a statement that succeeds; with how many have begun to put some there.
    fn ending(&self, account: &AccountName, anew: &Anew) -> Vec<(Carried, u64)> {
        let Some(places) = self.by_account.get(account).filter(|_| anew.may_end()) else { return Vec::new() };
        let is_quiet = |standing: &Standing| standing.is_here() && standing.pending == 0;
        let all = places.by_table.values().flatten();
        let ending = all.filter(|(carried, standing)| is_quiet(standing) && anew.ends(carried));
        ending.map(|(carried, standing)| (carried.clone(), standing.begun)).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use model::Ident;

    use super::*;

    /// A shelf that remembers, and can be full.
    #[derive(Default)]
    pub(crate) struct Memory {
        pub(crate) kept: Mutex<Vec<Place>>,
        is_broken: bool,
    }

    impl Shelf for Memory {
        fn keep(&self, place: Place) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
            if self.is_broken {
                return Box::pin(async { Err(io::ErrorKind::StorageFull.into()) });
            }
            lock(&self.kept).push(place);
            Box::pin(async { Ok(()) })
        }
    }

    fn account() -> AccountName {
        AccountName::new("acme")
    }

    fn table(name: &str) -> TableName {
        let part = |text: &str| Some(Ident::exact(text));
        TableName { database: part("D"), schema: part("S"), name: Ident::exact(name) }
    }

    fn carried(name: Option<&str>, tag: &str) -> Carried {
        let part = |text: &str| Some(Ident::exact(text));
        let (database, schema, table) = (part("D"), part("S"), name.map(Ident::exact));
        Carried { database, schema, table, column: None, tags: BTreeSet::from([tag.to_owned()]) }
    }

    fn tags_of(copies: &Copies, name: &str) -> Vec<String> {
        let (found, _) = copies.beside(&account(), [table(name)].iter());
        let tags: BTreeSet<String> = found.into_iter().flat_map(|carried| carried.tags).collect();
        tags.into_iter().collect()
    }

    #[tokio::test]
    async fn what_is_carried_is_kept_first_and_found_by_its_table() {
        let shelf = Arc::new(Memory::default());
        let copies = Arc::new(Copies::new([], shelf.clone()));
        let carrying =
            copies.carry(&account(), &[carried(Some("x"), "pii")], &Anew::default()).await.unwrap();
        assert_eq!(lock(&shelf.kept).len(), 1);
        assert_eq!(tags_of(&copies, "X"), ["pii"]);
        assert!(tags_of(&copies, "Y").is_empty());
        let (none, anywhere) = copies.beside(&account(), [table("Y")].iter());
        assert_eq!((none.len(), anywhere), (0, BTreeSet::from(["pii".to_owned()])));
        assert!(copies.beside(&AccountName::new("other"), [table("X")].iter()).0.is_empty());
        drop(carrying);
        // A whole schema.
        drop(copies.carry(&account(), &[carried(None, "ssn")], &Anew::default()).await.unwrap());
        assert_eq!(tags_of(&copies, "Y"), ["ssn"]);
        // The same again is not written again; after a start all is as it was.
        drop(copies.carry(&account(), &[carried(Some("x"), "pii")], &Anew::default()).await.unwrap());
        let kept = lock(&shelf.kept).clone();
        assert_eq!(kept.len(), 2);
        let again = Copies::new(kept, shelf);
        assert_eq!(tags_of(&again, "X"), ["pii", "ssn"]);
        assert_eq!(again.places().len(), 2);
    }

    #[tokio::test]
    async fn only_a_failure_takes_a_place_away_and_only_its_own() {
        let shelf = Arc::new(Memory::default());
        let copies = Arc::new(Copies::new([], shelf.clone()));
        let place = [carried(Some("X"), "pii")];
        let (one, other) = (
            copies.carry(&account(), &place, &Anew::default()).await,
            copies.carry(&account(), &place, &Anew::default()).await,
        );
        one.unwrap().unwrap().failed().await;
        assert_eq!(tags_of(&copies, "X"), ["pii"], "the other may put some there");
        other.unwrap().unwrap().failed().await;
        assert!(tags_of(&copies, "X").is_empty());
        let kept = lock(&shelf.kept).clone();
        assert!(kept.last().unwrap().state == State::Gone && Copies::new(kept, shelf).places().is_empty());
        // One that succeeded, or of which nobody knows, leaves it there for ever.
        drop(copies.carry(&account(), &place, &Anew::default()).await.unwrap());
        copies.carry(&account(), &place, &Anew::default()).await.unwrap().unwrap().failed().await;
        assert_eq!(tags_of(&copies, "X"), ["pii"]);
    }

    fn anew(text: &str) -> Anew {
        let part = |text: &str| Some(Ident::exact(text));
        let names = sql::SessionNames { database: part("D"), schema: part("S"), ..Default::default() };
        let text = model::SqlText::new(text).unwrap();
        let facts = sql::analyze(&text, &names, &sql::Catalog::default());
        Anew::of(&facts, &crate::catalog::Lookups::by(crate::catalog::own::Own::none("none")))
    }

    /// A statement that puts data where `places` are, and then succeeds.
    async fn ran(copies: &Arc<Copies>, text: &str, places: &[Carried]) {
        if let Some(carrying) = copies.carry(&account(), places, &anew(text)).await.unwrap() {
            carrying.succeeded().await;
        }
    }

    #[tokio::test]
    async fn what_is_dropped_or_made_anew_has_its_tags_no_more() {
        let shelf = Arc::new(Memory::default());
        let copies = Arc::new(Copies::new([], shelf.clone()));
        let (pii, ssn) = ([carried(Some("X"), "pii")], [carried(Some("X"), "ssn")]);
        let ctas = "create or replace table x as select a from t";
        ran(&copies, ctas, &pii).await;
        ran(&copies, ctas, &pii).await;
        assert_eq!(tags_of(&copies, "X"), ["pii"], "it is made of tagged data again");
        ran(&copies, ctas, &ssn).await;
        assert_eq!(tags_of(&copies, "X"), ["ssn"], "it is made of other data");
        ran(&copies, ctas, &[]).await;
        let (found, anywhere) = copies.beside(&account(), [table("X")].iter());
        assert!(found.is_empty() && anywhere.is_empty());
        // After a start it is the same, and one that makes it of tagged data is on disk before it is sent.
        let again = Arc::new(Copies::new(lock(&shelf.kept).clone(), shelf.clone()));
        assert!(tags_of(&again, "X").is_empty());
        drop(again.carry(&account(), &pii, &anew(ctas)).await.unwrap());
        assert_eq!(tags_of(&Copies::new(lock(&shelf.kept).clone(), shelf.clone()), "X"), ["pii"]);
    }

    #[tokio::test]
    async fn a_statement_that_failed_or_ran_beside_another_takes_no_tags_away() {
        let copies = Arc::new(Copies::new([], Arc::new(Memory::default())));
        let (pii, drops) = ([carried(Some("X"), "pii")], anew("drop table x"));
        ran(&copies, "create table x as select a from t", &pii).await;
        copies.carry(&account(), &[], &drops).await.unwrap().unwrap().failed().await;
        // Nobody knows what became of it.
        drop(copies.carry(&account(), &[], &drops).await.unwrap());
        assert_eq!(tags_of(&copies, "X"), ["pii"]);
        // Another one is at it when it begins, or begins before it is over.
        let inserts =
            async || copies.carry(&account(), &pii, &anew("insert into x select a from t")).await.unwrap();
        let before = inserts().await;
        assert!(copies.carry(&account(), &[], &drops).await.unwrap().is_none());
        drop(before);
        let dropping = copies.carry(&account(), &[], &drops).await.unwrap().unwrap();
        drop(inserts().await);
        dropping.succeeded().await;
        assert_eq!(tags_of(&copies, "X"), ["pii"]);
        ran(&copies, "drop table x", &[]).await;
        assert!(tags_of(&copies, "X").is_empty());
    }

    #[tokio::test]
    async fn what_comes_back_has_its_tags_again() {
        let shelf = Arc::new(Memory::default());
        let copies = Arc::new(Copies::new([], shelf.clone()));
        ran(&copies, "create table x as select a from t", &[carried(Some("X"), "pii")]).await;
        ran(&copies, "drop schema s", &[]).await;
        assert!(tags_of(&copies, "X").is_empty());
        let kept = lock(&shelf.kept).clone();
        let copies = Arc::new(Copies::new(kept, shelf));
        let undrops = anew("undrop schema s");
        copies.carry(&account(), &[], &undrops).await.unwrap().unwrap().failed().await;
        assert!(tags_of(&copies, "X").is_empty());
        drop(copies.carry(&account(), &[], &undrops).await.unwrap());
        assert_eq!(tags_of(&copies, "X"), ["pii"]);
        assert_eq!(copies.places().len(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_an_error() {
        let broken = Memory { is_broken: true, ..Memory::default() };
        let copies = Arc::new(Copies::new([], Arc::new(broken)));
        assert!(matches!(
            copies.carry(&account(), &[carried(Some("X"), "pii")], &Anew::default()).await,
            Err(CarryError::Shelf(_))
        ));
        let places = (0..COPIES_MAX).map(|n| Place {
            account: account(),
            carried: carried(Some(&n.to_string()), "pii"),
            state: State::Here,
        });
        let full = Arc::new(Copies::new(places, Arc::new(Memory::default())));
        assert!(matches!(
            full.carry(&account(), &[carried(Some("X"), "pii")], &Anew::default()).await,
            Err(CarryError::Full)
        ));
        // What is listed already is no more than before.
        assert!(full.carry(&account(), &[carried(Some("7"), "pii")], &Anew::default()).await.is_ok());
        assert!(full.carry(&account(), &[], &Anew::default()).await.unwrap().is_none());
    }
}
