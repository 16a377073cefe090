//! One question to the rules, and what their answer means.

use std::cell::RefCell;

use cedar_policy::{
    Context, Decision, Entities, Entity, EntityUid, PolicySet, Request, Response, RestrictedExpression,
    Schema,
};
use identity::Assurance;
use model::RuleId;

use crate::{
    Approvers, Denial, Hold, Policies,
    decision::{Judged, Refusal, built_in},
    slice::Slice,
    who::Who,
};

/// The longest name shown to people, in characters: names are data of whoever wrote the statement.
const SHOWN_CHARS_MAX: usize = 160;

/// Everything that stays the same while one statement, login or exchange is judged.
pub(crate) struct Judge<'a> {
    policies: &'a Policies,
    who: &'a Who,
    uid: EntityUid,
    entities: Entities,
    context: Context,
    heard: Option<&'a Trace>,
}

/// Every question and its answer, for who wants to be told.
#[derive(Debug, Default)]
pub(crate) struct Trace(RefCell<Vec<Heard>>);

/// A question and its answer.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) action: EntityUid,
    pub(crate) resource: EntityUid,
    pub(crate) answer: Judged<Vec<RuleId>>,
    /// What the resource is in.
    pub(crate) within: Vec<EntityUid>,
}

impl Trace {
    pub(crate) fn into_heard(self) -> Vec<Heard> {
        self.0.into_inner()
    }
}

/// What is asked, for the engine and for people.
pub(crate) struct Question<'q> {
    pub(crate) action: &'q EntityUid,
    pub(crate) resource: EntityUid,
    /// `DROP on table ANALYTICS.PUBLIC.CUSTOMERS`.
    pub(crate) words: String,
}

/// Why nothing could be asked.
pub(crate) fn not_judged(what: &str) -> Refusal {
    Refusal::Denial(Denial::built_in(built_in::NOT_JUDGED, format!("it could not be judged: {what}")))
}

impl<'a> Judge<'a> {
    /// Rules were checked against the schema when they were loaded; entities, requests and contexts are made here, of a
    /// fixed shape for each kind, so checking each of them again would find nothing, at several times the cost of the
    /// answer. Where debug assertions are on, as in tests, each is checked.
    pub(crate) fn new(
        policies: &'a Policies,
        who: &'a Who,
        uid: EntityUid,
        entities: Vec<Entity>,
        context: Vec<(&'static str, RestrictedExpression)>,
        heard: Option<&'a Trace>,
    ) -> Judged<Self> {
        if cfg!(debug_assertions)
            && let Err(error) = Entities::from_entities(entities.clone(), Some(&policies.schema))
        {
            debug_assert!(false, "objects do not fit the schema: {error}");
        }
        let entities = Entities::from_entities(entities, None)
            .map_err(|_| not_judged("its objects contradict each other"))?;
        let context = Context::from_pairs(context.into_iter().map(|(name, value)| (name.to_owned(), value)))
            .map_err(|_| not_judged("its context cannot be put together"))?;
        Ok(Self { policies, who, uid, entities, context, heard })
    }

    fn request(&self, action: &EntityUid, resource: &EntityUid, schema: Option<&Schema>) -> Judged<Request> {
        Request::new(self.uid.clone(), action.clone(), resource.clone(), self.context.clone(), schema)
            .map_err(|_| not_judged("it does not fit the schema"))
    }

    fn slice(&self, assurance: Assurance, action: &EntityUid) -> Judged<&'a Slice> {
        self.policies
            .slice(assurance, action)
            .ok_or_else(|| not_judged("the schema does not know what is asked"))
    }

    pub(crate) fn policies(&self) -> &'a Policies {
        self.policies
    }

    /// Asks. The answer is the rules that permit, or who refuses and why.
    pub(crate) fn ask(&self, question: &Question<'_>) -> Judged<Vec<RuleId>> {
        let answer = self.answer(question);
        if let Some(Trace(heard)) = self.heard {
            heard.borrow_mut().push(Heard {
                action: question.action.clone(),
                resource: question.resource.clone(),
                answer: answer.clone(),
                within: self.entities.ancestors(&question.resource).into_iter().flatten().cloned().collect(),
            });
        }
        answer
    }

    fn answer(&self, question: &Question<'_>) -> Judged<Vec<RuleId>> {
        let Question { action, resource, .. } = question;
        if cfg!(debug_assertions) {
            debug_assert!(
                self.request(action, resource, Some(&self.policies.schema)).is_ok(),
                "{action} {resource}"
            );
        }
        let request = self.request(action, resource, None)?;
        let slice = self.slice(self.who.assurance, action)?;
        let response = self.evaluate(&request, &slice.all)?;
        let rules = ids(&response);
        match (response.decision(), rules.split_first()) {
            (Decision::Allow, _) => Ok(rules),
            (Decision::Deny, None) => Err(self.unpermitted(question, &request)),
            (Decision::Deny, Some((first, _))) => {
                Err(self.forbidden(question, &request, slice, first, &rules))
            }
        }
    }

    /// The rules that permit it, for questions whose refusal nobody is told of.
    pub(crate) fn permitting(&self, action: &EntityUid, resource: &EntityUid) -> Option<Vec<RuleId>> {
        self.ask(&Question { action, resource: resource.clone(), words: String::new() }).ok()
    }

    /// A rule that fails refuses: the engine would leave it out, and a forbid left out permits.
    fn evaluate(&self, request: &Request, set: &PolicySet) -> Judged<Response> {
        let response = self.policies.authorizer.is_authorized(request, set, &self.entities);
        let failed = response.diagnostics().errors().next().map(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
        });
        match failed {
            None => Ok(response),
            Some(rule) => Err(Refusal::Denial(Denial::new(
                format!("rule {rule} could not be evaluated, so nothing it might forbid is permitted"),
                RuleId::new(rule),
                [RuleId::new(built_in::NOT_JUDGED)],
            ))),
        }
    }

    fn unpermitted(&self, question: &Question<'_>, request: &Request) -> Refusal {
        let mut reason = format!("no rule permits {} for {}", question.words, self.who());
        let assurance = self.who.assurance;
        let missed_only_assurance = assurance != Assurance::Verified
            && self
                .slice(Assurance::Verified, question.action)
                .and_then(|slice| self.evaluate(request, &slice.all))
                .is_ok_and(|response| response.decision() == Decision::Allow);
        if missed_only_assurance {
            reason.push_str(&format!("; one does for verified jobs, but this one's identity is {assurance}"));
        }
        let is_nobody = assurance == Assurance::None;
        if let Some(advice) = self.who.advice.filter(|_| missed_only_assurance || is_nobody) {
            reason.push_str(&format!("; to have a verified identity, {advice}"));
        }
        Refusal::Denial(Denial::built_in(built_in::DEFAULT_DENY, reason))
    }

    fn forbidden(
        &self,
        question: &Question<'_>,
        request: &Request,
        slice: &Slice,
        first: &RuleId,
        rules: &[RuleId],
    ) -> Refusal {
        let lifted = slice.lifted.as_ref().map(|set| self.evaluate(request, set));
        let can_be_lifted = matches!(&lifted, Some(Ok(response)) if response.decision() == Decision::Allow);
        // Among several the one to tell of is one that nobody can lift.
        let approver =
            |rule: &RuleId| self.policies.rules.get(rule.as_str()).and_then(|rule| rule.approve.clone());
        let told = rules.iter().find(|rule| approver(rule).is_none()).unwrap_or(first);
        let reason = self
            .policies
            .rules
            .get(told.as_str())
            .and_then(|rule| rule.reason.clone())
            .unwrap_or_else(|| format!("a rule forbids {} for {}", question.words, self.who()));
        let others = rules.iter().filter(|rule| *rule != told).cloned();
        let denial = Denial::new(reason, told.clone(), others);
        if can_be_lifted {
            let mut approvers: Vec<Approvers> = rules.iter().filter_map(approver).collect();
            approvers.sort();
            approvers.dedup();
            Refusal::Hold(Hold::new(denial, approvers))
        } else {
            Refusal::Denial(denial)
        }
    }

    fn who(&self) -> String {
        match &self.who.unknown_because {
            Some(reason) => format!("a client without identity ({reason})"),
            None => shown(&self.who.id),
        }
    }
}

fn ids(response: &Response) -> Vec<RuleId> {
    let mut ids: Vec<RuleId> =
        response.diagnostics().reason().map(|id| RuleId::new(id.to_string())).collect();
    ids.sort();
    ids
}

/// A name as a person may see it: bounded, and without characters that would break a line or a terminal.
pub(crate) fn shown(name: &str) -> String {
    let mut shown: String =
        name.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if name.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
