//! Where tagged data went: the tags of a table that is made from tagged columns, kept for all that is judged later.
//!
//! A place is kept on disk before the statement is sent that puts data there, so that a crash loses none. It is let go
//! only when Snowflake says that the statement failed; whatever else becomes of the statement, and of the table, its tags
//! stay. When no more can be kept, statements that would put tagged data anywhere are refused.

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
    /// Whether it is none any more: the statement that would have put data there failed.
    pub is_gone: bool,
}

/// Where tagged data went, so far as this host saw it.
pub struct Copies {
    shelf: Arc<dyn Shelf>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_account: HashMap<AccountName, InAccount>,
    count: usize,
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
}

impl Copies {
    /// Begins with what was kept before, in the order in which it was.
    pub fn new(kept: impl IntoIterator<Item = Place>, shelf: Arc<dyn Shelf>) -> Self {
        let mut known = Known::default();
        for Place { account, carried, is_gone } in kept {
            if is_gone {
                known.remove(&account, &carried);
            } else {
                let standing = known.standing(&account, &carried);
                (standing.is_kept, standing.is_settled) = (true, true);
            }
        }
        Self { shelf, known: Mutex::new(known) }
    }

    /// All places: what is worth keeping of what was kept.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let known = lock(&self.known);
        let of_account = known.by_account.iter().flat_map(|(account, places)| {
            places.by_table.values().flat_map(BTreeMap::keys).map(move |carried| (account, carried))
        });
        let place = |(account, carried): (&AccountName, &Carried)| Place {
            account: account.clone(),
            carried: carried.clone(),
            is_gone: false,
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
        let in_stages = places.by_table.get(&Some(policy::STAGES.to_owned())).into_iter();
        let mut found: BTreeSet<Carried> = in_stages.flat_map(BTreeMap::keys).cloned().collect();
        for table in tables {
            for key in [None, Some(table.name.as_str().to_uppercase())] {
                let in_table = places.by_table.get(&key).into_iter().flat_map(BTreeMap::keys);
                found.extend(in_table.filter(|carried| carried.may_be_in(table)).cloned());
            }
        }
        (found.into_iter().collect(), places.tags.keys().cloned().collect())
    }

    /// Keeps where a statement that is about to be sent puts tagged data.
    pub(crate) async fn carry(
        self: &Arc<Self>,
        account: &AccountName,
        places: &[Carried],
    ) -> Result<Option<Carrying>, CarryError> {
        if places.is_empty() {
            return Ok(None);
        }
        let new: Vec<Carried> = {
            let mut known = lock(&self.known);
            let added = places.iter().filter(|place| known.find(account, place).is_none()).count();
            if known.count + added > COPIES_MAX {
                return Err(CarryError::Full);
            }
            // What another one is about to write is written twice rather than not yet.
            let is_kept = |place: &Carried| known.find(account, place).is_some_and(|found| found.is_kept);
            let new: Vec<_> = places.iter().filter(|place| !is_kept(place)).cloned().collect();
            for place in places {
                known.standing(account, place).pending += 1;
            }
            new
        };
        // Dropped on the way, it leaves its places as they are.
        let carrying = Carrying { copies: self.clone(), account: account.clone(), places: places.to_vec() };
        for carried in new {
            let place = Place { account: account.clone(), carried, is_gone: false };
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
        let gone: Vec<Carried> = {
            let mut known = lock(&self.copies.known);
            let is_gone = |place: &Carried| {
                let standing = known.standing(&self.account, place);
                standing.pending -= 1;
                let is_gone = !standing.is_settled && standing.pending == 0;
                if is_gone {
                    known.remove(&self.account, place);
                }
                is_gone
            };
            places.into_iter().filter(is_gone).collect()
        };
        for carried in gone {
            let place = Place { account: self.account.clone(), carried, is_gone: true };
            if let Err(error) = self.copies.shelf.keep(place).await {
                warn!(%error, "a place without tagged data stays listed from the next start on");
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
            for tag in &carried.tags {
                *places.tags.entry(tag.clone()).or_default() += 1;
            }
        }
        places.by_table.entry(Self::key(carried)).or_default().entry(carried.clone()).or_default()
    }

    fn remove(&mut self, account: &AccountName, carried: &Carried) {
        let Some(places) = self.by_account.get_mut(account) else { return };
        let in_table = places.by_table.get_mut(&Self::key(carried));
        if in_table.and_then(|in_table| in_table.remove(carried)).is_none() {
            return;
        }
        self.count -= 1;
        for tag in &carried.tags {
            if let Some(count) = places.tags.get_mut(tag) {
                *count -= 1;
            }
        }
        places.tags.retain(|_, count| *count > 0);
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
        let carrying = copies.carry(&account(), &[carried(Some("x"), "pii")]).await.unwrap();
        assert_eq!(lock(&shelf.kept).len(), 1);
        assert_eq!(tags_of(&copies, "X"), ["pii"]);
        assert!(tags_of(&copies, "Y").is_empty());
        let (none, anywhere) = copies.beside(&account(), [table("Y")].iter());
        assert_eq!((none.len(), anywhere), (0, BTreeSet::from(["pii".to_owned()])));
        assert!(copies.beside(&AccountName::new("other"), [table("X")].iter()).0.is_empty());
        drop(carrying);
        // A whole schema.
        drop(copies.carry(&account(), &[carried(None, "ssn")]).await.unwrap());
        assert_eq!(tags_of(&copies, "Y"), ["ssn"]);
        // The same again is not written again; after a start all is as it was.
        drop(copies.carry(&account(), &[carried(Some("x"), "pii")]).await.unwrap());
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
        let (one, other) = (copies.carry(&account(), &place).await, copies.carry(&account(), &place).await);
        one.unwrap().unwrap().failed().await;
        assert_eq!(tags_of(&copies, "X"), ["pii"], "the other may put some there");
        other.unwrap().unwrap().failed().await;
        assert!(tags_of(&copies, "X").is_empty());
        let kept = lock(&shelf.kept).clone();
        assert!(kept.last().unwrap().is_gone && Copies::new(kept, shelf).places().is_empty());
        // One that succeeded, or of which nobody knows, leaves it there for ever.
        drop(copies.carry(&account(), &place).await.unwrap());
        copies.carry(&account(), &place).await.unwrap().unwrap().failed().await;
        assert_eq!(tags_of(&copies, "X"), ["pii"]);
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_an_error() {
        let broken = Memory { is_broken: true, ..Memory::default() };
        let copies = Arc::new(Copies::new([], Arc::new(broken)));
        assert!(matches!(
            copies.carry(&account(), &[carried(Some("X"), "pii")]).await,
            Err(CarryError::Shelf(_))
        ));
        let places = (0..COPIES_MAX).map(|n| Place {
            account: account(),
            carried: carried(Some(&n.to_string()), "pii"),
            is_gone: false,
        });
        let full = Arc::new(Copies::new(places, Arc::new(Memory::default())));
        assert!(matches!(full.carry(&account(), &[carried(Some("X"), "pii")]).await, Err(CarryError::Full)));
        // What is listed already is no more than before.
        assert!(full.carry(&account(), &[carried(Some("7"), "pii")]).await.is_ok());
        assert!(full.carry(&account(), &[]).await.unwrap().is_none());
    }
}
