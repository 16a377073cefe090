//! The hosts that drivers ask about certificates, over port 80 and before they log in. The agent answers for them: a
//! driver that gets no answer there, because a firewall swallows the question, waits up to twenty seconds.
//!
//! Their addresses are taken as DNS has them. There is nothing that they could prove themselves with over port 80, and
//! nothing but port 80 is answered for: whoever lies about them only has a question answered with "not found".

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use model::HostName;
use tokio::{net::lookup_host, task::JoinSet, time::timeout};
use tracing::debug;

/// How long an address is answered for after DNS last named it.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Addresses that are answered for. The one that was named longest ago makes room.
const ADDRESSES_MAX: usize = 256;

/// How long all the questions to DNS may take together. What is not known by then is asked with the next round.
const ASK_WAIT_MAX: Duration = Duration::from_secs(2);

/// What is known of the hosts.
#[derive(Debug)]
pub(crate) struct Helpers {
    hosts: Vec<HostName>,
    seen: Mutex<BTreeMap<IpAddr, Instant>>,
}

impl Helpers {
    pub(crate) fn new(hosts: Vec<HostName>) -> Self {
        Self { hosts, seen: Mutex::default() }
    }

    /// Asks for the addresses of all hosts at once, and answers those to answer for. A host that does not exist is none.
    pub(crate) async fn ask(&self) -> BTreeSet<IpAddr> {
        let mut questions = JoinSet::new();
        for host in self.hosts.clone() {
            questions.spawn(async move {
                let found = lookup_host((host.as_str(), 80)).await.map(Iterator::collect::<Vec<_>>);
                (host, found)
            });
        }
        let collect = async {
            while let Some(answered) = questions.join_next().await {
                match answered {
                    Ok((_, Ok(found))) => self.note(found.iter().map(|addr| addr.ip()), Instant::now()),
                    Ok((host, Err(error))) => debug!(%host, %error, "a revocation helper has no address"),
                    // It has said so.
                    Err(_panicked) => {}
                }
            }
        };
        if timeout(ASK_WAIT_MAX, collect).await.is_err() {
            debug!("the addresses of the revocation helpers are not all known yet");
        }
        self.addresses()
    }

    /// The addresses to answer for.
    pub(crate) fn addresses(&self) -> BTreeSet<IpAddr> {
        self.lock().keys().copied().collect()
    }

    fn note(&self, found: impl Iterator<Item = IpAddr>, now: Instant) {
        let mut seen = self.lock();
        seen.retain(|_, since| now.duration_since(*since) < FORGET_AFTER);
        let found = found.map(|ip| ip.to_canonical()).filter(|ip| interception::is_guardable(*ip));
        seen.extend(found.map(|ip| (ip, now)));
        while seen.len() > ADDRESSES_MAX {
            let Some(oldest) = seen.iter().min_by_key(|(_, since)| **since).map(|(ip, _)| *ip) else { break };
            seen.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Instant>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_for_a_day_and_bounded_and_never_this_machines() {
        let helpers = Helpers::new(Vec::new());
        let start = Instant::now();
        let ip = |n: u32| IpAddr::from((0xcb00_7100 + n).to_be_bytes());
        helpers.note(
            ["127.0.0.1".parse().unwrap(), ip(1), "::ffff:203.0.113.1".parse().unwrap()].into_iter(),
            start,
        );
        assert_eq!(helpers.addresses(), BTreeSet::from([ip(1)]));
        helpers.note([ip(2)].into_iter(), start + FORGET_AFTER);
        assert_eq!(helpers.addresses(), BTreeSet::from([ip(2)]));
        helpers.note((3..1000).map(ip), start + FORGET_AFTER);
        helpers.note([ip(2000)].into_iter(), start + FORGET_AFTER + Duration::from_secs(1));
        assert_eq!(helpers.addresses().len(), ADDRESSES_MAX);
        assert!(helpers.addresses().contains(&ip(2000)));
    }

    #[tokio::test]
    async fn a_host_that_does_not_exist_is_no_error() {
        let helpers = Helpers::new(vec![HostName::parse("ocsp.no-such-host.invalid").unwrap()]);
        assert_eq!(helpers.ask().await, BTreeSet::new());
    }
}
