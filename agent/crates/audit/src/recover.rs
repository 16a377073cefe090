//! What the end of the agent before this one left behind: an unfinished line, intents and sessions without an end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use model::{QueryId, SessionId};

use crate::{
    chain::{Head, sha256},
    error::Error,
    event::{Closing, Decision, Event, Lost, Outcome, SessionEnd, SetAside},
    folder::{Folder, entries_path},
    scan::{Rest, scan},
};

/// Names of the files that hold what was set aside.
const SET_ASIDE: (&str, &str) = ("torn-", ".bin");
/// Why an intent found open is lost.
const GONE: &str = "the agent ended before there was an outcome";

/// Where the record goes on, and what has to be said first.
pub(crate) struct Recovered {
    pub(crate) head: Head,
    /// Bytes of whole lines.
    pub(crate) length: u64,
    /// To be recorded after the start.
    pub(crate) events: Vec<Event>,
}

/// Reads the record through, moves an unfinished end into a file of its own, and lists what was left open.
///
/// The order of things makes a second crash in here harmless: the file is durable before the entries are shortened,
/// and a file that no entry names is recorded at the next start.
pub(crate) fn recover(folder: &Folder) -> Result<Recovered, Error> {
    let mut left = LeftOpen::default();
    let end = scan(folder.path(), |entry| left.note(entry.event))?;
    match end.rest {
        Rest::Nothing => {}
        Rest::Torn => set_aside(folder, end.whole)?,
        Rest::Damaged(damage) => return Err(Error::Damaged { path: entries_path(folder.path()), damage }),
    }
    let mut events = left.unrecorded(folder)?;
    events.extend(left.endings());
    Ok(Recovered { head: end.head, length: end.whole, events })
}

fn set_aside(folder: &Folder, whole: u64) -> Result<(), Error> {
    let path = entries_path(folder.path());
    let torn = behind(&path, whole).map_err(Error::io("read", &path))?;
    let digest = sha256(&torn);
    let (before, after) = SET_ASIDE;
    folder.write(&format!("{before}{whole}-{}{after}", digest.get(..16).unwrap_or_default()), &torn)
}

/// What a file holds behind its first `length` bytes. Only that is read: the record before it may be larger than memory.
fn behind(path: &Path, length: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(length))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[derive(Default)]
struct LeftOpen {
    intents: BTreeMap<QueryId, SessionId>,
    /// By the exchange of its login.
    sessions: BTreeMap<SessionId, QueryId>,
    set_aside: BTreeSet<String>,
}

impl LeftOpen {
    fn note(&mut self, event: Event) {
        match event {
            Event::Login(login) if login.verdict.decision == Decision::Permitted => {
                self.intents.insert(login.query, login.session);
                self.sessions.insert(login.session, login.query);
            }
            Event::Statement(statement) if statement.verdict.decision == Decision::Permitted => {
                self.intents.insert(statement.query, statement.session);
            }
            Event::Outcome(closing) => {
                self.intents.remove(&closing.query);
                let accepted = matches!(closing.outcome, Outcome::LoggedIn(_));
                if !accepted && self.sessions.get(&closing.session) == Some(&closing.query) {
                    self.sessions.remove(&closing.session);
                }
            }
            Event::SessionEnd(end) => drop(self.sessions.remove(&end.session)),
            Event::SetAside(aside) => drop(self.set_aside.insert(aside.file)),
            _ => {}
        }
    }

    fn unrecorded(&self, folder: &Folder) -> Result<Vec<Event>, Error> {
        let (before, after) = SET_ASIDE;
        let names = folder.names()?.into_iter();
        let torn =
            names.filter(|n| n.starts_with(before) && n.ends_with(after) && !self.set_aside.contains(n));
        torn.map(|file| {
            let path = folder.path().join(&file);
            let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
            Ok(Event::SetAside(SetAside { file, bytes: bytes.len() as u64, sha256: sha256(&bytes) }))
        })
        .collect()
    }

    fn endings(self) -> impl Iterator<Item = Event> {
        let lost = self.intents.into_iter().map(|(query, session)| {
            Event::Outcome(Closing { session, query, outcome: Lost { reason: GONE.to_owned() }.into() })
        });
        let ended = self.sessions.into_keys().map(|session| {
            SessionEnd { session, reason: "the agent ended while the session was open".to_owned() }.into()
        });
        lost.chain(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_torn_is_read_without_what_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("entries.jsonl");
        // A hole costs no disk, and would cost a tebibyte of memory.
        let whole = 1 << 40;
        let mut file = File::create(&path).unwrap();
        file.seek(SeekFrom::Start(whole)).unwrap();
        io::Write::write_all(&mut file, b"{\"torn").unwrap();
        assert_eq!(behind(&path, whole).unwrap(), b"{\"torn");
        assert_eq!(behind(&path, whole + 6).unwrap(), b"");
    }
}
