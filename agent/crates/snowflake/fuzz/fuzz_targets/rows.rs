//! Any bytes as the rows of a reply, cut anywhere: rows that are only counted are as many as those that are read, and what is refused
//! by one way is refused by every other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::Rows;
use snowflake::{Passing, QueryReply, QuerySuccess};

const BEFORE: &[u8] = br#"{"data":{"rowtype":[{"name":"A","type":"text"}],"rowset":"#;
/// The first row has begun: that is how replies are told whose rows pass as they come.
const BEGIN: &[u8] = b"[[";
const AFTER: &[u8] = br#","total":1},"success":true}"#;

/// How many rows there are, if the reply is one with rows.
fn count(success: QuerySuccess) -> Option<u64> {
    match success.result?.rows {
        Rows::Json(rows) => Some(rows.len() as u64),
        Rows::Counted(rows) => Some(rows),
        Rows::ArrowIpc(_) => None,
    }
}

fn decoded(body: &[u8], are_kept: bool) -> Option<u64> {
    match QueryReply::decode_for(body.to_vec(), |_| are_kept) {
        Ok(QueryReply::Success(success)) => count(*success),
        _ => None,
    }
}

fn passed(body: &[u8], cut: usize) -> Option<u64> {
    let (head, rest) = body.split_at(BEFORE.len() + BEGIN.len());
    let mut passing = Passing::begin(head)?;
    let (one, other) = rest.split_at(cut % (rest.len() + 1));
    passing.take(one).ok()?;
    passing.take(other).ok()?;
    count(passing.end().ok()?)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, rows) = input;
    let body = [BEFORE, BEGIN, rows, b"]", AFTER].concat();
    let read = decoded(&body, true);
    assert_eq!(read, decoded(&body, false));
    assert_eq!(read, passed(&body, usize::from(cut)));
});
