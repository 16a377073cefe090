//! The one thread that writes. It takes what has gathered, writes it, flushes once, and only then tells each sender.
//! After a failure nothing is written any more: what a failed flush left on the disk is not known.

use std::{
    fs::File,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError, mpsc},
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

pub(crate) struct Writer<M> {
    medium: M,
    /// The last entry that was put into a batch.
    head: Head,
    clock: Box<dyn Fn() -> Timestamp + Send>,
    status: Arc<Mutex<Status>>,
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    waiting: Vec<(u64, Option<Reply>, Option<OwnedSemaphorePermit>)>,
}

impl<M: Medium> Writer<M> {
    pub(crate) fn new(medium: M, head: Head, clock: impl Fn() -> Timestamp + Send + 'static) -> Self {
        let status = Arc::new(Mutex::new(Status { head: head.clone(), failure: None }));
        Self { medium, head, clock: Box::new(clock), status }
    }

    pub(crate) fn status(&self) -> Arc<Mutex<Status>> {
        Arc::clone(&self.status)
    }

    /// Writes events before there is anybody else, in one batch.
    pub(crate) fn write_now(&mut self, events: impl IntoIterator<Item = Event>) -> Result<(), Error> {
        for event in events {
            let (mut line, head) = self.head.append((self.clock)(), event)?;
            line.push(b'\n');
            self.medium.append(&line).map_err(|error| self.fail(&error))?;
            self.head = head;
        }
        self.medium.flush_to_disk().map_err(|error| self.fail(&error))?;
        self.publish();
        Ok(())
    }

    /// Works until every sender is gone, or the last message came. Returns who waits for the end, and what they are
    /// to be told once everything is let go.
    pub(crate) fn run(mut self, inbox: &mpsc::Receiver<Message>) -> Option<(Reply, Result<u64, Error>)> {
        while let Ok(first) = inbox.recv() {
            let mut batch = Batch::default();
            let mut next = Some(first);
            while let Some(mut message) = next {
                if message.last {
                    let reply = message.reply.take();
                    self.take(message, &mut batch);
                    let seq = self.head.seq;
                    let failure = self.write(batch).err();
                    return reply
                        .map(|reply| (reply, failure.map_or(Ok(seq), |why| Err(Error::Failed(why)))));
                }
                self.take(message, &mut batch);
                next = if batch.bytes.len() < BATCH_BYTES_FULL { inbox.try_recv().ok() } else { None };
            }
            // Each sender was told; the reason stays in the status.
            drop(self.write(batch));
        }
        None
    }

    fn take(&mut self, message: Message, batch: &mut Batch) {
        let refusal = match self.failure() {
            Some(why) => Error::Failed(why),
            None => match self.head.append((self.clock)(), message.event) {
                Ok((line, head)) => {
                    batch.bytes.extend_from_slice(&line);
                    batch.bytes.push(b'\n');
                    self.head = head;
                    batch.waiting.push((self.head.seq, message.reply, message.slot));
                    return;
                }
                Err(error) => error,
            },
        };
        answer(message.reply, Err(refusal));
    }

    fn write(&mut self, batch: Batch) -> Result<(), Arc<str>> {
        if let Some(why) = self.failure() {
            return Err(why);
        }
        if batch.waiting.is_empty() {
            return Ok(());
        }
        let written = self.medium.append(&batch.bytes).and_then(|()| self.medium.flush_to_disk());
        match written {
            Ok(()) => {
                self.publish();
                batch.waiting.into_iter().for_each(|(seq, reply, _slot)| answer(reply, Ok(seq)));
                Ok(())
            }
            Err(error) => {
                let why = self.note_failure(&error);
                let told = batch.waiting.into_iter();
                told.for_each(|(_, reply, _slot)| answer(reply, Err(Error::Failed(Arc::clone(&why)))));
                Err(why)
            }
        }
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

/// Tells a sender, if there is one and it still waits.
fn answer(reply: Option<Reply>, result: Result<u64, Error>) {
    match reply {
        Some(reply) => drop(reply.send(result)),
        None => {
            if let Err(error) = result {
                tracing::error!(%error, "the loss of an exchange could not be recorded");
            }
        }
    }
}

#[cfg(test)]
mod tests;
