//! The addresses of the guarded hosts: asked for again and again, and forgotten late.
//!
//! Snowflake's names lead to addresses that change within minutes, while a client may still hold yesterday's. So an
//! address stays guarded for a while after the name stopped leading there; guarding one address too many only means
//! that a connection to it is looked at and refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use model::HostName;

/// How long an address stays guarded after a name stopped leading to it.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);

/// More addresses than this for one host are an error in DNS, not a host. The kernel's set is bounded too.
const ADDRESSES_PER_HOST_MAX: usize = 256;

/// Addresses taken over from an agent before this one. More would mean that the kernel's set was full of old ones.
const EARLIER_MAX: usize = 1024;

/// What is known of each host's addresses.
#[derive(Debug)]
pub(crate) struct Guarded {
    hosts: Mutex<BTreeMap<HostName, BTreeMap<IpAddr, Instant>>>,
    /// What an agent before this one guarded, and since when this one does.
    earlier: Option<(BTreeSet<IpAddr>, Instant)>,
}

impl Guarded {
    /// Asks for every host's addresses. Fails when one has none: an agent that starts without knowing what to guard
    /// would guard nothing.
    pub(crate) async fn resolve(hosts: &[HostName]) -> Result<Self> {
        let guarded = Self { hosts: Mutex::default(), earlier: None };
        for host in hosts {
            let found = lookup(host)
                .await
                .with_context(|| format!("the addresses of {host} (guard.accounts) cannot be found"))?;
            ensure!(!found.is_empty(), "{host} (guard.accounts) has no address");
            guarded.learn(host, &found, Instant::now());
        }
        Ok(guarded)
    }

    /// Goes on guarding what an agent before this one guarded: a client may hold its addresses for as long as it would
    /// hold ours.
    pub(crate) fn keep(&mut self, earlier: &[IpAddr]) {
        self.earlier = Some((earlier.iter().take(EARLIER_MAX).copied().collect(), Instant::now()));
    }

    /// Asks again. What could not be asked stays as it was; the hosts that failed are returned with the reason.
    pub(crate) async fn refresh(&self) -> Vec<(HostName, io::Error)> {
        let hosts: Vec<HostName> = self.lock().keys().cloned().collect();
        let mut failed = Vec::new();
        for host in hosts {
            match lookup(&host).await {
                Ok(found) => self.learn(&host, &found, Instant::now()),
                Err(error) => failed.push((host, error)),
            }
        }
        failed
    }

    /// Every guarded address.
    pub(crate) fn addresses(&self) -> BTreeSet<IpAddr> {
        let earlier = self.earlier.iter().filter(|(_, since)| since.elapsed() < FORGET_AFTER);
        let earlier: Vec<IpAddr> = earlier.flat_map(|(addresses, _)| addresses).copied().collect();
        self.lock().values().flat_map(|addresses| addresses.keys().copied()).chain(earlier).collect()
    }

    /// A host's addresses, the one seen last first.
    pub(crate) fn of(&self, host: &HostName) -> Vec<IpAddr> {
        let hosts = self.lock();
        let mut found: Vec<_> =
            hosts.get(host).into_iter().flatten().map(|(ip, seen)| (*seen, *ip)).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, ip)| ip).collect()
    }

    /// Hosts and their addresses, for a reader.
    pub(crate) fn table(&self) -> Vec<(HostName, Vec<IpAddr>)> {
        let hosts = self.lock();
        hosts.iter().map(|(host, addresses)| (host.clone(), addresses.keys().copied().collect())).collect()
    }

    fn learn(&self, host: &HostName, found: &[IpAddr], now: Instant) {
        let mut hosts = self.lock();
        let known = hosts.entry(host.clone()).or_default();
        known.retain(|_, seen| now.duration_since(*seen) < FORGET_AFTER);
        for ip in found.iter().take(ADDRESSES_PER_HOST_MAX) {
            known.insert(*ip, now);
        }
        while known.len() > ADDRESSES_PER_HOST_MAX {
            let Some(oldest) = known.iter().min_by_key(|(_, seen)| **seen).map(|(ip, _)| *ip) else { break };
            known.remove(&oldest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<HostName, BTreeMap<IpAddr, Instant>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn an_address_stays_guarded_for_a_day_after_it_was_last_seen() {
        let host = HostName::parse("acme.snowflakecomputing.com").unwrap();
        let guarded = Guarded { hosts: Mutex::default(), earlier: None };
        let start = Instant::now();
        guarded.learn(&host, &[ip(1)], start);
        guarded.learn(&host, &[ip(2)], start + FORGET_AFTER / 2);
        assert_eq!(guarded.of(&host), [ip(2), ip(1)]);
        guarded.learn(&host, &[ip(3)], start + FORGET_AFTER);
        assert_eq!(guarded.addresses(), BTreeSet::from([ip(2), ip(3)]));
    }

    #[test]
    fn what_an_agent_before_guarded_stays_guarded_and_is_never_dialled() {
        let host = HostName::parse("acme.snowflakecomputing.com").unwrap();
        let mut guarded = Guarded { hosts: Mutex::default(), earlier: None };
        guarded.learn(&host, &[ip(1)], Instant::now());
        guarded.keep(&[ip(1), ip(2)]);
        assert_eq!(guarded.addresses(), BTreeSet::from([ip(1), ip(2)]));
        assert_eq!(guarded.of(&host), [ip(1)]);
    }

    #[test]
    fn a_host_has_a_bounded_number_of_addresses() {
        let host = HostName::parse("acme.snowflakecomputing.com").unwrap();
        let guarded = Guarded { hosts: Mutex::default(), earlier: None };
        let many: Vec<IpAddr> = (0..1000u32).map(|n| IpAddr::from(n.to_be_bytes())).collect();
        guarded.learn(&host, &many, Instant::now());
        guarded.learn(&host, &[ip(1)], Instant::now());
        assert_eq!(guarded.of(&host).len(), ADDRESSES_PER_HOST_MAX);
        assert!(guarded.of(&host).contains(&ip(1)));
    }
}
