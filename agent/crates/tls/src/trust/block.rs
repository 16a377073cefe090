//! A marked block in somebody else's file: put in once, found again, taken out to the byte.

use std::{io::ErrorKind, path::Path};

use super::{
    StoreKind, StoreState, StoreStatus, Trouble,
    journal::{Entry, Journal},
};
use crate::place::{Content, Owner, Place};

/// First line of our part. No `=` in it: a runner takes each line with one for a variable.
pub(super) const BEGIN: &str = "# snowfence: begin trust";
/// Last line of our part.
pub(super) const END: &str = "# snowfence: end trust";

/// A file with and without our part.
pub(super) struct Sight {
    place: Place,
    content: Option<Content>,
    /// The file without any part of ours; empty when there is no file.
    pub(super) base: Vec<u8>,
    /// Whether there is a part of ours.
    pub(super) has_block: bool,
}

impl Sight {
    /// Reads a file, which no link may lead to, and tells what in it is ours: first what the journal says we wrote, then anything between our marks,
    /// in case the journal was lost or the file copied.
    pub(super) fn of(path: &Path, bytes_max: u64, entry: Option<&Entry>) -> Result<Self, Trouble> {
        let place = Place::open_unlinked(path)?;
        let content = place.read(bytes_max)?;
        let bytes = content.as_ref().map(|c| c.bytes.as_slice()).unwrap_or_default();
        let mut base = entry.and_then(|entry| without_entry(bytes, entry)).unwrap_or_else(|| bytes.to_vec());
        while let Some(rest) = without_marked(&base)? {
            base = rest;
        }
        let has_block = base.len() != bytes.len();
        Ok(Self { place, content, base, has_block })
    }

    pub(super) fn exists(&self) -> bool {
        self.content.is_some()
    }

    /// Who owns the file, or would.
    pub(super) fn owner(&self) -> Result<Owner, Trouble> {
        match &self.content {
            Some(content) => Ok(content.owner),
            None => Ok(Owner { mode: 0o644, ..self.place.dir_owner()? }),
        }
    }

    /// The line end this file uses.
    pub(super) fn line_end(&self) -> &'static str {
        let first = self.base.iter().position(|&b| b == b'\n');
        match first.and_then(|at| at.checked_sub(1)).and_then(|at| self.base.get(at)) {
            Some(b'\r') => "\r\n",
            _ => "\n",
        }
    }

    /// Makes `block` the one part of ours in the file, at its end if it was not there yet.
    pub(super) fn put(self, store: StoreKind, block: &str, journal: &mut Journal) -> Result<(), Trouble> {
        let path = self.place.path().to_owned();
        let whole = self.content.as_ref().map(|c| c.bytes.as_slice()).unwrap_or_default();
        let known = journal.entry(store, &path);
        let ours = whole.len() - self.base.len();
        let is_there = |entry: &Entry| {
            entry.block == block && (ours == block.len() || ours == entry.glue.len() + block.len())
        };
        if known.is_some_and(is_there) {
            return Ok(());
        }
        let unfinished = self.base.last().is_some_and(|&last| last != b'\n');
        let glue = if unfinished { self.line_end() } else { "" };
        // A file that holds nothing but our part was made by us, unless the journal knows better.
        let made_by_us = self.base.is_empty() && known.map_or(self.has_block, |entry| entry.before.is_none());
        let before = (self.content.is_some() && !made_by_us).then_some(self.base.as_slice());
        journal.record(store, &path, before, glue, block)?;
        let owner = self.owner()?;
        let next = [self.base.as_slice(), glue.as_bytes(), block.as_bytes()].concat();
        if next != whole || self.content.is_none() {
            self.place.replace(&next, owner)?;
        }
        Ok(())
    }

    /// Takes our part out and says whether every byte is as before.
    pub(super) fn take_out(self, entry: Option<&Entry>) -> Result<StoreState, Trouble> {
        let Some(content) = &self.content else { return Ok(StoreState::Gone) };
        if !self.has_block {
            return Ok(StoreState::NotInstalled);
        }
        let restored = match entry {
            Some(entry) if entry.before.is_none() => self.base.is_empty(),
            Some(entry) => entry.is_before(&self.base),
            None => false,
        };
        if entry.is_some_and(|entry| entry.before.is_none()) && self.base.is_empty() {
            self.place.remove()?;
        } else {
            self.place.replace(&self.base, content.owner)?;
        }
        Ok(if restored { StoreState::Restored } else { StoreState::BlockRemoved })
    }
}

/// Takes our part out of a file and forgets it.
pub(super) fn remove(store: StoreKind, path: &Path, bytes_max: u64, journal: &mut Journal) -> StoreStatus {
    let entry = journal.entry(store, path).cloned();
    let mut remove = || -> Result<StoreState, Trouble> {
        let state = match Sight::of(path, bytes_max, entry.as_ref()) {
            Ok(sight) => sight.take_out(entry.as_ref())?,
            // The folder went with the file.
            Err(Trouble::File(error)) if error.kind() == ErrorKind::NotFound => StoreState::Gone,
            Err(trouble) => return Err(trouble),
        };
        journal.forget(store, path)?;
        Ok(match state {
            StoreState::Gone if entry.is_none() => StoreState::NotInstalled,
            state => state,
        })
    };
    let state = remove().into();
    StoreStatus { store, path: path.to_owned(), state }
}

/// The bytes without what the journal says we put in, if that is there exactly.
fn without_entry(bytes: &[u8], entry: &Entry) -> Option<Vec<u8>> {
    let glued = [entry.glue.as_bytes(), entry.block.as_bytes()].concat();
    [glued.as_slice(), entry.block.as_bytes()]
        .into_iter()
        .find_map(|part| cut(bytes, find(bytes, part)?, part.len()))
}

/// The bytes without the first stretch from our begin mark to our end mark, both lines included.
fn without_marked(bytes: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
    let Some(from) = line_starting(bytes, 0, BEGIN) else { return Ok(None) };
    let end = line_starting(bytes, from, END).ok_or(Trouble::Torn(BEGIN))?;
    let rest = bytes.get(end..).unwrap_or_default();
    let until = rest.iter().position(|&b| b == b'\n').map_or(bytes.len(), |at| end + at + 1);
    Ok(cut(bytes, from, until - from))
}

/// Where the first line at or after `from` starts that begins with `mark`.
fn line_starting(bytes: &[u8], from: usize, mark: &str) -> Option<usize> {
    let mut at = from;
    loop {
        let found = at + find(bytes.get(at..)?, mark.as_bytes())?;
        if found == 0 || bytes.get(found - 1) == Some(&b'\n') {
            return Some(found);
        }
        at = found + 1;
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() { None } else { bytes.windows(part.len()).position(|window| window == part) }
}

fn cut(bytes: &[u8], from: usize, length: usize) -> Option<Vec<u8>> {
    Some([bytes.get(..from)?, bytes.get(from + length..)?].concat())
}
