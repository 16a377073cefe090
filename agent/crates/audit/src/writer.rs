//! Who writes. There is one writer, and whoever holds it writes. A thread takes what has gathered, writes it, flushes once,
//! and only then tells each sender. Who comes alone, to a disk that is quick, writes himself and is back sooner than that
//! thread would be awake.
//! After a failure nothing is written any more: what a failed flush left on the disk is not known.

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use model::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    chain::{ENTRY_BYTES_MAX, Head},
    error::Error,
    event::Event,
};

/// A batch is written when it is this long, whatever still waits.
const BATCH_BYTES_FULL: usize = 1 << 20;
/// No batch is longer: the last entry of a full one may be the longest there is.
pub(crate) const BATCH_BYTES_MAX: usize = BATCH_BYTES_FULL + ENTRY_BYTES_MAX + 1;

/// Until a flush takes longer than this, whoever comes alone waits for it himself. It holds up one of the threads that move
/// connections; to wake another thread and to be woken by it takes a good part of that.
const QUICK_FLUSH_MAX: Duration = Duration::from_micros(250);

/// What a writer needs of a file.
pub(crate) trait Medium: Send + 'static {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn flush_to_disk(&mut self) -> io::Result<()>;
}

impl Medium for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn flush_to_disk(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

pub(crate) type Reply = oneshot::Sender<Result<u64, Error>>;

/// Something to be recorded.
pub(crate) struct Message {
    pub(crate) event: Event,
    /// Who waits to hear that it is durable. Nobody waits for what a dropped receipt says.
    pub(crate) reply: Option<Reply>,
    /// The sender's place in the queue, given back when the message is done with.
    pub(crate) slot: Option<OwnedSemaphorePermit>,
    /// Whether the writer ends after this one.
    pub(crate) last: bool,
}

/// What others may know of the writer.
#[derive(Debug)]
pub(crate) struct Status {
    /// The last entry that is durable.
    pub(crate) head: Head,
    /// Why nothing is recorded any more.
    pub(crate) failure: Option<Arc<str>>,
}

/// The writer, for whoever gets hold of it. None when the record was let go.
pub(crate) type Pen = Mutex<Option<Writer>>;

pub(crate) struct Writer {
    medium: Box<dyn Medium>,
    /// How long the last flush took; none before the first.
    flushed_in: Option<Duration>,
    /// The last entry that was put into a batch.
    head: Head,
    clock: Box<dyn Fn() -> Timestamp + Send>,
    status: Arc<Mutex<Status>>,
    /// How many messages were sent to the thread and are not done with.
    waiting: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Those whose entries are in it.
    waiting: Vec<(u64, Sender)>,
    /// Those whose entries cannot be.
    refused: Vec<Told>,
}

/// Who sent a message: he waits for a reply, and has a place in the queue.
type Sender = (Option<Reply>, Option<OwnedSemaphorePermit>);

/// What somebody is to be told.
pub(crate) struct Told {
    sender: Sender,
    result: Result<u64, Error>,
}

/// What came of a batch. Everybody is told when others can write again.
struct Gathered {
    told: Vec<Told>,
    /// Whether the last message was in it.
    is_last: bool,
}

/// Works until every sender is gone, or the last message came. Returns what its sender is to be told once everything is let
/// go. Whoever panicked in the middle of writing ends it as well.
pub(crate) fn run(pen: &Pen, inbox: &mpsc::Receiver<Message>) -> Option<Told> {
    while let Ok(first) = inbox.recv() {
        let mut held = pen.lock().ok()?;
        let Gathered { mut told, is_last } = held.as_mut()?.gather(first, inbox);
        let last = is_last.then(|| told.pop()).flatten();
        if is_last {
            *held = None;
        }
        drop(held);
        told.into_iter().for_each(Told::tell);
        if is_last {
            return last;
        }
    }
    *pen.lock().ok()? = None;
    None
}

impl Writer {
    pub(crate) fn new(
        medium: impl Medium,
        head: Head,
        clock: impl Fn() -> Timestamp + Send + 'static,
    ) -> Self {
        let status = Arc::new(Mutex::new(Status { head: head.clone(), failure: None }));
        let (medium, clock) = (Box::new(medium), Box::new(clock));
        Self { medium, flushed_in: None, head, clock, status, waiting: Arc::default() }
    }

    pub(crate) fn status(&self) -> Arc<Mutex<Status>> {
        Arc::clone(&self.status)
    }

    pub(crate) fn waiting(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.waiting)
    }

    /// Whether one event can be written at once: nobody is to be overtaken, for what was sent first is written first, and
    /// the disk is quick enough to be waited for.
    pub(crate) fn is_free(&self) -> bool {
        let is_quick = self.flushed_in.is_some_and(|last| last <= QUICK_FLUSH_MAX);
        is_quick && self.waiting.load(Ordering::Acquire) == 0
    }

    /// Writes events at once, in one batch. Returns the position of the last one.
    pub(crate) fn write_now(&mut self, events: impl IntoIterator<Item = Event>) -> Result<u64, Error> {
        if let Some(why) = self.failure() {
            return Err(Error::Failed(why));
        }
        for event in events {
            let (mut line, head) = self.head.append((self.clock)(), event)?;
            line.push(b'\n');
            self.medium.append(&line).map_err(|error| self.fail(&error))?;
            self.head = head;
        }
        self.flush().map_err(|error| self.fail(&error))?;
        self.publish();
        Ok(self.head.seq)
    }

    /// Writes a message and what has gathered behind it. The last message of all is the last one told.
    fn gather(&mut self, first: Message, inbox: &mpsc::Receiver<Message>) -> Gathered {
        let (mut batch, mut next, mut taken, mut is_last) = (Batch::default(), Some(first), 0, false);
        while let Some(message) = next {
            taken += 1;
            is_last = message.last;
            self.take(message, &mut batch);
            let is_full = is_last || batch.bytes.len() >= BATCH_BYTES_FULL;
            next = if is_full { None } else { inbox.try_recv().ok() };
        }
        let told = self.write(batch);
        self.waiting.fetch_sub(taken, Ordering::Release);
        Gathered { told, is_last }
    }

    fn flush(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        self.medium.flush_to_disk()?;
        self.flushed_in = Some(begun.elapsed());
        Ok(())
    }

    fn take(&mut self, message: Message, batch: &mut Batch) {
        let sender = (message.reply, message.slot);
        let refusal = match self.failure() {
            Some(why) => Error::Failed(why),
            None => match self.head.append((self.clock)(), message.event) {
                Ok((line, head)) => {
                    batch.bytes.extend_from_slice(&line);
                    batch.bytes.push(b'\n');
                    self.head = head;
                    batch.waiting.push((self.head.seq, sender));
                    return;
                }
                Err(error) => error,
            },
        };
        batch.refused.push(Told { sender, result: Err(refusal) });
    }

    fn write(&mut self, batch: Batch) -> Vec<Told> {
        let Batch { bytes, waiting, refused: mut told } = batch;
        if waiting.is_empty() {
            return told;
        }
        let written = self.medium.append(&bytes).and_then(|()| self.flush());
        let failure = written.map_err(|error| self.note_failure(&error)).err();
        if failure.is_none() {
            self.publish();
        }
        told.extend(waiting.into_iter().map(|(seq, sender)| {
            let result = failure.clone().map_or(Ok(seq), |why| Err(Error::Failed(why)));
            Told { sender, result }
        }));
        told
    }

    fn publish(&self) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).head.clone_from(&self.head);
    }

    fn failure(&self) -> Option<Arc<str>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).failure.clone()
    }

    fn note_failure(&self, error: &io::Error) -> Arc<str> {
        let why: Arc<str> = error.to_string().into();
        tracing::error!(error = %why, "the record cannot be written: every statement is refused from now on");
        self.status.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(Arc::clone(&why));
        why
    }

    fn fail(&self, error: &io::Error) -> Error {
        Error::Failed(self.note_failure(error))
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Told {
    /// Tells a sender, if there is one and it still waits.
    pub(crate) fn tell(self) {
        match (self.sender, self.result) {
            ((Some(reply), _slot), result) => drop(reply.send(result)),
            ((None, _slot), Ok(_)) => {}
            ((None, _slot), Err(error)) => {
                tracing::error!(%error, "the loss of an exchange could not be recorded");
            }
        }
    }
}

#[cfg(test)]
mod tests;
