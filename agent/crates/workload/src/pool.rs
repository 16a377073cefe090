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
        Self::with_places(TOGETHER_MAX, deadline)
    }

    /// For work of which only so much is done together.
    pub(crate) fn with_places(places: usize, deadline: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), deadline }
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

    /// Longer than any work takes that ends.
    const PATIENT: Duration = Duration::from_secs(60);
    /// Soon over, for work that does not end.
    const HASTY: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn work_is_done_or_late() {
        assert_eq!(Pool::new(PATIENT).run(|| 7).await, Ok(7));
        let (_release, wait) = mpsc::channel::<()>();
        // The work ends with the test, because the sender does.
        assert_eq!(Pool::new(HASTY).run(move || wait.recv().is_ok()).await, Err(Late));
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_place_back() {
        let pool = Pool::new(PATIENT);
        for _ in 0..=TOGETHER_MAX {
            assert_eq!(pool.run(|| -> u32 { panic!("on purpose") }).await, Err(Late));
        }
        assert_eq!(pool.run(|| 8).await, Ok(8));
    }

    #[tokio::test]
    async fn hanging_work_keeps_its_place_so_that_threads_stay_bounded() {
        let pool = Arc::new(Pool::new(HASTY));
        let mut releases = Vec::new();
        let mut hanging = tokio::task::JoinSet::new();
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
        let freed = async { while pool.run(|| 7).await.is_err() {} };
        timeout(PATIENT, freed).await.expect("the places are not given back");
    }
}
