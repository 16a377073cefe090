//! Streams that nobody in their right mind sends: each is an error, or no larger than what came.

use arrow_array::{NullArray, types::Int8Type};

use super::*;

/// A stream's message with another body length.
fn with_length(stream: &[u8], length: i64) -> Vec<u8> {
    let body = batch_body_length(stream);
    let mut changed = stream.to_vec();
    let places: Vec<usize> = stream
        .windows(8)
        .enumerate()
        .filter(|(_, bytes)| *bytes == body.to_le_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        changed[at..at + 8].copy_from_slice(&length.to_le_bytes());
    }
    changed
}

/// The length of the last body: what lies between the last metadata and the end of the stream.
fn batch_body_length(stream: &[u8]) -> i64 {
    let mut rest = stream;
    let mut last = 0;
    loop {
        let length = u32::from_le_bytes(rest[4..8].try_into().unwrap());
        if length == 0 {
            return last;
        }
        let (metadata, body) = rest[8..].split_at(length as usize);
        last = arrow_ipc::root_as_message(metadata).unwrap().bodyLength();
        rest = &body[usize::try_from(last).unwrap()..];
    }
}

fn masked(stream: Vec<u8>, columns: usize) -> Result<(ResultSet, Vec<u64>), MaskError> {
    let columns = vec![column("C", "text"); columns];
    let plan = vec![Some(Mask::Partial { keep_last: 2 }); columns.len()];
    apply(ResultSet { columns, rows: Rows::ArrowIpc(stream) }, &plan)
}

fn texts() -> ArrayRef {
    Arc::new(StringArray::from(vec![Some(CANARY), None, Some("x")]))
}

#[test]
fn lengths_that_lie_are_errors_and_cost_no_memory() {
    let whole = arrow(&[("text", "TEXT", texts())], 1);
    let bytes = stream(&whole);
    for length in [i64::MAX, i64::MIN, -1, 1 << 60, 1 << 40, 1] {
        assert!(matches!(masked(with_length(bytes, length), 1), Err(MaskError::Arrow(_))), "{length}");
    }
    for length in [u32::MAX, 0x7fff_ffff, 0x8000_0000, 1 << 30] {
        let mut changed = bytes.to_vec();
        changed[4..8].copy_from_slice(&length.to_le_bytes());
        assert!(matches!(masked(changed, 1), Err(MaskError::Arrow(_))), "{length:x}");
    }
}

#[test]
fn no_changed_byte_ends_the_program_or_shows_a_value() {
    let whole =
        arrow(&[("text", "TEXT", texts()), ("fixed", "FIXED", Arc::new(Int64Array::from(vec![1, 2, 3])))], 1);
    let bytes = stream(&whole);
    for at in 0..bytes.len() {
        for byte in [0x00, 0x01, 0x7f, 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] = byte;
            if let Ok((after, _)) = masked(changed, 2) {
                assert!(!holds(stream(&after), CANARY.as_bytes()), "byte {at}");
                assert!(stream(&after).len() <= 4 * bytes.len());
            }
        }
    }
}

#[test]
fn what_is_nested_without_end_is_an_error() {
    let nested = |depth| {
        (0..depth).fold(DataType::Utf8, |inner, _| DataType::List(Arc::new(Field::new("item", inner, true))))
    };
    for (depth, is_read) in [(8, true), (200, false)] {
        let schema = Schema::new(vec![Field::new("C", nested(depth), true)]);
        let mut bytes = Vec::new();
        StreamWriter::try_new(&mut bytes, &schema).unwrap().finish().unwrap();
        assert_eq!(masked(bytes, 1).is_ok(), is_read, "{depth}");
    }
}

#[test]
fn a_dictionary_makes_no_more_than_it_was() {
    let value = "v".repeat(1 << 20);
    let keys = arrow_array::Int8Array::from(vec![0; 50_000]);
    let dictionary =
        DictionaryArray::<Int8Type>::new(keys, Arc::new(StringArray::from(vec![value.as_str()])));
    let before = arrow(&[("text", "TEXT", Arc::new(dictionary))], 3);
    let length = stream(&before).len();
    let (after, changed) = apply(before, &[Some(Mask::Partial { keep_last: usize::MAX })]).unwrap();
    assert_eq!(changed, [150_000]);
    assert!(stream(&after).len() <= length);
}

#[test]
fn a_dictionary_that_grows_piece_by_piece_is_refused() {
    let schema =
        Arc::new(Schema::new(vec![Field::new_dictionary("C", DataType::Int32, DataType::Utf8, true)]));
    let handling = arrow_ipc::writer::DictionaryHandling::Delta;
    let options = arrow_ipc::writer::IpcWriteOptions::default().with_dictionary_handling(handling);
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new_with_options(&mut bytes, &schema, options).unwrap();
    for length in 1..4_i32 {
        let values: StringArray = (0..length).map(|value| Some(format!("value {value}"))).collect();
        let keys = Int32Array::from((0..length).collect::<Vec<_>>());
        let dictionary = DictionaryArray::<Int32Type>::new(keys, Arc::new(values));
        writer
            .write(&RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(dictionary)]).unwrap())
            .unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    let error = masked(bytes, 1).unwrap_err();
    assert!(matches!(&error, MaskError::Arrow(arrow) if arrow.to_string().contains("delta")), "{error:?}");
}

#[test]
fn rows_that_take_no_room_are_counted_and_not_gone_through() {
    let rows = 1 << 40;
    for mask in [Mask::Null, Mask::Partial { keep_last: 2 }, Mask::Date(Unit::Year)] {
        let before = arrow(&[("text", "TEXT", Arc::new(NullArray::new(rows)))], 2);
        let (after, changed) = apply(before, &[Some(mask)]).unwrap();
        assert_eq!((changed, count_rows(&after.rows).unwrap()), (vec![0], 2 * rows as u64));
    }
}

/// Streams to begin fuzzing with: each is read here, so that none is in vain. They are written where the variable says.
#[test]
fn seeds_of_the_fuzzer_are_streams_that_are_read() {
    let folder =
        std::env::var_os("SNOWFENCE_FUZZ_SEEDS").map(|folder| std::path::Path::new(&folder).join("arrow"));
    if let Some(folder) = &folder {
        std::fs::create_dir_all(folder).unwrap();
    }
    let dictionary: DictionaryArray<Int8Type> = [CANARY, "b", CANARY].into_iter().collect();
    let mut samples = every_type();
    samples.push(("text", "TEXT", Arc::new(dictionary)));
    for (at, sample) in samples.into_iter().enumerate() {
        let before = arrow(&[sample], 2);
        apply(before.clone(), &[Some(Mask::Partial { keep_last: 2 })]).unwrap();
        if let Some(folder) = &folder {
            // In front the fuzzer's choices: one column; then its type in tens and its mask, both in hex.
            for choice in [0x02, 0x12, 0x23, 0x2b, 0x54, 0x74, 0x84] {
                let seed = [&[0, choice, 0, 0, 0][..], stream(&before)].concat();
                std::fs::write(folder.join(format!("type-{at}-{choice:02x}")), seed).unwrap();
            }
        }
    }
}
