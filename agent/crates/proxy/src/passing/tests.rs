//! Long answers: what the client gets of them, and when.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Version, header};
use http_body_util::BodyExt as _;

use super::*;
use crate::{
    answer::BrokenOff,
    limits::LONG_REPLY_BYTES_MIN,
    session::lock,
    testing::{Doorway, clearance_in},
};

/// A reply that is long, also when it is compressed. It says that it has so many rows more than it has.
fn reply(column: &str, more: usize) -> String {
    let mut text = format!(
        r#"{{"data":{{"rowtype":[{{"name":"{column}","type":"text","nullable":true}}],"rowset":[["canary"]"#
    );
    let mut rows = 1;
    while text.len() < 3 * LONG_REPLY_BYTES_MIN {
        // Of little that comes again.
        let noise = (rows as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        text += &format!(",[\"canary {noise:x}{:x}\"]", noise.rotate_left(29).wrapping_mul(noise));
        rows += 1;
    }
    let total = rows + more;
    text + &format!(
        r#"],"total":{total},"queryId":"01bd42cc-a95c-4499-9444-1481d21ca810"}},"success":true}}"#
    )
}

fn pieces(text: &[u8]) -> Vec<Result<Bytes, ()>> {
    text.chunks(16_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

fn gzip() -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))])
}

/// What came of an answer.
struct Told {
    /// How much of it the client had when the outcome was known, and all in all.
    before: usize,
    got: Vec<u8>,
    /// Whether the client was told that this is all.
    is_whole: bool,
    outcome: audit::Outcome,
    effect: Effect,
}

impl Told {
    fn reason(&self) -> String {
        match &self.outcome {
            audit::Outcome::Withheld(withheld) => withheld.reason.clone(),
            audit::Outcome::Lost(lost) => lost.reason.clone(),
            audit::Outcome::Answered(answered) => answered.would_withhold.clone().unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    }
}

async fn told(column: &str, headers: HeaderMap, pieces: Vec<Result<Bytes, ()>>, mode: Mode) -> Told {
    let came = Came::of(headers, pieces).await.unwrap();
    assert!(matches!(came, Came::Long(_)));
    let (clearance, way) = (clearance_in(&format!("select {column} from t"), mode), Doorway::open());
    let (mut outbox, inbox) = Outbox::new(Version::HTTP_11);
    let got = Arc::new(Mutex::new(Vec::new()));
    let client = tokio::spawn({
        let got = got.clone();
        async move {
            let mut body = inbox.await.unwrap().into_body();
            loop {
                match body.frame().await {
                    Some(Ok(frame)) => lock(&got).extend_from_slice(frame.data_ref().unwrap()),
                    end => return end.is_none(),
                }
            }
        }
    });
    let read = read(came, &clearance, mode, way.door(), &mut outbox).await.unwrap();
    let Read::Ended(ended) = read else { panic!("still running") };
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let before = lock(&got).len();
    let Ended { outcome, answer, effect, .. } = *ended;
    answer.give(&mut outbox).await;
    let is_whole = client.await.unwrap();
    let got = lock(&got).clone();
    Told { before, got, is_whole, outcome, effect }
}

#[tokio::test]
async fn what_owes_nothing_goes_through_before_its_outcome_is_known_but_for_the_last_of_it() {
    let text = reply("CITY", 0);
    let packed = codec::gzip(text.as_bytes());
    for (headers, pieces) in [(HeaderMap::new(), pieces(text.as_bytes())), (gzip(), pieces(&packed))] {
        let told = told("city", headers, pieces, Mode::Enforce).await;
        assert_eq!(told.got, text.as_bytes());
        assert!(told.is_whole && told.before > text.len() / 2 && told.before < text.len(), "{}", told.before);
        let audit::Outcome::Answered(answered) = &told.outcome else { panic!("{:?}", told.outcome) };
        assert_eq!((answered.rows, answered.columns.len()), (text.matches("canary").count() as u64, 1));
        assert!(matches!(told.effect, Effect::Succeeded(_)));
    }
}

#[tokio::test]
async fn what_owes_a_mask_is_masked_as_a_whole() {
    let text = reply("SSN", 0);
    let told = told("ssn", HeaderMap::new(), pieces(text.as_bytes()), Mode::Enforce).await;
    assert_eq!(told.before, 0);
    assert!(told.is_whole && !String::from_utf8(told.got).unwrap().contains("canary"));
}

#[tokio::test]
async fn rows_that_are_elsewhere_are_led_to_behind_those_that_passed() {
    let chunks =
        r#"],"qrmk":"c2VjcmV0","chunks":[{"url":"https://b.s3.amazonaws.com/1","rowCount":5}],"total""#;
    let text = reply("CITY", 5).replace("],\"total\"", chunks);
    let packed = codec::gzip(text.as_bytes());
    for (headers, pieces) in [(HeaderMap::new(), pieces(text.as_bytes())), (gzip(), pieces(&packed))] {
        let told = told("city", headers, pieces, Mode::Enforce).await;
        let got = String::from_utf8(told.got).unwrap();
        let (rows, behind) = text.split_once("],\"qrmk\"").unwrap();
        let got_behind = got.strip_prefix(rows).unwrap();
        assert!(told.is_whole && told.before > text.len() / 2, "{}", told.before);
        assert!(
            got_behind.starts_with(
                r#"],"qrmk":null,"chunks":[{"url":"https://acme.snowflakecomputing.com/snowfence/chunks/"#
            ),
            "{got_behind}"
        );
        assert_eq!(
            got_behind.split_once(",\"rowCount\"").unwrap().1,
            behind.split_once(",\"rowCount\"").unwrap().1
        );
        let audit::Outcome::Answered(answered) = &told.outcome else { panic!("{:?}", told.outcome) };
        assert_eq!((answered.rows, answered.chunks), (text.matches("canary").count() as u64 + 5, 1));
    }
}

#[tokio::test]
async fn a_client_that_could_not_tell_a_broken_answer_gets_it_as_a_whole() {
    let text = reply("CITY", 0);
    let (mut outbox, inbox) = Outbox::new(Version::HTTP_10);
    let came = Came::of(HeaderMap::new(), pieces(text.as_bytes())).await.unwrap();
    let clearance = clearance_in("select city from t", Mode::Enforce);
    let door = Doorway::open();
    let read = read(came, &clearance, Mode::Enforce, door.door(), &mut outbox).await.unwrap();
    let Read::Ended(ended) = read else { panic!("still running") };
    assert_eq!(ended.answer.len(), Some(text.len()));
    ended.answer.give(&mut outbox).await;
    assert_eq!(inbox.await.unwrap().into_body().collect().await.unwrap().to_bytes(), text);
}

/// In enforce mode the client is not told that it has all; in observe mode it gets all, and the record has the reason.
#[tokio::test]
async fn what_turns_out_to_be_wrong_is_broken_off() {
    let good = reply("CITY", 0);
    let late = good.len() - 40_000;
    let odd_row =
        format!("{}[7],{}", &good[..good.rfind("[\"").unwrap()], &good[good.rfind("[\"").unwrap()..]);
    let other_columns = good.replace("\"total\"", r#""rowtype":[{"name":"SSN","type":"text"}],"total""#);
    for text in [reply("CITY", 1), odd_row, other_columns, good[..late].to_owned(), format!("{good}x")] {
        let enforced = told("city", HeaderMap::new(), pieces(text.as_bytes()), Mode::Enforce).await;
        assert!(!enforced.is_whole && enforced.got.len() < text.len());
        assert!(matches!(enforced.outcome, audit::Outcome::Withheld(_)), "{:?}", enforced.outcome);
        let observed = told("city", HeaderMap::new(), pieces(text.as_bytes()), Mode::Observe).await;
        assert!(observed.is_whole && observed.got == text.as_bytes());
        assert!(matches!(observed.outcome, audit::Outcome::Answered(_)), "{:?}", observed.outcome);
        assert!(!enforced.reason().is_empty());
        assert_eq!(observed.reason(), enforced.reason());
    }
    // What cannot be inflated is given in neither mode.
    let packed = codec::gzip(good.as_bytes());
    for mode in [Mode::Enforce, Mode::Observe] {
        for packed in [[&packed[..], b"x"].concat(), packed[..packed.len() - 100].to_vec()] {
            let told = told("city", gzip(), pieces(&packed), mode).await;
            assert!(
                !told.is_whole && matches!(told.outcome, audit::Outcome::Withheld(_)),
                "{:?}",
                told.outcome
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_is_lost_and_its_client_hears_of_it() {
    let mut pieces = pieces(reply("CITY", 0).as_bytes());
    *pieces.last_mut().unwrap() = Err(());
    let told = told("city", HeaderMap::new(), pieces, Mode::Enforce).await;
    assert!(!told.is_whole && told.before > 0 && told.effect == Effect::Unknown);
    assert_eq!(told.reason(), UpstreamError::Broken.to_string());
}

#[tokio::test]
async fn a_client_that_goes_away_is_no_longer_sent_anything() {
    let came = Came::of(HeaderMap::new(), pieces(reply("CITY", 0).as_bytes())).await.unwrap();
    let (mut outbox, inbox) = Outbox::new(Version::HTTP_11);
    drop(inbox);
    let clearance = clearance_in("select city from t", Mode::Enforce);
    let door = Doorway::open();
    let read = read(came, &clearance, Mode::Enforce, door.door(), &mut outbox).await.unwrap();
    let Read::Ended(ended) = read else { panic!("still running") };
    let audit::Outcome::Lost(lost) = ended.outcome else { panic!("{:?}", ended.outcome) };
    assert!(lost.reason.contains("went away"), "{}", lost.reason);
    assert!(ended.answer.copy().is_none());
}

/// A client that takes its time has not much of an answer when somebody behind its session leaves, and gets no more.
#[tokio::test]
async fn an_answer_is_broken_off_where_its_session_is_ended() {
    let text = reply("CITY", 0);
    let came = Came::of(HeaderMap::new(), pieces(text.as_bytes())).await.unwrap();
    let (mut outbox, inbox) = Outbox::new(Version::HTTP_11);
    let (way, clearance) = (Doorway::open(), clearance_in("select city from t", Mode::Enforce));
    let reading = read(came, &clearance, Mode::Enforce, way.door(), &mut outbox);
    let (read, mut body) = tokio::join!(reading, async {
        let mut body = inbox.await.unwrap().into_body();
        assert!(body.frame().await.unwrap().is_ok());
        assert!(way.session.end("she has left".to_owned()));
        body
    });
    let Read::Ended(ended) = read.unwrap() else { panic!("still running") };
    let audit::Outcome::Lost(lost) = ended.outcome else { panic!("{:?}", ended.outcome) };
    assert_eq!(lost.reason, "its session was ended: she has left");
    ended.answer.give(&mut outbox).await;
    let (mut got, mut is_broken_off) = (0, false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => got += frame.data_ref().unwrap().len(),
            Err(BrokenOff) => is_broken_off = true,
        }
        if is_broken_off {
            break;
        }
    }
    assert!(is_broken_off && got < text.len() / 2, "{got} bytes of {}", text.len());
}

#[tokio::test]
async fn an_answer_that_is_masked_as_a_whole_is_not_waited_for_where_its_session_is_ended() {
    let came = Came::of(HeaderMap::new(), pieces(reply("SSN", 0).as_bytes())).await.unwrap();
    let (mut outbox, _inbox) = Outbox::new(Version::HTTP_11);
    let (way, clearance) = (Doorway::open(), clearance_in("select ssn from t", Mode::Enforce));
    assert!(way.session.end("she has left".to_owned()));
    let read = read(came, &clearance, Mode::Enforce, way.door(), &mut outbox).await;
    assert!(matches!(read, Err(Refusal::Ended(why)) if why == "she has left"));
}
