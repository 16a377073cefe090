//! Replacing parts of a text and leaving every other byte as it came.

use std::ops::Range;

/// Where `part`, a slice of `whole`, lies in it; `None` when it is no slice of it.
pub(crate) fn span(whole: &str, part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// Replacements in one text, in any order.
#[derive(Default)]
pub(crate) struct Splice {
    edits: Vec<(Range<usize>, String)>,
}

impl Splice {
    pub(crate) fn replace(&mut self, range: Range<usize>, text: String) {
        self.edits.push((range, text));
    }

    /// Whether there is nothing to replace.
    pub(crate) fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The new text; `None` when two replacements overlap or one lies outside.
    pub(crate) fn apply(mut self, whole: &str) -> Option<Vec<u8>> {
        self.edits.sort_by_key(|(range, _)| range.start);
        let added: usize = self.edits.iter().map(|(_, text)| text.len()).sum();
        let mut out = Vec::with_capacity(whole.len() + added);
        let mut done = 0;
        for (range, text) in self.edits {
            whole.get(range.clone())?;
            out.extend_from_slice(whole.get(done..range.start)?.as_bytes());
            out.extend_from_slice(text.as_bytes());
            done = range.end;
        }
        out.extend_from_slice(whole.get(done..)?.as_bytes());
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_replaced_and_the_rest_stays() {
        let whole = "one two three";
        let mut splice = Splice::default();
        splice.replace(span(whole, &whole[8..]).unwrap(), "3".into());
        splice.replace(span(whole, &whole[..3]).unwrap(), "1st".into());
        assert_eq!(splice.apply(whole).unwrap(), b"1st two 3");
        assert_eq!(Splice::default().apply(whole).unwrap(), whole.as_bytes());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let whole = "0123456789";
        let backwards = Range { start: 5, end: 4 };
        for ranges in [[0..4, 3..5], [0..1, 8..11], [0..1, backwards]] {
            let mut splice = Splice::default();
            for range in ranges {
                splice.replace(range, String::new());
            }
            assert_eq!(splice.apply(whole), None);
        }
        assert_eq!(span(&whole[2..5], whole), None);
        assert_eq!(span(&whole[2..5], &whole[4..]), None);
    }
}
