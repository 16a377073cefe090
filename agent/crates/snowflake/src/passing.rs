//! A reply whose rows nobody will change: it is gone through as it comes, and its rows are not kept.
//!
//! What stands around the rows is kept, and in the end read as the reply with no rows in it that it is, by the reader
//! of whole replies and as strictly. The rows are read through by themselves. So nothing is read twice, and a reply of
//! any length takes little memory.

use memchr::memmem;
use model::ColumnMeta;

use crate::{
    chunks,
    error::DecodeError,
    json::{Object, utf8},
    query_reply::{QueryReply, QuerySuccess},
    row_scan::RowScan,
    rows,
    splice::span,
};

/// How the rows begin, as the server spells it. There is one row at least.
const ROWS_BEGIN: &[u8] = b"\"rowset\":[[";

/// What may stand before the rows. Replies have a few kilobytes there: parameters and columns.
const HEAD_BYTES_MAX: usize = 256 << 10;

/// What closes a reply that ends behind the bracket of its rows.
const CLOSING: &str = "]}}";

/// A reply with rows of JSON that is under way.
pub struct Passing {
    columns: Vec<ColumnMeta>,
    frame: Frame,
    /// How much of what it began with may be passed on as it is.
    passes: usize,
}

/// All of a reply but its rows, which are read through and counted.
struct Frame {
    text: Vec<u8>,
    /// Where the bracket lies behind which the rows begin.
    rows_at: usize,
    scan: RowScan,
}

impl Passing {
    /// Begins with the first bytes of a reply, from which its columns are known; `None` where they do not tell of
    /// columns, and behind them of rows. Then the whole of it must be read in another way.
    #[must_use]
    pub fn begin(head: &[u8]) -> Option<Self> {
        let (before, from_first_row) = split_at_rows(head)?;
        let columns = columns_in(utf8(before).ok()?)?;
        let mut frame = Frame::new(before);
        let passes = before.len() + frame.take(from_first_row).ok()?;
        Some(Self { columns, frame, passes })
    }

    /// How many of the bytes that it began with may be passed on as they are: up to the end of the rows, if that is there.
    #[must_use]
    pub fn passes(&self) -> usize {
        self.passes
    }

    /// What its rows are made of.
    #[must_use]
    pub fn columns(&self) -> &[ColumnMeta] {
        &self.columns
    }

    /// Goes through the next bytes, and says how many of them belong to the rows and may be passed on as they are. What
    /// stands behind the rows may lead on to others, and is told in the end.
    ///
    /// # Errors
    /// When there is something else among the rows. What is wrong around them is told in the end.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        self.frame.take(bytes)
    }

    /// Says what the reply was, when the last byte of it has come. Its rows are counted, and its envelope takes none
    /// back.
    ///
    /// # Errors
    /// When it is not whole, is no reply of a statement that went well, or describes other columns.
    pub fn end(self) -> Result<QuerySuccess, DecodeError> {
        let success = self.frame.end()?;
        match &success.result {
            Some(result) if result.columns == self.columns => Ok(success),
            _ => Err(DecodeError::UnexpectedRows),
        }
    }

    /// Goes through a reply that is there as a whole, in one go and with less effort. `None` where it is not of this
    /// kind, or anything is wrong with it, and it must be read in another way.
    #[must_use]
    pub fn whole(body: &[u8]) -> Option<QuerySuccess> {
        let (before, from_first_row) = split_at_rows(body)?;
        let mut frame = Frame::new(before);
        frame.take(from_first_row).ok()?;
        frame.end().ok()
    }
}

impl Frame {
    /// `before` ends with the bracket behind which the rows begin.
    fn new(before: &[u8]) -> Self {
        Self { text: before.to_vec(), rows_at: before.len() - 1, scan: RowScan::new() }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        if self.scan.is_done() {
            self.text.extend_from_slice(bytes);
            return Ok(0);
        }
        let of_rows = self.scan.take(bytes)?;
        if self.scan.is_done() {
            self.text.push(b']');
            self.text.extend_from_slice(bytes.get(of_rows..).unwrap_or_default());
        }
        Ok(of_rows)
    }

    fn end(self) -> Result<QuerySuccess, DecodeError> {
        QueryReply::decode_around(self.text, self.rows_at..self.rows_at + 2, self.scan.rows())
    }
}

/// A reply before its first row and from it on, at the place where a reply's rows begin if it is like other replies. What is
/// read of the two parts tells whether they are that.
fn split_at_rows(reply: &[u8]) -> Option<(&[u8], &[u8])> {
    let head = reply.get(..reply.len().min(HEAD_BYTES_MAX))?;
    let at = memmem::find(head, ROWS_BEGIN)?;
    reply.split_at_checked(at + ROWS_BEGIN.len() - 1)
}

/// The columns that the beginning of a reply describes, if what follows it is the first row.
fn columns_in(before: &str) -> Option<Vec<ColumnMeta>> {
    let closed = format!("{before}{CLOSING}");
    let (_, data) = Object::parse_with(&closed, "data").ok()?;
    let data = data?;
    // Before the rows the client has them before they could be replaced.
    if chunks::are_told_of(&data) {
        return None;
    }
    // Strict JSON has one way to go on, so where the rows are here, they are in the end.
    if span(&closed, data.raw("rowset")?)? != (before.len() - 1..before.len() + 1) {
        return None;
    }
    let (columns, _) = rows::columns(&closed, &data.list("rowtype").ok()??).ok()?;
    Some(columns)
}

#[cfg(test)]
mod tests {
    use model::{Ident, Rows};

    use super::*;

    const BEFORE: &str = r#"{"data":{"parameters":[{"name":"TIMEZONE","value":"UTC"}],"rowtype":[{"name":"A","type":"TEXT"},{"name":"B","type":"fixed"}],"rowset":["#;
    const ROWS: &str = r#"["\u00fcber, 漢字","1"], ["x",null]"#;
    const BEHIND: &str = r#"],"total":2,"queryId":"01bd137c","finalSchemaName":"S","queryResultFormat":"json"},"code":null,"success":true}"#;

    fn reply() -> String {
        format!("{BEFORE}{ROWS}{BEHIND}")
    }

    /// By parts: the first has all that is before the rows.
    fn passed(first: &[u8], others: &[&[u8]]) -> Option<Result<QuerySuccess, DecodeError>> {
        let mut passing = Passing::begin(first)?;
        for part in others {
            if let Err(error) = passing.take(part) {
                return Some(Err(error));
            }
        }
        Some(passing.end())
    }

    #[test]
    fn a_reply_is_read_alike_as_a_whole_and_as_it_passes() {
        let reply = reply();
        let QueryReply::Success(read) = QueryReply::decode_for(reply.clone().into(), |_| false).unwrap()
        else {
            panic!("no success")
        };
        let (read, whole) = (*read, Passing::whole(reply.as_bytes()).unwrap());
        assert_eq!(whole.result.as_ref().unwrap().rows, Rows::Counted(2));
        assert_eq!(whole.names.schema, Some(Ident::exact("S")));
        let about = |success: &QuerySuccess| {
            let QuerySuccess { query_id, result, names, total, chunks, .. } = success;
            format!("{query_id:?} {result:?} {names:?} {total:?} {chunks:?}")
        };
        assert_eq!(about(&whole), about(&read));
        for at in BEFORE.len() + 1..reply.len() {
            let (first, second) = reply.as_bytes().split_at(at);
            let passed = passed(first, &[second]).unwrap().unwrap();
            assert_eq!(about(&passed), about(&read), "cut at {at}");
        }
        let bytes: Vec<&[u8]> = reply.as_bytes().chunks(1).collect();
        let passed = passed(BEFORE.as_bytes(), &bytes[BEFORE.len()..]);
        assert!(passed.is_none(), "no row has come yet");
    }

    #[test]
    fn its_columns_are_known_before_its_rows() {
        let passing = Passing::begin(format!("{BEFORE}[").as_bytes()).unwrap();
        let names: Vec<_> = passing.columns().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["A", "B"]);
    }

    #[test]
    fn columns_behind_the_rows_are_soon_enough_for_a_whole_reply_alone() {
        let reply = r#"{"data":{"rowset":[["a"]],"rowtype":[{"name":"A","type":"text"}]},"success":true}"#;
        assert!(Passing::begin(reply.as_bytes()).is_none());
        assert_eq!(Passing::whole(reply.as_bytes()).unwrap().result.unwrap().rows, Rows::Counted(1));
    }

    #[test]
    fn what_is_not_of_this_kind_does_not_begin() {
        let reply = reply();
        for other in [
            String::new(),
            BEFORE.to_owned(),
            format!("{BEFORE}{BEHIND}"),
            reply.replace("\"rowset\":[", "\"rowset\": ["),
            // No columns, or two descriptions of them.
            r#"{"data":{"rowset":[["a"]]},"success":true}"#.to_owned(),
            reply.replace("\"parameters\":", "\"rowtype\":"),
            // Rows in another place than in `data`.
            r#"{"data":{"rowtype":[{"name":"A","type":"text"}],"more":{"rowset":[["a"]]}},"success":true}"#
                .to_owned(),
            r#"{"data":{"rowtype":[{"name":"A","type":"text"}],"more":[{"rowset":[["a"]]}],"rowset":[]},"success":true}"#
                .to_owned(),
            r#"{"rowset":[["a"]],"data":{"rowtype":[{"name":"A","type":"text"}]},"success":true}"#.to_owned(),
            reply.replace("{\"data\"", "{\"data\":{},\"data\""),
            reply.replace("\"UTC\"", "\"\u{1}\""),
            reply.replace("[\"\\u00fcber", "[7,\""),
            format!("{}{reply}", " ".repeat(HEAD_BYTES_MAX)),
        ] {
            assert!(Passing::begin(other.as_bytes()).is_none(), "{other}");
            assert!(Passing::whole(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn what_ends_otherwise_is_refused() {
        let begin = format!("{BEFORE}{ROWS}");
        assert!(passed(begin.as_bytes(), &[BEHIND.as_bytes()]).unwrap().is_ok());
        for (from, to) in [
            // Other columns than those by which it was let pass, or more rows.
            ("\"total\"", "\"rowtype\":[{\"name\":\"SSN\",\"type\":\"text\"}],\"total\""),
            ("\"total\"", "\"r\\u006fwset\":[[\"more\"]],\"total\""),
            ("\"total\"", "\"rowsetBase64\":\"QUJD\",\"total\""),
            (",\"code\"", ",\"data\":{\"rowset\":[]},\"code\""),
            (",\"code\"", ",\"data\":null,\"code\""),
            ("true", "false"),
            ("null", "\"333333\""),
            ("],", ",7],"),
            ("],", "}],"),
            ("true}", "true"),
            ("true}", "true}}"),
            ("true}", "true}\u{e9}"),
        ] {
            let behind = BEHIND.replacen(from, to, 1);
            assert_ne!(behind, BEHIND);
            assert!(passed(begin.as_bytes(), &[behind.as_bytes()]).unwrap().is_err(), "{behind}");
            assert!(Passing::whole(format!("{begin}{behind}").as_bytes()).is_none(), "{behind}");
        }
        assert!(passed(begin.as_bytes(), &[]).unwrap().is_err());
        assert!(
            passed(begin.as_bytes(), &[&BEHIND.as_bytes()[..60], b"\xff", &BEHIND.as_bytes()[60..]])
                .unwrap()
                .is_err()
        );
    }
}
