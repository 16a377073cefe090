//! A disk that fails, in each of the ways in which one does.

use std::{
    fs::OpenOptions,
    sync::atomic::{AtomicUsize, Ordering},
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
