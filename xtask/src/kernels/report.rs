//! How a run went, from what the guest said. Silence is no success.

use std::fmt;

/// What every line begins with that the guest itself says, and not a test.
pub(crate) const GUEST: &str = "guest: ";

/// How one run went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All that ran passed, and something ran.
    Passed { tests: u32 },
    /// Some failed, or some were not run; their names, as far as they were said.
    Failed { tests: u32, failed: Vec<String> },
    /// There is no result: the guest hung, died, or never got that far.
    Nothing(&'static str),
}

impl Outcome {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self, Self::Passed { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { tests } => write!(f, "{tests} passed"),
            Self::Failed { tests, failed } => {
                write!(f, "{} of {tests} did not pass: {}", failed.len(), failed.join(", "))
            }
            Self::Nothing(why) => write!(f, "no result: {why}"),
        }
    }
}

/// Reads the outcome of the run called `name`. The harness of Rust's tests says `test NAME ... ok` for each, and ends
/// with `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
pub(crate) fn judge(name: &str, said: &[String]) -> Outcome {
    let begin = format!("{GUEST}run {name}");
    let Some(start) = said.iter().position(|line| *line == begin) else {
        return Outcome::Nothing("the guest did not begin it");
    };
    let end = format!("{GUEST}end {name} ");
    let lines = said.iter().skip(start + 1).take_while(|line| !line.starts_with(GUEST));
    let lines: Vec<&str> = lines.map(String::as_str).collect();
    let Some(status) = said.iter().skip(start + 1).find_map(|line| line.strip_prefix(&end)) else {
        return Outcome::Nothing("the guest did not end it");
    };
    let Some(counts) = lines.iter().find_map(|line| line.strip_prefix("test result: ")) else {
        return Outcome::Nothing("the tests did not say how they went");
    };
    let count = |what: &str| {
        let part = counts.split([';', '.']).find_map(|part| part.trim().strip_suffix(what));
        part.and_then(|number| number.trim().parse::<u32>().ok())
    };
    let (Some(passed), Some(failed), Some(ignored)) = (count("passed"), count("failed"), count("ignored"))
    else {
        return Outcome::Nothing("the tests' result cannot be read");
    };
    match (status, passed, failed + ignored) {
        ("0", 0, 0) => Outcome::Nothing("no test was run"),
        ("0", _, 0) => Outcome::Passed { tests: passed },
        _ => Outcome::Failed { tests: passed + failed + ignored, failed: failures(&lines) },
    }
}

/// The names in the list that ends what the harness says: indented, below the last `failures:`.
fn failures(lines: &[&str]) -> Vec<String> {
    let after = lines.iter().rposition(|line| *line == "failures:").map_or(lines.len(), |at| at + 1);
    let names = lines.iter().skip(after).map_while(|line| line.strip_prefix("    "));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const GOOD: &str = "noise\nguest: run a\n\nrunning 2 tests\ntest x ... ok\ntest y ... ok\n\n\
        test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 4.57s\n\nguest: end a 0\n";

    #[test]
    fn what_passed_has_passed() {
        assert_eq!(judge("a", &said(GOOD)), Outcome::Passed { tests: 2 });
    }

    #[test]
    fn what_failed_is_named() {
        let text = "guest: run a\ntest x ... FAILED\n\nfailures:\n\n---- x stdout ----\nfailures:\n    x\n\n\
            test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s\n\
            guest: end a 101\n";
        let outcome = judge("a", &said(text));
        assert_eq!(outcome, Outcome::Failed { tests: 2, failed: vec!["x".to_owned()] });
        assert_eq!(outcome.to_string(), "1 of 2 did not pass: x");
    }

    #[test]
    fn silence_half_an_answer_and_an_empty_one_are_no_success() {
        let (killed, cut) = (GOOD.replace("end a 0", "end a 137"), GOOD.replace("guest: end a 0\n", ""));
        let empty = GOOD.replace("2 passed", "0 passed");
        let ignored = GOOD.replace("0 ignored", "1 ignored");
        let mute = GOOD.replace("test result", "result");
        for text in ["", &killed, &cut, &empty, &ignored, &mute, &GOOD.replace("run a", "run b")] {
            assert!(!judge("a", &said(text)).is_good(), "{text}");
        }
        assert!(matches!(judge("b", &said(GOOD)), Outcome::Nothing(_)));
    }
}
