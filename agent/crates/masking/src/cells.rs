//! Masks over JSON cells.

use crate::{apply::MaskError, treatment::Treatment};

type Row = Vec<Option<String>>;

/// Rewrites the cells of the treated columns. Gives, per column, how many cells were not NULL before.
pub(crate) fn mask(mut rows: Vec<Row>, treatments: &[Treatment]) -> Result<(Vec<Row>, Vec<u64>), MaskError> {
    let mut changed = vec![0; treatments.len()];
    for (index, row) in rows.iter_mut().enumerate() {
        // A cell beyond the described columns would have no treatment, and still reach the client.
        if row.len() != treatments.len() {
            return Err(MaskError::RowWidth { row: index, cells: row.len(), columns: treatments.len() });
        }
        for ((cell, treatment), count) in row.iter_mut().zip(treatments).zip(&mut changed) {
            if *treatment != Treatment::Keep
                && let Some(value) = cell.take()
            {
                *cell = treatment.cell(value);
                *count += 1;
            }
        }
    }
    Ok((rows, changed))
}
