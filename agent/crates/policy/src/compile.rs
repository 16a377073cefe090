//! Policy files to something that can be asked, or everything that is wrong with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::{
    Authorizer, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator, ffi::DetailedError,
};
use identity::Assurance;
use sql::Effect;

use crate::{
    Classification, Place, PolicyError, Problem,
    entities::Vocabulary,
    kept::Kept,
    literals, near,
    rule::{Rule, Start},
    slice::{Slice, Slices, set_of},
    split::statements,
};

const SCHEMA: &str = include_str!("schema.cedarschema");

/// One policy file, as read by whoever owns the folder.
#[derive(Debug, Clone)]
pub struct PolicyFile {
    /// What errors call it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Compiled policies with the classification they go with. Cheap to share; asking never changes them.
#[derive(Debug)]
pub struct Policies {
    pub(crate) authorizer: Authorizer,
    pub(crate) schema: Schema,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) classification: Arc<Classification>,
    pub(crate) rules: BTreeMap<String, Rule>,
    slices: Slices,
    pub(crate) kept: Kept,
}

impl Policies {
    /// Compiles policies against the schema that ships with the program. No file at all is a valid set: it permits
    /// nothing.
    ///
    /// # Errors
    /// Everything that is wrong with the files, by file, line and column.
    pub fn compile(files: &[PolicyFile], classification: Classification) -> Result<Self, PolicyError> {
        let damaged = |message| PolicyError::new(vec![Problem::OwnSchema(message)]);
        let schema = own_schema().map_err(damaged)?;
        let vocabulary = Vocabulary::new(&schema).map_err(damaged)?;
        let mut rules = BTreeMap::new();
        let mut problems = Vec::new();
        for (index, file) in files.iter().enumerate() {
            read_file(index, file, &mut rules, &mut problems);
        }
        let everything = set_of(rules.values().map(|rule| &rule.policy));
        problems.extend(misfits(files, &rules, &everything, &schema));
        problems.extend(misspelt(files, &rules, &classification));
        if !problems.is_empty() {
            return Err(PolicyError::new(problems));
        }
        Ok(Self {
            authorizer: Authorizer::new(),
            slices: Slices::new(&vocabulary),
            kept: Kept::default(),
            classification: Arc::new(classification),
            schema,
            vocabulary,
            rules,
        })
    }

    /// Reads policy files and the classification that goes with them.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(files: &[PolicyFile], classification: &PolicyFile) -> Result<Self, PolicyError> {
        Self::load_with(files, classification, &BTreeMap::new())
    }

    /// The same, with the keys of masks by their names.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(
        files: &[PolicyFile],
        classification: &PolicyFile,
        keys: &BTreeMap<String, masking::Key>,
    ) -> Result<Self, PolicyError> {
        match Classification::parse_with(&classification.name, &classification.text, keys) {
            Ok(classification) => Self::compile(files, classification),
            Err(error) => {
                let others = Self::compile(files, Classification::default()).err();
                let others = others.iter().flat_map(PolicyError::problems);
                Err(PolicyError::new(others.chain(error.problems()).cloned().collect()))
            }
        }
    }

    /// The names of all rules, sorted.
    pub fn rule_ids(&self) -> impl Iterator<Item = &str> {
        self.rules.keys().map(String::as_str)
    }

    /// The rules that count when a principal of this assurance asks for this action, one of the vocabulary's.
    pub(crate) fn slice(&self, assurance: Assurance, action: &EntityUid) -> Option<&Slice> {
        let groups = self.vocabulary.groups_of(action);
        self.slices.get(assurance, action, || Slice::new(&self.rules, assurance, action, groups))
    }
}

fn own_schema() -> Result<Schema, String> {
    match Schema::from_cedarschema_str(SCHEMA) {
        Ok((schema, _warnings)) => Ok(schema),
        Err(error) => Err(error.to_string()),
    }
}

fn read_file(
    index: usize,
    file: &PolicyFile,
    rules: &mut BTreeMap<String, Rule>,
    problems: &mut Vec<Problem>,
) {
    for (offset, text) in statements(&file.text) {
        let policy = match Policy::parse(None, text) {
            Ok(policy) => policy,
            Err(errors) => {
                problems.extend(errors.iter().map(|error| {
                    let detail = DetailedError::from(error);
                    let at = detail.source_locations.first().map_or(0, |label| label.loc.start);
                    let place = Place::at(&file.name, &file.text, offset + at);
                    Problem::Syntax { place, message: message(&detail) }
                }));
                continue;
            }
        };
        let Some((id, rule)) = Rule::read(policy, file, Start { file: index, offset }, problems) else {
            continue;
        };
        match rules.get(&id) {
            Some(first) => {
                problems.push(Problem::DuplicateId { place: rule.place, id, first: first.place.clone() });
            }
            None => {
                rules.insert(id, rule);
            }
        }
    }
}

/// What does not fit the schema, and rules that can never apply: a forbid that forbids nothing is a mistake, too.
fn misfits(
    files: &[PolicyFile],
    rules: &BTreeMap<String, Rule>,
    set: &PolicySet,
    schema: &Schema,
) -> Vec<Problem> {
    let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|error| (error.policy_id(), DetailedError::from(error)));
    let warnings =
        result.validation_warnings().map(|warning| (warning.policy_id(), DetailedError::from(warning)));
    let problem = |(id, detail): (&PolicyId, DetailedError)| {
        let rule = id.to_string();
        let place = match rules.get(&rule) {
            Some(known) => match (detail.source_locations.first(), files.get(known.start.file)) {
                (Some(label), Some(file)) => {
                    Place::at(&file.name, &file.text, known.start.offset + label.loc.start)
                }
                _ => known.place.clone(),
            },
            None => Place { file: String::new(), line: 0, column: 0 },
        };
        // The validator names the rule again in each sentence.
        let message = message(&detail).replace(&format!("for policy `{rule}`, "), "");
        Problem::Schema { place, rule, message }
    };
    let problems: Vec<Problem> = errors.chain(warnings).map(problem).collect();
    // A rule with a word that nobody knows can also never apply; that is said only where it is not the consequence.
    let unknown = |problem: &Problem| match problem {
        Problem::Schema { rule, message, .. } if message.starts_with("unrecognized") => Some(rule.clone()),
        _ => None,
    };
    let with_unknown: BTreeSet<String> = problems.iter().filter_map(unknown).collect();
    let is_cause = |problem: &Problem| match problem {
        Problem::Schema { rule, .. } => !with_unknown.contains(rule) || unknown(problem).is_some(),
        _ => true,
    };
    problems.into_iter().filter(is_cause).collect()
}

/// Tags and effects that nothing has, and that are nearly the name of one. Whether a tag is on any column at all is the
/// operator's to know: rules may be there before the columns.
fn misspelt(
    files: &[PolicyFile],
    rules: &BTreeMap<String, Rule>,
    classification: &Classification,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (id, rule) in rules {
        let mut look = |what: &'static str, attribute: &str, known: &[&str], is_closed: bool| {
            for word in literals::compared_with(&rule.policy, attribute) {
                let meant = near::meant(&word, known.iter().copied()).map(str::to_owned);
                if !known.contains(&word.as_str()) && (is_closed || meant.is_some()) {
                    let place = rule.place_of_text(files, &word);
                    problems.push(Problem::Word { place, rule: id.clone(), what, word, meant });
                }
            }
        };
        look("tag", "tags", &classification.tags().collect::<Vec<_>>(), false);
        look("effect", "effects", &Effect::ALL.map(Effect::as_str), true);
    }
    problems
}

fn message(detail: &DetailedError) -> String {
    match &detail.help {
        Some(help) => format!("{} ({help})", detail.message),
        None => detail.message.clone(),
    }
}
