//! Telemetry of the drivers. It is answered here and goes nowhere: drivers do not look at the answer, and what they
//! send may tell host names and paths.

use crate::{
    error::RequestError,
    json::{self, Object},
};

/// The answer Snowflake gives.
pub const ACCEPTED: &[u8] = br#"{"data":"Log Received","code":null,"message":null,"success":true}"#;

/// How many log entries a plain telemetry body holds.
///
/// # Errors
/// When it is no telemetry.
pub fn count_entries(body: &[u8]) -> Result<usize, RequestError> {
    let body = Object::parse(json::checked(body)?)?;
    Ok(body.list("logs")?.map_or(0, |logs| logs.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StatusReply;

    #[test]
    fn entries_are_counted() {
        assert_eq!(count_entries(br#"{"logs":[{"timestamp":1,"message":{}},{}]}"#), Ok(2));
        assert_eq!(count_entries(b"{}"), Ok(0));
        for bad in [&b""[..], br#"{"logs":{}}"#, b"[]", br#"{"logs":[],"logs":[]}"#] {
            assert!(count_entries(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_answer_is_a_success() {
        assert_eq!(StatusReply::decode(ACCEPTED).unwrap(), StatusReply::Success);
    }
}
