//! What the kernel programs say at once, read from their ring buffer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    time::Duration,
};

use agent_common::{Event, EventKind};
use aya::maps::{Map, MapData, RingBuf};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    error::{Error, MapFault},
    listeners::Table,
    object,
};

/// Events that may wait for whoever asks for them. Beyond it they are lost, and counted.
const WAITING_MAX: usize = 4_096;
/// Longest that a process is paused, and how often it is looked whether it may go on.
const PAUSE_MAX: Duration = Duration::from_secs(2);
const PAUSE_STEP: Duration = Duration::from_millis(1);

/// The task that reads, and what it has read. The task ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Events {
    waiting: Mutex<mpsc::Receiver<Event>>,
    lost: Arc<AtomicU64>,
    reading: JoinHandle<()>,
}

impl Events {
    /// Events of unknown namespaces go to `unknown`; who is paused goes on once one of `listeners` is there.
    pub(crate) fn start(map: Map, unknown: SyncSender<Event>, listeners: Arc<Table>) -> Result<Self, Error> {
        let ring: RingBuf<MapData> = map.try_into().map_err(MapFault::of(object::EVENTS))?;
        // SAFETY: the descriptor is that of the ring buffer's map, which the value owns and never replaces.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| Error::Events(error.into()))?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let reading = tokio::spawn(read(ring, Ways { unknown, others: sender, listeners }, lost.clone()));
        Ok(Self { waiting: Mutex::new(receiver), lost, reading })
    }

    /// The next event. For ever, if the ring buffer cannot be read any more, which was logged.
    pub(crate) async fn next(&self) -> Event {
        match self.waiting.lock().await.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// How many were read and not waited for. What found no room in the kernel is counted there.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Where events go, by their kind.
struct Ways {
    listeners: Arc<Table>,
    unknown: SyncSender<Event>,
    others: mpsc::Sender<Event>,
}

impl Ways {
    /// Whether there was room for it.
    fn send(&self, kind: EventKind, event: Event) -> bool {
        match kind {
            EventKind::UnknownNamespace => self.unknown.try_send(event).is_ok(),
            EventKind::GuardedName => self.others.try_send(event).is_ok(),
            EventKind::Paused => {
                // Whatever becomes of the listener: who was stopped goes on.
                tokio::spawn(go_on(event, self.listeners.clone()));
                self.unknown.try_send(event).is_ok()
            }
        }
    }
}

/// Lets a paused process go on once the agent listens in its namespace, or cannot in time.
async fn go_on(event: Event, listeners: Arc<Table>) {
    let is_there = async {
        while !listeners.serves(event.netns_cookie) {
            sleep(PAUSE_STEP).await;
        }
    };
    if timeout(PAUSE_MAX, is_there).await.is_err() {
        tracing::warn!(pid = event.pid, "cannot listen where a process was paused: its connect is refused");
    }
    let continued = kill(Pid::from_raw(event.pid.cast_signed()), Signal::SIGCONT);
    // One that was killed meanwhile has no use for it.
    if let Err(error) = continued
        && error != Errno::ESRCH
    {
        tracing::error!(pid = event.pid, %error, "a process that was paused cannot go on");
    }
}

async fn read(mut ring: AsyncFd<RingBuf<MapData>>, ways: Ways, lost: Arc<AtomicU64>) {
    loop {
        let mut ready = match ring.readable_mut().await {
            Ok(ready) => ready,
            Err(error) => {
                tracing::error!(%error, "the kernel programs' events cannot be read any more");
                return;
            }
        };
        while let Some(entry) = ready.get_inner_mut().next() {
            let event = Event::from_bytes(&entry).and_then(|event| Some((event.kind()?, event)));
            let Some((kind, event)) = event else {
                tracing::warn!("an event of another build of the kernel programs");
                continue;
            };
            if !ways.send(kind, event) {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        ready.clear_ready();
    }
}
