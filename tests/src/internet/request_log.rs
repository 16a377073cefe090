//! What reached the Snowflake server, one JSON line per request, written before the request is acted on.
//!
//! Tests read it (`Lab::front_log`) to say what an agent let through, and what it kept back.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::Serialize;

/// The log's name in the internet's folder.
const FILE: &str = "front.jsonl";

/// One request as it reached the server.
#[derive(Debug, Serialize)]
pub(super) struct FrontRequest {
    /// When, in milliseconds since 1970.
    pub(super) time_ms: u64,
    /// The other end of the connection: the client's, or the agent's.
    pub(super) peer: SocketAddr,
    /// The name in the ClientHello.
    pub(super) server_name: String,
    /// `POST`, as a rule.
    pub(super) method: String,
    /// The path, without the query string.
    pub(super) path: String,
    /// The query string, which has the request's id; never a secret.
    pub(super) query: String,
    /// What the client says it is.
    pub(super) user_agent: String,
    /// Of a login: the name that wants in.
    pub(super) login_name: Option<String>,
    /// Of a statement: its text, which only the lab's log may hold.
    pub(super) sql: Option<String>,
}

/// The log, open for writing.
pub(super) struct RequestLog(Mutex<File>);

impl RequestLog {
    /// Starts an empty log in `dir`.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let file = File::create(&path).with_context(|| format!("no request log at {}", path.display()))?;
        Ok(Self(Mutex::new(file)))
    }

    /// Appends one request.
    pub(super) fn append(&self, request: &FrontRequest) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_of_json_whatever_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let log = RequestLog::create(dir.path()).unwrap();
        let request = FrontRequest {
            time_ms: 1,
            peer: "192.0.2.1:5".parse().unwrap(),
            server_name: "acme.snowflakecomputing.com".into(),
            method: "POST".into(),
            path: "/queries/v1/query-request".into(),
            query: "requestId=1".into(),
            user_agent: String::new(),
            login_name: None,
            sql: Some("select '\n'".into()),
        };
        log.append(&request).unwrap();
        log.append(&request).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        for line in lines {
            assert_eq!(
                (line["sql"].as_str(), line["peer"].as_str()),
                (Some("select '\n'"), Some("192.0.2.1:5"))
            );
        }
        assert!(RequestLog::create(&dir.path().join("missing")).is_err());
    }
}
