//! Masks that are more than text or NULL, type by type, in both formats.

use arrow_array::{
    MapArray,
    builder::{Int64Builder, MapBuilder, StringBuilder},
    types::Int8Type,
};

use super::*;

fn key() -> Key {
    Key::new("k", &[5; 32]).unwrap()
}

fn retyped(mask: Mask) -> Option<Mask> {
    Some(Mask::Retyped(Arc::new(mask)))
}

fn one_column(type_name: &str, cells: &[Option<&str>]) -> ResultSet {
    json(&[type_name], cells.iter().map(|cell| vec![cell.map(str::to_owned)]).collect())
}

/// An Arrow column with a scale, of which the schema says that there is no NULL in it.
fn scaled(type_name: &'static str, scale: &str, array: ArrayRef) -> ResultSet {
    let metadata = HashMap::from([
        ("logicalType".to_owned(), type_name.to_uppercase()),
        ("scale".to_owned(), scale.to_owned()),
        ("physicalType".to_owned(), "SB8".to_owned()),
    ]);
    let field = Field::new("C", array.data_type().clone(), true).with_metadata(metadata);
    let schema = Arc::new(Schema::new(vec![field.clone().with_nullable(false)]));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    ResultSet { columns: vec![column("C", type_name)], rows: Rows::ArrowIpc(bytes) }
}

fn timestamp(parts: &[(&str, ArrayRef)]) -> ArrayRef {
    let fields: Vec<Field> =
        parts.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = parts.iter().map(|(_, array)| Arc::clone(array)).collect();
    let nulls = parts.first().and_then(|(_, array)| array.nulls().cloned());
    Arc::new(StructArray::new(fields.into(), arrays, nulls))
}

/// One value of each type that has a text, with its column in Arrow and its cell in JSON.
fn values() -> Vec<(&'static str, &'static str, ArrayRef, &'static str)> {
    let big = |value| Arc::new(Int64Array::from(vec![Some(value), None])) as ArrayRef;
    let small = |value| Arc::new(Int32Array::from(vec![Some(value), None])) as ArrayRef;
    let tz = timestamp(&[
        ("epoch", big(1_643_760_000)),
        ("fraction", small(500_000_000)),
        ("timezone", small(1_980)),
    ]);
    let short_tz = timestamp(&[("epoch", big(1_643_760_000_500)), ("timezone", small(1_980))]);
    let ntz = timestamp(&[("epoch", big(-1)), ("fraction", small(500_000_000))]);
    let int8 = Arc::new(arrow_array::Int8Array::from(vec![Some(-7), None]));
    let wide = Arc::new(Decimal128Array::from(vec![Some(-12_345), None]));
    vec![
        ("fixed", "0", int8, "-7"),
        ("fixed", "2", big(150), "1.50"),
        ("fixed", "3", wide, "-12.345"),
        ("real", "0", Arc::new(Float64Array::from(vec![Some(1.5), None])), "1.5"),
        ("boolean", "0", Arc::new(BooleanArray::from(vec![Some(true), None])), "1"),
        ("date", "0", Arc::new(Date32Array::from(vec![Some(19_000), None])), "19000"),
        ("time", "3", small(36_672_500), "36672.500"),
        ("time", "9", big(36_672_500_000_000), "36672.500000000"),
        ("timestamp_ntz", "3", big(1_643_760_000_500), "1643760000.500"),
        ("timestamp_ltz", "9", ntz, "-0.500000000"),
        ("timestamp_tz", "9", tz, "1643760000.500000000 1980"),
        ("timestamp_tz", "3", short_tz, "1643760000.500 1980"),
        ("binary", "0", Arc::new(BinaryArray::from(vec![Some(&[0xCA, 0xFE][..]), None])), "CAFE"),
    ]
}

#[test]
fn a_retyped_column_is_text_in_all_that_describes_it_and_the_same_in_both_formats() {
    for (type_name, scale, array, cell) in values() {
        let plan = [retyped(Mask::Hash(key()))];
        let (as_arrow, changed) = apply(scaled(type_name, scale, array), &plan).unwrap();
        assert_eq!(changed, [1], "{type_name}");
        let (as_json, changed) = apply(one_column(type_name, &[Some(cell), None]), &plan).unwrap();
        assert_eq!(changed, [1], "{type_name}");
        for result in [&as_arrow, &as_json] {
            assert_eq!((result.columns[0].type_name.as_str(), result.columns[0].nullable), ("text", true));
        }
        let batch = &batches(&as_arrow)[0];
        let field = batch.schema().field(0).clone();
        assert_eq!((field.data_type(), field.is_nullable()), (&DataType::Utf8, true));
        let said = |key: &str| field.metadata().get(key).map(String::as_str);
        assert_eq!(said("logicalType"), Some("TEXT"));
        assert_eq!(
            (said("scale"), said("byteLength"), said("physicalType")),
            (Some("0"), Some("16777216"), Some("LOB"))
        );
        let texts: Vec<_> = batch.column(0).as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect();
        let cells: Vec<_> = json_rows(as_json).into_iter().flatten().collect();
        assert_eq!(texts, cells, "{type_name} {cell}");
        assert!(texts[0].as_ref().unwrap().starts_with("k:") && texts[1].is_none());
    }
}

#[test]
fn a_retyped_column_is_text_even_where_nothing_can_be_read() {
    let text = Arc::new(StringArray::from(vec![Some(CANARY), None])) as ArrayRef;
    let (after, _) = apply(scaled("fixed", "0", text), &[retyped(Mask::KeepDomain)]).unwrap();
    let batch = &batches(&after)[0];
    assert_eq!((batch.column(0).data_type(), batch.column(0).null_count()), (&DataType::Utf8, 2));
    let empty = ResultSet { columns: vec![column("C", "fixed")], rows: Rows::ArrowIpc(Vec::new()) };
    let (after, _) = apply(empty, &[retyped(Mask::KeepDomain)]).unwrap();
    assert_eq!(after.columns[0].type_name, "text", "the chunks to come will be text");
    let nothing = Arc::new(arrow_array::NullArray::new(3)) as ArrayRef;
    let error = apply(scaled("fixed", "0", nothing), &[retyped(Mask::KeepDomain)]).unwrap_err();
    assert!(error.to_string().contains("cannot be rewritten"));
}

#[test]
fn dates_are_cut_alike_in_both_formats() {
    for (type_name, scale, array, cell) in values() {
        let plan = [Some(Mask::Date(Unit::Month))];
        let (as_arrow, _) = apply(scaled(type_name, scale, Arc::clone(&array)), &plan).unwrap();
        let (as_json, _) = apply(one_column(type_name, &[Some(cell), None]), &plan).unwrap();
        let has_date = type_name.starts_with("timestamp") || matches!(type_name, "date" | "time");
        let cells: Vec<_> = json_rows(as_json).into_iter().flatten().collect();
        let masked = batches(&as_arrow)[0].column(0).clone();
        assert_eq!(masked.data_type(), array.data_type(), "{type_name}");
        assert_eq!(cells[0].is_some(), has_date, "{type_name}");
        assert_eq!(masked.logical_null_count(), if has_date { 1 } else { 2 }, "{type_name}");
        assert!(as_arrow.columns[0].nullable);
        if has_date {
            // The cut value, shown as text, is the cut cell shown as text.
            let shown = |result| {
                let (result, _) = apply(result, &[retyped(Mask::Partial { keep_last: 99 })]).unwrap();
                match &result.rows {
                    Rows::Json(rows) => rows[0][0].clone().unwrap(),
                    _ => batches(&result)[0].column(0).as_string::<i32>().value(0).to_owned(),
                }
            };
            let arrow_again = scaled(type_name, scale, masked);
            assert_eq!(
                shown(arrow_again),
                shown(one_column(type_name, &[cells[0].as_deref()])),
                "{type_name}"
            );
        }
    }
}

#[test]
fn nothing_of_a_cut_timestamp_is_left_behind_a_null() {
    let epochs = Int64Array::new(vec![CANARY_NUMBER, 5].into(), Some(vec![false, true].into()));
    let parts = timestamp(&[
        ("epoch", Arc::new(epochs)),
        ("fraction", Arc::new(Int32Array::from(vec![0x7f3a_9c51, 7]))),
    ]);
    let (after, _) = apply(scaled("timestamp_ntz", "9", parts), &[Some(Mask::Date(Unit::Year))]).unwrap();
    assert!(!holds(stream(&after), &CANARY_NUMBER.to_le_bytes()));
    assert!(!holds(stream(&after), &0x7f3a_9c51_i32.to_le_bytes()));
    let column = batches(&after)[0].column(0).clone();
    assert_eq!(
        (column.is_null(0), column.as_struct().column(0).as_primitive::<Int64Type>().value(1)),
        (true, 0)
    );
}

#[test]
fn keyed_masks_join_and_need_their_key() {
    let rows =
        vec![vec![cell("ann@example.org"), cell("ann@example.org")], vec![cell("bob@example.org"), None]];
    let plan = [Some(Mask::Hash(key())), Some(Mask::Hash(key()))];
    let (after, _) = apply(json(&["text", "text"], rows.clone()), &plan).unwrap();
    let after = json_rows(after);
    assert_eq!(after[0][0], after[0][1]);
    assert_ne!(after[0][0], after[1][0]);
    let unknown = [None, Some(Mask::Token(Format::Phone, Key::named("lost")))];
    let error = apply(json(&["text", "text"], rows), &unknown).unwrap_err();
    assert!(error.to_string().contains("[keys.lost]"), "{error}");
}

#[test]
fn dictionaries_are_masked_once_a_value_and_lose_what_no_row_has() {
    let shared: ArrayRef = Arc::new(StringArray::from(vec![CANARY, "open", "other-canary-77"]));
    let of = |keys: Vec<Option<i8>>| {
        Arc::new(DictionaryArray::<Int8Type>::new(keys.into(), Arc::clone(&shared))) as ArrayRef
    };
    let secret = of(vec![Some(0), None, Some(0), Some(2)]);
    let open = of(vec![Some(1), Some(1), None, Some(1)]);
    let before = arrow(&[("text", "TEXT", secret), ("text", "TEXT", open)], 2);
    assert!(holds(stream(&before), CANARY.as_bytes()));
    for (mask, expected) in [
        (Mask::Partial { keep_last: 2 }, [Some("****9c"), None, Some("****9c"), Some("****77")]),
        (Mask::Null, [None; 4]),
    ] {
        let (after, changed) = apply(before.clone(), &[Some(mask), None]).unwrap();
        assert_eq!(changed, [6, 0]);
        assert!(!holds(stream(&after), CANARY.as_bytes()) && !holds(stream(&after), b"other-canary"));
        for batch in batches(&after) {
            let texts = |at: usize| {
                let dictionary = batch.column(at).as_dictionary::<Int8Type>().clone();
                let values = dictionary.downcast_dict::<StringArray>().unwrap();
                values.into_iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
            };
            assert_eq!(texts(0), expected.map(|text| text.map(str::to_owned)));
            assert_eq!(
                texts(1),
                [Some("open"), Some("open"), None, Some("open")].map(|t| t.map(str::to_owned))
            );
        }
    }
}

#[test]
fn parts_of_documents_are_masked_in_both_formats_and_noted_where_they_were() {
    let path = JsonPath::parse("who.mail").unwrap();
    let plan = [Some(Mask::Within([(path, Mask::KeepDomain)].into()))];
    let documents = [
        Some(r#"{"a": 1}"#),
        None,
        Some(r#"{"who":{"mail":"ann@example.org"},"b":[1.50]}"#),
        Some("{broken"),
    ];
    let expected = [
        Some(r#"{"a": 1}"#),
        None,
        Some(r#"{"who":{"mail":"****@example.org"},"b":[1.50]}"#),
        Some("\"****\""),
    ];
    let report = ColumnReport { cells: 2, nulls: 1, rows: Some(RowSpan { first: 2, last: 3 }) };
    let as_json = super::super::apply(one_column("variant", &documents), &plan).unwrap();
    assert_eq!(as_json.columns, [report]);
    assert!(!as_json.result.columns[0].nullable);
    let cells: Vec<_> = json_rows(as_json.result).into_iter().flatten().collect();
    assert_eq!(cells.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);

    let column = Arc::new(StringArray::from(documents.to_vec())) as ArrayRef;
    let as_arrow = super::super::apply(arrow(&[("variant", "VARIANT", column)], 1), &plan).unwrap();
    assert_eq!(as_arrow.columns, [report]);
    assert_eq!(
        batches(&as_arrow.result)[0].column(0).as_string::<i32>().iter().collect::<Vec<_>>(),
        expected
    );
    // A document that is no text is hidden whole.
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(CANARY_NUMBER)])]);
    let (after, _) = apply(arrow(&[("array", "ARRAY", Arc::new(list))], 1), &plan).unwrap();
    assert_eq!(batches(&after)[0].column(0).null_count(), 1);
}

#[test]
fn a_report_says_which_rows() {
    let texts = Arc::new(StringArray::from(vec![None, Some("a"), Some("b"), None])) as ArrayRef;
    let report =
        super::super::apply(arrow(&[("text", "TEXT", texts)], 2), &[Some(Mask::KeepDomain)]).unwrap().columns;
    assert_eq!(report, [ColumnReport { cells: 4, nulls: 4, rows: Some(RowSpan { first: 1, last: 6 }) }]);
    let nothing =
        super::super::apply(one_column("text", &[None, None]), &[Some(Mask::KeepDomain)]).unwrap().columns;
    assert_eq!(nothing, [ColumnReport { cells: 0, nulls: 2, rows: None }]);
}

/// Types that have no text of their own here, each with a canary.
fn opaque_types() -> Vec<(&'static str, ArrayRef)> {
    let canaries = || Int64Array::from(vec![Some(CANARY_NUMBER), None]);
    let decfloat = timestamp(&[
        ("exponent", Arc::new(arrow_array::Int16Array::from(vec![Some(3), None]))),
        ("significand", Arc::new(BinaryArray::from(vec![Some(CANARY.as_bytes()), None]))),
    ]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value(CANARY);
    map.values().append_value(CANARY_NUMBER);
    map.append(true).unwrap();
    map.append(false).unwrap();
    let map: MapArray = map.finish();
    let structured = timestamp(&[("name", Arc::new(StringArray::from(vec![Some(CANARY), None])))]);
    let wkb = BinaryArray::from(vec![Some(CANARY.as_bytes()), None]);
    let uuid: [u8; 16] = *b"canary-7f3a9c-xx";
    let uuids =
        arrow_array::FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some(uuid), None].into_iter(), 16);
    let text = || Arc::new(StringArray::from(vec![Some(CANARY), None])) as ArrayRef;
    vec![
        ("decfloat", decfloat),
        ("map", Arc::new(map)),
        ("object", structured),
        ("geometry", Arc::new(wkb)),
        ("geography", text()),
        ("file", text()),
        ("uuid", Arc::new(uuids.unwrap())),
        ("interval_year_month", Arc::new(canaries())),
        ("interval_day_time", Arc::new(Decimal128Array::from(vec![Some(i128::from(CANARY_NUMBER)), None]))),
        ("time", Arc::new(canaries())),
        ("a type to come", Arc::new(canaries())),
    ]
}

#[test]
fn what_has_no_text_becomes_null_under_every_mask() {
    let masks = [
        Mask::Fixed("x".into()),
        Mask::Hash(key()),
        Mask::Token(Format::Ssn, key()),
        Mask::Retyped(Arc::new(Mask::Null)),
        Mask::Within([(JsonPath::parse("name").unwrap(), Mask::KeepDomain)].into()),
    ];
    for mask in masks {
        for (type_name, array) in opaque_types() {
            let logical: &'static str = Box::leak(type_name.to_uppercase().into_boxed_str());
            let data_type = array.data_type().clone();
            let (after, changed) =
                apply(arrow(&[(type_name, logical, array)], 1), &[Some(mask.clone())]).unwrap();
            assert_eq!(changed, [1], "{type_name}");
            assert!(!holds(stream(&after), CANARY.as_bytes()), "{type_name} {mask:?}");
            assert!(!holds(stream(&after), &CANARY_NUMBER.to_le_bytes()), "{type_name} {mask:?}");
            let column = batches(&after)[0].column(0).clone();
            assert_eq!((column.null_count(), column.data_type()), (2, &data_type), "{type_name}");
            let (after, _) = apply(one_column(type_name, &[Some(CANARY)]), &[Some(mask.clone())]).unwrap();
            if type_name != "object" {
                assert_eq!(json_rows(after), [vec![None]], "{type_name} {mask:?}");
            }
        }
    }
}
