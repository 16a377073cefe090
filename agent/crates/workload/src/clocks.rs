//! The clocks of the kernel: connections are dated with one that stands still while the machine is suspended, processes
//! with one that does not, and people with a third.

use std::time::{Duration, SystemTime};

use model::Timestamp;
use rustix::time::{ClockId, clock_gettime};

pub(crate) const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// How the clocks stand to each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// What time it is, and by the clock of connections.
    pub(crate) now: (SystemTime, u64),
    /// How long the machine was suspended.
    pub(crate) suspended_ns: u64,
    pub(crate) ticks_per_second: u64,
}

impl Clocks {
    pub(crate) fn now() -> Self {
        // Read in this order, the difference is never too small.
        let monotonic = nanoseconds(ClockId::Monotonic);
        let boot = nanoseconds(ClockId::Boottime);
        Self {
            now: (SystemTime::now(), monotonic),
            suspended_ns: boot.saturating_sub(monotonic),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
        }
    }

    /// Whether a process began after a connection was opened. Start times are rounded down to whole ticks.
    pub(crate) fn started_after(&self, start_ticks: u64, connected_at_ns: u64) -> bool {
        let start_ns =
            u128::from(start_ticks) * u128::from(NANOSECONDS_PER_SECOND) / u128::from(self.ticks_per_second);
        start_ns > u128::from(connected_at_ns) + u128::from(self.suspended_ns)
    }

    /// The date of something that happened at a time by the clock of connections.
    pub(crate) fn date(&self, at_ns: u64) -> Timestamp {
        let (now, monotonic) = self.now;
        let ago = Duration::from_nanos(monotonic.saturating_sub(at_ns));
        Timestamp::from(now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH))
    }
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(NANOSECONDS_PER_SECOND).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_has_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let clocks =
            Clocks { now: (now, 5 * NANOSECONDS_PER_SECOND), suspended_ns: 0, ticks_per_second: 100 };
        assert_eq!(clocks.date(2 * NANOSECONDS_PER_SECOND).to_string(), "2023-11-14T22:13:17.000000Z");
        assert_eq!(clocks.date(9 * NANOSECONDS_PER_SECOND).to_string(), "2023-11-14T22:13:20.000000Z");
    }
}
