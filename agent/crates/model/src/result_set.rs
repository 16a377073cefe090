//! Rows of a result as they travel, with the columns that describe them.

use std::fmt;

/// One column, as Snowflake's `rowtype` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMeta {
    /// Name of the output column.
    pub name: String,
    /// Source database where the server says one, else empty.
    pub database: String,
    /// Source schema where the server says one, else empty.
    pub schema: String,
    /// Source table where the server says one, else empty.
    pub table: String,
    /// Snowflake's type word, lower case: `fixed`, `text`, `timestamp_ntz`, …
    pub type_name: String,
    /// Whether the server says a NULL may appear.
    pub nullable: bool,
}

/// The rows of one message. `Debug` shows how much there is, never what.
#[derive(Clone, PartialEq)]
pub enum Rows {
    /// `rowset`: rows of cells, each a text or NULL.
    Json(Vec<Vec<Option<String>>>),
    /// `rowset`, read through and counted, and left in its message: no cell of it can be changed.
    Counted(u64),
    /// `rowsetBase64`: one complete Arrow IPC stream, already decoded from base64; may be empty.
    ArrowIpc(Vec<u8>),
}

/// Columns and rows of one message.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultSet {
    /// In output order.
    pub columns: Vec<ColumnMeta>,
    /// In the server's order.
    pub rows: Rows,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(rows) => write!(f, "Json({} rows)", rows.len()),
            Self::Counted(rows) => write!(f, "Counted({rows} rows)"),
            Self::ArrowIpc(stream) => write!(f, "ArrowIpc({} bytes)", stream.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_do_not_print() {
        let rows = Rows::Json(vec![vec![Some("hunter2".to_owned())]]);
        assert_eq!(format!("{rows:?}"), "Json(1 rows)");
    }
}
