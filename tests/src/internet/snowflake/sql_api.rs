//! The SQL API, version 2: the same statements for clients that are no drivers, with JSON rows in partitions.
//!
//! Any bearer token that is not empty opens a session, whatever it looks like and whatever type it says it has: nothing
//! here verifies one. The one exception is [`STALE_TOKEN`]. Each request is a session of its own, under the names in its
//! body, and fakesnow executes it; one with a driver's session token runs in that session, under its names.
//! Source of the shapes: Snowflake documentation, "Snowflake SQL API reference".

mod jsonv2;
mod shape;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::queries::Query;
use super::sessions::{Found, Names, Session};
use super::statement::Errand;
use super::wire::Asked;
use super::{Front, NO_OPERATION, query_string};
use crate::internet::serve::Reply;
use jsonv2::Table;

/// A bearer token that is refused, as an expired one is.
const STALE_TOKEN: &str = "the-stale-token";
const PATH: &str = "/api/v2/statements";
/// Snowflake decides by size; here it is a number of rows that an ordinary table has.
const PARTITION_ROWS: usize = 300;

/// One of the requests.
pub(super) enum Call<'a> {
    Submit,
    Fetch(&'a str),
    Cancel(&'a str),
}

impl<'a> Call<'a> {
    /// The call of a method and a path; `None` for everything that is not here.
    pub(super) fn of(method: &Method, path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix(PATH)?;
        match (method, rest.strip_prefix('/').unwrap_or(rest)) {
            (&Method::POST, "") => Some(Self::Submit),
            (&Method::GET, handle) if !handle.is_empty() && !handle.contains('/') => {
                Some(Self::Fetch(handle))
            }
            (&Method::POST, rest) => rest.strip_suffix("/cancel").map(Self::Cancel),
            _ => None,
        }
    }
}

/// What is known of statements beside what they do.
#[derive(Default)]
pub(super) struct Submitted(Mutex<HashMap<String, Submission>>);

#[derive(Clone)]
struct Submission {
    request_id: String,
    created_ms: u128,
    nulls_are_text: bool,
}

impl Submitted {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Submission>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The statement that a request submitted before.
    fn of_request(&self, request_id: &str) -> Option<String> {
        let submitted = self.lock();
        submitted.iter().find(|(_, known)| known.request_id == request_id).map(|(handle, _)| handle.clone())
    }
}

impl Front {
    /// Answers a request of the SQL API.
    pub(super) async fn sql_api(&self, account: &str, asked: &Asked, call: Call<'_>) -> Reply {
        let session = match (asked.bearer(), self.sessions.find(asked.token(), Instant::now())) {
            (STALE_TOKEN, _) => return shape::unauthorized("390318", "OAuth access token expired."),
            ("", Found::Live(session)) => Some(session),
            ("", _) => {
                return shape::unauthorized("390101", "Authorization header not found in the request data.");
            }
            _ => None,
        };
        match call {
            Call::Submit => self.submit(account, asked, session).await,
            Call::Fetch(handle) => {
                let partition =
                    query_string::value(&asked.uri, "partition").unwrap_or_else(|| "0".to_owned());
                match (self.queries.find(account, handle), partition.parse()) {
                    (Some(query), Ok(partition)) => self.rows(asked, &query, partition).await,
                    _ => {
                        shape::failed(handle, "000709", "02000", &format!("Statement {handle} not found"), 0)
                    }
                }
            }
            Call::Cancel(handle) => {
                let is_ended = self.queries.find(account, handle).is_some_and(|query| query.cancel());
                shape::cancelled(handle, is_ended)
            }
        }
    }

    async fn submit(&self, account: &str, asked: &Asked, session: Option<Arc<Session>>) -> Reply {
        let flag = |name| query_string::value(&asked.uri, name);
        let request_id = flag("requestId").unwrap_or_else(|| Uuid::new_v4().to_string());
        if flag("retry").as_deref() == Some("true")
            && let Some(handle) = self.submitted.of_request(&request_id)
            && let Some(query) = self.queries.find(account, &handle)
        {
            return self.rows(asked, &query, 0).await;
        }
        let session = match session {
            Some(session) => session,
            None => match self.lone_session(&asked.json).await {
                Ok(session) => session,
                Err(_) => {
                    return shape::failed("", "000603", "XX000", "the lab's SQL engine does not answer", 0);
                }
            },
        };
        let is_async = flag("async").as_deref() == Some("true");
        let order = json!({
            "sqlText": asked.json.get("statement"), "bindings": asked.json.get("bindings"), "asyncExec": is_async,
        });
        let (engine, queries) = (Arc::clone(&self.engine), Arc::clone(&self.queries));
        let store = Arc::clone(&self.store);
        let errand = Errand { engine, queries, store, account: account.to_owned(), session };
        let Some(query) = errand.start(&asked.as_query(&order)) else {
            return shape::failed("", "391902", "22000", "the request has no statement", 0);
        };
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nulls_are_text = flag("nullable").as_deref() == Some("false");
        let submission = Submission { request_id, created_ms: created.as_millis(), nulls_are_text };
        self.submitted.lock().insert(query.id.clone(), submission.clone());
        if is_async {
            shape::running(&query.id, &submission.request_id)
        } else {
            self.rows(asked, &query, 0).await
        }
    }

    /// A session of fakesnow's for one statement, under the names of a body.
    async fn lone_session(&self, body: &Value) -> anyhow::Result<Arc<Session>> {
        let name = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        // Snowflake takes these as they are spelled, fakesnow as an identifier is written.
        let quoted = |key: &str| match name(key) {
            "" => String::new(),
            name => format!("%22{}%22", query_string::encode(name)),
        };
        let target = format!(
            "/session/v1/login-request?databaseName={}&schemaName={}",
            quoted("database"),
            quoted("schema")
        );
        let parameters = json!({ "data": { "SESSION_PARAMETERS": { "nop_regexes": [NO_OPERATION] } } });
        let (_, reply) = self.engine.ask(&Method::POST, &target, None, parameters.to_string().into()).await?;
        let token = reply.pointer("/data/token").and_then(Value::as_str).context("fakesnow gave no token")?;
        let role = if name("role").is_empty() { "PUBLIC" } else { name("role") };
        let warehouse = Some(name("warehouse").to_owned()).filter(|name| !name.is_empty());
        Ok(self.sessions.lone(token.to_owned(), Names { role: role.to_owned(), warehouse }))
    }

    /// A part of a statement's rows, or how the statement stands.
    async fn rows(&self, asked: &Asked, query: &Query, partition: usize) -> Reply {
        let known = self.submitted.lock().get(&query.id).cloned();
        let Some(Submission { request_id, created_ms, nulls_are_text }) = known else {
            return shape::failed(&query.id, "000709", "02000", "the statement was not submitted here", 0);
        };
        let reply: Value = serde_json::from_slice(&query.reply().await).unwrap_or_default();
        let text = |pointer| reply.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if text("/code").starts_with("33333") {
            return shape::running(&query.id, &request_id);
        }
        if reply.get("success") != Some(&Value::Bool(true)) {
            return shape::failed(
                &query.id,
                text("/code"),
                text("/data/sqlState"),
                text("/message"),
                created_ms,
            );
        }
        let Ok(table) = Table::read(reply, nulls_are_text) else {
            return shape::failed(
                &query.id,
                "000603",
                "XX000",
                "the lab cannot read fakesnow's rows",
                created_ms,
            );
        };
        let parts: Vec<_> = table.rows.chunks(PARTITION_ROWS).collect();
        match parts.get(partition) {
            Some(part) if partition > 0 => shape::later(part),
            None if partition > 0 => {
                shape::failed(&query.id, "391918", "22000", "there is no such partition", created_ms)
            }
            _ => shape::first(&query.id, &request_id, created_ms, &table, &parts, asked.accepts_gzip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_by_method_and_path() {
        let call = |method: &str, path: &'static str| match Call::of(&method.parse().unwrap(), path) {
            None => "none".to_owned(),
            Some(Call::Submit) => "submit".to_owned(),
            Some(Call::Fetch(handle)) => format!("fetch {handle}"),
            Some(Call::Cancel(handle)) => format!("cancel {handle}"),
        };
        for (method, path, expected) in [
            ("POST", "/api/v2/statements", "submit"),
            ("POST", "/api/v2/statements/", "submit"),
            ("GET", "/api/v2/statements/1", "fetch 1"),
            ("POST", "/api/v2/statements/1/cancel", "cancel 1"),
            ("GET", "/api/v2/statements", "none"),
            ("GET", "/api/v2/statements/1/cancel", "none"),
            ("POST", "/api/v2/statements/1", "none"),
            ("POST", "/api/v2/databases", "none"),
        ] {
            assert_eq!(call(method, path), expected, "{method} {path}");
        }
    }
}
