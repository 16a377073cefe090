//! Masks inside a JSON document: what lies at some paths is replaced, and every other byte stays as it is.
//!
//! The text is Snowflake's own writing of a VARIANT, which is JSON with some more words in it: `undefined`, `NaN`, `inf`. A
//! text that cannot be read to its end is hidden whole by whoever asked.

use serde_json::{from_str, to_string};

use crate::{mask::Mask, path::JsonPath, render};

/// A JSON value that says nothing, for cells that are documents.
pub(crate) const HIDDEN_JSON: &str = "\"****\"";

/// How deep documents are looked into.
pub(crate) const DEPTH_MAX: usize = 128;

/// The paths that lead to where the reader is, with their masks.
type Paths<'p> = Vec<&'p (JsonPath, Mask)>;

/// Masks the parts of a document; `None` if it is not one to its end.
pub(crate) fn masked(document: &str, parts: &[(JsonPath, Mask)]) -> Option<String> {
    let mut reader = Reader { text: document, at: 0, out: String::with_capacity(document.len()), copied: 0 };
    reader.space();
    reader.value(&parts.iter().collect(), 0)?;
    reader.space();
    if reader.at != document.len() {
        return None;
    }
    reader.copy_to(reader.at)?;
    Some(reader.out)
}

/// What a whole document becomes: a JSON value, or NULL.
pub(crate) fn hidden(mask: &Mask, document: &str) -> Option<String> {
    match mask {
        Mask::Null => None,
        Mask::Fixed(_) | Mask::Hash(_) => to_string(&mask.owned_text(document)?).ok(),
        Mask::Retyped(mask) => hidden(mask, document),
        Mask::Within(parts) => Some(masked(document, parts).unwrap_or_else(|| HIDDEN_JSON.to_owned())),
        Mask::Partial { .. } | Mask::KeepDomain | Mask::Date(_) | Mask::Token(..) => {
            Some(HIDDEN_JSON.to_owned())
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    out: String,
    /// Up to where the text is in `out`, as it was or masked.
    copied: usize,
}

impl<'t> Reader<'t> {
    /// A value, `depth` steps into the document.
    fn value(&mut self, paths: &Paths<'_>, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        let (ends, further): (Paths<'_>, Paths<'_>) = paths.iter().partition(|(path, _)| path.len() == depth);
        // What goes as a whole is not looked into.
        let further = if ends.is_empty() { further } else { Vec::new() };
        let start = self.at;
        match self.peek()? {
            b'{' => self.items(b'}', |reader, _| reader.member(&further, depth))?,
            b'[' => self.items(b']', |reader, index| {
                let inside = further.iter().copied().filter(|(path, _)| path.is_index(depth, index));
                reader.value(&inside.collect(), depth + 1)
            })?,
            b'"' => {
                self.string()?;
            }
            _ => self.word()?,
        }
        match ends.as_slice() {
            [] => Some(()),
            [(_, mask)] => self.replace(start, mask),
            // Two masks for one part: neither shows no more than the other.
            _ => self.replace(start, &Mask::Null),
        }
    }

    /// A key and its value.
    fn member(&mut self, paths: &Paths<'_>, depth: usize) -> Option<()> {
        let key = self.string()?;
        let inside = if paths.is_empty() {
            Vec::new()
        } else {
            let key: String = from_str(key).ok()?;
            paths.iter().copied().filter(|(path, _)| path.is_key(depth, &key)).collect()
        };
        self.space();
        self.expect(b':')?;
        self.space();
        self.value(&inside, depth + 1)
    }

    /// What stands between two brackets.
    fn items(&mut self, end: u8, mut item: impl FnMut(&mut Self, usize) -> Option<()>) -> Option<()> {
        self.at += 1;
        self.space();
        if self.peek()? == end {
            self.at += 1;
            return Some(());
        }
        let mut index = 0;
        loop {
            item(self, index)?;
            index += 1;
            self.space();
            if self.peek()? == end {
                self.at += 1;
                return Some(());
            }
            self.expect(b',')?;
            self.space();
        }
    }

    /// A string, with its quotes.
    fn string(&mut self) -> Option<&'t str> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            self.at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            match self.peek()? {
                b'"' => break,
                // Whatever is escaped, it does not end the string. After it there is another character.
                _ => self.at += 2,
            }
        }
        self.at += 1;
        self.text.get(start..self.at)
    }

    /// A number, `null`, `true`, and the like.
    fn word(&mut self) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = rest.iter().position(|byte| !in_word(byte)).unwrap_or(rest.len());
        self.at += length;
        (length > 0).then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Puts a mask in the place of the value that began at `start` and ends here.
    fn replace(&mut self, start: usize, mask: &Mask) -> Option<()> {
        let value = self.text.get(start..self.at)?;
        self.copy_to(start)?;
        self.out.push_str(&part(mask, value)?);
        self.copied = self.at;
        Some(())
    }

    fn copy_to(&mut self, end: usize) -> Option<()> {
        self.out.push_str(self.text.get(self.copied..end)?);
        self.copied = end;
        Some(())
    }
}

/// What a part of a document becomes. A text becomes a text; any other value `null`, unless its mask makes texts of all.
fn part(mask: &Mask, value: &str) -> Option<String> {
    let is_retyped = matches!(mask, Mask::Retyped(_));
    let text = match value.as_bytes().first()? {
        _ if matches!(value, "null" | "undefined") => return Some(value.to_owned()),
        b'"' => mask.owned_text(&from_str::<String>(value).ok()?),
        b'{' | b'[' => None,
        _ if is_retyped => mask.owned_text(&render::number(value)),
        _ => None,
    };
    match text {
        Some(text) => to_string(&text).ok(),
        None => Some("null".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Key;

    fn parts(paths: &[&str], mask: &Mask) -> Vec<(JsonPath, Mask)> {
        paths.iter().map(|path| (JsonPath::parse(path).unwrap(), mask.clone())).collect()
    }

    #[test]
    fn parts_are_masked_and_every_other_byte_stays() {
        let partial = Mask::Partial { keep_last: 2 };
        for (paths, document, expected) in [
            (&["a"][..], r#"{"a":"secret","b":"open"}"#, r#"{"a":"****et","b":"open"}"#),
            (
                &["a"],
                "{ \"b\" : 1.50 ,\n\t\"a\":\"s\\u0065cret\" }",
                "{ \"b\" : 1.50 ,\n\t\"a\":\"****et\" }",
            ),
            (
                &["p.to[0].x"],
                r#"{"p":{"to":[{"x":"secret"},{"x":"open"}]}}"#,
                r#"{"p":{"to":[{"x":"****et"},{"x":"open"}]}}"#,
            ),
            (
                &["l[*].x"],
                r#"{"l":[{"x":"abcd"},{"x":null},{"y":"z"}]}"#,
                r#"{"l":[{"x":"****cd"},{"x":null},{"y":"z"}]}"#,
            ),
            (
                &["*.x"],
                r#"{"a":{"x":"abcd"},"b":{"x":"efgh"}}"#,
                r#"{"a":{"x":"****cd"},"b":{"x":"****gh"}}"#,
            ),
            (&["[1]"], r#"["abcd","efgh"]"#, r#"["abcd","****gh"]"#),
            // Keys as JSON may write them, in any case, and more than once.
            (
                &["a"],
                r#"{"\u0061":"abcd","A":"efgh","a":"ijkl"}"#,
                r#"{"\u0061":"****cd","A":"****gh","a":"****kl"}"#,
            ),
            // What is no text becomes null, with all that is in it.
            (&["a"], r#"{"a":123456789,"b":1}"#, r#"{"a":null,"b":1}"#),
            (&["a"], r#"{"a":{"b":"secret"},"c":1}"#, r#"{"a":null,"c":1}"#),
            (&["a"], r#"{"a":["secret"],"c":1}"#, r#"{"a":null,"c":1}"#),
            (&["a", "a.b"], r#"{"a":{"b":"secret"},"c":"d"}"#, r#"{"a":null,"c":"d"}"#),
            (&["a", "*"], r#"{"a":"secret","c":"efgh"}"#, r#"{"a":null,"c":"****gh"}"#),
            (
                &["a"],
                r#"{"a":undefined,"b":NaN,"c":-inf,"d":[undefined]}"#,
                r#"{"a":undefined,"b":NaN,"c":-inf,"d":[undefined]}"#,
            ),
            // A path that leads nowhere changes nothing.
            (&["x.y", "a[0]"], r#"{"a":{"0":"b"},"x":"y"}"#, r#"{"a":{"0":"b"},"x":"y"}"#),
            (&["a"], "[]", "[]"),
            (&["a"], " \"text\" ", " \"text\" "),
            (&["a"], r#"{"a":"q\"}","b":"\\"}"#, r#"{"a":"****}","b":"\\"}"#),
        ] {
            assert_eq!(masked(document, &parts(paths, &partial)).as_deref(), Some(expected), "{document}");
        }
    }

    #[test]
    fn each_mask_has_its_own_of_a_part() {
        let key = Key::new("k", &[1; 32]).unwrap();
        let document = r#"{"a":"ann@example.org","b":42}"#;
        for (mask, expected) in [
            (Mask::Null, r#"{"a":null,"b":null}"#),
            (Mask::Fixed("\"x\"".into()), r#"{"a":"\"x\"","b":null}"#),
            (Mask::KeepDomain, r#"{"a":"****@example.org","b":null}"#),
            (Mask::Retyped(Arc::new(Mask::Fixed("x".into()))), r#"{"a":"x","b":"x"}"#),
        ] {
            assert_eq!(masked(document, &parts(&["a", "b"], &mask)).as_deref(), Some(expected));
        }
        let of =
            |document| masked(document, &parts(&["b"], &Mask::Retyped(Arc::new(Mask::Hash(key.clone())))));
        assert_eq!(of(r#"{"b":42.0}"#), of(r#"{"b":"42"}"#), "one value has one token, whatever its type");
    }

    #[test]
    fn what_is_no_document_is_not_read() {
        let parts = parts(&["a"], &Mask::KeepDomain);
        let deep = "[".repeat(DEPTH_MAX + 2);
        for text in [
            "",
            " ",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "[1,]",
            "[1 2]",
            "{a:1}",
            "{\"a\":1}x",
            "\"open",
            "\"open\\",
            "{\"\\ud800\":1}",
            "{\"a\":\"\\x\"}",
            "{1:2}",
            "é",
            deep.as_str(),
        ] {
            assert_eq!(masked(text, &parts), None, "{text}");
        }
        let whole = Mask::Within(parts.into());
        assert_eq!(hidden(&whole, "{\"a\":").as_deref(), Some(HIDDEN_JSON));
        assert_eq!(whole.owned_text("{\"a\":").as_deref(), Some("****"));
        assert_eq!(serde_json::from_str::<String>(HIDDEN_JSON).unwrap(), crate::mask::HIDDEN);
    }

    #[test]
    fn a_whole_document_becomes_one_value() {
        let key = Key::new("k", &[1; 32]).unwrap();
        for (mask, expected) in [
            (Mask::Null, None),
            (Mask::Partial { keep_last: 4 }, Some(HIDDEN_JSON)),
            (Mask::Fixed("gone".into()), Some("\"gone\"")),
            (Mask::Retyped(Arc::new(Mask::KeepDomain)), Some(HIDDEN_JSON)),
        ] {
            assert_eq!(hidden(&mask, "{}").as_deref(), expected);
        }
        let token = hidden(&Mask::Hash(key), "{}").unwrap();
        assert!(serde_json::from_str::<String>(&token).unwrap().starts_with("k:"));
    }
}
