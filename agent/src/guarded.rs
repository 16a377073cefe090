//! The addresses of the guarded hosts: asked for again and again, believed only when the server there proved itself, and
//! forgotten late.
//!
//! Snowflake's names lead to addresses that change within minutes, while a client may still hold yesterday's. So an
//! address stays guarded for a day after it last proved itself, whatever DNS says meanwhile. What DNS says is a hint
//! only: an address that somebody put into an answer is not guarded before its server has shown a certificate of the
//! host, because what is guarded is led to the agent, for everybody on the machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use model::HostName;
use tokio::{sync::Notify, task::JoinSet};

use crate::probe::{Prober, Verdict};

/// How long an address stays guarded after it last proved to be a host's.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How long an address that DNS goes on naming is not asked again.
const BELIEVED_FOR: Duration = Duration::from_secs(10 * 60);

/// More addresses than this for one host are an error in DNS, not a host. The kernel's set is bounded too.
const ADDRESSES_PER_HOST_MAX: usize = 256;

/// Addresses that no name led to. One that is forgotten for another is learned again when it is used again.
const LEARNED_MAX: usize = 1024;

/// Addresses that are not guarded and about which something is remembered.
const DOUBTED_MAX: usize = 1024;

/// Addresses taken over from an agent before this one. More would mean that the kernel's set was full of old ones.
const EARLIER_MAX: usize = 1024;

/// What is known of each host's addresses.
#[derive(Debug, Default)]
pub(crate) struct Guarded {
    state: Mutex<State>,
    has_learned: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By host: addresses that DNS named and that proved to be the host's, and when they last did.
    hosts: BTreeMap<HostName, BTreeMap<IpAddr, Instant>>,
    /// Addresses that somebody used and no name led to: whose they proved to be, and when.
    learned: BTreeMap<IpAddr, (HostName, Instant)>,
    /// Addresses that are said to be a host's and did not prove it.
    doubted: BTreeMap<IpAddr, Doubt>,
    /// What an agent before this one guarded, and since when this one does.
    earlier: Option<(BTreeSet<IpAddr>, Instant)>,
}

/// Why an address is not guarded although something points at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// Who it is said to be.
    pub(crate) host: HostName,
    /// What it said when it was asked.
    pub(crate) reason: String,
    /// When it was asked last.
    pub(crate) asked: Instant,
}

/// What a round of questions found that an operator should know.
#[derive(Debug)]
pub(crate) enum Note {
    /// A host's addresses cannot be asked for.
    Unresolved(HostName, io::Error),
    /// DNS names an address that proves to be the host's, and it was not known before.
    New(HostName, IpAddr),
    /// DNS names an address that does not prove to be the host's; said once for each reason.
    Doubted(HostName, IpAddr, String),
}

impl Guarded {
    /// Asks for every host's addresses, and each address who it is. Fails when a host has none that proves to be it: an
    /// agent that starts without knowing what to guard would guard nothing. Where jobs go through a proxy (`is_proxied`),
    /// a host may well have none that this machine knows or reaches: it is then guarded at the proxy.
    pub(crate) async fn resolve(hosts: &[HostName], prober: &Prober, is_proxied: bool) -> Result<Self> {
        let guarded = Self::default();
        let mut unproved = BTreeMap::new();
        for note in guarded.ask(hosts, prober).await {
            match note {
                Note::Unresolved(host, error) if is_proxied => {
                    unproved.insert(host, error.to_string());
                }
                Note::Unresolved(host, error) => {
                    return Err(error).with_context(|| {
                        format!("the addresses of {host} (guard.accounts) cannot be found")
                    });
                }
                Note::Doubted(host, ip, reason) => {
                    tracing::warn!(%host, address = %ip, reason, "DNS names an address that does not prove to be the host's: not guarded");
                    unproved.insert(host, format!("{ip}: {reason}"));
                }
                Note::New(..) => {}
            }
        }
        for host in hosts {
            if guarded.of(host).is_empty() {
                let reason = unproved.get(host);
                if is_proxied {
                    tracing::warn!(%host, reason, "cannot be reached without a proxy: only jobs that use one will reach it");
                    continue;
                }
                ensure!(reason.is_some(), "{host} (guard.accounts) has no address");
                bail!("{host} (guard.accounts) cannot be guarded: {}", reason.map_or("", String::as_str));
            }
        }
        Ok(guarded)
    }

    /// Goes on guarding what an agent before this one guarded: a client may hold its addresses for as long as it would
    /// hold ours.
    pub(crate) fn keep(&self, earlier: &[IpAddr]) {
        self.lock().earlier = Some((earlier.iter().take(EARLIER_MAX).copied().collect(), Instant::now()));
    }

    /// Asks for the addresses of `hosts` again, and those that are new or have not proved themselves for a while who
    /// they are, many at one time. What is known stays known, whatever comes of it.
    pub(crate) async fn ask(&self, hosts: &[HostName], prober: &Prober) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut questions = JoinSet::new();
        for host in hosts {
            match lookup(host).await {
                Ok(found) => {
                    for ip in self.worth_asking(host, &found, Instant::now()) {
                        let (host, prober) = (host.clone(), prober.clone());
                        questions.spawn(async move {
                            let verdict = prober.ask(ip, std::slice::from_ref(&host)).await;
                            (host, ip, verdict)
                        });
                    }
                }
                Err(error) => notes.push(Note::Unresolved(host.clone(), error)),
            }
        }
        while let Some(answered) = questions.join_next().await {
            // A task that failed has said so; its address is asked again with the next round.
            let Ok((host, ip, verdict)) = answered else { continue };
            notes.extend(self.note(host, ip, verdict, Instant::now()));
        }
        notes
    }

    /// Takes an address that no name led to into the set: it proved to be this host's.
    pub(crate) fn learn(&self, ip: IpAddr, host: HostName, now: Instant) {
        let mut state = self.lock();
        state.doubted.remove(&ip);
        state.learned.retain(|_, (_, since)| now.duration_since(*since) < FORGET_AFTER);
        state.learned.insert(ip, (host, now));
        make_room(&mut state.learned, LEARNED_MAX, |(_, since)| *since);
        drop(state);
        self.has_learned.notify_one();
    }

    /// Waits until an address was learned since the last time that somebody waited.
    pub(crate) async fn has_learned(&self) {
        self.has_learned.notified().await;
    }

    /// Whether an address is guarded.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let state = self.lock();
        let is_recent = |since: &Instant| since.elapsed() < FORGET_AFTER;
        let earlier = state.earlier.as_ref().filter(|(_, since)| is_recent(since));
        state.hosts.values().any(|addresses| addresses.contains_key(&ip))
            || state.learned.get(&ip).is_some_and(|(_, since)| is_recent(since))
            || earlier.is_some_and(|(addresses, _)| addresses.contains(&ip))
    }

    /// Whether something says that an address is a guarded host's, and it did not prove that.
    pub(crate) fn is_doubted(&self, ip: IpAddr) -> bool {
        self.lock().doubted.contains_key(&ip)
    }

    /// Remembers that an address did not prove to be `host`'s. Answers whether that is news.
    pub(crate) fn doubt(&self, ip: IpAddr, host: HostName, reason: String, now: Instant) -> bool {
        let mut state = self.lock();
        let is_news = state.doubted.get(&ip).is_none_or(|doubt| doubt.host != host || doubt.reason != reason);
        state.doubted.retain(|_, doubt| now.duration_since(doubt.asked) < FORGET_AFTER);
        state.doubted.insert(ip, Doubt { host, reason, asked: now });
        make_room(&mut state.doubted, DOUBTED_MAX, |doubt| doubt.asked);
        is_news
    }

    /// Every guarded address.
    pub(crate) fn addresses(&self) -> BTreeSet<IpAddr> {
        let state = self.lock();
        let earlier = state.earlier.iter().filter(|(_, since)| since.elapsed() < FORGET_AFTER);
        let earlier = earlier.flat_map(|(addresses, _)| addresses).copied();
        let learned = state.learned.iter().filter(|(_, (_, since))| since.elapsed() < FORGET_AFTER);
        let learned = learned.map(|(ip, _)| *ip);
        let named = state.hosts.values().flat_map(|addresses| addresses.keys().copied());
        named.chain(learned).chain(earlier).collect()
    }

    /// The addresses at which the agent itself reaches a host, the one that proved itself last first. What was only
    /// learned or taken over is not among them.
    pub(crate) fn of(&self, host: &HostName) -> Vec<IpAddr> {
        let state = self.lock();
        let mut found: Vec<_> =
            state.hosts.get(host).into_iter().flatten().map(|(ip, proved)| (*proved, *ip)).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, ip)| ip).collect()
    }

    /// Hosts and their addresses, for a reader.
    pub(crate) fn table(&self) -> Vec<(HostName, Vec<IpAddr>)> {
        let state = self.lock();
        state
            .hosts
            .iter()
            .map(|(host, addresses)| (host.clone(), addresses.keys().copied().collect()))
            .collect()
    }

    /// Addresses that no name led to, and whose they proved to be, for a reader.
    pub(crate) fn learned(&self) -> Vec<(IpAddr, HostName)> {
        let state = self.lock();
        let learned = state.learned.iter().filter(|(_, (_, since))| since.elapsed() < FORGET_AFTER);
        learned.map(|(ip, (host, _))| (*ip, host.clone())).collect()
    }

    /// Whether an address was asked within the last `while_ago`, and did not prove itself.
    pub(crate) fn is_doubted_since(&self, ip: IpAddr, while_ago: Duration) -> bool {
        self.lock().doubted.get(&ip).is_some_and(|doubt| doubt.asked.elapsed() < while_ago)
    }

    /// Addresses that are not guarded although something points at them, for a reader.
    pub(crate) fn doubted(&self) -> Vec<(IpAddr, Doubt)> {
        self.lock().doubted.iter().map(|(ip, doubt)| (*ip, doubt.clone())).collect()
    }

    /// What of an answer of DNS has to be asked who it is.
    fn worth_asking(&self, host: &HostName, found: &[IpAddr], now: Instant) -> Vec<IpAddr> {
        let state = self.lock();
        let known = state.hosts.get(host);
        let is_believed = |ip: &IpAddr| {
            known
                .and_then(|known| known.get(ip))
                .is_some_and(|proved| now.duration_since(*proved) < BELIEVED_FOR)
        };
        let found: BTreeSet<IpAddr> = found.iter().take(ADDRESSES_PER_HOST_MAX).copied().collect();
        found.into_iter().filter(|ip| interception::is_guardable(*ip) && !is_believed(ip)).collect()
    }

    /// Writes down what an address that DNS named for `host` answered.
    fn note(&self, host: HostName, ip: IpAddr, verdict: Verdict, now: Instant) -> Option<Note> {
        match verdict {
            Verdict::Is(_) => self.prove(&host, ip, now).then_some(Note::New(host, ip)),
            Verdict::IsNot(reason) | Verdict::Unknown(reason) => {
                self.doubt(ip, host.clone(), reason.clone(), now).then_some(Note::Doubted(host, ip, reason))
            }
        }
    }

    /// Answers whether the address is new.
    fn prove(&self, host: &HostName, ip: IpAddr, now: Instant) -> bool {
        let mut state = self.lock();
        state.doubted.remove(&ip);
        let known = state.hosts.entry(host.clone()).or_default();
        known.retain(|_, proved| now.duration_since(*proved) < FORGET_AFTER);
        let is_new = known.insert(ip, now).is_none();
        make_room(known, ADDRESSES_PER_HOST_MAX, |proved| *proved);
        is_new
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the oldest until there are no more than `max`.
fn make_room<V>(map: &mut BTreeMap<IpAddr, V>, max: usize, since: impl Fn(&V) -> Instant) {
    while map.len() > max {
        let Some(oldest) = map.iter().min_by_key(|(_, value)| since(value)).map(|(ip, _)| *ip) else { break };
        map.remove(&oldest);
    }
}

async fn lookup(host: &HostName) -> io::Result<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((host.as_str(), 443)).await?;
    Ok(found.map(|addr: SocketAddr| addr.ip().to_canonical()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, n])
    }

    fn host() -> HostName {
        HostName::parse("acme.snowflakecomputing.com").unwrap()
    }

    #[test]
    fn an_address_stays_guarded_for_a_day_after_it_last_proved_itself() {
        let guarded = Guarded::default();
        let start = Instant::now();
        assert!(guarded.prove(&host(), ip(1), start));
        assert!(!guarded.prove(&host(), ip(1), start), "it was known");
        guarded.prove(&host(), ip(2), start + FORGET_AFTER / 2);
        assert_eq!(guarded.of(&host()), [ip(2), ip(1)]);
        guarded.prove(&host(), ip(3), start + FORGET_AFTER);
        assert_eq!(guarded.addresses(), BTreeSet::from([ip(2), ip(3)]));
    }

    #[test]
    fn an_address_that_does_not_prove_itself_is_not_guarded_and_asked_again() {
        let guarded = Guarded::default();
        let start = Instant::now();
        guarded.prove(&host(), ip(1), start);
        let stranger = || Verdict::IsNot("a certificate of somebody else's".to_owned());
        let first = guarded.note(host(), ip(9), stranger(), start);
        assert!(matches!(first, Some(Note::Doubted(_, address, _)) if address == ip(9)));
        assert!(guarded.note(host(), ip(9), stranger(), start).is_none(), "said once");
        assert_eq!(guarded.addresses(), BTreeSet::from([ip(1)]));
        assert_eq!(guarded.doubted().len(), 1);
        assert!(guarded.is_doubted(ip(9)) && !guarded.is_doubted(ip(1)));
        assert_eq!(guarded.worth_asking(&host(), &[ip(1), ip(9)], start), [ip(9)]);
        // What once proved itself stays, whatever it answers now.
        guarded.note(host(), ip(1), Verdict::Unknown("silence".to_owned()), start + BELIEVED_FOR);
        assert_eq!(guarded.addresses(), BTreeSet::from([ip(1)]));
        assert_eq!(guarded.worth_asking(&host(), &[ip(1)], start + BELIEVED_FOR), [ip(1)]);
        // And who proves itself in the end is no longer doubted.
        assert!(matches!(guarded.note(host(), ip(9), Verdict::Is(host()), start), Some(Note::New(..))));
        assert!(guarded.doubted().iter().all(|(address, _)| *address != ip(9)));
    }

    #[test]
    fn an_answer_that_names_this_machine_is_not_even_asked() {
        let guarded = Guarded::default();
        let answer = ["127.0.0.1", "::1", "0.0.0.0", "203.0.113.1"].map(|text| text.parse().unwrap());
        assert_eq!(guarded.worth_asking(&host(), &answer, Instant::now()), [ip(1)]);
    }

    #[test]
    fn what_was_learned_is_guarded_and_never_dialled() {
        let guarded = Guarded::default();
        let now = Instant::now();
        guarded.prove(&host(), ip(1), now);
        guarded.doubt(ip(2), host(), "silence".to_owned(), now);
        guarded.learn(ip(2), host(), now);
        assert_eq!(guarded.addresses(), BTreeSet::from([ip(1), ip(2)]));
        assert!(guarded.contains(ip(1)) && guarded.contains(ip(2)) && !guarded.contains(ip(3)));
        assert_eq!(guarded.of(&host()), [ip(1)]);
        assert_eq!((guarded.learned(), guarded.doubted()), (vec![(ip(2), host())], Vec::new()));
    }

    #[test]
    fn what_an_agent_before_guarded_stays_guarded_and_is_never_dialled() {
        let guarded = Guarded::default();
        guarded.prove(&host(), ip(1), Instant::now());
        guarded.keep(&[ip(1), ip(2)]);
        assert_eq!(guarded.addresses(), BTreeSet::from([ip(1), ip(2)]));
        assert_eq!(guarded.of(&host()), [ip(1)]);
    }

    #[test]
    fn everything_that_is_remembered_is_bounded() {
        let guarded = Guarded::default();
        let start = Instant::now();
        let many = |n: u32| (IpAddr::from(n.to_be_bytes()), start + Duration::from_millis(n.into()));
        for (ip, now) in (0..2000).map(many) {
            guarded.prove(&host(), ip, now);
            guarded.learn(ip, host(), now);
        }
        for (ip, now) in (2000..4000).map(many) {
            guarded.doubt(ip, host(), "silence".to_owned(), now);
        }
        assert_eq!(guarded.of(&host()).len(), ADDRESSES_PER_HOST_MAX);
        assert!(guarded.of(&host()).contains(&many(1999).0), "the newest stay");
        assert_eq!((guarded.learned().len(), guarded.doubted().len()), (LEARNED_MAX, DOUBTED_MAX));
    }
}
