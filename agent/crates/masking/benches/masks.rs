//! What masking costs beside what must be done anyhow: an Arrow stream that is read and written, and JSON rows that are parsed. Each
//! mask is measured in turn with its base in the same round, and the median of the rounds' ratios is told. The only argument is how
//! many rows there are.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that cannot measure ends, and one that can says what it found"
)]

use std::{collections::HashMap, sync::Arc, time::Instant};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{Field, Schema};
use masking::{Detector, Format, Key, Mask, Unit, Watch, apply, watch};
use model::{ColumnMeta, ResultSet, Rows};

const ROWS: usize = 200_000;
/// Rows of one batch, as servers send them.
const BATCH_ROWS: usize = 10_000;
const ROUNDS: usize = 7;

/// Columns by name and type. Two of them hold what is masked.
const COLUMNS: [(&str, &str); 8] = [
    ("ID", "fixed"),
    ("EMAIL", "text"),
    ("SSN", "text"),
    ("NAME", "text"),
    ("AMOUNT", "fixed"),
    ("AT", "timestamp_ntz"),
    ("NOTE", "text"),
    ("COUNTRY", "text"),
];

fn text(column: &str, row: usize) -> String {
    match column {
        "EMAIL" => format!("person.{row}@mail.example.org"),
        "SSN" => format!("{:03}-{:02}-{:04}", 1 + row % 600, 1 + row % 99, 1 + row % 9_999),
        "NAME" => format!("First{} Last{}", row % 977, row % 3_001),
        "NOTE" => format!("order {row} was sent, and nothing more is known of it for now"),
        _ => ["DE", "US", "FR", "JP"].get(row % 4).copied().unwrap_or_default().to_owned(),
    }
}

fn columns() -> Vec<ColumnMeta> {
    let column = |(name, type_name): &(&str, &str)| ColumnMeta {
        name: (*name).to_owned(),
        database: String::new(),
        schema: String::new(),
        table: String::new(),
        type_name: (*type_name).to_owned(),
        nullable: false,
    };
    COLUMNS.iter().map(column).collect()
}

fn number(row: usize) -> i64 {
    i64::try_from(row).unwrap() * 7_919
}

fn stream(rows: usize) -> Vec<u8> {
    let array = |name: &str, type_name: &str, rows: std::ops::Range<usize>| -> ArrayRef {
        match type_name {
            "text" => Arc::new(rows.map(|row| Some(text(name, row))).collect::<StringArray>()),
            _ => Arc::new(rows.map(|row| Some(number(row))).collect::<Int64Array>()),
        }
    };
    let field = |(name, type_name): &(&str, &str)| {
        let metadata =
            [("logicalType".to_owned(), type_name.to_uppercase()), ("scale".to_owned(), "3".to_owned())];
        let data_type = array(name, type_name, 0..0).data_type().clone();
        Field::new(*name, data_type, false).with_metadata(HashMap::from(metadata))
    };
    let schema = Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()));
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &schema).unwrap();
    for start in (0..rows).step_by(BATCH_ROWS) {
        let range = start..(start + BATCH_ROWS).min(rows);
        let arrays = COLUMNS.iter().map(|(name, type_name)| array(name, type_name, range.clone())).collect();
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn json(rows: usize) -> String {
    let cell = |row: usize, (name, type_name): &(&str, &str)| match *type_name {
        "text" => Some(text(name, row)),
        _ => Some(number(row).to_string()),
    };
    let rows: Vec<Vec<_>> =
        (0..rows).map(|row| COLUMNS.iter().map(|column| cell(row, column)).collect()).collect();
    serde_json::to_string(&rows).unwrap()
}

/// Reads a stream and writes it again.
fn read_and_write(stream: &[u8]) -> Vec<u8> {
    let reader = StreamReader::try_new(stream, None).unwrap();
    let mut out = Vec::with_capacity(stream.len());
    let mut writer = StreamWriter::try_new(&mut out, &reader.schema()).unwrap();
    for batch in reader {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    out
}

fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let begun = Instant::now();
    std::hint::black_box(work());
    begun.elapsed().as_secs_f64()
}

/// The median of the rounds: how fast it was in MB/s, and how fast of its base.
fn tell(what: &str, bytes: usize, mut base: impl FnMut() -> f64, mut work: impl FnMut() -> f64) {
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (base(), work())).collect();
    let mut median = |of: fn(&(f64, f64)) -> f64| {
        rounds.sort_unstable_by(|a, b| of(a).total_cmp(&of(b)));
        rounds.get(ROUNDS / 2).map_or(f64::NAN, of)
    };
    let ratio = median(|(base, work)| base / work);
    let speed = bytes as f64 / 1e6 / median(|(_, work)| *work);
    println!("{what:<44} {speed:>7.0} MB/s   {ratio:.2} of its base");
}

/// A plan that masks two columns.
fn plan(first: &Mask, second: &Mask) -> Vec<Option<Mask>> {
    let mut plan = vec![None; COLUMNS.len()];
    for (column, mask) in plan.iter_mut().skip(1).zip([first, second]) {
        *column = Some(mask.clone());
    }
    plan
}

fn main() {
    // Cargo adds what its own harness would want.
    let given = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let rows = given.map_or(ROWS, |number| number.parse().expect("a number of rows"));
    let key = || Key::new("k", &[7; 32]).unwrap();
    let masks = [
        ("null", plan(&Mask::Null, &Mask::Null)),
        ("partial", plan(&Mask::KeepDomain, &Mask::Partial { keep_last: 4 })),
        ("hash", plan(&Mask::Hash(key()), &Mask::Hash(key()))),
        (
            "token",
            plan(&Mask::Token(Format::Email { keep_domain: true }, key()), &Mask::Token(Format::Ssn, key())),
        ),
        ("date of a text, which it is not", plan(&Mask::Date(Unit::Year), &Mask::Date(Unit::Year))),
    ];
    let (arrow, text) = (stream(rows), json(rows));
    println!(
        "{rows} rows of {} columns, two of them masked; Arrow {} MB, JSON {} MB",
        COLUMNS.len(),
        arrow.len() / 1_000_000,
        text.len() / 1_000_000
    );
    for (name, plan) in &masks {
        let of = |rows| ResultSet { columns: columns(), rows };
        let masked = || seconds(|| apply(of(Rows::ArrowIpc(arrow.clone())), plan).unwrap());
        let base = || seconds(|| read_and_write(&arrow.clone()));
        tell(&format!("arrow, {name}, of reading and writing"), arrow.len(), base, masked);
    }
    for (name, plan) in &masks {
        let parse = || serde_json::from_str::<Vec<Vec<Option<String>>>>(&text).unwrap();
        let masked =
            || seconds(|| apply(ResultSet { columns: columns(), rows: Rows::Json(parse()) }, plan).unwrap());
        tell(&format!("json, {name}, of parsing"), text.len(), || seconds(parse), masked);
    }
    let look = Detector::ALL.map(|detector| Watch { detector, every: 1, cells_max: u64::MAX, mask: None });
    let watches = vec![look.to_vec(); COLUMNS.len()];
    let watched = || {
        seconds(|| {
            watch(ResultSet { columns: columns(), rows: Rows::ArrowIpc(arrow.clone()) }, &watches).unwrap()
        })
    };
    tell(
        "arrow, all detectors, of reading and writing",
        arrow.len(),
        || seconds(|| read_and_write(&arrow.clone())),
        watched,
    );
}
