//! One decision, with everything that led to it.

use std::sync::Arc;

use cedar_policy::{Effect, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use model::{AccountName, ColumnMeta, Mode};
use sql::{Facts, Outputs};

use crate::{
    Place, Policies, Supposed,
    decide::Presented,
    decision::{Judged, Refusal},
    judge::{Heard, Trace},
    kept::Asked,
    plan::Plan,
    slice::may_be,
    who::Who,
};

/// What is asked, supposing that this principal asks.
#[derive(Debug, Clone, Copy)]
pub struct SupposedAsk<'a> {
    /// Who.
    pub who: &'a Supposed,
    /// The account.
    pub account: &'a AccountName,
    /// Snowflake user of the session.
    pub user: &'a str,
    /// Snowflake role that a login asks for, empty if it names none. Facts say in which role a statement runs.
    pub role: &'a str,
    /// In which mode. The decision that is told is the one of enforce mode in either.
    pub mode: Mode,
}

/// What a login presents.
#[derive(Debug, Clone, Copy)]
pub struct SupposedLogin<'a> {
    /// `password`, `key-pair`, …
    pub credential: &'a str,
    /// Whether it never expires by itself.
    pub is_static: bool,
}

/// The decision and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The principal's name, as rules and records have it.
    pub principal: String,
    /// The groups that it is in.
    pub groups: Vec<String>,
    /// `permit`, `hold` or `deny`.
    pub decision: &'static str,
    /// The sentence that a pipeline would be told; none for a permit.
    pub reason: Option<String>,
    /// The rules that decided: those that permit, or those that refuse, the one that people are told of first.
    pub rules: Vec<String>,
    /// Who could lift a hold.
    pub approvers: Vec<String>,
    /// Every question that was put to the rules, in order.
    pub questions: Vec<Question>,
    /// The columns of the result, where the text tells them.
    pub columns: Vec<ShownColumn>,
    /// Tagged columns of the tables that are read.
    pub tagged: Vec<TaggedColumn>,
}

/// A question to the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// `SELECT`, `unmask`, …
    pub action: String,
    /// `Table::"ANALYTICS.PUBLIC.CUSTOMERS"`.
    pub resource: String,
    /// `permit`, `hold` or `deny`.
    pub answer: &'static str,
    /// What was said against it.
    pub reason: Option<String>,
    /// The rules that made the answer.
    pub rules: Vec<Counted>,
    /// Where no rule permits it: permits for this action, and why each does not count here.
    pub missed: Vec<Missed>,
}

/// A rule that counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Its name.
    pub rule: String,
    /// `permit` or `forbid`; a rule that is built in forbids.
    pub effect: &'static str,
    /// Where it is written; `None` if it is built in.
    pub place: Option<Place>,
    /// Its `@reason`.
    pub reason: Option<String>,
    /// Its text; empty if it is built in.
    pub text: String,
}

/// A permit that did not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Its name.
    pub rule: String,
    /// Where it is written.
    pub place: Place,
    /// Which part of it does not fit.
    pub why: String,
}

/// A column of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownColumn {
    /// Its name, or its place where it has none.
    pub name: String,
    /// The mask that it gets; `None` if it is shown as it is.
    pub mask: Option<&'static str>,
    /// The tags that ask for it.
    pub tags: Vec<String>,
    /// What detectors look for in it.
    pub watched: Vec<&'static str>,
}

/// A tagged column of a table that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedColumn {
    /// Its full name; the pattern stands for the column where it has a `*`.
    pub column: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The mask that it gets where it is shown unchanged; `None` if it may be seen.
    pub mask: Option<&'static str>,
}

impl Policies {
    /// Explains what the answer to a text would be. `names` are columns that the result would have by `*`, where that is
    /// known.
    #[must_use]
    pub fn explain(&self, ask: &SupposedAsk<'_>, facts: &Arc<Facts>, names: &[&str]) -> Explanation {
        let who = ask.who.who();
        let asked = Asked::supposed(who.clone(), ask, facts);
        let trace = Trace::default();
        let judged = self.judge_statement(&asked, Some(&trace));
        let plan = judged.as_ref().ok().map(|permitted| Arc::clone(&permitted.plan));
        let mut told = self.told(&who, trace, judged.map(|permitted| permitted.rules.to_vec()));
        if let Some(plan) = plan {
            told.columns = shown(&plan, facts, names);
            told.tagged = plan
                .guards
                .iter()
                .map(|guard| TaggedColumn {
                    column: format!(
                        "{}.{}",
                        crate::entities::table_id(&guard.table),
                        guard.tagged.pattern.column_part()
                    ),
                    tags: guard.tagged.tags.iter().cloned().collect(),
                    mask: guard
                        .masked
                        .then(|| guard.tagged.mask.as_ref().unwrap_or(&masking::Mask::Null).name()),
                })
                .collect();
        }
        told
    }

    /// Explains what the answer to a login would be.
    #[must_use]
    pub fn explain_login(&self, ask: &SupposedAsk<'_>, login: SupposedLogin<'_>) -> Explanation {
        let who = ask.who.who();
        let SupposedAsk { account, user, role, mode, .. } = *ask;
        let SupposedLogin { credential, is_static } = login;
        let presented = Presented { account, user, role, credential, is_static, client: "", mode };
        let trace = Trace::default();
        let judged = self.judge_login(&who, &presented, Some(&trace));
        self.told(&who, trace, judged)
    }

    fn told(&self, who: &Who, trace: Trace, judged: Judged<Vec<model::RuleId>>) -> Explanation {
        let (decision, reason, rules) = answer(&judged);
        let approvers = match &judged {
            Err(Refusal::Hold(hold)) => hold.approvers().iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        Explanation {
            principal: who.id.clone(),
            groups: who.groups.clone(),
            decision,
            reason,
            rules,
            approvers,
            questions: trace.into_heard().into_iter().map(|heard| self.question(who, heard)).collect(),
            columns: Vec::new(),
            tagged: Vec::new(),
        }
    }

    fn question(&self, who: &Who, heard: Heard) -> Question {
        let (told, reason, rules) = answer(&heard.answer);
        let counted = rules.iter().map(|rule| self.counted(rule)).collect();
        let is_unpermitted = matches!(&heard.answer, Err(Refusal::Denial(denial))
            if denial.rule().as_str() == crate::decision::built_in::DEFAULT_DENY);
        let missed = if is_unpermitted { self.missed(who, &heard) } else { Vec::new() };
        Question {
            action: heard.action.id().unescaped().to_owned(),
            resource: heard.resource.to_string(),
            answer: told,
            reason,
            rules: counted,
            missed,
        }
    }

    fn counted(&self, id: &str) -> Counted {
        let rule = self.rules.get(id);
        let is_permit = rule.is_some_and(|rule| rule.policy.effect() == Effect::Permit);
        Counted {
            rule: id.to_owned(),
            effect: if is_permit { "permit" } else { "forbid" },
            place: rule.map(|rule| rule.place.clone()),
            reason: rule.and_then(|rule| rule.reason.clone()),
            text: rule.map(|rule| rule.policy.to_string()).unwrap_or_default(),
        }
    }

    /// The permits that speak of this action, and the first part of each that does not fit.
    fn missed(&self, who: &Who, heard: &Heard) -> Vec<Missed> {
        let groups = self.vocabulary.groups_of(&heard.action);
        let permits = self.rules.iter().filter(|(_, rule)| {
            rule.policy.effect() == Effect::Permit && rule.speaks_of(&heard.action, groups)
        });
        permits
            .map(|(id, rule)| {
                let principal = rule.policy.principal_constraint();
                let resource = rule.policy.resource_constraint();
                let why = if rule.needs > who.assurance {
                    format!("it counts for {} jobs, and this one is {}", rule.needs, who.assurance)
                } else if !may_be(&principal, who) {
                    format!("it is for another principal: {}", whom(&principal))
                } else if !is_within(&resource, heard) {
                    format!("it is about something else: {}", about(&resource))
                } else {
                    format!("its condition is not met: {}", condition(&rule.policy))
                };
                Missed { rule: id.clone(), place: rule.place.clone(), why }
            })
            .collect()
    }
}

/// What a rule says behind its head, in one line.
fn condition(policy: &Policy) -> String {
    let text = policy.to_string();
    let begins =
        [") when", ")\nwhen", ") unless", ")\nunless"].iter().filter_map(|words| text.find(words)).min();
    let condition = begins.and_then(|at| text.get(at + 1..)).unwrap_or_default();
    let line = condition.split_whitespace().collect::<Vec<_>>().join(" ");
    crate::judge::shown(line.trim_end_matches(';'))
}

/// The head of a rule in words: whom it is for.
fn whom(head: &PrincipalConstraint) -> String {
    match head {
        PrincipalConstraint::Any => "anybody".to_owned(),
        PrincipalConstraint::Eq(uid) => uid.to_string(),
        PrincipalConstraint::In(uid) => format!("in {uid}"),
        PrincipalConstraint::Is(name) => format!("any {name}"),
        PrincipalConstraint::IsIn(name, uid) => format!("any {name} in {uid}"),
    }
}

/// And what it is about.
fn about(head: &ResourceConstraint) -> String {
    match head {
        ResourceConstraint::Any => "anything".to_owned(),
        ResourceConstraint::Eq(uid) => uid.to_string(),
        ResourceConstraint::In(uid) => format!("in {uid}"),
        ResourceConstraint::Is(name) => format!("any {name}"),
        ResourceConstraint::IsIn(name, uid) => format!("any {name} in {uid}"),
    }
}

fn is_within(head: &ResourceConstraint, heard: &Heard) -> bool {
    let is = |uid: &EntityUid| *uid == heard.resource;
    let is_in = |uid: &EntityUid| is(uid) || heard.within.contains(uid);
    match head {
        ResourceConstraint::Any => true,
        ResourceConstraint::Eq(uid) => is(uid),
        ResourceConstraint::In(uid) => is_in(uid),
        ResourceConstraint::Is(name) => name == heard.resource.type_name(),
        ResourceConstraint::IsIn(name, uid) => name == heard.resource.type_name() && is_in(uid),
    }
}

fn answer(judged: &Judged<Vec<model::RuleId>>) -> (&'static str, Option<String>, Vec<String>) {
    let names = |rules: &[model::RuleId]| rules.iter().map(ToString::to_string).collect();
    match judged {
        Ok(rules) => ("permit", None, names(rules)),
        Err(Refusal::Hold(hold)) => ("hold", Some(hold.reason().to_owned()), names(hold.rules())),
        Err(Refusal::Denial(denial)) => ("deny", Some(denial.reason().to_owned()), names(denial.rules())),
    }
}

/// The columns of a result as far as the text tells them, each with its mask. What the server would say of them is not
/// known here, so a column that only the server could tell is shown as the text has it.
fn shown(plan: &Plan, facts: &Facts, names: &[&str]) -> Vec<ShownColumn> {
    let Ok([statement]) = facts.statements() else { return Vec::new() };
    let Outputs::Known(outputs) = &statement.outputs else { return Vec::new() };
    let mut columns = Vec::new();
    let mut spread = false;
    for (at, output) in outputs.iter().enumerate() {
        match &output.name {
            _ if output.is_many && !spread => {
                spread = true;
                columns.extend(names.iter().map(|name| (*name).to_owned()));
            }
            _ if output.is_many => {}
            Some(name) => columns.push(name.as_str().to_owned()),
            None => columns.push(format!("column {}", at + 1)),
        }
    }
    let metas: Vec<ColumnMeta> = columns
        .into_iter()
        .map(|name| ColumnMeta {
            name,
            database: String::new(),
            schema: String::new(),
            table: String::new(),
            type_name: "text".to_owned(),
            nullable: true,
        })
        .collect();
    let (owed, watches) = (plan.masks(&metas), plan.watches(&metas));
    let shown = metas.into_iter().zip(owed).zip(watches).map(|((meta, owed), watches)| ShownColumn {
        name: meta.name,
        watched: watches.iter().map(|watch| watch.detector.as_str()).collect(),
        mask: owed.as_ref().map(|owed| owed.mask.name()),
        tags: owed.map(|owed| owed.tags.into_iter().collect()).unwrap_or_default(),
    });
    shown.collect()
}
