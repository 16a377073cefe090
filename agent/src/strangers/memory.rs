//! What addresses showed, for as long as it is believed.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    time::{Duration, Instant},
};

use model::HostName;

/// How long an address that is another's is not asked again. Addresses at a cloud change hands within minutes; one that
/// becomes Snowflake's is then still guarded for whoever asks it for a guarded name.
const OTHERS_FOR: Duration = Duration::from_secs(600);

/// How long an address that could not be decided is refused without being asked again.
const UNDECIDED_FOR: Duration = Duration::from_secs(5);

/// Most of each that are remembered. Beyond it the oldest is forgotten, and asked again.
const OTHERS_MAX: usize = 8_192;
const UNDECIDED_MAX: usize = 1_024;

/// Verdicts. That an address is Snowflake's is for the guarded set to remember.
#[derive(Debug, Default)]
pub(super) struct Memory {
    others: HashMap<IpAddr, Instant>,
    undecided: HashMap<(IpAddr, Option<HostName>), (Instant, String)>,
}

impl Memory {
    pub(super) fn is_others(&self, ip: IpAddr, now: Instant) -> bool {
        self.others.get(&ip).is_some_and(|at| now.duration_since(*at) < OTHERS_FOR)
    }

    /// Why a question was left open a moment ago.
    pub(super) fn undecided(&self, question: &(IpAddr, Option<HostName>), now: Instant) -> Option<&str> {
        let (at, reason) = self.undecided.get(question)?;
        (now.duration_since(*at) < UNDECIDED_FOR).then_some(reason.as_str())
    }

    pub(super) fn learn_others(&mut self, ip: IpAddr, now: Instant) {
        make_room(&mut self.others, OTHERS_MAX, |at| *at);
        self.others.insert(ip, now);
    }

    pub(super) fn learn_undecided(
        &mut self,
        question: (IpAddr, Option<HostName>),
        reason: String,
        now: Instant,
    ) {
        make_room(&mut self.undecided, UNDECIDED_MAX, |(at, _)| *at);
        self.undecided.insert(question, (now, reason));
    }
}

/// Forgets the older half of a full map, so that it is not searched for each entry.
fn make_room<K: Eq + Hash, V>(map: &mut HashMap<K, V>, max: usize, at: impl Fn(&V) -> Instant) {
    if map.len() < max {
        return;
    }
    let mut times: Vec<Instant> = map.values().map(&at).collect();
    let (_, median, _) = times.select_nth_unstable(max / 2);
    let median = *median;
    map.retain(|_, value| at(value) > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn a_verdict_is_believed_for_its_time_and_no_longer() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        memory.learn_others(ip(1), start);
        assert!(memory.is_others(ip(1), start + OTHERS_FOR / 2));
        assert!(!memory.is_others(ip(1), start + OTHERS_FOR));
        assert!(!memory.is_others(ip(2), start));
        let name = HostName::parse("www.example.org").unwrap();
        memory.learn_undecided((ip(3), Some(name.clone())), "silent".to_owned(), start);
        assert_eq!(memory.undecided(&(ip(3), Some(name.clone())), start), Some("silent"));
        assert_eq!(memory.undecided(&(ip(3), None), start), None, "another name may bring an answer");
        assert_eq!(memory.undecided(&(ip(3), Some(name)), start + UNDECIDED_FOR), None);
    }

    #[test]
    fn a_full_memory_forgets_the_oldest() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let max = u32::try_from(OTHERS_MAX).unwrap();
        for n in 0..=max {
            memory.learn_others(ip(n), start + Duration::from_millis(n.into()));
        }
        assert!(memory.others.len() <= OTHERS_MAX);
        let now = start + Duration::from_secs(10);
        assert!(!memory.is_others(ip(0), now) && memory.is_others(ip(max), now));
        assert!(memory.is_others(ip(max - 1), now));
    }
}
