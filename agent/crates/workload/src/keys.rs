//! The issuer's keys: fetched, kept, renewed in time, and used somewhat longer when the issuer is away.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Uri;
use identity::{IssuerFault, KeySet};
use model::Timestamp;
use serde::Deserialize;
use tokio::{task::spawn_blocking, time::Instant};

use crate::{
    config::{KeySource, https},
    https::{Answer, HttpsClient, Question},
};

/// A discovery document has some dozens of members.
const DISCOVERY_BYTES_MAX: usize = 64 * 1024;

/// For how long keys are used, and how often the issuer is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyTimes {
    /// Younger keys are used without asking.
    pub(crate) fresh_for: Duration,
    /// Older keys are not used, whatever the issuer does.
    pub(crate) usable_for: Duration,
    /// The issuer is asked at most this often, whatever keys tokens name.
    pub(crate) asked_every: Duration,
    /// The same, while there are no keys at all.
    pub(crate) missed_every: Duration,
}

impl KeyTimes {
    /// Keys live for months, and a compromised one is withdrawn within a day.
    pub(crate) const DEFAULT: Self = Self {
        fresh_for: Duration::from_secs(3600),
        usable_for: Duration::from_secs(24 * 3600),
        asked_every: Duration::from_secs(30),
        missed_every: Duration::from_secs(3),
    };
}

/// The keys of one issuer. Cheap to clone; clones share what was fetched.
#[derive(Clone)]
pub(crate) struct Keys {
    shared: Arc<Shared>,
}

struct Shared {
    client: HttpsClient,
    /// The exact name of the issuer, an https address.
    issuer: String,
    source: KeySource,
    times: KeyTimes,
    state: Mutex<State>,
    /// Held while the issuer is asked, so that it is asked once.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    kept: Option<(Arc<KeySet>, Instant)>,
    asked: Option<Instant>,
    fault: Option<IssuerFault>,
}

/// What the age of the kept keys means.
#[derive(Debug, Clone)]
enum Standing {
    Fresh(Arc<KeySet>),
    Stale(Arc<KeySet>),
    Missing,
}

impl State {
    fn standing(&self, times: &KeyTimes, now: Instant) -> Standing {
        match &self.kept {
            Some((keys, at)) if now.saturating_duration_since(*at) < times.fresh_for => {
                Standing::Fresh(Arc::clone(keys))
            }
            Some((keys, at)) if now.saturating_duration_since(*at) < times.usable_for => {
                Standing::Stale(Arc::clone(keys))
            }
            _ => Standing::Missing,
        }
    }

    fn may_ask(&self, times: &KeyTimes, now: Instant) -> bool {
        let every = match self.standing(times, now) {
            Standing::Fresh(_) | Standing::Stale(_) => times.asked_every,
            Standing::Missing => times.missed_every,
        };
        self.asked.is_none_or(|at| now.saturating_duration_since(at) >= every)
    }
}

impl Keys {
    pub(crate) fn new(client: HttpsClient, issuer: String, source: KeySource, times: KeyTimes) -> Self {
        let (state, asking) = (Mutex::default(), tokio::sync::Mutex::new(()));
        Self { shared: Arc::new(Shared { client, issuer, source, times, state, asking }) }
    }

    /// The keys. Stale ones are given out at once and renewed meanwhile; missing ones are waited for.
    pub(crate) async fn current(&self) -> Result<Arc<KeySet>, IssuerFault> {
        let now = Instant::now();
        let (standing, may_ask) = {
            let state = self.state();
            (state.standing(&self.shared.times, now), state.may_ask(&self.shared.times, now))
        };
        match standing {
            Standing::Fresh(keys) => Ok(keys),
            Standing::Stale(keys) => {
                if may_ask {
                    let renewing = self.clone();
                    let seen = Arc::clone(&keys);
                    // What it fetched or why it could not is kept in the shared state.
                    tokio::spawn(async move { drop(renewing.ask(Some(&seen)).await) });
                }
                Ok(keys)
            }
            Standing::Missing => self.ask(None).await,
        }
    }

    /// Other keys than `seen`, in which one was missing. The same ones when the issuer was asked just now.
    pub(crate) async fn other_than(&self, seen: &Arc<KeySet>) -> Result<Arc<KeySet>, IssuerFault> {
        self.ask(Some(seen)).await
    }

    /// Asks the issuer, unless somebody else has meanwhile, or it was asked too short a time ago.
    async fn ask(&self, seen: Option<&Arc<KeySet>>) -> Result<Arc<KeySet>, IssuerFault> {
        let _asking = self.shared.asking.lock().await;
        let now = Instant::now();
        {
            let mut state = self.state();
            let standing = state.standing(&self.shared.times, now);
            if let Standing::Fresh(keys) | Standing::Stale(keys) = standing {
                let renewed_meanwhile = !seen.is_some_and(|seen| Arc::ptr_eq(seen, &keys));
                if renewed_meanwhile || !state.may_ask(&self.shared.times, now) {
                    return Ok(keys);
                }
            } else if let Some(fault) = state.fault.filter(|_| !state.may_ask(&self.shared.times, now)) {
                return Err(fault);
            }
            state.asked = Some(now);
        }
        let fetched = self.fetch().await;
        let mut state = self.state();
        match fetched {
            Ok(Fetched { keys, .. }) => {
                let keys = Arc::new(keys);
                state.kept = Some((Arc::clone(&keys), Instant::now()));
                state.fault = None;
                Ok(keys)
            }
            Err(fault) => {
                tracing::warn!(issuer = self.shared.issuer, %fault, "the keys of an identity provider cannot be renewed");
                state.fault = Some(fault);
                match state.standing(&self.shared.times, Instant::now()) {
                    Standing::Fresh(keys) | Standing::Stale(keys) => Ok(keys),
                    Standing::Missing => Err(fault),
                }
            }
        }
    }

    /// The keys as they are published now, past what is in memory.
    pub(crate) async fn fetch(&self) -> Result<Fetched, IssuerFault> {
        let Shared { client, issuer, source, .. } = &*self.shared;
        let (body, date) = match source {
            KeySource::Discovery => {
                let (url, date) = discover(client, issuer).await?;
                (get(client, &url, KeySet::BYTES_MAX).await?.body.to_vec(), date)
            }
            KeySource::Url(url) => {
                let url = https(url).ok_or(IssuerFault::Unreachable)?;
                let Answer { body, date } = get(client, &url, KeySet::BYTES_MAX).await?;
                (body.to_vec(), date)
            }
            KeySource::File(path) => {
                let path = path.clone();
                let read = spawn_blocking(move || std::fs::read(path)).await;
                (read.ok().and_then(Result::ok).ok_or(IssuerFault::Unreachable)?, None)
            }
        };
        let text = str::from_utf8(&body).map_err(|_| IssuerFault::Malformed)?;
        let keys = KeySet::parse(text).map_err(|error| {
            tracing::warn!(issuer, %error, "the keys of an identity provider are not usable");
            IssuerFault::Malformed
        })?;
        Ok(Fetched { keys, date })
    }

    /// The state is whole after every change, so a panic elsewhere does not spoil it.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys as they were published.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) keys: KeySet,
    /// By the issuer's clock, where it told.
    pub(crate) date: Option<Timestamp>,
}

async fn get(client: &HttpsClient, url: &Uri, bytes_max: usize) -> Result<Answer, IssuerFault> {
    client.ask(&Question { url, credential: None, body: None, bytes_max }).await
}

/// Where the issuer says that its keys are. The document must be of that very issuer (OpenID Connect Discovery 1.0,
/// part 4.3): one that vouches for several names would else vouch for each with the keys of another.
async fn discover(client: &HttpsClient, issuer: &str) -> Result<(Uri, Option<Timestamp>), IssuerFault> {
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
        jwks_uri: String,
    }

    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let url = https(&url).ok_or(IssuerFault::Unreachable)?;
    let Answer { body, date } = get(client, &url, DISCOVERY_BYTES_MAX).await?;
    let document: Document = serde_json::from_slice(&body).map_err(|_| IssuerFault::Malformed)?;
    if document.issuer != issuer {
        return Err(IssuerFault::OtherName);
    }
    Ok((https(&document.jwks_uri).ok_or(IssuerFault::Malformed)?, date))
}

#[cfg(test)]
mod tests {
    use identity::testing::Issuer;

    use super::*;
    use crate::fake_issuer::{Answer as Reply, FakeIssuer};

    const PATH: &str = "/.well-known/jwks";

    /// Times are in seconds.
    fn keys(issuer: &FakeIssuer, fresh: u64, usable: u64, asked: u64) -> Keys {
        let times = KeyTimes {
            fresh_for: Duration::from_secs(fresh),
            usable_for: Duration::from_secs(usable),
            asked_every: Duration::from_secs(asked),
            missed_every: Duration::from_secs(asked),
        };
        let client = HttpsClient::new(issuer.client_config(), Duration::from_secs(60));
        let source = KeySource::Url(issuer.url(PATH).to_string());
        Keys::new(client, issuer.url("").to_string(), source, times)
    }

    fn discovering(net: &FakeIssuer, document: &str) -> Keys {
        net.answer("/.well-known/openid-configuration", Reply::Body(document.to_owned()));
        net.answer(PATH, Reply::Body(Issuer::new("a").jwks()));
        let client = HttpsClient::new(net.client_config(), Duration::from_secs(60));
        let name = net.url("").to_string().trim_end_matches('/').to_owned();
        Keys::new(client, name, KeySource::Discovery, KeyTimes::DEFAULT)
    }

    #[tokio::test]
    async fn keys_are_where_the_issuers_own_document_says() {
        let net = FakeIssuer::start().await;
        let (name, url) = (net.url("").to_string().trim_end_matches('/').to_owned(), net.url(PATH));
        let found = discovering(&net, &format!(r#"{{"issuer":"{name}","jwks_uri":"{url}","x":[1]}}"#));
        assert_eq!(found.current().await.unwrap().len(), 1);
        let documents = [
            (format!(r#"{{"issuer":"{name}/","jwks_uri":"{url}"}}"#), IssuerFault::OtherName),
            (format!(r#"{{"issuer":"https://evil.example","jwks_uri":"{url}"}}"#), IssuerFault::OtherName),
            (format!(r#"{{"jwks_uri":"{url}"}}"#), IssuerFault::Malformed),
            (format!(r#"{{"issuer":"{name}","jwks_uri":"http://x/"}}"#), IssuerFault::Malformed),
            (format!(r#"{{"issuer":"{name}","jwks_uri":"file:///etc/passwd"}}"#), IssuerFault::Malformed),
            ("<html>".to_owned(), IssuerFault::Malformed),
            (" ".repeat(DISCOVERY_BYTES_MAX + 1), IssuerFault::Malformed),
        ];
        for (document, fault) in documents {
            let keys = discovering(&net, &document);
            assert_eq!(keys.current().await.unwrap_err(), fault, "{document:.90}");
        }
        assert_eq!(net.count(PATH), 1, "keys were fetched on the word of a document that does not fit");
        net.answer("/.well-known/openid-configuration", Reply::Redirect(url.to_string()));
        assert_eq!(found.fetch().await.unwrap_err(), IssuerFault::Refused(302));
    }

    #[tokio::test]
    async fn keys_can_be_in_a_file() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys.json");
        let net = FakeIssuer::start().await;
        let client = HttpsClient::new(net.client_config(), Duration::from_secs(60));
        let source = KeySource::File(path.clone());
        let keys = Keys::new(client, "https://cluster.local".to_owned(), source, KeyTimes::DEFAULT);
        assert_eq!(keys.fetch().await.unwrap_err(), IssuerFault::Unreachable);
        std::fs::write(&path, Issuer::new("a").jwks()).unwrap();
        assert_eq!(keys.fetch().await.unwrap().keys.len(), 1);
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(keys.fetch().await.unwrap_err(), IssuerFault::Malformed);
        assert_eq!(net.connections(), 0);
    }

    /// Moves the clock on. Only while nobody is asked: on a clock that stands still, a deadline comes at once.
    async fn pass(seconds: u64) {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    }

    #[test]
    fn age_decides_what_kept_keys_are_worth() {
        let times = KeyTimes::DEFAULT;
        let begin = Instant::now();
        let kept = Some((Arc::new(Issuer::new("a").keys()), begin));
        let state = State { kept, asked: Some(begin), fault: None };
        let at = |seconds| state.standing(&times, begin + Duration::from_secs(seconds));
        assert!(matches!(at(0), Standing::Fresh(_)) && matches!(at(3599), Standing::Fresh(_)));
        assert!(matches!(at(3600), Standing::Stale(_)) && matches!(at(86_399), Standing::Stale(_)));
        assert!(matches!(at(86_400), Standing::Missing));
        assert!(!state.may_ask(&times, begin + Duration::from_secs(29)));
        assert!(state.may_ask(&times, begin + Duration::from_secs(30)));
        assert!(matches!(State::default().standing(&times, begin), Standing::Missing));
        let missing = State { asked: Some(begin), ..State::default() };
        assert!(!missing.may_ask(&times, begin + Duration::from_secs(2)));
        assert!(missing.may_ask(&times, begin + Duration::from_secs(3)));
    }

    #[tokio::test]
    async fn fresh_keys_are_fetched_once_also_by_many() {
        let issuer = FakeIssuer::start().await;
        issuer.answer(PATH, Reply::Body(Issuer::new("a").jwks()));
        let keys = keys(&issuer, 600, 600, 0);
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let keys = keys.clone();
            readers.spawn(async move { keys.current().await.unwrap() });
        }
        while let Some(read) = readers.join_next().await {
            read.unwrap();
        }
        assert_eq!(issuer.count(PATH), 1);
    }

    #[tokio::test]
    async fn an_unknown_key_renews_them_but_not_too_often() {
        let issuer = FakeIssuer::start().await;
        issuer.answer(PATH, Reply::Body(Issuer::new("a").jwks()));
        let keys = keys(&issuer, 6000, 6000, 300);
        let first = keys.current().await.unwrap();
        issuer.answer(PATH, Reply::Body(Issuer::new("b").jwks()));
        assert!(Arc::ptr_eq(&first, &keys.other_than(&first).await.unwrap()), "asked again too soon");
        pass(300).await;
        let second = keys.other_than(&first).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &keys.other_than(&first).await.unwrap()), "renewed meanwhile");
        assert_eq!(issuer.count(PATH), 2);
    }

    #[tokio::test]
    async fn stale_keys_serve_while_the_issuer_is_away_and_no_longer() {
        let issuer = FakeIssuer::start().await;
        issuer.answer(PATH, Reply::Body(Issuer::new("a").jwks()));
        let keys = keys(&issuer, 0, 400, 0);
        let first = keys.current().await.unwrap();
        issuer.answer(PATH, Reply::Status(503));
        assert!(Arc::ptr_eq(&first, &keys.current().await.unwrap()));
        assert!(Arc::ptr_eq(&first, &keys.other_than(&first).await.unwrap()));
        pass(400).await;
        assert_eq!(keys.current().await.unwrap_err(), IssuerFault::Refused(503));
    }

    #[tokio::test]
    async fn an_issuer_in_trouble_is_not_asked_again_at_once() {
        let issuer = FakeIssuer::start().await;
        issuer.answer(PATH, Reply::Body("{}".to_owned()));
        let keys = keys(&issuer, 600, 600, 600);
        for _ in 0..3 {
            assert_eq!(keys.current().await.unwrap_err(), IssuerFault::Malformed);
        }
        assert_eq!(issuer.count(PATH), 1);
        issuer.answer(PATH, Reply::Body("x".repeat(KeySet::BYTES_MAX + 1)));
        assert_eq!(keys.current().await.unwrap_err(), IssuerFault::Malformed);
    }
}
