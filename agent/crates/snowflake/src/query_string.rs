//! The query string of a request's address, read one way only.

use indexmap::{IndexMap, map::Entry};

use crate::error::shown;

/// Why a query string has no single reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryStringError {
    /// One parameter is there twice.
    #[error("the address has the parameter {name:?} twice")]
    Duplicate {
        /// Its name, shortened.
        name: String,
    },
    /// A `%` is not followed by two hex digits, or what it stands for is not UTF-8.
    #[error("the address has a parameter with a broken % escape")]
    Escape,
}

/// Parameters by name, decoded as a form is: `+` is a space.
#[derive(Default)]
pub(crate) struct QueryString(IndexMap<String, String>);

impl QueryString {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, QueryStringError> {
        let mut parameters = IndexMap::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match parameters.entry(decoded(name)?) {
                Entry::Vacant(entry) => entry.insert(decoded(value)?),
                Entry::Occupied(entry) => {
                    return Err(QueryStringError::Duplicate { name: shown(entry.key()) });
                }
            };
        }
        Ok(Self(parameters))
    }

    /// Every parameter's name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether a parameter is there, with or without a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A parameter's value; `None` when it is not there or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

fn decoded(text: &str) -> Result<String, QueryStringError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = rest.next().and_then(hex);
                let low = rest.next().and_then(hex);
                let (Some(high), Some(low)) = (high, low) else { return Err(QueryStringError::Escape) };
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| QueryStringError::Escape)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_as_a_form() {
        let query =
            QueryString::parse(Some("databaseName=MY+DB&schemaName=%22a%26b%22&warehouse=&&x")).unwrap();
        assert_eq!(query.get("databaseName"), Some("MY DB"));
        assert_eq!(query.get("schemaName"), Some("\"a&b\""));
        assert_eq!(query.get("warehouse"), None);
        assert_eq!(query.get("x"), None);
        assert_eq!(query.get("roleName"), None);
        assert_eq!(QueryString::parse(None).unwrap().get("x"), None);
    }

    #[test]
    fn two_readings_are_refused() {
        for bad in ["a=1&a=2", "a=1&%61=2", "a&a", "a=%", "a=%4", "a=%zz", "a=%+1", "%ff=1", "a=%c3"] {
            assert!(QueryString::parse(Some(bad)).is_err(), "{bad}");
        }
    }
}
