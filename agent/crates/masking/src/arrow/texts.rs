//! Columns of text and of JSON documents, as they are and through a dictionary.

use std::{borrow::Cow, sync::Arc};

use arrow_array::{
    Array, ArrayRef, GenericStringArray, OffsetSizeTrait, builder::GenericStringBuilder, cast::AsArray,
};
use arrow_schema::{ArrowError, DataType};

use super::Progress;
use crate::treatment::Treatment;

/// Whether a column holds texts, themselves or in a dictionary.
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => matches!(values.as_ref(), DataType::Utf8 | DataType::LargeUtf8),
        other => matches!(other, DataType::Utf8 | DataType::LargeUtf8),
    }
}

/// Masks every text. Of a dictionary the values are masked, each once, and the keys stay: rows that were the same are the same.
pub(super) fn masked(
    column: &ArrayRef,
    treatment: &Treatment,
    mut progress: Progress<'_>,
) -> Result<ArrayRef, ArrowError> {
    if let Some(text) = column.as_string_opt::<i32>() {
        return masked_texts(text, treatment, Some(&mut progress));
    }
    if let Some(text) = column.as_string_opt::<i64>() {
        return masked_texts(text, treatment, Some(&mut progress));
    }
    let dictionary = column.as_any_dictionary_opt().ok_or_else(|| no_text(column))?;
    let values = used_values(column)?;
    let values = match (values.as_string_opt::<i32>(), values.as_string_opt::<i64>()) {
        (Some(text), _) => masked_texts(text, treatment, None)?,
        (_, Some(text)) => masked_texts(text, treatment, None)?,
        _ => return Err(no_text(column)),
    };
    let masked = dictionary.with_values(values);
    // In which rows a part was found would take a look at each; that the column was masked is what is told.
    progress.note_all(column);
    Ok(masked)
}

/// The column itself; of a dictionary no value is left but those that its rows have. Two columns may share one, and the other
/// may be masked.
pub(crate) fn only_used(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.as_any_dictionary_opt() {
        None => Ok(Arc::clone(column)),
        Some(dictionary) => Ok(dictionary.with_values(used_values(column)?)),
    }
}

/// The values of a dictionary, without those that no row has.
fn used_values(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let dictionary = column.as_any_dictionary_opt().ok_or_else(|| no_text(column))?;
    let mut is_used = vec![false; dictionary.values().len()];
    // The keys of an empty dictionary cannot be looked at: all rows are NULL.
    let keys = if is_used.is_empty() { Vec::new() } else { dictionary.normalized_keys() };
    for (row, key) in keys.into_iter().enumerate() {
        if dictionary.keys().is_valid(row)
            && let Some(used) = is_used.get_mut(key)
        {
            *used = true;
        }
    }
    match (dictionary.values().as_string_opt::<i32>(), dictionary.values().as_string_opt::<i64>()) {
        (Some(text), _) => Ok(kept_texts(text, &is_used)),
        (_, Some(text)) => Ok(kept_texts(text, &is_used)),
        _ => Err(no_text(column)),
    }
}

fn kept_texts<O: OffsetSizeTrait>(text: &GenericStringArray<O>, is_kept: &[bool]) -> ArrayRef {
    let kept = text.iter().zip(is_kept).map(|(text, is_kept)| text.filter(|_| *is_kept));
    Arc::new(kept.collect::<GenericStringArray<O>>())
}

fn masked_texts<O: OffsetSizeTrait>(
    text: &GenericStringArray<O>,
    treatment: &Treatment,
    mut progress: Option<&mut Progress<'_>>,
) -> Result<ArrayRef, ArrowError> {
    let mut builder = GenericStringBuilder::<O>::with_capacity(text.len(), text.value_data().len());
    let mut scratch = String::new();
    let is_partial = treatment.is_partial();
    for (row, value) in text.iter().enumerate() {
        let Some(value) = value else {
            builder.append_null();
            continue;
        };
        scratch.clear();
        let masked = match treatment {
            Treatment::Text(mask) => mask.text(value, &mut scratch).map(|()| Cow::Borrowed(scratch.as_str())),
            other => other.cell(value).map(Cow::Owned),
        };
        if is_partial
            && masked.as_deref() != Some(value)
            && let Some(progress) = progress.as_deref_mut()
        {
            progress.report.mask(progress.row + row as u64);
        }
        push(&mut builder, masked.as_deref())?;
    }
    if let Some(progress) = progress {
        if is_partial {
            progress.report.nulls += text.null_count() as u64;
        } else {
            Progress { row: progress.row, report: progress.report }.note_all(text);
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// Appends a text, if there is still room for it: the builder would end the program.
pub(crate) fn push<O: OffsetSizeTrait>(
    builder: &mut GenericStringBuilder<O>,
    text: Option<&str>,
) -> Result<(), ArrowError> {
    let length = builder.values_slice().len() + text.map_or(0, str::len);
    if O::from_usize(length).is_none() {
        return Err(ArrowError::OffsetOverflowError(length));
    }
    builder.append_option(text);
    Ok(())
}

fn no_text(column: &ArrayRef) -> ArrowError {
    ArrowError::SchemaError(format!("a text column came as {}", column.data_type()))
}
