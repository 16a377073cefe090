//! What was meant: the known word nearest to one that is not known.

/// The known word that differs from `word` in so few letters that it was probably meant; `None` if none does, or if `word`
/// is one of them.
pub(crate) fn meant<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Of short words, every other one is near.
    let most = word.chars().count() / 3;
    let mut nearest: Option<(usize, &str)> = None;
    for candidate in known {
        let distance = distance(word, candidate);
        if distance == 0 {
            return None;
        }
        if distance <= most.max(1) && nearest.is_none_or(|(best, _)| distance < best) {
            nearest = Some((distance, candidate));
        }
    }
    nearest.map(|(_, word)| word)
}

/// How many letters must be put in, taken out, changed, or swapped with the next one, to make one word of the other. Case
/// counts for nothing unless it is all that differs.
fn distance(a: &str, b: &str) -> usize {
    let folded = |text: &str| text.chars().map(|c| c.to_ascii_lowercase()).collect::<Vec<char>>();
    let (a, b, is_same) = (folded(a), folded(b), a == b);
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |up: usize, left: usize| {
                let row = rows.len().checked_sub(up).and_then(|row| rows.get(row));
                row.and_then(|row| (j + 1).checked_sub(left).and_then(|at| row.get(at)).copied())
                    .unwrap_or(usize::MAX - 1)
            };
            let left = row.last().copied().unwrap_or_default() + 1;
            let mut cost = left.min(at(1, 0) + 1).min(at(1, 1) + usize::from(x != y));
            let is_swap = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if is_swap {
                cost = cost.min(at(2, 2) + 1);
            }
            row.push(cost);
        }
        rows.push(row);
    }
    let cost = rows.last().and_then(|row| row.last()).copied().unwrap_or_default();
    cost.max(usize::from(!is_same))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_was_meant() {
        let known = ["reason", "approve", "assurance", "id", "mask", "pii", "ssn"];
        for (word, expected) in [
            ("aprove", Some("approve")),
            ("reasno", Some("reason")),
            ("Reason", Some("reason")),
            ("pil", Some("pii")),
            ("masks", Some("mask")),
            ("reason", None),
            ("because", None),
            ("x", None),
        ] {
            assert_eq!(meant(word, known), expected, "{word}");
        }
        assert_eq!(meant("anything", []), None);
        assert_eq!((distance("", "abc"), distance("ab", "ba"), distance("kitten", "sitting")), (3, 1, 3));
    }
}
