//! What masking did, column by column. No value is in it.

/// What was done with the cells of one column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ColumnReport {
    /// Cells that held a value and hold a mask now, or hold one in a part of it.
    pub cells: u64,
    /// Cells of a masked column that were NULL and are.
    pub nulls: u64,
    /// The first and the last of the rows whose cells were masked; `None` if there are none.
    pub rows: Option<RowSpan>,
}

/// Rows of one message by their positions in it, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowSpan {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl ColumnReport {
    /// Notes a masked cell. Rows come in order.
    pub(crate) fn mask(&mut self, row: u64) {
        self.mask_all(1, RowSpan { first: row, last: row });
    }

    /// Notes so many masked cells in these rows.
    pub(crate) fn mask_all(&mut self, cells: u64, rows: RowSpan) {
        self.cells += cells;
        self.rows = Some(RowSpan { first: self.rows.map_or(rows.first, |seen| seen.first), last: rows.last });
    }
}
