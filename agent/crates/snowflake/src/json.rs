//! Strict JSON: one reading only.
//!
//! Values that are only passed on are kept as the text they came as, so that numbers beyond 2^53 and the server's own
//! spelling survive. Nothing here is read through a type that could take one JSON type for another.

use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt};

use indexmap::{IndexMap, map::Entry};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{DecodeError, shown};

/// Levels of nesting in a request; a number counts as one. Drivers send five.
const DEPTH_MAX: usize = 64;

/// Why bytes are not JSON with exactly one reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Some byte is not UTF-8.
    #[error("byte {at} is not UTF-8")]
    NotUtf8 {
        /// Position of the byte, from 0.
        at: usize,
    },
    /// Not JSON, or something comes after it.
    #[error("line {line} column {column} is not JSON")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1; 0 where the line ends too early.
        column: usize,
    },
    /// JSON, but no object.
    #[error("it is not an object")]
    NotAnObject,
    /// One object has one key twice; which of the two counts is anyone's guess.
    #[error("the key {key:?} is there twice")]
    DuplicateKey {
        /// The key, shortened.
        key: String,
    },
    /// Nested deeper than any driver does.
    #[error("it is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
}

/// The body of a request as text, after every level of it was found to have one reading.
pub(crate) fn checked(body: &[u8]) -> Result<&str, JsonError> {
    let text = utf8(body)?;
    let fault = Cell::new(None);
    read(text, Walk { levels_left: DEPTH_MAX, fault: &fault }, &fault)?;
    Ok(text)
}

/// Bytes as text.
pub(crate) fn utf8(body: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(body).map_err(|e| JsonError::NotUtf8 { at: e.valid_up_to() })
}

fn read<'a, S: DeserializeSeed<'a>>(
    text: &'a str,
    seed: S,
    fault: &Cell<Option<JsonError>>,
) -> Result<S::Value, JsonError> {
    let mut json = serde_json::Deserializer::from_str(text);
    seed.deserialize(&mut json)
        .and_then(|value| json.end().map(|()| value))
        .map_err(|e| fault.take().unwrap_or(JsonError::Syntax { line: e.line(), column: e.column() }))
}

/// One object, its keys unique and in the order they came in, its values unread.
#[derive(Clone)]
pub(crate) struct Object<'a>(IndexMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, JsonError> {
        if !text.trim_start().starts_with('{') {
            return Err(JsonError::NotAnObject);
        }
        let fault = Cell::new(None);
        read(text, ObjectSeed { fault: &fault }, &fault).map(Self)
    }

    /// An object and the one under `key` in it, as [`Object::object`] reads that. A large body is gone through once
    /// and not twice.
    pub(crate) fn parse_with(text: &'a str, key: &'static str) -> Result<(Self, Option<Self>), DecodeError> {
        let fault = Cell::new(None);
        let seed = NestingSeed { key, fault: &fault };
        match read(text, seed, &fault) {
            Ok((outer, inner)) => Ok((Self(outer), inner.map(Self))),
            // What is wrong is told by who reads one object at a time.
            Err(_) => {
                let outer = Self::parse(text)?;
                let inner = outer.object(key)?;
                Ok((outer, inner))
            }
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), *value))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value's own text; `None` when the key is not there or holds null.
    pub(crate) fn raw(&self, key: &str) -> Option<&'a str> {
        self.written(key).filter(|text| *text != "null")
    }

    /// The value of a key as it is written, `null` too.
    pub(crate) fn written(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(|value| value.get())
    }

    pub(crate) fn text(&self, key: &'static str) -> Result<Option<String>, DecodeError> {
        self.typed(key, "a text")
    }

    pub(crate) fn flag(&self, key: &'static str) -> Result<Option<bool>, DecodeError> {
        self.typed(key, "true or false")
    }

    pub(crate) fn whole(&self, key: &'static str) -> Result<Option<u64>, DecodeError> {
        self.typed(key, "a whole number")
    }

    pub(crate) fn object(&self, key: &'static str) -> Result<Option<Object<'a>>, DecodeError> {
        match self.raw(key) {
            Some(text) if !text.starts_with('{') => Err(DecodeError::wrong_type(key, "an object")),
            Some(text) => Ok(Some(Object::parse(text)?)),
            None => Ok(None),
        }
    }

    /// The elements of a list, unread.
    pub(crate) fn list(&self, key: &'static str) -> Result<Option<Vec<&'a RawValue>>, DecodeError> {
        self.typed(key, "a list")
    }

    fn typed<T: serde::Deserialize<'a>>(
        &self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, DecodeError> {
        let parse = |text| serde_json::from_str(text).map_err(|_| DecodeError::wrong_type(key, expected));
        self.raw(key).map(parse).transpose()
    }
}

struct ObjectSeed<'f> {
    fault: &'f Cell<Option<JsonError>>,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = IndexMap<String, &'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = IndexMap<String, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = IndexMap::new();
        while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
            match entries.entry(key) {
                Entry::Vacant(entry) => entry.insert(value),
                Entry::Occupied(entry) => return Err(fail(self.fault, duplicate(entry.key()))),
            };
        }
        Ok(entries)
    }
}

/// Reads an object, and the object or null that stands under one of its keys.
struct NestingSeed<'f> {
    key: &'static str,
    fault: &'f Cell<Option<JsonError>>,
}

type Entries<'a> = IndexMap<String, &'a RawValue>;

impl<'de> DeserializeSeed<'de> for NestingSeed<'_> {
    type Value = (Entries<'de>, Option<Entries<'de>>);

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for NestingSeed<'_> {
    type Value = (Entries<'de>, Option<Entries<'de>>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut entries, mut inner) = (IndexMap::new(), None);
        while let Some(key) = map.next_key::<String>()? {
            if key == self.key {
                if inner.is_some() {
                    return Err(fail(self.fault, duplicate(&key)));
                }
                inner = Some(map.next_value_seed(OptionalSeed { fault: self.fault })?);
                continue;
            }
            let value = map.next_value::<&'de RawValue>()?;
            match entries.entry(key) {
                Entry::Vacant(entry) => entry.insert(value),
                Entry::Occupied(entry) => return Err(fail(self.fault, duplicate(entry.key()))),
            };
        }
        Ok((entries, inner.flatten()))
    }
}

/// Reads an object or null.
struct OptionalSeed<'f> {
    fault: &'f Cell<Option<JsonError>>,
}

impl<'de> DeserializeSeed<'de> for OptionalSeed<'_> {
    type Value = Option<Entries<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for OptionalSeed<'_> {
    type Value = Option<Entries<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(ObjectSeed { fault: self.fault }).map(Some)
    }
}

/// Reads everything and keeps nothing.
#[derive(Clone, Copy)]
struct Walk<'f> {
    levels_left: usize,
    fault: &'f Cell<Option<JsonError>>,
}

impl Walk<'_> {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self { levels_left, ..self }),
            None => Err(fail(self.fault, JsonError::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while list.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    // With serde_json's `arbitrary_precision` a number comes here too, as a map of one entry.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key_seed(Key)? {
            if keys.contains(&key) {
                return Err(fail(self.fault, duplicate(&key)));
            }
            keys.insert(key);
            map.next_value_seed(inside)?;
        }
        Ok(())
    }
}

/// A key, borrowed where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

fn duplicate(key: &str) -> JsonError {
    JsonError::DuplicateKey { key: shown(key) }
}

/// Leaves the real fault where [`read`] finds it; the error that travels through serde cannot carry it.
fn fail<E: serde::de::Error>(place: &Cell<Option<JsonError>>, fault: JsonError) -> E {
    place.set(Some(fault));
    E::custom("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_with_one_reading_passes_the_check() {
        for body in [
            "{}",
            " {\"a\" : [1, 2.5e3, -0, \"x\", true, null, {\"a\":{}}]} \r\n\t",
            "{\"n\":123456789012345678901234567890.5}",
            "{\"a\":{\"k\":1},\"b\":{\"k\":1}}",
            "{\"\\u00e9\":\"\\ud83d\\ude00\"}",
            "[]",
            "3",
        ] {
            assert_eq!(checked(body.as_bytes()), Ok(body));
        }
    }

    #[test]
    fn json_with_two_readings_is_refused() {
        let duplicate = |key: &str| JsonError::DuplicateKey { key: key.to_owned() };
        for (body, error) in [
            (&b"{\"a\":1,\"a\":2}"[..], Some(duplicate("a"))),
            (b"{\"a\":1,\"\\u0061\":2}", Some(duplicate("a"))),
            (b"{\"x\":[{\"b\":{\"c\":0,\"c\":0}}]}", Some(duplicate("c"))),
            (b"{\"a\":\"\xff\"}", Some(JsonError::NotUtf8 { at: 6 })),
            (b"{\"a\":\"\xed\xa0\x80\"}", Some(JsonError::NotUtf8 { at: 6 })),
            (b"{} {}", Some(JsonError::Syntax { line: 1, column: 4 })),
            (b"{}\0", None),
            (b"\xef\xbb\xbf{}", None),
            (b"{\"a\":\"\\ud800\"}", None),
            (b"{\"a\":NaN}", None),
            (b"{\"a\":01}", None),
            (b"{\"a\":1,}", None),
            (b"{'a':1}", None),
            (b"{\"a\":\"line\nbreak\"}", None),
            (b"{/**/}", None),
            (b"{\"a\":1", None),
            (b"", None),
            (b"{\0\"\0a\0", None),
        ] {
            let got = checked(body).unwrap_err();
            match error {
                Some(error) => assert_eq!(got, error, "{body:?}"),
                None => assert!(matches!(got, JsonError::Syntax { .. }), "{body:?}: {got}"),
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(checked(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(checked(nested(DEPTH_MAX + 1).as_bytes()), Err(JsonError::TooDeep));
        assert_eq!(checked(nested(1_000_000).as_bytes()), Err(JsonError::TooDeep));
        assert_eq!(checked("{\"a\":".repeat(1_000).as_bytes()), Err(JsonError::TooDeep));
    }

    #[test]
    fn an_object_gives_values_by_type_and_refuses_other_types() {
        let text = r#"{"t":"x","f":true,"n":18446744073709551615,"o":{"k":1},"l":[1, 2],"z":null}"#;
        let object = Object::parse(text).unwrap();
        assert_eq!(object.text("t").unwrap().as_deref(), Some("x"));
        assert_eq!(object.flag("f").unwrap(), Some(true));
        assert_eq!(object.whole("n").unwrap(), Some(u64::MAX));
        assert_eq!(object.object("o").unwrap().unwrap().keys().collect::<Vec<_>>(), ["k"]);
        assert_eq!(object.list("l").unwrap().unwrap().len(), 2);
        for absent in ["z", "missing"] {
            assert_eq!(object.text(absent).unwrap(), None);
            assert_eq!(object.raw(absent), None);
        }
        assert!(object.text("n").is_err() && object.text("o").is_err());
        assert!(object.flag("t").is_err() && object.whole("t").is_err() && object.whole("f").is_err());
        assert!(object.object("l").is_err() && object.list("o").is_err());
    }

    #[test]
    fn serde_jsons_own_wrappers_are_ordinary_objects() {
        for key in ["$serde_json::private::Number", "$serde_json::private::RawValue"] {
            let text = format!("{{\"a\":{{\"{key}\":\"1\"}}}}");
            checked(text.as_bytes()).unwrap();
            let object = Object::parse(&text).unwrap();
            assert!(object.whole("a").is_err() && object.text("a").is_err());
            assert_eq!(object.object("a").unwrap().unwrap().keys().collect::<Vec<_>>(), [key]);
        }
    }

    #[test]
    fn an_object_is_an_object() {
        for text in ["[]", "1", "\"{}\"", "null", ""] {
            assert_eq!(Object::parse(text).err(), Some(JsonError::NotAnObject), "{text}");
        }
        assert!(matches!(Object::parse("{\"a\":1,\"a\":1}"), Err(JsonError::DuplicateKey { .. })));
        assert!(matches!(Object::parse("{} x"), Err(JsonError::Syntax { .. })));
    }

    #[test]
    fn an_object_with_one_in_it_is_read_as_one_after_the_other_is() {
        for text in [
            r#"{"data":{"a":1,"b":{"c":[2]}},"success":true}"#,
            r#" { "success" : true , "data" : { } } "#,
            r#"{"success":true,"data":null}"#,
            r#"{"success":true}"#,
            r#"{"d\u0061ta":{"a":1}}"#,
            r#"{"data":{"a":1},"data":null}"#,
            r#"{"data":null,"data":{"a":1}}"#,
            r#"{"data":null,"data":null}"#,
            r#"{"data":{"a":1},"d\u0061ta":{"a":1}}"#,
            r#"{"data":{"a":1,"a":1}}"#,
            r#"{"data":{},"x":1,"x":2}"#,
            r#"{"data":[1]}"#,
            r#"{"data":"{}"}"#,
            r#"{"data":1}"#,
            r#"{"data":{"$serde_json::private::RawValue":"1"}}"#,
            r#"{"data":{"a":1}"#,
            r#"{"data":{"a":1}} x"#,
            r#"{"data":{"a":1,}}"#,
            r#"{"data":nul}"#,
            "[]",
            "null",
            "",
        ] {
            let shown = |object: &Object<'_>| -> Vec<(String, String)> {
                object.entries().map(|(key, value)| (key.to_owned(), value.get().to_owned())).collect()
            };
            let mut apart = Object::parse(text).map_err(DecodeError::from).and_then(|outer| {
                let inner = outer.object("data")?;
                Ok((shown(&outer), inner.as_ref().map(shown)))
            });
            if let Ok((outer, _)) = &mut apart {
                outer.retain(|(key, _)| key != "data");
            }
            let at_once = Object::parse_with(text, "data")
                .map(|(outer, inner)| (shown(&outer), inner.as_ref().map(shown)));
            assert_eq!(at_once, apart, "{text}");
        }
    }
}
