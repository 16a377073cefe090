//! What a token says, as data. Read only after its signature was checked, and still bounded: an issuer copies
//! branch and workflow names into claims, and those are chosen by whoever can push.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::verify::VerifyError;

/// The claims of one token. A claim that is there twice makes the token unreadable, because two readers could
/// disagree about which one counts.
#[derive(Debug)]
pub(crate) struct Claims(BTreeMap<String, Value>);

impl Claims {
    /// GitHub's have about 30, plus one per custom property of the repository.
    const COUNT_MAX: usize = 256;
    /// A claim that is kept. Git allows ref names of a few hundred bytes.
    const TEXT_BYTES_MAX: usize = 1024;
    /// Audiences in one token.
    const AUDIENCES_MAX: usize = 16;

    /// A text claim, or a whole number as its digits (issuers disagree whether ids are texts). `None` when the
    /// claim is missing, null or empty.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, VerifyError> {
        let text = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) if number.as_u64().is_some() => number.to_string(),
            Some(_) => return Err(VerifyError::BadClaim(name)),
        };
        if text.len() > Self::TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(VerifyError::BadClaim(name));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// A text claim without which the token is refused.
    pub(crate) fn required(&self, name: &'static str) -> Result<String, VerifyError> {
        self.text(name)?.ok_or(VerifyError::MissingClaim(name))
    }

    /// A point in time as whole seconds after the Unix epoch.
    pub(crate) fn seconds(&self, name: &'static str) -> Result<Option<i64>, VerifyError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or(VerifyError::BadClaim(name)),
        }
    }

    /// Whether `audience` is among those the token was made for: `aud` is a text or a list of texts
    /// (RFC 7519 part 4.1.3).
    pub(crate) fn is_for(&self, audience: &str) -> Result<bool, VerifyError> {
        match self.0.get("aud") {
            None | Some(Value::Null) => Err(VerifyError::MissingClaim("aud")),
            Some(Value::String(one)) => Ok(one == audience),
            Some(Value::Array(list))
                if list.len() <= Self::AUDIENCES_MAX && list.iter().all(Value::is_string) =>
            {
                Ok(list.iter().any(|one| one.as_str() == Some(audience)))
            }
            Some(_) => Err(VerifyError::BadClaim("aud")),
        }
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> de::Visitor<'de> for Object {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of claims")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
                let mut claims = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if claims.len() == Claims::COUNT_MAX {
                        return Err(de::Error::custom("too many claims"));
                    }
                    if claims.insert(name, value).is_some() {
                        return Err(de::Error::custom("a claim is there twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn texts_are_bounded_and_free_of_control_characters() {
        let long = "x".repeat(Claims::TEXT_BYTES_MAX + 1);
        let claims = claims(&format!(
            r#"{{"a":"x","n":4711,"e":"","z":null,"list":["x"],"f":1.5,"neg":-1,"b":true,"nl":"x\ny","long":"{long}"}}"#
        ));
        let good = [("a", Some("x")), ("n", Some("4711")), ("e", None), ("z", None), ("missing", None)];
        for (name, expected) in good {
            assert_eq!(claims.text(name).unwrap().as_deref(), expected, "{name}");
        }
        for name in ["list", "f", "neg", "b", "nl", "long"] {
            assert_eq!(claims.text(name), Err(VerifyError::BadClaim(name)));
        }
        assert_eq!(claims.required("e"), Err(VerifyError::MissingClaim("e")));
    }

    #[test]
    fn times_are_whole_seconds() {
        let claims = claims(
            r#"{"exp":1700000000,"t":"1700000000","f":1700000000.5,"big":1e300,"huge":99999999999999999999}"#,
        );
        assert_eq!(claims.seconds("exp"), Ok(Some(1_700_000_000)));
        assert_eq!(claims.seconds("nbf"), Ok(None));
        for name in ["t", "f", "big", "huge"] {
            assert_eq!(claims.seconds(name), Err(VerifyError::BadClaim(name)));
        }
    }

    #[test]
    fn an_audience_is_one_text_or_one_of_a_list() {
        assert_eq!(claims(r#"{"aud":"snowfence"}"#).is_for("snowfence"), Ok(true));
        assert_eq!(claims(r#"{"aud":["x","snowfence"]}"#).is_for("snowfence"), Ok(true));
        for other in [r#""snow""#, r#""snowfence2""#, r#"["x"]"#, "[]"] {
            assert_eq!(claims(&format!(r#"{{"aud":{other}}}"#)).is_for("snowfence"), Ok(false), "{other}");
        }
        for bad in ["1", r#"{"a":"snowfence"}"#, r#"["snowfence",1]"#] {
            let read = claims(&format!(r#"{{"aud":{bad}}}"#)).is_for("snowfence");
            assert_eq!(read, Err(VerifyError::BadClaim("aud")), "{bad}");
        }
        assert_eq!(claims("{}").is_for("snowfence"), Err(VerifyError::MissingClaim("aud")));
    }

    #[test]
    fn what_is_ambiguous_or_boundless_is_not_claims() {
        let many = (0..=Claims::COUNT_MAX).map(|n| format!(r#""c{n}":1"#)).collect::<Vec<_>>().join(",");
        for bad in [r#"{"sub":"a","sub":"b"}"#, "[]", "null", r#""x""#, &format!("{{{many}}}")] {
            assert!(serde_json::from_str::<Claims>(bad).is_err(), "{bad:.60}");
        }
    }
}
