//! Values that the tests of the record share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this")]

use std::path::Path;

use audit::{
    Answered, Assurance, Decision, Entry, FoundValues, Journal, LoggedIn, Login, MaskedColumn, Process,
    Start, Statement, TableUse, Verdict, Who, read,
};
use model::{ConnectionId, Mode, QueryId, SessionId, Timestamp};
use uuid::Uuid;

pub fn start(dir: &Path) -> Result<Journal, audit::Error> {
    let start = Start {
        agent: "0.1.0".to_owned(),
        host: "runner-7".to_owned(),
        mode: Mode::Enforce,
        guarded: vec!["acme.snowflakecomputing.com".to_owned()],
        policy: None,
    };
    Journal::start(dir, start, || Timestamp::from_unix_seconds(1_700_000_000))
}

pub fn session_id(n: u128) -> SessionId {
    SessionId::new(Uuid::from_u128(n))
}

pub fn query_id(n: u128) -> QueryId {
    QueryId::new(Uuid::from_u128(n))
}

pub fn verdict(decision: Decision) -> Verdict {
    Verdict {
        decision,
        rules: vec!["etl-reads".to_owned()],
        reason: None,
        mode: Mode::Enforce,
        would_refuse: None,
    }
}

pub fn who() -> Who {
    Who {
        principal: "github:repo:acme/etl:ref:refs/heads/main".to_owned(),
        assurance: Assurance::Verified,
        provider: Some("github".to_owned()),
        repository: Some("acme/etl".to_owned()),
        r#ref: Some("refs/heads/main".to_owned()),
        workflow: Some("nightly".to_owned()),
        job: Some("load".to_owned()),
        run_id: Some("4711".to_owned()),
        run_attempt: Some("1".to_owned()),
        actor: Some("mona".to_owned()),
        environment: None,
        runner: None,
        groups: Vec::new(),
        agent: None,
        reason: None,
    }
}

pub fn login(session: u128, query: u128, decision: Decision) -> Login {
    Login {
        session: session_id(session),
        query: query_id(query),
        connection: ConnectionId::new(Uuid::from_u128(99)),
        destination: "203.0.113.10:443".to_owned(),
        who: who(),
        process: Process {
            pid: 42,
            start_ticks: 1234,
            uid: 1001,
            exe: Some("/usr/bin/python3.11".to_owned()),
            argv: vec!["python3".to_owned(), "etl.py".to_owned()],
            ancestors: vec![],
            cgroup: "/system.slice/actions.runner.acme.service".to_owned(),
            unit: Some("actions.runner.acme.service".to_owned()),
            gone: false,
            exe_sha256: None,
            job: None,
            namespaces: None,
            container: None,
        },
        account: "ACME".to_owned(),
        user: Some("ETL_SVC".to_owned()),
        role: Some("ETL".to_owned()),
        warehouse: None,
        credential: "password".to_owned(),
        client: None,
        verdict: verdict(decision),
    }
}

pub fn statement(session: u128, query: u128, decision: Decision) -> Statement {
    Statement {
        session: session_id(session),
        query: query_id(query),
        request: None,
        connection: ConnectionId::new(Uuid::from_u128(99)),
        text: "select email from customers".to_owned(),
        class: "select".to_owned(),
        tables: vec![TableUse { table: "ANALYTICS.PUBLIC.CUSTOMERS".to_owned(), access: "read".to_owned() }],
        verdict: verdict(decision),
    }
}

pub fn logged_in() -> LoggedIn {
    LoggedIn {
        server_session: Some("17".to_owned()),
        role: Some("ETL".to_owned()),
        warehouse: None,
        database: None,
        schema: None,
    }
}

pub fn answered() -> Answered {
    Answered {
        server_query: Some("01b2".to_owned()),
        rows: 3,
        columns: vec!["EMAIL".to_owned()],
        masked: vec![MaskedColumn {
            name: "EMAIL".to_owned(),
            tags: vec!["pii".to_owned()],
            mask: "partial".to_owned(),
            cells: 3,
            nulls: 1,
            rows: Some((0, 3)),
        }],
        found: vec![FoundValues {
            name: "NOTE".to_owned(),
            detector: "card".to_owned(),
            rows: 1,
            looked: 3,
            passed: 0,
            masked: false,
        }],
        chunks: 0,
        would_withhold: None,
    }
}

/// Every entry of a record that must be whole.
pub fn entries(dir: &Path) -> Vec<Entry> {
    let mut all = Vec::new();
    assert_eq!(read::entries(dir, |entry| all.push(entry)).unwrap(), None);
    all
}
