//! What is known of jobs already, so that a job is asked for its token once and keeps the identity it had first.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use identity::{Job, NobodyReason, Principal};
use model::Timestamp;

use crate::{evidence::JobKey, observed::Registration, process::ProcessKey};

/// Steps and workers that are remembered. A host runs some dozens at a time.
const REMEMBERED_MAX: usize = 4096;
/// A token is asked for again this long before the last one ends, or in half of its time if that is less.
const RENEWED_BEFORE: Duration = Duration::from_secs(60);
/// A refusal stands this long, so that a job which connects in a loop does not make the agent ask in a loop.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// The last answer about one step. Held while the next one is being found, so that it is found once.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Answer>>>;

/// A principal, and until when it is given out without asking again.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) principal: Arc<Principal>,
    /// Fingerprint of the token that the job showed; `None` when it was asked for.
    pub(crate) token: Option<u64>,
    pub(crate) until: Timestamp,
}

impl Answer {
    /// Dates an answer found at `now`.
    pub(crate) fn new(principal: Arc<Principal>, token: Option<u64>, now: Timestamp) -> Self {
        let until = match principal.expires() {
            Some(expires) => {
                let left = expires.since(now);
                later(now, left - RENEWED_BEFORE.min(left / 2))
            }
            None => later(now, REFUSED_FOR),
        };
        Self { principal, token, until }
    }

    /// The principal, unless it is time to ask again.
    pub(crate) fn at(&self, now: Timestamp) -> Option<Arc<Principal>> {
        (now < self.until).then(|| Arc::clone(&self.principal))
    }

    /// The principal, if its token counts even though it was time to ask again: for when there was no answer.
    pub(crate) fn still_valid_at(&self, now: Timestamp) -> Option<Self> {
        let expires = self.principal.expires().filter(|expires| now < *expires)?;
        let until = later(now, REFUSED_FOR).min(expires);
        Some(Self { principal: Arc::clone(&self.principal), token: self.token, until })
    }
}

/// So much after a time, in whole seconds.
pub(crate) fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_unix_seconds(
        time.unix_seconds().saturating_add(i64::try_from(by.as_secs()).unwrap_or(i64::MAX)),
    )
}

/// Steps with their answers, and workers with the job they run.
#[derive(Default)]
pub(crate) struct Jobs {
    slots: Mutex<HashMap<JobKey, Slot>>,
    established: Mutex<HashMap<ProcessKey, Established>>,
    registered: Mutex<HashMap<ProcessKey, Registration>>,
}

/// The job that a worker runs: a worker runs one and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Established {
    repository: String,
    run_id: String,
    /// Known from the first token on.
    subject: Option<String>,
    /// The same, where the provider has such a thing.
    instance: Option<String>,
}

impl Jobs {
    /// The place of a step's answer.
    pub(crate) fn slot(&self, key: JobKey) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut slots, &key);
        Arc::clone(slots.entry(key).or_default())
    }

    /// For whom the runner of a worker was registered, where that was read before.
    pub(crate) fn registration(&self, worker: ProcessKey) -> Option<Registration> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner).get(&worker).cloned()
    }

    /// Notes for whom the runner of a worker is registered, and gives what counts for as long as it runs: what was read
    /// first.
    pub(crate) fn register(&self, worker: ProcessKey, read: Registration) -> Registration {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut registered, &worker);
        registered.entry(worker).or_insert(read).clone()
    }

    /// Binds a worker to the job that was found for it. Another one than before is refused.
    pub(crate) fn establish(&self, worker: ProcessKey, found: &Principal) -> Result<(), NobodyReason> {
        let Some(Job { repository, run_id, instance, .. }) = found.job_facts() else { return Ok(()) };
        let named = Established {
            repository: repository.to_ascii_lowercase(),
            run_id: run_id.clone(),
            subject: found.subject().map(str::to_owned),
            instance: instance.clone(),
        };
        let mut established = self.established.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut established, &worker);
        let known = established.entry(worker).or_insert_with(|| named.clone());
        let differ = |known: &Option<String>, named: &Option<String>| {
            known.as_ref().zip(named.as_ref()).is_some_and(|(known, named)| known != named)
        };
        let others = differ(&known.subject, &named.subject) || differ(&known.instance, &named.instance);
        if known.repository != named.repository || known.run_id != named.run_id || others {
            return Err(NobodyReason::SecondIdentity);
        }
        known.subject = known.subject.take().or(named.subject);
        known.instance = known.instance.take().or(named.instance);
        Ok(())
    }
}

/// Forgets those of the oldest processes when there are too many. Forgetting costs another question to the issuer.
fn make_room<K: Copy + Eq + Hash + StartTime, V>(map: &mut HashMap<K, V>, next: &K) {
    if map.len() < REMEMBERED_MAX || map.contains_key(next) {
        return;
    }
    let mut starts = map.keys().map(StartTime::start_ticks).collect::<Vec<_>>();
    let (_, median, _) = starts.select_nth_unstable(REMEMBERED_MAX / 2);
    let median = *median;
    map.retain(|key, _| key.start_ticks() > median);
}

trait StartTime {
    fn start_ticks(&self) -> u64;
}

impl StartTime for ProcessKey {
    fn start_ticks(&self) -> u64 {
        self.start_ticks
    }
}

impl StartTime for JobKey {
    fn start_ticks(&self) -> u64 {
        self.step.start_ticks
    }
}

#[cfg(test)]
mod tests {
    use identity::testing::{self, ISSUED_AT};
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(ISSUED_AT + seconds)
    }

    fn key(pid: u32) -> ProcessKey {
        ProcessKey { pid, start_ticks: u64::from(pid) }
    }

    #[test]
    fn a_verified_answer_stands_until_shortly_before_its_token_ends() {
        let principal = Arc::new(testing::verified(&json!({})));
        let answer = Answer::new(Arc::clone(&principal), None, at(0));
        assert!(answer.at(at(239)).is_some());
        assert!(answer.at(at(240)).is_none());
        // Found late: half of what is left.
        let answer = Answer::new(principal, None, at(280));
        assert!(answer.at(at(289)).is_some() && answer.at(at(290)).is_none());
        let still = answer.still_valid_at(at(297)).unwrap();
        assert!(still.at(at(299)).is_some() && still.at(at(300)).is_none());
        assert!(answer.still_valid_at(at(300)).is_none());
    }

    #[test]
    fn a_refusal_stands_for_seconds() {
        let answer = Answer::new(Arc::new(Principal::unidentified(NobodyReason::NoJob)), None, at(0));
        assert!(answer.at(at(4)).is_some() && answer.at(at(5)).is_none());
        assert!(answer.still_valid_at(at(1)).is_none());
    }

    #[test]
    fn a_worker_keeps_its_first_job() {
        let jobs = Jobs::default();
        let verified = |changes| testing::verified(&changes);
        let observed = |changes| testing::observed(&changes);
        assert_eq!(jobs.establish(key(1), &observed(json!({}))), Ok(()));
        assert_eq!(jobs.establish(key(1), &verified(json!({}))), Ok(()));
        assert_eq!(jobs.establish(key(1), &observed(json!({"repository": "Acme/Etl"}))), Ok(()));
        assert_eq!(jobs.establish(key(1), &Principal::unidentified(NobodyReason::NoJob)), Ok(()));
        let others = [
            observed(json!({"repository": "acme/web"})),
            observed(json!({"run_id": "4712"})),
            verified(json!({"run_id": "4712"})),
            verified(json!({"sub": "repo:acme/etl:environment:production"})),
        ];
        for other in others {
            assert_eq!(jobs.establish(key(1), &other), Err(NobodyReason::SecondIdentity), "{other:?}");
        }
        assert_eq!(jobs.establish(key(2), &verified(json!({"repository": "acme/web"}))), Ok(()));
    }

    #[test]
    fn a_step_has_one_slot_and_the_oldest_are_forgotten() {
        let jobs = Jobs::default();
        let step = |pid: u32| JobKey { worker: key(1), step: key(pid) };
        let first = jobs.slot(step(0));
        assert!(Arc::ptr_eq(&first, &jobs.slot(step(0))));
        let many = u32::try_from(REMEMBERED_MAX).unwrap();
        for pid in 1..many {
            jobs.slot(step(pid));
        }
        assert!(Arc::ptr_eq(&first, &jobs.slot(step(0))), "forgotten too early");
        let last = jobs.slot(step(many));
        assert!(!Arc::ptr_eq(&first, &jobs.slot(step(0))));
        assert!(Arc::ptr_eq(&last, &jobs.slot(step(many))));
        assert!(jobs.slots.lock().unwrap().len() <= REMEMBERED_MAX);
    }
}
