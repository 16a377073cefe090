//! What a value of another type is called where a mask makes a text of it. The same value has the same text in both formats,
//! and whatever the scale of its column, so that keyed hashes of both can be joined.

use std::{borrow::Cow, fmt::Write as _};

use crate::{instant::Instant, kind::Kind, text::write_date};

/// The text of a JSON cell; `None` for what is no value of that type.
pub(crate) fn cell(kind: Kind, cell: &str) -> Option<Cow<'_, str>> {
    let mut out = String::new();
    match kind {
        Kind::Fixed => Some(number(cell)),
        Kind::Real => {
            real(cell.parse().ok()?, &mut out);
            Some(out.into())
        }
        Kind::Boolean => match cell {
            "1" | "true" | "TRUE" => Some("true".into()),
            "0" | "false" | "FALSE" => Some("false".into()),
            _ => None,
        },
        Kind::Date => {
            write_date(i64::from(cell.parse::<i32>().ok()?), &mut out);
            Some(out.into())
        }
        Kind::Time => {
            Instant::of_cell(cell)?.0.write_time_of_day(&mut out);
            Some(out.into())
        }
        Kind::Timestamp | Kind::TimestampTz => {
            Instant::of_cell(cell)?.0.write(&mut out);
            Some(out.into())
        }
        Kind::Binary => Some(Cow::Owned(cell.to_ascii_uppercase())),
        Kind::Text | Kind::Document | Kind::Other => None,
    }
}

/// A number without what does not count: `1.50` is `1.5`, and `-0` is `0`.
pub(crate) fn number(text: &str) -> Cow<'_, str> {
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
    let short = match text.contains('.') && is_plain(text) {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    };
    Cow::Borrowed(if short == "-0" { "0" } else { short })
}

/// A floating point number, in the fewest digits that mean it.
pub(crate) fn real(value: f64, out: &mut String) {
    out.push_str(&number(&format!("{value:?}")));
}

/// An unscaled number with so many digits behind the point.
pub(crate) fn decimal(unscaled: i128, scale: usize, out: &mut String) {
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    out.push_str(&number(&format!("{sign}{whole}{point}{fraction}")));
}

/// Bytes in hex, as JSON cells have them.
pub(crate) fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        write!(out, "{byte:02X}").unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_text() {
        for (kind, given, text) in [
            (Kind::Fixed, "1.50", Some("1.5")),
            (Kind::Fixed, "100", Some("100")),
            (Kind::Fixed, "-0.00", Some("0")),
            (Kind::Real, "1.0", Some("1")),
            (Kind::Real, "1e300", Some("1e300")),
            (Kind::Real, "NaN", Some("NaN")),
            (Kind::Real, "x", None),
            (Kind::Boolean, "1", Some("true")),
            (Kind::Boolean, "maybe", None),
            (Kind::Date, "18993", Some("2022-01-01")),
            (Kind::Date, "99999999999", None),
            (Kind::Time, "36672.500000000", Some("10:11:12.5")),
            (Kind::Timestamp, "1640995200.000", Some("2022-01-01T00:00:00")),
            (Kind::Binary, "0aFf", Some("0AFF")),
            (Kind::Other, "x", None),
        ] {
            assert_eq!(cell(kind, given).as_deref(), text, "{given}");
        }
        for (unscaled, scale, text) in [
            (150, 2, "1.5"),
            (-5, 3, "-0.005"),
            (7, 0, "7"),
            (0, 4, "0"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
        ] {
            let mut out = String::new();
            decimal(unscaled, scale, &mut out);
            assert_eq!(out, text);
        }
        let mut out = String::new();
        hex(&[10, 255], &mut out);
        assert_eq!(out, "0AFF");
    }
}
