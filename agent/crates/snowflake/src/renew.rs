//! A new session token for an old one: `POST /session/token-request`.

use std::time::Duration;

use model::Secret;

use crate::{
    error::{DecodeError, RequestError, UnknownKeys},
    json::{self, Object},
    status::failure_code,
};

/// A request for a new session token. It is authorized by the master token.
#[derive(Debug)]
pub struct RenewRequest {
    /// The token that is to be replaced.
    pub old_token: Secret<String>,
}

impl RenewRequest {
    /// Reads the plain body of a renewal.
    ///
    /// # Errors
    /// When it has more than one reading, or asks for anything but a renewal: the same path can clone a session.
    pub fn decode(body: &[u8]) -> Result<Self, RequestError> {
        let body = Object::parse(json::checked(body)?)?;
        if let Some(unknown) = UnknownKeys::among(body.keys(), &["oldSessionToken", "requestType"]) {
            return Err(RequestError::UnknownKeys(unknown));
        }
        if body.text("requestType")?.as_deref() != Some("RENEW") {
            return Err(RequestError::NotARenewal);
        }
        let old = body.text("oldSessionToken")?.ok_or(DecodeError::Missing { key: "oldSessionToken" })?;
        Ok(Self { old_token: Secret::new(old) })
    }
}

/// What Snowflake answered to a renewal.
#[derive(Debug)]
pub enum RenewReply {
    /// New tokens.
    Success(Renewed),
    /// None.
    Failure {
        /// Snowflake's code; empty where it gave none.
        code: String,
        /// Its sentence.
        message: String,
    },
}

/// Tokens that take the place of older ones.
#[derive(Debug)]
pub struct Renewed {
    /// The session's token from now on.
    pub token: Secret<String>,
    /// Its master token from now on, where a new one came.
    pub master_token: Option<Secret<String>>,
    /// How long the session token is good for.
    pub validity: Option<Duration>,
}

impl RenewReply {
    /// Reads the plain body of an answer to a renewal.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let reply = Object::parse(json::utf8(body)?)?;
        if !reply.flag("success")?.ok_or(DecodeError::Missing { key: "success" })? {
            let message = reply.text("message")?.unwrap_or_default();
            return Ok(Self::Failure { code: failure_code(&reply)?, message });
        }
        let data = reply.object("data")?.ok_or(DecodeError::Missing { key: "data" })?;
        let secret = |key| Ok::<_, DecodeError>(data.text(key)?.map(Secret::new));
        Ok(Self::Success(Renewed {
            token: secret("sessionToken")?.ok_or(DecodeError::Missing { key: "sessionToken" })?,
            master_token: secret("masterToken")?,
            validity: data.whole("validityInSecondsST")?.map(Duration::from_secs),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_read_both_ways() {
        let asked = RenewRequest::decode(br#"{"oldSessionToken":"old","requestType":"RENEW"}"#).unwrap();
        assert_eq!(asked.old_token.expose(), "old");
        assert!(!format!("{asked:?}").contains("old\""));
        let body = br#"{"data":{"sessionToken":"new","validityInSecondsST":3600,"masterToken":"m",
            "validityInSecondsMT":14400,"sessionId":42},"message":null,"code":null,"success":true}"#;
        let RenewReply::Success(renewed) = RenewReply::decode(body).unwrap() else { panic!("no tokens") };
        assert_eq!(renewed.token.expose(), "new");
        assert_eq!(renewed.master_token.unwrap().expose(), "m");
        assert_eq!(renewed.validity, Some(Duration::from_secs(3600)));
        let gone = br#"{"data":null,"code":"390114","message":"expired","success":false}"#;
        assert!(matches!(RenewReply::decode(gone), Ok(RenewReply::Failure { code, .. }) if code == "390114"));
    }

    #[test]
    fn other_requests_on_the_path_are_refused() {
        for body in [
            &br#"{"oldSessionToken":"old","requestType":"CLONE"}"#[..],
            br#"{"oldSessionToken":"old","requestType":"ISSUE"}"#,
            br#"{"oldSessionToken":"old"}"#,
            br#"{"requestType":"RENEW"}"#,
            br#"{"oldSessionToken":"a","oldSessionToken":"b","requestType":"RENEW"}"#,
            br#"{"oldSessionToken":"old","requestType":"RENEW","sqlText":"x"}"#,
            b"",
        ] {
            assert!(RenewRequest::decode(body).is_err(), "{body:?}");
        }
        for body in [
            &br#"{"success":true,"data":{"masterToken":"m"}}"#[..],
            br#"{"success":true,"data":null}"#,
            br#"{"data":{"sessionToken":"t"}}"#,
        ] {
            assert!(RenewReply::decode(body).is_err(), "{body:?}");
        }
    }
}
