//! The Snowflake front: sessions and the shape of replies are made here, SQL results by fakesnow.
//!
//! Whatever fails, the answer is HTTP 200 with Snowflake's error body: drivers retry other statuses, some without end.

mod chunks;
mod format;
mod queries;
pub(super) mod query_string;
mod rows;
mod sessions;
mod shape;
mod sql_api;
mod statement;
mod system;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::addresses::{self, BRIEF_HOST, ONCE_USER};
use super::engine::Client;
use super::request_log::{FrontRequest, RequestLog};
use super::serve::{Caller, Reply, Site, text};
use format::Formats;
use queries::Queries;
use sessions::{Found, Names, Session, Sessions, Turn};
use statement::Errand;
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
    engine: Arc<Client>,
    validity: Validity,
    sessions: Sessions,
    queries: Arc<Queries>,
    submitted: sql_api::Submitted,
    store: Arc<chunks::Store>,
    /// Whether [`ONCE_USER`] was here.
    was_once: AtomicBool,
    log: RequestLog,
}

impl Front {
    /// A front over a running engine, without any session yet.
    pub(super) fn new(engine: Client, validity: Validity, log: RequestLog) -> Self {
        let submitted = sql_api::Submitted::default();
        Self {
            engine: Arc::new(engine),
            validity,
            sessions: Sessions::new(),
            queries: Arc::default(),
            submitted,
            store: Arc::default(),
            was_once: AtomicBool::new(false),
            log,
        }
    }

    /// The body of the answer; `None` for an endpoint that this front does not have.
    async fn route(&self, caller: &Caller, asked: &Asked) -> Option<Bytes> {
        let reply = match (&asked.method, asked.uri.path()) {
            (&Method::POST, LOGIN_PATH) => self.login(caller, asked).await,
            (&Method::POST, "/session/token-request") => self.renew(asked),
            (&Method::POST, "/telemetry/send" | "/telemetry/send/sessionless") => {
                shape::success(json!("Log Received"))
            }
            (method, path) => {
                let within = Within::of(method, path)?;
                return Some(match self.sessions.find(asked.token(), Instant::now()) {
                    Found::Live(session) => self.within(&within, caller, asked, session).await,
                    lost => shape::session_lost(&lost).to_string().into(),
                });
            }
        };
        Some(reply.to_string().into())
    }

    /// What is asked within a live session.
    async fn within(
        &self,
        what: &Within<'_>,
        caller: &Caller,
        asked: &Asked,
        session: Arc<Session>,
    ) -> Bytes {
        let account = &caller.server_name;
        let reply = match what {
            Within::Query => {
                let (engine, queries) = (Arc::clone(&self.engine), Arc::clone(&self.queries));
                let store = Arc::clone(&self.store);
                let errand = Errand { engine, queries, store, account: account.clone(), session };
                return errand.execute(asked).await;
            }
            Within::Result(id) => match self.queries.find(account, id) {
                Some(query) => return query.reply().await,
                None => shape::failure("000612", "02000", &format!("Result for query {id} not found.")),
            },
            Within::Monitoring(id) => self.queries.monitor(account, id),
            Within::Abort(Some(id)) => {
                shape::aborted(self.queries.find(account, id).is_some_and(|query| query.cancel()))
            }
            Within::Abort(None) => {
                let request_id = shape::text(&asked.json, "/requestId").unwrap_or_default();
                shape::aborted(self.queries.cancel_request(&session, request_id))
            }
            Within::Heartbeat => self.pass(asked, &session).await,
            Within::Session => self.close(asked, &session).await,
        };
        reply.to_string().into()
    }

    /// fakesnow accepts any credential and opens a session; tokens that expire, and the names, are added here.
    async fn login(&self, caller: &Caller, asked: &Asked) -> Value {
        let mut body = asked.json.clone();
        if body.pointer("/data").is_none_or(|data| !data.is_object()) {
            return shape::login_failure("390400", "the login has no data");
        }
        let is_once = shape::text(&body, "/data/LOGIN_NAME") == Some(ONCE_USER);
        if is_once && self.was_once.swap(true, Ordering::Relaxed) {
            return shape::login_failure("390100", "Incorrect username or password was specified.");
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
        let turn = Turn { names: names.clone(), formats: Formats::of_login(&asked.json) };
        let opened = self.sessions.open(engine_token.to_owned(), turn, validity, Instant::now());
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

/// The endpoints that need a session.
enum Within<'a> {
    Query,
    Result(&'a str),
    Monitoring(&'a str),
    /// Of the statement with this id, or of the request that the body names.
    Abort(Option<&'a str>),
    Heartbeat,
    Session,
}

impl<'a> Within<'a> {
    fn of(method: &Method, path: &'a str) -> Option<Self> {
        Some(match (method, path) {
            (&Method::POST, "/queries/v1/query-request") => Self::Query,
            (&Method::POST, "/queries/v1/abort-request") => Self::Abort(None),
            (&Method::POST, "/session") => Self::Session,
            (&Method::POST, "/session/heartbeat") => Self::Heartbeat,
            // The Python connector 5 writes a second slash before the id.
            (&Method::GET, path) if path.starts_with("/monitoring/queries/") => {
                Self::Monitoring(path.strip_prefix("/monitoring/queries/")?.trim_start_matches('/'))
            }
            (method, path) => match (method, path.strip_prefix("/queries/")?.split_once('/')?) {
                (&Method::GET, (id, "result")) => Self::Result(id),
                (&Method::POST, (id, "abort-request")) => Self::Abort(Some(id)),
                _ => return None,
            },
        })
    }
}

impl Site for Front {
    async fn answer(&self, caller: &Caller, request: Request<Bytes>) -> Reply {
        let from_store = addresses::is_store(&caller.server_name).then(|| self.store.answer(&request));
        let Some(asked) = Asked::read(request) else {
            return refused("390400", "22000", "the body cannot be decompressed");
        };
        if self.log.append(&line(caller, &asked)).is_err() {
            return refused("000603", "XX000", "the lab cannot log this request");
        }
        if let Some(reply) = from_store {
            return reply;
        }
        if let Some(call) = sql_api::Call::of(&asked.method, asked.uri.path()) {
            return self.sql_api(&caller.server_name, &asked, call).await;
        }
        match self.route(caller, &asked).await {
            Some(body) => wire::reply(body, asked.accepts_gzip),
            None => text(StatusCode::NOT_FOUND, "the lab's Snowflake has no such endpoint\n"),
        }
    }
}

fn refused(code: &str, sql_state: &str, message: &str) -> Reply {
    wire::reply(shape::failure(code, sql_state, message).to_string().into(), false)
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
        sql: ["/sqlText", "/statement"]
            .iter()
            .find_map(|key| shape::text(&asked.json, key))
            .map(str::to_owned),
    }
}
