//! The cache of minted leaves: bounded, one mint per name however many ask at once, renewed before they end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use model::HostName;
use rustls::sign::CertifiedKey;

use crate::profile::Validity;

/// Names a cache holds. A host guards a handful; the bound is for a client that invents names below a guarded one.
pub(crate) const LEAVES_MAX: usize = 1024;

/// A leaf with its key and chain, and the time it is good for.
#[derive(Debug, Clone)]
pub(crate) struct Minted {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) validity: Validity,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Leaves {
    names: Mutex<Names>,
    leaves_max: usize,
}

#[derive(Debug, Default)]
struct Names {
    slots: HashMap<HostName, Used>,
    /// Counts look-ups, to find the name that was unused for longest.
    tick: u64,
}

#[derive(Debug)]
struct Used {
    slot: Arc<Slot>,
    tick: u64,
}

/// One name. Its lock is held while its leaf is minted, so that the others wait for that leaf and not for other names'.
type Slot = Mutex<Option<Minted>>;

impl Leaves {
    pub(crate) fn new(leaves_max: usize) -> Self {
        Self { names: Mutex::default(), leaves_max }
    }

    /// The leaf for `name`, minted by `mint` when there is none or the one there is past half of its life. When minting
    /// fails, a leaf that is still valid serves on.
    pub(crate) fn get<E>(
        &self,
        name: &HostName,
        now: SystemTime,
        mint: impl FnOnce() -> Result<Minted, E>,
    ) -> Result<Arc<CertifiedKey>, E> {
        let slot = lock(&self.names).slot(name, self.leaves_max);
        let mut slot = lock(&slot);
        if let Some(minted) = slot.as_ref().filter(|m| m.validity.is_fresh(now)) {
            return Ok(Arc::clone(&minted.key));
        }
        match (mint(), slot.as_ref()) {
            (Ok(minted), _) => Ok(Arc::clone(&slot.insert(minted).key)),
            (Err(_), Some(old)) if old.validity.holds(now) => Ok(Arc::clone(&old.key)),
            (Err(error), _) => Err(error),
        }
    }
}

impl Names {
    fn slot(&mut self, name: &HostName, leaves_max: usize) -> Arc<Slot> {
        self.tick += 1;
        let tick = self.tick;
        if let Some(used) = self.slots.get_mut(name) {
            used.tick = tick;
            return Arc::clone(&used.slot);
        }
        if self.slots.len() >= leaves_max {
            let oldest = self.slots.iter().min_by_key(|(_, used)| used.tick).map(|(name, _)| name.clone());
            oldest.and_then(|name| self.slots.remove(&name));
        }
        let slot = Arc::new(Slot::default());
        self.slots.insert(name.clone(), Used { slot: Arc::clone(&slot), tick });
        slot
    }
}

/// A panic elsewhere cannot leave these maps half-changed, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use super::*;
    use crate::{
        profile::LEAF_LIFE,
        testing::{any_key, name},
    };

    fn minted(now: SystemTime) -> Minted {
        Minted { key: any_key(), validity: Validity::starting(now, LEAF_LIFE).unwrap() }
    }

    fn count(leaves: &Leaves, text: &str, now: SystemTime) -> usize {
        let mut mints = 0;
        let mint = || {
            mints += 1;
            Ok::<_, Infallible>(minted(now))
        };
        leaves.get(&name(text), now, mint).unwrap();
        mints
    }

    #[test]
    fn many_who_ask_at_once_get_one_leaf() {
        let leaves = Leaves::new(8);
        let (mints, now) = (AtomicUsize::new(0), SystemTime::now());
        let ask = || {
            let mint = || {
                mints.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(30));
                Ok::<_, Infallible>(minted(now))
            };
            leaves.get(&name("a.example"), now, mint).unwrap()
        };
        let keys: Vec<_> = thread::scope(|scope| {
            let asking: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(mints.load(Ordering::SeqCst), 1);
        assert!(keys.iter().all(|key| Arc::ptr_eq(key, &keys[0])));
    }

    #[test]
    fn a_leaf_is_renewed_past_half_of_its_life_and_when_the_clock_was_set_back() {
        let (leaves, now) = (Leaves::new(8), SystemTime::now());
        assert_eq!(count(&leaves, "a.example", now), 1);
        assert_eq!(count(&leaves, "a.example", now + LEAF_LIFE / 3), 0);
        assert_eq!(count(&leaves, "a.example", now + LEAF_LIFE / 2), 1);
        assert_eq!(count(&leaves, "a.example", now - LEAF_LIFE), 1);
    }

    #[test]
    fn the_name_unused_for_longest_makes_room() {
        let (leaves, now) = (Leaves::new(2), SystemTime::now());
        for (text, mints) in
            [("a.example", 1), ("b.example", 1), ("a.example", 0), ("c.example", 1), ("a.example", 0)]
        {
            assert_eq!(count(&leaves, text, now), mints, "{text}");
        }
        assert_eq!(count(&leaves, "b.example", now), 1, "it had to go");
        assert_eq!(lock(&leaves.names).slots.len(), 2);
    }

    #[test]
    fn a_failed_renewal_serves_the_old_leaf_while_it_is_valid() {
        let (leaves, now) = (Leaves::new(8), SystemTime::now());
        assert!(leaves.get(&name("a.example"), now, || Err::<Minted, _>(())).is_err());
        assert_eq!(count(&leaves, "a.example", now), 1);
        assert!(leaves.get(&name("a.example"), now + LEAF_LIFE * 2 / 3, || Err::<Minted, _>(())).is_ok());
        assert!(leaves.get(&name("a.example"), now + LEAF_LIFE * 2, || Err::<Minted, _>(())).is_err());
    }
}
