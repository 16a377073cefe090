//! The rules that are looked at for one question.

use std::{
    collections::{BTreeMap, HashMap},
    sync::OnceLock,
};

use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, PolicySet, PrincipalConstraint};
use identity::Assurance;

use crate::{entities::Vocabulary, rule::Rule, who::Who};

/// The rules that count for one assurance and could speak of one action. A rule whose head names other actions is false
/// without being looked at further, so leaving it out changes no answer.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) all: PolicySet,
    /// Without the forbids that can be lifted; `None` if there are none.
    pub(crate) lifted: Option<PolicySet>,
    /// Whom its permits are for.
    permits: Vec<PrincipalConstraint>,
}

/// All of them, each put together when it is first asked for.
#[derive(Debug)]
pub(crate) struct Slices([HashMap<EntityUid, OnceLock<Slice>>; 3]);

impl Slices {
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        let slices = || vocabulary.actions().map(|action| (action.clone(), OnceLock::new())).collect();
        Self([slices(), slices(), slices()])
    }

    /// The one for an action of the vocabulary.
    pub(crate) fn get(
        &self,
        assurance: Assurance,
        action: &EntityUid,
        make: impl FnOnce() -> Slice,
    ) -> Option<&Slice> {
        let [none, observed, verified] = &self.0;
        let slices = match assurance {
            Assurance::None => none,
            Assurance::Observed => observed,
            Assurance::Verified => verified,
        };
        slices.get(action).map(|slice| slice.get_or_init(make))
    }
}

impl Slice {
    pub(crate) fn new(
        rules: &BTreeMap<String, Rule>,
        assurance: Assurance,
        action: &EntityUid,
        groups: &[EntityUid],
    ) -> Self {
        let counts = |rule: &&Rule| rule.policy.effect() == Effect::Forbid || rule.needs <= assurance;
        let found: Vec<&Rule> =
            rules.values().filter(counts).filter(|rule| rule.speaks_of(action, groups)).collect();
        let all = set_of(found.iter().map(|rule| &rule.policy));
        let staying: Vec<&Rule> = found.iter().copied().filter(|rule| rule.approve.is_none()).collect();
        let can_be_lifted = staying.len() < found.len();
        let lifted = can_be_lifted.then(|| set_of(staying.iter().map(|rule| &rule.policy)));
        let permits = found.iter().filter(|rule| rule.policy.effect() == Effect::Permit);
        Self { all, lifted, permits: permits.map(|rule| rule.policy.principal_constraint()).collect() }
    }

    /// Whether any of its permits could be for this principal, by their heads. If none could, nobody needs to ask.
    pub(crate) fn may_permit(&self, who: &Who) -> bool {
        self.permits.iter().any(|permit| may_be(permit, who))
    }
}

impl Rule {
    /// Whether its head leaves room for an action that is in these groups.
    pub(crate) fn speaks_of(&self, action: &EntityUid, groups: &[EntityUid]) -> bool {
        match self.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(named) => named == *action,
            ActionConstraint::In(named) => {
                named.iter().any(|named| named == action || groups.contains(named))
            }
        }
    }
}

/// Whether a head leaves room for a principal: by names alone, which can only leave too much.
pub(crate) fn may_be(head: &PrincipalConstraint, who: &Who) -> bool {
    match head {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => true,
        PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => {
            let name = uid.id().unescaped();
            name == who.id || who.groups.iter().any(|group| group == name)
        }
    }
}

/// Policies that have distinct ids, as those of the rules have.
pub(crate) fn set_of<'a>(policies: impl Iterator<Item = &'a Policy>) -> PolicySet {
    let mut set = PolicySet::new();
    for policy in policies {
        let added = set.add(policy.clone());
        debug_assert!(added.is_ok(), "rule ids are unique");
    }
    set
}
