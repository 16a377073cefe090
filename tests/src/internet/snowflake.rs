//! The Snowflake front: sessions and the shape of replies are made here, SQL results by fakesnow.
//!
//! Whatever fails, the answer is HTTP 200 with Snowflake's error body: drivers retry other statuses, some without end.

pub(super) mod query_string;
mod sessions;
mod shape;
mod statement;
mod wire;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::addresses::BRIEF_HOST;
use super::engine::Client;
use super::request_log::{FrontRequest, RequestLog};
use super::serve::{Caller, Reply, Site, text};
use sessions::{Found, Names, Session, Sessions};
use wire::Asked;

pub use sessions::Validity;

const LOGIN_PATH: &str = "/session/v1/login-request";
/// The account of `BRIEF_HOST`: a test can wait for a session to expire, and for its renewal to be refused.
const BRIEF: Validity = Validity { session: Duration::from_secs(1), master: Duration::from_secs(4) };
/// Statements that fakesnow refuses and that have no effect on results: it answers them with its own "executed
/// successfully". `AUTOCOMMIT` is left out because fakesnow does implement that one.
const NO_OPERATION: &str =
    r"(?s)(?:\s|--[^\n]*\n|/\*.*?\*/)*ALTER\s+SESSION\s+(?:SET|UNSET)\s+(?!AUTOCOMMIT\b)";

/// The server behind Snowflake's host names.
pub(super) struct Front {
    engine: Client,
    validity: Validity,
    sessions: Sessions,
    log: RequestLog,
}

impl Front {
    /// A front over a running engine, without any session yet.
    pub(super) fn new(engine: Client, validity: Validity, log: RequestLog) -> Self {
        Self { engine, validity, sessions: Sessions::new(), log }
    }

    /// The body of the answer; `None` for an endpoint that this front does not have.
    async fn route(&self, caller: &Caller, asked: &Asked) -> Option<Value> {
        let session = self.sessions.find(asked.token(), Instant::now());
        Some(match (&asked.method, asked.uri.path()) {
            (&Method::POST, LOGIN_PATH) => self.login(caller, asked).await,
            (&Method::POST, "/session/token-request") => self.renew(asked),
            (&Method::POST, "/telemetry/send" | "/telemetry/send/sessionless") => {
                shape::success(json!("Log Received"))
            }
            (&Method::POST, "/queries/v1/query-request") => match session {
                Found::Live(session) => statement::execute(&self.engine, asked, &session).await,
                lost => shape::session_lost(&lost),
            },
            (&Method::POST, "/session") => match session {
                Found::Live(session) => self.close(asked, &session).await,
                lost => shape::session_lost(&lost),
            },
            (&Method::POST, "/session/heartbeat" | "/queries/v1/abort-request") => match session {
                Found::Live(session) => self.pass(asked, &session).await,
                lost => shape::session_lost(&lost),
            },
            (&Method::GET, path) if path.starts_with("/monitoring/queries/") => match session {
                Found::Live(session) => self.pass(asked, &session).await,
                lost => shape::session_lost(&lost),
            },
            _ => return None,
        })
    }

    /// fakesnow accepts any credential and opens a session; tokens that expire, and the names, are added here.
    async fn login(&self, caller: &Caller, asked: &Asked) -> Value {
        let mut body = asked.json.clone();
        if body.pointer("/data").is_none_or(|data| !data.is_object()) {
            return shape::login_failure("390400", "the login has no data");
        }
        // fakesnow fails without this object, and some drivers do not send it.
        let parameters = shape::object(shape::object(&mut body, "data"), "SESSION_PARAMETERS");
        shape::set(parameters, "nop_regexes", json!([NO_OPERATION]));

        let target = query_string::with_default_schema(&asked.uri);
        let answer = self.engine.ask(&asked.method, &target, None, body.to_string().into()).await;
        let Ok((StatusCode::OK, mut reply)) = answer else {
            return shape::login_failure("000603", "the lab's SQL engine did not open a session");
        };
        let Some(engine_token) = shape::text(&reply, "/data/token") else {
            return shape::login_failure("000603", "the lab's SQL engine gave no session token");
        };
        let names = Names::of_login(&asked.uri);
        let validity = if caller.server_name == BRIEF_HOST { BRIEF } else { self.validity };
        let opened = self.sessions.open(engine_token.to_owned(), names.clone(), validity, Instant::now());
        let user = shape::text(&body, "/data/LOGIN_NAME").unwrap_or_default();
        shape::complete_login(&mut reply, &opened, &names, user);
        reply
    }

    /// Renewal happens under the master token, and names the session token that it replaces.
    fn renew(&self, asked: &Asked) -> Value {
        let old = shape::text(&asked.json, "/oldSessionToken").unwrap_or_default();
        match self.sessions.renew(asked.token(), old, Instant::now()) {
            Ok(opened) => shape::renewed(&opened),
            Err(lost) => shape::master_lost(&lost),
        }
    }

    async fn close(&self, asked: &Asked, session: &Session) -> Value {
        let reply = self.pass(asked, session).await;
        if query_string::value(&asked.uri, "delete").as_deref() == Some("true") {
            self.sessions.close(session);
        }
        reply
    }

    /// Hands a request to fakesnow under its own token.
    async fn pass(&self, asked: &Asked, session: &Session) -> Value {
        let (target, token) = (asked.target(), Some(session.engine_token()));
        match self.engine.ask(&asked.method, target, token, asked.body.clone()).await {
            Ok((_, mut reply)) => {
                shape::complete_envelope(&mut reply);
                reply
            }
            Err(_) => shape::engine_failure(),
        }
    }
}

impl Site for Front {
    async fn answer(&self, caller: &Caller, request: Request<Bytes>) -> Reply {
        let Some(asked) = Asked::read(request) else {
            return wire::reply(&shape::failure("390400", "22000", "the body cannot be decompressed"), false);
        };
        if self.log.append(&line(caller, &asked)).is_err() {
            return wire::reply(&shape::failure("000603", "XX000", "the lab cannot log this request"), false);
        }
        match self.route(caller, &asked).await {
            Some(body) => wire::reply(&body, asked.accepts_gzip),
            None => text(StatusCode::NOT_FOUND, "the lab's Snowflake has no such endpoint\n"),
        }
    }
}

fn line(caller: &Caller, asked: &Asked) -> FrontRequest {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    FrontRequest {
        time_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        peer: caller.peer,
        server_name: caller.server_name.clone(),
        method: asked.method.to_string(),
        path: asked.uri.path().to_owned(),
        query: asked.uri.query().unwrap_or_default().to_owned(),
        user_agent: asked.user_agent.clone(),
        login_name: shape::text(&asked.json, "/data/LOGIN_NAME").map(str::to_owned),
        sql: shape::text(&asked.json, "/sqlText").map(str::to_owned),
    }
}
