//! The corporate proxies that jobs are told to use: where they are, asked for again and again, and forgotten late.
//!
//! They are not asked for a certificate. Whatever is at these addresses, what jobs say to it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use model::HostName;

/// How long an address stays guarded after a name stopped leading to it.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);

/// More addresses than this for one name are an error in DNS, not a proxy.
const ADDRESSES_PER_PROXY_MAX: usize = 64;

/// A proxy as the configuration names it: `host:port`, with a name or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Proxy {
    host: String,
    port: u16,
}

impl Proxy {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = || anyhow!("{text:?} is not host:port, as in \"proxy.corp.example:3128\"");
        if let Ok(address) = text.parse::<SocketAddr>() {
            ensure!(address.port() != 0, wrong());
            return Ok(Self { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        Ok(Self { host: HostName::parse(host).with_context(wrong)?.to_string(), port })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, self.port).fmt(f),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What is known of each proxy's addresses.
#[derive(Debug, Default)]
pub(crate) struct Proxies(Mutex<BTreeMap<Proxy, BTreeMap<SocketAddr, Instant>>>);

impl Proxies {
    /// Asks for every proxy's addresses. Fails when one has none: jobs could reach Snowflake through it once it has.
    pub(crate) async fn resolve(proxies: &[Proxy]) -> Result<Self> {
        let known = Self::default();
        for proxy in proxies {
            let found = lookup(proxy)
                .await
                .with_context(|| format!("the addresses of {proxy} (guard.proxies) cannot be found"))?;
            ensure!(!found.is_empty(), "{proxy} (guard.proxies) has no address");
            known.learn(proxy, &found, Instant::now());
        }
        Ok(known)
    }

    /// Asks again. What could not be asked stays as it was; the proxies that failed are returned with the reason.
    pub(crate) async fn refresh(&self) -> Vec<(Proxy, io::Error)> {
        let proxies: Vec<Proxy> = self.lock().keys().cloned().collect();
        let mut failed = Vec::new();
        for proxy in proxies {
            match lookup(&proxy).await {
                Ok(found) => self.learn(&proxy, &found, Instant::now()),
                Err(error) => failed.push((proxy, error)),
            }
        }
        failed
    }

    /// Every address, with the one port of it that is a proxy's.
    pub(crate) fn endpoints(&self) -> BTreeSet<SocketAddr> {
        self.lock().values().flat_map(|addresses| addresses.keys().copied()).collect()
    }

    /// Whether a proxy is there.
    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.lock().values().any(|addresses| addresses.contains_key(&address))
    }

    /// Proxies and their addresses, for a reader.
    pub(crate) fn table(&self) -> Vec<(Proxy, Vec<IpAddr>)> {
        let known = self.lock();
        let row = |(proxy, found): (&Proxy, &BTreeMap<SocketAddr, Instant>)| {
            (proxy.clone(), found.keys().map(SocketAddr::ip).collect())
        };
        known.iter().map(row).collect()
    }

    fn learn(&self, proxy: &Proxy, found: &[SocketAddr], now: Instant) {
        let mut known = self.lock();
        let addresses = known.entry(proxy.clone()).or_default();
        addresses.retain(|_, seen| now.duration_since(*seen) < FORGET_AFTER);
        for address in found.iter().take(ADDRESSES_PER_PROXY_MAX) {
            addresses.insert(*address, now);
        }
        while addresses.len() > ADDRESSES_PER_PROXY_MAX {
            let oldest = addresses.iter().min_by_key(|(_, seen)| **seen).map(|(address, _)| *address);
            let Some(oldest) = oldest else { break };
            addresses.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Proxy, BTreeMap<SocketAddr, Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn lookup(proxy: &Proxy) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((proxy.host.as_str(), proxy.port)).await?;
    Ok(found.map(|found| SocketAddr::new(found.ip().to_canonical(), found.port())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_and_a_port() {
        for (text, shown) in [
            ("Proxy.corp.example:3128", "proxy.corp.example:3128"),
            ("192.0.2.9:8080", "192.0.2.9:8080"),
            ("[2001:db8::9]:3128", "[2001:db8::9]:3128"),
        ] {
            assert_eq!(Proxy::parse(text).unwrap().to_string(), shown);
        }
        for bad in [
            "proxy.corp.example",
            "proxy:0",
            "192.0.2.9:0",
            "http://proxy:3128",
            "proxy:http",
            ":3128",
            "2001:db8::9:3128",
        ] {
            let error = format!("{:#}", Proxy::parse(bad).unwrap_err());
            assert!(error.contains("is not host:port"), "{bad}: {error}");
        }
    }

    #[tokio::test]
    async fn an_address_stays_guarded_for_a_day_after_it_was_last_seen() {
        let proxy = Proxy::parse("192.0.2.9:3128").unwrap();
        let proxies = Proxies::resolve(std::slice::from_ref(&proxy)).await.unwrap();
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(proxies.contains(address("192.0.2.9:3128")) && !proxies.contains(address("192.0.2.9:443")));
        let start = Instant::now();
        proxies.learn(&proxy, &[address("192.0.2.10:3128")], start + FORGET_AFTER / 2);
        assert_eq!(proxies.endpoints().len(), 2);
        proxies.learn(&proxy, &[], start + FORGET_AFTER * 2);
        assert!(proxies.endpoints().is_empty());
    }
}
