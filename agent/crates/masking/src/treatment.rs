//! What a mask may write into a column of a given type.
//!
//! The rule comes from trying each type with each driver: NULL is taken everywhere; any text in a text column; any
//! JSON value in a column of JSON documents. A text in a number column ends in a crash of the Python process with
//! Arrow, and in a wrong number without an error with JSON.

use crate::mask::{HIDDEN_JSON, Mask};

/// What happens to the cells of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// They stay.
    Keep,
    /// They become NULL.
    Null,
    /// They become what the mask makes of their text.
    Text(Mask),
    /// They become a JSON value that says nothing.
    Json,
}

impl Treatment {
    /// What `mask` does to a column of Snowflake's type `type_name` (lower case, as in `rowtype`). A type that is
    /// not known is written as NULL.
    pub(crate) fn of(mask: Option<Mask>, type_name: &str) -> Self {
        match mask {
            None => Self::Keep,
            Some(Mask::Null) => Self::Null,
            Some(mask @ (Mask::Partial { .. } | Mask::KeepDomain)) => match type_name {
                "text" => Self::Text(mask),
                "variant" | "object" | "array" => Self::Json,
                _ => Self::Null,
            },
        }
    }

    /// What a cell that is not NULL becomes.
    pub(crate) fn cell(self, value: String) -> Option<String> {
        match self {
            Self::Keep => Some(value),
            Self::Null => None,
            Self::Text(mask) => mask.text(&value),
            Self::Json => Some(HIDDEN_JSON.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_into_text_columns_only() {
        let partial = Mask::Partial { keep_last: 2 };
        for (mask, type_name, expected) in [
            (None, "text", Treatment::Keep),
            (None, "no such type", Treatment::Keep),
            (Some(Mask::Null), "text", Treatment::Null),
            (Some(partial), "text", Treatment::Text(partial)),
            (Some(Mask::KeepDomain), "text", Treatment::Text(Mask::KeepDomain)),
            (Some(partial), "variant", Treatment::Json),
            (Some(partial), "object", Treatment::Json),
            (Some(Mask::KeepDomain), "array", Treatment::Json),
            (Some(Mask::Null), "variant", Treatment::Null),
            (Some(partial), "fixed", Treatment::Null),
            (Some(partial), "real", Treatment::Null),
            (Some(partial), "boolean", Treatment::Null),
            (Some(partial), "date", Treatment::Null),
            (Some(partial), "timestamp_tz", Treatment::Null),
            (Some(partial), "binary", Treatment::Null),
            (Some(partial), "geography", Treatment::Null),
            (Some(partial), "vector", Treatment::Null),
            (Some(partial), "map", Treatment::Null),
            (Some(partial), "TEXT", Treatment::Null),
            (Some(partial), "no such type", Treatment::Null),
        ] {
            assert_eq!(Treatment::of(mask, type_name), expected, "{mask:?} on {type_name}");
        }
    }
}
