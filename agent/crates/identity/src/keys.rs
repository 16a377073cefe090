//! The keys of an issuer: a JSON Web Key Set (RFC 7517) as data.

use std::collections::HashMap;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Public keys by their id, each with the one algorithm it may be used for.
pub struct KeySet(HashMap<String, Key>);

/// One public key.
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    pub(crate) decoding: DecodingKey,
}

/// Why a text is not a key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Longer than any issuer publishes.
    #[error("the key set is {bytes} bytes long, more than the {max} taken", max = KeySet::BYTES_MAX)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON of the documented shape.
    #[error("the key set is not a JSON object with a list \"keys\"")]
    Malformed,
    /// More keys than any issuer publishes.
    #[error("the key set has more than {max} keys", max = KeySet::KEYS_MAX)]
    TooMany,
    /// Two usable keys share one id.
    #[error("the key set has two keys with the id {0:?}")]
    Ambiguous(String),
    /// Nothing in it can check a signature.
    #[error("the key set has no key that this agent can use")]
    Empty,
}

/// A key as written. Members that are not used here are ignored, as RFC 7517 part 4 asks.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// GitHub's, with certificate chains, is about 20 KiB.
    pub const BYTES_MAX: usize = 256 * 1024;
    /// Issuers publish a handful.
    pub const KEYS_MAX: usize = 64;
    /// Longest key id, in bytes.
    const KID_BYTES_MAX: usize = 256;
    /// Base64url digits of the smallest RSA modulus taken: 2,048 bits are 256 bytes.
    const RSA_MODULUS_DIGITS_MIN: usize = 342;
    /// Base64url digits of the largest RSA modulus taken: 8,192 bits.
    const RSA_MODULUS_DIGITS_MAX: usize = 1_368;

    /// Parses a key set. Keys that are of an unknown kind, without an id, symmetric, weak or not for signatures are
    /// left out: an issuer may publish keys for others.
    ///
    /// # Errors
    /// When the text is no key set, is out of bounds, is ambiguous, or has no usable key.
    pub fn parse(jwks: &str) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }

        if jwks.len() > Self::BYTES_MAX {
            return Err(KeySetError::TooLong { bytes: jwks.len() });
        }
        let set: Set = serde_json::from_str(jwks).map_err(|_| KeySetError::Malformed)?;
        if set.keys.len() > Self::KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let mut keys = HashMap::new();
        for value in set.keys {
            let Some((kid, key)) = Written::deserialize(value).ok().and_then(Written::usable) else {
                continue;
            };
            if keys.insert(kid.clone(), key).is_some() {
                return Err(KeySetError::Ambiguous(kid));
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(Self(keys))
    }

    /// The key with this id.
    pub(crate) fn get(&self, kid: &str) -> Option<&Key> {
        self.0.get(kid)
    }

    /// How many usable keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none. A parsed set always has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Written {
    /// The key with its id, if it can check signatures here.
    fn usable(self) -> Option<(String, Key)> {
        let for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let algorithm = self.algorithm().filter(|_| for_signatures)?;
        let decoding = self.decoding(algorithm)?;
        let kid = self.kid.filter(|kid| (1..=KeySet::KID_BYTES_MAX).contains(&kid.len()))?;
        Some((kid, Key { algorithm, decoding }))
    }

    /// The one algorithm this key is for. `alg` decides if it is given; an issuer that leaves it out means the
    /// common one for the kind of key. Symmetric keys have none: a public key must never become a shared secret.
    fn algorithm(&self) -> Option<Algorithm> {
        match (self.kty.as_str(), self.crv.as_deref(), self.alg.as_deref()) {
            ("RSA", _, None | Some("RS256")) => Some(Algorithm::RS256),
            ("RSA", _, Some("RS384")) => Some(Algorithm::RS384),
            ("RSA", _, Some("RS512")) => Some(Algorithm::RS512),
            ("RSA", _, Some("PS256")) => Some(Algorithm::PS256),
            ("RSA", _, Some("PS384")) => Some(Algorithm::PS384),
            ("RSA", _, Some("PS512")) => Some(Algorithm::PS512),
            ("EC", Some("P-256"), None | Some("ES256")) => Some(Algorithm::ES256),
            ("EC", Some("P-384"), None | Some("ES384")) => Some(Algorithm::ES384),
            ("OKP", Some("Ed25519"), None | Some("EdDSA")) => Some(Algorithm::EdDSA),
            _ => None,
        }
    }

    fn decoding(&self, algorithm: Algorithm) -> Option<DecodingKey> {
        match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => {
                DecodingKey::from_ec_components(self.x.as_deref()?, self.y.as_deref()?).ok()
            }
            Algorithm::EdDSA => DecodingKey::from_ed_components(self.x.as_deref()?).ok(),
            _ => {
                let modulus = self.n.as_deref()?;
                let strong = (KeySet::RSA_MODULUS_DIGITS_MIN..=KeySet::RSA_MODULUS_DIGITS_MAX)
                    .contains(&modulus.len());
                DecodingKey::from_rsa_components(modulus, self.e.as_deref()?).ok().filter(|_| strong)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rsa(changes: &str) -> String {
        format!(r#"{{"kty":"RSA","kid":"a","e":"AQAB","n":"{}"{changes}}}"#, "A".repeat(342))
    }

    fn set(keys: &[&str]) -> Result<KeySet, KeySetError> {
        KeySet::parse(&format!(r#"{{"keys":[{}]}}"#, keys.join(",")))
    }

    #[test]
    fn each_key_has_one_algorithm() {
        let ec = r#"{"kty":"EC","kid":"b","crv":"P-256","x":"AA","y":"AA","use":"sig"}"#;
        let pss = rsa(r#","alg":"PS256","key_ops":["verify"],"x5t":"zz","exp":17"#).replace("\"a\"", "\"c\"");
        let keys = set(&[&rsa(""), ec, &pss]).unwrap();
        let algorithm = |kid: &str| keys.get(kid).unwrap().algorithm;
        assert_eq!(
            (algorithm("a"), algorithm("b"), algorithm("c")),
            (Algorithm::RS256, Algorithm::ES256, Algorithm::PS256)
        );
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn keys_that_cannot_check_a_signature_are_left_out() {
        let weak = r#"{"kty":"RSA","kid":"a","e":"AQAB","n":"xxxx"}"#;
        let others = [
            r#"{"kty":"oct","kid":"a","k":"c2VjcmV0","alg":"HS256"}"#.to_owned(),
            r#"{"kty":"oct","kid":"a","k":"c2VjcmV0"}"#.to_owned(),
            rsa(r#","alg":"HS256""#),
            rsa(r#","alg":"ES256""#),
            rsa(r#","alg":"none""#),
            rsa(r#","use":"enc""#),
            rsa(r#","key_ops":["encrypt"]"#),
            rsa("").replace("\"kid\":\"a\"", "\"kid\":\"\""),
            rsa("").replace("\"kid\":\"a\",", ""),
            r#"{"kty":"EC","kid":"a","crv":"P-521","x":"AA","y":"AA"}"#.to_owned(),
            r#"{"kty":"EC","kid":"a","crv":"P-256","x":"AA"}"#.to_owned(),
            weak.to_owned(),
            r#"{"kid":"a"}"#.to_owned(),
            "17".to_owned(),
        ];
        for key in others {
            assert_eq!(set(&[&key]).unwrap_err(), KeySetError::Empty, "{key:.90}");
        }
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for bad in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[]} x"#, r#"{"keys":[],"keys":[]}"#] {
            assert_eq!(KeySet::parse(bad).unwrap_err(), KeySetError::Malformed, "{bad}");
        }
        assert_eq!(set(&[]).unwrap_err(), KeySetError::Empty);
        assert_eq!(set(&[&rsa(""), &rsa("")]).unwrap_err(), KeySetError::Ambiguous("a".to_owned()));
        assert_eq!(set(&vec!["1"; KeySet::KEYS_MAX + 1]).unwrap_err(), KeySetError::TooMany);
        let long = " ".repeat(KeySet::BYTES_MAX + 1);
        assert_eq!(KeySet::parse(&long).unwrap_err(), KeySetError::TooLong { bytes: KeySet::BYTES_MAX + 1 });
    }
}
