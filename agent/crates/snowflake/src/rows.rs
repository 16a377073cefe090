//! The rows inside a reply, taken out.

use std::ops::Range;

use base64::{Engine, prelude::BASE64_STANDARD};
use model::{ColumnMeta, ResultSet, Rows};
use serde_json::value::RawValue;

use crate::{
    chunks::ChunkFormat,
    envelope::{Column, Format, Layout, Place},
    error::DecodeError,
    json::Object,
    row_scan::{RowScan, not_rows},
    splice::span,
};

/// Takes the rows out of the `data` of a reply, whose whole text is `body`. There is a result, if only one without
/// rows, exactly when columns are described. JSON rows are only counted where `are_kept` says so of their columns.
pub(crate) fn take(
    body: &str,
    data: &Object<'_>,
    are_kept: impl FnOnce(&[ColumnMeta]) -> bool,
) -> Result<(Option<ResultSet>, Layout), DecodeError> {
    let Some(described) = data.list("rowtype")? else {
        return match find(body, data, false)? {
            Some((rows, _)) if !is_empty(&rows) => Err(DecodeError::Missing { key: "rowtype" }),
            _ => Ok((None, Layout { columns: Vec::new(), rows: Place::Nowhere })),
        };
    };
    let (columns, layout) = columns(body, &described)?;
    let (rows, place) = match find(body, data, are_kept(&columns))? {
        Some(found) => found,
        None if data.text("queryResultFormat")?.as_deref() == Some("arrow") => {
            (Rows::ArrowIpc(Vec::new()), Place::Empty(Format::Arrow))
        }
        None => (Rows::Json(Vec::new()), Place::Empty(Format::Json)),
    };
    Ok((Some(ResultSet { columns, rows }), Layout { columns: layout, rows: place }))
}

/// The columns of a row type.
pub(crate) fn columns(
    body: &str,
    described: &[&RawValue],
) -> Result<(Vec<ColumnMeta>, Vec<Column>), DecodeError> {
    let mut columns = Vec::with_capacity(described.len());
    let mut layout = Vec::with_capacity(described.len());
    for entry in described {
        let (meta, column) = column(body, entry)?;
        columns.push(meta);
        layout.push(column);
    }
    Ok((columns, layout))
}

/// Whether `data` holds rows, or tells where more of them are.
pub(crate) fn has_any(data: &Object<'_>) -> bool {
    ["rowset", "rowsetBase64", "chunks"].into_iter().any(|key| is_filled(data, key))
}

/// Whether a key holds anything but null, an empty text or an empty list.
fn is_filled(data: &Object<'_>, key: &str) -> bool {
    let inner = |raw: &'_ str| raw.strip_prefix('[')?.strip_suffix(']').map(|inner| inner.trim().is_empty());
    data.raw(key).is_some_and(|raw| raw != "\"\"" && inner(raw) != Some(true))
}

fn find(body: &str, data: &Object<'_>, are_kept: bool) -> Result<Option<(Rows, Place)>, DecodeError> {
    let place = |key| data.raw(key).and_then(|raw| span(body, raw)).ok_or(DecodeError::Missing { key });
    let rows = data.raw("rowset").map(|text| if are_kept { read(text) } else { count(text) }).transpose()?;
    match (rows, data.text("rowsetBase64")?) {
        // Which of the two a client reads is up to the client.
        (Some(rows), Some(stream)) if !is_empty(&rows) && !stream.is_empty() => {
            Err(DecodeError::UnexpectedRows)
        }
        (Some(rows), stream) if !is_empty(&rows) || stream.is_none() => {
            let place = match &rows {
                Rows::Counted(rows) => Place::Counted { rows: *rows, at: place("rowset")? },
                _ => Place::Json(place("rowset")?),
            };
            Ok(Some((rows, place)))
        }
        (_, Some(stream)) => {
            let stream = BASE64_STANDARD
                .decode(stream)
                .map_err(|_| DecodeError::wrong_type("rowsetBase64", "standard base64"))?;
            Ok(Some((Rows::ArrowIpc(stream), Place::Arrow(place("rowsetBase64")?))))
        }
        (_, None) => Ok(None),
    }
}

/// The value of `rowset`.
fn read(text: &str) -> Result<Rows, DecodeError> {
    serde_json::from_str(text).map(Rows::Json).map_err(|_| not_rows())
}

/// How many rows the value of `rowset` has, after each was found to be one that [`read`] reads.
fn count(text: &str) -> Result<Rows, DecodeError> {
    let mut scan = RowScan::new();
    scan.take(text.strip_prefix('[').ok_or_else(not_rows)?.as_bytes())?;
    if scan.is_done() { Ok(Rows::Counted(scan.rows())) } else { Err(not_rows()) }
}

/// The cells of one row.
pub(crate) fn cells(row: &RawValue) -> Result<Vec<Option<String>>, DecodeError> {
    serde_json::from_str(row.get()).map_err(|_| not_rows())
}

pub(crate) fn is_empty(rows: &Rows) -> bool {
    match rows {
        Rows::Json(rows) => rows.is_empty(),
        Rows::Counted(rows) => *rows == 0,
        Rows::ArrowIpc(stream) => stream.is_empty(),
    }
}

/// What a description says of every text column, however long its texts are.
const OF_TEXT: [(&str, &str); 4] =
    [("length", "16777216"), ("byteLength", "16777216"), ("precision", "null"), ("scale", "null")];

/// What changes in a description that becomes one of text.
fn as_text(body: &str, entry: &Object<'_>) -> Vec<(Range<usize>, String)> {
    let mut type_word = "\"text\"".to_owned();
    let mut changes = Vec::new();
    for (key, value) in OF_TEXT {
        match entry.written(key).and_then(|raw| span(body, raw)) {
            Some(range) => changes.push((range, value.to_owned())),
            None => type_word.push_str(&format!(",\"{key}\":{value}")),
        }
    }
    changes.extend(entry.raw("type").and_then(|raw| span(body, raw)).map(|range| (range, type_word)));
    changes
}

/// How rows are written.
pub(crate) fn format(rows: &Rows) -> ChunkFormat {
    match rows {
        Rows::Json(_) | Rows::Counted(_) => ChunkFormat::Json,
        Rows::ArrowIpc(_) => ChunkFormat::Arrow,
    }
}

/// One column of a row type: what it is, and where in `body` its description may change.
pub(crate) fn column(body: &str, entry: &RawValue) -> Result<(ColumnMeta, Column), DecodeError> {
    let entry = Object::parse(entry.get())?;
    let name = entry.text("name")?.ok_or(DecodeError::Missing { key: "name" })?;
    let type_name = entry.text("type")?.ok_or(DecodeError::Missing { key: "type" })?.to_lowercase();
    let nullable = entry.flag("nullable")?.unwrap_or(true);
    let not_nullable = if nullable { None } else { entry.raw("nullable").and_then(|raw| span(body, raw)) };
    // The source of a column is in either set of keys; the first is empty for an expression.
    let source = |key, other| {
        let text = entry.text(key)?.filter(|text| !text.is_empty());
        Ok::<_, DecodeError>(match text {
            Some(text) => text,
            None => entry.text(other)?.unwrap_or_default(),
        })
    };
    let meta = ColumnMeta {
        name: name.clone(),
        database: source("database", "columnSrcDatabase")?,
        schema: source("schema", "columnSrcSchema")?,
        table: source("table", "columnSrcTable")?,
        type_name: type_name.clone(),
        nullable,
    };
    let as_text = as_text(body, &entry);
    Ok((meta, Column { name, type_name, not_nullable, as_text }))
}
