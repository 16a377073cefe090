//! Judgements kept for asks that come again: drivers and tools send the same statements again and again.
//!
//! A judgement is made from an [`Asked`] and the policies, and from nothing else, so it is the same as long as the policies
//! are; they hold what is kept, and it goes when they go. No ask is compared by a digest.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use model::{AccountName, Mode};
use sql::Facts;

use crate::{
    Beside, StatementAsk, SupposedAsk,
    decision::{Judged, Permitted},
    who::Who,
};

/// What all that is kept takes, in bytes, with the facts that it stands for.
pub(crate) const KEPT_BYTES_MAX: usize = 8 << 20;

/// A judgement that takes more is not kept.
pub(crate) const KEPT_ONE_BYTES_MAX: usize = 256 << 10;

/// All that a judgement of a statement is made from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) who: Who,
    pub(crate) account: AccountName,
    pub(crate) user: String,
    /// The word for it.
    pub(crate) mode: &'static str,
    pub(crate) facts: These,
    pub(crate) beside: Beside,
}

/// What facts say of statements, which is all of them that a judgement is made from: a text that differs from one that was
/// judged by nothing but a literal is not judged again. Facts never change, and are held here.
#[derive(Debug, Clone)]
pub(crate) struct These(Arc<Facts>);

impl These {
    pub(crate) fn arc(&self) -> Arc<Facts> {
        Arc::clone(&self.0)
    }
}

impl Asked {
    pub(crate) fn new(ask: &StatementAsk<'_>, beside: Beside) -> Self {
        Self {
            who: Who::new(ask.principal),
            account: ask.account.clone(),
            user: ask.user.to_owned(),
            mode: Mode::as_str(ask.mode),
            facts: These(Arc::clone(ask.facts)),
            beside,
        }
    }

    pub(crate) fn supposed(who: Who, ask: &SupposedAsk<'_>, facts: &Arc<Facts>) -> Self {
        Self {
            who,
            account: ask.account.clone(),
            user: ask.user.to_owned(),
            mode: Mode::as_str(ask.mode),
            facts: These(Arc::clone(facts)),
            beside: Beside::default(),
        }
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts.0
    }

    fn size(&self) -> usize {
        let text = self.account.as_str().len() + self.user.len();
        size_of::<Self>() + text + self.who.size() + self.facts.0.size() + self.beside.size()
    }
}

impl PartialEq for These {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.say_the_same_as(&other.0)
    }
}

impl Eq for These {}

impl Hash for These {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash().hash(state);
    }
}

/// The last judgements.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Halves>);

type ByAsk = HashMap<Asked, Judged<Permitted>>;

/// When the newer half is full it becomes the older one, and what is in that is forgotten unless it was asked for since.
#[derive(Debug, Default)]
struct Halves {
    newer: ByAsk,
    /// What the newer half takes.
    bytes: usize,
    older: ByAsk,
}

impl Kept {
    /// The judgement of an ask: the kept one, or what `judge` says, which is kept.
    pub(crate) fn judgement(
        &self,
        asked: Asked,
        judge: impl FnOnce(&Asked) -> Judged<Permitted>,
    ) -> Judged<Permitted> {
        // A panic elsewhere leaves at worst an entry less: no entry is ever changed.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(judged) = lock().find(&asked) {
            return judged;
        }
        let judged = judge(&asked);
        let bytes = asked.size() + judged.as_ref().map_or(0, |permitted| permitted.plan.size());
        if bytes <= KEPT_ONE_BYTES_MAX {
            lock().insert(asked, judged.clone(), bytes);
        }
        judged
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let halves = self.0.lock().unwrap();
        halves.newer.len() + halves.older.len()
    }
}

impl Halves {
    fn find(&mut self, asked: &Asked) -> Option<Judged<Permitted>> {
        if let Some(judged) = self.newer.get(asked) {
            return Some(judged.clone());
        }
        let (asked, judged) = self.older.remove_entry(asked)?;
        let bytes = asked.size() + judged.as_ref().map_or(0, |permitted| permitted.plan.size());
        self.insert(asked, judged.clone(), bytes);
        Some(judged)
    }

    fn insert(&mut self, asked: Asked, judged: Judged<Permitted>, bytes: usize) {
        if self.bytes + bytes > KEPT_BYTES_MAX / 2 {
            self.older = mem::take(&mut self.newer);
            self.bytes = 0;
        }
        // Two that ask the same at one time both come here; its bytes are counted once.
        if self.newer.insert(asked, judged).is_none() {
            self.bytes += bytes;
        }
    }
}
