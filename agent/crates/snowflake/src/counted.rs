//! Rows that are read through and not kept. What is no row of texts and nulls is refused here as it is where rows are
//! kept; only the copies of the cells are saved.

use std::{fmt, marker::PhantomData};

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// A list of rows: how many there are.
pub(crate) struct CountedRows(pub(crate) u64);

/// A row, of which nothing is kept.
struct Row;

/// A cell: a text or null.
struct Cell;

impl<'de> Deserialize<'de> for CountedRows {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_seq(ListOf::<Row>::new()).map(Self)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_seq(ListOf::<Cell>::new()).map(|_cells| Self)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_option(CellVisitor)
    }
}

/// A list of which only the length is kept.
struct ListOf<T>(PhantomData<T>);

impl<T> ListOf<T> {
    fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListOf<T> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<u64, A::Error> {
        let mut count = 0;
        while list.next_element::<T>()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or null")
    }

    fn visit_none<E: Error>(self) -> Result<Cell, E> {
        Ok(Cell)
    }

    fn visit_unit<E: Error>(self) -> Result<Cell, E> {
        Ok(Cell)
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Cell, D::Error> {
        json.deserialize_str(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Cell, E> {
        Ok(Cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_would_be_read() {
        for text in [
            "[]",
            " [ ] ",
            "[[]]",
            r#"[["a",null],["\u00e9\n\"",""]]"#,
            r#"[["\ud83d\ude00"], [null ] ]"#,
            r#"[["\ud800"]]"#,
            r#"[["\udc00\ud800"]]"#,
            r#"[["\q"]]"#,
            "[[\"line\nbreak\"]]",
            "[[1]]",
            "[[true]]",
            "[[[]]]",
            "[[{}]]",
            r#"[["a"],null]"#,
            r#"[["a"],"b"]"#,
            r#"["a"]"#,
            r#"{"0":["a"]}"#,
            r#""a""#,
            "null",
            "[[nul]]",
            "[[null],]",
            "[[null,]]",
            r#"[["a"] ["b"]]"#,
            r#"[["a"]"#,
            r#"[["a"]] x"#,
            "",
        ] {
            let read = serde_json::from_str::<Vec<Vec<Option<String>>>>(text).map(|rows| rows.len() as u64);
            let counted = serde_json::from_str::<CountedRows>(text).map(|CountedRows(rows)| rows);
            assert_eq!(counted.ok(), read.ok(), "{text}");
        }
    }
}
