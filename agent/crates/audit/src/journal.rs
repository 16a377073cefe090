//! The journal as its users see it: append, open, close.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
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
    writer::{self, Message, Pen, Status, Writer},
};

/// Entries that may wait to be written. Whoever comes then waits for a place.
const WAITING_ENTRIES_MAX: usize = 4096;

/// The record, open for writing. Cheap to clone; all clones write the same one.
#[derive(Clone, Debug)]
pub struct Journal {
    pen: Arc<Pen>,
    /// To the thread that writes when one cannot do it oneself.
    outbox: mpsc::Sender<Message>,
    waiting: Arc<AtomicUsize>,
    slots: Arc<Semaphore>,
    status: Arc<Mutex<Status>>,
}

impl Journal {
    /// Opens the record in `dir` (made when missing, for its owner alone), records what a crash left open, and then
    /// that the agent began. `clock` is asked once for each entry, by whoever writes it.
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

    pub(crate) fn spawn(writer: Writer, held: impl Send + 'static) -> Result<Self, Error> {
        let (outbox, inbox) = mpsc::channel();
        let (status, waiting) = (writer.status(), writer.waiting());
        let pen = Arc::new(Mutex::new(Some(writer)));
        let work = {
            let pen = Arc::clone(&pen);
            move || {
                let last = writer::run(&pen, &inbox);
                // First the lock, then the word that it is over: whoever hears it can open the record again.
                drop((held, inbox));
                if let Some(told) = last {
                    told.tell();
                }
            }
        };
        let spawned = thread::Builder::new().name("audit-writer".to_owned()).spawn(work);
        spawned.map_err(|error| Error::Failed(error.to_string().into()))?;
        Ok(Self { pen, outbox, waiting, slots: Arc::new(Semaphore::new(WAITING_ENTRIES_MAX)), status })
    }

    /// Records an event and returns its position once it is durable. Of an exchange, only one that was not permitted
    /// is recorded so: a permitted one is [opened](Self::open).
    ///
    /// # Errors
    /// When it could not be made durable: whatever it stood for must not be done.
    pub async fn append(&self, event: impl Into<Event>) -> Result<u64, Error> {
        let event = match self.write(event.into()) {
            Break(written) => return written,
            Continue(event) => event,
        };
        let slot = self.slot().await?;
        heard(self.send(event, Some(slot), false)?.await)
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
        let (session, query) = (intent.session(), intent.query());
        let intent = match self.write(intent.into()) {
            Break(written) => {
                return written.map(|seq| Receipt {
                    journal: self.clone(),
                    session,
                    query,
                    seq,
                    closed: false,
                });
            }
            Continue(intent) => intent,
        };
        let slot = self.slot().await?;
        let sent = self.send(intent, Some(slot), false)?;
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

    /// Writes an event here and now, if nobody writes or waits to and the disk is quick. Otherwise gives it back, to be
    /// [sent](Self::send).
    fn write(&self, event: Event) -> ControlFlow<Result<u64, Error>, Event> {
        let Ok(mut held) = self.pen.try_lock() else { return Continue(event) };
        match held.as_mut() {
            None => Break(Err(Error::Stopped)),
            Some(writer) if writer.is_free() => Break(writer.write_now([event])),
            Some(_) => Continue(event),
        }
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
        self.put(message)?;
        Ok(answer)
    }

    fn put(&self, message: Message) -> Result<(), Error> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.outbox.send(message).map_err(|_| Error::Stopped)
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
        let event = match self.journal.write(self.closing(outcome.into())) {
            Break(written) => {
                self.closed = true;
                return written;
            }
            Continue(event) => event,
        };
        let slot = self.journal.slot().await?;
        // No await between these two: a task that is dropped while it waits has either said nothing or everything.
        self.closed = true;
        let sent = self.journal.send(event, Some(slot), false)?;
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
            drop(self.journal.put(Message { event, reply: None, slot: None, last: false }));
        }
    }
}
