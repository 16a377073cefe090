//! A token as it came: bounded, secret, and believed in nothing.

use model::Secret;

/// A JSON Web Token in compact form (RFC 7515 part 3.1) of which only the outer shape is known.
#[derive(Debug)]
pub struct RawToken(Secret<String>);

/// Why a text cannot be a token at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenShapeError {
    /// Longer than any issuer makes them.
    #[error("the token is {bytes} bytes long, more than the {max} taken", max = RawToken::BYTES_MAX)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not three base64url parts with dots between.
    #[error("the token is not a signed JSON web token (three base64url parts with dots between)")]
    NotCompact,
}

impl RawToken {
    /// GitHub's tokens are about 2 KiB; with many custom properties 4.
    pub const BYTES_MAX: usize = 16 * 1024;

    /// Takes a token, checking length and alphabet.
    ///
    /// # Errors
    /// When it cannot be a signed token in compact form.
    pub fn new(text: String) -> Result<Self, TokenShapeError> {
        let token = Secret::new(text);
        let bytes = token.expose().len();
        if bytes > Self::BYTES_MAX {
            return Err(TokenShapeError::TooLong { bytes });
        }
        let base64url = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if token.expose().split('.').count() != 3 || !token.expose().split('.').all(base64url) {
            return Err(TokenShapeError::NotCompact);
        }
        Ok(Self(token))
    }

    /// What the signature is over, without the signature: good for telling tokens apart, and for nothing else. The
    /// signature is left out because one of the usual kinds can be rewritten into another valid one.
    #[must_use]
    pub fn signed_part(&self) -> &str {
        self.0.expose().rsplit_once('.').map_or("", |(signed, _)| signed)
    }

    /// The text, for the signature check.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_bounded_base64url_parts_are_a_token() {
        assert!(RawToken::new("aB-_.b0.c".to_owned()).is_ok());
        for bad in ["", "a.b", "a.b.c.d", "a..c", "a.b.", ".b.c", "a.b=.c", "a.b.c\n", "a b.c.d", "a.+.c"] {
            assert_eq!(RawToken::new(bad.to_owned()).unwrap_err(), TokenShapeError::NotCompact, "{bad:?}");
        }
        let long = format!("a.{}.c", "b".repeat(RawToken::BYTES_MAX));
        assert_eq!(
            RawToken::new(long).unwrap_err(),
            TokenShapeError::TooLong { bytes: RawToken::BYTES_MAX + 4 }
        );
    }

    #[test]
    fn a_token_does_not_print() {
        let token = RawToken::new("hush.hush.hush".to_owned()).unwrap();
        assert_eq!(format!("{token:?}"), "RawToken(Secret)");
    }
}
