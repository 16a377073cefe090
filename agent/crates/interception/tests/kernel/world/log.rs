//! What is logged on one thread, which is where a test and its agent run.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tracing::{
    Dispatch,
    subscriber::{DefaultGuard, NoSubscriber},
};
use tracing_subscriber::fmt::MakeWriter;

const WAIT_MAX: Duration = Duration::from_secs(60);

/// Lines of the log, shared with whoever writes them.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures until the guard is dropped.
    pub(crate) fn capture(&self) -> DefaultGuard {
        // While there is one subscriber in a process, whether a line interests anybody is asked of the thread that writes
        // it first, and remembered: a test beside this one, which has none, would silence it here. With two, all are asked.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(NoSubscriber::default()));
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(self.clone()).finish();
        tracing::subscriber::set_default(subscriber)
    }

    /// How many lines hold `text`, once one does.
    pub(crate) async fn lines_with(&self, text: &str) -> usize {
        let count = || String::from_utf8_lossy(&self.0.lock().unwrap()).matches(text).count();
        let appeared = async {
            while count() == 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = timeout(WAIT_MAX, appeared).await;
        assert!(waited.is_ok(), "{text:?} is not in {}", String::from_utf8_lossy(&self.0.lock().unwrap()));
        count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
