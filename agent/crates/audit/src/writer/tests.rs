//! A disk that fails, in each of the ways in which one does.

use std::{
    fs::OpenOptions,
    sync::atomic::{AtomicUsize, Ordering},
    thread::{self, ThreadId},
};

use super::*;
use crate::{Journal, event::Stop};

fn stop() -> Event {
    Stop { reason: "x".to_owned() }.into()
}

fn journal(medium: impl Medium) -> Journal {
    let writer = Writer::new(medium, Head::genesis(), || Timestamp::from_unix_seconds(0));
    Journal::spawn(writer, ()).unwrap()
}

/// Takes some bytes and some flushes, and then no more, until it is mended.
struct Failing {
    appends: usize,
    flushes: usize,
    tried: Arc<AtomicUsize>,
}

impl Medium for Failing {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        self.tried.fetch_add(1, Ordering::SeqCst);
        let left = self.appends.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        self.appends = left;
        Ok(())
    }

    fn flush_to_disk(&mut self) -> io::Result<()> {
        let left = self.flushes.checked_sub(1).ok_or(io::ErrorKind::Other)?;
        self.flushes = left;
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_names_the_reason() {
    let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let journal = journal(full);
    for _ in 0..2 {
        let error = journal.append(stop()).await.unwrap_err();
        assert!(matches!(error, Error::Failed(_)));
        assert!(error.to_string().contains("No space left on device"), "{error}");
    }
    assert!(journal.failure().is_some());
    assert_eq!(journal.head(), Head::genesis());
    assert!(matches!(journal.stop("end").await, Err(Error::Failed(_))));
}

#[tokio::test]
async fn after_one_failure_nothing_is_tried_again() {
    for (appends, flushes) in [(1, 9), (9, 1)] {
        let tried = Arc::new(AtomicUsize::new(0));
        let journal = journal(Failing { appends, flushes, tried: Arc::clone(&tried) });
        assert_eq!(journal.append(stop()).await.unwrap(), 1);
        for _ in 0..3 {
            assert!(matches!(journal.append(stop()).await, Err(Error::Failed(_))));
        }
        assert_eq!(tried.load(Ordering::SeqCst), 2);
        assert_eq!(journal.head().seq, 1, "the head is what is durable");
    }
}

#[tokio::test]
async fn everyone_in_a_batch_is_told_of_its_failure() {
    let journal = journal(Failing { appends: 0, flushes: 0, tried: Arc::default() });
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.append(stop()).await })
        })
        .collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Err(Error::Failed(_))));
    }
}

#[test]
fn a_start_that_cannot_be_written_is_an_error() {
    for (appends, flushes) in [(0, 0), (1, 0)] {
        let failing = Failing { appends, flushes, tried: Arc::default() };
        let mut writer = Writer::new(failing, Head::genesis(), || Timestamp::from_unix_seconds(0));
        assert!(matches!(writer.write_now([stop()]), Err(Error::Failed(_))));
    }
}

/// Takes everything, and tells which threads brought it.
struct Watched {
    flush: Duration,
    threads: mpsc::Sender<ThreadId>,
}

impl Medium for Watched {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        self.threads.send(thread::current().id()).map_err(io::Error::other)
    }

    fn flush_to_disk(&mut self) -> io::Result<()> {
        // As long as the disk takes that it stands for.
        thread::sleep(self.flush);
        Ok(())
    }
}

#[tokio::test]
async fn who_comes_alone_writes_himself_if_the_disk_is_quick() {
    let (own, slow) = (thread::current().id(), QUICK_FLUSH_MAX * 2);
    for (flush, writes_himself) in [(Duration::ZERO, true), (slow, false)] {
        let (threads, wrote) = mpsc::channel();
        let journal = journal(Watched { flush, threads });
        // Nobody knows how quick a disk is before the first flush.
        journal.append(stop()).await.unwrap();
        assert_ne!(wrote.recv().unwrap(), own);
        for seq in 2..5 {
            assert_eq!(journal.append(stop()).await.unwrap(), seq);
            assert_eq!(wrote.recv().unwrap() == own, writes_himself, "{flush:?}");
        }
    }
}

#[test]
fn who_comes_later_does_not_write_before_those_who_wait() {
    let (threads, _wrote) = mpsc::channel();
    let medium = Watched { flush: Duration::ZERO, threads };
    let mut writer = Writer::new(medium, Head::genesis(), || Timestamp::from_unix_seconds(0));
    assert!(!writer.is_free(), "how quick the disk is has to be seen first");
    writer.write_now([stop()]).unwrap();
    assert!(writer.is_free());
    writer.waiting().fetch_add(1, Ordering::SeqCst);
    assert!(!writer.is_free());
}

#[tokio::test]
async fn after_a_panic_in_the_middle_nothing_is_written_any_more() {
    for left in 0..2 {
        let journal = journal(Panicking { left });
        for _ in 0..left {
            journal.append(stop()).await.unwrap();
        }
        let again = journal.clone();
        let task = tokio::spawn(async move { again.append(stop()).await });
        // In the thread that writes, or in the task itself.
        assert!(matches!(task.await, Err(_) | Ok(Err(Error::Stopped))));
        assert!(matches!(journal.append(stop()).await, Err(Error::Stopped)));
    }
}

/// Takes so many entries, and no more.
struct Panicking {
    left: usize,
}

impl Medium for Panicking {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(1).expect("a test wants this");
        Ok(())
    }

    fn flush_to_disk(&mut self) -> io::Result<()> {
        Ok(())
    }
}
