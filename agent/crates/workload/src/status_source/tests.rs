//! Who is barred, by lists that are fresh, old and broken.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use identity::{Departure, Handle, Part, testing};
use serde_json::json;

use super::*;

const MINUTES: Duration = Duration::from_secs(60);

fn mona() -> Departed {
    Departed::new([Departure { name: "Mona".into(), handles: vec![Handle::Anywhere("mona".into())] }])
}

fn roster(when_stale: WhenStale) -> Roster {
    let mut roster = Roster { sources: Vec::new(), stale_after: 15 * MINUTES, when_stale };
    roster.add("the list x".to_owned());
    roster
}

/// Both ends of a roster with one source.
fn told(when_stale: WhenStale) -> (Teller, StatusWatch) {
    let (sender, receiver) = watch::channel(roster(when_stale));
    (Teller { sender: Arc::new(sender), number: 0 }, StatusWatch(Some(receiver)))
}

fn job(actor: &str) -> Principal {
    testing::verified(&json!({ "actor": actor }))
}

#[test]
fn who_has_left_is_barred_and_others_are_not() {
    let (teller, watch) = told(WhenStale::Refuse);
    teller.read(Some(mona()));
    assert!(matches!(watch.check(&job("Mona"), None), Err(Barred::Gone(gone)) if gone.part == Part::Actor));
    assert!(watch.gone(&job("lisa"), Some("MONA")).is_some());
    assert_eq!(watch.check(&job("lisa"), Some("U")), Ok(()));
    assert_eq!(StatusWatch::default().check(&job("mona"), None), Ok(()), "nobody was asked");
}

#[test]
fn a_source_that_fails_leaves_its_list_in_force_until_that_is_too_old() {
    for when_stale in [WhenStale::Refuse, WhenStale::Serve] {
        let mut roster = roster(when_stale);
        let now = Instant::now() + 100 * MINUTES;
        let source = roster.sources.first_mut().unwrap();
        (source.departed, source.good) = (mona(), Some(now - 15 * MINUTES));
        assert_eq!(roster.check(&job("lisa"), None, now), Ok(()));
        assert!(matches!(roster.check(&job("mona"), None, now), Err(Barred::Gone(_))));
        let later = now + 2 * MINUTES;
        assert!(matches!(roster.check(&job("mona"), None, later), Err(Barred::Gone(_))), "{when_stale:?}");
        let others = roster.check(&job("lisa"), None, later);
        match when_stale {
            WhenStale::Refuse => {
                let sentence = others.unwrap_err().to_string();
                assert!(sentence.contains("the list x") && sentence.contains("17 min"), "{sentence}");
            }
            WhenStale::Serve => assert_eq!(others, Ok(())),
        }
    }
}

#[test]
fn a_source_that_never_answered_is_stale_from_the_beginning() {
    let (teller, watch) = told(WhenStale::Refuse);
    teller.failed(&"it could not be reached");
    assert!(matches!(watch.check(&job("lisa"), None), Err(Barred::Unknown { .. })));
    let report = watch.report();
    let [source] = report.as_slice() else { panic!("one source") };
    assert!(source.is_stale && source.read_seconds_ago.is_none());
    assert_eq!(source.fault.as_deref(), Some("it could not be reached"));
    teller.read(None);
    assert_eq!(watch.check(&job("lisa"), None), Ok(()));
    assert_eq!(watch.report().first().unwrap().fault, None);
}

#[tokio::test]
async fn watchers_hear_of_another_list_and_of_nothing_else() {
    let (teller, mut watch) = told(WhenStale::Refuse);
    let mut own = watch.0.clone().unwrap();
    teller.read(Some(Departed::default()));
    teller.failed(&"x");
    teller.read(None);
    assert!(!own.has_changed().unwrap());
    teller.read(Some(mona()));
    assert!(own.has_changed().unwrap());
    watch.changed().await;
    own.mark_unchanged();
    teller.read(Some(mona()));
    assert!(!own.has_changed().unwrap());
}

fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&new, path).unwrap();
}

#[tokio::test]
async fn a_file_is_watched_and_a_broken_one_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("deactivated.toml");
    let config = || StatusConfig {
        file: Some(path.clone()),
        scim: None,
        stale_after: 15 * MINUTES,
        when_stale: WhenStale::Refuse,
    };
    assert!(matches!(StatusWatch::start(config()).await, Err(StatusError::File { .. })), "it is not there");
    write(&path, "deactivated = []");
    let mut watch = StatusWatch::start(config()).await.unwrap();
    assert_eq!(watch.check(&job("mona"), None), Ok(()));
    write(&path, "[[deactivated]]\nname = \"Mona\"\nhandles = { github = \"mona\" }\n");
    watch.changed().await;
    assert!(watch.check(&job("mona"), None).is_err());
    write(&path, "[[deactivated]\n");
    let is_told = async {
        while watch.report().iter().all(|source| source.fault.is_none()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    is_told.await;
    assert!(watch.check(&job("mona"), None).is_err(), "the last list stays in force");
    assert_eq!(watch.check(&job("lisa"), None), Ok(()));
}
