//! Session and statement parameters that a client sets beside the text.

use std::fmt;

use indexmap::IndexMap;

use crate::{
    error::{DecodeError, shown},
    json::{JsonError, Object},
};

/// Parameters that change which object a name in a statement means. Under them a text does not say what it says.
/// Source: Snowflake documentation, "Parameters".
const NAME_CHANGING: [&str; 2] = ["QUOTED_IDENTIFIERS_IGNORE_CASE", "SEARCH_PATH"];

/// Parameters by name, upper case. `Debug` shows the names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters(IndexMap<String, String>);

impl Parameters {
    /// Reads the object that `key` holds; a missing one is empty.
    pub(crate) fn read(object: &Object<'_>, key: &'static str) -> Result<Self, DecodeError> {
        let Some(written) = object.object(key)? else { return Ok(Self::default()) };
        let mut parameters = IndexMap::with_capacity(written.len());
        for (name, value) in written.entries() {
            let value = match value.get().as_bytes().first() {
                Some(b'"') => serde_json::from_str(value.get()).map_err(|_| not_scalar(name))?,
                Some(b'{' | b'[') | None => return Err(not_scalar(name)),
                Some(_) => value.get().to_owned(),
            };
            // Snowflake does not mind the case of a parameter's name, so two spellings are one parameter twice.
            if parameters.insert(name.to_uppercase(), value).is_some() {
                return Err(JsonError::DuplicateKey { key: shown(name) }.into());
            }
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter, by its upper-case name. A number, `true` or `null` is given as it is spelled in JSON.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All names, upper case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A parameter among them under which names in statements mean other objects than they seem to, if there is one.
    #[must_use]
    pub fn name_changing(&self) -> Option<&'static str> {
        NAME_CHANGING.into_iter().find(|name| self.0.contains_key(*name))
    }
}

impl Parameters {
    /// What is said of one among them that sets a variable of the session (`$t`), if there is one: a statement may then
    /// mean another table by it than it seems to.
    /// Source: Snowflake documentation, "SQL variables", "Setting variables on connection".
    #[must_use]
    pub fn variable_setting(&self) -> Option<&'static str> {
        self.names().any(|name| name.starts_with('$')).then_some("a session variable beside its text")
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

fn not_scalar(name: &str) -> DecodeError {
    DecodeError::wrong_type(name, "a text, a number, true, false or null")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Parameters, DecodeError> {
        Parameters::read(&Object::parse(json).unwrap(), "p")
    }

    #[test]
    fn scalars_are_read_by_upper_case_name() {
        let p = read(r#"{"p":{"query_tag":"a\"b","MULTI_STATEMENT_COUNT":0,"AUTOCOMMIT":true,"X":null}}"#)
            .unwrap();
        assert_eq!(p.get("QUERY_TAG"), Some("a\"b"));
        assert_eq!(p.get("MULTI_STATEMENT_COUNT"), Some("0"));
        assert_eq!(p.get("AUTOCOMMIT"), Some("true"));
        assert_eq!(p.names().count(), 4);
        assert_eq!((p.name_changing(), p.variable_setting()), (None, None));
        assert!(read(r#"{"p":{"$t":"orders"}}"#).unwrap().variable_setting().is_some());
        assert_eq!(read("{}").unwrap(), Parameters::default());
        assert_eq!(read(r#"{"p":null}"#).unwrap(), Parameters::default());
    }

    #[test]
    fn parameters_that_change_names_are_found() {
        assert_eq!(read(r#"{"p":{"search_Path":"x"}}"#).unwrap().name_changing(), Some("SEARCH_PATH"));
        let quoted = r#"{"p":{"QUOTED_IDENTIFIERS_IGNORE_CASE":false}}"#;
        assert_eq!(read(quoted).unwrap().name_changing(), Some("QUOTED_IDENTIFIERS_IGNORE_CASE"));
    }

    #[test]
    fn other_shapes_are_refused() {
        for bad in [
            r#"{"p":[]}"#,
            r#"{"p":"x"}"#,
            r#"{"p":{"a":{}}}"#,
            r#"{"p":{"a":[1]}}"#,
            r#"{"p":{"a":1,"A":2}}"#,
            r#"{"p":{"a":1,"a":1}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let p = read(r#"{"p":{"QUERY_TAG":"hunter2"}}"#).unwrap();
        assert_eq!(format!("{p:?}"), "{\"QUERY_TAG\"}");
    }
}
