//! Packets that others make and this host only forwards: dropped where they go to a guarded address.
//!
//! In a container with the rights to do so, a process can put packets together by itself (a packet socket, a TUN
//! device, a network stack of its own) or rewrite them on their way out, behind every hook on a cgroup. The host then
//! forwards them. The agent's own connections start on the host and are not forwarded, so all that is can be dropped.
//! This is done by a table of nftables in the agent's network namespace, one per pin folder, replaced as a whole in one
//! step. Like the pins it outlives the agent. What does not pass the host's own forwarding does not meet it: a device
//! that a container shares with the outside (macvlan, a bridge, SR-IOV), or a container network that goes by netfilter.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    path::{Component, Path},
};

use crate::{
    error::Error,
    nft::{self, NftError},
    preflight::Problem,
};

/// Where packets must not be forwarded to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    /// Whatever the protocol and the port.
    pub(crate) addrs: BTreeSet<IpAddr>,
    /// By every protocol that has ports, to these.
    pub(crate) endpoints: BTreeSet<SocketAddr>,
}

impl Targets {
    fn is_empty(&self) -> bool {
        self.addrs.is_empty() && self.endpoints.is_empty()
    }
}

/// The table of one agent, and what is known of it.
#[derive(Debug)]
pub(crate) struct Forward {
    table: String,
    /// Whether the operator wants it.
    is_on: bool,
    targets: Targets,
    /// How `nft` wrote it down when it was last put in place; none if it was not.
    listed: Option<String>,
    fault: Option<String>,
}

impl Forward {
    /// For the agent with these pins. Nothing is done yet.
    pub(crate) fn new(pins: &Path, is_on: bool) -> Self {
        Self { table: table_name(pins), is_on, targets: Targets::default(), listed: None, fault: None }
    }

    /// Goes on from what an earlier agent has left, which guarded `targets`.
    pub(crate) fn take_over(&mut self, targets: &Targets) {
        if self.is_on && !targets.is_empty() {
            self.replace(targets);
        } else if !self.is_on
            && let Err(error) = self.try_remove()
        {
            tracing::warn!(table = self.table, %error, "the table of nftables of an earlier agent stays");
        }
    }

    /// Makes `targets` where nothing is forwarded to, and puts the table back if somebody has changed it. A fault is logged once and
    /// kept for [`dropped`](Self::dropped): everything else works without the table.
    pub(crate) fn replace(&mut self, targets: &Targets) {
        if !self.is_on {
            return;
        }
        let done = self.try_replace(targets);
        let fault = done.err().map(|error| error.problem());
        let text = fault.as_ref().map(|fault| format!("{}: {}", fault.problem, fault.fix));
        if text != self.fault {
            match &fault {
                Some(Problem { problem, fix }) => tracing::warn!(
                    problem,
                    fix,
                    "packets that containers make themselves are not dropped; all else is guarded"
                ),
                None => tracing::info!("packets that containers make themselves are dropped again"),
            }
        }
        self.fault = text;
    }

    fn try_replace(&mut self, targets: &Targets) -> Result<(), NftError> {
        if self.listed.is_some() {
            let is_as_left = list(&self.table)? == self.listed;
            if is_as_left && self.targets == *targets {
                return Ok(());
            }
            if !is_as_left {
                tracing::warn!(table = self.table, "somebody changed the table of nftables: it is put back");
            }
        }
        let dropped = dropped(&self.table)?.unwrap_or_default();
        self.listed = None;
        nft::run(&["-f", "-"], &script(&self.table, targets, dropped))?;
        self.targets = targets.clone();
        self.listed = list(&self.table)?;
        Ok(())
    }

    /// Where it is not wanted, what an earlier agent left goes.
    fn try_remove(&mut self) -> Result<(), NftError> {
        match list(&self.table) {
            Ok(None) | Err(NftError::Missing) => Ok(()),
            Ok(Some(_)) => delete(&self.table),
            Err(error) => Err(error),
        }
    }

    /// How many packets were dropped since the table was first made; none where it is not wanted, or not made yet. The
    /// error says what is wrong, and the fix.
    pub(crate) fn dropped(&self) -> Result<Option<u64>, String> {
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None if !self.is_on => Ok(None),
            None => match dropped(&self.table).map_err(|error| error.to_string())? {
                None if self.listed.is_some() => Err(format!(
                    "the table {} of nftables is gone: it is put back at the next look",
                    self.table
                )),
                count => Ok(count),
            },
        }
    }

    /// Takes the table away.
    pub(crate) fn remove(self) -> Result<(), Error> {
        match remove_table(&self.table) {
            // Where it could not be put in place, there is usually none.
            Err(error) if self.fault.is_some() => {
                tracing::warn!(%error, "whether a table of nftables is left cannot be found out");
                Ok(())
            }
            removed => removed,
        }
    }
}

/// Takes away the table that an agent with these pins has left, if there is one.
pub(crate) fn remove(pins: &Path) -> Result<(), Error> {
    remove_table(&table_name(pins))
}

fn remove_table(table: &str) -> Result<(), Error> {
    match delete(table) {
        // Whoever made one had it.
        Ok(()) | Err(NftError::Missing) => Ok(()),
        Err(source) => Err(Error::Forward { table: table.to_owned(), source }),
    }
}

/// How many forwarded packets the table of the agent with these pins has dropped, whether that agent runs or not; none
/// if there is no table in the calling thread's network namespace.
///
/// # Errors
/// When `nft` cannot be asked.
pub fn dropped_of(pins: &Path) -> Result<Option<u64>, NftError> {
    dropped(&table_name(pins))
}

/// Whether the table could be put in place here. Changes nothing.
pub(crate) fn check(pins: &Path) -> Result<String, Problem> {
    let table = table_name(pins);
    let trial = nft::run(&["-c", "-f", "-"], &script(&table, &Targets::default(), 0));
    trial.map(|_| format!("table inet {table} of nftables")).map_err(|error| error.problem())
}

/// A name that no other folder has: the path, with a hyphen for each slash, and letters, digits and dots as they are.
fn table_name(pins: &Path) -> String {
    let mut name = "snowfence".to_owned();
    for component in pins.components() {
        let Component::Normal(part) = component else { continue };
        name.push('-');
        for &byte in part.as_encoded_bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'.' {
                name.push(char::from(byte));
            } else {
                // Writing to a string does not fail.
                let _written = write!(name, "_{byte:02x}");
            }
        }
    }
    name
}

/// One transaction: whatever was there under this name goes, and there is no moment without.
fn script(table: &str, targets: &Targets, dropped: u64) -> String {
    let (v4, v6): (Vec<IpAddr>, Vec<_>) = targets.addrs.iter().partition(|ip| ip.is_ipv4());
    let (ports4, ports6): (Vec<SocketAddr>, Vec<_>) = targets.endpoints.iter().partition(|at| at.is_ipv4());
    let (v4, v6) =
        (elements(v4.iter().map(ToString::to_string)), elements(v6.iter().map(ToString::to_string)));
    let pair = |at: &SocketAddr| format!("{} . {}", at.ip(), at.port());
    let (ports4, ports6) = (elements(ports4.iter().map(pair)), elements(ports6.iter().map(pair)));
    format!(
        "add table inet {table}
delete table inet {table}
table inet {table} {{
  comment \"snowfence: forwarded packets to guarded addresses\"
  counter dropped {{ packets {dropped} bytes 0 }}
  set guarded4 {{ type ipv4_addr{v4}; }}
  set guarded6 {{ type ipv6_addr{v6}; }}
  set ports4 {{ type ipv4_addr . inet_service{ports4}; }}
  set ports6 {{ type ipv6_addr . inet_service{ports6}; }}
  chain forward {{
    type filter hook forward priority -400; policy accept;
    ip daddr @guarded4 counter name dropped drop
    ip6 daddr @guarded6 counter name dropped drop
    ip daddr . th dport @ports4 counter name dropped drop
    ip6 daddr . th dport @ports6 counter name dropped drop
  }}
}}
"
    )
}

/// The elements of a set; `nft` does not take an empty list.
fn elements(list: impl Iterator<Item = String>) -> String {
    let list: Vec<String> = list.collect();
    if list.is_empty() { String::new() } else { format!("; elements = {{ {} }}", list.join(", ")) }
}

fn delete(table: &str) -> Result<(), NftError> {
    // Adding what is there is no error, and deleting what is not there would be one.
    nft::run(&["-f", "-"], &format!("add table inet {table}\ndelete table inet {table}\n")).map(drop)
}

/// The table as `nft` writes it, without counts; none if there is none.
fn list(table: &str) -> Result<Option<String>, NftError> {
    ask(&["-s", "list", "table", "inet", table])
}

fn dropped(table: &str) -> Result<Option<u64>, NftError> {
    let answer = ask(&["list", "counter", "inet", table, "dropped"])?;
    Ok(answer.as_deref().and_then(packets))
}

/// A question about something that may not be there.
fn ask(args: &[&str]) -> Result<Option<String>, NftError> {
    match nft::run(args, "") {
        Ok(answer) => Ok(Some(answer)),
        Err(NftError::Refused(complaint)) if complaint.contains("No such file or directory") => Ok(None),
        Err(error) => Err(error),
    }
}

/// `packets 3 bytes 120`
fn packets(answer: &str) -> Option<u64> {
    let mut words = answer.split_whitespace();
    words.find(|word| *word == "packets")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pin_folder_has_a_table_name_of_its_own() {
        assert_eq!(table_name(Path::new("/sys/fs/bpf/snowfence")), "snowfence-sys-fs-bpf-snowfence");
        assert_eq!(table_name(Path::new("/sys/fs/bpf/snowfence/")), "snowfence-sys-fs-bpf-snowfence");
        let names = ["/a/b", "/a-b", "/a_b", "/a.b", "/a b", "/a;b", "/a/b_2d", "/ab", "/a\u{e9}b"];
        let distinct: BTreeSet<String> = names.iter().map(|name| table_name(Path::new(name))).collect();
        assert_eq!(distinct.len(), names.len());
        for name in distinct {
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{name}");
        }
    }

    #[test]
    fn a_script_replaces_the_table_and_lists_each_address_once() {
        let targets = Targets {
            addrs: ["203.0.113.10", "2001:db8::10", "203.0.113.11"].map(|text| text.parse().unwrap()).into(),
            endpoints: ["192.0.2.7:3128", "[2001:db8::7]:80"].map(|text| text.parse().unwrap()).into(),
        };
        let text = script("t", &targets, 7);
        assert!(text.starts_with("add table inet t\ndelete table inet t\ntable inet t {"));
        assert!(text.contains("elements = { 203.0.113.10, 203.0.113.11 }"), "{text}");
        assert!(text.contains("elements = { 2001:db8::10 }") && text.contains("packets 7 "), "{text}");
        assert!(text.contains("elements = { 192.0.2.7 . 3128 }"), "{text}");
        assert!(text.contains("elements = { 2001:db8::7 . 80 }"), "{text}");
        assert!(!script("t", &Targets::default(), 0).contains("elements"));
    }

    #[test]
    fn a_count_is_read_from_its_place() {
        assert_eq!(packets("counter dropped {\n\t\tpackets 12 bytes 480\n\t}"), Some(12));
        for none in ["", "packets", "packets x", "bytes 3"] {
            assert_eq!(packets(none), None, "{none:?}");
        }
    }
}
