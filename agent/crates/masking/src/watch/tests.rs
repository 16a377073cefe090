//! Tests of what is found in results, and of what becomes of them.

use std::collections::HashMap;

use arrow_array::StringArray;
use arrow_ipc::reader::StreamReader;
use arrow_schema::Field;
use model::ColumnMeta;

use super::*;
use crate::{Key, RowSpan};

const ADDRESS: &str = "mail ann@example.org";

fn watches(detector: Detector, every: u64, cells_max: u64, mask: Option<Mask>) -> Vec<Watch> {
    vec![Watch { detector, every, cells_max, mask }]
}

fn column(type_name: &str) -> ColumnMeta {
    ColumnMeta {
        name: "C".to_owned(),
        database: String::new(),
        schema: String::new(),
        table: String::new(),
        type_name: type_name.to_owned(),
        nullable: false,
    }
}

/// The same texts in both formats.
fn results(type_name: &str, texts: &[Option<&str>]) -> [ResultSet; 2] {
    let rows = texts.iter().map(|text| vec![text.map(str::to_owned)]).collect();
    let metadata = HashMap::from([("logicalType".to_owned(), type_name.to_uppercase())]);
    let schema = Arc::new(Schema::new(vec![Field::new("C", DataType::Utf8, true).with_metadata(metadata)]));
    let array = Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![array]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let columns = || vec![column(type_name)];
    [
        ResultSet { columns: columns(), rows: Rows::Json(rows) },
        ResultSet { columns: columns(), rows: Rows::ArrowIpc(bytes) },
    ]
}

fn cells(result: &ResultSet) -> Vec<Option<String>> {
    match &result.rows {
        Rows::Json(rows) => rows.iter().flatten().cloned().collect(),
        Rows::ArrowIpc(stream) => {
            let batch = StreamReader::try_new(&stream[..], None).unwrap().next().unwrap().unwrap();
            batch.column(0).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
        }
        Rows::Counted(_) => panic!("rows became a count"),
    }
}

#[test]
fn what_is_only_told_changes_no_byte() {
    let texts = [Some(ADDRESS), None, Some("open"), Some(ADDRESS)];
    for before in results("text", &texts) {
        let watched = watch(before.clone(), &[watches(Detector::Email, 1, 100, None)]).unwrap();
        assert_eq!(watched.result, before);
        let finding =
            Finding { detector: Detector::Email, column: 0, rows: 2, looked: 3, passed: 0, masked: false };
        assert_eq!(watched.findings, [finding]);
        assert_eq!(watched.columns, [ColumnReport::default()]);
        let nothing = watch(before.clone(), &[watches(Detector::Jwt, 1, 100, Some(Mask::Null))]).unwrap();
        assert_eq!((nothing.result, nothing.findings), (before, vec![]));
    }
}

#[test]
fn a_cell_in_which_something_is_found_is_masked_whole() {
    let texts = [Some("open"), None, Some(ADDRESS), Some("also open")];
    for (type_name, mask, expected) in [
        ("text", Mask::Partial { keep_last: 4 }, Some("****.org")),
        ("text", Mask::Null, None),
        ("variant", Mask::Partial { keep_last: 4 }, Some("\"****\"")),
    ] {
        for before in results(type_name, &texts) {
            let watched = watch(before, &[watches(Detector::Email, 1, 100, Some(mask.clone()))]).unwrap();
            let masked: Vec<_> =
                [Some("open"), None, expected, Some("also open")].map(|t| t.map(str::to_owned)).into();
            assert_eq!(cells(&watched.result), masked);
            assert_eq!(watched.result.columns[0].nullable, expected.is_none());
            let report = ColumnReport { cells: 1, nulls: 0, rows: Some(RowSpan { first: 2, last: 2 }) };
            assert_eq!(watched.columns, [report]);
            assert!(watched.findings[0].masked);
        }
    }
}

#[test]
fn sampling_and_budget_are_the_same_in_both_formats_and_each_time() {
    let texts = vec![Some(ADDRESS); 10];
    for (every, cells_max, rows, looked, passed) in
        [(1, 100, 10, 10, 0), (3, 100, 4, 4, 6), (1, 4, 4, 4, 6), (3, 2, 2, 2, 8)]
    {
        for before in results("text", &texts) {
            let watched = watch(before, &[watches(Detector::Email, every, cells_max, None)]).unwrap();
            let finding = &watched.findings[0];
            assert_eq!((finding.rows, finding.looked, finding.passed), (rows, looked, passed));
        }
    }
    for before in results("text", &texts) {
        assert!(watch(before, &[watches(Detector::Email, 0, 100, None)]).unwrap().findings.is_empty());
    }
}

#[test]
fn of_two_masks_for_one_cell_nothing_is_left() {
    let both = [
        watches(Detector::Email, 1, 9, Some(Mask::KeepDomain)),
        watches(Detector::Ssn, 1, 9, Some(Mask::Partial { keep_last: 4 })),
    ]
    .concat();
    for before in results("text", &[Some("ann@example.org"), Some("x@y.org 123-45-6789")]) {
        let watched = watch(before, std::slice::from_ref(&both)).unwrap();
        assert_eq!(cells(&watched.result), [Some("****@example.org".to_owned()), None]);
        assert_eq!(watched.findings.iter().map(|finding| finding.rows).collect::<Vec<_>>(), [2, 1]);
    }
}

#[test]
fn what_is_no_text_is_not_looked_at_and_what_does_not_fit_is_refused() {
    let [json, _] = results("fixed", &[Some(ADDRESS)]);
    let watch_all = [watches(Detector::Email, 1, 9, Some(Mask::Null))];
    assert_eq!(watch(json.clone(), &watch_all).unwrap().result, json);
    let [json, arrow] = results("text", &[Some(ADDRESS)]);
    assert!(matches!(watch(json, &[]), Err(MaskError::PlanWidth { columns: 1, .. })));
    let counted = ResultSet { columns: vec![column("text")], rows: Rows::Counted(3) };
    assert!(matches!(watch(counted, &watch_all), Err(MaskError::Unread)));
    let keyed = [watches(Detector::Email, 1, 9, Some(Mask::Hash(Key::named("k"))))];
    assert!(matches!(watch(arrow, &keyed), Err(MaskError::NoKey { .. })));
    let wide = ResultSet { columns: vec![column("text")], rows: Rows::Json(vec![vec![None, None]]) };
    assert!(matches!(watch(wide, &watch_all), Err(MaskError::RowWidth { cells: 2, .. })));
}
