//! The journal as its users see it: append, open, close.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use model::{QueryId, SessionId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    chain::Head,
    error::Error,
    event::{Closing, Decision, Event, Intent, Lost, Outcome, Start, Stop},
    folder::Folder,
    recover::{Recovered, recover},
    writer::{Medium, Message, Status, Writer},
};

/// Entries that may wait to be written. Whoever comes then waits for a place.
const WAITING_ENTRIES_MAX: usize = 4096;

/// The record, open for writing. Cheap to clone; all clones write the same one.
#[derive(Clone, Debug)]
pub struct Journal {
    outbox: mpsc::Sender<Message>,
    slots: Arc<Semaphore>,
    status: Arc<Mutex<Status>>,
}

impl Journal {
    /// Opens the record in `dir` (made when missing, for its owner alone), records what a crash left open, and then
    /// that the agent began. `clock` is asked once for each entry, by the thread that writes.
    ///
    /// Blocks while the record is read through: call it before there is anything to hold up.
    ///
    /// # Errors
    /// When another process writes it, when it is damaged in a way that no crash explains, or when the disk fails.
    pub fn start(
        dir: &Path,
        start: Start,
        clock: impl Fn() -> Timestamp + Send + 'static,
    ) -> Result<Self, Error> {
        let folder = Folder::lock(dir)?;
        let Recovered { head, length, events } = recover(&folder)?;
        if !events.is_empty() {
            tracing::warn!(entries = events.len(), "the agent before this one did not end in order");
        }
        let mut writer = Writer::new(folder.entries(length)?, head, clock);
        writer.write_now(std::iter::once(Event::Start(start)).chain(events))?;
        Self::spawn(writer, folder)
    }

    pub(crate) fn spawn<M: Medium>(writer: Writer<M>, held: impl Send + 'static) -> Result<Self, Error> {
        let (outbox, inbox) = mpsc::channel();
        let status = writer.status();
        let work = move || {
            let last = writer.run(&inbox);
            // First the lock, then the word that it is over: whoever hears it can open the record again.
            drop((held, inbox));
            if let Some((reply, result)) = last {
                drop(reply.send(result));
            }
        };
        let spawned = thread::Builder::new().name("audit-writer".to_owned()).spawn(work);
        spawned.map_err(|error| Error::Failed(error.to_string().into()))?;
        Ok(Self { outbox, slots: Arc::new(Semaphore::new(WAITING_ENTRIES_MAX)), status })
    }

    /// Records an event and returns its position once it is durable. Of an exchange, only one that was not permitted
    /// is recorded so: a permitted one is [opened](Self::open).
    ///
    /// # Errors
    /// When it could not be made durable: whatever it stood for must not be done.
    pub async fn append(&self, event: impl Into<Event>) -> Result<u64, Error> {
        let slot = self.slot().await?;
        heard(self.send(event.into(), Some(slot), false)?.await)
    }

    /// Makes an intent durable. What it speaks of may go upstream only with the receipt in hand.
    ///
    /// # Errors
    /// When its verdict does not permit it, or when it could not be made durable.
    pub async fn open(&self, intent: impl Into<Intent>) -> Result<Receipt, Error> {
        let intent = intent.into();
        if intent.decision() != Decision::Permitted {
            return Err(Error::NotPermitted);
        }
        let slot = self.slot().await?;
        let (session, query) = (intent.session(), intent.query());
        let sent = self.send(intent.into(), Some(slot), false)?;
        // From here on the intent may be on the disk, so from here on there is a receipt to be dropped.
        let mut receipt = Receipt { journal: self.clone(), session, query, seq: 0, closed: false };
        match heard(sent.await) {
            Ok(seq) => {
                receipt.seq = seq;
                Ok(receipt)
            }
            Err(error) => {
                receipt.closed = true;
                Err(error)
            }
        }
    }

    /// Records that the agent ends, and lets the record go. What is sent afterwards is refused.
    ///
    /// # Errors
    /// When that could not be made durable.
    pub async fn stop(&self, reason: &str) -> Result<u64, Error> {
        let slot = self.slot().await?;
        heard(self.send(Stop { reason: reason.to_owned() }.into(), Some(slot), true)?.await)
    }

    /// The last durable entry.
    #[must_use]
    pub fn head(&self) -> Head {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).head.clone()
    }

    /// Why nothing is recorded any more, when that is so.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<str>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).failure.clone()
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Error::Stopped)
    }

    fn send(
        &self,
        event: Event,
        slot: Option<OwnedSemaphorePermit>,
        last: bool,
    ) -> Result<oneshot::Receiver<Result<u64, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        let message = Message { event, reply: Some(reply), slot, last };
        self.outbox.send(message).map_err(|_| Error::Stopped)?;
        Ok(answer)
    }
}

/// A writer that is gone does not answer.
fn heard(answer: Result<Result<u64, Error>, oneshot::error::RecvError>) -> Result<u64, Error> {
    answer.unwrap_or(Err(Error::Stopped))
}

/// The intent is durable. Made by [`Journal::open`] alone, and closed once.
///
/// Dropped without being closed, it has the outcome recorded as [`Outcome::Lost`], without waiting for it.
#[derive(Debug)]
#[must_use = "close it with the outcome, or the exchange is recorded as lost"]
pub struct Receipt {
    journal: Journal,
    session: SessionId,
    query: QueryId,
    seq: u64,
    closed: bool,
}

impl Receipt {
    /// The exchange it is for.
    #[must_use]
    pub fn query_id(&self) -> QueryId {
        self.query
    }

    /// The session it belongs to.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.session
    }

    /// Position of the intent in the record.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Makes the outcome durable and returns its position. The client may have its last byte only afterwards.
    ///
    /// # Errors
    /// When it could not be made durable: the client must not get the answer.
    pub async fn close(mut self, outcome: impl Into<Outcome>) -> Result<u64, Error> {
        let slot = self.journal.slot().await?;
        // No await between these two: a task that is dropped while it waits has either said nothing or everything.
        self.closed = true;
        let sent = self.journal.send(self.closing(outcome.into()), Some(slot), false)?;
        heard(sent.await)
    }

    fn closing(&self, outcome: Outcome) -> Event {
        Event::Outcome(Closing { session: self.session, query: self.query, outcome })
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.closed {
            let event = self.closing(Lost { reason: "the exchange was abandoned".to_owned() }.into());
            // A journal that is gone finds the open intent at its next start.
            drop(self.journal.outbox.send(Message { event, reply: None, slot: None, last: false }));
        }
    }
}
