//! Detectors over the texts of a result: the second net, for values that no tag told of.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, GenericStringArray, OffsetSizeTrait, RecordBatch, builder::GenericStringBuilder,
    cast::AsArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Schema};
use model::{ResultSet, Rows};

use crate::{
    Detector, Mask, MaskError, arrow, frames, kind::Kind, lenient, report::ColumnReport, treatment::Treatment,
};

/// What is looked for in a column, and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// What is looked for.
    pub detector: Detector,
    /// Every so-manieth row is looked at, from the first; 0 is none.
    pub every: u64,
    /// At most so many cells of the column are looked at.
    pub cells_max: u64,
    /// The mask of a cell in which it is found; none if it is only told.
    pub mask: Option<Mask>,
}

/// What was found in a column. The values are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub detector: Detector,
    /// The column's position.
    pub column: usize,
    /// In how many rows.
    pub rows: u64,
    /// How many cells were looked at.
    pub looked: u64,
    /// How many held a value and were not looked at, because of the sampling or the budget.
    pub passed: u64,
    /// Whether the cells in which it was found are masked.
    pub masked: bool,
}

/// What came of watching.
#[derive(Debug)]
pub struct Watched {
    /// The result, masked where a watch has a mask and found something.
    pub result: ResultSet,
    /// For each watch that found something what it found.
    pub findings: Vec<Finding>,
    /// For each column what was masked in it.
    pub columns: Vec<ColumnReport>,
}

/// Looks for what the watches of each column say, in columns of text and of documents. Watches of other columns find nothing.
/// Where nothing is masked, the rows come back as they were, byte for byte.
///
/// # Errors
/// When watches, columns and rows do not fit each other, a key is missing, or an Arrow stream cannot be read.
pub fn watch(result: ResultSet, watches: &[Vec<Watch>]) -> Result<Watched, MaskError> {
    let ResultSet { mut columns, rows } = result;
    if watches.len() != columns.len() {
        return Err(MaskError::PlanWidth { planned: watches.len(), columns: columns.len() });
    }
    let masks = || watches.iter().flatten().filter_map(|watch| watch.mask.as_ref());
    if let Some(missing) = masks().flat_map(Mask::keys).find(|key| !key.is_known()) {
        return Err(MaskError::NoKey { name: missing.name().to_owned() });
    }
    let guards = watches.iter().zip(&columns).enumerate();
    let mut guards: Vec<Guard<'_>> =
        guards.map(|(at, (watches, column))| Guard::new(at, watches, &column.type_name)).collect();
    let rows = match rows {
        rows if !guards.iter().any(Guard::is_awake) => rows,
        Rows::Json(rows) => Rows::Json(watch_cells(rows, &mut guards)?),
        Rows::ArrowIpc(stream) if stream.is_empty() => Rows::ArrowIpc(stream),
        Rows::ArrowIpc(stream) => Rows::ArrowIpc(frames::read(|| watch_stream(stream, &mut guards))?),
        Rows::Counted(_) => return Err(MaskError::Unread),
    };
    for (column, guard) in columns.iter_mut().zip(&guards) {
        column.nullable |= guard.made_nulls;
    }
    let reports = guards.iter().map(|guard| guard.report).collect();
    let findings =
        guards.iter().flat_map(|guard| &guard.seen).filter(|seen| seen.rows > 0).cloned().collect();
    Ok(Watched { result: ResultSet { columns, rows }, findings, columns: reports })
}

/// One column that is watched.
struct Guard<'w> {
    watches: &'w [Watch],
    /// For each watch what it saw so far, and how it masks.
    seen: Vec<Finding>,
    treatments: Vec<Option<Treatment>>,
    report: ColumnReport,
    made_nulls: bool,
}

impl<'w> Guard<'w> {
    fn new(column: usize, watches: &'w [Watch], type_name: &str) -> Self {
        let is_text = matches!(Kind::of(type_name), Kind::Text | Kind::Document);
        let watches = if is_text { watches } else { &[] };
        let finding = |watch: &Watch| Finding {
            detector: watch.detector,
            column,
            rows: 0,
            looked: 0,
            passed: 0,
            masked: watch.mask.is_some(),
        };
        let treatment = |watch: &Watch| watch.mask.as_ref().map(|mask| Treatment::of(Some(mask), type_name));
        Self {
            watches,
            seen: watches.iter().map(finding).collect(),
            treatments: watches.iter().map(treatment).collect(),
            report: ColumnReport::default(),
            made_nulls: false,
        }
    }

    fn is_awake(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Looks at a cell that is not NULL. What it becomes, if it is masked: `Some(None)` is NULL.
    fn look(&mut self, row: u64, text: &str) -> Option<Option<String>> {
        let mut found: Option<&Treatment> = None;
        for ((watch, seen), treatment) in self.watches.iter().zip(&mut self.seen).zip(&self.treatments) {
            let is_due = watch.every > 0 && row.is_multiple_of(watch.every) && seen.looked < watch.cells_max;
            if !is_due {
                seen.passed += 1;
                continue;
            }
            seen.looked += 1;
            if !watch.detector.finds(text) {
                continue;
            }
            seen.rows += 1;
            found = match (found, treatment) {
                (None, treatment) => treatment.as_ref(),
                // Two masks for one cell: nothing of it is shown.
                (Some(one), Some(other)) if one != other => Some(&Treatment::Null),
                (one, _) => one,
            };
        }
        let masked = found?.cell(text);
        self.report.mask(row);
        self.made_nulls |= masked.is_none();
        Some(masked)
    }
}

fn watch_cells(
    mut rows: Vec<Vec<Option<String>>>,
    guards: &mut [Guard<'_>],
) -> Result<Vec<Vec<Option<String>>>, MaskError> {
    for (index, row) in rows.iter_mut().enumerate() {
        if row.len() != guards.len() {
            return Err(MaskError::RowWidth { row: index, cells: row.len(), columns: guards.len() });
        }
        for (cell, guard) in row.iter_mut().zip(guards.iter_mut()).filter(|(_, guard)| guard.is_awake()) {
            if let Some(masked) = cell.as_deref().and_then(|text| guard.look(index as u64, text)) {
                *cell = masked;
            }
        }
    }
    Ok(rows)
}

/// The stream as it is, or another one if anything was masked.
fn watch_stream(stream: Vec<u8>, guards: &mut [Guard<'_>]) -> Result<Vec<u8>, MaskError> {
    let (schema, batches) = lenient::open(&stream)?;
    if schema.fields().len() != guards.len() {
        return Err(MaskError::SchemaWidth { fields: schema.fields().len(), columns: guards.len() });
    }
    let masks = guards.iter().any(|guard| guard.treatments.iter().any(Option::is_some));
    if masks {
        arrow::check_types(&schema)?;
    }
    let may_be_null = |(field, guard): (&Arc<arrow_schema::Field>, &Guard<'_>)| {
        let nullable = field.is_nullable() || guard.treatments.iter().any(Option::is_some);
        Arc::new(arrow_schema::Field::clone(field).with_nullable(nullable))
    };
    let fields: Vec<_> = schema.fields().iter().zip(guards.iter()).map(may_be_null).collect();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let mut masked = Vec::new();
    let mut writer = match masks {
        true => Some(StreamWriter::try_new(&mut masked, &schema)?),
        false => None,
    };
    let mut row = 0_u64;
    for batch in batches {
        let batch = batch?;
        let columns = watch_batch(&batch, guards, row)?;
        row = row.saturating_add(batch.num_rows() as u64);
        if let Some(writer) = &mut writer {
            let batch = arrow::as_batch(&schema, columns)?;
            writer.write(&batch)?;
        }
    }
    if let Some(mut writer) = writer {
        writer.finish()?;
    }
    Ok(if guards.iter().any(|guard| guard.report.cells > 0) { masked } else { stream })
}

fn watch_batch(batch: &RecordBatch, guards: &mut [Guard<'_>], row: u64) -> Result<Vec<ArrayRef>, ArrowError> {
    let watched = |(column, guard): (&ArrayRef, &mut Guard<'_>)| match column.data_type() {
        DataType::Utf8 if guard.is_awake() => watch_texts(column, column.as_string::<i32>(), guard, row),
        DataType::LargeUtf8 if guard.is_awake() => watch_texts(column, column.as_string::<i64>(), guard, row),
        _ => {
            // What is no plain text is not looked at; that is told where something was found beside it.
            let values = (column.len() - column.logical_null_count()) as u64;
            guard.seen.iter_mut().for_each(|seen| seen.passed += values);
            arrow::only_used(column)
        }
    };
    batch.columns().iter().zip(guards.iter_mut()).map(watched).collect()
}

fn watch_texts<O: OffsetSizeTrait>(
    column: &ArrayRef,
    texts: &GenericStringArray<O>,
    guard: &mut Guard<'_>,
    row: u64,
) -> Result<ArrayRef, ArrowError> {
    let mut masked: Vec<(usize, Option<String>)> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        if let Some(mask) = text.and_then(|text| guard.look(row + index as u64, text)) {
            masked.push((index, mask));
        }
    }
    if masked.is_empty() {
        return Ok(Arc::clone(column));
    }
    let mut masked = masked.into_iter().peekable();
    let mut builder = GenericStringBuilder::<O>::with_capacity(texts.len(), texts.value_data().len());
    for (index, text) in texts.iter().enumerate() {
        match masked.next_if(|(at, _)| *at == index) {
            Some((_, mask)) => arrow::push(&mut builder, mask.as_deref())?,
            None => arrow::push(&mut builder, text)?,
        }
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests;
