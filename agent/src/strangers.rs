//! Whose an address is that nobody has named: found out by asking it, and remembered for a while.
//!
//! An address is Snowflake's if it shows a certificate, verified as for any connection to Snowflake, for a name within
//! the guarded domains. It is another's if it shows something else when it is asked for the accounts' names; one that
//! has nothing to show for these is also asked for the name that the client gave, or for none. Silence, an end without
//! an answer, and a certificate whose time is not now say nothing, and the address stays undecided.

mod memory;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use interception::{Dialer, Scope};
use model::{HostName, OriginalDst};
use proxy::{AddressAnswer, Addresses, Undecided, Whose};
use tls::{OriginateError, Originator, Shown};
use tokio::{
    net::TcpStream,
    sync::{Mutex as AsyncMutex, Semaphore},
    time::timeout,
};
use tracing::info;

use self::memory::Memory;
use crate::{config::Config, guarded::Guarded, proxies::Proxies};

/// How long an unknown address may take to answer a connect. Clients wait for as long as that.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// All that is asked of one address must be answered within this.
const ASK_WAIT_MAX: Duration = Duration::from_secs(10);

/// Accounts by whose names an address is asked. One certificate is for all of them; more names would only be for hosts
/// that are told apart by name.
const ACCOUNTS_ASKED_MAX: usize = 4;

/// Addresses that are asked at one time. Whoever connects to many at once waits.
const ASKED_MAX: usize = 64;

/// The port at which Snowflake is asked, and the only one that strangers are caught on.
const HTTPS: u16 = 443;

/// All that is known of addresses.
#[derive(Clone)]
pub(crate) struct Strangers(Arc<Inner>);

struct Inner {
    guarded: Arc<Guarded>,
    proxies: Arc<Proxies>,
    dialer: Dialer,
    originator: Arc<Originator>,
    accounts: Vec<HostName>,
    domains: Vec<HostName>,
    is_strict: bool,
    memory: Mutex<Memory>,
    /// Who asks now: one at a time for each address and name.
    asking: Mutex<HashMap<Question, Arc<AsyncMutex<()>>>>,
    places: Semaphore,
}

/// What is asked: an address, for the client's name after the accounts'.
type Question = (IpAddr, Option<HostName>);

impl Strangers {
    pub(crate) fn new(
        config: &Config,
        guarded: Arc<Guarded>,
        proxies: Arc<Proxies>,
        dialer: Dialer,
        originator: Arc<Originator>,
    ) -> Self {
        Self(Arc::new(Inner {
            guarded,
            proxies,
            dialer,
            originator,
            accounts: config.accounts.iter().take(ACCOUNTS_ASKED_MAX).cloned().collect(),
            domains: config.domains.clone(),
            is_strict: config.interception.scope == Scope::Strict,
            memory: Mutex::default(),
            asking: Mutex::default(),
            places: Semaphore::new(ASKED_MAX),
        }))
    }
}

impl Addresses for Strangers {
    fn known(&self, destination: OriginalDst) -> Option<Whose> {
        let inner = &self.0;
        // An address that is Snowflake's as well is guarded on every port.
        if inner.proxies.contains(destination.addr()) && !inner.guarded.contains(destination.ip()) {
            return Some(Whose::Proxys);
        }
        // Strangers are caught on one port. Everything else was caught because it is, or a moment ago was, guarded.
        let is_stranger = inner.is_strict && destination.port() == HTTPS;
        (!is_stranger || inner.guarded.contains(destination.ip())).then_some(Whose::Snowflakes)
    }

    fn is_snowflakes(&self, ip: IpAddr) -> bool {
        // Behind a proxy, no address may have been able to prove anything to us.
        let (guarded, ip) = (&self.0.guarded, ip.to_canonical());
        guarded.contains(ip) || guarded.is_doubted(ip)
    }

    fn ask(
        &self,
        destination: OriginalDst,
        named: Option<HostName>,
    ) -> AddressAnswer<Result<Whose, Undecided>> {
        let inner = self.0.clone();
        Box::pin(async move { inner.whose(destination.addr(), named).await })
    }

    fn connect(&self, destination: OriginalDst) -> AddressAnswer<io::Result<TcpStream>> {
        let dialer = self.0.dialer.clone();
        Box::pin(async move { dialer.connect(destination.addr(), CONNECT_WAIT_MAX).await })
    }
}

impl Inner {
    /// From memory, or by asking; who asks for the same waits for whoever asked first.
    async fn whose(&self, address: SocketAddr, named: Option<HostName>) -> Result<Whose, Undecided> {
        let question = (address.ip(), named);
        if let Some(known) = self.recall(address, &question) {
            return known;
        }
        let turn = self.lock_asking().entry(question.clone()).or_default().clone();
        let verdict = {
            let _turn = turn.lock().await;
            match self.recall(address, &question) {
                Some(known) => known,
                None => self.find_out(address, &question).await,
            }
        };
        let mut asking = self.lock_asking();
        // The map's own, and this one: nobody else waits.
        if Arc::strong_count(&turn) <= 2 {
            asking.remove(&question);
        }
        verdict
    }

    fn recall(&self, address: SocketAddr, question: &Question) -> Option<Result<Whose, Undecided>> {
        if self.guarded.contains(address.ip()) {
            return Some(Ok(Whose::Snowflakes));
        }
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.is_others(address.ip(), Instant::now()) {
            return Some(Ok(Whose::Others));
        }
        let reason = memory.undecided(question, Instant::now())?.to_owned();
        Some(Err(Undecided { address, reason }))
    }

    async fn find_out(&self, address: SocketAddr, question: &Question) -> Result<Whose, Undecided> {
        let asked = async {
            let _place = self.places.acquire().await;
            self.ask(address, question.1.as_ref()).await
        };
        let found = timeout(ASK_WAIT_MAX, asked)
            .await
            .unwrap_or_else(|_| Err(format!("it did not answer within {} s", ASK_WAIT_MAX.as_secs())));
        match found {
            Ok(Found::Others) => {
                self.remember(|memory, now| memory.learn_others(address.ip(), now));
                Ok(Whose::Others)
            }
            Ok(Found::Snowflakes(host)) => {
                info!(%address, %host, "an address that no account led to is Snowflake's: it is guarded from now on");
                self.guarded.learn(address.ip(), host, Instant::now());
                Ok(Whose::Snowflakes)
            }
            Err(reason) => {
                self.remember(|memory, now| memory.learn_undecided(question.clone(), reason.clone(), now));
                Err(Undecided { address, reason })
            }
        }
    }

    /// Asks for the accounts' names, and where these are no answer for the client's.
    async fn ask(&self, address: SocketAddr, named: Option<&HostName>) -> Result<Found, String> {
        let (mut is_anothers, mut doubts) = (false, Vec::new());
        for account in &self.accounts {
            match self.look(address, Some(account)).await? {
                Look::Snowflakes(host) => return Ok(Found::Snowflakes(host)),
                Look::Anothers => is_anothers = true,
                Look::Nothing(doubt) => doubts.push(doubt),
            }
        }
        if is_anothers && doubts.is_empty() {
            return Ok(Found::Others);
        }
        let last = match named {
            Some(name) => self.look(address, Some(name)).await?,
            None => self.look(address, None).await?,
        };
        match last {
            Look::Snowflakes(host) => Ok(Found::Snowflakes(host)),
            Look::Anothers => Ok(Found::Others),
            Look::Nothing(doubt) => {
                doubts.push(doubt);
                Err(doubts.join("; "))
            }
        }
    }

    /// One question, for a name or for none. An error is that there is nobody to ask.
    async fn look(&self, address: SocketAddr, name: Option<&HostName>) -> Result<Look, String> {
        let connected = self.dialer.connect(address, CONNECT_WAIT_MAX).await;
        let stream = connected.map_err(|error| format!("it cannot be reached: {error}"))?;
        let asked = name.map_or("no name", HostName::as_str);
        Ok(self.judge(self.originator.ask(stream, address.ip(), name).await, asked))
    }

    fn judge(&self, shown: Result<Shown, OriginateError>, asked: &str) -> Look {
        match shown {
            Ok(Shown::Names(names)) => {
                let guarded = names.iter().find_map(|name| self.guarded_host(name));
                guarded.map_or(Look::Anothers, Look::Snowflakes)
            }
            Ok(Shown::Untrusted | Shown::NotTls) => Look::Anothers,
            Ok(Shown::Declined(alert)) => {
                Look::Nothing(format!("it shows no certificate for {asked} ({alert:?})"))
            }
            Err(error) => Look::Nothing(error.to_string()),
        }
    }

    /// A name in a certificate, which may begin with a wildcard, if it is within a guarded domain.
    fn guarded_host(&self, name: &str) -> Option<HostName> {
        let host = HostName::parse(name.strip_prefix("*.").unwrap_or(name)).ok()?;
        self.domains.iter().any(|domain| host.is_within(domain)).then_some(host)
    }

    fn remember(&self, learn: impl FnOnce(&mut Memory, Instant)) {
        learn(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    }

    fn lock_asking(&self) -> std::sync::MutexGuard<'_, HashMap<Question, Arc<AsyncMutex<()>>>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all questions together brought.
enum Found {
    /// It is Snowflake's: the name in the certificate.
    Snowflakes(HostName),
    Others,
}

/// What one question brought.
enum Look {
    Snowflakes(HostName),
    Anothers,
    /// Nothing, and why.
    Nothing(String),
}
