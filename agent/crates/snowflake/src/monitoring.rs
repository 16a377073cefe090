//! How a statement is doing: the answer to `GET /monitoring/queries/<id>`. It has no rows.

use std::fmt;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    error::DecodeError,
    json::{self, Object},
    rows,
    status::failure_code,
};

/// What Snowflake says of a statement that somebody follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MonitoringReply {
    /// It is known, or no more or not yet: `None`.
    Known(Option<Progress>),
    /// The question itself failed.
    Failure {
        /// Snowflake's code; empty where it gave none.
        code: String,
    },
}

/// How far a statement is.
#[derive(Clone, PartialEq, Eq)]
pub enum Progress {
    /// It waits or runs, in a word that may be a new one.
    Running,
    /// It is done.
    Succeeded,
    /// It failed, or was cancelled.
    Failed {
        /// Snowflake's code; empty where it gave none.
        code: String,
        /// Its sentence, which may quote values.
        message: Option<String>,
    },
}

/// Words for statements that are over. Source: `constants.py` of the Python connector, `QueryStatus`.
const FAILED: [&str; 4] = ["FAILED_WITH_ERROR", "FAILED_WITH_INCIDENT", "ABORTED", "DISCONNECTED"];

impl MonitoringReply {
    /// Reads the plain body of an answer about the statement `query_id`.
    ///
    /// # Errors
    /// When it is not one, tells of another statement, or has rows.
    pub fn decode(body: &[u8], query_id: Uuid) -> Result<Self, DecodeError> {
        let reply = Object::parse(json::utf8(body)?)?;
        let data = reply.object("data")?;
        if data.as_ref().is_some_and(rows::has_any) {
            return Err(DecodeError::UnexpectedRows);
        }
        if !reply.flag("success")?.ok_or(DecodeError::Missing { key: "success" })? {
            return Ok(Self::Failure { code: failure_code(&reply)? });
        }
        let queries = data.map_or(Ok(None), |data| data.list("queries"))?.unwrap_or_default();
        match queries.as_slice() {
            [] => Ok(Self::Known(None)),
            [one] => progress(one, query_id).map(|progress| Self::Known(Some(progress))),
            _ => Err(DecodeError::wrong_type("queries", "one statement")),
        }
    }
}

fn progress(entry: &RawValue, query_id: Uuid) -> Result<Progress, DecodeError> {
    let entry = Object::parse(entry.get())?;
    if rows::has_any(&entry) {
        return Err(DecodeError::UnexpectedRows);
    }
    let id = entry.text("id")?.ok_or(DecodeError::Missing { key: "id" })?;
    if Uuid::try_parse(&id) != Ok(query_id) {
        return Err(DecodeError::wrong_type("id", "the id that was asked for"));
    }
    let status = entry.text("status")?.ok_or(DecodeError::Missing { key: "status" })?;
    if status == "SUCCESS" {
        return Ok(Progress::Succeeded);
    }
    if !FAILED.contains(&status.as_str()) {
        return Ok(Progress::Running);
    }
    Ok(Progress::Failed { code: code(&entry)?, message: entry.text("errorMessage")? })
}

/// Snowflake writes the code as a text or as a number.
fn code(entry: &Object<'_>) -> Result<String, DecodeError> {
    match entry.raw("errorCode") {
        Some(raw) if raw.starts_with('"') => Ok(entry.text("errorCode")?.unwrap_or_default()),
        Some(_) => Ok(entry.whole("errorCode")?.map(|code| format!("{code:06}")).unwrap_or_default()),
        None => Ok(String::new()),
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("Running"),
            Self::Succeeded => f.write_str("Succeeded"),
            Self::Failed { code, .. } => f.debug_struct("Failed").field("code", code).finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01bd42cc-a95c-4499-9444-1481d21ca810";

    fn decoded(queries: &str) -> Result<MonitoringReply, DecodeError> {
        let body =
            format!(r#"{{"data":{{"queries":[{queries}]}},"code":null,"message":null,"success":true}}"#);
        MonitoringReply::decode(body.as_bytes(), Uuid::try_parse(ID).unwrap())
    }

    fn progress_of(status: &str, more: &str) -> Progress {
        let entry =
            format!(r#"{{"id":"{ID}","sessionId":1,"status":"{status}","sqlText":"select 1"{more}}}"#);
        let Ok(MonitoringReply::Known(Some(progress))) = decoded(&entry) else { panic!("{entry}") };
        progress
    }

    #[test]
    fn what_is_over_is_told_from_what_runs() {
        for status in ["RUNNING", "QUEUED", "RESUMING_WAREHOUSE", "BLOCKED", "ABORTING", "SOMETHING_NEW"] {
            assert_eq!(progress_of(status, ""), Progress::Running, "{status}");
        }
        assert_eq!(progress_of("SUCCESS", ""), Progress::Succeeded);
        for (code, expected) in [("\"000604\"", "000604"), ("604", "000604"), ("null", "")] {
            let more = format!(r#","errorCode":{code},"errorMessage":"Numeric value 'hunter2'""#);
            let failed = progress_of("FAILED_WITH_ERROR", &more);
            let message = Some("Numeric value 'hunter2'".to_owned());
            assert!(!format!("{failed:?}").contains("hunter2"));
            assert_eq!(failed, Progress::Failed { code: expected.to_owned(), message });
        }
        assert_eq!(decoded(""), Ok(MonitoringReply::Known(None)));
        let lost = br#"{"data":null,"code":"390112","message":"expired","success":false}"#;
        let failure = MonitoringReply::Failure { code: "390112".to_owned() };
        assert_eq!(MonitoringReply::decode(lost, Uuid::nil()), Ok(failure));
    }

    #[test]
    fn rows_and_other_statements_are_refused() {
        let this = format!(r#"{{"id":"{ID}","status":"RUNNING"}}"#);
        for queries in [
            format!("{this},{this}"),
            r#"{"id":"01bd42cc-a95c-4499-9444-1481d21ca811","status":"RUNNING"}"#.to_owned(),
            r#"{"status":"RUNNING"}"#.to_owned(),
            format!(r#"{{"id":"{ID}"}}"#),
            format!(r#"{{"id":"{ID}","status":1}}"#),
            format!(r#"{{"id":"{ID}","status":"SUCCESS","rowset":[["canary"]]}}"#),
            "7".to_owned(),
        ] {
            assert!(decoded(&queries).is_err(), "{queries}");
        }
        let rows = br#"{"data":{"queries":[],"rowset":[["canary"]]},"success":true}"#;
        assert!(MonitoringReply::decode(rows, Uuid::nil()).is_err());
        assert!(MonitoringReply::decode(b"{}", Uuid::nil()).is_err());
    }
}
