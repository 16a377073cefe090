//! Tests of the whole room: what goes in holds canaries, and no byte of one may come out.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    FixedSizeListArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StringViewArray, StructArray,
    cast::AsArray,
    types::{Float32Type, Int32Type, Int64Type},
};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{DataType, Field, Fields, Schema};
use model::{ColumnMeta, ResultSet, Rows};

use super::{Applied, MaskError, count_rows};
use crate::{ColumnReport, Format, JsonPath, Key, Mask, RowSpan, Unit};

const CANARY: &str = "canary-7f3a9c";
const CANARY_NUMBER: i64 = 0x7f3a_9c51_d00d_feed;

fn column(name: &str, type_name: &str) -> ColumnMeta {
    ColumnMeta {
        name: name.to_owned(),
        database: String::new(),
        schema: String::new(),
        table: String::new(),
        type_name: type_name.to_owned(),
        nullable: false,
    }
}

/// The masked result, and how many cells of each column were masked.
fn apply(result: ResultSet, plan: &[Option<Mask>]) -> Result<(ResultSet, Vec<u64>), MaskError> {
    let Applied { result, columns } = super::apply(result, plan)?;
    Ok((result, columns.iter().map(|column| column.cells).collect()))
}

fn cell(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn json(type_names: &[&str], rows: Vec<Vec<Option<String>>>) -> ResultSet {
    ResultSet { columns: type_names.iter().map(|t| column(t, t)).collect(), rows: Rows::Json(rows) }
}

fn json_rows(result: ResultSet) -> Vec<Vec<Option<String>>> {
    match result.rows {
        Rows::Json(rows) => rows,
        _ => panic!("JSON rows became something else"),
    }
}

/// One column of an Arrow result: its `rowtype` word, Arrow's own metadata word, and the values.
type Sample = (&'static str, &'static str, ArrayRef);

fn arrow(samples: &[Sample], batches: usize) -> ResultSet {
    let field = |(index, (_, logical, array)): (usize, &Sample)| {
        let metadata = HashMap::from([
            ("logicalType".to_owned(), (*logical).to_owned()),
            ("scale".to_owned(), "0".to_owned()),
        ]);
        Field::new(format!("C{index}"), array.data_type().clone(), true).with_metadata(metadata)
    };
    let fields: Fields = samples.iter().enumerate().map(field).collect();
    let schema =
        Arc::new(Schema::new_with_metadata(fields, HashMap::from([("who".into(), "server".into())])));
    let arrays = samples.iter().map(|(_, _, array)| Arc::clone(array)).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &schema).unwrap();
    for _ in 0..batches {
        writer.write(&batch).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    let columns = samples.iter().map(|(type_name, ..)| column(type_name, type_name)).collect();
    ResultSet { columns, rows: Rows::ArrowIpc(stream) }
}

fn stream(result: &ResultSet) -> &[u8] {
    match &result.rows {
        Rows::ArrowIpc(stream) => stream,
        _ => panic!("Arrow rows became something else"),
    }
}

fn batches(result: &ResultSet) -> Vec<RecordBatch> {
    StreamReader::try_new(stream(result), None).unwrap().map(Result::unwrap).collect()
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Every type Snowflake sends, each holding a canary and a NULL.
fn every_type() -> Vec<Sample> {
    let text = || Arc::new(StringArray::from(vec![Some(CANARY), None, Some(CANARY)])) as ArrayRef;
    let numbers = || Int64Array::from(vec![Some(CANARY_NUMBER), None, Some(CANARY_NUMBER)]);
    let timestamp = StructArray::new(
        Fields::from(vec![
            Field::new("epoch", DataType::Int64, true),
            Field::new("fraction", DataType::Int32, false),
        ]),
        vec![Arc::new(numbers()), Arc::new(Int32Array::from(vec![1, 2, 3]))],
        numbers().nulls().cloned(),
    );
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(CANARY_NUMBER), None]),
        None,
        Some(vec![]),
    ]);
    let vector = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        [Some(vec![Some(1.5), Some(2.5)]), None, Some(vec![Some(0.5), Some(0.0)])],
        2,
    );
    let decimal = Decimal128Array::from(vec![Some(i128::from(CANARY_NUMBER)), None, Some(0)]);
    vec![
        ("text", "TEXT", text()),
        ("variant", "VARIANT", text()),
        ("object", "OBJECT", text()),
        ("array", "ARRAY", text()),
        ("geography", "GEOGRAPHY", text()),
        ("fixed", "FIXED", Arc::new(numbers())),
        ("fixed", "FIXED", Arc::new(decimal)),
        ("real", "REAL", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN)]))),
        ("boolean", "BOOLEAN", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("date", "DATE", Arc::new(Date32Array::from(vec![Some(19_000), None, Some(0)]))),
        ("timestamp_ntz", "TIMESTAMP_NTZ", Arc::new(timestamp)),
        ("binary", "BINARY", Arc::new(BinaryArray::from(vec![Some(CANARY.as_bytes()), None, Some(b"")]))),
        ("array", "ARRAY", Arc::new(list)),
        ("vector", "VECTOR", Arc::new(vector)),
    ]
}

#[test]
fn json_cells_are_masked_and_counted() {
    let rows = vec![
        vec![cell("1"), cell("ann@example.org"), cell("123-45-6789"), cell("[1]"), cell("12.5")],
        vec![cell("2"), None, cell(""), None, None],
    ];
    let result = json(&["fixed", "text", "text", "variant", "fixed"], rows);
    let partial = || Some(Mask::Partial { keep_last: 4 });
    let plan = [None, Some(Mask::KeepDomain), partial(), partial(), partial()];
    let (masked, changed) = apply(result, &plan).unwrap();
    let nullable: Vec<_> = masked.columns.iter().map(|c| c.nullable).collect();
    assert_eq!(nullable, [false, false, false, false, true], "only where NULL is written");
    assert_eq!(changed, [0, 1, 2, 1, 1]);
    assert_eq!(
        json_rows(masked),
        [
            vec![cell("1"), cell("****@example.org"), cell("****6789"), cell("\"****\""), None],
            vec![cell("2"), None, cell("****"), None, None],
        ]
    );
}

#[test]
fn a_plan_of_another_width_is_refused() {
    for plan in [&[][..], &[None], &[None, None, Some(Mask::Null)]] {
        let result = json(&["text", "text"], vec![vec![cell("a"), cell("b")]]);
        assert!(matches!(apply(result, plan), Err(MaskError::PlanWidth { columns: 2, .. })));
    }
}

#[test]
fn a_row_of_another_width_is_refused_and_no_row_comes_back() {
    for row in [vec![], vec![cell("a")], vec![cell("a"), cell("b"), cell(CANARY)]] {
        let result = json(&["text", "text"], vec![vec![cell("a"), cell("b")], row]);
        let error = apply(result, &[Some(Mask::Null), None]).unwrap_err();
        assert!(matches!(error, MaskError::RowWidth { row: 1, columns: 2, .. }));
        assert!(!error.to_string().contains(CANARY));
    }
}

#[test]
fn nothing_to_mask_leaves_every_byte() {
    let before = arrow(&every_type(), 2);
    let plan = vec![None; before.columns.len()];
    let (after, changed) = apply(before.clone(), &plan).unwrap();
    assert_eq!(after, before);
    assert_eq!(changed.iter().sum::<u64>(), 0);
    // Not even a stream that could not be read is touched: nothing is owed.
    let junk = ResultSet { columns: vec![column("C", "text")], rows: Rows::ArrowIpc(b"junk".to_vec()) };
    assert_eq!(apply(junk.clone(), &[None]).unwrap().0, junk);
}

#[test]
fn every_arrow_type_can_be_masked_and_leaves_no_byte_of_its_value() {
    for mask in [Mask::Null, Mask::Partial { keep_last: 3 }, Mask::KeepDomain] {
        let before = arrow(&every_type(), 2);
        assert!(holds(stream(&before), CANARY.as_bytes()));
        assert!(holds(stream(&before), &CANARY_NUMBER.to_le_bytes()));
        let plan = vec![Some(mask.clone()); before.columns.len()];
        let (after, changed) = apply(before.clone(), &plan).unwrap();
        assert!(!holds(stream(&after), CANARY.as_bytes()), "{mask:?}");
        assert!(!holds(stream(&after), &CANARY_NUMBER.to_le_bytes()), "{mask:?}");
        assert_eq!(changed, vec![4; before.columns.len()], "two values in each of two batches");
        assert_eq!(count_rows(&after.rows).unwrap(), 6);
        assert_eq!(batches(&after).len(), 2);
        for batch in batches(&after) {
            for (column, sample) in batch.columns().iter().zip(every_type()) {
                assert_eq!(column.data_type(), sample.2.data_type(), "the type stays");
            }
        }
    }
}

#[test]
fn arrow_text_goes_into_text_and_nulls_go_elsewhere() {
    let before = arrow(&every_type(), 1);
    let plan = vec![Some(Mask::Partial { keep_last: 2 }); before.columns.len()];
    let (after, _) = apply(before, &plan).unwrap();
    let batch = &batches(&after)[0];
    let texts = |index: usize| batch.column(index).as_string::<i32>().iter().collect::<Vec<_>>();
    assert_eq!(texts(0), [Some("****9c"), None, Some("****9c")]);
    for json_column in 1..=3 {
        assert_eq!(texts(json_column), [Some("\"****\""), None, Some("\"****\"")]);
    }
    for (index, column) in batch.columns().iter().enumerate().skip(4) {
        assert_eq!(column.null_count(), 3, "column {index}");
        assert!(after.columns[index].nullable && batch.schema().field(index).is_nullable(), "column {index}");
    }
    assert!(!after.columns[0].nullable);
}

#[test]
fn arrow_metadata_and_untouched_columns_stay() {
    let samples = every_type();
    let before = arrow(&samples, 1);
    for masked_column in 0..samples.len() {
        let mut plan = vec![None; samples.len()];
        plan[masked_column] = Some(Mask::Null);
        let (after, changed) = apply(before.clone(), &plan).unwrap();
        assert_eq!(changed.iter().sum::<u64>(), 2);
        let (old, new) = (&batches(&before)[0], &batches(&after)[0]);
        assert_eq!(old.schema().metadata(), new.schema().metadata());
        for index in 0..samples.len() {
            assert_eq!(old.schema().field(index).metadata(), new.schema().field(index).metadata());
            assert_eq!(index == masked_column, old.column(index) != new.column(index), "column {index}");
        }
    }
}

#[test]
fn text_masks_need_both_descriptions_to_say_text() {
    let text = || Arc::new(StringArray::from(vec![CANARY])) as ArrayRef;
    let number = Arc::new(Int32Array::from(vec![7])) as ArrayRef;
    for (type_name, logical, array) in [
        ("text", "FIXED", text()),
        ("fixed", "TEXT", text()),
        ("text", "VARIANT", text()),
        ("variant", "TEXT", text()),
        ("text", "", text()),
        ("text", "TEXT", number),
    ] {
        let (after, _) =
            apply(arrow(&[(type_name, logical, array)], 1), &[Some(Mask::Partial { keep_last: 9 })]).unwrap();
        assert_eq!(batches(&after)[0].column(0).null_count(), 1, "{type_name} {logical}");
        assert!(after.columns[0].nullable);
        assert!(!holds(stream(&after), CANARY.as_bytes()));
    }
}

#[test]
fn arrow_encodings_that_hide_bytes_are_refused() {
    let inner: DictionaryArray<Int32Type> = [CANARY, "b"].into_iter().collect();
    let field = Arc::new(Field::new("d", inner.data_type().clone(), true));
    let nested = StructArray::from(vec![(field, Arc::new(inner) as ArrayRef)]);
    let numbers = Int64Array::from(vec![CANARY_NUMBER, 1]);
    let of_numbers = DictionaryArray::<Int32Type>::new(Int32Array::from(vec![0, 1]), Arc::new(numbers));
    let plain = Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef;
    let views = StringViewArray::from(vec![CANARY, "b"]);
    for hidden in [Arc::new(nested) as ArrayRef, Arc::new(of_numbers), Arc::new(views)] {
        for plan in [[Some(Mask::Null), None], [None, Some(Mask::Null)]] {
            let result = arrow(&[("text", "TEXT", Arc::clone(&hidden)), ("text", "TEXT", plain.clone())], 1);
            let error = apply(result, &plan).unwrap_err();
            assert!(matches!(&error, MaskError::ArrowType { column, .. } if column == "C0"), "{error}");
        }
    }
}

#[test]
fn arrow_streams_that_do_not_fit_or_cannot_be_read_are_refused() {
    let whole = arrow(&every_type(), 1);
    let bytes = stream(&whole).to_vec();
    let masked = |stream: Vec<u8>| {
        let result = ResultSet { columns: whole.columns.clone(), rows: Rows::ArrowIpc(stream) };
        apply(result, &vec![Some(Mask::Null); whole.columns.len()])
    };
    assert!(matches!(masked(b"not arrow".to_vec()), Err(MaskError::Arrow(_))));
    for cut in (8..bytes.len() - 16).step_by(97) {
        if let Ok((after, _)) = masked(bytes[..cut].to_vec()) {
            // A cut between two messages reads as an early end of the stream.
            assert!(!holds(stream(&after), CANARY.as_bytes()));
            assert_eq!(count_rows(&after.rows).unwrap(), 0);
        }
    }
    let narrow = arrow(&every_type()[..2], 1);
    let result = ResultSet { columns: whole.columns.clone(), rows: narrow.rows };
    let error = apply(result, &vec![Some(Mask::Null); whole.columns.len()]).unwrap_err();
    assert!(matches!(error, MaskError::SchemaWidth { fields: 2, .. }));
}

#[test]
fn a_result_without_rows_stays_one() {
    let nothing = ResultSet { columns: vec![column("C", "text")], rows: Rows::ArrowIpc(Vec::new()) };
    let (after, changed) = apply(nothing, &[Some(Mask::Null)]).unwrap();
    assert_eq!((stream(&after).len(), changed), (0, vec![0]));
    assert_eq!(count_rows(&after.rows).unwrap(), 0);
    let empty = arrow(&every_type(), 0);
    let plan = vec![Some(Mask::Null); empty.columns.len()];
    let (after, _) = apply(empty, &plan).unwrap();
    assert_eq!(count_rows(&after.rows).unwrap(), 0);
    assert_eq!(StreamReader::try_new(stream(&after), None).unwrap().schema().fields().len(), plan.len());
}

#[test]
fn a_schema_that_promises_too_much_does_not_cost_the_result() {
    let number = |nullable| Field::new("epoch", DataType::Int64, nullable);
    let field = |nullable| Field::new("C0", DataType::Struct(vec![number(nullable)].into()), true);
    let (promised, kept) = (Schema::new(vec![field(false)]), Schema::new(vec![field(true)]));
    let epochs: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
    let times = StructArray::from(vec![(Arc::new(number(true)), epochs)]);
    let batch = RecordBatch::try_new(Arc::new(kept), vec![Arc::new(times.clone())]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &promised).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    assert!(
        StreamReader::try_new(&bytes[..], None).unwrap().next().unwrap().is_err(),
        "as such it is unreadable"
    );

    let (schema, mut opened) = crate::lenient::open(&bytes).unwrap();
    assert_eq!(*schema, promised);
    assert_eq!(opened.next().unwrap().unwrap().column(0).as_struct().column(0), times.column(0));

    let result = ResultSet { columns: vec![column("C0", "timestamp_ntz")], rows: Rows::ArrowIpc(bytes) };
    let (after, changed) = apply(result, &[Some(Mask::Null)]).unwrap();
    assert_eq!((changed, batches(&after)[0].column(0).null_count()), (vec![2], 2));
}

#[test]
fn bytes_after_the_end_of_a_stream_do_not_come_through() {
    let mut result = arrow(&every_type(), 1);
    if let Rows::ArrowIpc(stream) = &mut result.rows {
        stream.extend_from_slice(CANARY.as_bytes());
    }
    let plan = vec![Some(Mask::Null); result.columns.len()];
    let (after, _) = apply(result, &plan).unwrap();
    assert!(!holds(stream(&after), CANARY.as_bytes()));
}

#[test]
fn random_tables_keep_their_shape_and_lose_their_canaries() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % bound
    };
    let masks = [Mask::Null, Mask::Partial { keep_last: 4 }, Mask::KeepDomain];
    for _ in 0..200 {
        let (width, height) = (1 + next(6), next(20));
        let plan: Vec<Option<Mask>> =
            (0..width).map(|_| (next(2) == 0).then(|| masks[next(masks.len())].clone())).collect();
        let mut samples: Vec<Sample> = Vec::new();
        for mask in &plan {
            let secret = mask.is_some();
            let number = if secret { CANARY_NUMBER } else { 42 };
            let text = if secret { format!("{CANARY}{CANARY}") } else { "open".to_owned() };
            samples.push(match next(3) {
                0 => {
                    let cells = (0..height).map(|_| (next(3) > 0).then_some(text.as_str()));
                    ("text", "TEXT", Arc::new(cells.collect::<StringArray>()))
                }
                1 => {
                    let cells = (0..height).map(|_| (next(3) > 0).then_some(text.as_str()));
                    ("variant", "VARIANT", Arc::new(cells.collect::<StringArray>()))
                }
                _ => {
                    let cells = (0..height).map(|_| (next(3) > 0).then_some(number));
                    ("fixed", "FIXED", Arc::new(cells.collect::<Int64Array>()))
                }
            });
        }
        let batch_count = next(3);
        let before = arrow(&samples, batch_count);
        let rows = count_rows(&before.rows).unwrap();
        assert_eq!(rows, (height * batch_count) as u64);
        let (after, changed) = apply(before, &plan).unwrap();
        assert_eq!(count_rows(&after.rows).unwrap(), rows);
        assert!(!holds(stream(&after), CANARY.as_bytes()), "{plan:?}");
        assert!(!holds(stream(&after), &CANARY_NUMBER.to_le_bytes()), "{plan:?}");
        for ((count, mask), sample) in changed.iter().zip(&plan).zip(&samples) {
            let values = (sample.2.len() - sample.2.null_count()) * batch_count;
            assert_eq!(*count, if mask.is_some() { values as u64 } else { 0 });
        }
    }
}

#[test]
fn rows_that_were_only_counted_take_no_mask() {
    let result = ResultSet { columns: vec![column("C", "text")], rows: Rows::Counted(7) };
    assert!(matches!(apply(result.clone(), &[Some(Mask::Null)]), Err(MaskError::Unread)));
    assert_eq!(apply(result.clone(), &[None]).unwrap(), (result, vec![0]));
    assert_eq!(count_rows(&Rows::Counted(7)).unwrap(), 7);
}

mod hostile;
mod types;
