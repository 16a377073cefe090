//! What the rules say of a text: of each of its statements, of each object that one names, and of the account.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::RestrictedExpression;
use model::{Ident, RuleId};
use sql::{Class, Effect, Group, Opaque, Statement};

use crate::{
    Carried, Denial, Hold, Policies, carry,
    columns::Columns,
    decide::text,
    decision::{Judged, Permitted, Refusal, built_in},
    entities::Things,
    judge::{Judge, Question, Trace, not_judged, shown},
    kept::Asked,
    plan::{Plan, Shows},
};

/// Most objects of one text that are judged, and most tagged columns of one statement.
const OBJECTS_MAX: usize = 500;
/// See [`OBJECTS_MAX`].
const COLUMNS_MAX: usize = 2_000;

impl Policies {
    /// Judges a text. Made from nothing but what was asked and the policies.
    pub(crate) fn judge_statement(&self, asked: &Asked, heard: Option<&Trace>) -> Judged<Permitted> {
        let facts = asked.facts();
        let statements = facts.statements().map_err(|opaque| not_understood(facts.verb(), opaque))?;
        let named = |s: &Statement| s.tables.len() + s.containers.len() + s.objects.len();
        let objects: usize = statements.iter().map(named).sum();
        if objects > OBJECTS_MAX {
            return Err(too_many("objects", objects, OBJECTS_MAX));
        }
        let judged =
            (0..).zip(statements).map(|(at, statement)| self.judge_one_of(asked, at, statement, heard));
        let permitted = combine(judged)?;
        if facts.answers() > 1 { Err(several_statements()) } else { Ok(permitted) }
    }

    fn judge_one_of(
        &self,
        asked: &Asked,
        at: usize,
        statement: &Statement,
        heard: Option<&Trace>,
    ) -> Judged<One> {
        readable(statement)?;
        let mut things = Things::new(&self.vocabulary, &asked.account);
        let uid = things.principal(&asked.who);
        let questions = self.questions(statement, &mut things)?;
        let columns = Columns::of(self, statement, asked, &mut things);
        if columns.len() > COLUMNS_MAX {
            return Err(too_many("tagged columns", columns.len(), COLUMNS_MAX));
        }
        let entities = things.into_entities().ok_or_else(|| not_judged("its objects cannot be named"))?;
        let judge = Judge::new(self, &asked.who, uid, entities, context(asked, statement), heard)?;
        let columns = columns.seen_by(&judge);
        let of_columns = columns.questions(self);
        let rules = ask_all(&judge, questions.iter().chain(&of_columns))?;
        let shows = match shows_rows(statement) {
            true => Shows::Outputs(asked.facts.arc(), at),
            false => Shows::Nothing,
        };
        let plan = columns.into_plan(shows, statement, &asked.beside);
        let staged = asked.beside.staged();
        let carries = carry::carried(statement, &plan, &self.classification.all_tags(), &staged);
        Ok(One { rules, plan, carries })
    }
}

/// One statement that is permitted.
struct One {
    rules: Vec<RuleId>,
    plan: Plan,
    carries: Vec<Carried>,
}

/// Whether rows of tables, or of nobody knows what, may be in the result.
pub(crate) fn shows_rows(statement: &Statement) -> bool {
    let class_shows = statement.class == Class::Select || statement.class.group() == Group::Execute;
    class_shows && !(statement.tables.is_empty() && statement.names_all_it_reads())
}

fn context(asked: &Asked, statement: &Statement) -> Vec<(&'static str, RestrictedExpression)> {
    let set = |words: &mut dyn Iterator<Item = &str>| RestrictedExpression::new_set(words.map(text));
    vec![
        ("user", text(&asked.user)),
        ("role", text(statement.role.as_ref().map_or("", Ident::as_str))),
        ("secondary_roles", text(statement.secondary_roles.as_str())),
        ("mode", text(asked.mode)),
        ("verb", text(&statement.verb)),
        ("class", text(statement.class.action())),
        ("parse", text(statement.parse.as_str())),
        ("functions", set(&mut statement.functions.iter().map(String::as_str))),
        ("effects", set(&mut statement.effects.iter().copied().map(Effect::as_str))),
    ]
}

/// What no rule can permit in this version.
fn readable(statement: &Statement) -> Judged<()> {
    let Some(elsewhere) = statement.elsewhere.first() else { return Ok(()) };
    Err(Refusal::Denial(Denial::built_in(built_in::READS_ELSEWHERE, shown(&elsewhere.to_string()))))
}

fn too_many(what: &str, count: usize, max: usize) -> Refusal {
    let reason = format!("it names {count} {what}, more than the {max} that are judged at once");
    Refusal::Denial(Denial::built_in(built_in::TOO_MANY_OBJECTS, reason))
}

fn several_statements() -> Refusal {
    let reason =
        "it holds several statements, whose results this version does not follow; send them one by one";
    Refusal::Denial(Denial::built_in(built_in::SEVERAL_STATEMENTS, reason.to_owned()))
}

fn not_understood(verb: &str, opaque: &Opaque) -> Refusal {
    let what = if verb.is_empty() { "it" } else { verb };
    let reason = format!("{what} was not understood: {opaque}");
    Refusal::Denial(Denial::built_in(built_in::NOT_UNDERSTOOD, reason))
}

/// All statements of a text must be permitted. What refuses outright weighs more than what can be lifted.
fn combine(judged: impl Iterator<Item = Judged<One>>) -> Judged<Permitted> {
    let mut rules = BTreeSet::new();
    let (mut plans, mut carries) = (Vec::new(), Vec::new());
    let mut holds = Vec::new();
    for statement in judged {
        match statement {
            Ok(one) => {
                rules.extend(one.rules);
                plans.push(one.plan);
                carries.extend(one.carries);
            }
            Err(Refusal::Hold(hold)) => holds.push(hold),
            Err(denial) => return Err(denial),
        }
    }
    match Hold::all(holds) {
        Some(hold) => Err(Refusal::Hold(hold)),
        None => Ok(Permitted {
            rules: rules.into_iter().collect(),
            plan: Arc::new(Plan::all(plans)),
            carries: carries.into(),
        }),
    }
}

/// All must permit. Of several refusals people are told of a rule that forbids rather than of one that is missing; both
/// weigh more than what can be lifted, and that adds up.
fn ask_all<'q>(judge: &Judge<'_>, questions: impl Iterator<Item = &'q Question<'q>>) -> Judged<Vec<RuleId>> {
    let mut rules = BTreeSet::new();
    let mut holds: Vec<Hold> = Vec::new();
    let mut unpermitted = None;
    for question in questions {
        match judge.ask(question) {
            Ok(permitting) => rules.extend(permitting),
            Err(Refusal::Hold(hold)) => holds.push(hold),
            Err(Refusal::Denial(denial)) if denial.rule().as_str() == built_in::DEFAULT_DENY => {
                unpermitted.get_or_insert(denial);
            }
            Err(denial) => return Err(denial),
        }
    }
    if let Some(denial) = unpermitted {
        return Err(Refusal::Denial(denial));
    }
    match Hold::all(holds) {
        Some(hold) => Err(Refusal::Hold(hold)),
        None => Ok(rules.into_iter().collect()),
    }
}
