//! Rows as the SQL API writes them (`jsonv2`): as JSON rows for drivers, but for booleans, which are words here.
//! Source: Snowflake documentation, "Handling responses", how each type is written.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::internet::snowflake::rows;

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
    pub(super) fn read(mut reply: Value, nulls_are_text: bool) -> Result<Self> {
        rows::to_json(&mut reply)?;
        let row_type = reply.pointer("/data/rowtype").and_then(Value::as_array).cloned().unwrap_or_default();
        let rows = reply.pointer("/data/rowset").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        let mut rows: Vec<Row> = serde_json::from_value(rows).context("the rows are not cells of text")?;
        for row in &mut rows {
            for (cell, meta) in row.iter_mut().zip(&row_type) {
                let is_boolean = meta.get("type").and_then(Value::as_str) == Some("boolean");
                match cell {
                    Some(digit) if is_boolean => *cell = Some((digit == "1").to_string()),
                    None if nulls_are_text => *cell = Some("null".to_owned()),
                    _ => {}
                }
            }
        }
        Ok(Self { row_type, rows })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply() -> Value {
        let row_type = json!([{ "name": "B", "type": "boolean" }, { "name": "N", "type": "fixed" }]);
        json!({ "data": { "rowtype": row_type, "rowset": [["1", "1"], ["0", null]], "queryResultFormat": "json" } })
    }

    #[test]
    fn booleans_are_words_and_null_is_what_was_asked_for() {
        let text = |text: &str| Some(text.to_owned());
        let rows = |nulls_are_text| Table::read(reply(), nulls_are_text).unwrap().rows;
        assert_eq!(rows(false), [[text("true"), text("1")], [text("false"), None]]);
        assert_eq!(rows(true), [[text("true"), text("1")], [text("false"), text("null")]]);
    }

    #[test]
    fn arrow_is_read_and_what_is_none_is_not() {
        let empty = json!({ "data": { "rowtype": [], "rowsetBase64": "", "queryResultFormat": "arrow" } });
        assert!(Table::read(empty, false).unwrap().rows.is_empty());
        let broken = json!({ "data": { "rowsetBase64": "%", "queryResultFormat": "arrow" } });
        assert!(Table::read(broken, false).is_err());
        assert!(Table::read(json!({ "data": { "rowset": [[1]] } }), false).is_err());
    }
}
