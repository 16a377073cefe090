//! Which job a token belongs to: the one that it was first seen in. One that turns up in another job is stolen or
//! passed on, and refused there.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, PoisonError},
};

use identity::{NobodyReason, Principal, Provider, RawToken};
use model::Timestamp;

use crate::process::ProcessKey;

/// Tokens and jobs that are remembered at one time. A host runs some dozens of jobs at a time.
const REMEMBERED_MAX: usize = 8192;

/// What a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Unit {
    /// A job below a worker, by the worker or by what the runner started.
    Worker(ProcessKey),
    /// A job that has several processes of its runner, as the runner names it: provider, project and run.
    Stated(Provider, String, String),
    /// A pod, by its uid.
    Pod(String),
    /// A container, by its id.
    Container(String),
}

/// What is bound: one token, and what at the provider names the job it is of. The second also binds tokens that the
/// first one's job has not shown yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Bound {
    Token(u64),
    Instance(Provider, String),
}

/// Everything that is bound on this host.
#[derive(Default)]
pub(crate) struct Bindings {
    /// Keyed anew at each start, so that nobody can aim at a collision.
    hasher: RandomState,
    bound: Mutex<HashMap<Bound, (Unit, Timestamp)>>,
}

impl Bindings {
    /// Whether a token that was verified as `principal` may be bound to the job that shows it.
    pub(crate) fn look(
        &self,
        token: &RawToken,
        principal: &Principal,
        unit: &Unit,
        now: Timestamp,
    ) -> Result<(), NobodyReason> {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.retain(|_, (_, until)| now <= *until);
        check(&bound, &self.keys(token, principal), unit)
    }

    /// Binds a token that was verified as `principal` to the job that shows it.
    ///
    /// A binding stands until the last token that it rests on has ended. When there are too many, the one that ends
    /// first is forgotten.
    pub(crate) fn bind(
        &self,
        token: &RawToken,
        principal: &Principal,
        unit: &Unit,
        now: Timestamp,
    ) -> Result<(), NobodyReason> {
        // Who can start a container through a daemon has the host, and jobs hand their tokens to containers of theirs.
        if matches!(unit, Unit::Container(_)) {
            return Ok(());
        }
        let keys = self.keys(token, principal);
        let expires = principal.expires().unwrap_or(now);
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.retain(|_, (_, until)| now <= *until);
        check(&bound, &keys, unit)?;
        for key in keys.into_iter().flatten() {
            make_room(&mut bound, &key);
            let entry = bound.entry(key).or_insert_with(|| (unit.clone(), expires));
            entry.1 = entry.1.max(expires);
        }
        Ok(())
    }

    fn keys(&self, token: &RawToken, principal: &Principal) -> [Option<Bound>; 2] {
        let instance = principal.job_facts().and_then(|job| job.instance.clone());
        let instance = principal.provider().zip(instance);
        [
            Some(Bound::Token(self.fingerprint(token))),
            instance.map(|(provider, instance)| Bound::Instance(provider, instance)),
        ]
    }

    /// A number that tells tokens apart.
    pub(crate) fn fingerprint(&self, token: &RawToken) -> u64 {
        self.hasher.hash_one(token.signed_part())
    }
}

fn check(
    bound: &HashMap<Bound, (Unit, Timestamp)>,
    keys: &[Option<Bound>],
    unit: &Unit,
) -> Result<(), NobodyReason> {
    let is_free = |key: &Bound| bound.get(key).is_none_or(|(owner, _)| owner == unit);
    if matches!(unit, Unit::Container(_)) || keys.iter().flatten().all(is_free) {
        Ok(())
    } else {
        Err(NobodyReason::TokenOfOtherJob)
    }
}

fn make_room(bound: &mut HashMap<Bound, (Unit, Timestamp)>, next: &Bound) {
    if bound.len() < REMEMBERED_MAX || bound.contains_key(next) {
        return;
    }
    let soonest = bound.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| key.clone());
    if let Some(soonest) = soonest {
        bound.remove(&soonest);
    }
}

#[cfg(test)]
mod tests {
    use identity::{
        KeySet,
        testing::{self, ISSUED_AT, Issuer},
        verify,
    };
    use serde_json::{Value, json};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(ISSUED_AT + seconds)
    }

    fn unit(pid: u32) -> Unit {
        Unit::Worker(ProcessKey { pid, start_ticks: 1 })
    }

    struct Mint(Issuer, KeySet);

    impl Mint {
        fn new() -> Self {
            let issuer = Issuer::new("k1");
            let keys = issuer.keys();
            Self(issuer, keys)
        }

        fn token(&self, provider: Provider, changes: &Value) -> (RawToken, Principal) {
            let token = RawToken::new(self.0.sign(&Issuer::claims_of(provider, changes))).unwrap();
            let principal = verify(&token, &testing::expectation_of(provider), None, &self.1, at(1)).unwrap();
            (token, principal)
        }
    }

    #[test]
    fn a_token_belongs_to_the_job_that_showed_it_first() {
        let (bindings, mint) = (Bindings::default(), Mint::new());
        let (token, principal) = mint.token(Provider::Jenkins, &json!({}));
        let bind = |token, principal, pid, seconds| bindings.bind(token, principal, &unit(pid), at(seconds));
        assert_eq!(bind(&token, &principal, 1, 1), Ok(()));
        assert_eq!(bind(&token, &principal, 1, 2), Ok(()));
        assert_eq!(bind(&token, &principal, 2, 2), Err(NobodyReason::TokenOfOtherJob));
        // Another token of the same job: nothing in it names one job of a build, so it may be another's.
        let (other, principal) = mint.token(Provider::Jenkins, &json!({"jti": "2"}));
        assert_eq!(bind(&other, &principal, 2, 2), Ok(()));
    }

    #[test]
    fn a_token_that_was_not_shown_yet_is_bound_by_what_names_its_job() {
        let (bindings, mint) = (Bindings::default(), Mint::new());
        let (shown, principal) = mint.token(Provider::GitLab, &json!({}));
        assert_eq!(bindings.bind(&shown, &principal, &unit(1), at(1)), Ok(()));
        let (hidden, principal) = mint.token(Provider::GitLab, &json!({"jti": "2", "exp": ISSUED_AT + 900}));
        let stolen = bindings.bind(&hidden, &principal, &unit(2), at(1));
        assert_eq!(stolen, Err(NobodyReason::TokenOfOtherJob));
        // Its own job may show it, and then it is bound for as long as it lasts.
        assert_eq!(bindings.bind(&hidden, &principal, &unit(1), at(1)), Ok(()));
        let stolen = bindings.bind(&hidden, &principal, &unit(2), at(899));
        assert_eq!(stolen, Err(NobodyReason::TokenOfOtherJob));
        let (next, principal) = mint.token(Provider::GitLab, &json!({"job_id": "303"}));
        assert_eq!(bindings.bind(&next, &principal, &unit(2), at(1)), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_ends() {
        let (bindings, mint) = (Bindings::default(), Mint::new());
        let (token, principal) = mint.token(Provider::GitLab, &json!({}));
        bindings.bind(&token, &principal, &unit(1), at(1)).unwrap();
        assert_eq!(bindings.bound.lock().unwrap().len(), 2);
        let (other, next) = mint.token(Provider::GitLab, &json!({"job_id": "303", "exp": ISSUED_AT + 900}));
        bindings.bind(&other, &next, &unit(2), at(301)).unwrap();
        assert_eq!(bindings.bound.lock().unwrap().len(), 2, "what has ended was kept");

        let mut bound = HashMap::new();
        for n in 0..REMEMBERED_MAX {
            let until = at(i64::try_from(n).unwrap());
            bound.insert(Bound::Token(u64::try_from(n).unwrap()), (unit(1), until));
        }
        make_room(&mut bound, &Bound::Token(5));
        assert_eq!(bound.len(), REMEMBERED_MAX);
        make_room(&mut bound, &Bound::Token(u64::MAX));
        assert!(bound.len() == REMEMBERED_MAX - 1 && !bound.contains_key(&Bound::Token(0)));
    }
}
