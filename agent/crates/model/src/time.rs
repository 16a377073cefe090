//! Time as a value. Nothing here reads a clock.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

/// A point in time, in whole microseconds of UTC, as the record writes it (RFC 3339).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// From seconds after the Unix epoch, as tokens carry them. Out of range becomes the nearest end of it.
    #[must_use]
    pub fn from_unix_seconds(seconds: i64) -> Self {
        Self(jiff::Timestamp::from_second(seconds).unwrap_or(if seconds < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        }))
    }

    /// Whole seconds after the Unix epoch.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    /// Time from `earlier` to this point; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0.duration_since(earlier.0)).unwrap_or(Duration::ZERO)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let micros = jiff::Timestamp::try_from(time).map_or(i64::MAX, jiff::Timestamp::as_microsecond);
        Self(jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prints_as_rfc_3339_and_subtracts() {
        let t = Timestamp::from_unix_seconds(1_700_000_000);
        assert_eq!(t.to_string(), "2023-11-14T22:13:20.000000Z");
        assert_eq!(Timestamp::from_unix_seconds(1_700_000_060).since(t), Duration::from_secs(60));
        assert_eq!(t.since(Timestamp::from_unix_seconds(1_700_000_060)), Duration::ZERO);
    }
}
