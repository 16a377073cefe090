//! Masks over an Arrow IPC stream.
//!
//! A masked column is built anew, never edited: in an edited one the value would still lie in the buffer behind the
//! NULL. What is written is uncompressed, because the Python driver's reader takes nothing else, and keeps schema and
//! field metadata, without which that driver ends in an exception or an abort.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, GenericStringArray, LargeStringArray, OffsetSizeTrait, RecordBatch, StringArray,
    cast::AsArray, new_null_array,
};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};

use crate::{apply::MaskError, lenient, treatment::Treatment};

/// The key of a field's metadata that says which Snowflake type the field holds.
const LOGICAL_TYPE: &str = "logicalType";

/// Rewrites a stream. `treatments` come back as they were really carried out: a text mask on a column that Arrow
/// does not carry as text has become [`Treatment::Null`].
pub(crate) fn mask(stream: &[u8], treatments: &mut [Treatment]) -> Result<(Vec<u8>, Vec<u64>), MaskError> {
    let (schema, batches) = lenient::open(stream).map_err(MaskError::Arrow)?;
    let schema = masked_schema(&schema, treatments)?;
    let mut changed = vec![0; treatments.len()];
    let mut masked = Vec::with_capacity(stream.len());
    let mut writer = StreamWriter::try_new(&mut masked, &schema).map_err(MaskError::Arrow)?;
    for batch in batches {
        let batch = batch.map_err(MaskError::Arrow)?;
        let batch = masked_batch(&batch, treatments, &mut changed).map_err(MaskError::Arrow)?;
        writer.write(&batch).map_err(MaskError::Arrow)?;
    }
    writer.finish().map_err(MaskError::Arrow)?;
    drop(writer);
    Ok((masked, changed))
}

/// How many rows all batches have together.
pub(crate) fn count_rows(stream: &[u8]) -> Result<u64, MaskError> {
    let no_columns = Some(Vec::new());
    let reader = StreamReader::try_new(stream, no_columns).map_err(MaskError::Arrow)?;
    let mut rows = 0;
    for batch in reader {
        rows += batch.map_err(MaskError::Arrow)?.num_rows() as u64;
    }
    Ok(rows)
}

fn masked_schema(schema: &SchemaRef, treatments: &mut [Treatment]) -> Result<SchemaRef, MaskError> {
    if schema.fields().len() != treatments.len() {
        return Err(MaskError::SchemaWidth { fields: schema.fields().len(), columns: treatments.len() });
    }
    let mut fields: Vec<FieldRef> = Vec::with_capacity(treatments.len());
    for (field, treatment) in schema.fields().iter().zip(treatments) {
        if !is_plain(field.data_type()) {
            return Err(MaskError::ArrowType {
                column: field.name().clone(),
                arrow_type: field.data_type().to_string(),
            });
        }
        *treatment = carried_out(*treatment, field);
        fields.push(match treatment {
            Treatment::Null => Arc::new(field.as_ref().clone().with_nullable(true)),
            _ => Arc::clone(field),
        });
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// Text goes only where the field is text by both of its own statements; elsewhere a driver would read it as
/// something else.
fn carried_out(treatment: Treatment, field: &Field) -> Treatment {
    let logical = field.metadata().get(LOGICAL_TYPE).map(String::as_str);
    let fits = match treatment {
        Treatment::Keep | Treatment::Null => return treatment,
        Treatment::Text(_) => matches!(logical, Some("TEXT")),
        Treatment::Json => matches!(logical, Some("VARIANT" | "OBJECT" | "ARRAY")),
    };
    match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 if fits => treatment,
        _ => Treatment::Null,
    }
}

/// Types whose bytes are all in the column itself. A dictionary's values travel apart, views share buffers; Snowflake
/// is not known to send either, nor unions or runs. Inside other types, a type must take up room, so that the length
/// of what is built is bounded by what was read.
fn is_plain(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Null) || is_solid(data_type)
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

fn masked_batch(
    batch: &RecordBatch,
    treatments: &[Treatment],
    changed: &mut [u64],
) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(treatments.len());
    for ((column, treatment), count) in batch.columns().iter().zip(treatments).zip(changed) {
        if *treatment != Treatment::Keep {
            *count += (column.len() - column.logical_null_count()) as u64;
        }
        columns.push(match treatment {
            Treatment::Keep => Arc::clone(column),
            Treatment::Null => new_null_array(column.data_type(), column.len()),
            Treatment::Text(_) | Treatment::Json => masked_text(column, *treatment)?,
        });
    }
    RecordBatch::try_new(batch.schema(), columns)
}

fn masked_text(column: &ArrayRef, treatment: Treatment) -> Result<ArrayRef, ArrowError> {
    if let Some(text) = column.as_string_opt::<i32>() {
        return Ok(Arc::new(StringArray::from_iter(cells(text, treatment))));
    }
    if let Some(text) = column.as_string_opt::<i64>() {
        return Ok(Arc::new(LargeStringArray::from_iter(cells(text, treatment))));
    }
    Err(ArrowError::SchemaError(format!("a text column came as {}", column.data_type())))
}

fn cells<O: OffsetSizeTrait>(
    text: &GenericStringArray<O>,
    treatment: Treatment,
) -> impl Iterator<Item = Option<String>> {
    text.iter().map(move |cell| cell.and_then(|value| treatment.cell(value.to_owned())))
}
