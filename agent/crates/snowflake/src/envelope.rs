//! A reply around its rows: it takes rows back in the place of those that came with it.

use std::{fmt, ops::Range};

use base64::{Engine, prelude::BASE64_STANDARD};
use model::{ColumnMeta, ResultSet, Rows};
use serde_json::{Value, value::RawValue};

use crate::{
    chunks::Links,
    splice::{Splice, span},
};

/// Snowflake's word for a column of text.
const TEXT_TYPE: &str = "text";

/// Why rows could not be put back into their reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Rows for a reply that had none, or none for one that had some.
    #[error("the rows are not those of this reply: one has rows and the other has none")]
    Presence,
    /// JSON rows for an Arrow reply, or the other way round.
    #[error("the rows are not those of this reply: their format differs")]
    Format,
    /// Another number of rows, or of cells in one.
    #[error("the rows are not those of this reply: rows or cells were added or lost")]
    Shape,
    /// Other columns.
    #[error("the rows are not those of this reply: their columns differ")]
    Columns,
    /// Another number of chunks, or chunks for a reply that has none.
    #[error("the chunks are not those of this reply: some were added or lost")]
    Chunks,
}

/// A reply around its rows. It gives back every byte of the reply as it came, except where rows differ.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    body: String,
    layout: Layout,
    links: Option<Links>,
    /// What stands in the place of what leads to chunks.
    led: Vec<(Range<usize>, String)>,
}

/// Where in a body the things lie that may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Place,
}

/// One column's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) type_name: String,
    /// Where `nullable` says `false`.
    pub(crate) not_nullable: Option<Range<usize>>,
    /// What changes where if the column becomes one of text.
    pub(crate) as_text: Vec<(Range<usize>, String)>,
}

/// Where the rows lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The reply is not one that has rows.
    Nowhere,
    /// It is one, but has no key for them.
    Empty(Format),
    /// The value of `rowset`.
    Json(Range<usize>),
    /// The value of `rowset`, of which only the number of its rows was kept. It stays as it came.
    Counted { rows: u64, at: Range<usize> },
    /// The value of `rowsetBase64`.
    Arrow(Range<usize>),
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Arrow,
}

impl Envelope {
    pub(crate) fn new(body: String, layout: Layout) -> Self {
        Self { body, layout, links: None, led: Vec::new() }
    }

    /// The same, of a reply that leads to chunks.
    pub(crate) fn leading_on(self, links: Option<Links>) -> Self {
        Self { links, ..self }
    }

    /// Puts other addresses into the place of those of its chunks, and takes out what a store wants to be sent.
    ///
    /// # Errors
    /// When they are not as many as the reply has chunks.
    pub fn lead_to(&mut self, urls: &[String]) -> Result<(), EncodeError> {
        let links = self.links.take().filter(|links| links.urls.len() == urls.len());
        let Links { urls: at, keys } = links.ok_or(EncodeError::Chunks)?;
        let urls = at.into_iter().zip(urls.iter().map(|url| Value::from(url.as_str()).to_string()));
        let keys = keys.into_iter().map(|(at, nothing)| (at, nothing.to_owned()));
        self.led = urls.chain(keys).collect();
        Ok(())
    }

    /// What the client must get of a reply when it has all of it up to the end of its rows, which were counted and passed
    /// as they came.
    ///
    /// # Errors
    /// When something that stands before that has other addresses.
    pub fn encode_behind_rows(self) -> Result<Vec<u8>, EncodeError> {
        let Place::Counted { at, .. } = &self.layout.rows else { return Err(EncodeError::Format) };
        let rest = self.body.get(at.end..).ok_or(EncodeError::Shape)?;
        let mut splice = Splice::default();
        for (range, text) in self.led {
            let start = range.start.checked_sub(at.end).ok_or(EncodeError::Shape)?;
            splice.replace(start..range.end - at.end, text);
        }
        splice.apply(rest).ok_or(EncodeError::Shape)
    }

    /// Whether rows that were counted lie at this place.
    pub(crate) fn has_rows_at(&self, place: &Range<usize>) -> bool {
        matches!(&self.layout.rows, Place::Counted { at, .. } if at == place)
    }

    /// Puts rows in the place of those that came with this reply. A column that became nullable, or one of text, is described
    /// so.
    ///
    /// # Errors
    /// When they are not the rows of this reply: others in number, format or columns.
    pub fn encode(self, result: Option<ResultSet>) -> Result<Vec<u8>, EncodeError> {
        let mut splice = Splice::default();
        for (range, text) in &self.led {
            splice.replace(range.clone(), text.clone());
        }
        match (&self.layout.rows, result) {
            (Place::Nowhere, None) => {}
            (Place::Nowhere, Some(_)) | (_, None) => return Err(EncodeError::Presence),
            (place, Some(ResultSet { columns, rows })) => {
                self.describe(&columns, &mut splice)?;
                match (place, rows) {
                    (Place::Json(range), Rows::Json(rows)) => self.put_cells(range, rows, &mut splice)?,
                    (Place::Counted { rows: before, .. }, Rows::Counted(rows)) if *before == rows => {}
                    (Place::Counted { .. }, Rows::Counted(_)) => return Err(EncodeError::Shape),
                    (Place::Arrow(range), Rows::ArrowIpc(stream)) => {
                        splice.replace(range.clone(), format!("\"{}\"", BASE64_STANDARD.encode(stream)));
                    }
                    (Place::Empty(Format::Json), Rows::Json(rows)) if rows.is_empty() => {}
                    (Place::Empty(Format::Arrow), Rows::ArrowIpc(stream)) if stream.is_empty() => {}
                    (Place::Empty(_), _) => return Err(EncodeError::Shape),
                    _ => return Err(EncodeError::Format),
                }
            }
        }
        if splice.is_empty() {
            return Ok(self.body.into_bytes());
        }
        splice.apply(&self.body).ok_or(EncodeError::Shape)
    }

    fn describe(&self, columns: &[ColumnMeta], splice: &mut Splice) -> Result<(), EncodeError> {
        if columns.len() != self.layout.columns.len() {
            return Err(EncodeError::Columns);
        }
        for (before, after) in self.layout.columns.iter().zip(columns) {
            let is_retyped = before.type_name != after.type_name;
            if before.name != after.name || (is_retyped && after.type_name != TEXT_TYPE) {
                return Err(EncodeError::Columns);
            }
            for (range, text) in before.as_text.iter().filter(|_| is_retyped) {
                splice.replace(range.clone(), text.clone());
            }
            if let (Some(range), true) = (&before.not_nullable, after.nullable) {
                splice.replace(range.clone(), "true".to_owned());
            }
        }
        Ok(())
    }

    /// Replaces the cells that differ, so that the others keep the server's own spelling.
    fn put_cells(
        &self,
        range: &Range<usize>,
        rows: Vec<Vec<Option<String>>>,
        splice: &mut Splice,
    ) -> Result<(), EncodeError> {
        let text = self.body.get(range.clone()).ok_or(EncodeError::Shape)?;
        let before: Vec<Vec<&RawValue>> = serde_json::from_str(text).map_err(|_| EncodeError::Shape)?;
        if before.len() != rows.len() {
            return Err(EncodeError::Shape);
        }
        for (old_row, new_row) in before.into_iter().zip(rows) {
            if old_row.len() != new_row.len() {
                return Err(EncodeError::Shape);
            }
            for (old, new) in old_row.into_iter().zip(new_row) {
                if !is_same(old.get(), new.as_deref()) {
                    let cell = serde_json::to_string(&new).map_err(|_| EncodeError::Shape)?;
                    splice.replace(span(&self.body, old.get()).ok_or(EncodeError::Shape)?, cell);
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} bytes, {} columns)", self.body.len(), self.layout.columns.len())
    }
}

/// Whether a cell, as JSON, is the same as a decoded one.
fn is_same(old: &str, new: Option<&str>) -> bool {
    match new {
        None => old == "null",
        // Without an escape the text itself stands between the quotes.
        Some(new) if !old.contains('\\') => {
            old.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) == Some(new)
        }
        Some(new) => serde_json::from_str::<String>(old).is_ok_and(|old| old == new),
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
