//! Policy files to something that can be asked, or everything that is wrong with them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use cedar_policy::{
    ActionConstraint, Authorizer, Effect, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode,
    Validator, ffi::DetailedError,
};
use identity::Assurance;

use crate::{
    Classification, Place, PolicyError, Problem, absence,
    decision::BUILT_IN_RULES,
    entities::{ACTION_UNMASK, Vocabulary},
    kept::Kept,
};

const SCHEMA: &str = include_str!("schema.cedarschema");

/// The longest name of a rule.
const RULE_ID_BYTES_MAX: usize = 64;

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
    /// Whether any rule could permit `unmask`: if none could, nobody needs to ask.
    pub(crate) may_unmask: bool,
    by_assurance: [Slices; 3],
    pub(crate) kept: Kept,
}

/// What is known of a rule beside what it says.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) reason: Option<String>,
    /// The group that can lift it.
    pub(crate) approve: Option<String>,
    /// The least assurance of a principal for which a permit counts.
    needs: Assurance,
    place: Place,
    start: Start,
    policy: Policy,
}

/// For each action the rules that could speak of it to principals of one assurance, put together when it is first asked.
type Slices = HashMap<EntityUid, OnceLock<Slice>>;

/// The rules that count for one assurance and could speak of one action. A rule whose head names other actions is false
/// without being looked at further, so leaving it out changes no answer.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) all: PolicySet,
    /// Without the forbids that can be lifted; `None` if there are none.
    pub(crate) lifted: Option<PolicySet>,
}

/// Where a rule's text begins in its file.
#[derive(Debug, Clone, Copy)]
struct Start {
    file: usize,
    offset: usize,
}

impl Policies {
    /// Compiles policies against the schema that ships with the program. No file at all is a valid set: it permits
    /// nothing.
    ///
    /// # Errors
    /// Everything that is wrong with the files, by file, line and column.
    pub fn compile(files: &[PolicyFile], classification: Classification) -> Result<Self, PolicyError> {
        let schema = own_schema().map_err(|problem| PolicyError::new(vec![problem]))?;
        let vocabulary = Vocabulary::new(&schema).map_err(|problem| PolicyError::new(vec![problem]))?;
        let mut rules = BTreeMap::new();
        let mut problems = Vec::new();
        for (index, file) in files.iter().enumerate() {
            read_file(index, file, &mut rules, &mut problems);
        }
        let everything = set_of(rules.values().map(|rule| &rule.policy));
        problems.extend(misfits(files, &rules, &everything, &schema));
        if !problems.is_empty() {
            return Err(PolicyError::new(problems));
        }
        let slices = || vocabulary.actions().map(|action| (action.clone(), OnceLock::new())).collect();
        Ok(Self {
            authorizer: Authorizer::new(),
            by_assurance: [slices(), slices(), slices()],
            kept: Kept::default(),
            may_unmask: rules.values().any(|rule| may_unmask(&rule.policy)),
            classification: Arc::new(classification),
            schema,
            vocabulary,
            rules,
        })
    }

    /// The names of all rules, sorted.
    pub fn rule_ids(&self) -> impl Iterator<Item = &str> {
        self.rules.keys().map(String::as_str)
    }

    /// The rules that count when a principal of this assurance asks for this action, one of the vocabulary's.
    pub(crate) fn slice(&self, assurance: Assurance, action: &EntityUid) -> Option<&Slice> {
        let [none, observed, verified] = &self.by_assurance;
        let slices = match assurance {
            Assurance::None => none,
            Assurance::Observed => observed,
            Assurance::Verified => verified,
        };
        let slice = slices.get(action)?;
        Some(
            slice.get_or_init(|| {
                Slice::new(&self.rules, assurance, action, self.vocabulary.groups_of(action))
            }),
        )
    }
}

impl Slice {
    fn new(
        rules: &BTreeMap<String, Rule>,
        assurance: Assurance,
        action: &EntityUid,
        groups: &[EntityUid],
    ) -> Self {
        let speaks_of = |rule: &&Rule| match rule.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(named) => named == *action,
            ActionConstraint::In(named) => {
                named.iter().any(|named| named == action || groups.contains(named))
            }
        };
        let counts = |rule: &&Rule| rule.policy.effect() == Effect::Forbid || rule.needs <= assurance;
        let found: Vec<&Rule> = rules.values().filter(counts).filter(speaks_of).collect();
        let all = set_of(found.iter().map(|rule| &rule.policy));
        let stays = |rule: &&&Rule| rule.approve.is_none();
        let can_be_lifted = !found.iter().all(|rule| stays(&rule));
        let lifted = can_be_lifted.then(|| set_of(found.iter().filter(stays).map(|rule| &rule.policy)));
        Self { all, lifted }
    }
}

fn own_schema() -> Result<Schema, Problem> {
    match Schema::from_cedarschema_str(SCHEMA) {
        Ok((schema, _warnings)) => Ok(schema),
        Err(error) => Err(Problem::OwnSchema(error.to_string())),
    }
}

/// Policies that have distinct ids, as those of the rules have.
fn set_of<'a>(policies: impl Iterator<Item = &'a Policy>) -> PolicySet {
    let mut set = PolicySet::new();
    for policy in policies {
        let added = set.add(policy.clone());
        debug_assert!(added.is_ok(), "rule ids are unique");
    }
    set
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
        let place = Place::at(&file.name, &file.text, offset);
        match read_rule(policy, place.clone(), Start { file: index, offset }) {
            Ok((id, rule)) => match rules.get(&id) {
                Some(first) => problems.push(Problem::DuplicateId { place, id, first: first.place.clone() }),
                None => {
                    rules.insert(id, rule);
                }
            },
            Err(problem) => problems.push(problem),
        }
    }
}

fn read_rule(policy: Policy, place: Place, start: Start) -> Result<(String, Rule), Problem> {
    let Some(id) = policy.annotation("id").map(ToOwned::to_owned) else {
        return Err(Problem::NoId(place));
    };
    let is_permit = policy.effect() == Effect::Permit;
    let id_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let bad_id = if id.is_empty() || id.len() > RULE_ID_BYTES_MAX || !id.bytes().all(id_byte) {
        Some("use up to 64 letters, digits, '-', '_' and '.'")
    } else if BUILT_IN_RULES.contains(&id.as_str()) {
        Some("the program uses it itself")
    } else {
        None
    };
    if let Some(why) = bad_id {
        return Err(Problem::BadId { place, id, why });
    }
    if absence::grants(&policy) {
        return Err(Problem::GrantsByAbsence { place, rule: id });
    }
    let bad = |why| Problem::BadAnnotation { place: place.clone(), rule: id.clone(), why };
    let mut rule = Rule {
        reason: None,
        approve: None,
        needs: Assurance::Verified,
        place: place.clone(),
        start,
        policy: policy.new_id(PolicyId::new(&id)),
    };
    for (name, value) in policy.annotations() {
        match name {
            "id" => {}
            "reason" if value.trim().is_empty() => return Err(bad("@reason needs a text")),
            "reason" => rule.reason = Some(value.to_owned()),
            "approve" if is_permit => {
                return Err(bad("@approve says who can lift a forbid; this is a permit"));
            }
            "approve" if value.trim().is_empty() => return Err(bad("@approve needs the name of a group")),
            "approve" => rule.approve = Some(value.to_owned()),
            "assurance" if !is_permit => return Err(bad("a forbid counts for everybody; remove @assurance")),
            "assurance" => {
                rule.needs = assurance(value)
                    .ok_or_else(|| bad("@assurance is \"verified\", \"observed\" or \"none\""))?;
            }
            other => {
                return Err(Problem::UnknownAnnotation { place, rule: id, name: other.to_owned() });
            }
        }
    }
    Ok((id, rule))
}

fn assurance(word: &str) -> Option<Assurance> {
    [Assurance::None, Assurance::Observed, Assurance::Verified].into_iter().find(|a| a.as_str() == word)
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
    errors.chain(warnings).map(problem).collect()
}

fn message(detail: &DetailedError) -> String {
    match &detail.help {
        Some(help) => format!("{} ({help})", detail.message),
        None => detail.message.clone(),
    }
}

fn may_unmask(policy: &Policy) -> bool {
    policy.effect() == Effect::Permit
        && match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(action) => action.id().unescaped() == ACTION_UNMASK,
            ActionConstraint::In(actions) => {
                actions.iter().any(|action| action.id().unescaped() == ACTION_UNMASK)
            }
        }
}

/// Splits a file into rules, each with its offset and its final `;`. Only strings and comments can hold another `;`.
fn statements(text: &str) -> Vec<(usize, &str)> {
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
