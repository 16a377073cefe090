//! Whose request it is: a credential that was never logged in with, or the session of a driver.

use http::{HeaderMap, header::AUTHORIZATION};
use model::{AccountName, Secret};

use crate::{
    AuthorizationError, CredentialKind,
    credential::{bearer_kind, key_pair_user},
    error::shown,
    session_token,
};

/// Names the kind of a credential; left out, Snowflake tells a JWT by itself and takes the rest for OAuth.
pub(crate) const TOKEN_TYPE: &str = "x-snowflake-authorization-token-type";

/// Names the account, where the host does not. Source: Snowflake documentation, "Authenticating to the server".
const ACCOUNT: &str = "snowflake-account";

/// Headers with this prefix may mean a role or a session that was not judged, so all but the known one are refused.
const OWN_PREFIX: &str = "x-snowflake-";

/// Why the headers do not say whose request it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The `Authorization` header is there more than once, or is of a kind that no client of the SQL API sends.
    #[error(transparent)]
    Authorization(#[from] AuthorizationError),
    /// There is none.
    #[error("the request has no Authorization header")]
    Missing,
    /// A header that may change for whom, or as what, the statement is executed.
    #[error("the request carries the header {name:?}, which is not known here; leave it out")]
    UnknownHeader {
        /// Its name, shortened.
        name: String,
    },
    /// A header that counts once is there twice, or is no text.
    #[error("the request has more than one reading of the header {name}")]
    OddHeader {
        /// Its name.
        name: &'static str,
    },
}

/// Whose request it is.
#[derive(Debug)]
pub enum Authorization {
    /// A session that a driver logged in.
    Session(Secret<String>),
    /// A credential of its own.
    Bearer(Bearer),
}

/// A credential that is sent with every request.
#[derive(Debug)]
pub struct Bearer {
    /// The token.
    pub token: Secret<String>,
    /// What kind it is, whatever the header says.
    pub credential: CredentialKind,
    /// The user that a key-pair JWT is for. It is not verified here: Snowflake does that.
    pub user: Option<String>,
}

impl Authorization {
    /// Reads the headers of a request.
    ///
    /// # Errors
    /// When they have more than one reading, name nobody, or may name somebody else than is judged.
    pub fn read(headers: &HeaderMap) -> Result<Self, HeaderError> {
        let names = || headers.keys().map(http::HeaderName::as_str);
        if let Some(name) = names().find(|name| name.starts_with(OWN_PREFIX) && *name != TOKEN_TYPE) {
            return Err(HeaderError::UnknownHeader { name: shown(name) });
        }
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(HeaderError::Missing)?;
        if values.next().is_some() {
            return Err(AuthorizationError::Repeated.into());
        }
        let value = value.to_str().map_err(|_| AuthorizationError::Malformed)?;
        let Some((scheme, token)) = value.split_once(' ') else {
            return Err(AuthorizationError::Malformed.into());
        };
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return session_token(headers)?.map(Self::Session).ok_or(HeaderError::Missing);
        }
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AuthorizationError::Malformed.into());
        }
        let declared = single(headers, TOKEN_TYPE)?;
        Ok(Self::Bearer(Bearer {
            credential: bearer_kind(token, declared),
            user: key_pair_user(token),
            token: Secret::new(token.to_owned()),
        }))
    }

    /// The account that the headers name, where they name one.
    ///
    /// # Errors
    /// When they name more than one.
    pub fn account(headers: &HeaderMap) -> Result<Option<AccountName>, HeaderError> {
        Ok(single(headers, ACCOUNT)?.map(AccountName::new))
    }
}

fn single<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, HeaderError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| HeaderError::OddHeader { name }),
        (Some(_), Some(_)) => Err(HeaderError::OddHeader { name }),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::credential::tests::jwt;

    fn headers(of: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    fn read(of: &[(&str, &str)]) -> Result<Authorization, HeaderError> {
        Authorization::read(&headers(of))
    }

    #[test]
    fn a_bearer_is_taken_for_what_it_looks_like() {
        let pat = jwt(r#"{"p":"1:2","iss":"SF:1049","exp":1}"#);
        let key = jwt(r#"{"iss":"ACME.BOT.SHA256:abc=","sub":"ACME.BOT","exp":1}"#);
        let idp = jwt(r#"{"iss":"https://idp.example.org","aud":"https://acme.snowflakecomputing.com"}"#);
        for (token, declared, expected, user) in [
            (&key, Some("KEYPAIR_JWT"), CredentialKind::KeyPair, Some("BOT")),
            (&key, None, CredentialKind::KeyPair, Some("BOT")),
            (&idp, Some("OAUTH"), CredentialKind::OAuth, None),
            (&idp, None, CredentialKind::OAuth, None),
            (&"ver:1-hint:2-x".to_owned(), Some("OAUTH"), CredentialKind::OAuth, None),
            (&"opaque".to_owned(), None, CredentialKind::OAuth, None),
            (&pat, Some("PROGRAMMATIC_ACCESS_TOKEN"), CredentialKind::ProgrammaticToken, None),
            (
                &"opaque".to_owned(),
                Some("PROGRAMMATIC_ACCESS_TOKEN"),
                CredentialKind::ProgrammaticToken,
                None,
            ),
            // It says that it is something better.
            (&pat, None, CredentialKind::ProgrammaticToken, None),
            (&pat, Some("OAUTH"), CredentialKind::ProgrammaticToken, None),
            (&pat, Some("KEYPAIR_JWT"), CredentialKind::ProgrammaticToken, None),
            (&idp, Some("KEYPAIR_JWT"), CredentialKind::Unrecognized, None),
            (&"opaque".to_owned(), Some("KEYPAIR_JWT"), CredentialKind::Unrecognized, None),
            (&key, Some("OAUTH"), CredentialKind::Unrecognized, Some("BOT")),
            (&idp, Some("oauth"), CredentialKind::Unrecognized, None),
            (&idp, Some("SOMETHING_NEW"), CredentialKind::Unrecognized, None),
            (&idp, Some(""), CredentialKind::Unrecognized, None),
        ] {
            let value = format!("Bearer {token}");
            let mut of = vec![("authorization", value.as_str())];
            of.extend(declared.map(|declared| (TOKEN_TYPE, declared)));
            let Ok(Authorization::Bearer(bearer)) = read(&of) else { panic!("{declared:?} {token}") };
            assert_eq!((bearer.credential, bearer.user.as_deref()), (expected, user), "{declared:?} {token}");
            assert_eq!(bearer.token.expose(), token);
            assert!(!format!("{bearer:?}").contains(token.as_str()));
        }
    }

    #[test]
    fn a_session_is_taken_as_drivers_send_it() {
        let of = [("authorization", "Snowflake Token=\"ver:1\""), ("accept", "application/json")];
        let Ok(Authorization::Session(token)) = read(&of) else { panic!("no session") };
        assert_eq!(token.expose(), "ver:1");
    }

    #[test]
    fn headers_that_leave_room_are_refused() {
        let bearer = ("authorization", "Bearer x");
        for of in [
            &[][..],
            &[bearer, bearer],
            &[bearer, ("authorization", "Snowflake Token=\"a\"")],
            &[("authorization", "Snowflake Token=\"None\"")],
            &[("authorization", "Snowflake Token=\"a\""), (TOKEN_TYPE, "OAUTH")],
            &[("authorization", "Basic dXNlcjpwYXNz")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer  x")],
            &[("authorization", "Bearer x y")],
            &[("authorization", "Bearer\tx")],
            &[("authorization", "DPoP x")],
            &[bearer, (TOKEN_TYPE, "OAUTH"), (TOKEN_TYPE, "KEYPAIR_JWT")],
            &[bearer, ("x-snowflake-external-session-id", "1")],
            &[bearer, ("x-snowflake-role", "ACCOUNTADMIN")],
        ] {
            let error = read(of).unwrap_err();
            assert!(!error.to_string().contains("dXNlcjpwYXNz"), "{error}");
        }
    }

    #[test]
    fn the_account_of_the_headers_is_one_or_none() {
        let account = |of: &[(&str, &str)]| Authorization::account(&headers(of));
        assert_eq!(account(&[]), Ok(None));
        assert_eq!(account(&[(ACCOUNT, "acme")]), Ok(Some(AccountName::new("ACME"))));
        assert!(account(&[(ACCOUNT, "acme"), (ACCOUNT, "evil")]).is_err());
    }
}
