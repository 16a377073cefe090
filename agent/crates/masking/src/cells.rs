//! Masks over JSON cells.

use crate::{apply::MaskError, report::ColumnReport, treatment::Treatment};

type Row = Vec<Option<String>>;

/// Rewrites the cells of the treated columns.
pub(crate) fn mask(
    mut rows: Vec<Row>,
    treatments: &[Treatment],
) -> Result<(Vec<Row>, Vec<ColumnReport>), MaskError> {
    let mut reports = vec![ColumnReport::default(); treatments.len()];
    for (index, row) in rows.iter_mut().enumerate() {
        // A cell beyond the described columns would have no treatment, and still reach the client.
        if row.len() != treatments.len() {
            return Err(MaskError::RowWidth { row: index, cells: row.len(), columns: treatments.len() });
        }
        for ((cell, treatment), report) in row.iter_mut().zip(treatments).zip(&mut reports) {
            if *treatment == Treatment::Keep {
                continue;
            }
            match cell.take() {
                None => report.nulls += 1,
                Some(value) => {
                    *cell = treatment.cell(&value);
                    if !treatment.is_partial() || cell.as_ref() != Some(&value) {
                        report.mask(index as u64);
                    }
                }
            }
        }
    }
    Ok((rows, reports))
}
