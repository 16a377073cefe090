//! Points in time as results hold them: seconds with a fraction, and an offset where the type has one.

use std::fmt::Write as _;

use crate::{
    calendar::{DAY_SECONDS, Unit},
    text::write_date,
};

/// Digits of a fraction of a second: nanoseconds.
const FRACTION_DIGITS: u32 = 9;
const SECOND_NANOS: i128 = 1_000_000_000;
/// More seconds than any date of Snowflake's has; what is beyond is no date.
const SECONDS_MAX: i64 = 1_000_000_000_000_000;
/// What is added to an offset in minutes where one is sent.
const OFFSET_BIAS: i64 = 1_440;
/// The largest offset, in minutes either way.
const OFFSET_MAX: i64 = 1_440;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant {
    /// Whole seconds since 1970, UTC.
    pub(crate) seconds: i64,
    /// Nanoseconds after them.
    pub(crate) nanos: u32,
    /// The offset in minutes east of UTC, for a type that has one.
    pub(crate) offset: Option<i64>,
}

impl Instant {
    /// So many units of `10^-scale` seconds since 1970.
    pub(crate) fn of_units(units: i64, scale: u32) -> Option<Self> {
        let unit_nanos = 10_i128.pow(FRACTION_DIGITS.checked_sub(scale)?);
        Self::of_nanos(i128::from(units) * unit_nanos)
    }

    fn of_nanos(nanos: i128) -> Option<Self> {
        let seconds = i64::try_from(nanos.div_euclid(SECOND_NANOS)).ok()?;
        let nanos = u32::try_from(nanos.rem_euclid(SECOND_NANOS)).ok()?;
        (-SECONDS_MAX..=SECONDS_MAX).contains(&seconds).then_some(Self { seconds, nanos, offset: None })
    }

    /// With an offset as it is sent.
    pub(crate) fn with_sent_offset(self, sent: i64) -> Option<Self> {
        let offset = sent.checked_sub(OFFSET_BIAS)?;
        (-OFFSET_MAX..=OFFSET_MAX).contains(&offset).then_some(Self { offset: Some(offset), ..self })
    }

    /// The offset as it is sent.
    pub(crate) fn sent_offset(self) -> Option<i64> {
        self.offset.map(|offset| offset + OFFSET_BIAS)
    }

    /// Reads a JSON cell: `-1.500000000`, and with an offset `1640995200.000000000 1980`. Gives the digits of the fraction
    /// too.
    pub(crate) fn of_cell(cell: &str) -> Option<(Self, usize)> {
        let (time, offset) = match cell.split_once(' ') {
            Some((time, offset)) => (time, Some(offset.parse().ok()?)),
            None => (cell, None),
        };
        let (sign, unsigned) = match time.strip_prefix('-') {
            Some(unsigned) => (-1, unsigned),
            None => (1, time),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let scale = u32::try_from(fraction.len()).ok()?;
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let unit_nanos = 10_i128.pow(FRACTION_DIGITS.checked_sub(scale)?);
        let parts: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        let nanos = i128::from(whole.parse::<i64>().ok()?) * SECOND_NANOS + parts * unit_nanos;
        let instant = Self::of_nanos(sign * nanos)?;
        let instant = match offset {
            Some(sent) => instant.with_sent_offset(sent)?,
            None => instant,
        };
        Some((instant, fraction.len()))
    }

    /// Writes a JSON cell of an instant without a fraction, with so many digits for it.
    pub(crate) fn write_cell(self, fraction_digits: usize, out: &mut String) {
        write!(out, "{}", self.seconds).unwrap_or_default();
        if fraction_digits > 0 {
            write!(out, ".{:0fraction_digits$}", 0).unwrap_or_default();
        }
        if let Some(sent) = self.sent_offset() {
            write!(out, " {sent}").unwrap_or_default();
        }
    }

    /// The first instant of the year or month that it is in, where it was: by its own offset, or else UTC.
    pub(crate) fn truncated(self, unit: Unit) -> Self {
        let east = self.offset.unwrap_or_default() * 60;
        let day = (self.seconds + east).div_euclid(DAY_SECONDS);
        Self { seconds: unit.first_day(day) * DAY_SECONDS - east, nanos: 0, ..self }
    }

    /// As ISO 8601 has it, without zeros at the end of the fraction: `2022-01-01T00:00:00.5+09:00`.
    pub(crate) fn write(self, out: &mut String) {
        let local = self.seconds + self.offset.unwrap_or_default() * 60;
        write_date(local.div_euclid(DAY_SECONDS), out);
        out.push('T');
        write_time(local.rem_euclid(DAY_SECONDS), self.nanos, out);
        if let Some(offset) = self.offset {
            let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
            write!(out, "{sign}{:02}:{:02}", minutes / 60, minutes % 60).unwrap_or_default();
        }
    }

    /// The time of day alone: `10:11:12.5`.
    pub(crate) fn write_time_of_day(self, out: &mut String) {
        write_time(self.seconds.rem_euclid(DAY_SECONDS), self.nanos, out);
    }
}

fn write_time(seconds: i64, nanos: u32, out: &mut String) {
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    write!(out, "{hours:02}:{minutes:02}:{:02}", seconds % 60).unwrap_or_default();
    if nanos > 0 {
        let fraction = format!(".{nanos:09}");
        out.push_str(fraction.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_cut_and_written() {
        for (cell, unit, cut) in [
            ("1640995200.123456789", Unit::Year, "1640995200.000000000"),
            ("1643760000.5", Unit::Month, "1643673600.0"),
            ("1643760000", Unit::Year, "1640995200"),
            ("-0.500000000", Unit::Year, "-31536000.000000000"),
            ("-1", Unit::Month, "-2678400"),
            // By its own offset it is still 2021 there, or already 2022.
            ("1640995199.000 1440", Unit::Year, "1609459200.000 1440"),
            ("1640995199.000 1980", Unit::Year, "1640962800.000 1980"),
        ] {
            let (instant, digits) = Instant::of_cell(cell).unwrap();
            let mut out = String::new();
            instant.truncated(unit).write_cell(digits, &mut out);
            assert_eq!(out, cut, "{cell}");
        }
        for bad in
            ["", "x", "1.", "1.x", "--1", "+1", "1 x", "1.0000000001", "9999999999999999999", "1 9999", "-"]
        {
            assert!(Instant::of_cell(bad).is_none_or(|_| bad == "1."), "{bad}");
        }
    }

    #[test]
    fn instants_are_shown_as_people_write_them() {
        for (cell, shown) in [
            ("1640995200.500000000", "2022-01-01T00:00:00.5"),
            ("-0.000000001", "1969-12-31T23:59:59.999999999"),
            ("1640995199.000 1980", "2022-01-01T08:59:59+09:00"),
            ("0 1110", "1969-12-31T18:30:00-05:30"),
        ] {
            let mut out = String::new();
            Instant::of_cell(cell).unwrap().0.write(&mut out);
            assert_eq!(out, shown, "{cell}");
        }
        let mut out = String::new();
        Instant::of_units(36_672_500, 3).unwrap().write_time_of_day(&mut out);
        assert_eq!(out, "10:11:12.5");
        assert_eq!(Instant::of_units(i64::MAX, 0), None);
        assert_eq!(Instant::of_units(1, 10), None);
    }
}
