//! The chain: each line names the hash of the line before it. Pure; the same code writes and checks.

use model::Timestamp;
use sha2::{Digest, Sha256};

use crate::{
    canonical,
    error::Error,
    event::{Entry, Event, SCHEMA_VERSION},
};

/// Longest line the record takes: a statement of the greatest length Snowflake takes (1 MiB) whose every byte needs
/// the longest escape, and room for the rest of the entry.
pub(crate) const ENTRY_BYTES_MAX: usize = 8 << 20;

/// The end of the record: what the next line continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Position of the last entry; 0 when there is none.
    pub seq: u64,
    /// SHA-256 of its line, in hex; zeros when there is none.
    pub hash: String,
}

impl Head {
    /// Of an empty record.
    pub(crate) fn genesis() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }

    /// The next line, without its newline, and the head it makes.
    pub(crate) fn append(&self, time: Timestamp, event: Event) -> Result<(Vec<u8>, Self), Error> {
        let seq = self.seq + 1;
        let entry = Entry { v: SCHEMA_VERSION, seq, time, prev: self.hash.clone(), event };
        let line = canonical::to_vec(&entry)?;
        if line.len() > ENTRY_BYTES_MAX {
            return Err(Error::TooLarge { bytes: line.len() });
        }
        let next = Self { seq, hash: sha256(&line) };
        Ok((line, next))
    }

    /// Reads a line, without its newline, as the next one; moves on when it is.
    pub(crate) fn check(&mut self, line: &[u8]) -> Result<Entry, String> {
        let entry = parse(line)?;
        let wanted = self.seq + 1;
        if entry.seq != wanted {
            return Err(format!("this is entry {}, where entry {wanted} was expected", entry.seq));
        }
        if entry.prev != self.hash {
            return Err(format!("entry {} does not continue the line before it", entry.seq));
        }
        *self = Self { seq: wanted, hash: sha256(line) };
        Ok(entry)
    }
}

fn parse(line: &[u8]) -> Result<Entry, String> {
    /// The one member that every version has.
    #[derive(serde::Deserialize)]
    struct Versioned {
        v: u32,
    }
    let error = match serde_json::from_slice::<Entry>(line) {
        Ok(entry) if entry.v == SCHEMA_VERSION => return Ok(entry),
        Ok(_) => None,
        Err(error) => Some(error),
    };
    match (serde_json::from_slice::<Versioned>(line), error) {
        (Ok(Versioned { v }), _) if v != SCHEMA_VERSION => {
            Err(format!("an entry of version {v}, and this program reads version {SCHEMA_VERSION}"))
        }
        (_, Some(error)) => Err(format!("not an entry: {error}")),
        _ => Err("not an entry".to_owned()),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digits = Sha256::digest(bytes).into_iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Stop;

    fn stop(reason: &str) -> Event {
        Stop { reason: reason.to_owned() }.into()
    }

    fn lines(n: u64) -> Vec<Vec<u8>> {
        let mut head = Head::genesis();
        (0..n)
            .map(|i| {
                let (line, next) =
                    head.append(Timestamp::from_unix_seconds(1_700_000_000), stop(&i.to_string())).unwrap();
                head = next;
                line
            })
            .collect()
    }

    fn check(lines: &[Vec<u8>]) -> Result<u64, (usize, String)> {
        let mut head = Head::genesis();
        for (i, line) in lines.iter().enumerate() {
            head.check(line).map_err(|problem| (i, problem))?;
        }
        Ok(head.seq)
    }

    #[test]
    fn a_line_is_what_it_was_in_version_1() {
        let zeros = "0".repeat(64);
        let wanted = format!(
            r#"{{"event":{{"stop":{{"reason":"0"}}}},"prev":"{zeros}","seq":1,"time":"2023-11-14T22:13:20.000000Z","v":1}}"#
        );
        assert_eq!(String::from_utf8(lines(1).remove(0)).unwrap(), wanted);
    }

    #[test]
    fn every_change_but_of_the_last_line_is_found() {
        let whole = lines(4);
        assert_eq!(check(&whole), Ok(4));
        for (name, change) in [
            (
                "edited",
                (|l: &mut Vec<Vec<u8>>| {
                    l[1] = String::from_utf8_lossy(&l[1]).replace("\"1\"", "\"7\"").into()
                }) as fn(&mut Vec<Vec<u8>>),
            ),
            ("deleted", |l| drop(l.remove(1))),
            ("deleted first", |l| drop(l.remove(0))),
            ("reordered", |l| l.swap(1, 2)),
            ("inserted", |l| l.insert(1, l[0].clone())),
            ("spaced", |l| l[1].insert(1, b' ')),
            ("emptied", |l| l[2].clear()),
        ] {
            let mut changed = whole.clone();
            change(&mut changed);
            assert!(check(&changed).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_entry_of_this_version_is_refused() {
        let line = String::from_utf8(lines(1).remove(0)).unwrap();
        for (bad, problem) in [
            (line.replace("\"v\":1", "\"v\":2"), "an entry of version 2"),
            (line.replace("\"v\":1", "\"v\":1,\"w\":1"), "unknown field"),
            (line.replace("\"stop\"", "\"pause\""), "unknown variant"),
            (line.replace("2023-11-14", "2023-99-14"), "not an entry"),
            (line.replace("\"seq\":1", "\"seq\":1,\"seq\":1"), "duplicate field"),
            ("null".to_owned(), "not an entry"),
        ] {
            let said = Head::genesis().check(bad.as_bytes()).unwrap_err();
            assert!(said.contains(problem), "{bad}: {said}");
        }
    }

    #[test]
    fn an_entry_is_bounded() {
        let time = Timestamp::from_unix_seconds(0);
        let error = Head::genesis().append(time, stop(&"x".repeat(ENTRY_BYTES_MAX))).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
        let worst = "\u{1}".repeat(model::SqlText::BYTES_MAX);
        assert!(Head::genesis().append(time, stop(&worst)).is_ok());
    }
}
