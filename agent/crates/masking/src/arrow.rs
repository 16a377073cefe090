//! Masks over an Arrow IPC stream.
//!
//! A masked column is built anew, never edited: in an edited one the value would still lie in the buffer behind the
//! NULL. What is written is uncompressed, because the Python driver's reader takes nothing else, and keeps schema and
//! field metadata, without which that driver ends in an exception or an abort.

mod dates;
mod retyped;
mod texts;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};

pub(crate) use self::texts::{only_used, push};
use crate::{
    apply::MaskError,
    frames,
    kind::Kind,
    lenient,
    report::{ColumnReport, RowSpan},
    treatment::Treatment,
};

/// The key of a field's metadata that says which Snowflake type the field holds.
const LOGICAL_TYPE: &str = "logicalType";
/// The key that says how many digits are behind the point, or of a second's fraction.
const SCALE: &str = "scale";

/// Rewrites a stream. `treatments` come back as they were really carried out: a mask on a column that Arrow
/// does not carry as its row type says has become [`Treatment::Null`].
pub(crate) fn mask(
    stream: &[u8],
    treatments: &mut [Treatment],
) -> Result<(Vec<u8>, Vec<ColumnReport>), MaskError> {
    frames::read(|| rewritten(stream, treatments))
}

fn rewritten(stream: &[u8], treatments: &mut [Treatment]) -> Result<(Vec<u8>, Vec<ColumnReport>), MaskError> {
    let (schema, batches) = lenient::open(stream)?;
    let masked_schema = masked_schema(&schema, treatments)?;
    let mut reports = vec![ColumnReport::default(); treatments.len()];
    let mut masked = Vec::with_capacity(stream.len());
    let mut writer = StreamWriter::try_new(&mut masked, &masked_schema)?;
    let mut row = 0_usize;
    for batch in batches {
        let batch = batch?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(treatments.len());
        let fields = schema.fields().iter().zip(batch.columns()).zip(treatments.iter());
        for (((field, column), treatment), report) in fields.zip(&mut reports) {
            let masked = masked_column(field, column, treatment, Progress { row: row as u64, report });
            columns.push(masked?);
        }
        row = batch.num_rows().checked_add(row).ok_or(ArrowError::OffsetOverflowError(row))?;
        writer.write(&as_batch(&masked_schema, columns)?)?;
    }
    writer.finish()?;
    drop(writer);
    Ok((masked, reports))
}

/// The columns as a batch, whatever its schema promises of NULLs.
pub(crate) fn as_batch(schema: &Schema, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
    let fields = schema.fields().iter().zip(&columns);
    let fields = fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)
}

/// How many rows all batches have together.
pub(crate) fn count_rows(stream: &[u8]) -> Result<u64, MaskError> {
    frames::read(|| {
        frames::check(stream)?;
        let no_columns = Some(Vec::new());
        let mut rows = 0_u64;
        for batch in StreamReader::try_new(stream, no_columns)? {
            rows = rows.saturating_add(batch?.num_rows() as u64);
        }
        Ok(rows)
    })
}

fn masked_schema(schema: &SchemaRef, treatments: &mut [Treatment]) -> Result<SchemaRef, MaskError> {
    if schema.fields().len() != treatments.len() {
        return Err(MaskError::SchemaWidth { fields: schema.fields().len(), columns: treatments.len() });
    }
    let mut fields: Vec<FieldRef> = Vec::with_capacity(treatments.len());
    check_types(schema)?;
    for (field, treatment) in schema.fields().iter().zip(treatments) {
        *treatment = carried_out(treatment, field);
        fields.push(match treatment {
            Treatment::AsText(..) => Arc::new(retyped::field(field)),
            treatment if treatment.makes_nulls() => Arc::new(field.as_ref().clone().with_nullable(true)),
            _ => Arc::clone(field),
        });
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// That all columns are of types of which every byte can be accounted for.
pub(crate) fn check_types(schema: &Schema) -> Result<(), MaskError> {
    match schema.fields().iter().find(|field| !is_plain(field.data_type())) {
        None => Ok(()),
        Some(field) => Err(MaskError::ArrowType {
            column: field.name().clone(),
            arrow_type: field.data_type().to_string(),
        }),
    }
}

/// A value goes only where the field is of that type by both of its own statements; elsewhere a driver would read it as
/// something else. A column that becomes text becomes it whatever its field says, so that all parts of one result do.
fn carried_out(treatment: &Treatment, field: &Field) -> Treatment {
    let fits = match treatment {
        Treatment::Keep | Treatment::Null | Treatment::AsText(..) => true,
        Treatment::Text(_) => logical(field) == Kind::Text && texts::is_text(field.data_type()),
        Treatment::Document(_) => logical(field) == Kind::Document && texts::is_text(field.data_type()),
        Treatment::Truncated(kind, _) => logical(field) == *kind && dates::can_hold(*kind, field.data_type()),
    };
    if fits { treatment.clone() } else { Treatment::Null }
}

fn logical(field: &Field) -> Kind {
    field.metadata().get(LOGICAL_TYPE).map_or(Kind::Other, |word| Kind::of(&word.to_lowercase()))
}

/// 0 where it is not told.
fn scale(field: &Field) -> Option<u32> {
    field.metadata().get(SCALE).map_or(Some(0), |text| text.parse().ok())
}

/// Types whose bytes are all in the column itself, and dictionaries of texts. Views share buffers; Snowflake
/// is not known to send those, nor unions or runs. Inside other types, a type must take up room, so that the length
/// of what is built is bounded by what was read.
fn is_plain(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Null) || texts::is_text(data_type) || is_solid(data_type)
}

fn is_solid(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _) => {
            is_solid(field.data_type())
        }
        DataType::FixedSizeList(field, size) => *size > 0 && is_solid(field.data_type()),
        DataType::Struct(fields) => !fields.is_empty() && fields.iter().all(|f| is_solid(f.data_type())),
        DataType::FixedSizeBinary(size) => *size > 0,
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Binary
        | DataType::LargeBinary => true,
        other => other.primitive_width().is_some(),
    }
}

/// Where in the stream a batch begins, and what is noted of a column of it.
struct Progress<'r> {
    row: u64,
    report: &'r mut ColumnReport,
}

impl Progress<'_> {
    /// Notes that every value of a column was masked.
    fn note_all(self, column: &dyn Array) {
        let nulls = column.logical_null_count();
        self.report.nulls += nulls as u64;
        let cells = column.len() - nulls;
        if cells == 0 {
            return;
        }
        let all = (0, column.len() - 1);
        let values = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        let (first, last) = values.map_or(all, |nulls| {
            let mut runs = nulls.valid_slices();
            let first = runs.next();
            let last = runs.last().or(first);
            (first.map_or(0, |(start, _)| start), last.map_or(0, |(_, end)| end - 1))
        });
        let rows = RowSpan { first: self.row + first as u64, last: self.row + last as u64 };
        self.report.mask_all(cells as u64, rows);
    }
}

fn masked_column(
    field: &Field,
    column: &ArrayRef,
    treatment: &Treatment,
    progress: Progress<'_>,
) -> Result<ArrayRef, ArrowError> {
    match treatment {
        Treatment::Keep => return texts::only_used(column),
        Treatment::Text(_) | Treatment::Document(_) => return texts::masked(column, treatment, progress),
        Treatment::Null | Treatment::Truncated(..) | Treatment::AsText(..) => progress.note_all(column),
    }
    match treatment {
        Treatment::Truncated(kind, unit) => dates::truncated(field, column, *kind, *unit),
        Treatment::AsText(kind, mask) => retyped::masked(field, column, *kind, mask),
        _ => Ok(new_null_array(column.data_type(), column.len())),
    }
}
