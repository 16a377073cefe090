//! A statement: `POST /queries/v1/query-request`.

use std::fmt;

use model::SqlText;

use crate::{
    error::{DecodeError, RequestError, UnknownKeys},
    json::{self, Object},
    parameters::Parameters,
};

/// Every key that a driver puts into the body. One that is not here might be a way around the text.
/// Source: the drivers for Python (3 to 5), Go, Node, Java and C.
const KEYS: [&str; 13] = [
    "asyncExec",
    "bindStage",
    "bindings",
    "dataframeAst",
    "describeOnly",
    "describedJobId",
    "disableOfflineChunks",
    "isInternal",
    "parameters",
    "queryContextDTO",
    "querySubmissionTime",
    "sequenceId",
    "sqlText",
];

/// Keys that hold code or data elsewhere than in the text, and how to do without them.
const ELSEWHERE: [(&str, &str); 2] = [
    ("dataframeAst", "turn off sending of Snowpark's syntax trees (ast_enabled)"),
    ("bindStage", "set the session parameter CLIENT_STAGE_ARRAY_BINDING_THRESHOLD to 0"),
];

/// What must be the same when one request is sent again. The rest counts tries, tells times, or is a hint.
const REPEATED: [&str; 7] =
    ["sqlText", "bindings", "parameters", "asyncExec", "describeOnly", "describedJobId", "isInternal"];

/// One statement and what is sent beside its text. `Debug` shows neither text nor bindings.
#[derive(Clone, PartialEq, Eq)]
pub struct QueryRequest {
    /// The text.
    pub text: SqlText,
    /// How many placeholders are bound. Bindings are data, except where the text executes or names one.
    pub binding_count: usize,
    /// Parameters set for this statement.
    pub parameters: Parameters,
    /// Whether the client will not wait for the rows and asks for them later.
    pub is_async: bool,
    /// Whether the statement is only compiled: the reply tells columns and has no rows.
    pub is_describe_only: bool,
    /// Whether the driver calls the statement its own.
    pub is_internal: bool,
    /// Snowflake's id of an earlier statement that was only compiled, and is to be executed now. The text is sent
    /// again, and it is for the caller to see that the earlier statement had the same.
    pub described_job_id: Option<String>,
    content: Vec<u8>,
}

impl QueryRequest {
    /// Reads the plain body of a statement.
    ///
    /// # Errors
    /// When it has more than one reading, carries code or data elsewhere than in the text and its bindings, has keys
    /// that are not known, or a text that is missing or too long.
    pub fn decode(body: &[u8]) -> Result<Self, RequestError> {
        let body = Object::parse(json::checked(body)?)?;
        if let Some(unknown) = UnknownKeys::among(body.keys(), &KEYS) {
            return Err(RequestError::UnknownKeys(unknown));
        }
        for (key, fix) in ELSEWHERE {
            if body.raw(key).is_some() {
                return Err(RequestError::Elsewhere { key, fix });
            }
        }
        let text = body.text("sqlText")?.ok_or(DecodeError::Missing { key: "sqlText" })?;
        Ok(Self {
            text: SqlText::new(&text)?,
            binding_count: count_bindings(&body)?,
            parameters: Parameters::read(&body, "parameters")?,
            is_async: body.flag("asyncExec")?.unwrap_or_default(),
            is_describe_only: body.flag("describeOnly")?.unwrap_or_default(),
            is_internal: body.flag("isInternal")?.unwrap_or_default(),
            described_job_id: body.text("describedJobId")?,
            content: content(&body),
        })
    }

    /// What must be the same, byte for byte, in every try of one request: text, bindings, parameters and flags, but
    /// no counters or times. For a digest; it holds data.
    #[must_use]
    pub fn retry_content(&self) -> &[u8] {
        &self.content
    }
}

impl fmt::Debug for QueryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryRequest")
            .field("text", &self.text)
            .field("binding_count", &self.binding_count)
            .field("parameters", &self.parameters)
            .field("is_async", &self.is_async)
            .field("is_describe_only", &self.is_describe_only)
            .field("is_internal", &self.is_internal)
            .field("described_job_id", &self.described_job_id)
            .finish_non_exhaustive()
    }
}

/// How many placeholders are bound. Each binding is an object.
pub(crate) fn count_bindings(body: &Object<'_>) -> Result<usize, DecodeError> {
    let Some(bindings) = body.object("bindings")? else { return Ok(0) };
    for (name, binding) in bindings.entries() {
        if !binding.get().starts_with('{') {
            return Err(DecodeError::wrong_type(name, "a binding"));
        }
    }
    Ok(bindings.len())
}

/// Each value as it was written, with its length before it, so that no two requests give the same bytes.
fn content(body: &Object<'_>) -> Vec<u8> {
    let mut content = Vec::new();
    for key in REPEATED {
        let value = body.raw(key).unwrap_or_default();
        content.extend_from_slice(&(value.len() as u64).to_le_bytes());
        content.extend_from_slice(value.as_bytes());
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str) -> Result<QueryRequest, RequestError> {
        QueryRequest::decode(body.as_bytes())
    }

    #[test]
    fn each_drivers_body_is_read() {
        for body in [
            r#"{"sqlText":"select 1","asyncExec":false,"sequenceId":1,"querySubmissionTime":1795406109768,"parameters":{},"queryContextDTO":{}}"#,
            r#"{"sqlText":"select 1","asyncExec":false,"sequenceId":1,"querySubmissionTime":1,"isInternal":false,"queryContextDTO":{}}"#,
            r#"{"disableOfflineChunks":false,"sqlText":"select 1","queryContextDTO":{"entries":[]}}"#,
            r#"{"sqlText":"select 1","asyncExec":false,"sequenceId":1,"isInternal":false,"queryContextDTO":{}}"#,
            r#"{"sqlText":"select 1"}"#,
            r#"{"sqlText":"select 1","bindStage":null,"dataframeAst":null,"bindings":null,"parameters":null,"describedJobId":null}"#,
        ] {
            let query = decode(body).unwrap();
            assert_eq!(query.text.as_str(), "select 1");
            assert!(!query.is_async && !query.is_describe_only && !query.is_internal, "{body}");
            assert_eq!((query.binding_count, query.described_job_id), (0, None));
        }
    }

    #[test]
    fn what_stands_beside_the_text_is_read() {
        let query = decode(
            r#"{"sqlText":"insert into t values (?, ?)","asyncExec":true,"describeOnly":true,"isInternal":true,
            "describedJobId":"01b","parameters":{"multi_statement_count":0,"QUERY_TAG":"x"},
            "bindings":{"1":{"type":"FIXED","value":"9007199254740993"},"2":{"type":"TEXT","value":["a",null]}}}"#,
        )
        .unwrap();
        assert!(query.is_async && query.is_describe_only && query.is_internal);
        assert_eq!(query.binding_count, 2);
        assert_eq!(query.parameters.get("MULTI_STATEMENT_COUNT"), Some("0"));
        assert_eq!(query.described_job_id.as_deref(), Some("01b"));
    }

    #[test]
    fn the_text_is_what_snowflake_reads() {
        let query = decode(r#"{"sqlText":"select '\u00e9\ud83d\ude00\\n' -- \"x\"\n"}"#).unwrap();
        assert_eq!(query.text.as_str(), "select 'é😀\\n' -- \"x\"\n");
    }

    #[test]
    fn debug_shows_neither_text_nor_values() {
        let query = decode(
            r#"{"sqlText":"select 'hunter2'","bindings":{"1":{"type":"TEXT","value":"hunter2"}},
            "parameters":{"QUERY_TAG":"hunter2"}}"#,
        )
        .unwrap();
        assert!(!format!("{query:?}").contains("hunter2"));
    }

    #[test]
    fn code_elsewhere_is_refused_with_the_fix() {
        for (body, key) in [
            (r#"{"sqlText":"select 1","dataframeAst":"CgQ="}"#, "dataframeAst"),
            (r#"{"sqlText":"insert into t values (?)","bindStage":"@SYSTEM$BIND/1"}"#, "bindStage"),
            (r#"{"sqlText":"select 1","bindStage":""}"#, "bindStage"),
        ] {
            let error = decode(body).unwrap_err();
            assert!(matches!(error, RequestError::Elsewhere { key: found, .. } if found == key), "{error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        for (body, name) in [
            (r#"{"sqlText":"select 1","sqltext":"drop table t"}"#, "sqltext"),
            (r#"{"sqlText":"select 1","sqlText ":"drop table t"}"#, "sqlText "),
            (r#"{"sqlText":"select 1","statement":"drop table t"}"#, "statement"),
        ] {
            let Err(RequestError::UnknownKeys(unknown)) = decode(body) else { panic!("{body}") };
            assert_eq!(unknown.names(), [name]);
        }
    }

    #[test]
    fn a_request_with_two_readings_is_refused() {
        for body in [
            r#"{"sqlText":"select 1","sqlText":"drop table t"}"#,
            r#"{"sqlText":"select 1","\u0073qlText":"drop table t"}"#,
            r#"{"sqlText":"select 1"}{"sqlText":"drop table t"}"#,
            r#"{"sqlText":"select 1","parameters":{"MULTI_STATEMENT_COUNT":1,"multi_statement_count":0}}"#,
            r#"{"sqlText":"execute immediate ?","bindings":{"1":{"value":"a","value":"b"}}}"#,
            r#"{"sqlText":"execute immediate ?","bindings":{"1":{"value":"a"},"1":{"value":"b"}}}"#,
            r#"{"sqlText":"select '\ud800'"}"#,
            r#"[{"sqlText":"select 1"}]"#,
            r#"{"sqlText":["select 1"]}"#,
            r#"{"sqlText":1}"#,
            r#"{"sqlText":null}"#,
            r#"{"asyncExec":true}"#,
            r#"{"sqlText":"select 1","asyncExec":"true"}"#,
            r#"{"sqlText":"select 1","describeOnly":1}"#,
            r#"{"sqlText":"select 1","bindings":["a"]}"#,
            r#"{"sqlText":"select 1","bindings":{"1":"a"}}"#,
            "",
        ] {
            assert!(decode(body).is_err(), "{body}");
        }
        assert!(QueryRequest::decode(b"{\"sqlText\":\"select '\xff'\"}").is_err());
        let utf16: Vec<u8> = r#"{"sqlText":"select 1"}"#.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert!(QueryRequest::decode(&utf16).is_err());
        let long = format!(r#"{{"sqlText":"{}"}}"#, "x".repeat(SqlText::BYTES_MAX + 1));
        assert!(matches!(decode(&long), Err(RequestError::Text(_))));
    }

    #[test]
    fn a_retry_has_the_same_content_and_nothing_else_has() {
        let first =
            decode(r#"{"sqlText":"select ?","bindings":{"1":{"value":"a"}},"sequenceId":1}"#).unwrap();
        let again = decode(
            r#"{"querySubmissionTime":7,"sequenceId":2,"bindings":{"1":{"value":"a"}},"sqlText":"select ?","queryContextDTO":{}}"#,
        )
        .unwrap();
        assert_eq!(first.retry_content(), again.retry_content());
        for other in [
            r#"{"sqlText":"select  ?","bindings":{"1":{"value":"a"}}}"#,
            r#"{"sqlText":"select ?","bindings":{"1":{"value":"b"}}}"#,
            r#"{"sqlText":"select ?"}"#,
            r#"{"sqlText":"select ?","bindings":{"1":{"value":"a"}},"parameters":{"QUERY_TAG":"x"}}"#,
            r#"{"sqlText":"select ?","bindings":{"1":{"value":"a"}},"asyncExec":true}"#,
            r#"{"sqlText":"select ?","bindings":{"1":{"value":"a"}},"describeOnly":true}"#,
        ] {
            assert_ne!(decode(other).unwrap().retry_content(), first.retry_content(), "{other}");
        }
    }
}
