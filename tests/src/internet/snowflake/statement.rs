//! One statement: fakesnow executes it, and the session's names follow what it did.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use super::chunks::{Cut, Store};
use super::format::Format;
use super::queries::{Ended, Order, Queries, Query};
use super::query_string;
use super::rows;
use super::sessions::{Session, Turn, resolve_identifier};
use super::shape;
use super::system::{self, Rewritten};
use super::wire::Asked;
use crate::internet::engine::Client;

/// `statementTypeId` of `ALTER SESSION`.
const TYPE_ALTER_SESSION: u32 = 0x4100;
/// Every database has this schema, and a session that moves to a database is in it. fakesnow makes a schema that
/// was named in this statement the current one, also when it was there before.
const ENTER_PUBLIC: &str = "CREATE SCHEMA IF NOT EXISTS PUBLIC";
const QUERY_TARGET: &str = "/queries/v1/query-request";

/// A statement on its way: where it runs, and what asks for it.
pub(super) struct Errand {
    pub(super) engine: Arc<Client>,
    pub(super) queries: Arc<Queries>,
    pub(super) store: Arc<Store>,
    pub(super) account: String,
    pub(super) session: Arc<Session>,
}

impl Errand {
    /// Executes a query request in its session: one statement at a time, and each request once. The answer is the
    /// reply, or that the statement is still running.
    pub(super) async fn execute(self, asked: &Asked) -> Bytes {
        let Some(query) = self.start(asked) else {
            return shape::failure("390400", "22000", "the request has no sqlText").to_string().into();
        };
        if is_async(asked) { query.still_running() } else { query.reply().await }
    }

    /// Begins to execute a query request, and does not wait; `None` if it has no text.
    pub(super) fn start(self, asked: &Asked) -> Option<Arc<Query>> {
        let sql = shape::text(&asked.json, "/sqlText")?;
        let rewritten = system::rewrite(sql);
        let order = Order {
            account: &self.account,
            request_id: query_string::value(&asked.uri, "requestId"),
            is_async: is_async(asked),
            sql,
            delay: rewritten.delay,
        };
        let (query, is_new) = self.queries.begin(&self.session, order);
        if is_new {
            tokio::spawn(self.run(Arc::clone(&query), rewritten, asked.clone()));
        }
        Some(query)
    }

    async fn run(self, query: Arc<Query>, rewritten: Rewritten, asked: Asked) {
        tokio::select! {
            () = tokio::time::sleep(query.delay) => {}
            () = query.ended() => return,
        }
        if let Some(other) = rewritten.cancels_query.and_then(|id| self.queries.find(&self.account, &id)) {
            other.cancel();
        }
        if let Some(session) = rewritten.cancels_session {
            self.queries.cancel_session(&self.account, session, &query.id);
        }
        let mut turn = self.session.turn.lock().await;
        if query.has_ended() {
            return;
        }
        let sql = self.queries.engine_ids(&self.account, &rewritten.sql);
        let sql = system::with_last_id(&sql, || self.queries.last_of(&self.session));
        let mut reply = execute_once(&self.engine, &asked, &self.session, &sql, &mut turn).await;
        let cut = Cut::of(&sql, turn.names.warehouse.as_deref());
        if let Some(error) = cut.and_then(|cut| self.store.cut(&mut reply, cut).err()) {
            reply = shape::failure("000603", "XX000", &format!("{error:#}"));
        }
        if rewritten.needs_row && reply.pointer("/data/total") == Some(&json!(0)) {
            reply = shape::failure("002003", "42S02", "Object does not exist or not authorized.");
        }
        // A statement that was cancelled meanwhile stays cancelled.
        query.end(Ended::new(reply, &query.id));
    }
}

fn is_async(asked: &Asked) -> bool {
    asked.json.get("asyncExec") == Some(&Value::Bool(true))
}

async fn execute_once(
    engine: &Client,
    asked: &Asked,
    session: &Session,
    sql: &str,
    turn: &mut Turn,
) -> Value {
    let token = Some(session.engine_token());
    // fakesnow knows no roles, and so none beside the first one.
    let sql = if effect(sql) == Some(Effect::SecondaryRoles) { EXECUTED } else { sql };
    let body = if shape::text(&asked.json, "/sqlText") == Some(sql) {
        asked.body.clone()
    } else {
        let mut body = asked.json.clone();
        shape::set(&mut body, "sqlText", json!(sql));
        body.to_string().into()
    };
    let Ok((status, mut reply)) = engine.ask(&asked.method, asked.target(), token, body).await else {
        return shape::engine_failure();
    };
    if status.is_server_error() {
        return shape::failure("000603", "XX000", "the lab's SQL engine cannot execute this statement");
    }
    if reply.get("success") != Some(&Value::Bool(true)) {
        shape::complete_failure(&mut reply);
        return reply;
    }

    match effect(sql) {
        Some(Effect::Role(name)) => turn.names.role = name,
        Some(Effect::Warehouse(name)) => turn.names.warehouse = Some(name),
        Some(Effect::Database) => enter_public(engine, session, &mut reply).await,
        Some(Effect::SessionParameter) => {
            turn.formats.follow(sql);
            shape::set(shape::object(&mut reply, "data"), "statementTypeId", json!(TYPE_ALTER_SESSION));
        }
        Some(Effect::SecondaryRoles) | None => {}
    }
    shape::complete_statement(&mut reply, &turn.names);
    if turn.formats.of_statement(&asked.json) == Format::Json
        && let Err(error) = rows::to_json(&mut reply)
    {
        return shape::failure("000603", "XX000", &format!("{error:#}"));
    }
    reply
}

async fn enter_public(engine: &Client, session: &Session, reply: &mut Value) {
    let body = json!({ "sqlText": ENTER_PUBLIC }).to_string().into();
    let entered = engine.ask(&Method::POST, QUERY_TARGET, Some(session.engine_token()), body).await;
    let schema = entered.ok().and_then(|(_, entered)| entered.pointer("/data/finalSchemaName").cloned());
    shape::set(shape::object(reply, "data"), "finalSchemaName", schema.unwrap_or_default());
}

/// What a statement that succeeded did to its session, apart from what fakesnow itself keeps track of.
#[derive(Debug, PartialEq, Eq)]
enum Effect {
    Role(String),
    Warehouse(String),
    Database,
    SecondaryRoles,
    SessionParameter,
}

/// What fakesnow is given instead of what it does not know, and need not.
const EXECUTED: &str = "SELECT 'Statement executed successfully.' AS \"status\"";

fn effect(sql: &str) -> Option<Effect> {
    let sql = skip_comments(sql).trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    let mut words = sql.split_whitespace();
    let (first, second) = (words.next()?.to_ascii_uppercase(), words.next()?.to_ascii_uppercase());
    let mut name = || words.next().map(resolve_identifier);
    match (first.as_str(), second.as_str()) {
        ("USE", "ROLE") => name().map(Effect::Role),
        ("USE", "WAREHOUSE") => name().map(Effect::Warehouse),
        ("USE", "DATABASE") => Some(Effect::Database),
        ("USE", "SECONDARY") => Some(Effect::SecondaryRoles),
        ("ALTER", "SESSION") => Some(Effect::SessionParameter),
        _ => None,
    }
}

pub(super) fn skip_comments(sql: &str) -> &str {
    let sql = sql.trim_start();
    let after = if let Some(line) = sql.strip_prefix("--") {
        line.split_once('\n')
    } else if let Some(block) = sql.strip_prefix("/*") {
        block.split_once("*/")
    } else {
        return sql;
    };
    after.map_or("", |(_, rest)| skip_comments(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_move_a_session_are_known() {
        for (sql, expected) in [
            ("use role etl;", Some(Effect::Role("ETL".to_owned()))),
            ("USE\n  WAREHOUSE \"Big one\"", Some(Effect::Warehouse("\"BIG".to_owned()))),
            ("/* a */ -- b\nUse Database x ;\n", Some(Effect::Database)),
            ("use secondary roles all", Some(Effect::SecondaryRoles)),
            ("alter session unset query_tag", Some(Effect::SessionParameter)),
            ("use schema public", None),
            ("use", None),
            ("use role", None),
            ("select 'use role x'", None),
            ("-- use role x", None),
            ("/* use role x", None),
            ("", None),
        ] {
            assert_eq!(effect(sql), expected, "{sql}");
        }
    }
}
