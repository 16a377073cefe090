//! Which of Snowflake's types there are, as far as masks tell them apart.

/// A type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// TEXT, and what is the same by another name.
    Text,
    /// VARIANT, OBJECT and ARRAY: a JSON document, where it comes as text.
    Document,
    /// NUMBER.
    Fixed,
    /// FLOAT.
    Real,
    /// BOOLEAN.
    Boolean,
    /// DATE.
    Date,
    /// TIME.
    Time,
    /// TIMESTAMP_NTZ and TIMESTAMP_LTZ: an instant, without an offset of its own.
    Timestamp,
    /// TIMESTAMP_TZ: an instant with its offset.
    TimestampTz,
    /// BINARY.
    Binary,
    /// All others: DECFLOAT, VECTOR, MAP, GEOGRAPHY, GEOMETRY, intervals, FILE, UUID, and what comes after this was written.
    Other,
}

impl Kind {
    /// By Snowflake's word, in lower case as in `rowtype`.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "text" => Self::Text,
            "variant" | "object" | "array" => Self::Document,
            "fixed" => Self::Fixed,
            "real" => Self::Real,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp_ntz" | "timestamp_ltz" => Self::Timestamp,
            "timestamp_tz" => Self::TimestampTz,
            "binary" => Self::Binary,
            _ => Self::Other,
        }
    }

    /// Whether its values are dates, or hold one.
    pub(crate) fn has_date(self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::Timestamp | Self::TimestampTz)
    }

    /// Whether both formats show its values as one text each.
    pub(crate) fn can_be_text(self) -> bool {
        !matches!(self, Self::Text | Self::Document | Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_types_in_one_spelling() {
        assert_eq!(Kind::of("timestamp_ltz"), Kind::Timestamp);
        for word in [
            "TEXT",
            "decfloat",
            "vector",
            "map",
            "geography",
            "geometry",
            "interval_day_time",
            "file",
            "uuid",
            "",
        ] {
            assert_eq!(Kind::of(word), Kind::Other, "{word}");
        }
        assert!(Kind::Time.has_date() && !Kind::Fixed.has_date());
        assert!(Kind::Fixed.can_be_text() && !Kind::Other.can_be_text() && !Kind::Text.can_be_text());
    }
}
