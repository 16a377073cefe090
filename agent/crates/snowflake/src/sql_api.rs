//! The SQL API, version 2: statements sent by HTTP clients that are no drivers.
//!
//! There is no login. Each request carries a credential or a session token, and names its own database, schema,
//! warehouse and role. Source: Snowflake documentation, "Snowflake SQL API reference".

mod authorization;
mod reply;
mod request;

use http::Method;
use uuid::Uuid;

pub(crate) use authorization::TOKEN_TYPE;
pub use authorization::{Authorization, Bearer, HeaderError};
pub use reply::{ApiEnvelope, ApiFailure, ApiReply, ApiRunning, ApiSuccess, Nulls};
pub use request::{Fetch, Submission, check_cancel};

use crate::exchange::canonical;

const STATEMENTS: &str = "/api/v2/statements";

/// The requests for statements, by method and path. What is in the query string is read with the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `POST /api/v2/statements`
    Submit,
    /// `GET /api/v2/statements/<handle>`: whether a statement is done, and its rows, one partition at a time.
    Fetch {
        /// Snowflake's id of the statement.
        handle: Uuid,
    },
    /// `POST /api/v2/statements/<handle>/cancel`
    Cancel {
        /// Snowflake's id of the statement.
        handle: Uuid,
    },
}

impl Call {
    /// The call that a method and a path make; the documentation writes the first path with and without its last slash.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        let rest = path.strip_prefix(STATEMENTS)?;
        if rest.is_empty() || rest == "/" {
            return (method == Method::POST).then_some(Self::Submit);
        }
        let rest = rest.strip_prefix('/')?;
        match (method, rest.strip_suffix("/cancel")) {
            (&Method::GET, None) => canonical(rest).map(|handle| Self::Fetch { handle }),
            (&Method::POST, Some(handle)) => canonical(handle).map(|handle| Self::Cancel { handle }),
            _ => None,
        }
    }

    /// The word for it in records and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "api-submit",
            Self::Fetch { .. } => "api-fetch",
            Self::Cancel { .. } => "api-cancel",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01bd42cc-a95c-4499-9444-1481d21ca810";

    fn call(method: &str, path: &str) -> Option<Call> {
        Call::of(&method.parse().unwrap(), path)
    }

    #[test]
    fn the_three_calls_are_known_by_method_and_path() {
        let handle = Uuid::try_parse(ID).unwrap();
        for (method, path, expected) in [
            ("POST", STATEMENTS.to_owned(), Call::Submit),
            ("POST", format!("{STATEMENTS}/"), Call::Submit),
            ("GET", format!("{STATEMENTS}/{ID}"), Call::Fetch { handle }),
            ("POST", format!("{STATEMENTS}/{ID}/cancel"), Call::Cancel { handle }),
        ] {
            assert_eq!(call(method, &path), Some(expected), "{method} {path}");
        }
    }

    #[test]
    fn everything_else_below_the_api_is_none() {
        for (method, path) in [
            ("GET", STATEMENTS.to_owned()),
            ("PUT", STATEMENTS.to_owned()),
            ("POST", format!("{STATEMENTS}//")),
            ("POST", "/api/v2/Statements".to_owned()),
            ("POST", "/api/v2/statement%73".to_owned()),
            ("POST", format!("{STATEMENTS}x")),
            ("POST", "/api/v1/statements".to_owned()),
            ("POST", format!("{STATEMENTS}/{ID}")),
            ("GET", format!("{STATEMENTS}/{ID}/cancel")),
            ("GET", format!("{STATEMENTS}/{ID}/")),
            ("GET", format!("{STATEMENTS}/{}", ID.to_uppercase())),
            ("GET", format!("{STATEMENTS}/{{{ID}}}")),
            ("GET", format!("{STATEMENTS}/1")),
            ("POST", format!("{STATEMENTS}/{ID}/cancel/")),
            ("POST", format!("{STATEMENTS}/{ID}/retry")),
            ("DELETE", format!("{STATEMENTS}/{ID}")),
        ] {
            assert_eq!(call(method, &path), None, "{method} {path}");
        }
    }
}
