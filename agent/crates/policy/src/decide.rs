//! The doors: a statement, a login, an exchange. Deny by default; every object must be permitted, and the account too.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::{EntityUid, RestrictedExpression};
use identity::Principal;
use model::{AccountName, Mode, RuleId, TableName};
use sql::{Access, Class, Container, Group, Opaque, Statement};

use crate::{
    Beside, Carried, Clearance, Decision, Denial, EndpointAsk, EndpointPermit, Hold, LoginAsk, LoginPermit,
    Permit, Policies, StatementAsk, carry,
    classification::TaggedPattern,
    decision::{Judged, Permitted, Refusal, Verdict, built_in},
    entities::{Things, container_id, table_id},
    judge::{Judge, Question, not_judged, shown},
    kept::Asked,
    plan::{Guard, Plan},
    who::Who,
};

/// Most objects of one statement that are judged.
const OBJECTS_MAX: usize = 500;

impl Policies {
    /// May this statement be sent? In observe mode the answer is always a permit, and says what it would have been.
    pub fn statement(&self, ask: &StatementAsk<'_>) -> Decision<Permit> {
        self.statement_beside(ask, Beside::default())
    }

    /// The same, with what is known beside the statement's facts.
    pub fn statement_beside(&self, ask: &StatementAsk<'_>, beside: Beside) -> Decision<Permit> {
        let judged = self.kept.judgement(Asked::new(ask, beside), |asked| self.judge_statement(asked));
        Self::decided_statement(ask, judged)
    }

    /// Makes a permit of a judgement, for this one ask: its id and its text are never another's.
    pub(crate) fn decided_statement(ask: &StatementAsk<'_>, judged: Judged<Permitted>) -> Decision<Permit> {
        let permit = |verdict, plan, carries| {
            let clearance = Clearance::new(ask.query_id, plan, ask.mode);
            let permit = Permit::new(ask.facts.text().clone(), ask.query_id, clearance, verdict);
            Decision::Permit(permit.carrying(carries))
        };
        match (judged, ask.mode) {
            (Ok(Permitted { rules, plan, carries }), _) => {
                permit(Verdict { rules, would_refuse: None }, plan, carries)
            }
            (Err(refusal), Mode::Observe) => {
                let would_refuse = Some(refusal.into_denial());
                permit(Verdict { rules: Arc::default(), would_refuse }, Arc::default(), Arc::default())
            }
            (Err(refusal), Mode::Enforce) => refusal.into_decision(),
        }
    }

    /// May this login be sent?
    pub fn login(&self, ask: &LoginAsk<'_>) -> Decision<LoginPermit> {
        let words = format!("login with {} as {}", shown(ask.credential), shown(ask.user));
        let context = vec![
            ("user", text(ask.user)),
            ("role", text(ask.role.unwrap_or_default())),
            ("mode", text(ask.mode.as_str())),
            ("client", text(ask.client)),
        ];
        let verdict =
            self.judge_one(ask.principal, ask.account, &self.vocabulary.login, words, context, |things| {
                things.credential(ask.credential, ask.is_static)
            });
        decided(verdict, ask.mode, LoginPermit::new)
    }

    /// May this exchange be sent?
    pub fn endpoint(&self, ask: &EndpointAsk<'_>) -> Decision<EndpointPermit> {
        let words = format!("{} {}{}", shown(ask.method), ask.host, shown(ask.path));
        let context = vec![("user", text(ask.user)), ("mode", text(ask.mode.as_str()))];
        let action = &self.vocabulary.ask_endpoint;
        let verdict = self.judge_one(ask.principal, ask.account, action, words, context, |things| {
            things.endpoint(ask.host.as_str(), ask.method, ask.path)
        });
        decided(verdict, ask.mode, EndpointPermit::new)
    }

    fn judge_one(
        &self,
        principal: &Principal,
        account: &AccountName,
        action: &EntityUid,
        words: String,
        context: Vec<(&'static str, RestrictedExpression)>,
        resource: impl FnOnce(&mut Things<'_>) -> EntityUid,
    ) -> Judged<Vec<RuleId>> {
        let who = Who::new(principal);
        let mut things = Things::new(&self.vocabulary, account);
        let uid = things.principal(&who);
        let resource = resource(&mut things);
        things.action(action);
        let entities = things.into_entities().ok_or_else(|| not_judged("its objects cannot be named"))?;
        Judge::new(self, &who, uid, entities, context)?.ask(&Question { action, resource, words })
    }

    /// What the rules say of a text: of each of its statements. Made from nothing but what was asked and the policies.
    pub(crate) fn judge_statement(&self, asked: &Asked) -> Judged<Permitted> {
        let facts = asked.facts();
        let statements = facts.statements().map_err(|opaque| not_understood(facts.verb(), opaque))?;
        let objects: usize = statements.iter().map(|s| s.tables.len() + s.containers.len()).sum();
        if objects > OBJECTS_MAX {
            return Err(too_many_objects(objects));
        }
        let judged = statements.iter().map(|statement| self.judge_one_of(asked, statement));
        let permitted = combine(judged)?;
        if facts.answers() > 1 { Err(several_statements()) } else { Ok(permitted) }
    }

    fn judge_one_of(&self, asked: &Asked, statement: &Statement) -> Judged<One> {
        readable(statement)?;
        let mut things = Things::new(&self.vocabulary, &asked.account);
        let uid = things.principal(&asked.who);
        let questions = self.questions(statement, &mut things)?;
        let tagged = self.tagged(statement, &asked.beside, &mut things);
        let entities = things.into_entities().ok_or_else(|| not_judged("its objects cannot be named"))?;
        let judge = Judge::new(self, &asked.who, uid, entities, context(asked, statement))?;
        let rules = ask_all(&judge, &questions)?;
        let plan = self.plan(&judge, statement, tagged, &asked.beside);
        if statement.moves_data
            && let Some(column) = masked_source(statement, &plan)
        {
            return Err(copies_masked(&column));
        }
        let carries = carry::carried(statement, &plan, &self.classification.all_tags());
        Ok(One { rules, plan, carries })
    }

    /// One question per object, and one on the account: the objects first, because they make the better sentence.
    fn questions(&self, statement: &Statement, things: &mut Things<'_>) -> Judged<Vec<Question<'_>>> {
        let action =
            |class: Class| self.vocabulary.class(class).ok_or_else(|| not_judged("its class has no action"));
        let class_of = |access: Access| match access {
            Access::Read if statement.class.group() != Group::Read => Class::Select,
            _ => statement.class,
        };
        let words = |class: Class, what: &str, name: &str| {
            let verb = if class == statement.class { statement.verb.as_str() } else { class.action() };
            format!("{verb} on {what} {}", shown(name))
        };
        let mut questions = Vec::new();
        for used in &statement.tables {
            let class = class_of(used.access);
            let id = table_id(&used.table);
            let tags = self.classification.table_tags(&used.table);
            let resource = things.table(&used.table, &tags).ok_or_else(|| unknown_name("table", &id))?;
            let mut words = words(class, "table", &id);
            if used.fallback {
                words.push_str(" (which an unqualified name may mean, too; write the schema before it)");
            }
            questions.push(Question { action: action(class)?, resource, words });
        }
        for used in &statement.containers {
            let class = class_of(used.access);
            let id = container_id(&used.container);
            let (what, resource) = match &used.container {
                Container::Database(database) => ("database", things.database(database)),
                Container::Schema { database: Some(database), schema: Some(schema) } => {
                    ("schema", things.schema(database, schema))
                }
                Container::Schema { .. } => return Err(unknown_name("schema", &id)),
            };
            questions.push(Question { action: action(class)?, resource, words: words(class, what, &id) });
        }
        let account = things.account();
        if statement.class != Class::Call
            && let Some(function) = statement.functions.first()
        {
            let words = format!("CALL of {} on account {}", shown(function), account.id().unescaped());
            questions.push(Question { action: action(Class::Call)?, resource: account.clone(), words });
        }
        let words = words(statement.class, "account", account.id().unescaped());
        questions.push(Question { action: action(statement.class)?, resource: account, words });
        questions.iter().for_each(|question| things.action(question.action));
        Ok(questions)
    }

    /// The tagged columns that the statement may read or move, each as something that `unmask` can be asked of.
    fn tagged(&self, statement: &Statement, beside: &Beside, things: &mut Things<'_>) -> Tagged {
        let mut tagged = Tagged::default();
        let shows = shows_rows(statement);
        if !shows && !statement.moves_data {
            return tagged;
        }
        let reads =
            |access: Access| access == Access::Read || (statement.moves_data && access == Access::Alter);
        let named = statement.tables.iter().filter(|used| reads(used.access)).map(|used| &used.table);
        // What views show is read as well.
        let tables: BTreeSet<&TableName> = named.chain(beside.reached.iter()).collect();
        let carried = |table: &TableName| {
            let in_table = beside.carried.iter().filter(move |carried| carried.may_be_in(table));
            in_table.map(|carried| Arc::new(carried.pattern(&self.classification))).collect::<Vec<_>>()
        };
        for table in tables {
            let patterns = self.classification.columns().iter().cloned().chain(carried(table));
            for pattern in patterns.filter(|tagged| tagged.pattern.may_be_in(table)) {
                let column = self.may_unmask.then(|| {
                    let id = format!("{}.{}", table_id(table), pattern.pattern.column_part());
                    things.column(&id, Some(table), &pattern.tags)
                });
                tagged.in_tables.push((table.clone(), pattern, column));
            }
        }
        tagged.anywhere = beside.anywhere(&self.classification).map(|pattern| {
            let column =
                self.may_unmask.then(|| things.column(pattern.pattern.as_str(), None, &pattern.tags));
            (Arc::new(pattern), column)
        });
        for pattern in self.classification.columns() {
            let column = self.may_unmask.then(|| {
                let table = pattern.pattern.exact_table();
                things.column(pattern.pattern.as_str(), table.as_ref(), &pattern.tags)
            });
            tagged.everywhere.push((Arc::clone(pattern), column));
        }
        if self.may_unmask {
            things.action(&self.vocabulary.unmask);
        }
        tagged
    }

    fn plan(&self, judge: &Judge<'_>, statement: &Statement, tagged: Tagged, beside: &Beside) -> Plan {
        let is_masked = |column: Option<EntityUid>| {
            !column.is_some_and(|column| judge.allows(&self.vocabulary.unmask, column))
        };
        let guards = tagged
            .in_tables
            .into_iter()
            .map(|(table, tagged, column)| Guard { table, tagged, masked: is_masked(column) })
            .collect();
        let everywhere = tagged
            .everywhere
            .into_iter()
            .filter_map(|(pattern, column)| is_masked(column).then_some(pattern))
            .collect();
        let anywhere = tagged.anywhere.and_then(|(pattern, column)| is_masked(column).then_some(pattern));
        Plan {
            outputs: shows_rows(statement).then(|| statement.outputs.clone()),
            guards,
            everywhere,
            anywhere,
            reads_more: !statement.names_all_it_reads() || !beside.unresolved.is_empty(),
            unresolved: Arc::clone(&beside.unresolved),
        }
    }
}

/// Tagged columns before anybody asked whether they may be seen; without what to ask of where no rule could permit it.
#[derive(Default)]
struct Tagged {
    in_tables: Vec<(TableName, Arc<TaggedPattern>, Option<EntityUid>)>,
    everywhere: Vec<(Arc<TaggedPattern>, Option<EntityUid>)>,
    /// What data took with it to anywhere.
    anywhere: Option<(Arc<TaggedPattern>, Option<EntityUid>)>,
}

/// One statement that is permitted.
struct One {
    rules: Vec<RuleId>,
    plan: Plan,
    carries: Vec<Carried>,
}

/// Whether rows of tables, or of nobody knows what, may be in the result.
fn shows_rows(statement: &Statement) -> bool {
    let class_shows = statement.class == Class::Select || statement.class.group() == Group::Execute;
    class_shows && !(statement.tables.is_empty() && statement.names_all_it_reads())
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn context(asked: &Asked, statement: &Statement) -> Vec<(&'static str, RestrictedExpression)> {
    vec![
        ("user", text(&asked.user)),
        ("role", text(&asked.role)),
        ("mode", text(asked.mode)),
        ("verb", text(&statement.verb)),
        ("functions", RestrictedExpression::new_set(statement.functions.iter().map(|name| text(name)))),
    ]
}

fn decided<P>(verdict: Judged<Vec<RuleId>>, mode: Mode, permit: impl FnOnce(Verdict) -> P) -> Decision<P> {
    match (verdict, mode) {
        (Ok(rules), _) => Decision::Permit(permit(Verdict { rules: rules.into(), would_refuse: None })),
        (Err(refusal), Mode::Observe) => {
            let would_refuse = Some(refusal.into_denial());
            Decision::Permit(permit(Verdict { rules: Arc::default(), would_refuse }))
        }
        (Err(refusal), Mode::Enforce) => refusal.into_decision(),
    }
}

/// What no rule can permit in this version.
fn readable(statement: &Statement) -> Judged<()> {
    let Some(elsewhere) = statement.elsewhere.first() else { return Ok(()) };
    Err(Refusal::Denial(Denial::built_in(built_in::READS_ELSEWHERE, shown(&elsewhere.to_string()))))
}

fn too_many_objects(objects: usize) -> Refusal {
    let reason = format!("it names {objects} objects, more than the {OBJECTS_MAX} that are judged at once");
    Refusal::Denial(Denial::built_in(built_in::TOO_MANY_OBJECTS, reason))
}

fn several_statements() -> Refusal {
    let reason =
        "it holds several statements, whose results this version does not follow; send them one by one";
    Refusal::Denial(Denial::built_in(built_in::SEVERAL_STATEMENTS, reason.to_owned()))
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

fn not_understood(verb: &str, opaque: &Opaque) -> Refusal {
    let what = if verb.is_empty() { "it" } else { verb };
    Refusal::Denial(Denial::built_in(
        built_in::NOT_UNDERSTOOD,
        format!("{what} was not understood: {opaque}"),
    ))
}

fn unknown_name(what: &str, id: &str) -> Refusal {
    let reason = format!(
        "it is not known which {what} {} is, because the session has no database or schema; write its full name",
        shown(id)
    );
    Refusal::Denial(Denial::built_in(built_in::UNKNOWN_NAME, reason))
}

/// All must permit. Of several refusals people are told of a rule that forbids rather than of one that is missing; both
/// weigh more than what can be lifted, and that adds up.
fn ask_all(judge: &Judge<'_>, questions: &[Question<'_>]) -> Judged<Vec<RuleId>> {
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

/// A column that would end up where its mask does not follow it.
fn masked_source(statement: &Statement, plan: &Plan) -> Option<String> {
    let in_table = plan.guards.iter().find(|guard| guard.masked);
    if let Some(guard) = in_table {
        return Some(format!("{}.{}", table_id(&guard.table), guard.tagged.pattern.column_part()));
    }
    let read = statement.containers.iter().filter(|used| used.access == Access::Read);
    let may_hold = |tagged: &TaggedPattern, container: &Container| match container {
        Container::Database(database) => tagged.pattern.may_be_in_schema(Some(database), None),
        Container::Schema { database, schema } => {
            tagged.pattern.may_be_in_schema(database.as_ref(), schema.as_ref())
        }
    };
    let in_container = read
        .flat_map(|used| plan.everywhere.iter().filter(|tagged| may_hold(tagged, &used.container)))
        .next();
    let anywhere = plan.everywhere.first().or(plan.anywhere.as_ref()).filter(|_| plan.reads_more);
    in_container.or(anywhere).map(|tagged| tagged.pattern.as_str().to_owned())
}

fn copies_masked(column: &str) -> Refusal {
    let reason = format!("it would put {}, which is masked, where no mask reaches it", shown(column));
    Refusal::Denial(Denial::built_in(built_in::COPIES_MASKED, reason))
}
