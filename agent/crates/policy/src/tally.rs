//! What was done to a part of a result that is cleared piece by piece, as one account of the whole part.

use model::ColumnMeta;

use crate::clearance::{Cleared, FoundValues, MaskedColumn, StandingClearance};

/// Rows that were cleared one batch after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub rows: u64,
    /// The columns that were masked, or would have been. Positions count over all batches.
    pub masked: Vec<MaskedColumn>,
    /// What was found where no tag told of it.
    pub found: Vec<FoundValues>,
}

impl Tally {
    /// That of rows of these columns before the first of them was seen: what is owed is listed, and no cell is counted.
    #[must_use]
    pub fn of(clearance: &StandingClearance, columns: &[ColumnMeta]) -> Self {
        Self { masked: clearance.owed(columns), ..Self::default() }
    }

    /// Adds the next batch.
    pub fn add(&mut self, batch: &Cleared) {
        // What tags ask for comes first, column by column, and is the same in each batch. What detectors masked is not.
        let mut owed = self.masked.iter_mut();
        let (by_tags, by_detectors) =
            batch.masked().iter().partition::<Vec<_>, _>(|more| !more.tags.is_empty());
        for (sum, more) in owed.by_ref().zip(by_tags) {
            add_column(sum, more, self.rows);
        }
        for more in by_detectors {
            match self.masked.iter_mut().find(|sum| is_same(sum, more)) {
                Some(sum) => add_column(sum, more, self.rows),
                None => self.masked.push(MaskedColumn { rows: later(more, self.rows), ..more.clone() }),
            }
        }
        for more in batch.found() {
            match self.found.iter_mut().find(|sum| (&sum.name, sum.detector) == (&more.name, more.detector)) {
                Some(sum) => add_found(sum, more),
                None => self.found.push(more.clone()),
            }
        }
        self.rows += batch.rows();
    }
}

fn is_same(one: &MaskedColumn, other: &MaskedColumn) -> bool {
    (&one.name, &one.tags, one.mask) == (&other.name, &other.tags, other.mask)
}

fn add_column(sum: &mut MaskedColumn, more: &MaskedColumn, rows_before: u64) {
    sum.cells += more.cells;
    sum.nulls += more.nulls;
    sum.rows = match (sum.rows, later(more, rows_before)) {
        (Some((first, _)), Some((_, last))) => Some((first, last)),
        (known, more) => known.or(more),
    };
}

fn add_found(sum: &mut FoundValues, more: &FoundValues) {
    sum.rows += more.rows;
    sum.looked += more.looked;
    sum.passed += more.passed;
    sum.masked |= more.masked;
}

/// A batch's rows, as they are counted over all batches.
fn later(column: &MaskedColumn, rows_before: u64) -> Option<(u64, u64)> {
    column.rows.map(|(first, last)| (first + rows_before, last + rows_before))
}
