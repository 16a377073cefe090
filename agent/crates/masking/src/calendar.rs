//! Days since 1 January 1970 and the proleptic Gregorian calendar, which Snowflake's dates are in.

/// The seconds of a day.
pub(crate) const DAY_SECONDS: i64 = 86_400;

/// The days of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// From 1 March of the year 0 to 1 January 1970.
const EPOCH_DAYS: i64 = 719_468;

/// How much of a date is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// The year: 1 January.
    Year,
    /// Year and month: the first of the month.
    Month,
}

impl Unit {
    /// The first day of the year or month that a day is in.
    pub(crate) fn first_day(self, day: i64) -> i64 {
        let (year, month, _) = date(day);
        day_of(year, if self == Self::Year { 1 } else { month }, 1)
    }
}

/// Year, month and day of month. The year is counted from March inside, so that the leap day is its last.
pub(crate) fn date(day: i64) -> (i64, i64, i64) {
    let shifted = day + EPOCH_DAYS;
    let (era, day_of_era) = (shifted.div_euclid(ERA_DAYS), shifted.rem_euclid(ERA_DAYS));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day_of_month)
}

/// The day of a date.
pub(crate) fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA_DAYS + day_of_era - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates_and_back() {
        for (day, expected) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (18_993, (2022, 1, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (-25_509, (1900, 2, 28)),
            (-25_508, (1900, 3, 1)),
            (-719_162, (1, 1, 1)),
            (-719_528, (0, 1, 1)),
            (2_932_896, (9999, 12, 31)),
        ] {
            assert_eq!(date(day), expected, "{day}");
            assert_eq!(day_of(expected.0, expected.1, expected.2), day);
        }
        let mut before = date(-800_001);
        for day in -800_000..800_000 {
            let now = date(day);
            assert!(now > before, "{day}");
            assert_eq!(day_of(now.0, now.1, now.2), day);
            before = now;
        }
    }

    #[test]
    fn a_unit_begins_where_the_calendar_says() {
        for (unit, day, first) in [
            (Unit::Month, (2024, 2, 29), (2024, 2, 1)),
            (Unit::Year, (2024, 2, 29), (2024, 1, 1)),
            (Unit::Year, (1969, 12, 31), (1969, 1, 1)),
            (Unit::Month, (-4, 12, 31), (-4, 12, 1)),
        ] {
            let of = |(year, month, day)| day_of(year, month, day);
            assert_eq!(unit.first_day(of(day)), of(first));
        }
    }
}
