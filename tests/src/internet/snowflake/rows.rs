//! Rows as JSON, made of the Arrow stream in which fakesnow writes them. Every cell is a text or null.
//!
//! Source of both encodings: the converters of Snowflake's own drivers (`converter.py` of the Python connector,
//! `column.js` of the one for Node, gosnowflake's `converter.go`).

use std::io::Cursor;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use arrow_array::{Array, BooleanArray, StructArray};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{DataType, Field};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::shape;

/// Numbers between these are written without an exponent.
const PLAIN_REALS: std::ops::Range<f64> = 1e-5..1e16;
const NANO_DIGITS: u32 = 9;

type Cells = Vec<Option<String>>;

/// Turns a reply's Arrow rows into JSON rows. A reply without such rows stays as it is.
///
/// # Errors
/// The stream is damaged, or has a type that fakesnow was not known to use.
pub(super) fn to_json(reply: &mut Value) -> Result<()> {
    if shape::text(reply, "/data/queryResultFormat") != Some("arrow") {
        return Ok(());
    }
    let stream = BASE64_STANDARD.decode(shape::text(reply, "/data/rowsetBase64").unwrap_or_default())?;
    let rows = if stream.is_empty() { Vec::new() } else { rows(&stream)? };
    let data = shape::object(reply, "data");
    if let Value::Object(data) = data {
        data.remove("rowsetBase64");
    }
    shape::set(data, "rowset", json!(rows));
    shape::set(data, "queryResultFormat", json!("json"));
    Ok(())
}

fn rows(stream: &[u8]) -> Result<Vec<Cells>> {
    let mut rows = Vec::new();
    for batch in StreamReader::try_new(Cursor::new(stream), None).context("no Arrow stream")? {
        let batch = batch.context("a damaged Arrow stream")?;
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| cells(field, column)).collect::<Result<Vec<_>>>()?;
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|_| columns.iter_mut().map(|cells| cells.next().flatten()).collect::<Cells>()),
        );
    }
    Ok(rows)
}

/// A column's cells, by Snowflake's name of its type.
fn cells(field: &Field, column: &dyn Array) -> Result<Cells> {
    let metadata = |key| field.metadata().get(key).map(String::as_str).unwrap_or_default();
    let logical = metadata("logicalType");
    let scale = metadata("scale").parse().unwrap_or_default();
    let found = match logical {
        "FIXED" => fixed(column, scale),
        "REAL" => column.as_primitive_opt().map(|values| primitive::<Float64Type>(values, real)),
        "BOOLEAN" => column.as_boolean_opt().map(booleans),
        "DATE" => column.as_primitive_opt().map(|days| primitive::<Date32Type>(days, |day| day.to_string())),
        "TIME" => integers(column).map(|units| decimals(units, scale)),
        "TIMESTAMP_NTZ" | "TIMESTAMP_LTZ" | "TIMESTAMP_TZ" => {
            column.as_struct_opt().and_then(|parts| timestamps(parts, scale))
        }
        "BINARY" => {
            column.as_binary_opt::<i32>().map(|values| values.iter().map(|one| one.map(hex)).collect())
        }
        // Semi-structured values are JSON texts in both forms.
        _ => column
            .as_string_opt::<i32>()
            .map(|texts| texts.iter().map(|one| one.map(str::to_owned)).collect()),
    };
    found.with_context(|| format!("the lab does not write {logical} in {} as JSON", column.data_type()))
}

fn primitive<T: ArrowPrimitiveType>(
    values: &arrow_array::PrimitiveArray<T>,
    write: impl Fn(T::Native) -> String,
) -> Cells {
    values.iter().map(|value| value.map(&write)).collect()
}

/// Whole numbers of any width.
fn integers(column: &dyn Array) -> Option<Vec<Option<i128>>> {
    fn of<T: ArrowPrimitiveType>(column: &dyn Array) -> Option<Vec<Option<i128>>>
    where
        i128: From<T::Native>,
    {
        Some(column.as_primitive_opt::<T>()?.iter().map(|value| value.map(i128::from)).collect())
    }
    match column.data_type() {
        DataType::Int8 => of::<Int8Type>(column),
        DataType::Int16 => of::<Int16Type>(column),
        DataType::Int32 => of::<Int32Type>(column),
        DataType::Int64 => of::<Int64Type>(column),
        DataType::Decimal128(..) => of::<Decimal128Type>(column),
        _ => None,
    }
}

/// A decimal has its scale in its own type, other numbers have it in their column's metadata.
fn fixed(column: &dyn Array, scale: u32) -> Option<Cells> {
    let scale = match column.data_type() {
        DataType::Decimal128(_, own) => u32::try_from(*own).ok()?,
        _ => scale,
    };
    integers(column).map(|units| decimals(units, scale))
}

fn decimals(units: Vec<Option<i128>>, scale: u32) -> Cells {
    units.into_iter().map(|value| value.map(|value| decimal(value, scale))).collect()
}

/// A number of units of 10^-scale, with that many digits after the point.
fn decimal(units: i128, scale: u32) -> String {
    if scale == 0 {
        return units.to_string();
    }
    let width = scale as usize;
    let digits = format!("{:0>1$}", units.unsigned_abs(), width + 1);
    let (whole, fraction) = digits.split_at(digits.len() - width);
    format!("{}{whole}.{fraction}", if units < 0 { "-" } else { "" })
}

fn real(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value == 0.0 || value.is_infinite() || PLAIN_REALS.contains(&value.abs()) => {
            value.to_string()
        }
        value => format!("{value:e}"),
    }
}

fn booleans(values: &BooleanArray) -> Cells {
    values.iter().map(|value| value.map(|yes| if yes { "1" } else { "0" }.to_owned())).collect()
}

/// Seconds with their fraction; a time with a zone has the zone's minutes beside it, counted from a day before UTC.
fn timestamps(parts: &StructArray, scale: u32) -> Option<Cells> {
    let seconds = integers(parts.column_by_name("epoch")?)?;
    let nanos = integers(parts.column_by_name("fraction")?)?;
    let zones = match parts.column_by_name("timezone") {
        Some(zones) => integers(zones)?,
        None => vec![None; parts.len()],
    };
    let scale = scale.min(NANO_DIGITS);
    let cells = seconds.into_iter().zip(nanos).zip(zones).enumerate();
    let cells = cells.map(|(row, ((seconds, nanos), zone))| {
        if parts.is_null(row) {
            return None;
        }
        let nanos = seconds? * 10_i128.pow(NANO_DIGITS) + nanos?;
        let instant = decimal(nanos.div_euclid(10_i128.pow(NANO_DIGITS - scale)), scale);
        Some(zone.map_or_else(|| instant.clone(), |zone| format!("{instant} {zone}")))
    });
    Some(cells.collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float64Array, Int8Array, Int32Array, Int64Array,
        RecordBatch, StringArray,
    };
    use arrow_ipc::writer::StreamWriter;
    use arrow_schema::Schema;

    use super::*;

    fn stream(columns: &[(&str, u32, ArrayRef)]) -> String {
        let fields = columns.iter().enumerate().map(|(number, (logical, scale, array))| {
            let metadata = [("logicalType", (*logical).to_owned()), ("scale", scale.to_string())]
                .map(|(k, v)| (k.to_owned(), v));
            Field::new(format!("C{number}"), array.data_type().clone(), true)
                .with_metadata(HashMap::from(metadata))
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let arrays = columns.iter().map(|(_, _, array)| Arc::clone(array)).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        writer.write(&batch).unwrap();
        BASE64_STANDARD.encode(writer.into_inner().unwrap())
    }

    fn written(columns: &[(&str, u32, ArrayRef)]) -> Result<Value> {
        let data = json!({ "queryResultFormat": "arrow", "rowsetBase64": stream(columns), "total": 2 });
        let mut reply = json!({ "data": data, "success": true });
        to_json(&mut reply)?;
        assert_eq!(
            (&reply["data"]["queryResultFormat"], &reply["data"]["total"]),
            (&json!("json"), &json!(2))
        );
        assert!(reply["data"].get("rowsetBase64").is_none());
        Ok(reply["data"]["rowset"].clone())
    }

    fn moments(fractions: [i32; 2], zones: Option<[i32; 2]>) -> ArrayRef {
        let mut parts: Vec<(&str, ArrayRef)> = vec![
            ("epoch", Arc::new(Int64Array::from(vec![1_640_995_200, -1]))),
            ("fraction", Arc::new(Int32Array::from(fractions.to_vec()))),
        ];
        if let Some(zones) = zones {
            parts.push(("timezone", Arc::new(Int32Array::from(zones.to_vec()))));
        }
        let parts = parts
            .into_iter()
            .map(|(name, array)| (Arc::new(Field::new(name, array.data_type().clone(), false)), array));
        Arc::new(StructArray::from(parts.collect::<Vec<_>>()))
    }

    #[test]
    fn every_type_is_written_as_drivers_read_it() {
        let decimals =
            Decimal128Array::from(vec![Some(125), Some(-5)]).with_precision_and_scale(10, 2).unwrap();
        let columns: Vec<(&str, u32, ArrayRef, [Option<&str>; 2])> = vec![
            (
                "FIXED",
                0,
                Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
                [Some("-9223372036854775808"), None],
            ),
            ("FIXED", 1, Arc::new(Int8Array::from(vec![5, -12])), [Some("0.5"), Some("-1.2")]),
            ("FIXED", 2, Arc::new(decimals), [Some("1.25"), Some("-0.05")]),
            ("REAL", 0, Arc::new(Float64Array::from(vec![0.5, 1e300])), [Some("0.5"), Some("1e300")]),
            ("TEXT", 0, Arc::new(StringArray::from(vec![Some("a\"é"), None])), [Some("a\"é"), None]),
            ("VARIANT", 0, Arc::new(StringArray::from(vec!["{}", "[1]"])), [Some("{}"), Some("[1]")]),
            ("BOOLEAN", 0, Arc::new(BooleanArray::from(vec![true, false])), [Some("1"), Some("0")]),
            ("DATE", 0, Arc::new(Date32Array::from(vec![19_000, -1])), [Some("19000"), Some("-1")]),
            (
                "TIME",
                9,
                Arc::new(Int64Array::from(vec![1, 45_296_000_000_000])),
                [Some("0.000000001"), Some("45296.000000000")],
            ),
            (
                "TIMESTAMP_NTZ",
                9,
                moments([123_456_789, 500_000_000], None),
                [Some("1640995200.123456789"), Some("-0.500000000")],
            ),
            ("TIMESTAMP_LTZ", 3, moments([123_456_789, 0], None), [Some("1640995200.123"), Some("-1.000")]),
            (
                "TIMESTAMP_TZ",
                0,
                moments([0, 0], Some([1440, 1980])),
                [Some("1640995200 1440"), Some("-1 1980")],
            ),
            ("BINARY", 0, Arc::new(BinaryArray::from(vec![&[0_u8, 255][..], &[]])), [Some("00FF"), Some("")]),
        ];
        for (logical, scale, array, expected) in columns {
            let rows = written(&[(logical, scale, array)]).unwrap();
            assert_eq!(rows, json!([[expected[0]], [expected[1]]]), "{logical}");
        }
    }

    #[test]
    fn rows_keep_their_columns_apart() {
        let (ids, names) = (Int64Array::from(vec![1, 2]), StringArray::from(vec![None, Some("b")]));
        let rows = written(&[("FIXED", 0, Arc::new(ids)), ("TEXT", 0, Arc::new(names))]).unwrap();
        assert_eq!(rows, json!([["1", null], ["2", "b"]]));
    }

    #[test]
    fn a_result_without_rows_has_an_empty_list() {
        let mut reply = json!({ "data": { "queryResultFormat": "arrow", "rowsetBase64": "" } });
        to_json(&mut reply).unwrap();
        assert_eq!(reply, json!({ "data": { "queryResultFormat": "json", "rowset": [] } }));
    }

    #[test]
    fn other_replies_are_left_alone() {
        for reply in
            [json!({ "data": null }), json!({ "data": { "queryResultFormat": "json", "rowset": [["1"]] } })]
        {
            let mut after = reply.clone();
            to_json(&mut after).unwrap();
            assert_eq!(after, reply);
        }
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let error = written(&[("DATE", 0, Arc::new(StringArray::from(vec!["x", "y"])))]).unwrap_err();
        assert_eq!(error.to_string(), "the lab does not write DATE in Utf8 as JSON");
        let mut reply = json!({ "data": { "queryResultFormat": "arrow", "rowsetBase64": "AAAA" } });
        assert!(to_json(&mut reply).is_err());
    }
}
