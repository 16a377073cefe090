//! Rows that are read through as they come, in pieces cut anywhere, and counted. No cell is kept.
//!
//! What is taken for rows here is what `serde_json` reads as `Vec<Vec<Option<String>>>`: lists of texts and nulls, each
//! text with valid escapes and valid UTF-8, and white space where JSON has it.

use std::str;

use crate::error::DecodeError;

/// Bytes looked at together in a text.
const WORD_BYTES: usize = size_of::<u64>();
/// What stands between the bracket behind a row and the first text of the next, if nothing else does.
const BETWEEN_ROWS_BYTES: usize = br#",[""#.len();
const ONES: u64 = u64::from_ne_bytes([0x01; WORD_BYTES]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; WORD_BYTES]);

/// Reads the value of a list of rows from behind its first bracket.
#[derive(Debug, Clone)]
pub(crate) struct RowScan {
    state: State,
    rows: u64,
    /// What came behind the last row that ended in the last bytes, if one did.
    behind_row: Option<usize>,
    /// How many the last bytes were.
    last: usize,
    text: Utf8,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A row. The first may be missing.
    Row {
        is_first: bool,
    },
    /// What comes after a row.
    RowEnd,
    /// A cell. The first may be missing.
    Cell {
        is_first: bool,
    },
    /// What comes after a cell.
    CellEnd,
    /// More of a text.
    Text,
    /// What comes after a backslash.
    Escape,
    /// More of the four digits of a UTF-16 unit; `leading` if the unit before it was the first half of a pair.
    Unit {
        digits: u8,
        value: u16,
        leading: bool,
    },
    /// The backslash of the second half of a pair, then its `u`.
    PairEscape,
    PairUnit,
    /// More of `null`, of which so many bytes were seen.
    Null {
        seen: u8,
    },
    /// The list is over.
    Done,
}

impl RowScan {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Row { is_first: true },
            rows: 0,
            behind_row: None,
            last: 0,
            text: Utf8::default(),
        }
    }

    /// How many rows there were so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether the list is over.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Where in the last bytes a row ended last, if one did.
    pub(crate) fn last_row_end(&self) -> Option<usize> {
        self.last.checked_sub(self.behind_row?)
    }

    /// Reads the next bytes, and says how many of them belong to the list: all, unless it is over.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut rest = bytes;
        (self.behind_row, self.last) = (None, bytes.len());
        while self.state != State::Done {
            if self.state == State::Text {
                rest = self.behind_texts(rest);
            }
            let Some((byte, more)) = rest.split_first() else { break };
            let rows = self.rows;
            self.state = self.after(*byte).ok_or_else(not_rows)?;
            rest = more;
            if self.rows > rows {
                self.behind_row = Some(rest.len());
            }
        }
        let taken = bytes.len() - rest.len();
        self.text.take(bytes.get(..taken).unwrap_or_default()).map_err(|()| not_rows())?;
        Ok(taken)
    }

    /// What is left when texts are passed over, from inside of one to inside of another: what servers write most, by the
    /// shortest way. [`Self::after`] would come to the same.
    fn behind_texts<'a>(&mut self, mut rest: &'a [u8]) -> &'a [u8] {
        loop {
            rest = behind_plain(rest);
            rest = match rest {
                [b'"', b',', b'"', more @ ..] => more,
                [b'"', b']', b',', b'[', b'"', more @ ..] => {
                    self.rows += 1;
                    self.behind_row = Some(more.len() + BETWEEN_ROWS_BYTES);
                    more
                }
                _ => return rest,
            };
        }
    }

    /// What may come after this byte; none where it may not come.
    fn after(&mut self, byte: u8) -> Option<State> {
        Some(match (self.state, byte) {
            (
                State::Row { .. } | State::RowEnd | State::Cell { .. } | State::CellEnd,
                b' ' | b'\n' | b'\r' | b'\t',
            ) => self.state,
            (State::Text, b'"') => State::CellEnd,
            (State::Text, b'\\') => State::Escape,
            (State::CellEnd, b',') => State::Cell { is_first: false },
            (State::CellEnd, b']') | (State::Cell { is_first: true }, b']') => {
                self.rows += 1;
                State::RowEnd
            }
            (State::Cell { .. }, b'"') => State::Text,
            (State::Cell { .. }, b'n') => State::Null { seen: 1 },
            (State::RowEnd, b',') => State::Row { is_first: false },
            (State::Row { .. }, b'[') => State::Cell { is_first: true },
            (State::RowEnd | State::Row { is_first: true }, b']') => State::Done,
            (State::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => State::Text,
            (State::Escape, b'u') => State::Unit { digits: 0, value: 0, leading: false },
            (State::Unit { digits, value, leading }, digit) => unit(digits, value, leading, digit)?,
            (State::PairEscape, b'\\') => State::PairUnit,
            (State::PairUnit, b'u') => State::Unit { digits: 0, value: 0, leading: true },
            (State::Null { seen: 1 }, b'u') => State::Null { seen: 2 },
            (State::Null { seen: 2 }, b'l') => State::Null { seen: 3 },
            (State::Null { seen: 3 }, b'l') => State::CellEnd,
            _ => return None,
        })
    }
}

/// One more digit of a UTF-16 unit. Halves of a pair come in pairs, the leading one first.
fn unit(digits: u8, value: u16, leading: bool, digit: u8) -> Option<State> {
    let digit = u16::try_from(char::from(digit).to_digit(16)?).ok()?;
    let (digits, value) = (digits + 1, value << 4 | digit);
    if digits < 4 {
        return Some(State::Unit { digits, value, leading });
    }
    match (value, leading) {
        (0xdc00..=0xdfff, true) => Some(State::Text),
        (0xd800..=0xdbff, false) => Some(State::PairEscape),
        (0xd800..=0xdfff, _) | (_, true) => None,
        _ => Some(State::Text),
    }
}

/// What is left of a text when everything is passed over that stands for itself: up to a quote, a backslash, or a
/// control character. Eight bytes are looked at together, which is most of what makes this fast.
fn behind_plain(text: &[u8]) -> &[u8] {
    let (words, _) = text.as_chunks::<WORD_BYTES>();
    let mut passed = 0;
    for word in words {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            passed += special.trailing_zeros() as usize / 8;
            return text.get(passed..).unwrap_or_default();
        }
        passed += WORD_BYTES;
    }
    let rest = text.get(passed..).unwrap_or_default();
    let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
    rest.get(plain..).unwrap_or_default()
}

/// A word whose lowest set bit lies in the first byte that is a quote, a backslash or a control character; zero where
/// none is. Higher bits may be set without a reason: a borrow runs upwards from a byte that is one.
fn specials(word: u64) -> u64 {
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let of = |byte: u8| u64::from_ne_bytes([byte; WORD_BYTES]);
    let controls = word.wrapping_sub(of(0x20)) & !word & HIGHS;
    zeros(word ^ of(b'"')) | zeros(word ^ of(b'\\')) | controls
}

/// UTF-8 that comes in pieces.
#[derive(Debug, Clone, Copy, Default)]
struct Utf8 {
    /// The beginning of a character whose end has not come.
    begun: [u8; 4],
    bytes: usize,
}

impl Utf8 {
    fn take(&mut self, mut piece: &[u8]) -> Result<(), ()> {
        while self.bytes > 0
            && let Some((byte, more)) = piece.split_first()
        {
            *self.begun.get_mut(self.bytes).ok_or(())? = *byte;
            self.bytes += 1;
            piece = more;
            self.bytes = open_end(self.begun.get(..self.bytes).ok_or(())?)?.len();
        }
        let begun = open_end(piece)?;
        if self.bytes == 0 {
            self.begun.get_mut(..begun.len()).ok_or(())?.copy_from_slice(begun);
            self.bytes = begun.len();
        }
        Ok(())
    }
}

/// The beginning of a character at the end of a text, if its own end is missing.
fn open_end(text: &[u8]) -> Result<&[u8], ()> {
    match str::from_utf8(text) {
        Ok(_) => Ok(&[]),
        Err(error) if error.error_len().is_none() => text.get(error.valid_up_to()..).ok_or(()),
        Err(_) => Err(()),
    }
}

pub(crate) fn not_rows() -> DecodeError {
    DecodeError::wrong_type("rowset", "rows of cells that are texts or null")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many rows a list has, by its pieces, if it is one and nothing comes after it.
    fn count<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<u64> {
        let mut scan = RowScan::new();
        let mut is_first = true;
        for piece in pieces {
            let piece = if is_first { piece.strip_prefix(b"[")? } else { piece };
            is_first = false;
            if scan.take(piece).ok()? < piece.len() {
                return None;
            }
        }
        scan.is_done().then_some(scan.rows())
    }

    const LISTS: [&[u8]; 50] = [
        b"[]",
        b"[ ]",
        b"[[]]",
        b"[[],[]]",
        b"[ [ ] ]",
        br#"[["a",null],["\u00e9\n\"",""]]"#,
        br#"[["\ud83d\ude00"], [null ] ]"#,
        br#"[["plain text that is longer than a word","\\","\/\b\f\n\r\t\""]]"#,
        b"[\n[\t\"a\"\r,\n\"b\" ] , [ null , null ] ]",
        "[[\"über\",\"😀, and 漢字 behind it\"]]".as_bytes(),
        br#"[["\u0000\uFFFF\uabcD"]]"#,
        br#"[["\ud800"]]"#,
        br#"[["\ud800x"]]"#,
        br#"[["\ud800\n"]]"#,
        br#"[["\ud800\u0041"]]"#,
        br#"[["\ud800\ud800"]]"#,
        br#"[["\udc00\ud800"]]"#,
        br#"[["\udc00"]]"#,
        br#"[["\q"]]"#,
        br#"[["\u12"]]"#,
        br#"[["\u12g4"]]"#,
        br#"[["\u+123"]]"#,
        b"[[\"line\nbreak\"]]",
        b"[[\"\0\"]]",
        b"[[\"eight by\x1f\"]]",
        b"[[\"\x7f\"]]",
        b"[[\"\xff\"]]",
        b"[[\"\xc3\"]]",
        b"[[\"\xed\xa0\x80\"]]",
        b"[[\"\xf0\x9f\x98\"]]",
        b"[[\"\xc0\x80\"]]",
        b"[\xc2\xa0[]]",
        b"[[1]]",
        b"[[true]]",
        b"[[[]]]",
        b"[[{}]]",
        br#"[["a"],null]"#,
        br#"[["a"],"b"]"#,
        br#"["a"]"#,
        br#"{"0":["a"]}"#,
        b"[[nul]]",
        b"[[nullx]]",
        b"[[null],]",
        b"[[null,]]",
        b"[[,null]]",
        br#"[["a""b"]]"#,
        br#"[["a"] ["b"]]"#,
        br#"[["a"]"#,
        br#"[["a"#,
        b"[,[]]",
    ];

    #[test]
    fn what_is_counted_is_what_would_be_read_wherever_it_is_cut() {
        for list in LISTS {
            let read = serde_json::from_slice::<Vec<Vec<Option<String>>>>(list).ok();
            let read = read.map(|rows| rows.len() as u64);
            assert_eq!(count([list]), read, "{}", list.escape_ascii());
            for at in 1..list.len() {
                let (left, right) = list.split_at(at);
                assert_eq!(count([left, right]), read, "{} cut at {at}", list.escape_ascii());
            }
            assert_eq!(count(list.chunks(1)), read, "{} in bytes", list.escape_ascii());
        }
    }

    #[test]
    fn a_text_ends_where_it_ends_wherever_it_begins() {
        for length in 0..40 {
            for end in ["\"]]", "\\n\"]]", "é\"]]", "\u{1}\"]]"] {
                let list = format!("[[\"{}{end}", "x".repeat(length));
                let read = serde_json::from_str::<Vec<Vec<Option<String>>>>(&list).ok();
                assert_eq!(count([list.as_bytes()]), read.map(|rows| rows.len() as u64), "{list:?}");
            }
        }
    }

    #[test]
    fn what_comes_after_the_list_is_left() {
        let mut scan = RowScan::new();
        assert_eq!(scan.take(br#"["a"]],"total":1"#).unwrap(), br#"["a"]]"#.len());
        assert!(scan.is_done());
        assert_eq!((scan.take(b"[[]]").unwrap(), scan.rows()), (0, 1));
    }
}
