//! What a mask may write into a column of a given type.
//!
//! The rule comes from trying each type with each driver: NULL is taken everywhere; any text in a text column; any
//! JSON value in a column of JSON documents; a value of the same type. A text in a number column ends in a crash of the
//! Python process with Arrow, and in a wrong number without an error with JSON, unless row type, field and metadata all say
//! that the column is text.

use crate::{calendar::Unit, document, instant::Instant, kind::Kind, mask::Mask, render};

/// What happens to the cells of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// They stay.
    Keep,
    /// They become NULL.
    Null,
    /// They become what the mask makes of their text.
    Text(Mask),
    /// They become another JSON document.
    Document(Mask),
    /// They become the first instant of the year or month that they are in.
    Truncated(Kind, Unit),
    /// The column becomes one of text: what the mask makes of each value's text.
    AsText(Kind, Mask),
}

impl Treatment {
    /// What `mask` does to a column of Snowflake's type `type_name` (lower case, as in `rowtype`). A type that is
    /// not known is written as NULL.
    pub(crate) fn of(mask: Option<&Mask>, type_name: &str) -> Self {
        let Some(mask) = mask else { return Self::Keep };
        let (plain, is_retyped) = match mask {
            Mask::Retyped(mask) => (mask.as_ref(), true),
            mask => (mask, false),
        };
        match (plain, Kind::of(type_name)) {
            (Mask::Null, _) => Self::Null,
            (_, Kind::Text) => Self::Text(mask.clone()),
            (_, Kind::Document) => Self::Document(mask.clone()),
            (Mask::Within(_), _) => Self::Null,
            (mask, kind) if is_retyped && kind.can_be_text() => Self::AsText(kind, mask.clone()),
            (Mask::Date(unit), kind) if kind.has_date() => Self::Truncated(kind, *unit),
            _ => Self::Null,
        }
    }

    /// What a JSON cell that is not NULL becomes.
    pub(crate) fn cell(&self, value: &str) -> Option<String> {
        match self {
            Self::Keep => Some(value.to_owned()),
            Self::Null => None,
            Self::Text(mask) => mask.owned_text(value),
            Self::Document(mask) => document::hidden(mask, value),
            Self::Truncated(kind, unit) => truncated(*kind, *unit, value),
            Self::AsText(kind, mask) => mask.owned_text(&render::cell(*kind, value)?),
        }
    }

    /// Whether values can stay as they are, because nothing is in the parts that are masked.
    pub(crate) fn is_partial(&self) -> bool {
        matches!(self, Self::Text(Mask::Within(_)) | Self::Document(Mask::Within(_)))
    }

    /// Whether a value can become NULL.
    pub(crate) fn makes_nulls(&self) -> bool {
        matches!(self, Self::Null | Self::Truncated(..) | Self::AsText(..))
    }

    /// Whether the column becomes one of text.
    pub(crate) fn retypes(&self) -> bool {
        matches!(self, Self::AsText(..))
    }
}

fn truncated(kind: Kind, unit: Unit, cell: &str) -> Option<String> {
    if kind == Kind::Date {
        let day = unit.first_day(i64::from(cell.parse::<i32>().ok()?));
        return i32::try_from(day).ok().map(|day| day.to_string());
    }
    let (instant, digits) = Instant::of_cell(cell)?;
    let cut = match kind {
        // A time of day has no date in it: all of it goes.
        Kind::Time => Instant { seconds: 0, nanos: 0, offset: None },
        _ if instant.offset.is_some() != (kind == Kind::TimestampTz) => return None,
        _ => instant.truncated(unit),
    };
    let mut out = String::new();
    cut.write_cell(digits, &mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Key;

    #[test]
    fn text_goes_into_text_columns_only() {
        let partial = Mask::Partial { keep_last: 2 };
        for (mask, type_name, expected) in [
            (None, "text", Treatment::Keep),
            (None, "no such type", Treatment::Keep),
            (Some(Mask::Null), "text", Treatment::Null),
            (Some(partial.clone()), "text", Treatment::Text(partial.clone())),
            (Some(Mask::KeepDomain), "text", Treatment::Text(Mask::KeepDomain)),
            (Some(partial.clone()), "variant", Treatment::Document(partial.clone())),
            (Some(Mask::KeepDomain), "array", Treatment::Document(Mask::KeepDomain)),
            (Some(Mask::Null), "variant", Treatment::Null),
        ] {
            assert_eq!(Treatment::of(mask.as_ref(), type_name), expected, "{mask:?} on {type_name}");
        }
        let key = Key::named("k");
        let masks =
            [partial, Mask::KeepDomain, Mask::Fixed("x".into()), Mask::Hash(key), Mask::Within([].into())];
        for mask in &masks {
            for type_name in [
                "fixed",
                "real",
                "boolean",
                "date",
                "time",
                "timestamp_ntz",
                "timestamp_ltz",
                "timestamp_tz",
                "binary",
                "decfloat",
                "geography",
                "geometry",
                "vector",
                "map",
                "interval_year_month",
                "file",
                "uuid",
                "TEXT",
                "no such type",
            ] {
                assert_eq!(Treatment::of(Some(mask), type_name), Treatment::Null, "{mask:?} on {type_name}");
            }
        }
    }

    #[test]
    fn dates_are_cut_and_columns_retyped_where_the_type_allows_it() {
        let date = Mask::Date(Unit::Year);
        for type_name in ["date", "time", "timestamp_ntz", "timestamp_ltz", "timestamp_tz"] {
            let expected = Treatment::Truncated(Kind::of(type_name), Unit::Year);
            assert_eq!(Treatment::of(Some(&date), type_name), expected);
        }
        assert_eq!(Treatment::of(Some(&date), "fixed"), Treatment::Null);
        let retyped = Mask::Retyped(Arc::new(Mask::KeepDomain));
        let as_text = Treatment::AsText(Kind::Fixed, Mask::KeepDomain);
        assert_eq!(Treatment::of(Some(&retyped), "fixed"), as_text);
        assert_eq!(Treatment::of(Some(&retyped), "vector"), Treatment::Null);
        assert_eq!(Treatment::of(Some(&Mask::Retyped(Arc::new(Mask::Null))), "fixed"), Treatment::Null);
        assert!(as_text.retypes() && as_text.makes_nulls());
        assert_eq!(Treatment::of(Some(&retyped), "text"), Treatment::Text(retyped));
    }

    #[test]
    fn cells_of_each_flavour_are_cut() {
        let of = |type_name, cell| Treatment::of(Some(&Mask::Date(Unit::Year)), type_name).cell(cell);
        for (type_name, cell, cut) in [
            ("date", "19000", Some("18993")),
            ("date", "-1", Some("-365")),
            ("date", "2022-01-08", None),
            ("time", "36672.500000000", Some("0.000000000")),
            ("timestamp_ntz", "1643760000.123456789", Some("1640995200.000000000")),
            ("timestamp_ltz", "1643760000.123", Some("1640995200.000")),
            ("timestamp_tz", "1643760000.123 1980", Some("1640962800.000 1980")),
            ("timestamp_tz", "1643760000.123", None),
            ("timestamp_ntz", "1643760000.123 1980", None),
            ("timestamp_ntz", "not a time", None),
        ] {
            assert_eq!(of(type_name, cell).as_deref(), cut, "{type_name} {cell}");
        }
    }
}
