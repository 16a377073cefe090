//! A rule, and what its annotations say.

use cedar_policy::{ActionConstraint, Effect, Policy, PolicyId};
use identity::Assurance;
use masking::Mask;

use crate::{Approvers, Place, PolicyFile, Problem, absence, classification, decision::BUILT_IN_RULES, near};

/// The longest name of a rule.
const RULE_ID_BYTES_MAX: usize = 64;

/// The annotations that mean something.
pub(crate) const ANNOTATIONS: [&str; 5] = ["id", "reason", "approve", "mask", "assurance"];

/// What is known of a rule beside what it says.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) reason: Option<String>,
    /// Who can lift it.
    pub(crate) approve: Option<Approvers>,
    /// What is left of a column that it lets be seen; all, if nothing is said.
    pub(crate) mask: Option<Mask>,
    /// The least assurance of a principal for which a permit counts.
    pub(crate) needs: Assurance,
    pub(crate) place: Place,
    pub(crate) start: Start,
    pub(crate) policy: Policy,
}

/// Where a rule's text begins in its file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) file: usize,
    pub(crate) offset: usize,
}

impl Rule {
    /// Reads the annotations. A rule whose name is in order comes out, so that it can be looked at further, with all that
    /// is wrong with the others.
    pub(crate) fn read(
        policy: Policy,
        file: &PolicyFile,
        start: Start,
        problems: &mut Vec<Problem>,
    ) -> Option<(String, Self)> {
        let place = Place::at(&file.name, &file.text, start.offset);
        let Some(id) = policy.annotation("id").map(ToOwned::to_owned) else {
            problems.push(Problem::NoId(place));
            return None;
        };
        if let Some(why) = bad_id(&id) {
            problems.push(Problem::BadId { place: annotated(file, start, "id"), id, why });
            return None;
        }
        if absence::grants(&policy) {
            problems.push(Problem::GrantsByAbsence { place: place.clone(), rule: id.clone() });
        }
        let mut rule = Self {
            reason: None,
            approve: None,
            mask: None,
            needs: Assurance::Verified,
            place,
            start,
            policy: policy.new_id(PolicyId::new(&id)),
        };
        for (name, value) in policy.annotations() {
            let place = || annotated(file, start, name);
            let rule_id = id.clone();
            match rule.annotate(name, value) {
                Ok(()) => {}
                Err(Wrong::Unknown) => {
                    let meant = near::meant(name, ANNOTATIONS);
                    problems.push(Problem::UnknownAnnotation {
                        place: place(),
                        rule: rule_id,
                        name: name.to_owned(),
                        meant,
                    });
                }
                Err(Wrong::Value(why)) => {
                    problems.push(Problem::BadAnnotation { place: place(), rule: rule_id, why });
                }
            }
        }
        Some((id, rule))
    }

    fn annotate(&mut self, name: &str, value: &str) -> Result<(), Wrong> {
        let is_permit = self.policy.effect() == Effect::Permit;
        let bad = Wrong::Value;
        match name {
            "id" => {}
            "reason" if value.trim().is_empty() => return Err(bad("@reason needs a text")),
            "reason" => self.reason = Some(value.to_owned()),
            "approve" if is_permit => {
                return Err(bad("@approve says who can lift a forbid; this is a permit"));
            }
            "approve" => self.approve = Some(approvers(value).map_err(bad)?),
            "mask" if !is_permit || !self.is_about("unmask") => {
                return Err(bad("@mask says what a permit for Action::\"unmask\" alone lets be seen"));
            }
            "mask" => {
                let mask = classification::mask(value);
                self.mask = Some(
                    mask.ok_or(bad("@mask is \"null\", \"partial\", \"keep-domain\" or \"keep-last:N\""))?,
                );
            }
            "assurance" if !is_permit => {
                return Err(bad("a forbid counts for everybody; remove @assurance"));
            }
            "assurance" => {
                self.needs =
                    assurance(value).ok_or(bad("@assurance is \"verified\", \"observed\" or \"none\""))?;
            }
            _ => return Err(Wrong::Unknown),
        }
        Ok(())
    }

    /// Where a text stands in it; where it begins, if the text is written in another way.
    pub(crate) fn place_of_text(&self, files: &[PolicyFile], text: &str) -> Place {
        let Some(file) = files.get(self.start.file) else { return self.place.clone() };
        let rule = file.text.get(self.start.offset..).unwrap_or_default();
        match rule.find(&format!("{text:?}")) {
            Some(at) => Place::at(&file.name, &file.text, self.start.offset + at),
            None => self.place.clone(),
        }
    }

    /// Whether its head names this action and no other.
    fn is_about(&self, action: &str) -> bool {
        match self.policy.action_constraint() {
            ActionConstraint::Any => false,
            ActionConstraint::Eq(named) => named.id().unescaped() == action,
            ActionConstraint::In(named) => {
                !named.is_empty() && named.iter().all(|named| named.id().unescaped() == action)
            }
        }
    }
}

enum Wrong {
    Unknown,
    Value(&'static str),
}

fn bad_id(id: &str) -> Option<&'static str> {
    let id_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if id.is_empty() || id.len() > RULE_ID_BYTES_MAX || !id.bytes().all(id_byte) {
        Some("use up to 64 letters, digits, '-', '_' and '.'")
    } else if BUILT_IN_RULES.contains(&id) {
        Some("the program uses it itself")
    } else {
        None
    }
}

/// `security-oncall` is one person of that group, `security-oncall:2` are two. A number after the last colon is a count, so
/// the name of a group may hold colons.
fn approvers(text: &str) -> Result<Approvers, &'static str> {
    let (group, count) = match text.rsplit_once(':') {
        Some((group, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            let count = digits.parse().ok().filter(|count| (1..=9).contains(count));
            (group, count.ok_or("@approve takes 1 to 9 people")?)
        }
        _ => (text, 1),
    };
    if group.trim().is_empty() {
        return Err("@approve needs the name of a group");
    }
    Ok(Approvers { group: group.to_owned(), count })
}

fn assurance(word: &str) -> Option<Assurance> {
    [Assurance::None, Assurance::Observed, Assurance::Verified].into_iter().find(|a| a.as_str() == word)
}

/// Where an annotation stands; where the rule begins, if it is written in an unusual way.
fn annotated(file: &PolicyFile, start: Start, name: &str) -> Place {
    let rule = file.text.get(start.offset..).unwrap_or_default();
    let at = rule.find(&format!("@{name}")).unwrap_or_default();
    Place::at(&file.name, &file.text, start.offset + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_lift_a_rule_is_a_group_and_a_count() {
        let of = |group: &str, count| Ok(Approvers { group: group.to_owned(), count });
        assert_eq!(approvers("security-oncall"), of("security-oncall", 1));
        assert_eq!(approvers("security-oncall:2"), of("security-oncall", 2));
        assert_eq!(approvers("owner:acme"), of("owner:acme", 1));
        assert_eq!(approvers("owner:acme:3"), of("owner:acme", 3));
        for bad in ["", " ", ":2", "a:0", "a:10", "a:99999999999999999999"] {
            assert!(approvers(bad).is_err(), "{bad:?}");
        }
    }
}
