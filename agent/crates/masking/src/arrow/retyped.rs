//! Columns that become text: the values, the field and its metadata together.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef,
    builder::StringBuilder,
    cast::AsArray,
    types::{Date32Type, Decimal128Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type},
};
use arrow_schema::{ArrowError, DataType, Field};

use super::{LOGICAL_TYPE, SCALE, dates::instants, scale, texts::push};
use crate::{kind::Kind, mask::Mask, render, text::write_date};

/// The longest text that Snowflake's own text columns say they hold.
const TEXT_LENGTH: &str = "16777216";

/// The same field as one of text. Keys that are there stay there: a driver ends without some of them.
pub(super) fn field(field: &Field) -> Field {
    let mut metadata: HashMap<String, String> = field.metadata().clone().into();
    for (key, value) in [
        (LOGICAL_TYPE, "TEXT"),
        (SCALE, "0"),
        ("precision", "0"),
        ("charLength", TEXT_LENGTH),
        ("byteLength", TEXT_LENGTH),
    ] {
        metadata.insert(key.to_owned(), value.to_owned());
    }
    metadata.entry("physicalType".to_owned()).and_modify(|physical| "LOB".clone_into(physical));
    metadata.entry("finalType".to_owned()).or_insert_with(|| "T".to_owned());
    Field::new(field.name(), DataType::Utf8, true).with_metadata(metadata)
}

/// The masked texts of a column's values. What cannot be read as its row type says becomes NULL.
pub(super) fn masked(
    field: &Field,
    column: &ArrayRef,
    kind: Kind,
    mask: &Mask,
) -> Result<ArrayRef, ArrowError> {
    if *column.data_type() == DataType::Null {
        // It takes no room in the stream, however long it says it is.
        return Err(ArrowError::SchemaError("a column to be shown as text has no type".to_owned()));
    }
    let mut builder = StringBuilder::with_capacity(column.len(), column.len() * 8);
    let (mut text, mut masked) = (String::new(), String::new());
    let mut values = values(field, column, kind);
    for row in 0..column.len() {
        text.clear();
        masked.clear();
        let value = values
            .as_mut()
            .and_then(|values| if column.is_null(row) { None } else { values(row, &mut text) });
        push(&mut builder, value.and_then(|()| mask.text(&text, &mut masked)).map(|()| masked.as_str()))?;
    }
    Ok(Arc::new(builder.finish()))
}

/// What writes the text of the value in a row.
type Values<'a> = Box<dyn FnMut(usize, &mut String) -> Option<()> + 'a>;

fn values<'a>(field: &Field, column: &'a ArrayRef, kind: Kind) -> Option<Values<'a>> {
    let scale = scale(field)?;
    Some(match kind {
        Kind::Fixed => {
            let number = integers(column)?;
            let scale = usize::try_from(scale).ok().filter(|scale| *scale <= 38)?;
            Box::new(move |row, out| {
                render::decimal(number(row), scale, out);
                Some(())
            })
        }
        Kind::Real => {
            let numbers = column.as_primitive_opt::<Float64Type>()?;
            Box::new(move |row, out| {
                render::real(numbers.value(row), out);
                Some(())
            })
        }
        Kind::Boolean => {
            let flags = column.as_boolean_opt()?;
            Box::new(move |row, out| {
                out.push_str(if flags.value(row) { "true" } else { "false" });
                Some(())
            })
        }
        Kind::Date => {
            let days = column.as_primitive_opt::<Date32Type>()?;
            Box::new(move |row, out| {
                write_date(i64::from(days.value(row)), out);
                Some(())
            })
        }
        Kind::Binary => {
            let (small, large) = (column.as_binary_opt::<i32>(), column.as_binary_opt::<i64>());
            small.map(|_| ()).or(large.map(|_| ()))?;
            Box::new(move |row, out| {
                let bytes = small.map(|array| array.value(row)).or(large.map(|array| array.value(row)))?;
                render::hex(bytes, out);
                Some(())
            })
        }
        Kind::Time | Kind::Timestamp | Kind::TimestampTz => {
            let instants: Vec<_> = instants(column, scale).ok()?.collect();
            Box::new(move |row, out| {
                let instant = instants.get(row).copied().flatten()?;
                if kind == Kind::Time {
                    instant.write_time_of_day(out)
                } else {
                    instant.write(out)
                }
                Some(())
            })
        }
        Kind::Text | Kind::Document | Kind::Other => return None,
    })
}

/// The unscaled numbers of a column, whatever their width.
fn integers(column: &ArrayRef) -> Option<Box<dyn Fn(usize) -> i128 + '_>> {
    macro_rules! of_width {
        ($($width:ty),*) => {
            $(if let Some(numbers) = column.as_primitive_opt::<$width>() {
                return Some(Box::new(move |row| i128::from(numbers.value(row))));
            })*
        };
    }
    of_width!(Int8Type, Int16Type, Int32Type, Int64Type, Decimal128Type);
    None
}
