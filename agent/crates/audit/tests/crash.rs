//! What a crash leaves is mended and told; what no crash leaves stops the agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end here"
)]

mod support;

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use audit::{Decision, Error, Event, Journal, Outcome, read};
use support::{answered, entries, logged_in, login, query_id, start, statement};

fn file(dir: &Path) -> PathBuf {
    dir.join("entries.jsonl")
}

/// A record with a session, an answered statement and an open one, as it is when the agent is killed.
async fn killed(dir: &Path) -> Vec<u8> {
    let journal = start(dir).unwrap();
    journal.open(login(1, 10, Decision::Permitted)).await.unwrap().close(logged_in()).await.unwrap();
    journal.open(statement(1, 11, Decision::Permitted)).await.unwrap().close(answered()).await.unwrap();
    std::mem::forget(journal.open(statement(1, 12, Decision::Permitted)).await.unwrap());
    fs::read(file(dir)).unwrap()
}

async fn stop(journal: Journal) {
    journal.stop("test").await.unwrap();
}

#[tokio::test]
async fn what_was_left_open_is_closed_once() {
    let (old, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(file(dir.path()), killed(old.path()).await).unwrap();
    for _ in 0..2 {
        stop(start(dir.path()).unwrap()).await;
    }
    let all = entries(dir.path());
    let lost: Vec<_> = all
        .iter()
        .filter_map(|e| match &e.event {
            Event::Outcome(c) if matches!(c.outcome, Outcome::Lost(_)) => Some(c.query),
            _ => None,
        })
        .collect();
    assert_eq!(lost, [query_id(12)]);
    assert_eq!(all.iter().filter(|e| matches!(e.event, Event::SessionEnd(_))).count(), 1);
    let summary = &read::sessions(dir.path()).unwrap().sessions[0];
    assert!(summary.ended && summary.lost == 1);
}

#[tokio::test]
async fn wherever_the_last_write_was_torn_the_rest_is_kept() {
    let old = tempfile::tempdir().unwrap();
    let whole = killed(old.path()).await;
    let near_the_end = whole.len() - 60;
    for length in (0..near_the_end).step_by(13).chain(near_the_end..=whole.len()) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(file(dir.path()), &whole[..length]).unwrap();
        assert_eq!(read::entries(dir.path(), |_| ()).unwrap(), None, "cut at {length}");
        stop(start(dir.path()).unwrap()).await;
        let kept = whole[..length].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let now = fs::read(file(dir.path())).unwrap();
        assert_eq!(now[..kept], whole[..kept]);
        let told: Vec<_> = entries(dir.path())
            .into_iter()
            .filter_map(|e| match e.event {
                Event::SetAside(aside) => Some(aside),
                _ => None,
            })
            .collect();
        match told.as_slice() {
            [] => assert_eq!(kept, length),
            [aside] => assert_eq!(fs::read(dir.path().join(&aside.file)).unwrap(), whole[kept..length]),
            _ => panic!("{told:?}"),
        }
    }
}

#[tokio::test]
async fn pages_that_were_never_written_are_set_aside() {
    let old = tempfile::tempdir().unwrap();
    let whole = killed(old.path()).await;
    let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    let dir = tempfile::tempdir().unwrap();
    let mut holed = whole.clone();
    holed[last..last + 40].fill(0);
    fs::write(file(dir.path()), &holed).unwrap();
    stop(start(dir.path()).unwrap()).await;
    assert!(
        entries(dir.path())
            .iter()
            .any(|e| matches!(&e.event, Event::SetAside(a) if a.bytes == (whole.len() - last) as u64))
    );
}

#[tokio::test]
async fn a_crash_while_it_was_set_aside_is_mended_too() {
    let old = tempfile::tempdir().unwrap();
    let whole = killed(old.path()).await;
    let torn = &whole[..whole.len() - 5];
    // Set aside and not yet recorded: as after a kill between the two.
    let dir = tempfile::tempdir().unwrap();
    fs::write(file(dir.path()), torn).unwrap();
    stop(start(dir.path()).unwrap()).await;
    let aside = entries(dir.path()).into_iter().find_map(|e| match e.event {
        Event::SetAside(aside) => Some(aside),
        _ => None,
    });
    let aside = aside.unwrap();
    let again = tempfile::tempdir().unwrap();
    let kept = torn.iter().rposition(|b| *b == b'\n').unwrap() + 1;
    fs::copy(dir.path().join(&aside.file), again.path().join(&aside.file)).unwrap();
    fs::write(file(again.path()), &torn[..kept]).unwrap();
    stop(start(again.path()).unwrap()).await;
    stop(start(again.path()).unwrap()).await;
    let told =
        entries(again.path()).into_iter().filter(|e| e.event == Event::SetAside(aside.clone())).count();
    assert_eq!(told, 1);
}

#[tokio::test]
async fn what_no_crash_leaves_stops_the_start_and_is_shown_to_readers() {
    let old = tempfile::tempdir().unwrap();
    let whole = killed(old.path()).await;
    let text = String::from_utf8(whole).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let without = |n: usize| [&lines[..n], &lines[n + 1..]].concat().concat();
    for (name, bad, line) in [
        ("edited", text.replacen("mona", "nona", 1), 3),
        ("deleted", without(2), 3),
        ("beginning deleted", without(0), 1),
        ("repeated", text.replacen(lines[1], &lines[1].repeat(2), 1), 3),
        ("emptied line", text.replacen(lines[1], "\n", 1), 2),
        ("a line added", format!("{text}{{}}\n"), lines.len() as u64 + 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(file(dir.path()), &bad).unwrap();
        match start(dir.path()) {
            Err(Error::Damaged { damage, .. }) => assert_eq!(damage.line, line, "{name}: {damage}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(fs::read_to_string(file(dir.path())).unwrap(), bad, "{name}: it was touched");
        assert_eq!(read::sessions(dir.path()).unwrap().damage.unwrap().line, line, "{name}");
    }
}

/// Of each writer that is killed: that many exchanges are answered before.
const ANSWERS_BEFORE_KILL: usize = 5;

/// Not a test of its own: the process that the next one kills.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_to_be_killed() {
    let Some(dir) = env::var_os("AUDIT_TEST_DIR") else { return };
    let journal = start(Path::new(&dir)).unwrap();
    let base = u128::from(journal.head().seq) << 32;
    let tasks = (0..8u128).map(|task| {
        let journal = journal.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let id = base + (task << 24) + n;
                let receipt = journal.open(statement(1, id, Decision::Permitted)).await.unwrap();
                let told = |word: &str| {
                    let mut out = std::io::stdout().lock();
                    out.write_all(format!("\n{word} {id}\n").as_bytes()).unwrap();
                };
                told("sent");
                receipt.close(answered()).await.unwrap();
                told("answered");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[test]
fn whenever_the_agent_is_killed_what_was_told_is_in_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sent, mut answers) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..12 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_writer_to_be_killed", "--nocapture"])
            .env("AUDIT_TEST_DIR", dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut note = |line: String| match line.split_once(' ') {
            Some(("sent", id)) => drop(sent.insert(query_id(id.parse().unwrap()))),
            Some(("answered", id)) => drop(answers.insert(query_id(id.parse().unwrap()))),
            _ => {}
        };
        // It is at work; then it is killed at a moment that nobody chose.
        for _ in 0..ANSWERS_BEFORE_KILL {
            loop {
                let line = lines.next().expect("the writer ended by itself");
                let is_answer = line.starts_with("answered ");
                note(line);
                if is_answer {
                    break;
                }
            }
        }
        std::thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.for_each(&mut note);
    }
    drop(start(dir.path()).unwrap());
    let (mut opened, mut closed, mut lost) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for entry in entries(dir.path()) {
        match entry.event {
            Event::Statement(statement) => assert!(opened.insert(statement.query)),
            Event::Outcome(c) if matches!(c.outcome, Outcome::Lost(_)) => assert!(lost.insert(c.query)),
            Event::Outcome(c) => assert!(closed.insert(c.query)),
            _ => {}
        }
    }
    assert!(sent.is_subset(&opened), "sent without an intent");
    assert!(answers.is_subset(&closed), "answered without an outcome");
    assert!(closed.is_disjoint(&lost));
    assert_eq!(opened, closed.union(&lost).copied().collect());
}
