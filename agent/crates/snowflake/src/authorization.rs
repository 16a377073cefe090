//! The headers that say on whose session a request runs.

use http::{HeaderMap, header::AUTHORIZATION};
use model::Secret;

/// Headers that make a request run on a credential of its own, without a login that could be judged.
/// Source: snowflake-connector-python `network.py`; the SQL API's reference.
const SESSIONLESS: [&str; 2] = ["x-snowflake-external-session-id", "x-snowflake-authorization-token-type"];

/// Why the headers do not name one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// Snowflake might take the other one.
    #[error("the request has more than one Authorization header")]
    Repeated,
    /// A credential that was never logged in with.
    #[error("the request carries a credential of its own instead of a session; log in through a driver")]
    NoSession,
    /// Neither a session nor a literal that drivers send.
    #[error("the Authorization header is not one that a Snowflake driver sends")]
    Malformed,
}

/// The session or master token of a request. `None` where it has none, which includes the literals that drivers send
/// before login: `Snowflake Token="None"` and `Basic`.
///
/// # Errors
/// When there is more than one `Authorization` header, or one of another kind.
pub fn session_token(headers: &HeaderMap) -> Result<Option<Secret<String>>, AuthorizationError> {
    if SESSIONLESS.iter().any(|name| headers.contains_key(*name)) {
        return Err(AuthorizationError::NoSession);
    }
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(AuthorizationError::Repeated);
    }
    let value = value.to_str().map_err(|_| AuthorizationError::Malformed)?;
    if value.eq_ignore_ascii_case("Basic") {
        return Ok(None);
    }
    let Some(token) = value.strip_prefix("Snowflake Token=\"").and_then(|rest| rest.strip_suffix('"')) else {
        let scheme = value.split(' ').next().unwrap_or_default();
        let is_credential =
            ["Bearer", "Basic", "DPoP"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        return Err(if is_credential {
            AuthorizationError::NoSession
        } else {
            AuthorizationError::Malformed
        });
    };
    match token {
        "None" | "" => Ok(None),
        token if token.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') => {
            Ok(Some(Secret::new(token.to_owned())))
        }
        _ => Err(AuthorizationError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn token(headers: &[(&'static str, &'static str)]) -> Result<Option<String>, AuthorizationError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        session_token(&map).map(|token| token.map(|secret| secret.expose().clone()))
    }

    #[test]
    fn a_token_is_found_and_literals_are_none() {
        for (headers, expected) in [
            (
                &[("authorization", "Snowflake Token=\"ver:1-hint:2-abc+/=\"")][..],
                Some("ver:1-hint:2-abc+/="),
            ),
            (&[("authorization", "Snowflake Token=\"None\"")], None),
            (&[("authorization", "Snowflake Token=\"\"")], None),
            (&[("authorization", "Basic")], None),
            (&[("accept", "application/json")], None),
        ] {
            assert_eq!(token(headers).unwrap().as_deref(), expected, "{headers:?}");
        }
    }

    #[test]
    fn anything_but_one_session_is_refused() {
        use AuthorizationError::{Malformed, NoSession, Repeated};
        for (headers, error) in [
            (&[("authorization", "Snowflake Token=\"a\""), ("authorization", "Bearer pat")][..], Repeated),
            (
                &[("authorization", "Snowflake Token=\"a\""), ("authorization", "Snowflake Token=\"a\"")],
                Repeated,
            ),
            (&[("authorization", "Bearer eyJ.eyJ.x")], NoSession),
            (&[("authorization", "bearer x")], NoSession),
            (&[("authorization", "Basic dXNlcjpwYXNz")], NoSession),
            (
                &[("authorization", "Snowflake Token=\"a\""), ("x-snowflake-external-session-id", "1")],
                NoSession,
            ),
            (&[("x-snowflake-authorization-token-type", "OAUTH")], NoSession),
            (&[("authorization", "Snowflake Token=\"a\", Token=\"b\"")], Malformed),
            (&[("authorization", "Snowflake Token=a")], Malformed),
            (&[("authorization", "Snowflake Token=\"a b\"")], Malformed),
            (&[("authorization", "Snowflake  Token=\"a\"")], Malformed),
            (&[("authorization", "snowflake token=\"a\"")], Malformed),
            (&[("authorization", "")], Malformed),
        ] {
            assert_eq!(token(headers), Err(error), "{headers:?}");
        }
    }

    #[test]
    fn errors_do_not_print_the_header() {
        let error = token(&[("authorization", "Secretive hunter2")]).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
