//! Columns of dates and times, in each of the forms that Snowflake sends them in.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Date32Array, Int32Array, Int64Array, StructArray,
    cast::AsArray,
    types::{Date32Type, Int32Type, Int64Type},
};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, Field, Fields};

use super::scale;
use crate::{calendar::Unit, instant::Instant, kind::Kind};

/// The parts of a timestamp that comes as a struct.
const EPOCH: &str = "epoch";
const FRACTION: &str = "fraction";
const TIMEZONE: &str = "timezone";

/// Whether a column of this kind can be read from this Arrow type.
pub(super) fn can_hold(kind: Kind, data_type: &DataType) -> bool {
    match (kind, data_type) {
        (Kind::Date, DataType::Date32)
        | (Kind::Time, DataType::Int32 | DataType::Int64)
        | (Kind::Timestamp, DataType::Int64) => true,
        (Kind::Timestamp, DataType::Struct(fields)) => has_parts(fields, &[EPOCH, FRACTION]),
        (Kind::TimestampTz, DataType::Struct(fields)) => {
            has_parts(fields, &[EPOCH, TIMEZONE]) || has_parts(fields, &[EPOCH, FRACTION, TIMEZONE])
        }
        _ => false,
    }
}

fn has_parts(fields: &Fields, names: &[&str]) -> bool {
    let is_part = |field: &Field, name: &str| {
        let data_type = if name == EPOCH { DataType::Int64 } else { DataType::Int32 };
        field.name() == name && *field.data_type() == data_type
    };
    fields.len() == names.len() && fields.iter().zip(names).all(|(field, name)| is_part(field, name))
}

/// The column with each value cut to its unit. What is no date becomes NULL.
pub(super) fn truncated(
    field: &Field,
    column: &ArrayRef,
    kind: Kind,
    unit: Unit,
) -> Result<ArrayRef, ArrowError> {
    let cut = |instant: Option<Instant>| instant.map(|instant| instant.truncated(unit));
    if let Some(days) = column.as_primitive_opt::<Date32Type>() {
        let first = |day: i32| i32::try_from(unit.first_day(i64::from(day))).ok();
        return Ok(Arc::new(days.iter().map(|day| day.and_then(first)).collect::<Date32Array>()));
    }
    if kind == Kind::Time {
        // A time of day has no date in it: all of it goes.
        return Ok(match column.as_primitive_opt::<Int32Type>() {
            Some(times) => Arc::new(times.iter().map(|time| time.map(|_| 0)).collect::<Int32Array>()),
            None => {
                let times = column.as_primitive_opt::<Int64Type>().ok_or_else(|| no_date(column))?;
                Arc::new(times.iter().map(|time| time.map(|_| 0)).collect::<Int64Array>())
            }
        });
    }
    let scale = scale(field).ok_or_else(|| no_date(column))?;
    let instants = instants(column, scale)?.map(cut);
    match column.as_struct_opt() {
        None => {
            let units = instants.map(|instant| units(instant?, scale));
            Ok(Arc::new(units.collect::<Int64Array>()))
        }
        Some(parts) => from_parts(parts, instants, scale),
    }
}

/// Seconds without a fraction in units of `10^-scale`.
fn units(instant: Instant, scale: u32) -> Option<i64> {
    instant.seconds.checked_mul(10_i64.checked_pow(scale)?)
}

/// The points in time of a column, one a row.
pub(super) fn instants(
    column: &ArrayRef,
    scale: u32,
) -> Result<Box<dyn Iterator<Item = Option<Instant>> + '_>, ArrowError> {
    if let Some(units) = column.as_primitive_opt::<Int64Type>() {
        return Ok(Box::new(units.iter().map(move |units| Instant::of_units(units?, scale))));
    }
    if let Some(units) = column.as_primitive_opt::<Int32Type>() {
        return Ok(Box::new(units.iter().map(move |units| Instant::of_units(i64::from(units?), scale))));
    }
    let parts = column.as_struct_opt().ok_or_else(|| no_date(column))?;
    let epochs = parts.column_by_name(EPOCH).and_then(|part| part.as_primitive_opt::<Int64Type>());
    let epochs = epochs.ok_or_else(|| no_date(column))?;
    let small = |name| parts.column_by_name(name).and_then(|part| part.as_primitive_opt::<Int32Type>());
    let (fractions, offsets) = (small(FRACTION), small(TIMEZONE));
    let value = |array: &Int32Array, row: usize| array.is_valid(row).then(|| array.value(row));
    let instant = move |row: usize| {
        if parts.is_null(row) || epochs.is_null(row) {
            return None;
        }
        let instant = match fractions {
            Some(fractions) => {
                let nanos = u32::try_from(value(fractions, row)?).ok()?;
                Instant { nanos, ..Instant::of_units(epochs.value(row), 0)? }
            }
            None => Instant::of_units(epochs.value(row), scale)?,
        };
        match offsets {
            Some(offsets) => instant.with_sent_offset(i64::from(value(offsets, row)?)),
            None => Some(instant),
        }
    };
    Ok(Box::new((0..parts.len()).map(instant)))
}

/// A struct of the same parts. Nothing is left of the old ones, not even behind a NULL.
fn from_parts(
    parts: &StructArray,
    instants: impl Iterator<Item = Option<Instant>>,
    scale: u32,
) -> Result<ArrayRef, ArrowError> {
    let has_fraction = parts.column_by_name(FRACTION).is_some();
    let (mut epochs, mut offsets, mut is_valid) = (Vec::new(), Vec::new(), Vec::new());
    for instant in instants {
        let epoch = instant.and_then(|i| if has_fraction { Some(i.seconds) } else { units(i, scale) });
        let offset = instant.and_then(Instant::sent_offset).and_then(|offset| i32::try_from(offset).ok());
        is_valid.push(epoch.is_some());
        epochs.push(epoch.unwrap_or_default());
        offsets.push(offset.unwrap_or_default());
    }
    let (length, epochs) = (epochs.len(), Int64Array::from(epochs));
    let part = |field: &std::sync::Arc<Field>| -> ArrayRef {
        match field.name().as_str() {
            EPOCH => Arc::new(epochs.clone()),
            TIMEZONE => Arc::new(Int32Array::from(offsets.clone())),
            _ => Arc::new(Int32Array::from(vec![0; length])),
        }
    };
    let columns = parts.fields().iter().map(part).collect();
    let array = StructArray::try_new(parts.fields().clone(), columns, Some(NullBuffer::from(is_valid)))?;
    Ok(Arc::new(array))
}

fn no_date(column: &ArrayRef) -> ArrowError {
    ArrowError::SchemaError(format!("a column of dates came as {}", column.data_type()))
}
