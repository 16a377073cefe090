//! The rows of a chunk in Arrow, as they come: an IPC stream is taken apart into streams of one batch each, and what
//! becomes of those is put together to one stream again.
//!
//! Source of the form: Arrow Columnar Format, "IPC Streaming Format" and "Encapsulated message format".

use std::mem;

use arrow_ipc::{MessageHeader, root_as_message};

/// What a message begins with; streams older than Arrow 0.15 leave it out.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// How a stream ends.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// How long the description of a message may be. A schema of a thousand columns has a few hundred kilobytes.
const HEAD_BYTES_MAX: usize = 16 << 20;

/// How long a message may be. Servers make batches of a few megabytes.
const BATCH_BYTES_MAX: usize = 128 << 20;

/// Why a stream could not be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArrowError {
    /// What should be a message is none.
    #[error("the Arrow stream has something else than messages")]
    Message,
    /// A schema is missing, or there is a second one, or something that is neither schema nor batch.
    #[error("the Arrow stream has other messages than one schema and batches of rows")]
    Kind,
    /// Larger than may be held.
    #[error("a message of the Arrow stream is larger than {} MiB", BATCH_BYTES_MAX >> 20)]
    TooLarge,
    /// It ends in the middle of a message.
    #[error("the Arrow stream is cut off")]
    Cut,
    /// It goes on after its end.
    #[error("the Arrow stream has bytes after its end")]
    Trailing,
}

/// A chunk that is under way. What goes in comes out in streams of one batch, and in the end of none if there was none.
#[derive(Debug, Default)]
pub struct ArrowRows {
    /// What has come and was not given.
    pending: Vec<u8>,
    schema: Option<Vec<u8>>,
    has_batches: bool,
    is_over: bool,
}

/// A message at the beginning of some bytes.
struct Message {
    kind: Kind,
    length: usize,
}

enum Kind {
    Schema,
    Batch,
    End,
}

impl ArrowRows {
    /// Takes the next bytes, cut anywhere. Ask for streams until there are none before the next.
    pub fn take(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next stream; `None` where its batch has not come.
    ///
    /// # Errors
    /// When what has come is no such stream.
    pub fn batch(&mut self) -> Result<Option<Vec<u8>>, ArrowError> {
        loop {
            if self.is_over {
                return if self.pending.is_empty() { Ok(None) } else { Err(ArrowError::Trailing) };
            }
            let Some(Message { kind, length }) = message(&self.pending)? else { return Ok(None) };
            if self.pending.len() < length {
                return Ok(None);
            }
            let rest = self.pending.split_off(length);
            let message = mem::replace(&mut self.pending, rest);
            match (kind, &self.schema) {
                (Kind::Schema, None) => self.schema = Some(message),
                (Kind::Batch, Some(schema)) => {
                    self.has_batches = true;
                    return Ok(Some([schema, &message[..], &END].concat()));
                }
                (Kind::End, Some(_)) => self.is_over = true,
                _ => return Err(ArrowError::Kind),
            }
        }
    }

    /// What is left when the chunk has ended and the last batch was given: a stream without one, if there was none; and
    /// nothing for a chunk of no bytes. Whether it has all rows is not known here: some writers put no end to a stream.
    ///
    /// # Errors
    /// When it ends in the middle of a message.
    pub fn end(self) -> Result<Option<Vec<u8>>, ArrowError> {
        match self.schema {
            _ if !self.pending.is_empty() => Err(ArrowError::Cut),
            Some(schema) if !self.has_batches => Ok(Some([&schema[..], &END].concat())),
            _ => Ok(None),
        }
    }
}

/// Streams of one batch each, that become one.
#[derive(Debug, Default)]
pub struct ArrowParts {
    schema: Option<Vec<u8>>,
}

impl ArrowParts {
    /// The part of the whole that a stream is.
    ///
    /// # Errors
    /// When it is no stream, or has another schema than those before it.
    pub fn part(&mut self, stream: &[u8]) -> Result<Vec<u8>, ArrowError> {
        let mut part = Vec::with_capacity(stream.len());
        let mut rest = stream;
        while let Some(Message { kind, length }) = message(rest)? {
            let (message, behind) = rest.split_at_checked(length).ok_or(ArrowError::Cut)?;
            rest = behind;
            match (kind, &self.schema) {
                (Kind::Schema, None) => {
                    part.extend_from_slice(message);
                    self.schema = Some(message.to_vec());
                }
                (Kind::Schema, Some(schema)) if schema == message => {}
                (Kind::Batch, Some(_)) => part.extend_from_slice(message),
                (Kind::End, Some(_)) => {}
                _ => return Err(ArrowError::Kind),
            }
        }
        if rest.is_empty() { Ok(part) } else { Err(ArrowError::Cut) }
    }

    /// What the whole ends with; nothing if it had no part.
    #[must_use]
    pub fn end(self) -> Vec<u8> {
        if self.schema.is_some() { END.to_vec() } else { Vec::new() }
    }
}

/// What message begins here, and how long it is; `None` where not enough has come to tell.
fn message(bytes: &[u8]) -> Result<Option<Message>, ArrowError> {
    let (before, bytes) = match bytes.strip_prefix(&CONTINUATION) {
        Some(rest) => (CONTINUATION.len(), rest),
        None => (0, bytes),
    };
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let described = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| ArrowError::Message)?;
    let before = before + length.len();
    if described == 0 {
        return Ok(Some(Message { kind: Kind::End, length: before }));
    }
    if described > HEAD_BYTES_MAX {
        return Err(ArrowError::TooLarge);
    }
    let Some(head) = rest.get(..described) else { return Ok(None) };
    let head = root_as_message(head).map_err(|_| ArrowError::Message)?;
    let body = usize::try_from(head.bodyLength()).map_err(|_| ArrowError::Message)?;
    if body > BATCH_BYTES_MAX {
        return Err(ArrowError::TooLarge);
    }
    let kind = match head.header_type() {
        MessageHeader::Schema if body == 0 => Kind::Schema,
        MessageHeader::RecordBatch => Kind::Batch,
        _ => return Err(ArrowError::Kind),
    };
    Ok(Some(Message { kind, length: before + described + body }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Array, Int64Array, RecordBatch, StringArray};
    use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    fn schema() -> Arc<Schema> {
        let fields = vec![Field::new("N", DataType::Int64, true), Field::new("T", DataType::Utf8, true)];
        Arc::new(Schema::new(fields))
    }

    fn batch(rows: i64) -> RecordBatch {
        let numbers = Int64Array::from_iter(0..rows);
        let texts = StringArray::from_iter((0..rows).map(|n| (n % 3 > 0).then(|| format!("text {n}"))));
        RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap()
    }

    fn stream(batches: &[i64]) -> Vec<u8> {
        let mut stream = Vec::new();
        let mut writer = StreamWriter::try_new(&mut stream, &schema()).unwrap();
        for rows in batches {
            writer.write(&batch(*rows)).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        stream
    }

    /// The stream as it goes on, and how many rows each of its parts had.
    fn through(stream: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<usize>), ArrowError> {
        let (mut rows, mut parts) = (ArrowRows::default(), ArrowParts::default());
        let (mut out, mut counts) = (Vec::new(), Vec::new());
        let mut put = |one: Vec<u8>| {
            let batches = StreamReader::try_new(&one[..], None).unwrap();
            counts.push(batches.map(|batch| batch.unwrap().num_rows()).sum());
            out.extend(parts.part(&one)?);
            Ok(())
        };
        for piece in stream.chunks(piece) {
            rows.take(piece);
            while let Some(one) = rows.batch()? {
                put(one)?;
            }
        }
        if let Some(one) = rows.end()? {
            put(one)?;
        }
        out.extend(parts.end());
        Ok((out, counts))
    }

    #[test]
    fn what_nobody_changes_comes_out_as_it_went_in_wherever_it_is_cut() {
        for batches in [&[][..], &[0], &[3], &[5, 0, 1_000, 2]] {
            let stream = stream(batches);
            for piece in [1, 9, 4096, 1 << 20] {
                let (out, counts) = through(&stream, piece).unwrap();
                assert_eq!(out, stream, "{batches:?} in pieces of {piece}");
                let expected = if batches.is_empty() { &[0][..] } else { &[][..] };
                let batches: Vec<usize> =
                    batches.iter().map(|rows| usize::try_from(*rows).unwrap()).collect();
                assert_eq!(counts, [expected, &batches].concat());
            }
        }
        assert_eq!(through(b"", 1).unwrap(), (Vec::new(), Vec::new()));
    }

    #[test]
    fn an_end_may_be_missing_and_is_put_there() {
        let stream = stream(&[4]);
        let (out, _) = through(&stream[..stream.len() - END.len()], 64).unwrap();
        assert_eq!(out, stream);
    }

    #[test]
    fn what_is_no_such_stream_is_refused() {
        let good = stream(&[4, 4]);
        let schema = stream(&[]);
        let head = &schema[..schema.len() - END.len()];
        let behind = &good[head.len()..];
        for (stream, error) in [
            (good[..good.len() - END.len() - 1].to_vec(), ArrowError::Cut),
            (good[..head.len() + 20].to_vec(), ArrowError::Cut),
            ([&good[..], b"x"].concat(), ArrowError::Trailing),
            ([&good[..], &good].concat(), ArrowError::Trailing),
            (behind.to_vec(), ArrowError::Kind),
            ([head, &good].concat(), ArrowError::Kind),
            (END.to_vec(), ArrowError::Kind),
            (b"[\"1\",\"a\"],[\"2\",\"b\"]".to_vec(), ArrowError::TooLarge),
            ([&CONTINUATION[..], &(-8i32).to_le_bytes()].concat(), ArrowError::Message),
            ([&CONTINUATION[..], &i32::MAX.to_le_bytes()].concat(), ArrowError::TooLarge),
            ([&CONTINUATION[..], &16i32.to_le_bytes(), &[0x41; 16]].concat(), ArrowError::Message),
        ] {
            for piece in [1, stream.len()] {
                assert_eq!(through(&stream, piece), Err(error), "{}", stream.escape_ascii());
            }
        }
    }

    #[test]
    fn parts_of_other_schemas_do_not_become_one() {
        let field = Field::new("X", DataType::Int64, true);
        let column: Arc<dyn Array> = Arc::new(Int64Array::from(vec![1]));
        let other = Arc::new(Schema::new(vec![field]));
        let mut stream_of_other = Vec::new();
        let mut writer = StreamWriter::try_new(&mut stream_of_other, &other).unwrap();
        writer.write(&RecordBatch::try_new(other, vec![column]).unwrap()).unwrap();
        writer.finish().unwrap();
        drop(writer);
        let mut parts = ArrowParts::default();
        parts.part(&stream(&[1])).unwrap();
        assert_eq!(parts.part(&stream_of_other), Err(ArrowError::Kind));
    }
}
