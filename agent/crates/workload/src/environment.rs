//! The environment a runner gave to a step: the few variables that matter here, and nothing else of it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use identity::{NobodyReason, Provider};
use model::Secret;

/// All variables that are looked at: what any provider's runner gives to a step.
static WANTED: LazyLock<BTreeSet<&'static str>> =
    LazyLock::new(|| Provider::ALL.into_iter().flat_map(Provider::variables).collect());

/// The wanted variables of one process.
#[derive(Debug)]
pub(crate) struct Environment(HashMap<&'static str, Secret<String>>);

impl Environment {
    /// Reads the NUL-separated block of `/proc/<pid>/environ`. A wanted variable that is there twice with different
    /// values is refused: `getenv` and other readers disagree about which one counts.
    pub(crate) fn parse(block: &Secret<Vec<u8>>) -> Result<Self, NobodyReason> {
        let mut found = HashMap::<&'static str, Secret<String>>::new();
        for entry in block.expose().split(|byte| *byte == 0) {
            let Some(at) = entry.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = entry.split_at(at);
            let Some(wanted) = str::from_utf8(name).ok().and_then(|name| WANTED.get(name)) else { continue };
            let value = Secret::new(String::from_utf8_lossy(value.get(1..).unwrap_or_default()).into_owned());
            if found.get(wanted).is_some_and(|before| before.expose() != value.expose()) {
                return Err(NobodyReason::AmbiguousEnvironment(wanted));
            }
            found.insert(wanted, value);
        }
        Ok(Self(found))
    }

    /// A variable's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.expose().as_str())
    }

    /// A variable's value where an empty one counts as none.
    pub(crate) fn get_filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(block: &str) -> Result<Environment, NobodyReason> {
        Environment::parse(&Secret::new(block.replace('|', "\0").into_bytes()))
    }

    #[test]
    fn only_wanted_variables_are_kept() {
        let environment =
            parse("PATH=/bin|GITHUB_REF=a=b|GITHUB_RUN_ID=|XGITHUB_SHA=1|GITHUB_SHA|github_actor=x|")
                .unwrap();
        assert_eq!(environment.get("GITHUB_REF"), Some("a=b"));
        assert_eq!(
            (environment.get("GITHUB_RUN_ID"), environment.get_filled("GITHUB_RUN_ID")),
            (Some(""), None)
        );
        for absent in ["PATH", "GITHUB_SHA", "GITHUB_ACTOR"] {
            assert_eq!(environment.get(absent), None, "{absent}");
        }
        assert!(!format!("{environment:?}").contains("a=b"));
    }

    #[test]
    fn a_variable_with_two_values_is_refused() {
        assert!(parse("GITHUB_RUN_ID=1|GITHUB_RUN_ID=1").is_ok());
        assert!(parse("PATH=1|PATH=2").is_ok());
        let ambiguous = parse("GITHUB_RUN_ID=1|A=b|GITHUB_RUN_ID=2").unwrap_err();
        assert_eq!(ambiguous, NobodyReason::AmbiguousEnvironment("GITHUB_RUN_ID"));
    }
}
