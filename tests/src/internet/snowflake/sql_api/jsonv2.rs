//! Rows as the SQL API writes them (`jsonv2`): every cell a text or null. Made from fakesnow's, which are Arrow for a
//! query and JSON for the rest. Source: Snowflake documentation, "Handling responses", how each type is written.

use anyhow::{Context as _, Result, bail};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_ipc::reader::StreamReader;
use arrow_schema::DataType;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// The cells of one row.
pub(super) type Row = Vec<Option<String>>;

/// A whole result.
#[derive(Debug)]
pub(super) struct Table {
    /// The columns' descriptions, as in the reply to a driver.
    pub(super) row_type: Vec<Value>,
    pub(super) rows: Vec<Row>,
}

impl Table {
    /// Reads the reply to a driver. NULL becomes the text `null` where a client asked for that.
    pub(super) fn read(reply: &Value, nulls_are_text: bool) -> Result<Self> {
        let row_type = reply.pointer("/data/rowtype").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut rows = match (reply.pointer("/data/rowset"), reply.pointer("/data/rowsetBase64")) {
            (Some(rows), _) => {
                serde_json::from_value(rows.clone()).context("the rows are not cells of text")?
            }
            (None, Some(stream)) => arrow(stream.as_str().unwrap_or_default(), &row_type)?,
            (None, None) => Vec::new(),
        };
        if nulls_are_text {
            for cell in rows.iter_mut().flatten() {
                cell.get_or_insert_with(|| "null".to_owned());
            }
        }
        Ok(Self { row_type, rows })
    }
}

fn arrow(stream: &str, row_type: &[Value]) -> Result<Vec<Row>> {
    let stream = BASE64_STANDARD.decode(stream).context("the stream is not base64")?;
    let mut rows = Vec::new();
    if stream.is_empty() {
        return Ok(rows);
    }
    for batch in StreamReader::try_new(stream.as_slice(), None)? {
        let batch = batch?;
        let columns = batch.columns().iter().zip(row_type);
        let columns: Vec<Row> = columns.map(|(column, meta)| cells(column, meta)).collect::<Result<_>>()?;
        let cell = |column: &Row, at: usize| column.get(at).cloned().flatten();
        rows.extend(
            (0..batch.num_rows()).map(|at| columns.iter().map(|column| cell(column, at)).collect::<Row>()),
        );
    }
    Ok(rows)
}

/// All cells of a column.
fn cells(column: &ArrayRef, meta: &Value) -> Result<Row> {
    let write = writer(column, meta)?;
    Ok((0..column.len()).map(|at| column.is_valid(at).then(|| write(at))).collect())
}

/// What writes a cell of a column.
fn writer<'a>(column: &'a ArrayRef, meta: &Value) -> Result<Box<dyn Fn(usize) -> String + 'a>> {
    let kind = meta.get("type").and_then(Value::as_str).unwrap_or_default();
    let scale = meta.get("scale").and_then(Value::as_u64).unwrap_or_default();
    let scale = usize::try_from(scale).unwrap_or_default();
    Ok(match (column.data_type(), kind) {
        (DataType::Utf8, _) => Box::new(|at| column.as_string::<i32>().value(at).to_owned()),
        (DataType::LargeUtf8, _) => Box::new(|at| column.as_string::<i64>().value(at).to_owned()),
        (DataType::Boolean, _) => Box::new(|at| column.as_boolean().value(at).to_string()),
        (DataType::Float64, _) => Box::new(|at| column.as_primitive::<Float64Type>().value(at).to_string()),
        (DataType::Date32, _) => Box::new(|at| column.as_primitive::<Date32Type>().value(at).to_string()),
        (DataType::Binary, _) => Box::new(|at| hex(column.as_binary::<i32>().value(at))),
        (DataType::Int8, _) => Box::new(|at| column.as_primitive::<Int8Type>().value(at).to_string()),
        (DataType::Int16, _) => Box::new(|at| column.as_primitive::<Int16Type>().value(at).to_string()),
        (DataType::Int32, _) => Box::new(|at| column.as_primitive::<Int32Type>().value(at).to_string()),
        (DataType::Int64, "time") => Box::new(|at| {
            let nanos = column.as_primitive::<Int64Type>().value(at);
            decimal(i128::from(nanos), 9)
        }),
        (DataType::Int64, _) => Box::new(|at| column.as_primitive::<Int64Type>().value(at).to_string()),
        (DataType::Decimal128(_, _), _) => {
            Box::new(move |at| decimal(column.as_primitive::<Decimal128Type>().value(at), scale))
        }
        (DataType::Struct(_), kind) if kind.starts_with("timestamp") => timestamps(column)?,
        (other, kind) => bail!("a {kind} column is {other} here"),
    })
}

/// Seconds and nanoseconds since 1970, and the zone in minutes after UTC-24:00 where there is one.
fn timestamps(column: &ArrayRef) -> Result<Box<dyn Fn(usize) -> String + '_>> {
    let parts = column.as_struct();
    let part = |name| parts.column_by_name(name).with_context(|| format!("a timestamp has no {name}"));
    let (epoch, fraction) = (part("epoch")?, part("fraction")?);
    let zone = parts.column_by_name("timezone");
    Ok(Box::new(move |at| {
        let seconds = epoch.as_primitive::<Int64Type>().value(at);
        let nanos = fraction.as_primitive::<Int32Type>().value(at);
        let moment = decimal(i128::from(seconds) * 1_000_000_000 + i128::from(nanos), 9);
        match zone {
            Some(zone) => format!("{moment} {}", zone.as_primitive::<Int32Type>().value(at)),
            None => moment,
        }
    }))
}

/// A whole number of parts of `10^-scale`.
fn decimal(value: i128, scale: usize) -> String {
    if scale == 0 {
        return value.to_string();
    }
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{part}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BooleanArray, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
    };
    use arrow_ipc::writer::StreamWriter;
    use arrow_schema::{Field, Schema};
    use serde_json::json;

    use super::*;

    fn timestamp() -> StructArray {
        let field = |name, kind| Arc::new(Field::new(name, kind, false));
        let part = |name, array: ArrayRef| (field(name, array.data_type().clone()), array);
        StructArray::from(vec![
            part("epoch", Arc::new(Int64Array::from(vec![1_616_173_619, -2]))),
            part("fraction", Arc::new(Int32Array::from(vec![5, 500_000_000]))),
            part("timezone", Arc::new(Int32Array::from(vec![960, 1_440]))),
        ])
    }

    fn reply(columns: Vec<(&str, ArrayRef)>) -> Value {
        let fields: Vec<_> =
            columns.iter().map(|(kind, a)| Field::new(*kind, a.data_type().clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let row_type: Vec<_> =
            columns.iter().map(|(kind, _)| json!({ "name": kind, "type": kind, "scale": 2 })).collect();
        let batch =
            RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, a)| a).collect()).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        writer.write(&batch).unwrap();
        let stream = BASE64_STANDARD.encode(writer.into_inner().unwrap());
        json!({ "data": { "rowtype": row_type, "rowsetBase64": stream } })
    }

    #[test]
    fn every_type_is_written_as_snowflake_does() {
        let amounts = Decimal128Array::from(vec![Some(-5), None]).with_precision_and_scale(9, 2).unwrap();
        let reply = reply(vec![
            ("text", Arc::new(StringArray::from(vec![Some("a"), None]))),
            ("fixed", Arc::new(amounts)),
            ("boolean", Arc::new(BooleanArray::from(vec![true, false]))),
            ("time", Arc::new(Int64Array::from(vec![82_919_000_000_000, 1]))),
            ("timestamp_tz", Arc::new(timestamp())),
        ]);
        let expected = [
            vec!["a", "-0.05", "true", "82919.000000000", "1616173619.000000005 960"],
            vec!["null", "null", "false", "0.000000001", "-1.500000000 1440"],
        ];
        let rows = Table::read(&reply, true).unwrap().rows;
        let text = |row: &Row| row.iter().map(|cell| cell.clone().unwrap()).collect::<Vec<_>>();
        assert_eq!(rows.iter().map(text).collect::<Vec<_>>(), expected);
        assert_eq!(Table::read(&reply, false).unwrap().rows[1][..2], [None, None]);
    }

    #[test]
    fn rows_that_are_json_already_are_taken_as_they_are() {
        let reply = json!({ "data": { "rowtype": [{ "name": "n" }], "rowset": [["1"], [null]] } });
        let table = Table::read(&reply, false).unwrap();
        assert_eq!((table.row_type.len(), table.rows), (1, vec![vec![Some("1".to_owned())], vec![None]]));
    }

    #[test]
    fn an_empty_result_has_no_rows() {
        let reply = json!({ "data": { "rowtype": [], "rowsetBase64": "" } });
        assert!(Table::read(&reply, false).unwrap().rows.is_empty());
        assert!(Table::read(&json!({ "data": { "rowsetBase64": "%" } }), false).is_err());
    }
}
