//! Policy files to something that can be asked, or everything that is wrong with them.

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy::{Authorizer, EntityUid, Policy, Schema, ffi::DetailedError};
use identity::Assurance;

use crate::{
    Classification, Place, PolicyError, Problem,
    classification::Classified,
    entities::Vocabulary,
    kept::Kept,
    misfits::misfits,
    rule::{Rule, Start},
    slice::{Slice, Slices, set_of},
    split::statements,
    words::misspelt,
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
        problems.extend(misfits(files, &rules, &everything, (&schema, &vocabulary)));
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

    /// How much there is in the classification that goes with them.
    #[must_use]
    pub fn classified(&self) -> Classified {
        self.classification.counts()
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
                    Problem::Syntax { place, message: hinted(message(&detail), text) }
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

/// A parser's sentence, with what is probably missing where it names a token that begins or ends a rule.
fn hinted(said: String, rule: &str) -> String {
    let unexpected = said.strip_prefix("unexpected token `").and_then(|rest| rest.split('`').next());
    let hint = match unexpected {
        Some("@" | "permit" | "forbid") => "; is the `;` of the rule before it missing?",
        Some(";") if rule.matches(['(', '{', '[']).count() > rule.matches([')', '}', ']']).count() => {
            "; is a bracket before it not closed?"
        }
        _ => "",
    };
    format!("{said}{hint}")
}

/// What the policy language says of a mistake, with its advice.
pub(crate) fn message(detail: &DetailedError) -> String {
    match &detail.help {
        Some(help) => format!("{} ({help})", detail.message),
        None => detail.message.clone(),
    }
}
