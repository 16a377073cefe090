//! What is owed for the rows of a permitted statement, and the only way to rows that a client may get.

use std::sync::Arc;

use masking::{Applied, ColumnReport, MaskError, Watch, Watched};
use model::{ColumnMeta, Mode, QueryId, ResultSet};

use crate::plan::{Owed, Plan};

/// The right to clear the rows of one statement, once.
#[must_use]
#[derive(Debug)]
pub struct Clearance {
    query_id: QueryId,
    plan: Arc<Plan>,
    mode: Mode,
}

/// The right to clear the rows of one statement as often as they are read: Snowflake gives a result again to whoever
/// asks for it by its id, and each time the same is owed for it. Comes out of a [`Clearance`] alone.
#[must_use]
#[derive(Debug, Clone)]
pub struct StandingClearance {
    query_id: QueryId,
    plan: Arc<Plan>,
    mode: Mode,
}

/// Why rows could not be cleared. Whoever gets this has no rows to pass on.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    /// They could not be masked.
    #[error(transparent)]
    Mask(#[from] MaskError),
}

impl Clearance {
    pub(crate) fn new(query_id: QueryId, plan: Arc<Plan>, mode: Mode) -> Self {
        Self { query_id, plan, mode }
    }

    /// Trades it for one that stays good for every further reading of the same result.
    pub fn stand(self) -> StandingClearance {
        StandingClearance { query_id: self.query_id, plan: self.plan, mode: self.mode }
    }

    /// The statement whose rows these are.
    #[must_use]
    pub fn query_id(&self) -> QueryId {
        self.query_id
    }

    /// Whether rows could be owed any mask. If not, a result that cannot be decoded may be passed on.
    #[must_use]
    pub fn may_mask(&self) -> bool {
        self.plan.may_mask()
    }

    /// Masks the rows. In observe mode they stay as they are, and what would have been masked is listed.
    ///
    /// # Errors
    /// When the result cannot be masked; no row comes out then.
    pub fn clear(self, result: ResultSet) -> Result<Cleared, ClearError> {
        let owed = self.plan.masks(&result.columns);
        let names: Vec<String> = result.columns.iter().map(|column| column.name.clone()).collect();
        let plan: Vec<_> = owed
            .iter()
            .map(|owed| owed.as_ref().filter(|_| self.mode == Mode::Enforce).map(|owed| owed.mask.clone()))
            .collect();
        let watches = self.watches(&result.columns);
        let Applied { result, columns } = masking::apply(result, &plan)?;
        let Watched { result, findings, columns: watched } = masking::watch(result, &watches)?;
        let rows = masking::count_rows(&result.rows)?;
        let found = |finding: &masking::Finding| FoundValues {
            name: names.get(finding.column).cloned().unwrap_or_default(),
            detector: finding.detector.as_str(),
            rows: finding.rows,
            looked: finding.looked,
            passed: finding.passed,
            masked: finding.masked,
        };
        let found: Vec<FoundValues> = findings.iter().map(found).collect();
        let by_detectors = findings.iter().filter_map(|finding| {
            let watch =
                watches.get(finding.column)?.iter().find(|watch| watch.detector == finding.detector)?;
            let report = watched.get(finding.column)?;
            let report = ColumnReport { cells: finding.rows, ..*report };
            Some(MaskedColumn::new(names.get(finding.column)?, watch.mask.as_ref()?.name(), report))
        });
        let by_detectors: Vec<MaskedColumn> = by_detectors.collect();
        let by_tags = owed
            .into_iter()
            .zip(&names)
            .zip(columns)
            .filter_map(|((owed, name), report)| owed.map(|owed| (owed, name, report)))
            .map(|(owed, name, report)| masked_column(owed, name, report));
        let masked = by_tags.chain(by_detectors).collect();
        Ok(Cleared { result, masked, found, rows, mode: self.mode })
    }

    /// What is looked for. In observe mode nothing of it is masked.
    fn watches(&self, columns: &[ColumnMeta]) -> Vec<Vec<Watch>> {
        let mut watches = self.plan.watches(columns);
        if self.mode == Mode::Observe {
            watches.iter_mut().flatten().for_each(|watch| watch.mask = None);
        }
        watches
    }
}

impl StandingClearance {
    /// The statement whose rows these are.
    #[must_use]
    pub fn query_id(&self) -> QueryId {
        self.query_id
    }

    /// Whether a mask is owed for any of these columns, or something is looked for in one. Only then must their rows be read.
    #[must_use]
    pub fn owes_masks(&self, columns: &[ColumnMeta]) -> bool {
        self.plan.masks(columns).iter().any(Option::is_some) || self.is_watched(columns)
    }

    /// Says that nothing is owed for rows of these columns, if that is so: they may be passed on as they come.
    #[must_use]
    pub fn untouched(&self, columns: &[ColumnMeta]) -> Option<Untouched> {
        (!self.owes_masks(columns)).then_some(Untouched { query_id: self.query_id })
    }

    /// The same, and also where masks are owed and only listed, because the mode is to observe. What is looked for is looked
    /// for in both modes.
    #[must_use]
    pub fn unchanged(&self, columns: &[ColumnMeta]) -> Option<Untouched> {
        match self.mode {
            Mode::Observe if !self.is_watched(columns) => Some(Untouched { query_id: self.query_id }),
            Mode::Observe | Mode::Enforce => self.untouched(columns),
        }
    }

    fn is_watched(&self, columns: &[ColumnMeta]) -> bool {
        self.plan.watches(columns).iter().any(|watches| !watches.is_empty())
    }

    /// What is owed for rows of these columns, with no cell counted.
    #[must_use]
    pub fn owed(&self, columns: &[ColumnMeta]) -> Vec<MaskedColumn> {
        let owed = self.plan.masks(columns).into_iter().zip(columns);
        owed.filter_map(|(owed, column)| Some(masked_column(owed?, &column.name, ColumnReport::default())))
            .collect()
    }

    /// The clearance for one reading.
    pub fn once(&self) -> Clearance {
        Clearance { query_id: self.query_id, plan: Arc::clone(&self.plan), mode: self.mode }
    }
}

fn masked_column(owed: Owed, name: &str, report: ColumnReport) -> MaskedColumn {
    let tags = owed.tags.into_iter().collect();
    MaskedColumn { tags, ..MaskedColumn::new(name, owed.mask.name(), report) }
}

/// The rows of a result may pass as they come: no mask is owed for them, or none is applied. Its columns were looked at
/// before its rows were there. Made by [`StandingClearance::untouched`] and [`StandingClearance::unchanged`] alone.
#[must_use]
#[derive(Debug)]
pub struct Untouched {
    query_id: QueryId,
}

impl Untouched {
    /// The statement whose rows these are.
    #[must_use]
    pub fn query_id(&self) -> QueryId {
        self.query_id
    }
}

/// A column that was masked, or would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedColumn {
    /// Name of the output column.
    pub name: String,
    /// The tags that asked for it, sorted. None where a detector did.
    pub tags: Vec<String>,
    /// The mask's name: `null`, `partial`, `keep-domain`, …
    pub mask: &'static str,
    /// Cells that held a value and hold a mask now; 0 in observe mode, which changes none.
    pub cells: u64,
    /// Cells that were NULL and are.
    pub nulls: u64,
    /// The first and the last of the rows with such cells, by their positions in this message; `None` if there are none.
    pub rows: Option<(u64, u64)>,
}

impl MaskedColumn {
    fn new(name: &str, mask: &'static str, report: ColumnReport) -> Self {
        let ColumnReport { cells, nulls, rows } = report;
        let rows = rows.map(|rows| (rows.first, rows.last));
        Self { name: name.to_owned(), tags: Vec::new(), mask, cells, nulls, rows }
    }
}

/// Values that were found where no tag told of them. They are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundValues {
    /// Name of the output column.
    pub name: String,
    /// What was found: `email`, `card`, …
    pub detector: &'static str,
    /// In how many rows.
    pub rows: u64,
    /// How many cells of the column were looked at.
    pub looked: u64,
    /// How many were not, because of the sampling or the budget.
    pub passed: u64,
    /// Whether those cells are masked.
    pub masked: bool,
}

/// Rows that a client may get.
#[must_use]
#[derive(Debug)]
pub struct Cleared {
    result: ResultSet,
    masked: Vec<MaskedColumn>,
    found: Vec<FoundValues>,
    rows: u64,
    mode: Mode,
}

impl Cleared {
    /// What was found by detectors, masked or not.
    #[must_use]
    pub fn found(&self) -> &[FoundValues] {
        &self.found
    }

    /// What was masked, in the order of the columns.
    #[must_use]
    pub fn masked(&self) -> &[MaskedColumn] {
        &self.masked
    }

    /// Whether the masks were applied. In observe mode they are only listed.
    #[must_use]
    pub fn is_enforced(&self) -> bool {
        self.mode == Mode::Enforce
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The result itself, for the client.
    #[must_use]
    pub fn into_result(self) -> ResultSet {
        self.result
    }
}
