//! The listeners of every network namespace, and the map by which the programs know of them.
//!
//! A listener keeps its namespace in being, so somebody has to notice when nobody else does: that is `keeper`'s part.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
};

use agent_common::{Event, LISTENERS_MAX, Listener};
use aya::maps::{HashMap, Map, MapData};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use crate::{
    cgroup::Cgroup,
    dialer::Marker,
    error::{Error, MapFault},
    intercepted::Intercepted,
    keeper::Keeper,
    listener::{Desk, Listening},
    object,
    pins::ListenerEntry,
};

/// Connections that were accepted and wait to be served. Few: beyond it they wait in their listener's own queue, and
/// take turns with those of other namespaces.
const WAITING_MAX: usize = 16;

/// Where an agent that runs listens in one network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceListener {
    /// Cookie and ports.
    pub entry: ListenerEntry,
    /// Inode number of the namespace, as `lsns` and `ls -l /proc/PID/ns/net` show it.
    pub inode: u64,
    /// Whether it is the agent's own namespace.
    pub is_home: bool,
}

/// Every listener of this agent. Dropped, none listens.
#[derive(Debug)]
pub(crate) struct Listeners {
    table: Arc<Table>,
    caught: AsyncMutex<mpsc::Receiver<Result<Intercepted, Error>>>,
    home: u64,
}

impl Listeners {
    /// Listens in the caller's namespace on `port`, and in every other one that processes of `cgroup` are in, on ports
    /// that the kernel chooses; from then on follows the events that are put into the answered queue. By the time the
    /// programs know of a listener, it is there and marked. What an earlier run registered is removed last: its listeners
    /// died with it, so that its namespaces are refused until they have a new one.
    pub(crate) fn open(
        port: u16,
        marker: &Marker,
        registry: Map,
        accepted: Map,
        cgroup: &Cgroup,
    ) -> Result<(Self, SyncSender<Event>), Error> {
        let accepted = accepted.try_into().map_err(MapFault::of(object::ACCEPTED))?;
        let registry = registry.try_into().map_err(MapFault::of(object::LISTENERS))?;
        let (sender, caught) = mpsc::channel(WAITING_MAX);
        let desk = Desk::new(accepted, sender);
        let own = Listening::open(port, true, marker, &desk)?;
        let home = own.netns_cookie;
        let table =
            Arc::new(Table(Mutex::new(State { registry, home, places: BTreeMap::new(), closed: false })));
        let listeners = Self { table: table.clone(), caught: AsyncMutex::new(caught), home };
        let keeper = Keeper::new(table.clone(), marker.clone(), desk, cgroup)?;
        table.put(own, keeper.home_inode())?;
        let events = keeper.start()?;
        table.forget_others()?;
        Ok((listeners, events))
    }

    /// The port on `127.0.0.1` in the agent's own namespace.
    pub(crate) fn port(&self) -> u16 {
        self.table.lock().places.get(&self.home).map_or(0, |place| place.listening.ports.port4)
    }

    /// For whoever has to know when a namespace is listened in.
    pub(crate) fn watch(&self) -> Arc<Table> {
        self.table.clone()
    }

    /// The next connection that was redirected to any of them.
    pub(crate) async fn accept(&self) -> Result<Intercepted, Error> {
        match self.caught.lock().await.recv().await {
            Some(caught) => caught,
            // The table holds no sender; listeners do, and the keeper.
            None => std::future::pending().await,
        }
    }

    /// Where this agent listens, in the order of cookies.
    pub(crate) fn list(&self) -> Vec<NamespaceListener> {
        let state = self.table.lock();
        let listed = state.places.iter().map(|(&netns_cookie, place)| {
            let Listener { port4, port6 } = place.listening.ports;
            NamespaceListener {
                entry: ListenerEntry { netns_cookie, port4, port6: (port6 != 0).then_some(port6) },
                inode: place.inode,
                is_home: netns_cookie == state.home,
            }
        });
        listed.collect()
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        let mut state = self.table.lock();
        state.closed = true;
        state.places.clear();
    }
}

/// By namespace: who listens there.
#[derive(Debug)]
pub(crate) struct Table(Mutex<State>);

#[derive(Debug)]
struct State {
    registry: HashMap<MapData, u64, Listener>,
    home: u64,
    places: BTreeMap<u64, Place>,
    /// The agent is ending: nothing is added any more.
    closed: bool,
}

#[derive(Debug)]
struct Place {
    listening: Listening,
    inode: u64,
}

impl Table {
    /// Adds what listens in one namespace, or puts it in the place of what did; then tells the programs. In a full table
    /// the listener that was without a connection for longest makes room: its namespace is refused once when it connects
    /// again, and listened in again.
    pub(crate) fn put(&self, listening: Listening, inode: u64) -> Result<(), MapFault> {
        let mut state = self.lock();
        if state.closed {
            return Ok(());
        }
        let (cookie, ports) = (listening.netns_cookie, listening.ports);
        let is_full = state.places.len() >= LISTENERS_MAX as usize;
        if is_full && !state.places.contains_key(&cookie) {
            let used = state.places.iter().map(|(&cookie, place)| (cookie, place.listening.used_at()));
            if let Some(idle) = most_idle(used, state.home) {
                tracing::error!(
                    max = LISTENERS_MAX,
                    netns_cookie = idle,
                    "too many network namespaces: the longest idle one loses its listener"
                );
                state.remove(idle)?;
            }
        }
        state.places.insert(cookie, Place { listening, inode });
        if let Err(error) = state.registry.insert(cookie, ports, 0) {
            // Full of what an earlier run has left.
            state.forget_others()?;
            tracing::debug!(%error, "made room among the entries of an earlier run");
            state.registry.insert(cookie, ports, 0).map_err(MapFault::of(object::LISTENERS))?;
        }
        Ok(())
    }

    /// Whether a namespace has listeners that take connections.
    pub(crate) fn serves(&self, netns_cookie: u64) -> bool {
        let state = self.lock();
        state.places.get(&netns_cookie).is_some_and(|place| place.listening.is_whole())
    }

    /// Takes away the listeners of which `inode` answers that their namespace has ended, and those that are broken. Never
    /// the agent's own.
    pub(crate) fn retain(&self, mut is_alive: impl FnMut(u64) -> bool) -> Result<(), MapFault> {
        let mut state = self.lock();
        let over = state.places.iter().filter(|(cookie, place)| {
            **cookie != state.home && !(is_alive(place.inode) && place.listening.is_whole())
        });
        let over: Vec<u64> = over.map(|(cookie, _)| *cookie).collect();
        over.into_iter().try_for_each(|cookie| state.remove(cookie))
    }

    /// Inode numbers of the namespaces that are listened in.
    pub(crate) fn inodes(&self) -> Vec<u64> {
        self.lock().places.values().map(|place| place.inode).collect()
    }

    fn forget_others(&self) -> Result<(), MapFault> {
        self.lock().forget_others()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The programs first: a connect in between is refused, and not sent to a listener that is about to go.
    fn remove(&mut self, netns_cookie: u64) -> Result<(), MapFault> {
        self.registry.remove(&netns_cookie).map_err(MapFault::of(object::LISTENERS))?;
        self.places.remove(&netns_cookie);
        Ok(())
    }

    fn forget_others(&mut self) -> Result<(), MapFault> {
        let fault = MapFault::of(object::LISTENERS);
        let registered = self.registry.keys().collect::<Result<Vec<_>, _>>().map_err(&fault)?;
        for cookie in registered {
            if !self.places.contains_key(&cookie) {
                self.registry.remove(&cookie).map_err(&fault)?;
            }
        }
        Ok(())
    }
}

/// Whom to take the listener from in a full table; never from `home`.
fn most_idle(used: impl Iterator<Item = (u64, u64)>, home: u64) -> Option<u64> {
    used.filter(|(cookie, _)| *cookie != home).min_by_key(|(_, used_at)| *used_at).map(|(cookie, _)| cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_full_table_the_longest_idle_makes_room_and_never_the_agents_own() {
        assert_eq!(most_idle([(1, 10), (2, 30), (3, 20)].into_iter(), 1), Some(3));
        assert_eq!(most_idle([(1, 10)].into_iter(), 1), None);
    }
}
