//! One pass over the entries, from the first line as far as they are whole.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use crate::{
    chain::{ENTRY_BYTES_MAX, Head},
    error::{Damage, Error},
    event::Entry,
    folder::entries_path,
    writer::BATCH_BYTES_MAX,
};

/// How a pass ended.
#[derive(Debug)]
pub(crate) struct End {
    /// The last whole entry.
    pub(crate) head: Head,
    /// Bytes of whole lines.
    pub(crate) whole: u64,
    /// What comes after them.
    pub(crate) rest: Rest,
}

/// What comes after the last whole line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing.
    Nothing,
    /// What a crash leaves: nobody was ever told that it was recorded. A writer that is at work may be in the middle
    /// of it.
    Torn,
    /// Something that no crash leaves.
    Damaged(Damage),
}

/// Hands every whole entry to `each`, in order. A record that is not there is empty.
pub(crate) fn scan(folder: &Path, mut each: impl FnMut(Entry)) -> Result<End, Error> {
    let path = entries_path(folder);
    let mut end = End { head: Head::genesis(), whole: 0, rest: Rest::Nothing };
    let mut file = match File::open(&path) {
        Ok(file) => BufReader::with_capacity(1 << 16, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => return Ok(end),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = ENTRY_BYTES_MAX as u64 + 1;
        let taken =
            file.by_ref().take(limit).read_until(b'\n', &mut line).map_err(Error::io("read", &path))?;
        if taken == 0 {
            return Ok(end);
        }
        let checked = match line.split_last() {
            Some((b'\n', text)) => end.head.check(text),
            _ => Err("the line has no end".to_owned()),
        };
        match checked {
            Ok(entry) => each(entry),
            Err(problem) => {
                let torn = is_torn(&line, file).map_err(Error::io("read", &path))?;
                let damage = Damage { line: end.head.seq + 1, problem };
                end.rest = if torn { Rest::Torn } else { Rest::Damaged(damage) };
                return Ok(end);
            }
        }
        end.whole += taken as u64;
    }
}

/// Whether this line and all that follows can be what a power cut made of the last flush: a line without its end, or
/// pages that were never written (no line holds a NUL), and not more than one flush holds.
fn is_torn(line: &[u8], rest: impl Read) -> io::Result<bool> {
    let mut rest = rest.take(BATCH_BYTES_MAX as u64 + 1);
    let mut bytes = line.to_vec();
    rest.read_to_end(&mut bytes)?;
    let unfinished = !bytes.contains(&b'\n') && bytes.len() <= ENTRY_BYTES_MAX;
    Ok(unfinished || (bytes.contains(&0) && bytes.len() <= BATCH_BYTES_MAX))
}
