//! Statements by their ids: running, ended, or cancelled. A client that asks for a result waits for it here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use super::sessions::Session;
use super::shape;

/// A driver asks for an old result soon or never.
const ENDED_KEPT: usize = 256;
/// Replies can be large: the oldest ones go first, but never the newest.
const ENDED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long Snowflake holds a request for a result before it answers "still running" (observed: about 45 s).
const HOLD: Duration = Duration::from_secs(45);
/// The same where a statement is slow on purpose, so that no test waits for long.
const HOLD_SLOW: Duration = Duration::from_secs(1);

/// A slow statement with this in it is held for longer, so that a test has a client that waits.
const HELD_COMMENT: &str = "/* held */";
const HOLD_HELD: Duration = Duration::from_secs(8);

/// One statement.
pub(super) struct Query {
    pub(super) id: String,
    /// How long it takes on purpose, before it is executed.
    pub(super) delay: Duration,
    account: String,
    session: u64,
    request_id: Option<String>,
    is_async: bool,
    sql: String,
    ended: watch::Sender<Option<Arc<Ended>>>,
}

/// What came of a statement.
pub(super) struct Ended {
    /// The reply, in the shape a client gets.
    body: Bytes,
    /// Code and message, where it failed.
    failure: Option<(String, String)>,
    /// fakesnow's own id of it.
    engine_id: Option<String>,
}

impl Ended {
    /// Takes over a whole reply; the id in it becomes the statement's own.
    pub(super) fn new(mut reply: Value, id: &str) -> Self {
        let engine_id = shape::text(&reply, "/data/queryId").map(str::to_owned);
        shape::set(shape::object(&mut reply, "data"), "queryId", json!(id));
        let failure = (reply.get("success") != Some(&Value::Bool(true))).then(|| {
            let text = |key| shape::text(&reply, key).unwrap_or_default().to_owned();
            (text("/code"), text("/message"))
        });
        Self { body: reply.to_string().into(), failure, engine_id }
    }
}

impl Query {
    /// Ends it, unless it has ended before. Returns whether it had not.
    pub(super) fn end(&self, ended: Ended) -> bool {
        self.ended.send_if_modified(|state| {
            let is_running = state.is_none();
            if is_running {
                *state = Some(Arc::new(ended));
            }
            is_running
        })
    }

    /// Ends it as cancelled. fakesnow cannot be stopped: what it has begun it does, and nobody sees the result.
    pub(super) fn cancel(&self) -> bool {
        self.end(Ended::new(shape::failure("000604", "57014", "SQL execution canceled"), &self.id))
    }

    /// Returns once it has ended.
    pub(super) async fn ended(&self) {
        // The sender lives in `self`, so that waiting cannot fail.
        drop(self.ended.subscribe().wait_for(Option::is_some).await);
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// The reply, or after a while that there is none yet.
    pub(super) async fn reply(&self) -> Bytes {
        let hold = match self.delay.is_zero() {
            true => HOLD,
            false if self.sql.contains(HELD_COMMENT) => HOLD_HELD,
            false => HOLD_SLOW,
        };
        // The outcome is in the state either way.
        drop(tokio::time::timeout(hold, self.ended()).await);
        let ended = self.ended.borrow().clone();
        ended.map_or_else(|| self.still_running(), |ended| ended.body.clone())
    }

    /// "Still running": drivers then ask at the path it names. Whoever asked for no answer gets another code.
    /// Source: gosnowflake `restful.go`, `queryInProgressCode` and `queryInProgressAsyncCode`.
    pub(super) fn still_running(&self) -> Bytes {
        let (code, message) = if self.is_async {
            (
                "333334",
                "Asynchronous execution in progress. Use provided query id to perform query monitoring and management.",
            )
        } else {
            ("333333", "Query execution in progress.")
        };
        let data = json!({
            "getResultUrl": format!("/queries/{}/result", self.id), "queryId": self.id,
            "progressDesc": null, "queryAbortsAfterSecs": 300,
        });
        json!({ "data": data, "code": code, "message": message, "success": true }).to_string().into()
    }

    /// What `GET /monitoring/queries/<id>` says of it.
    fn monitored(&self) -> Value {
        let ended = self.ended.borrow().clone();
        let failure = ended.as_ref().and_then(|ended| ended.failure.clone());
        let (status, state) = match (&ended, &failure) {
            (None, _) => ("RUNNING", "RUNNING"),
            (Some(_), None) => ("SUCCESS", "SUCCEEDED"),
            (Some(_), Some(_)) => ("FAILED_WITH_ERROR", "FAILED"),
        };
        let (code, message) = failure.unzip();
        json!({
            "id": self.id, "sessionId": self.session, "status": status, "state": state, "sqlText": self.sql,
            "errorCode": code, "errorMessage": message,
        })
    }

    fn ended_bytes(&self) -> usize {
        self.ended.borrow().as_ref().map_or(0, |ended| ended.body.len())
    }
}

/// What a client asks to have executed.
pub(super) struct Order<'a> {
    pub(super) account: &'a str,
    pub(super) request_id: Option<String>,
    pub(super) is_async: bool,
    pub(super) sql: &'a str,
    pub(super) delay: Duration,
}

/// The statements of all accounts.
#[derive(Default)]
pub(super) struct Queries(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_id: HashMap<String, Arc<Query>>,
    /// Ids, oldest first.
    order: VecDeque<String>,
}

impl Queries {
    /// The statement of a request, and whether it is a new one. A driver that lost a reply asks again under the same
    /// id, and Snowflake does not execute the statement twice.
    pub(super) fn begin(&self, session: &Session, order: Order<'_>) -> (Arc<Query>, bool) {
        let mut known = self.known();
        if let Some(query) = order.request_id.as_deref().and_then(|id| known.of_request(session, id)) {
            return (query, false);
        }
        let query = Arc::new(Query {
            id: Uuid::new_v4().to_string(),
            delay: order.delay,
            account: order.account.to_owned(),
            session: session.id(),
            request_id: order.request_id,
            is_async: order.is_async,
            sql: order.sql.to_owned(),
            ended: watch::Sender::new(None),
        });
        known.forget_old();
        known.order.push_back(query.id.clone());
        known.by_id.insert(query.id.clone(), Arc::clone(&query));
        (query, true)
    }

    /// A statement by its id. Others of the same account see it too, other accounts do not.
    pub(super) fn find(&self, account: &str, id: &str) -> Option<Arc<Query>> {
        self.known().by_id.get(id).filter(|query| query.account == account).cloned()
    }

    /// The reply to `GET /monitoring/queries/<id>`.
    pub(super) fn monitor(&self, account: &str, id: &str) -> Value {
        let found: Vec<_> = self.find(account, id).iter().map(|query| query.monitored()).collect();
        shape::success(json!({ "queries": found }))
    }

    /// The last statement of a session that has ended, by its id.
    pub(super) fn last_of(&self, session: &Session) -> Option<String> {
        let known = self.known();
        let mut newest_first = known.order.iter().rev().filter_map(|id| known.by_id.get(id));
        let last = newest_first.find(|query| query.session == session.id() && query.has_ended());
        last.map(|query| query.id.clone())
    }

    /// Cancels the statement of a session's request. Returns whether there was one to cancel.
    pub(super) fn cancel_request(&self, session: &Session, request_id: &str) -> bool {
        let query = self.known().of_request(session, request_id);
        query.is_some_and(|query| query.cancel())
    }

    /// Cancels every statement of a session, by its id, but for one: the one that asks for it.
    pub(super) fn cancel_session(&self, account: &str, session: u64, but: &str) {
        let known = self.known();
        let of_session = known.by_id.values().filter(|query| query.session == session && query.id != but);
        for query in of_session.filter(|query| query.account == account) {
            query.cancel();
        }
    }

    /// The text with the ids of this front's statements replaced by fakesnow's, as `RESULT_SCAN` wants them.
    pub(super) fn engine_ids(&self, account: &str, sql: &str) -> String {
        let candidates = sql.split('\'').filter(|part| part.len() == 36);
        let known: Vec<_> = candidates.filter_map(|id| self.find(account, id)).collect();
        known.iter().fold(sql.to_owned(), |sql, query| {
            let engine_id = query.ended.borrow().as_ref().and_then(|ended| ended.engine_id.clone());
            engine_id.map_or(sql.clone(), |engine_id| sql.replace(&query.id, &engine_id))
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn of_request(&self, session: &Session, request_id: &str) -> Option<Arc<Query>> {
        let mut newest_first = self.order.iter().rev().filter_map(|id| self.by_id.get(id));
        let is_it = |query: &&Arc<Query>| {
            query.session == session.id() && query.request_id.as_deref() == Some(request_id)
        };
        newest_first.find(is_it).cloned()
    }

    /// Lets go of the oldest ended ones until few enough are left. Running ones stay.
    fn forget_old(&mut self) {
        let ended = |query: &Arc<Query>| query.has_ended();
        let mut count = self.by_id.values().filter(|query| ended(query)).count();
        let mut bytes: usize = self.by_id.values().map(|query| query.ended_bytes()).sum();
        let by_id = &mut self.by_id;
        self.order.retain(|id| {
            let Some(query) = by_id.get(id).filter(|query| ended(query)) else { return true };
            if count <= 1 || (count < ENDED_KEPT && bytes < ENDED_BYTES_MAX) {
                return true;
            }
            count -= 1;
            bytes = bytes.saturating_sub(query.ended_bytes());
            by_id.remove(id);
            false
        });
    }
}
