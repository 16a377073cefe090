//! The door of the room: rows and a plan in, masked rows out, or an error and no rows.

use arrow_schema::ArrowError;
use model::{ResultSet, Rows};

use crate::{arrow, cells, mask::Mask, report::ColumnReport, treatment::Treatment};

/// Snowflake's word for a column of text.
const TEXT_TYPE: &str = "text";

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
    /// A mask needs a key of which nothing but the name is known.
    #[error(
        "a mask needs the key {name:?}, which was not read; [keys.{name}] in the classification says where it is"
    )]
    NoKey {
        /// Its name.
        name: String,
    },
    /// The rows were left where they are.
    #[error("the result's rows were counted and not read, and a mask is owed for them")]
    Unread,
    /// The Arrow stream could not be read or written.
    #[error("the result's Arrow stream cannot be rewritten")]
    Arrow(#[from] ArrowError),
}

/// Rows that were masked, and what was done.
#[derive(Debug)]
pub struct Applied {
    /// The masked result.
    pub result: ResultSet,
    /// For each column what was done with it.
    pub columns: Vec<ColumnReport>,
}

/// Masks a result by `plan`, one entry per column. A column in which NULL may be written becomes nullable in the description,
/// and one that is shown as text becomes a text there.
///
/// With nothing to mask the rows come back as they were, byte for byte.
///
/// # Errors
/// When plan, columns and rows do not fit each other, a key is missing, or an Arrow stream holds what cannot be masked.
pub fn apply(result: ResultSet, plan: &[Option<Mask>]) -> Result<Applied, MaskError> {
    let ResultSet { mut columns, rows } = result;
    if plan.len() != columns.len() {
        return Err(MaskError::PlanWidth { planned: plan.len(), columns: columns.len() });
    }
    if plan.iter().all(Option::is_none) {
        let untouched = vec![ColumnReport::default(); plan.len()];
        return Ok(Applied { result: ResultSet { columns, rows }, columns: untouched });
    }
    let keys = plan.iter().flatten().flat_map(Mask::keys);
    if let Some(missing) = keys.into_iter().find(|key| !key.is_known()) {
        return Err(MaskError::NoKey { name: missing.name().to_owned() });
    }
    let mut treatments: Vec<Treatment> = plan
        .iter()
        .zip(&columns)
        .map(|(mask, column)| Treatment::of(mask.as_ref(), &column.type_name))
        .collect();
    let (rows, reports) = match rows {
        Rows::Json(rows) => {
            let (rows, reports) = cells::mask(rows, &treatments)?;
            (Rows::Json(rows), reports)
        }
        Rows::Counted(_) => return Err(MaskError::Unread),
        // No stream at all is how a result without rows may come.
        Rows::ArrowIpc(stream) if stream.is_empty() => {
            (Rows::ArrowIpc(stream), vec![ColumnReport::default(); plan.len()])
        }
        Rows::ArrowIpc(stream) => {
            let (stream, reports) = arrow::mask(&stream, &mut treatments)?;
            (Rows::ArrowIpc(stream), reports)
        }
    };
    for (column, treatment) in columns.iter_mut().zip(&treatments) {
        column.nullable |= treatment.makes_nulls();
        if treatment.retypes() {
            TEXT_TYPE.clone_into(&mut column.type_name);
        }
    }
    Ok(Applied { result: ResultSet { columns, rows }, columns: reports })
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
mod tests;
