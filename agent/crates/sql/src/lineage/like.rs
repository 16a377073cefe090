//! Names that are like a pattern, without regard to case.

/// Whether a name is like a pattern: `%` stands for any characters, `_` for one.
pub(super) fn matches(name: &str, pattern: &str) -> bool {
    let fold = |text: &str| text.to_uppercase().chars().collect::<Vec<_>>();
    let (name, pattern) = (fold(name), fold(pattern));
    let (mut at, mut in_pattern) = (0, 0);
    // Where to go on when what follows the last `%` does not fit.
    let mut retry: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(in_pattern) {
            Some('%') => {
                retry = Some((in_pattern + 1, at));
                in_pattern += 1;
            }
            Some(c) if *c == '_' || name.get(at) == Some(c) => {
                at += 1;
                in_pattern += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    (in_pattern, at) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(in_pattern).all(|c| *c == '%')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn percent_and_underscore() {
        for (name, pattern) in [
            ("SSN", "ssn"),
            ("SSN_LAST4", "%last%"),
            ("A", "_"),
            ("AB", "%"),
            ("", "%"),
            ("ABAB", "%ab"),
            ("É", "é"),
        ] {
            assert!(matches(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in
            [("SSN", "sn"), ("AB", "_"), ("", "_"), ("ABC", "%ab"), ("SSN", ""), ("A%", "b%")]
        {
            assert!(!matches(name, pattern), "{name} {pattern}");
        }
    }
}
