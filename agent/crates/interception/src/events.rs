//! What the kernel programs say at once, read from their ring buffer.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc::SyncSender,
};

use agent_common::{Event, EventKind};
use aya::maps::{Map, MapData, RingBuf};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

use crate::{
    error::{Error, MapFault},
    object,
};

/// Events that may wait for whoever asks for them. Beyond it they are lost, and counted.
const WAITING_MAX: usize = 4_096;

/// The task that reads, and what it has read. The task ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Events {
    waiting: Mutex<mpsc::Receiver<Event>>,
    lost: Arc<AtomicU64>,
    reading: JoinHandle<()>,
}

impl Events {
    /// Events of unknown namespaces go to `unknown`.
    pub(crate) fn start(map: Map, unknown: SyncSender<Event>) -> Result<Self, Error> {
        let ring: RingBuf<MapData> = map.try_into().map_err(MapFault::of(object::EVENTS))?;
        // SAFETY: the descriptor is that of the ring buffer's map, which the value owns and never replaces.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| Error::Events(error.into()))?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let reading = tokio::spawn(read(ring, Ways { unknown, others: sender }, lost.clone()));
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
    unknown: SyncSender<Event>,
    others: mpsc::Sender<Event>,
}

impl Ways {
    /// Whether there was room for it.
    fn send(&self, kind: EventKind, event: Event) -> bool {
        match kind {
            EventKind::UnknownNamespace => self.unknown.try_send(event).is_ok(),
            EventKind::GuardedName => self.others.try_send(event).is_ok(),
        }
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
