//! Which exchange a request belongs to. What is not on the list is a door nobody watches, and is refused.

use http::{Method, Uri};
use model::RequestId;
use uuid::Uuid;

use crate::{chunks::ChunkId, error::shown, query_string::QueryString, sql_api};

/// The exchanges this agent knows, by method and path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// `POST /session/v1/login-request`
    Login {
        /// The client's id of the request; some drivers send none.
        request_id: Option<RequestId>,
    },
    /// `POST /queries/v1/query-request`
    Query {
        /// The client's id of the request: the same for every retry.
        request_id: Option<RequestId>,
    },
    /// `GET /queries/<id>/result`: rows of a statement that was answered with "still running", or an old one's.
    Result {
        /// Snowflake's id of the statement.
        query_id: Uuid,
    },
    /// `GET /monitoring/queries/<id>`: how a statement is doing, without rows.
    Monitoring {
        /// Snowflake's id of the statement.
        query_id: Uuid,
    },
    /// `POST /session/token-request`
    Renew,
    /// `POST /session/heartbeat`
    Heartbeat,
    /// `POST /session?delete=true`
    Close,
    /// `POST /queries/v1/abort-request`, or `POST /queries/<id>/abort-request`
    Abort {
        /// Snowflake's id of the statement, where the path has it; else the body names the request.
        query_id: Option<Uuid>,
    },
    /// `POST /telemetry/send`, with or without a session
    Telemetry,
    /// `GET /ocsp_response_cache.json`, without TLS on port 80
    OcspCache,
    /// `GET /snowfence/chunks/<key>/<n>`: rows that the reply to a statement led to. The path is the agent's own.
    Chunk(ChunkId),
    /// A request of the SQL API.
    SqlApi(sql_api::Call),
    /// Anything else.
    Unknown(Unknown),
}

/// A request that is not on the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Method and path, shortened, without the query string (which may hold a secret).
    pub request: String,
    /// Whether an answer to it has the shape of the SQL API's: the path is below `/api/`.
    pub is_api: bool,
}

impl Exchange {
    /// The word for it in records and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Login { .. } => "login",
            Self::Query { .. } => "query",
            Self::Result { .. } => "result",
            Self::Monitoring { .. } => "monitoring",
            Self::Renew => "renew",
            Self::Heartbeat => "heartbeat",
            Self::Close => "close",
            Self::Abort { .. } => "abort",
            Self::Telemetry => "telemetry",
            Self::OcspCache => "ocsp-cache",
            Self::SqlApi(call) => call.name(),
            Self::Chunk(_) => "chunk",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Says which exchange a request belongs to. Paths are compared as they are written: a path that only becomes a known
/// one after decoding, or a request id with two readings, makes the request unknown.
#[must_use]
pub fn classify(method: &Method, uri: &Uri) -> Exchange {
    known(method, uri).unwrap_or_else(|| {
        let path = uri.path();
        Exchange::Unknown(Unknown {
            request: shown(&format!("{method} {path}")),
            is_api: path.starts_with("/api/"),
        })
    })
}

fn known(method: &Method, uri: &Uri) -> Option<Exchange> {
    let query = QueryString::parse(uri.query()).ok()?;
    match (method, uri.path()) {
        (&Method::POST, "/session/v1/login-request") => {
            Some(Exchange::Login { request_id: request_id(&query)? })
        }
        (&Method::POST, "/queries/v1/query-request") => {
            Some(Exchange::Query { request_id: request_id(&query)? })
        }
        (&Method::POST, "/queries/v1/abort-request") => Some(Exchange::Abort { query_id: None }),
        (&Method::POST, "/session/token-request") => Some(Exchange::Renew),
        (&Method::POST, "/session/heartbeat") => Some(Exchange::Heartbeat),
        (&Method::POST, "/session") if query.get("delete") == Some("true") => Some(Exchange::Close),
        (&Method::POST, "/telemetry/send" | "/telemetry/send/sessionless") => Some(Exchange::Telemetry),
        (&Method::GET, "/ocsp_response_cache.json") => Some(Exchange::OcspCache),
        (&Method::GET, path) if path.starts_with(MONITORING) => monitoring(path),
        (&Method::GET, path) if path.starts_with("/snowfence/") => {
            ChunkId::of_path(path).map(Exchange::Chunk)
        }
        (method, path) if path.starts_with("/api/") => sql_api::Call::of(method, path).map(Exchange::SqlApi),
        (method, path) => of_statement(method, path),
    }
}

const MONITORING: &str = "/monitoring/queries/";

/// The Python connector 5 writes a second slash before the id (observed with 5.2).
fn monitoring(path: &str) -> Option<Exchange> {
    let id = path.strip_prefix(MONITORING)?;
    Some(Exchange::Monitoring { query_id: canonical(id.strip_prefix('/').unwrap_or(id))? })
}

fn of_statement(method: &Method, path: &str) -> Option<Exchange> {
    let (id, verb) = path.strip_prefix("/queries/")?.split_once('/')?;
    let query_id = canonical(id)?;
    match (method, verb) {
        (&Method::GET, "result") => Some(Exchange::Result { query_id }),
        (&Method::POST, "abort-request") => Some(Exchange::Abort { query_id: Some(query_id) }),
        _ => None,
    }
}

/// The outer `None` says that what is there is not one id.
fn request_id(query: &QueryString) -> Option<Option<RequestId>> {
    // The Python connector before version 5 spells it the second way at login.
    match (query.get("requestId"), query.get("request_id")) {
        (None, None) => Some(None),
        (Some(id), None) | (None, Some(id)) => canonical(id).map(|id| Some(RequestId::new(id))),
        (Some(_), Some(_)) => None,
    }
}

/// An id in the one spelling drivers use. If another spelling of the same id were taken, Snowflake might see two
/// requests where the agent sees a retry.
pub(crate) fn canonical(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| id.hyphenated().to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01bd42cc-a95c-4499-9444-1481d21ca810";

    fn classified(method: &str, target: &str) -> Exchange {
        classify(&method.parse().unwrap(), &target.parse().unwrap())
    }

    #[test]
    fn known_exchanges_are_known() {
        let request_id = RequestId::parse(ID);
        let query_id = Uuid::try_parse(ID).unwrap();
        for (method, target, exchange) in [
            (
                "POST",
                format!("/session/v1/login-request?request_id={ID}&request_guid=x"),
                Exchange::Login { request_id },
            ),
            (
                "POST",
                "/session/v1/login-request?databaseName=&roleName=".into(),
                Exchange::Login { request_id: None },
            ),
            (
                "POST",
                format!(
                    "https://acme.snowflakecomputing.com/queries/v1/query-request?requestId={ID}&retryCount=1"
                ),
                Exchange::Query { request_id },
            ),
            ("POST", "/queries/v1/query-request".into(), Exchange::Query { request_id: None }),
            (
                "GET",
                format!("/queries/{ID}/result?disableOfflineChunks=false"),
                Exchange::Result { query_id },
            ),
            ("POST", format!("/queries/v1/abort-request?requestId={ID}"), Exchange::Abort { query_id: None }),
            ("POST", format!("/queries/{ID}/abort-request"), Exchange::Abort { query_id: Some(query_id) }),
            ("GET", format!("/monitoring/queries/{ID}?requestId=1"), Exchange::Monitoring { query_id }),
            ("GET", format!("/monitoring/queries//{ID}"), Exchange::Monitoring { query_id }),
            ("POST", "/session/token-request?requestId=1".into(), Exchange::Renew),
            ("POST", "/session/heartbeat?requestId=1".into(), Exchange::Heartbeat),
            ("POST", "/session?delete=true&request_guid=1".into(), Exchange::Close),
            ("POST", "/telemetry/send".into(), Exchange::Telemetry),
            ("POST", "/telemetry/send/sessionless".into(), Exchange::Telemetry),
            ("GET", "/ocsp_response_cache.json".into(), Exchange::OcspCache),
            (
                "GET",
                format!("/snowfence/chunks/{ID}/12"),
                Exchange::Chunk(ChunkId { result: query_id, index: 12 }),
            ),
            ("POST", "/api/v2/statements?async=true".into(), Exchange::SqlApi(sql_api::Call::Submit)),
        ] {
            assert_eq!(classified(method, &target), exchange, "{method} {target}");
        }
    }

    #[test]
    fn everything_else_is_unknown() {
        for (method, target) in [
            ("GET", "/queries/v1/query-request".to_owned()),
            ("PUT", "/queries/v1/query-request".to_owned()),
            ("POST", "//queries/v1/query-request".to_owned()),
            ("POST", "/queries/v1/query-request/".to_owned()),
            ("POST", "/queries/v1/query%2drequest".to_owned()),
            ("POST", "/queries/v1/query-request;a=b".to_owned()),
            ("POST", "/queries/v1/../v1/query-request".to_owned()),
            ("POST", "/Queries/v1/query-request".to_owned()),
            ("POST", "/queries/v2/query-request".to_owned()),
            ("POST", "/queries/v1/query-request?requestId=1".to_owned()),
            ("POST", format!("/queries/v1/query-request?requestId={ID}&requestId={ID}")),
            ("POST", format!("/queries/v1/query-request?requestId={ID}&request_id={ID}")),
            ("POST", format!("/queries/v1/query-request?requestId={}", ID.to_uppercase())),
            ("POST", format!("/queries/v1/query-request?requestId=%7B{ID}%7D")),
            ("POST", "/queries/v1/query-request?a=%".to_owned()),
            ("POST", "/session".to_owned()),
            ("POST", "/session?delete=false".to_owned()),
            ("POST", format!("/queries/{ID}/result")),
            ("GET", "/queries/1/result".to_owned()),
            ("POST", format!("/monitoring/queries/{ID}")),
            ("GET", "/monitoring/queries/".to_owned()),
            ("GET", format!("/monitoring/queries///{ID}")),
            ("GET", format!("/monitoring/queries/{ID}/")),
            ("GET", format!("//monitoring/queries/{ID}")),
            ("POST", format!("/snowfence/chunks/{ID}/1")),
            ("HEAD", format!("/snowfence/chunks/{ID}/1")),
            ("GET", format!("/snowfence/chunks/{ID}")),
            ("GET", "/snowfence/chunks/1/1".to_owned()),
            ("POST", "/session/authenticator-request".to_owned()),
            ("POST", "/oauth/token-request".to_owned()),
            ("GET", "/".to_owned()),
        ] {
            assert!(matches!(classified(method, &target), Exchange::Unknown(_)), "{method} {target}");
        }
    }

    #[test]
    fn an_unknown_request_is_named_without_its_query_string() {
        let Exchange::Unknown(unknown) = classified("POST", "/api/v2/tables?token=hunter2") else {
            panic!("known")
        };
        assert_eq!(unknown, Unknown { request: "POST /api/v2/tables".into(), is_api: true });
        let Exchange::Unknown(unknown) = classified("GET", &format!("/{}", "x".repeat(9_000))) else {
            panic!("known")
        };
        assert!(unknown.request.len() < 100 && !unknown.is_api);
    }
}
