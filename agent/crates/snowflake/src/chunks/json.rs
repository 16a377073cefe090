//! The rows of a chunk in JSON, as they come, in batches that begin and end with a row.

use std::{mem, ops::Range};

use model::{ColumnMeta, ResultSet, Rows};

use crate::{
    envelope::{Column, EncodeError, Envelope, Layout, Place},
    error::DecodeError,
    json::JsonError,
    row_scan::{RowScan, not_rows},
};

/// How much of a chunk is put into one batch, if its rows are not longer.
const BATCH_BYTES: usize = 128 << 10;

/// How long one row may be. A text may have 128 MB, and twice as much in escapes.
const ROW_BYTES_MAX: usize = 256 << 20;

/// A chunk that is under way: rows as in `rowset`, without the brackets around them.
#[derive(Debug)]
pub struct JsonRows {
    scan: RowScan,
    /// What has come and is in no batch yet.
    pending: Vec<u8>,
    /// How much of it are whole rows, with what stands between them.
    whole: usize,
}

/// Some rows of a chunk, and the place for what becomes of them.
pub struct JsonBatch {
    /// The rows.
    pub result: ResultSet,
    /// Their place.
    pub place: JsonPlace,
}

/// Where rows were taken out of a chunk.
pub struct JsonPlace {
    /// What stands before the first of them.
    before: Vec<u8>,
    envelope: Envelope,
}

impl JsonRows {
    /// At the beginning of a chunk.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a chunk has a beginning and no default state")]
    pub fn new() -> Self {
        Self { scan: RowScan::new(), pending: Vec::new(), whole: 0 }
    }

    /// Takes the next bytes, cut anywhere.
    ///
    /// # Errors
    /// When there is something else than rows of texts and nulls, or a row longer than any.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.scan.take(bytes)? < bytes.len() || self.scan.is_done() {
            return Err(not_rows());
        }
        if let Some(end) = self.scan.last_row_end() {
            self.whole = self.pending.len() + end;
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() - self.whole > ROW_BYTES_MAX {
            return Err(DecodeError::TooLong { key: "rowset", max: ROW_BYTES_MAX });
        }
        Ok(())
    }

    /// The rows that have come, once they are worth it. `columns` are those of the result.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn batch(&mut self, columns: &[ColumnMeta]) -> Result<Option<JsonBatch>, DecodeError> {
        if self.whole < BATCH_BYTES { Ok(None) } else { self.cut(columns).map(Some) }
    }

    /// The last rows, and what stands behind them, when the chunk has ended.
    ///
    /// # Errors
    /// When it ends in the middle of a row.
    pub fn end(mut self, columns: &[ColumnMeta]) -> Result<(Option<JsonBatch>, Vec<u8>), DecodeError> {
        if self.scan.take(b"]")? != 1 || !self.scan.is_done() {
            return Err(not_rows());
        }
        let last = if self.whole > 0 { Some(self.cut(columns)?) } else { None };
        Ok((last, self.pending))
    }

    fn cut(&mut self, columns: &[ColumnMeta]) -> Result<JsonBatch, DecodeError> {
        let rest = self.pending.split_off(mem::take(&mut self.whole));
        let mut before = mem::replace(&mut self.pending, rest);
        let first = before.iter().position(|byte| *byte == b'[').ok_or_else(not_rows)?;
        let rows = before.split_off(first);
        let body = [b"[", &rows[..], b"]"].concat();
        let body = String::from_utf8(body)
            .map_err(|error| JsonError::NotUtf8 { at: error.utf8_error().valid_up_to() })?;
        let rows = Rows::Json(serde_json::from_str(&body).map_err(|_| not_rows())?);
        let at = 0..body.len();
        let envelope = Envelope::new(body, layout(columns, at));
        let result = ResultSet { columns: columns.to_vec(), rows };
        Ok(JsonBatch { result, place: JsonPlace { before, envelope } })
    }
}

/// That of a text which is nothing but rows.
fn layout(columns: &[ColumnMeta], rows: Range<usize>) -> Layout {
    let column = |meta: &ColumnMeta| Column {
        name: meta.name.clone(),
        type_name: meta.type_name.clone(),
        not_nullable: None,
        as_text: Vec::new(),
    };
    Layout { columns: columns.iter().map(column).collect(), rows: Place::Json(rows) }
}

impl JsonPlace {
    /// The part of the chunk that has these rows in the place of those that came.
    ///
    /// # Errors
    /// When they are not the rows of this place: others in number, format or columns.
    pub fn encode(self, result: ResultSet) -> Result<Vec<u8>, EncodeError> {
        let Self { before: mut part, envelope } = self;
        let body = envelope.encode(Some(result))?;
        let rows = body.strip_prefix(b"[").and_then(|rows| rows.strip_suffix(b"]"));
        part.extend_from_slice(rows.ok_or(EncodeError::Shape)?);
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<ColumnMeta> {
        let column = |name: &str| ColumnMeta {
            name: name.to_owned(),
            database: String::new(),
            schema: String::new(),
            table: String::new(),
            type_name: "text".to_owned(),
            nullable: true,
        };
        vec![column("A"), column("B")]
    }

    /// The chunk as it goes on when `change` is made of each row, and how many batches it had.
    fn through(chunk: &[u8], piece: usize, change: fn(&mut Vec<Option<String>>)) -> Option<(Vec<u8>, usize)> {
        let columns = columns();
        let (mut rows, mut out, mut batches) = (JsonRows::new(), Vec::new(), 0);
        let mut put = |JsonBatch { mut result, place }| {
            let Rows::Json(rows) = &mut result.rows else { panic!("{:?}", result.rows) };
            rows.iter_mut().for_each(change);
            out.extend(place.encode(result).unwrap());
            batches += 1;
        };
        for piece in chunk.chunks(piece) {
            rows.take(piece).ok()?;
            if let Some(batch) = rows.batch(&columns).ok()? {
                put(batch);
            }
        }
        let (last, behind) = rows.end(&columns).ok()?;
        last.map(&mut put);
        out.extend(behind);
        Some((out, batches))
    }

    fn large() -> String {
        let rows = (0..9_000).map(|n| format!(r#"["{n}\u00e9","],[\"{n}"]"#));
        rows.collect::<Vec<_>>().join(", \n")
    }

    #[test]
    fn what_nobody_changes_comes_out_as_it_went_in_wherever_it_is_cut() {
        let large = large();
        for chunk in ["", " ", r#"["1",null]"#, " [\"1\",\"\\u0041\"] , [null,\"x\"]\n", &large] {
            for piece in [1, 7, 4096, 1 << 20] {
                let (out, _) = through(chunk.as_bytes(), piece, |_| {}).unwrap();
                assert_eq!(out, chunk.as_bytes(), "in pieces of {piece}");
            }
        }
        assert!(through(large.as_bytes(), 4096, |_| {}).unwrap().1 > 1);
    }

    #[test]
    fn a_cell_is_changed_in_its_place() {
        let (out, _) = through(large().as_bytes(), 1000, |row| row[0] = None).unwrap();
        let out: Vec<Vec<Option<String>>> =
            serde_json::from_str(&format!("[{}]", String::from_utf8(out).unwrap())).unwrap();
        assert_eq!(out.len(), 9_000);
        for (n, row) in out.into_iter().enumerate() {
            assert_eq!(row, [None, Some(format!("],[\"{n}"))]);
        }
    }

    #[test]
    fn what_is_not_rows_and_nothing_else_is_refused() {
        for chunk in [
            &br#"["1","a"],"#[..],
            br#"["1","a""#,
            br#"["1","a"]]"#,
            br#"["1","a"]],[["2","b"]"#,
            br#"[["1","a"]]"#,
            br#"["1","a"]["2","b"]"#,
            br#"["1",2]"#,
            br#"{"a":"b"}"#,
            b"[\"\xff\",\"a\"]",
            b"[\"1\",\"\xc3",
            b"<?xml version=\"1.0\"?>",
            b"\x1f\x8b\x08",
        ] {
            for piece in [1, chunk.len()] {
                assert!(through(chunk, piece, |_| {}).is_none(), "{}", chunk.escape_ascii());
            }
        }
    }
}
