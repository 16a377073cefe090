//! What the policy language's own validator finds: rules that do not fit the schema, and rules that can never apply. Each
//! mistake is told once, with what was probably meant.

use std::collections::BTreeMap;

use cedar_policy::{
    ActionConstraint, PolicyId, PolicySet, Schema, ValidationMode, Validator, ffi::DetailedError,
};

use crate::{Place, PolicyFile, Problem, compile::message, entities::Vocabulary, near, rule::Rule};

/// Everything that does not fit. A forbid that forbids nothing is a mistake, too.
pub(crate) fn misfits(
    files: &[PolicyFile],
    rules: &BTreeMap<String, Rule>,
    set: &PolicySet,
    (schema, words): (&Schema, &Vocabulary),
) -> Vec<Problem> {
    let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|error| (error.policy_id(), DetailedError::from(error)));
    let warnings =
        result.validation_warnings().map(|warning| (warning.policy_id(), DetailedError::from(warning)));
    let found = errors.chain(warnings).map(|(id, detail)| Found::new(files, rules, id, &detail, words));
    let found: Vec<Found> = found.collect();
    let mut told: Vec<Found> = Vec::new();
    for one in &found {
        // A rule with a word that nobody knows can also never apply; that is said only where it is not the consequence.
        let is_consequence =
            |other: &Found| other.rule == one.rule && other.weight() > one.weight() && !other.is(one);
        // One word is wrong for each action and each kind of principal, in the same place.
        if !found.iter().any(is_consequence) && !told.iter().any(|other| other.is(one)) {
            told.push(one.clone());
        }
    }
    told.into_iter().map(Found::into_problem).collect()
}

/// What the validator said of one rule.
#[derive(Clone)]
struct Found {
    place: Place,
    rule: String,
    message: String,
}

impl Found {
    fn new(
        files: &[PolicyFile],
        rules: &BTreeMap<String, Rule>,
        id: &PolicyId,
        detail: &DetailedError,
        words: &Vocabulary,
    ) -> Self {
        let rule = id.to_string();
        let known = rules.get(&rule);
        let place = match known {
            Some(known) => match (detail.source_locations.first(), files.get(known.start.file)) {
                (Some(label), Some(file)) => {
                    Place::at(&file.name, &file.text, known.start.offset + label.loc.start)
                }
                _ => known.place.clone(),
            },
            None => Place { file: String::new(), line: 0, column: 0 },
        };
        // The validator names the rule again in each sentence.
        let said = message(detail).replace(&format!("for policy `{rule}`, "), "");
        let message = match known {
            Some(known) => meant(said, known, words),
            None => said,
        };
        Self { place, rule, message }
    }

    /// Whether both are about the same mistake.
    fn is(&self, other: &Self) -> bool {
        (&self.place, &self.rule, self.subject()) == (&other.place, &other.rule, other.subject())
    }

    /// What it is about, without the kind of principal or the action for which it is so.
    fn subject(&self) -> &str {
        [" on entity type ", " in context for "].iter().fold(self.message.as_str(), |subject, end| {
            subject.split_once(end).map_or(subject, |(before, _)| before)
        })
    }

    /// How much it explains: an unknown word more than that nothing fits, and that more than that it never applies.
    fn weight(&self) -> usize {
        let begins = |words: &str| self.message.starts_with(words);
        if begins("unrecognized") {
            3
        } else if begins("policy is impossible") {
            1
        } else {
            2
        }
    }

    fn into_problem(self) -> Problem {
        let Self { place, rule, message } = self;
        Problem::Schema { place, rule, message }
    }
}

/// A sentence with what was meant of an action, where the validator does not know.
fn meant(said: String, rule: &Rule, words: &Vocabulary) -> String {
    let known = || words.actions().map(|action| action.id().unescaped());
    if let Some(rest) = said.strip_prefix("unrecognized action `Action::\"")
        && let Some((name, _)) = rest.split_once('"')
        && let Some(meant) = near::meant(name, known())
    {
        return format!("unrecognized action `Action::\"{name}\"` (did you mean `Action::\"{meant}\"`?)");
    }
    match rule.policy.action_constraint() {
        ActionConstraint::Eq(action) if said.contains("applicable action") && words.is_group(&action) => {
            format!("{action} is a group of actions; write `action in {action}`")
        }
        _ => said,
    }
}
