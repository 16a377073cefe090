//! The journal through its door: what is durable when, and what becomes of what was left open.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may end here")]

mod support;

use std::{fs, time::Duration};

use audit::{
    Answered, Chunk, ChunkOutcome, Decision, Error, Event, Failed, GivenChunk, Outcome, OwnSession, OwnStep,
    Reading, RefusedConnection, SessionEnd, WithheldChunk, read,
};
use model::{ConnectionId, Mode};
use support::{answered, entries, logged_in, login, query_id, session_id, start, statement};
use uuid::Uuid;

#[tokio::test]
async fn a_session_reads_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let journal = start(dir.path()).unwrap();
    let receipt = journal.open(login(1, 10, Decision::Permitted)).await.unwrap();
    assert_eq!((receipt.query_id(), receipt.session_id(), receipt.seq()), (query_id(10), session_id(1), 2));
    receipt.close(logged_in()).await.unwrap();
    let receipt = journal.open(statement(1, 11, Decision::Permitted)).await.unwrap();
    // A reader of a running agent sees what is durable.
    let under_way = read::session(dir.path(), session_id(1)).unwrap().unwrap();
    assert_eq!(under_way.statements[0].outcome, None);
    receipt.close(answered()).await.unwrap();
    journal.append(statement(1, 12, Decision::Refused)).await.unwrap();
    let opened = OwnStep::Opened { server_session: Some("42".to_owned()) };
    for step in [OwnStep::Asked, opened.clone()] {
        journal.append(OwnSession { session: session_id(1), step }).await.unwrap();
    }
    journal.append(SessionEnd { session: session_id(1), reason: "closed".to_owned() }).await.unwrap();
    let head = journal.head();
    assert_eq!(journal.stop("done").await.unwrap(), head.seq + 1);

    let detail = read::session(dir.path(), session_id(1)).unwrap().unwrap();
    assert_eq!(detail.login, login(1, 10, Decision::Permitted));
    assert_eq!(detail.login_outcome, Some(Outcome::LoggedIn(logged_in())));
    assert_eq!(detail.statements[0].statement, statement(1, 11, Decision::Permitted));
    assert_eq!(detail.statements[0].outcome, Some(Outcome::Answered(answered())));
    assert_eq!(detail.statements[1].outcome, None);
    assert_eq!(detail.own_session, [OwnStep::Asked, opened]);
    assert_eq!(detail.end.unwrap().reason, "closed");
    let summary = &read::sessions(dir.path()).unwrap().sessions[0];
    assert_eq!((summary.statements, summary.permitted, summary.refused, summary.lost), (2, 1, 1, 0));
    assert_eq!((summary.masked_cells, summary.ended), (3, true));
    assert!(read::session(dir.path(), session_id(2)).unwrap().is_none());
}

#[tokio::test]
async fn further_readings_of_a_result_stand_with_its_statement() {
    let dir = tempfile::tempdir().unwrap();
    let journal = start(dir.path()).unwrap();
    journal.open(login(1, 10, Decision::Permitted)).await.unwrap().close(logged_in()).await.unwrap();
    journal.open(statement(1, 11, Decision::Permitted)).await.unwrap().close(answered()).await.unwrap();
    let connection = ConnectionId::new(Uuid::from_u128(98));
    let gone = Failed { server_query: None, code: "000612".to_owned(), message: None };
    for outcome in [Outcome::Answered(answered()), Outcome::Failed(gone)] {
        let reading = Reading { session: session_id(1), query: query_id(11), connection, outcome };
        journal.append(reading).await.unwrap();
    }
    let detail = read::session(dir.path(), session_id(1)).unwrap().unwrap();
    let statement = &detail.statements[0];
    assert_eq!(statement.outcome, Some(Outcome::Answered(answered())));
    assert_eq!(statement.readings[0].outcome, Outcome::Answered(answered()));
    assert!(matches!(statement.readings[1].outcome, Outcome::Failed(_)));
    assert_eq!((detail.summary.masked_cells, detail.summary.statements), (6, 1));
}

#[tokio::test]
async fn what_was_given_of_chunks_stands_with_its_statement() {
    let dir = tempfile::tempdir().unwrap();
    let journal = start(dir.path()).unwrap();
    journal.open(login(1, 10, Decision::Permitted)).await.unwrap().close(logged_in()).await.unwrap();
    let leading_on = Answered { chunks: 2, ..answered() };
    journal.open(statement(1, 11, Decision::Permitted)).await.unwrap().close(leading_on).await.unwrap();
    let connection = ConnectionId::new(Uuid::from_u128(98));
    let given = ChunkOutcome::Given(GivenChunk {
        rows: 300,
        bytes: 9_000,
        masked: answered().masked,
        found: answered().found,
    });
    let withheld = ChunkOutcome::Withheld(WithheldChunk { reason: "it is late".to_owned(), bytes: 7 });
    for (index, outcome) in [(1, given.clone()), (0, withheld.clone())] {
        let chunk = Chunk { session: session_id(1), query: query_id(11), connection, index, outcome };
        journal.append(chunk).await.unwrap();
    }
    let detail = read::session(dir.path(), session_id(1)).unwrap().unwrap();
    let chunks = detail.statements[0].chunks.iter();
    assert_eq!(
        chunks.map(|chunk| (chunk.index, &chunk.outcome)).collect::<Vec<_>>(),
        [(1, &given), (0, &withheld)]
    );
    assert_eq!(detail.summary.masked_cells, 6);
}

#[test]
fn an_answer_of_before_there_were_chunks_leads_to_none() {
    let mut old = serde_json::to_value(answered()).unwrap();
    old.as_object_mut().unwrap().remove("chunks").unwrap();
    assert_eq!(serde_json::from_value::<Answered>(old).unwrap(), answered());
}

#[tokio::test]
async fn sessions_are_listed_as_they_began_and_refused_ones_are_over() {
    let dir = tempfile::tempdir().unwrap();
    let journal = start(dir.path()).unwrap();
    journal.append(login(9, 90, Decision::Refused)).await.unwrap();
    let failed = Failed { server_query: None, code: "390100".to_owned(), message: None };
    journal.open(login(5, 50, Decision::Permitted)).await.unwrap().close(failed).await.unwrap();
    journal.open(login(7, 70, Decision::Permitted)).await.unwrap().close(logged_in()).await.unwrap();
    let connection = RefusedConnection {
        connection: ConnectionId::new(Uuid::from_u128(3)),
        destination: "203.0.113.10:443".to_owned(),
        server_name: None,
        who: None,
        process: None,
        mode: Mode::Enforce,
        reason: "no record of this connection".to_owned(),
    };
    journal.append(connection.clone()).await.unwrap();
    let listing = read::sessions(dir.path()).unwrap();
    let seen: Vec<_> = listing.sessions.iter().map(|s| (s.session, s.ended)).collect();
    assert_eq!(seen, [(session_id(9), true), (session_id(5), true), (session_id(7), false)]);
    assert_eq!(listing.refused[0].connection, connection);
}

#[tokio::test]
async fn there_is_no_receipt_for_what_was_not_permitted() {
    let dir = tempfile::tempdir().unwrap();
    let journal = start(dir.path()).unwrap();
    for decision in [Decision::Refused, Decision::Held] {
        assert!(matches!(journal.open(statement(1, 2, decision)).await, Err(Error::NotPermitted)));
        assert!(matches!(journal.open(login(1, 2, decision)).await, Err(Error::NotPermitted)));
    }
    assert_eq!(entries(dir.path()).len(), 1);
}

#[tokio::test]
async fn an_entry_that_is_too_large_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let journal = start(dir.path()).unwrap();
    let mut large = statement(1, 2, Decision::Permitted);
    large.text = "x".repeat(9 << 20);
    assert!(matches!(journal.open(large).await, Err(Error::TooLarge { .. })));
    assert_eq!(journal.append(statement(1, 3, Decision::Refused)).await.unwrap(), 2);
    assert_eq!(entries(dir.path()).len(), 2);
}

#[tokio::test]
async fn an_abandoned_receipt_is_recorded_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    let journal = start(dir.path()).unwrap();
    drop(journal.open(statement(1, 2, Decision::Permitted)).await.unwrap());
    // A later entry is durable only after the loss: there is one queue.
    journal.append(statement(1, 3, Decision::Refused)).await.unwrap();
    let all = entries(dir.path());
    let Event::Outcome(closing) = &all[2].event else { panic!("{all:?}") };
    assert_eq!((closing.session, closing.query), (session_id(1), query_id(2)));
    assert!(matches!(closing.outcome, Outcome::Lost(_)));
    assert_eq!(all.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_a_task_is_cancelled_each_intent_has_one_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let journal = start(dir.path()).unwrap();
    let mut tasks = Vec::new();
    for n in 0..200 {
        let journal = journal.clone();
        tasks.push(tokio::spawn(async move {
            let work = async {
                let receipt = journal.open(statement(1, n, Decision::Permitted)).await.unwrap();
                tokio::task::yield_now().await;
                receipt.close(answered()).await.unwrap();
            };
            drop(tokio::time::timeout(Duration::from_micros(u64::try_from(n).unwrap() * 40), work).await);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    journal.stop("done").await.unwrap();
    let mut open = std::collections::BTreeSet::new();
    for entry in entries(dir.path()) {
        match entry.event {
            Event::Statement(statement) => assert!(open.insert(statement.query)),
            Event::Outcome(closing) => {
                assert!(open.remove(&closing.query), "closed twice, or before it was opened")
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[tokio::test]
async fn many_writers_share_a_chain_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let journal = start(dir.path()).unwrap();
    let tasks: Vec<_> = (0..2000)
        .map(|n| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.append(statement(1, n, Decision::Refused)).await.unwrap() })
        })
        .collect();
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.push(task.await.unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (2..=2001).collect::<Vec<_>>());
    assert_eq!(entries(dir.path()).last().unwrap().seq, journal.head().seq);
}

#[tokio::test]
async fn a_journal_that_was_stopped_takes_nothing_and_can_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let journal = start(dir.path()).unwrap();
    assert!(matches!(start(dir.path()), Err(Error::InUse(_))));
    let receipt = journal.open(statement(1, 2, Decision::Permitted)).await.unwrap();
    journal.stop("done").await.unwrap();
    assert!(matches!(journal.append(statement(1, 3, Decision::Refused)).await, Err(Error::Stopped)));
    assert!(matches!(journal.open(statement(1, 3, Decision::Permitted)).await, Err(Error::Stopped)));
    assert!(matches!(receipt.close(answered()).await, Err(Error::Stopped)));
    let again = start(dir.path()).unwrap();
    assert!(again.head().seq > journal.head().seq);
    let all = entries(dir.path());
    assert!(matches!(&all.last().unwrap().event, Event::Outcome(closing) if closing.query == query_id(2)));
}

#[test]
fn a_record_that_is_not_there_is_an_error_and_an_empty_one_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    assert!(read::sessions(dir.path()).unwrap().sessions.is_empty());
    let error = read::sessions(&dir.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.contains("nowhere"), "{error}");
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(start(&dir.path().join("file")).is_err());
}
