//! What becomes of a chunk's bytes on their way: nothing, where nothing is owed for them; or the masks, batch by batch.

use model::{ColumnMeta, ResultSet, Rows};
use policy::{StandingClearance, Tally, Untouched};
use snowflake::{
    ArrowParts, ArrowRows, Chunk, ChunkFormat, JsonBatch, JsonRows,
    codec::{CodecError, Inflater},
};

use super::{ChunkError, table::ChunkedResult};

/// How much of a compressed chunk is inflated at one time. It comes to a thousand times as much at most.
const INFLATED_AT_ONCE_BYTES: usize = 4 << 10;

/// What gzip data begin with (RFC 1952, section 2.3.1). Neither JSON nor Arrow begins so.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How a chunk's bytes reach the client.
pub(crate) enum Passage {
    /// As they come.
    AsTheyCome { _untouched: Untouched, tally: Tally },
    /// Inflated and masked.
    Masked(Box<Masked>),
}

/// A chunk that is masked as it comes.
pub(crate) struct Masked {
    body: Body,
    /// How much has come of it, inflated.
    bytes: u64,
    rows: Cleared,
}

/// How the body is compressed, once its first bytes have told.
enum Body {
    Unknown(Vec<u8>),
    Plain,
    Gzip(Box<Inflater>),
}

/// The rows, cleared.
struct Cleared {
    columns: Vec<ColumnMeta>,
    clearance: StandingClearance,
    form: Form,
    tally: Tally,
}

enum Form {
    Json(JsonRows),
    Arrow { rows: ArrowRows, parts: ArrowParts },
}

impl Passage {
    /// That of any chunk of a result. In observe mode its bytes stay as they are, and what is owed is listed.
    pub(crate) fn of(result: &ChunkedResult) -> Self {
        let ChunkedResult { columns, clearance, chunks, .. } = result;
        if let Some(untouched) = clearance.unchanged(columns) {
            return Self::AsTheyCome { _untouched: untouched, tally: Tally::of(clearance, columns) };
        }
        let form = match chunks.format {
            ChunkFormat::Json => Form::Json(JsonRows::new()),
            ChunkFormat::Arrow => Form::Arrow { rows: ArrowRows::default(), parts: ArrowParts::default() },
        };
        let tally = Tally::of(clearance, columns);
        let (columns, clearance) = (columns.clone(), clearance.clone());
        let rows = Cleared { columns, clearance, form, tally };
        Self::Masked(Box::new(Masked { body: Body::Unknown(Vec::new()), bytes: 0, rows }))
    }

    /// Whether the bytes stay as they are.
    pub(crate) fn keeps_bytes(&self) -> bool {
        matches!(self, Self::AsTheyCome { .. })
    }
}

impl Masked {
    /// Takes bytes, and gives what the client may have by now. `bytes_max` is how much there may be, inflated.
    pub(crate) fn take(&mut self, piece: &[u8], bytes_max: u64) -> Result<Vec<u8>, ChunkError> {
        let joined;
        let mut piece = piece;
        if let Body::Unknown(begun) = &mut self.body {
            begun.extend_from_slice(piece);
            if begun.len() < GZIP.len() {
                return Ok(Vec::new());
            }
            joined = std::mem::take(begun);
            piece = &joined;
            self.body =
                if joined.starts_with(&GZIP) { Body::Gzip(Box::new(Inflater::new())) } else { Body::Plain };
        }
        let mut out = Vec::new();
        match &mut self.body {
            Body::Gzip(inflater) => {
                for slice in piece.chunks(INFLATED_AT_ONCE_BYTES) {
                    let plain = inflater.take(slice)?;
                    count(&mut self.bytes, &plain, bytes_max)?;
                    out.extend(self.rows.take(&plain)?);
                }
            }
            _ => {
                count(&mut self.bytes, piece, bytes_max)?;
                out = self.rows.take(piece)?;
            }
        }
        Ok(out)
    }

    /// Gives the last of it, when all has come.
    pub(crate) fn end(self, chunk: &Chunk, bytes_max: u64) -> Result<(Vec<u8>, Tally), ChunkError> {
        let Self { body, mut bytes, mut rows } = self;
        let plain = match body {
            Body::Plain => Vec::new(),
            Body::Unknown(begun) => begun,
            Body::Gzip(inflater) => inflater.end()?,
        };
        count(&mut bytes, &plain, bytes_max)?;
        let mut out = rows.take(&plain)?;
        let (last, tally) = rows.end()?;
        out.extend(last);
        if tally.rows == chunk.rows {
            Ok((out, tally))
        } else {
            Err(ChunkError::Rows { said: chunk.rows, found: tally.rows })
        }
    }

    /// Checks what a store says of the body's coding. What it is, its bytes tell.
    pub(crate) fn expects(coding: Option<&str>) -> Result<(), CodecError> {
        snowflake::codec::is_compressed(coding).map(drop)
    }
}

fn count(bytes: &mut u64, more: &[u8], max: u64) -> Result<(), ChunkError> {
    *bytes += more.len() as u64;
    if *bytes > max { Err(ChunkError::TooLong) } else { Ok(()) }
}

impl Cleared {
    fn take(&mut self, plain: &[u8]) -> Result<Vec<u8>, ChunkError> {
        let Self { columns, clearance, form, tally } = self;
        let mut out = Vec::new();
        match form {
            Form::Json(rows) => {
                rows.take(plain)?;
                if let Some(batch) = rows.batch(columns)? {
                    out = json(batch, clearance, tally)?;
                }
            }
            Form::Arrow { rows, parts } => {
                rows.take(plain);
                while let Some(stream) = rows.batch()? {
                    out.extend(arrow(stream, parts, columns, clearance, tally)?);
                }
            }
        }
        Ok(out)
    }

    fn end(self) -> Result<(Vec<u8>, Tally), ChunkError> {
        let Self { columns, clearance, form, mut tally } = self;
        let mut out = Vec::new();
        match form {
            Form::Json(rows) => {
                let (last, behind) = rows.end(&columns)?;
                if let Some(batch) = last {
                    out = json(batch, &clearance, &mut tally)?;
                }
                out.extend(behind);
            }
            Form::Arrow { rows, mut parts } => {
                if let Some(stream) = rows.end()? {
                    out = arrow(stream, &mut parts, &columns, &clearance, &mut tally)?;
                }
                out.extend(parts.end());
            }
        }
        Ok((out, tally))
    }
}

fn json(batch: JsonBatch, clearance: &StandingClearance, tally: &mut Tally) -> Result<Vec<u8>, ChunkError> {
    let JsonBatch { result, place } = batch;
    Ok(place.encode(clear(result, clearance, tally)?)?)
}

fn arrow(
    stream: Vec<u8>,
    parts: &mut ArrowParts,
    columns: &[ColumnMeta],
    clearance: &StandingClearance,
    tally: &mut Tally,
) -> Result<Vec<u8>, ChunkError> {
    let result = ResultSet { columns: columns.to_vec(), rows: Rows::ArrowIpc(stream) };
    match clear(result, clearance, tally)?.rows {
        Rows::ArrowIpc(stream) => Ok(parts.part(&stream)?),
        _ => Err(snowflake::EncodeError::Format.into()),
    }
}

/// The rows that the client may have in place of these. There is no other way from one to the other.
fn clear(
    result: ResultSet,
    clearance: &StandingClearance,
    tally: &mut Tally,
) -> Result<ResultSet, ChunkError> {
    let cleared = clearance.once().clear(result)?;
    tally.add(&cleared);
    Ok(cleared.into_result())
}
