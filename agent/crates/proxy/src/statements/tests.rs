//! Statements that run: how they end, what is held until then, and what becomes of those that nobody asks about.

use std::time::Duration;

use model::{AccountName, Ident, SessionId};
use sql::SessionNames;

use super::*;
use crate::{
    session::Session,
    testing::{Record, clearance},
};

fn id(n: usize) -> Uuid {
    Uuid::from_u128(n as u128)
}

fn session() -> Session {
    let names = SessionNames { schema: Some(Ident::exact("S")), ..SessionNames::default() };
    let id = SessionId::new(Uuid::from_u128(1));
    Session::new(id, AccountName::new("acme"), "U".into(), "job".into(), names)
}

async fn open(record: &Record, session: &Session, query: u128) -> Open {
    let facts = sql::analyze(
        &model::SqlText::new("select 1").unwrap(),
        &sql::SessionNames::default(),
        &sql::Catalog::default(),
    );
    let (renaming, turn) = (Renaming::of(&facts, session), session.share().await);
    let hold = Hold { renaming, _changing: None, carrying: None, _turn: turn };
    Open { receipt: record.receipt(query).await, hold: Some(hold) }
}

#[tokio::test]
async fn a_statement_comes_to_its_end_once_and_may_be_read_again() {
    let (record, session) = (Record::start(), session());
    let statements = Statements::default();
    statements.running(&[id(1), id(2)], clearance("select ssn from t"), open(&record, &session, 7).await);
    let statement = statements.find(id(2)).unwrap();
    assert!(statements.find(id(3)).is_none());
    statement.end().unwrap().receipt.close(Lost { reason: "seen".to_owned() }).await.unwrap();
    assert!(statement.end().is_none());
    assert!(statements.find(id(1)).unwrap().end().is_none());
    assert_eq!(record.lost().await, ["seen"]);
}

#[tokio::test]
async fn names_are_held_until_it_is_known_that_the_statement_is_over() {
    let (record, session) = (Record::start(), session());
    session.statements.running(&[id(1)], clearance("select 1"), open(&record, &session, 7).await);
    let rename = async |session: &Session| {
        tokio::time::timeout(Duration::from_millis(50), session.alone()).await.is_ok()
    };
    assert!(!rename(&session).await);
    assert_eq!(session.statements.holding_names().len(), 1);
    session.statements.find(id(1)).unwrap().is_over();
    assert!(rename(&session).await);
    assert!(session.statements.holding_names().is_empty());
    // Its outcome is still to come.
    assert!(session.statements.find(id(1)).unwrap().end().unwrap().hold.is_none());
}

#[tokio::test]
async fn what_nobody_asks_about_is_closed_in_the_record_and_may_still_be_read() {
    let (record, session) = (Record::start(), session());
    let statements = Statements::default();
    statements.running(&[id(1)], clearance("select ssn from t"), open(&record, &session, 7).await);
    tokio::time::pause();
    tokio::time::sleep(UNASKED_WAIT_MAX - Duration::from_secs(1)).await;
    statements.find(id(1)).unwrap().ask();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(statements.find(id(1)).unwrap().is_open());
    tokio::time::sleep(UNASKED_WAIT_MAX).await;
    let statement = statements.find(id(1)).unwrap();
    assert!(!statement.is_open() && statement.end().is_none());
    assert_eq!(record.lost().await, ["nobody asked about it for 15 minutes"]);
    tokio::time::timeout(Duration::from_secs(1), session.alone()).await.unwrap();
}

#[tokio::test]
async fn an_id_keeps_what_is_owed_for_it() {
    let (record, session) = (Record::start(), session());
    let statements = Statements::default();
    statements.ended(id(1), clearance("select ssn from t"));
    let first = statements.find(id(1)).unwrap();
    statements.ended(id(1), clearance("select city from t"));
    assert!(Arc::ptr_eq(&first, &statements.find(id(1)).unwrap()));
    // Executed again by Snowflake's own account: the intent is open, and the clearance is the first one.
    statements.running(&[id(1)], clearance("select city from t"), open(&record, &session, 8).await);
    assert!(Arc::ptr_eq(&first, &statements.find(id(1)).unwrap()) && first.is_open());
}

#[tokio::test]
async fn statements_are_bounded_and_what_is_forgotten_is_lost_in_the_record() {
    let (record, session) = (Arc::new(Record::start()), Arc::new(session()));
    let owed = clearance("select ssn from t");
    let statements = Statements::default();
    for n in 0..=RESULTS_MAX {
        statements.ended(id(n), owed.clone());
    }
    assert_eq!(lock(&statements.0).len(), RESULTS_MAX * 3 / 4);
    assert!(statements.find(id(0)).is_none() && statements.find(id(RESULTS_MAX)).is_some());

    let statements = Statements::default();
    let mut opening = tokio::task::JoinSet::new();
    for n in 0..=RUNNING_MAX {
        let (record, session) = (record.clone(), session.clone());
        opening.spawn(async move { open(&record, &session, n as u128).await });
    }
    for (n, open) in opening.join_all().await.into_iter().enumerate() {
        statements.running(&[id(n)], owed.clone(), open);
    }
    assert_eq!(lock(&statements.0).len(), RUNNING_MAX * 3 / 4);
    assert_eq!(record.lost().await.len(), RUNNING_MAX / 4 + 1);
    statements.lose_all("its session was closed").await;
    assert_eq!(record.lost().await.len(), RUNNING_MAX + 1);
}
