//! Keeps the guarded set true while the agent runs: asks DNS again and again, looks at addresses that somebody used for a
//! guarded name, and ends the connections that were there before their address was guarded.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use interception::{Event, EventKind, Interception, NAME_BYTES, Older};
use model::{HostName, Mode};
use tokio::{
    sync::Mutex,
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval_at, sleep},
};
use tracing::{debug, error, info, warn};

use crate::{
    config::Config,
    guarded::{Guarded, Note},
    ocsp::Helpers,
    probe::{Prober, Verdict},
    proxies::Proxies,
};

/// A connect that was under way while its address became guarded may be in no list yet when connections are looked for.
const SECOND_LOOK_AFTER: Duration = Duration::from_millis(250);

/// Addresses that are looked at because somebody used them. Who is not among them is seen again when the client repeats
/// what was dropped.
const SUSPECTS_MAX: usize = 64;

/// Names that one address is asked for.
const NAMES_MAX: usize = 8;

/// How long an address that did not prove to be Snowflake's is not asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Who keeps the set, and what is needed for it.
pub(crate) struct Watch {
    mode: Mode,
    refresh: Duration,
    accounts: Vec<HostName>,
    domains: Vec<HostName>,
    guarded: Arc<Guarded>,
    helpers: Arc<Helpers>,
    /// For what DNS names, and for what clients use: a client must not be able to hold up the first.
    named: Prober,
    used: Prober,
    proxies: Arc<Proxies>,
    interception: Arc<Interception>,
    /// What the kernel was told to guard last. Held while it is told, so that no older set replaces a newer one.
    told: Mutex<BTreeSet<IpAddr>>,
}

impl Watch {
    /// For a kernel that guards what `guarded` has.
    pub(crate) fn new(
        config: &Config,
        guarded: Arc<Guarded>,
        helpers: Arc<Helpers>,
        proxies: Arc<Proxies>,
        prober: Prober,
        interception: Arc<Interception>,
    ) -> Self {
        Self {
            mode: config.mode,
            refresh: config.refresh,
            accounts: config.accounts.clone(),
            domains: config.domains.clone(),
            guarded,
            helpers,
            proxies,
            used: prober.apart(),
            named: prober,
            interception,
            told: Mutex::default(),
        }
    }

    /// Ends what was connected before there was an agent, and begins to answer for the revocation helpers.
    pub(crate) async fn begin(&self) {
        let new = self.tell().await;
        self.cut(&new).await;
        self.answer_for_helpers().await;
    }

    /// Asks DNS, for ever.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut ticks = interval_at(tokio::time::Instant::now() + self.refresh, self.refresh);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let all = self.told.lock().await.clone();
        self.cut_again(&all).await;
        loop {
            tokio::select! {
                _ = ticks.tick() => self.ask().await,
                // Somebody found an address while a connection to it waited.
                () = self.guarded.has_learned() => {}
            }
            self.tell_and_cut().await;
            self.answer_for_helpers().await;
        }
    }

    async fn answer_for_helpers(&self) {
        if let Err(error) = self.interception.answer_http(&self.helpers.ask().await) {
            error!(%error, "drivers that ask about certificates over port 80 may have to wait");
        }
    }

    async fn ask(&self) {
        for note in self.guarded.ask(&self.accounts, &self.named).await {
            log(&note);
        }
        for (proxy, error) in self.proxies.refresh().await {
            warn!(%proxy, %error, "addresses cannot be asked for; those known stay guarded");
        }
    }

    /// Looks at what the tripwire reports, for ever.
    pub(crate) async fn learn(self: Arc<Self>) {
        let mut asked = JoinSet::new();
        let mut under_way: BTreeMap<IpAddr, AbortHandle> = BTreeMap::new();
        loop {
            tokio::select! {
                event = self.interception.event() => {
                    let Some((ip, name)) = self.suspect(&event) else { continue };
                    if under_way.contains_key(&ip) {
                        continue;
                    }
                    if under_way.len() >= SUSPECTS_MAX {
                        debug!(address = %ip, "too many addresses to look at: this one has to wait");
                        continue;
                    }
                    let watch = self.clone();
                    under_way.insert(ip, asked.spawn(async move { watch.look(ip, name).await }));
                }
                Some(_ended) = asked.join_next() => under_way.retain(|_, task| !task.is_finished()),
            }
        }
    }

    /// The address that an event says is to be looked at, and the name that was asked for there, if it can be one.
    fn suspect(&self, event: &Event) -> Option<(IpAddr, Option<HostName>)> {
        if event.kind() != Some(EventKind::GuardedName) {
            return None;
        }
        let ip = IpAddr::from(event.address);
        let mut room = [0; NAME_BYTES];
        let name = event.name(&mut room).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.and_then(|name| HostName::parse(name).ok());
        let name = name.filter(|name| self.domains.iter().any(|domain| name.is_within(domain)));
        let is_worth_it =
            interception::is_guardable(ip) && !self.guarded.is_doubted_since(ip, ASK_AGAIN_AFTER);
        is_worth_it.then_some((ip, name))
    }

    /// Asks the server at an address whether it is Snowflake's. The name that the client asked for is only one more
    /// question: what counts is the certificate.
    async fn look(&self, ip: IpAddr, name: Option<HostName>) {
        let mut names: Vec<HostName> = name.clone().into_iter().collect();
        names.extend(self.accounts.iter().filter(|account| name.as_ref() != Some(account)).cloned());
        names.truncate(NAMES_MAX);
        let Some(first) = names.first().cloned() else { return };
        match self.used.ask(ip, &names).await {
            Verdict::Is(host) => {
                info!(address = %ip, %host, "an address that no name leads to proved to be the host's: guarded");
                self.guarded.learn(ip, host, Instant::now());
                self.tell_and_cut().await;
            }
            Verdict::IsNot(reason) | Verdict::Unknown(reason) => {
                if self.guarded.doubt(ip, first.clone(), reason.clone(), Instant::now()) {
                    let done = match self.mode {
                        Mode::Enforce => "what asks for guarded names there is dropped",
                        Mode::Observe => "what asks for guarded names there passes, unseen",
                    };
                    warn!(
                        address = %ip, asked_for = %first, reason, done,
                        "somebody asked for a guarded name at an address that does not prove to be Snowflake's"
                    );
                }
            }
        }
    }

    /// Tells the kernel what to guard, and ends the connections to what is new.
    async fn tell_and_cut(&self) {
        let new = self.tell().await;
        self.cut(&new).await;
        self.cut_again(&new).await;
    }

    /// Tells the kernel what to guard. Answers what is new of it.
    async fn tell(&self) -> BTreeSet<IpAddr> {
        let mut told = self.told.lock().await;
        let addresses = self.guarded.addresses();
        let guarded = self.interception.guard(&addresses);
        let guarded = guarded.and_then(|()| self.interception.guard_ports(&self.proxies.endpoints()));
        if let Err(error) = guarded {
            error!(%error, "new addresses cannot be guarded; those known stay guarded");
            return BTreeSet::new();
        }
        let new = addresses.difference(&told).copied().collect();
        *told = addresses;
        new
    }

    async fn cut_again(&self, new: &BTreeSet<IpAddr>) {
        // Who only counts has counted them.
        if !new.is_empty() && self.mode == Mode::Enforce {
            sleep(SECOND_LOOK_AFTER).await;
            self.cut(new).await;
        }
    }

    async fn cut(&self, new: &BTreeSet<IpAddr>) {
        if new.is_empty() {
            return;
        }
        match self.interception.cut_older(new).await {
            Ok(older) => report(&older, self.mode),
            Err(error) => {
                error!(%error, "connections older than the guard cannot be looked for; their packets are dropped");
            }
        }
    }
}

fn report(older: &Older, mode: Mode) {
    for connection in &older.connections {
        let interception::OlderConnection { local, remote, uid, namespace } = connection;
        debug!(%local, %remote, uid, namespace, "a connection from before its address was guarded");
    }
    if older.destroyed > 0 {
        info!(count = older.destroyed, "connections from before their address was guarded were ended");
    }
    match mode {
        Mode::Observe if older.open > 0 => {
            warn!(count = older.open, "connections from before their address was guarded go on, unseen");
        }
        Mode::Enforce if older.open > 0 => {
            warn!(
                count = older.open,
                "connections from before their address was guarded are still open; their packets are dropped"
            );
        }
        _ => {}
    }
    for problem in &older.problems {
        warn!(
            problem,
            "connections from before their address was guarded may be open; their packets are dropped"
        );
    }
}

fn log(note: &Note) {
    match note {
        Note::Unresolved(host, error) => {
            warn!(%host, %error, "addresses cannot be asked for; those known stay guarded");
        }
        Note::New(host, address) => info!(%host, %address, "a new address proved to be the host's: guarded"),
        Note::Doubted(host, address, reason) => {
            warn!(%host, %address, reason, "DNS names an address that does not prove to be the host's: not guarded");
        }
    }
}
