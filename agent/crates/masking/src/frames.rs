//! The messages of an Arrow IPC stream, looked at before the stream is read: what one says of lengths must be there. The reader
//! takes some of it on trust, and ends the program where it is a lie.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_ipc::{Buffer, Message, root_as_message};
use arrow_schema::ArrowError;

/// What is in front of a message.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Whether the parts of every message lie within it.
///
/// # Errors
/// When one does not, or a dictionary comes in pieces: it is put together anew with each, which takes as long as the square of
/// their number, and Snowflake is not known to send one.
pub(crate) fn check(stream: &[u8]) -> Result<(), ArrowError> {
    let mut rest = stream;
    while let Some((metadata, after)) = metadata(rest)? {
        let message = root_as_message(metadata).map_err(|_| wrong("a message's metadata cannot be read"))?;
        let length = usize::try_from(message.bodyLength()).ok();
        let (body, further) = length
            .and_then(|length| after.split_at_checked(length))
            .ok_or_else(|| wrong("a message is shorter than it says"))?;
        check_body(&message, body)?;
        rest = further;
    }
    Ok(())
}

/// A part of a stream, and what is behind it.
type Parts<'s> = (&'s [u8], &'s [u8]);

/// The metadata of the next message; nothing at the end. Streams before Arrow 0.15 have no mark in front.
fn metadata(stream: &[u8]) -> Result<Option<Parts<'_>>, ArrowError> {
    let Some((first, rest)) = stream.split_first_chunk() else { return Ok(None) };
    let (length, rest) = match *first {
        CONTINUATION => rest.split_first_chunk().ok_or_else(|| wrong("a message ends before its length"))?,
        _ => (first, rest),
    };
    match i32::from_le_bytes(*length) {
        0 => Ok(None),
        length => {
            let length = usize::try_from(length).ok();
            let parts = length.and_then(|length| rest.split_at_checked(length));
            parts.map(Some).ok_or_else(|| wrong("a message's metadata is shorter than it says"))
        }
    }
}

fn check_body(message: &Message<'_>, body: &[u8]) -> Result<(), ArrowError> {
    let batch = match message.header_as_dictionary_batch() {
        Some(dictionary) if dictionary.isDelta() => {
            return Err(wrong("a dictionary comes in pieces (delta)"));
        }
        Some(dictionary) => dictionary.data(),
        None => message.header_as_record_batch(),
    };
    let Some(batch) = batch else { return Ok(()) };
    let is_within = |buffer: &Buffer| {
        let (start, length) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let end = start.ok().zip(length.ok()).and_then(|(start, length)| start.checked_add(length));
        end.is_some_and(|end| end <= body.len())
    };
    let has_length = |length: i64| usize::try_from(length).is_ok();
    let nodes_have_lengths = batch.nodes().is_none_or(|nodes| {
        nodes.iter().all(|node| has_length(node.length()) && has_length(node.null_count()))
    });
    if !has_length(batch.length()) || !nodes_have_lengths {
        return Err(wrong("a batch has a negative length"));
    }
    match batch.buffers() {
        Some(buffers) if !buffers.iter().all(is_within) => Err(wrong("a buffer lies outside of its message")),
        _ => Ok(()),
    }
}

/// Reads a stream. What lengths say of the types that they are of is looked at by the reader alone, which ends in a panic where
/// it does not fit; here that is an error.
///
/// # Errors
/// Those of the reading, and a panic of it.
pub(crate) fn read<T, E: From<ArrowError>>(reading: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // Nothing of what was half read is looked at again: the error takes the place of the rows.
    match catch_unwind(AssertUnwindSafe(reading)) {
        Ok(read) => read,
        Err(_) => Err(wrong("the length of a buffer does not fit its type").into()),
    }
}

fn wrong(what: &str) -> ArrowError {
    ArrowError::IpcError(what.to_owned())
}
