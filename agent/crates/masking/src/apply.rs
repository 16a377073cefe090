//! The door of the room: rows and a plan in, masked rows out, or an error and no rows.

use arrow_schema::ArrowError;
use model::{ResultSet, Rows};

use crate::{arrow, cells, mask::Mask, treatment::Treatment};

/// Why rows could not be masked. Whoever gets this must not pass on the rows.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    /// The plan is for another result.
    #[error("the masks are for {planned} columns and the result has {columns}")]
    PlanWidth {
        /// Columns of the plan.
        planned: usize,
        /// Columns of the result.
        columns: usize,
    },
    /// A JSON row does not fit the columns that describe it.
    #[error("row {row} of the result has {cells} cells for {columns} columns")]
    RowWidth {
        /// Its position, from 0.
        row: usize,
        /// Its cells.
        cells: usize,
        /// The columns.
        columns: usize,
    },
    /// The Arrow stream's schema does not fit the columns that describe it.
    #[error("the result's Arrow schema has {fields} fields for {columns} columns")]
    SchemaWidth {
        /// Its fields.
        fields: usize,
        /// The columns.
        columns: usize,
    },
    /// A column is encoded in a way Snowflake is not known to use, so that its bytes cannot be accounted for.
    #[error("column {column:?} of the result has the Arrow type {arrow_type}, which cannot be masked")]
    ArrowType {
        /// Name of the column.
        column: String,
        /// Arrow's word for the type.
        arrow_type: String,
    },
    /// The rows were left where they are.
    #[error("the result's rows were counted and not read, and a mask is owed for them")]
    Unread,
    /// The Arrow stream could not be read or written.
    #[error("the result's Arrow stream cannot be rewritten")]
    Arrow(#[source] ArrowError),
}

/// Masks a result by `plan`, one entry per column. Gives the masked result and, per column, the number of cells that
/// held a value and now hold a mask. A column in which NULL is written becomes nullable in the description.
///
/// With nothing to mask the rows come back as they were, byte for byte.
///
/// # Errors
/// When plan, columns and rows do not fit each other, or an Arrow stream holds what cannot be masked.
pub fn apply(result: ResultSet, plan: &[Option<Mask>]) -> Result<(ResultSet, Vec<u64>), MaskError> {
    let ResultSet { mut columns, rows } = result;
    if plan.len() != columns.len() {
        return Err(MaskError::PlanWidth { planned: plan.len(), columns: columns.len() });
    }
    if plan.iter().all(Option::is_none) {
        let untouched = vec![0; plan.len()];
        return Ok((ResultSet { columns, rows }, untouched));
    }
    let mut treatments: Vec<Treatment> =
        plan.iter().zip(&columns).map(|(mask, column)| Treatment::of(*mask, &column.type_name)).collect();
    let (rows, changed) = match rows {
        Rows::Json(rows) => {
            let (rows, changed) = cells::mask(rows, &treatments)?;
            (Rows::Json(rows), changed)
        }
        Rows::Counted(_) => return Err(MaskError::Unread),
        // No stream at all is how a result without rows may come.
        Rows::ArrowIpc(stream) if stream.is_empty() => (Rows::ArrowIpc(stream), vec![0; plan.len()]),
        Rows::ArrowIpc(stream) => {
            let (stream, changed) = arrow::mask(&stream, &mut treatments)?;
            (Rows::ArrowIpc(stream), changed)
        }
    };
    for (column, treatment) in columns.iter_mut().zip(&treatments) {
        column.nullable |= *treatment == Treatment::Null;
    }
    Ok((ResultSet { columns, rows }, changed))
}

/// How many rows there are.
///
/// # Errors
/// When an Arrow stream cannot be read.
pub fn count_rows(rows: &Rows) -> Result<u64, MaskError> {
    match rows {
        Rows::Json(rows) => Ok(rows.len() as u64),
        Rows::Counted(rows) => Ok(*rows),
        Rows::ArrowIpc(stream) if stream.is_empty() => Ok(0),
        Rows::ArrowIpc(stream) => arrow::count_rows(stream),
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
