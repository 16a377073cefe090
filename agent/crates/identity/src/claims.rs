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
    /// Members of a list that is kept. GitLab leaves the list of groups out when there are more than 200.
    const MEMBERS_MAX: usize = 256;

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

    /// A list of texts; empty when the claim is missing.
    pub(crate) fn list(&self, name: &'static str) -> Result<Vec<String>, VerifyError> {
        let list = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(list)) if list.len() <= Self::MEMBERS_MAX => list,
            Some(_) => return Err(VerifyError::BadClaim(name)),
        };
        let texts = list.iter().map(|member| member.as_str().filter(|text| is_kept(text)));
        texts.map(|text| text.map(str::to_owned)).collect::<Option<_>>().ok_or(VerifyError::BadClaim(name))
    }

    /// The claims in a claim.
    pub(crate) fn inside(&self, name: &'static str) -> Result<Option<Self>, VerifyError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(members)) if members.len() <= Self::COUNT_MAX => {
                let members = members.iter().map(|(name, value)| (name.clone(), value.clone()));
                Ok(Some(Self(members.collect())))
            }
            Some(_) => Err(VerifyError::BadClaim(name)),
        }
    }

    /// Whether one of `audiences` is among those the token was made for: `aud` is a text or a list of texts
    /// (RFC 7519 part 4.1.3).
    pub(crate) fn is_for(&self, audiences: &[String]) -> Result<bool, VerifyError> {
        let ours = |one: &str| audiences.iter().any(|audience| audience == one);
        match self.0.get("aud") {
            None | Some(Value::Null) => Err(VerifyError::MissingClaim("aud")),
            Some(Value::String(one)) => Ok(ours(one)),
            Some(Value::Array(list))
                if list.len() <= Self::AUDIENCES_MAX && list.iter().all(Value::is_string) =>
            {
                Ok(list.iter().filter_map(Value::as_str).any(ours))
            }
            Some(_) => Err(VerifyError::BadClaim("aud")),
        }
    }

    /// All claims that are worth showing to a person, as texts: no times, and nothing that is too long or not plain. A
    /// claim in a claim has a name with a dot.
    pub(crate) fn shown(&self) -> BTreeMap<String, String> {
        let mut shown = BTreeMap::new();
        let top = self.0.iter().filter(|(name, _)| !matches!(name.as_str(), "exp" | "nbf" | "iat"));
        for (name, value) in top {
            show(&mut shown, name.clone(), value);
        }
        shown
    }
}

/// Adds a claim, or the claims in it. A name that is too long ends the descent, so it is not deep.
fn show(shown: &mut BTreeMap<String, String>, name: String, value: &Value) {
    if shown.len() == Claims::COUNT_MAX || !is_kept(&name) {
        return;
    }
    let text = match value {
        Value::Null => return,
        Value::String(text) => text.clone(),
        Value::Object(members) => {
            for (member, value) in members {
                show(shown, format!("{name}.{member}"), value);
            }
            return;
        }
        other => other.to_string(),
    };
    if is_kept(&text) {
        shown.insert(name, text);
    }
}

/// Whether a text is short enough, and free of what could move a terminal's cursor.
fn is_kept(text: &str) -> bool {
    !text.is_empty() && text.len() <= Claims::TEXT_BYTES_MAX && !text.chars().any(char::is_control)
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
        let ours = ["snowfence".to_owned(), "other".to_owned()];
        for good in [r#""snowfence""#, r#""other""#, r#"["x","snowfence"]"#] {
            assert_eq!(claims(&format!(r#"{{"aud":{good}}}"#)).is_for(&ours), Ok(true), "{good}");
        }
        for other in [r#""snow""#, r#""snowfence2""#, r#"["x"]"#, "[]"] {
            assert_eq!(claims(&format!(r#"{{"aud":{other}}}"#)).is_for(&ours), Ok(false), "{other}");
        }
        for bad in ["1", r#"{"a":"snowfence"}"#, r#"["snowfence",1]"#] {
            let read = claims(&format!(r#"{{"aud":{bad}}}"#)).is_for(&ours);
            assert_eq!(read, Err(VerifyError::BadClaim("aud")), "{bad}");
        }
        assert_eq!(claims("{}").is_for(&ours), Err(VerifyError::MissingClaim("aud")));
    }

    #[test]
    fn lists_and_claims_in_claims_are_bounded_too() {
        let many = vec!["\"g\""; Claims::MEMBERS_MAX + 1].join(",");
        let claims = claims(&format!(
            r#"{{"g":["a","b/c"],"e":[],"t":"a","n":[1],"nl":["x\ny"],"many":[{many}],"o":{{"name":"x","n":1}}}}"#
        ));
        assert_eq!(claims.list("g"), Ok(vec!["a".to_owned(), "b/c".to_owned()]));
        assert_eq!((claims.list("e"), claims.list("missing")), (Ok(vec![]), Ok(vec![])));
        for name in ["t", "n", "nl", "many"] {
            assert_eq!(claims.list(name), Err(VerifyError::BadClaim(name)));
        }
        let inside = claims.inside("o").unwrap().unwrap();
        assert_eq!(inside.required("name").as_deref(), Ok("x"));
        assert!(claims.inside("missing").unwrap().is_none());
        assert_eq!(claims.inside("t").unwrap_err(), VerifyError::BadClaim("t"));
        let shown = claims.shown();
        assert_eq!(shown.keys().collect::<Vec<_>>(), ["e", "g", "n", "nl", "o.n", "o.name", "t"]);
        assert_eq!(shown["g"], r#"["a","b/c"]"#);
    }

    #[test]
    fn what_is_ambiguous_or_boundless_is_not_claims() {
        let many = (0..=Claims::COUNT_MAX).map(|n| format!(r#""c{n}":1"#)).collect::<Vec<_>>().join(",");
        for bad in [r#"{"sub":"a","sub":"b"}"#, "[]", "null", r#""x""#, &format!("{{{many}}}")] {
            assert!(serde_json::from_str::<Claims>(bad).is_err(), "{bad:.60}");
        }
    }
}
