//! A policy file to its rules. The policy language's own parser stops at the first mistake of a file; rules one by one show
//! all of them.

/// Splits a file into rules, each with its offset and its final `;`. Only strings and comments can hold another `;`.
pub(crate) fn statements(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                while chars.next_if(|(_, c)| *c != '\n').is_some() {}
            }
            '"' => {
                start.get_or_insert(at);
                let mut escaped = false;
                for (_, c) in chars.by_ref() {
                    match c {
                        '"' if !escaped => break,
                        '\\' => escaped = !escaped,
                        _ => escaped = false,
                    }
                }
            }
            ';' => {
                let from = start.take().unwrap_or(at);
                found.extend(text.get(from..=at).map(|rule| (from, rule)));
            }
            c if c.is_whitespace() => {}
            _ => {
                start.get_or_insert(at);
            }
        }
    }
    // What follows the last `;` is no whole rule; its parser says so.
    found.extend(start.and_then(|from| text.get(from..).map(|rule| (from, rule))));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_split_at_the_semicolons_that_end_rules() {
        let text = "// a; b\npermit(x); \"a;\\\"b\" ; forbid // ;\n (y);\n//end";
        let parts: Vec<&str> = statements(text).into_iter().map(|(_, part)| part).collect();
        assert_eq!(parts, ["permit(x);", "\"a;\\\"b\" ;", "forbid // ;\n (y);"]);
        assert_eq!(statements("permit(x"), [(0, "permit(x")]);
        assert!(statements(" \n// nothing").is_empty());
    }
}
