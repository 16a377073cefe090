//! The doors: a statement, a login, an exchange. Deny by default; every object must be permitted, and the account too.

use std::sync::Arc;

use cedar_policy::{EntityUid, RestrictedExpression};
use model::{AccountName, Mode, RuleId};

use crate::{
    Beside, Clearance, Decision, EndpointAsk, EndpointPermit, LoginAsk, LoginPermit, Permit, Policies,
    StatementAsk,
    decision::{Judged, Permitted, Verdict},
    entities::Things,
    judge::{Judge, Question, Trace, not_judged, shown},
    kept::Asked,
    who::Who,
};

impl Policies {
    /// May this statement be sent? In observe mode the answer is always a permit, and says what it would have been.
    pub fn statement(&self, ask: &StatementAsk<'_>) -> Decision<Permit> {
        self.statement_beside(ask, Beside::default())
    }

    /// The same, with what is known beside the statement's facts.
    pub fn statement_beside(&self, ask: &StatementAsk<'_>, beside: Beside) -> Decision<Permit> {
        let asked = Asked::new(ask, beside);
        let judged = self.kept.judgement(asked, |asked| self.judge_statement(asked, None));
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
        decided(
            self.judge_login(&Who::new(ask.principal), &Presented::of(ask), None),
            ask.mode,
            LoginPermit::new,
        )
    }

    /// May this exchange be sent?
    pub fn endpoint(&self, ask: &EndpointAsk<'_>) -> Decision<EndpointPermit> {
        let words = format!("{} {}{}", shown(ask.method), ask.host, shown(ask.path));
        let context = vec![("user", text(ask.user)), ("mode", text(ask.mode.as_str()))];
        let action = &self.vocabulary.ask_endpoint;
        let one = One { account: ask.account, action, words, context };
        let verdict = self.judge_one(&Who::new(ask.principal), one, None, |things| {
            things.endpoint(ask.host.as_str(), ask.method, ask.path)
        });
        decided(verdict, ask.mode, EndpointPermit::new)
    }

    pub(crate) fn judge_login(
        &self,
        who: &Who,
        login: &Presented<'_>,
        heard: Option<&Trace>,
    ) -> Judged<Vec<RuleId>> {
        let words = format!("login with {} as {}", shown(login.credential), shown(login.user));
        let context = vec![
            ("user", text(login.user)),
            ("role", text(login.role)),
            ("mode", text(login.mode.as_str())),
            ("client", text(login.client)),
        ];
        let one = One { account: login.account, action: &self.vocabulary.login, words, context };
        self.judge_one(who, one, heard, |things| things.credential(login.credential, login.is_static))
    }

    fn judge_one(
        &self,
        who: &Who,
        one: One<'_>,
        heard: Option<&Trace>,
        resource: impl FnOnce(&mut Things<'_>) -> EntityUid,
    ) -> Judged<Vec<RuleId>> {
        let One { account, action, words, context } = one;
        let mut things = Things::new(&self.vocabulary, account);
        let uid = things.principal(who);
        let resource = resource(&mut things);
        things.action(action);
        let entities = things.into_entities().ok_or_else(|| not_judged("its objects cannot be named"))?;
        Judge::new(self, who, uid, entities, context, heard)?.ask(&Question { action, resource, words })
    }
}

/// A login without whoever asks for it.
pub(crate) struct Presented<'a> {
    pub(crate) account: &'a AccountName,
    pub(crate) user: &'a str,
    pub(crate) role: &'a str,
    pub(crate) credential: &'a str,
    pub(crate) is_static: bool,
    pub(crate) client: &'a str,
    pub(crate) mode: Mode,
}

impl<'a> Presented<'a> {
    fn of(ask: &LoginAsk<'a>) -> Self {
        let LoginAsk { account, user, role, credential, is_static, client, mode, .. } = *ask;
        Self { account, user, role: role.unwrap_or_default(), credential, is_static, client, mode }
    }
}

/// What is asked of one resource.
struct One<'a> {
    account: &'a AccountName,
    action: &'a EntityUid,
    words: String,
    context: Vec<(&'static str, RestrictedExpression)>,
}

pub(crate) fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
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
