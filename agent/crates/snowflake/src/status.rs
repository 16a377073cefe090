//! Answers that say only whether it worked: to heartbeat, close and abort.

use crate::{
    error::DecodeError,
    json::{self, Object},
};

/// Whether Snowflake did what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusReply {
    /// It did.
    Success,
    /// It did not.
    Failure {
        /// Snowflake's code; empty where it gave none.
        code: String,
        /// Its sentence.
        message: String,
    },
}

impl StatusReply {
    /// Reads the plain body of such an answer.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let reply = Object::parse(json::utf8(body)?)?;
        if reply.flag("success")?.ok_or(DecodeError::Missing { key: "success" })? {
            return Ok(Self::Success);
        }
        let message = reply.text("message")?.unwrap_or_default();
        Ok(Self::Failure { code: failure_code(&reply)?, message })
    }
}

/// The code of a reply; empty where it has none.
pub(crate) fn failure_code(reply: &Object<'_>) -> Result<String, DecodeError> {
    Ok(reply.text("code")?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_and_failure_are_told_apart() {
        let done = br#"{"data":null,"code":null,"message":null,"success":true}"#;
        assert_eq!(StatusReply::decode(done).unwrap(), StatusReply::Success);
        let gone = br#"{"data":null,"code":"390111","message":"gone","success":false}"#;
        let failure = StatusReply::Failure { code: "390111".into(), message: "gone".into() };
        assert_eq!(StatusReply::decode(gone).unwrap(), failure);
        for bad in [&b"{}"[..], b"", b"true", br#"{"success":1}"#, br#"{"success":false,"code":1}"#] {
            assert!(StatusReply::decode(bad).is_err(), "{bad:?}");
        }
    }
}
