//! In which form rows go to a client: as an Arrow stream, or as JSON texts.
//!
//! What is known of Snowflake's own choice is what its drivers rely on. None of them asks for a form at login or by a
//! header, so the server must go by `CLIENT_APP_ID`: the drivers for Python, Go, Java and C get Arrow and the one for
//! Node, which cannot read Arrow, gets JSON, and so does the crate `snowflake-connector-rs`, which names no application
//! at all. And each family has a parameter by which it turns Arrow off: `PYTHON_CONNECTOR_QUERY_RESULT_FORMAT` (the
//! connector's `cursor.py`, where pyarrow is missing), `JDBC_QUERY_RESULT_FORMAT` (`SFStatement.java`),
//! `GO_QUERY_RESULT_FORMAT` (gosnowflake's `doc.go`), `ODBC_…` and `C_API_QUERY_RESULT_FORMAT`.
//!
//! Two things are the lab's own: an application that it does not know gets JSON, and a parameter of any family counts
//! for every client.

use serde_json::Value;

use super::shape;
use super::statement::skip_comments;

/// `CLIENT_APP_ID` of those that read Arrow: the connectors for Python, with what is built on them, and the others.
/// Source: what they send. `snowflake-api`, a crate, calls itself `Go`.
const READ_ARROW: [&str; 7] =
    ["PythonConnector", "PythonSnowpark", "SnowflakeSQLAlchemy", "Go", "JDBC", "ODBC", "C API"];
/// The end of every such parameter's name.
const PARAMETER_END: &str = "_QUERY_RESULT_FORMAT";

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Arrow,
    Json,
}

impl Format {
    fn named(word: &str) -> Option<Self> {
        match word.to_ascii_uppercase().as_str() {
            "JSON" => Some(Self::Json),
            "ARROW" | "ARROW_FORCE" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// What a JSON object of parameters sets.
    fn among(parameters: Option<&Value>) -> Option<Self> {
        let mut set = parameters?.as_object()?.iter().filter(|(name, _)| is_parameter(name));
        set.find_map(|(_, value)| Self::named(value.as_str()?))
    }
}

/// The form of one session's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Formats {
    of_client: Format,
    of_session: Format,
}

impl Formats {
    /// What a login's body settles.
    pub(super) fn of_login(body: &Value) -> Self {
        let application = shape::text(body, "/data/CLIENT_APP_ID").unwrap_or_default();
        let of_client = if READ_ARROW.contains(&application) { Format::Arrow } else { Format::Json };
        let set = Format::among(body.pointer("/data/SESSION_PARAMETERS"));
        Self { of_client, of_session: set.unwrap_or(of_client) }
    }

    /// The form for one statement, which may set the parameter for itself alone.
    pub(super) fn of_statement(self, request: &Value) -> Format {
        Format::among(request.get("parameters")).unwrap_or(self.of_session)
    }

    /// Follows a statement that succeeded: `ALTER SESSION` sets the parameter, or takes it back.
    pub(super) fn follow(&mut self, sql: &str) {
        let words = skip_comments(sql).replace(['=', ';', '\''], " ");
        let words: Vec<_> = words.split_whitespace().map(str::to_ascii_uppercase).collect();
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["ALTER", "SESSION", "SET", name, value, ..] if is_parameter(name) => {
                self.of_session = Format::named(value).unwrap_or(self.of_session);
            }
            ["ALTER", "SESSION", "UNSET", name, ..] if is_parameter(name) => self.of_session = self.of_client,
            _ => {}
        }
    }
}

fn is_parameter(name: &str) -> bool {
    name.to_ascii_uppercase().ends_with(PARAMETER_END)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(data: &Value) -> Formats {
        Formats::of_login(&json!({ "data": data }))
    }

    #[test]
    fn a_client_gets_what_it_can_read() {
        for (application, expected) in [
            ("PythonConnector", Format::Arrow),
            ("PythonSnowpark", Format::Arrow),
            ("Go", Format::Arrow),
            ("JavaScript", Format::Json),
            (".NET", Format::Json),
            ("", Format::Json),
        ] {
            let formats = of(&json!({ "CLIENT_APP_ID": application }));
            assert_eq!(formats.of_statement(&json!({})), expected, "{application}");
        }
        assert_eq!(of(&json!({})).of_statement(&json!({})), Format::Json);
    }

    #[test]
    fn a_parameter_of_login_or_statement_decides() {
        let data = json!({
            "CLIENT_APP_ID": "Go", "SESSION_PARAMETERS": { "QUERY_TAG": "JSON", "go_query_result_format": "json" },
        });
        assert_eq!(of(&data).of_statement(&json!({})), Format::Json);
        let python = of(&json!({ "CLIENT_APP_ID": "PythonConnector" }));
        let request = json!({ "parameters": { "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": "JSON" } });
        assert_eq!(python.of_statement(&request), Format::Json);
        assert_eq!(python.of_statement(&json!({ "parameters": { "QUERY_TAG": "JSON" } })), Format::Arrow);
    }

    #[test]
    fn a_session_changes_its_mind() {
        let mut formats = of(&json!({ "CLIENT_APP_ID": "Go" }));
        for (sql, expected) in [
            ("alter session set QUERY_TAG = 'JSON'", Format::Arrow),
            ("/* a */ ALTER SESSION SET GO_QUERY_RESULT_FORMAT='JSON';", Format::Json),
            ("select 'ALTER SESSION UNSET GO_QUERY_RESULT_FORMAT'", Format::Json),
            ("alter session set GO_QUERY_RESULT_FORMAT = other", Format::Json),
            ("alter session unset GO_QUERY_RESULT_FORMAT", Format::Arrow),
        ] {
            formats.follow(sql);
            assert_eq!(formats.of_statement(&json!({})), expected, "{sql}");
        }
    }
}
