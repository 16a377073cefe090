//! A bounded place for reads that can hang, with a deadline on each.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// Processes that are looked at together.
const TOGETHER_MAX: usize = 64;

/// Blocking work is done here.
#[derive(Debug)]
pub(crate) struct Pool {
    places: Arc<Semaphore>,
    deadline: Duration,
}

/// The work was not done in time. It may still hang, and keeps its place until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work was not done in time")]
pub(crate) struct Late;

impl Pool {
    /// `deadline` bounds waiting for a place and the work together.
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(TOGETHER_MAX)), deadline }
    }

    /// Does the work elsewhere and waits for it, but not longer than the deadline.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Late> {
        let places = Arc::clone(&self.places);
        let done = async {
            let place = places.acquire_owned().await.map_err(|_| Late)?;
            let work = spawn_blocking(move || {
                let result = work();
                drop(place);
                result
            });
            work.await.map_err(|_| Late)
        };
        timeout(self.deadline, done).await.unwrap_or(Err(Late))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_is_done_or_late() {
        let pool = Pool::new(Duration::from_millis(100));
        assert_eq!(pool.run(|| 7).await, Ok(7));
        let (release, wait) = mpsc::channel::<()>();
        assert_eq!(pool.run(move || wait.recv().is_ok()).await, Err(Late));
        drop(release);
        assert_eq!(pool.run(|| -> u32 { panic!("on purpose") }).await, Err(Late));
        assert_eq!(pool.run(|| 8).await, Ok(8), "a panic gives its place back");
    }

    #[tokio::test]
    async fn hanging_work_keeps_its_place_so_that_threads_stay_bounded() {
        let pool = Pool::new(Duration::from_millis(50));
        let mut releases = Vec::new();
        let mut hanging = tokio::task::JoinSet::new();
        let pool = Arc::new(pool);
        for _ in 0..TOGETHER_MAX {
            let (release, wait) = mpsc::channel::<()>();
            releases.push(release);
            let pool = Arc::clone(&pool);
            hanging.spawn(async move { pool.run(move || wait.recv().is_ok()).await });
        }
        while let Some(late) = hanging.join_next().await {
            assert_eq!(late.unwrap(), Err(Late));
        }
        assert_eq!(pool.run(|| 7).await, Err(Late), "all places are taken");
        releases.clear();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}
