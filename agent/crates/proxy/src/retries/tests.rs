//! Requests that come again: what is given to them, and what is kept for that.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::testing::clearance;

fn request(n: u128) -> RequestId {
    RequestId::new(Uuid::from_u128(n))
}

fn names(schema: &str) -> SessionNames {
    SessionNames {
        database: Some(Ident::exact("DB")),
        schema: Some(Ident::exact(schema)),
        secondary_roles: SecondaryRoles::Usual,
        variables: [(Ident::exact("T"), "t".to_owned()), (Ident::exact("S"), schema.to_owned())].into(),
        ..SessionNames::default()
    }
}

fn answer(text: &str) -> Answer {
    Answer::json(text.as_bytes().to_vec())
}

async fn first(retries: &Retries, n: u128) -> Ticket {
    match retries.enter(request(n), b"select 1").await {
        Entered::First(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn is_same(entered: Entered, text: &str) -> bool {
    matches!(entered, Entered::Same(answer) if format!("{answer:?}").contains(text))
}

#[tokio::test]
async fn a_retry_is_the_same_request_and_nothing_else() {
    let (retries, kept) = (Retries::default(), Kept::default());
    first(&retries, 1).await.answered(&answer("once"), None, &kept);
    assert!(is_same(retries.enter(request(1), b"select 1").await, "once"));
    assert!(matches!(retries.enter(request(1), b"drop table t").await, Entered::Different));
    first(&retries, 2).await;
}

#[tokio::test]
async fn who_asks_the_same_while_it_is_under_way_gets_the_same_answer() {
    let (retries, kept) = (Arc::new(Retries::default()), Kept::default());
    let ticket = first(&retries, 1).await;
    let join = || {
        let retries = retries.clone();
        tokio::spawn(async move { retries.enter(request(1), b"select 1").await })
    };
    let waiting = [join(), join()];
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    // Another text is refused at once.
    assert!(matches!(retries.enter(request(1), b"select 2").await, Entered::Different));
    ticket.answered(&answer("shared"), None, &kept);
    for task in waiting {
        assert!(is_same(task.await.unwrap(), "shared"));
    }
}

#[tokio::test]
async fn what_was_never_answered_is_taken_up_by_one_of_those_who_wait() {
    let (retries, kept) = (Arc::new(Retries::default()), Arc::new(Kept::default()));
    let ticket = first(&retries, 1).await;
    // Whoever takes it up answers by itself: the other one waits for that, and may be the one that is asked first here.
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let (retries, kept) = (retries.clone(), kept.clone());
            tokio::spawn(async move {
                match retries.enter(request(1), b"select 1").await {
                    Entered::First(ticket) => {
                        ticket.answered(&answer("late"), None, &kept);
                        "first"
                    }
                    Entered::Same(_) => "same",
                    other => panic!("{other:?}"),
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(ticket);
    let mut seen = Vec::new();
    for task in tasks {
        seen.push(tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, ["first", "same"]);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_asked_for_again_under_its_clearance() {
    let (retries, kept) = (Retries::default(), Kept::default());
    let ticket = first(&retries, 1).await;
    assert_eq!(ticket.names(&names("S")), names("S"));
    let long = answer(&"x".repeat(KEPT_ANSWER_BYTES_MAX + 1));
    ticket.answered(&long, Some(clearance("select city from t")), &kept);
    let Entered::Again(repeated) = retries.enter(request(1), b"select 1").await else { panic!() };
    assert!(repeated.means_the_same(&names("S")) && !repeated.means_the_same(&names("OTHER")));
    assert!(matches!(retries.enter(request(1), b"select 2").await, Entered::Different));
    // A refusal has no clearance: it is judged once more.
    first(&retries, 2).await.answered(&long, None, &kept);
    first(&retries, 2).await;
}

#[tokio::test]
async fn kept_answers_are_bounded_in_number_bytes_and_time() {
    tokio::time::pause();
    let (retries, kept) = (Retries::default(), Kept::default());
    let long = answer(&"x".repeat(KEPT_ANSWER_BYTES_MAX));
    let count = KEPT_BYTES_MAX / KEPT_ANSWER_BYTES_MAX;
    for n in 0..=count {
        first(&retries, n as u128).await.answered(&long, Some(clearance("select city from t")), &kept);
    }
    assert!(matches!(retries.enter(request(0), b"select 1").await, Entered::Again(_)));
    assert!(matches!(retries.enter(request(1), b"select 1").await, Entered::Same(_)));
    assert_eq!(lock(&kept.0).bytes, KEPT_BYTES_MAX);

    tokio::time::advance(KEPT_WAIT_MAX + Duration::from_secs(1)).await;
    first(&retries, 9_999).await.answered(&answer("short"), None, &kept);
    assert!(matches!(retries.enter(request(1), b"select 1").await, Entered::Again(_)));
    assert_eq!(lock(&kept.0).bytes, "short".len());

    let many = Kept::default();
    for n in 0..=KEPT_ANSWERS_MAX {
        let other = Retries::default();
        first(&other, n as u128).await.answered(&answer("a"), None, &many);
    }
    assert_eq!(lock(&many.0).answers.len(), KEPT_ANSWERS_MAX);
}

#[tokio::test]
async fn a_retry_under_other_names_has_only_those_that_are_the_same() {
    let retries = Retries::default();
    let mut known = SessionNames::default();
    for (schema, database) in [("S", Some("DB")), ("OTHER", Some("DB")), ("S", Some("DB"))] {
        let now = SessionNames { database: database.map(Ident::exact), ..names(schema) };
        known = first(&retries, 1).await.names(&now);
    }
    // Between the first and the last time it was another schema, and it may have been executed then.
    let variables = [(Ident::exact("T"), "t".to_owned())].into();
    assert_eq!(known, SessionNames { schema: None, variables, ..names("S") });
    let other = SessionNames { secondary_roles: SecondaryRoles::All, ..names("S") };
    assert_eq!(common(&other, &names("S")).secondary_roles, SecondaryRoles::Unknown);
}

#[tokio::test]
async fn the_requests_of_a_session_are_bounded_and_those_under_way_stay() {
    let (retries, kept) = (Retries::default(), Kept::default());
    let under_way = first(&retries, 0).await;
    for n in 1..=RETRIES_MAX as u128 {
        first(&retries, n).await.answered(&answer("a"), None, &kept);
    }
    let kept_requests = |seen: &Requests| (seen.by_id.len(), seen.in_order.len());
    assert_eq!(kept_requests(&lock(&retries.0)), (RETRIES_MAX, RETRIES_MAX));
    under_way.answered(&answer("still here"), None, &kept);
    assert!(is_same(retries.enter(request(0), b"select 1").await, "still here"));
    first(&retries, 1).await;
}
