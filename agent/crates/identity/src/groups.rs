//! Groups that an operator makes of jobs: each rule names a group and says what a job must be to be in it.

use std::{collections::BTreeSet, fmt};

use crate::{Assurance, Glob, GlobError, Principal};

/// What of a job a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupField {
    /// `github`, …
    Provider,
    /// `acme/etl`
    Repository,
    /// `refs/heads/main`
    Ref,
    /// Name of the workflow.
    Workflow,
    /// The deployment environment.
    Environment,
    /// Who started it.
    Actor,
    /// `push`, `schedule`, …
    Event,
    /// The job's id within the workflow.
    Job,
    /// The token's `sub`. Only verified jobs have one.
    Subject,
}

impl GroupField {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Provider,
        Self::Repository,
        Self::Ref,
        Self::Workflow,
        Self::Environment,
        Self::Actor,
        Self::Event,
        Self::Job,
        Self::Subject,
    ];

    /// The word for it in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Repository => "repository",
            Self::Ref => "ref",
            Self::Workflow => "workflow",
            Self::Environment => "environment",
            Self::Actor => "actor",
            Self::Event => "event",
            Self::Job => "job",
            Self::Subject => "subject",
        }
    }

    fn of(self, principal: &Principal) -> Option<&str> {
        match self {
            Self::Provider => principal.provider().map(crate::Provider::as_str),
            Self::Repository => principal.repository(),
            Self::Ref => principal.git_ref(),
            Self::Workflow => principal.workflow(),
            Self::Environment => principal.environment(),
            Self::Actor => principal.actor(),
            Self::Event => principal.job_facts()?.event.as_deref(),
            Self::Job => principal.job(),
            Self::Subject => principal.subject(),
        }
    }
}

impl fmt::Display for GroupField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupRuleError {
    /// A name that is none, or that could be mistaken for one of the program's own.
    #[error(
        "{0:?} is no name of a group: use 1 to {max} characters, no control characters, and no ':', which groups have \
         that are made of a job by themselves", max = GroupRule::NAME_CHARS_MAX
    )]
    Name(String),
    /// Everybody would be in it.
    #[error(
        "the rule for the group {0:?} asks for nothing, so every job would be in it; say which repository, or what else"
    )]
    Everybody(String),
    /// A list without a pattern fits nobody.
    #[error("the rule for the group {group:?} has an empty list for {field}, so no job could be in it")]
    Nobody {
        /// The group.
        group: String,
        /// Whose list it is.
        field: GroupField,
    },
    /// A pattern that is none.
    #[error("the rule for the group {group:?}: {error}")]
    Pattern {
        /// The group.
        group: String,
        /// What is wrong.
        error: GlobError,
    },
    /// Nothing is known of somebody without identity that a rule could ask for.
    #[error("the rule for the group {0:?}: assurance is \"verified\" or \"observed\"")]
    Assurance(String),
}

/// One rule. Every field that it names must fit one of its patterns, and what is not known fits none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRule {
    group: String,
    least: Assurance,
    fields: Vec<(GroupField, Vec<Glob>)>,
}

impl GroupRule {
    /// Longest name of a group.
    pub const NAME_CHARS_MAX: usize = 128;

    /// A rule for jobs that are known at least as well as `least`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new<S: AsRef<str>>(
        group: &str,
        least: Assurance,
        fields: &[(GroupField, Vec<S>)],
    ) -> Result<Self, GroupRuleError> {
        let length = group.chars().count();
        let is_odd = |c: char| c.is_control() || c == ':';
        if length == 0 || length > Self::NAME_CHARS_MAX || group.chars().any(is_odd) {
            return Err(GroupRuleError::Name(group.chars().take(64).collect()));
        }
        if least == Assurance::None {
            return Err(GroupRuleError::Assurance(group.to_owned()));
        }
        if fields.is_empty() {
            return Err(GroupRuleError::Everybody(group.to_owned()));
        }
        let read = |(field, patterns): &(GroupField, Vec<S>)| {
            if patterns.is_empty() {
                return Err(GroupRuleError::Nobody { group: group.to_owned(), field: *field });
            }
            let globs = patterns.iter().map(|pattern| Glob::parse(pattern.as_ref()));
            let globs = globs.collect::<Result<Vec<_>, _>>();
            Ok((*field, globs.map_err(|error| GroupRuleError::Pattern { group: group.to_owned(), error })?))
        };
        let fields = fields.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { group: group.to_owned(), least, fields })
    }

    fn takes(&self, principal: &Principal) -> bool {
        let fits = |(field, globs): &(GroupField, Vec<Glob>)| {
            field.of(principal).is_some_and(|value| globs.iter().any(|glob| glob.matches(value)))
        };
        principal.assurance() >= self.least && self.fields.iter().all(fits)
    }
}

/// All rules. Several may name one group: a job is in it when one of them takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRules(Vec<GroupRule>);

impl GroupRules {
    /// These rules.
    #[must_use]
    pub fn new(rules: Vec<GroupRule>) -> Self {
        Self(rules)
    }

    /// The groups of a principal.
    #[must_use]
    pub fn groups_of(&self, principal: &Principal) -> BTreeSet<String> {
        self.0.iter().filter(|rule| rule.takes(principal)).map(|rule| rule.group.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{NobodyReason, testing};

    fn rule(group: &str, least: Assurance, fields: &[(GroupField, &[&str])]) -> GroupRule {
        let fields = fields.iter().map(|(field, list)| (*field, list.to_vec())).collect::<Vec<_>>();
        GroupRule::new(group, least, &fields).unwrap()
    }

    fn groups(rules: Vec<GroupRule>, principal: &Principal) -> Vec<String> {
        GroupRules::new(rules).groups_of(principal).into_iter().collect()
    }

    #[test]
    fn every_field_of_a_rule_must_fit() {
        use GroupField::{Environment, Ref, Repository};
        let verified = Assurance::Verified;
        let rules = || {
            vec![
                rule(
                    "data-eng",
                    verified,
                    &[(Repository, &["acme/web", "acme/etl*"]), (Ref, &["refs/heads/*"])],
                ),
                rule("releases", verified, &[(Repository, &["acme/*"]), (Environment, &["production"])]),
                rule("data-eng", verified, &[(Repository, &["acme/other"])]),
            ]
        };
        let of = |changes| groups(rules(), &testing::verified(&changes));
        assert_eq!(of(json!({})), ["data-eng", "releases"]);
        assert_eq!(of(json!({"repository": "acme/other", "environment": null})), ["data-eng"]);
        assert_eq!(of(json!({"ref": "refs/tags/v1"})), ["releases"]);
        assert_eq!(of(json!({"environment": null})), ["data-eng"], "what is not known fits nothing");
        assert!(of(json!({"repository": "evil/etl"})).is_empty());
        let anything = vec![rule("any", verified, &[(Environment, &["**"])])];
        assert!(groups(anything, &testing::verified(&json!({"environment": null}))).is_empty());
    }

    #[test]
    fn what_is_not_verified_is_in_a_group_only_where_the_rule_says_observed() {
        let fields: &[(GroupField, &[&str])] = &[(GroupField::Repository, &["acme/etl"])];
        let rules =
            || vec![rule("strict", Assurance::Verified, fields), rule("lax", Assurance::Observed, fields)];
        assert_eq!(groups(rules(), &testing::observed(&json!({}))), ["lax"]);
        assert_eq!(groups(rules(), &testing::verified(&json!({}))), ["lax", "strict"]);
        assert!(groups(rules(), &Principal::unidentified(NobodyReason::NoJob)).is_empty());
    }

    #[test]
    fn a_rule_that_takes_everybody_or_nobody_is_refused() {
        let new =
            |group: &str, least, fields: &[(GroupField, Vec<&str>)]| GroupRule::new(group, least, fields);
        let some = [(GroupField::Actor, vec!["mona"])];
        assert!(new("a", Assurance::Verified, &some).is_ok());
        for name in ["", "repository:acme/etl", "a\nb", &"x".repeat(129)] {
            assert!(matches!(new(name, Assurance::Verified, &some), Err(GroupRuleError::Name(_))), "{name}");
        }
        assert!(matches!(new("a", Assurance::None, &some), Err(GroupRuleError::Assurance(_))));
        assert!(matches!(new("a", Assurance::Verified, &[]), Err(GroupRuleError::Everybody(_))));
        let empty = [(GroupField::Actor, vec![])];
        assert!(matches!(new("a", Assurance::Verified, &empty), Err(GroupRuleError::Nobody { .. })));
        let bad = [(GroupField::Actor, vec![""])];
        assert!(matches!(new("a", Assurance::Verified, &bad), Err(GroupRuleError::Pattern { .. })));
    }
}
