//! The guarded set in the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use agent_common::{Address, GUARDED_ADDRESSES_MAX, Ports};
use aya::maps::{HashMap, Map, MapData};

use crate::{
    error::{Error, MapFault},
    forward::Targets,
    object::GUARDED,
};

/// Most addresses that can be guarded: half of what the map holds, because a new set is added before the old one is
/// taken away.
pub const GUARDED_MAX: usize = GUARDED_ADDRESSES_MAX as usize / 2;

/// Most ports that can be guarded of an address that is not guarded as a whole.
pub const PORTS_MAX: usize = Ports::LISTED_MAX;

/// Where a server answers without TLS.
const HTTP_PORT: u16 = 80;

/// The map of guarded addresses.
#[derive(Debug)]
pub(crate) struct Guarded {
    map: HashMap<MapData, Address, Ports>,
    /// What is guarded by its port alone.
    endpoints: BTreeSet<SocketAddr>,
    /// What is guarded for its port 80 alone, beside those.
    http: BTreeSet<SocketAddr>,
}

impl Guarded {
    /// Takes over what an earlier run has left, until this one says otherwise.
    pub(crate) fn new(map: Map) -> Result<Self, MapFault> {
        let map = map.try_into().map_err(MapFault::of(GUARDED))?;
        let mut guarded = Self { map, endpoints: BTreeSet::new(), http: BTreeSet::new() };
        (guarded.http, guarded.endpoints) =
            guarded.endpoints()?.into_iter().partition(|endpoint| endpoint.port() == HTTP_PORT);
        Ok(guarded)
    }

    /// Makes `addrs` what is guarded on every port.
    pub(crate) fn replace(&mut self, addrs: &BTreeSet<IpAddr>) -> Result<(), Error> {
        self.apply(wanted(addrs, &(&self.endpoints | &self.http))?)
    }

    /// Makes `endpoints` what is guarded by its port alone.
    pub(crate) fn replace_endpoints(&mut self, endpoints: &BTreeSet<SocketAddr>) -> Result<(), Error> {
        self.apply(wanted(&self.addresses()?, &(endpoints | &self.http))?)?;
        self.endpoints.clone_from(endpoints);
        Ok(())
    }

    /// Makes `addrs` what is guarded for its port 80 alone, beside what else is.
    pub(crate) fn replace_http(&mut self, addrs: &BTreeSet<IpAddr>) -> Result<(), Error> {
        let http = addrs.iter().map(|ip| SocketAddr::new(ip.to_canonical(), HTTP_PORT)).collect();
        self.apply(wanted(&self.addresses()?, &(&self.endpoints | &http))?)?;
        self.http = http;
        Ok(())
    }

    /// The addresses that are guarded on every port.
    pub(crate) fn addresses(&self) -> Result<BTreeSet<IpAddr>, MapFault> {
        let list = self.list()?.into_iter();
        Ok(list.filter(|(_, ports)| ports.is_every()).map(|(ip, _)| ip).collect())
    }

    /// The addresses and ports that are guarded by their port alone.
    pub(crate) fn endpoints(&self) -> Result<BTreeSet<SocketAddr>, MapFault> {
        let list = self.list()?.into_iter();
        Ok(list.flat_map(|(ip, ports)| ports.listed().map(move |port| SocketAddr::new(ip, port))).collect())
    }

    /// All that is guarded, for whoever has to know it by address and port.
    pub(crate) fn targets(&self) -> Result<Targets, MapFault> {
        Ok(Targets { addrs: self.addresses()?, endpoints: self.endpoints()? })
    }

    /// New entries are written before old ones are removed: what is wanted before and after is guarded throughout.
    fn apply(&mut self, wanted: BTreeMap<IpAddr, Ports>) -> Result<(), Error> {
        let present = self.list()?;
        let fault = MapFault::of(GUARDED);
        for (ip, ports) in &wanted {
            if present.get(ip) != Some(ports) {
                self.map.insert(Address::from(*ip), *ports, 0).map_err(&fault)?;
            }
        }
        for ip in present.keys().filter(|ip| !wanted.contains_key(ip)) {
            self.map.remove(&Address::from(*ip)).map_err(&fault)?;
        }
        Ok(())
    }

    fn list(&self) -> Result<BTreeMap<IpAddr, Ports>, MapFault> {
        let entries = self.map.iter().map(|entry| entry.map(|(key, ports)| (IpAddr::from(key), ports)));
        entries.collect::<Result<_, _>>().map_err(MapFault::of(GUARDED))
    }
}

/// What belongs into the map. An address that is guarded as a whole needs no ports.
fn wanted(
    addrs: &BTreeSet<IpAddr>,
    endpoints: &BTreeSet<SocketAddr>,
) -> Result<BTreeMap<IpAddr, Ports>, Error> {
    let mut wanted: BTreeMap<IpAddr, Ports> = BTreeMap::new();
    for endpoint in endpoints {
        let ip = endpoint.ip().to_canonical();
        let before = wanted.get(&ip).map_or(Vec::new(), |ports| ports.listed().collect());
        let mut ports = before;
        if !ports.contains(&endpoint.port()) {
            ports.push(endpoint.port());
        }
        let ports = Ports::of(&ports).ok_or(Error::Ports { endpoint: *endpoint, max: PORTS_MAX })?;
        wanted.insert(ip, ports);
    }
    wanted.extend(addrs.iter().map(|ip| (ip.to_canonical(), Ports::EVERY)));
    if wanted.len() > GUARDED_MAX {
        return Err(Error::TooMany { given: wanted.len(), max: GUARDED_MAX });
    }
    match wanted.keys().find(|ip| !is_guardable(**ip)) {
        Some(&ip) => Err(Error::Unguardable(ip)),
        None => Ok(wanted),
    }
}

/// Whether a server on another host can have this address, so that it can be guarded. Guarding loopback would cut the
/// agent off from its own listeners.
#[must_use]
pub fn is_guardable(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || broadcast)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<T: std::str::FromStr + Ord>(texts: &[&str]) -> BTreeSet<T> {
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }

    #[test]
    fn ports_add_up_and_give_way_to_the_whole_address() {
        let endpoints = set(&["192.0.2.9:3128", "[::ffff:192.0.2.9]:8080", "203.0.113.10:3128"]);
        let wanted = wanted(&set(&["203.0.113.10"]), &endpoints).unwrap();
        let proxy = "192.0.2.9".parse().unwrap();
        let expected =
            [(proxy, Ports::of(&[3128, 8080]).unwrap()), ("203.0.113.10".parse().unwrap(), Ports::EVERY)];
        assert_eq!(wanted, BTreeMap::from(expected));
    }

    #[test]
    fn a_port_that_is_none_and_a_port_too_many_are_refused() {
        let many = ["192.0.2.9:1", "192.0.2.9:2", "192.0.2.9:3", "192.0.2.9:4", "192.0.2.9:5"];
        for endpoints in [many.as_slice(), &["192.0.2.9:0"]] {
            let refused = wanted(&BTreeSet::new(), &set(endpoints));
            assert!(matches!(refused, Err(Error::Ports { max: PORTS_MAX, .. })), "{refused:?}");
        }
        assert!(matches!(wanted(&BTreeSet::new(), &set(&["127.0.0.1:3128"])), Err(Error::Unguardable(_))));
    }

    #[test]
    fn only_an_address_of_another_host_can_be_guarded() {
        for text in ["203.0.113.10", "10.1.2.3", "169.254.1.1", "2001:db8::10", "fd00::1"] {
            assert!(is_guardable(text.parse().unwrap()), "{text}");
        }
        for text in
            ["127.0.0.1", "127.8.9.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "ff02::1"]
        {
            assert!(!is_guardable(text.parse().unwrap()), "{text}");
        }
        // What the programs do not look up.
        for text in ["127.0.0.1", "127.8.9.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"] {
            let ip = text.parse::<IpAddr>().unwrap().to_canonical();
            assert!(Address::from(ip).is_this_hosts() && !is_guardable(ip), "{text}");
        }
    }
}
