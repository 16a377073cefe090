//! A kept answer is the answer.

use std::sync::Arc;

use identity::testing;
use model::{AccountName, Ident, Mode, QueryId, SqlText};
use serde_json::json;
use sql::{Facts, SessionNames};
use uuid::Uuid;

use super::{nobody, observed, policies, session, show, verified};
use crate::{Decision, Permit, Policies, StatementAsk, kept::Asked};

/// Rules that look at everything a rule can look at.
const ALL_KINDS: &str = r#"
@id("etl") @assurance("observed")
permit (principal in Group::"repository:acme/etl", action in [Action::"read", Action::"write"], resource in Account::"ACME");
@id("anybody-shows") @assurance("none")
permit (principal, action == Action::"SHOW", resource);
@id("role-alters")
permit (principal, action in Action::"ddl", resource) when { context.role == "OWNER" };
@id("user-calls")
permit (principal, action in Action::"execute", resource) when { context.user == "ETL_SVC" };
@id("no-branches") @reason("only main writes")
forbid (principal, action in Action::"write", resource) unless { principal.ref == "refs/heads/main" };
@id("watched") forbid (principal, action == Action::"DELETE", resource) when { context.mode == "observe" };
@id("functions") forbid (principal, action in Action::"read", resource) when { context.functions.contains("STEAL") };
@id("pii") @approve("security") forbid (principal, action == Action::"UPDATE", resource) when { resource.tags.contains("pii") };
@id("mail") permit (principal, action == Action::"unmask", resource)
when { resource.tags.contains("email") && context.role == "OWNER" };
"#;

const STATEMENTS: &[&str] = &[
    "select 1",
    "select * from customers",
    "select email, ssn from customers",
    "select * from orders",
    "select * from \"Orders\"",
    "select steal(1) from orders",
    "show tables",
    "delete from orders",
    "update customers set city = 'x'",
    "update orders set city = 'x'",
    "insert into t select * from customers",
    "create table t as select email from customers",
    "drop table orders",
    "call p()",
    "grant role a to user b",
    "frobnicate",
];

/// Everything an ask is made of but its id.
struct Case {
    principal: usize,
    facts: Arc<Facts>,
    account: AccountName,
    user: &'static str,
    mode: Mode,
}

impl Case {
    fn is_asked_as(&self, other: &Self) -> bool {
        let rest = |case: &Self| (case.principal, case.account.clone(), case.user, case.mode);
        rest(self) == rest(other) && self.facts.say_the_same_as(&other.facts)
    }
}

fn cases() -> Vec<Case> {
    let other = SessionNames { schema: Some(Ident::unquoted("STAGING")), ..session() };
    let read = |sql: &str, names: &SessionNames| {
        Arc::new(sql::analyze(&SqlText::new(sql).unwrap(), names, &sql::Catalog::default()))
    };
    let mut cases = Vec::new();
    for (sql, names) in STATEMENTS.iter().flat_map(|sql| [(sql, session()), (sql, other.clone())]) {
        for (user, role) in [("ETL_SVC", Some("OWNER")), ("ETL_SVC", None), ("ANN", Some("ETL"))] {
            let facts = read(sql, &SessionNames { role: role.map(Ident::exact), ..names.clone() });
            for principal in 0..5 {
                for (account, mode) in
                    [("acme", Mode::Enforce), ("acme", Mode::Observe), ("beta", Mode::Enforce)]
                {
                    let (facts, account) = (facts.clone(), AccountName::new(account));
                    cases.push(Case { principal, facts, account, user, mode });
                }
            }
        }
    }
    cases
}

fn told(decision: Decision<Permit>) -> String {
    let shown = show(&decision);
    match decision {
        Decision::Permit(permit) => {
            let would_refuse = format!("{:?}", permit.would_refuse());
            let (text, id, clearance) = permit.spend();
            format!("{shown} {would_refuse} {id} {} {clearance:?}", text.as_str())
        }
        _ => shown,
    }
}

#[test]
fn a_kept_answer_is_what_would_be_answered_afresh() {
    let principals = [
        verified(),
        testing::verified(&json!({ "ref": "refs/heads/x", "sub": "repo:acme/etl:ref:refs/heads/x" })),
        testing::verified(
            &json!({ "repository": "acme/billing", "sub": "repo:acme/billing:ref:refs/heads/main" }),
        ),
        observed(),
        nobody(),
    ];
    let kept = policies(ALL_KINDS);
    let cases = cases();
    let mut answers = std::collections::BTreeSet::new();
    for round in 0..2_u128 {
        for (n, case) in cases.iter().enumerate() {
            let ask = StatementAsk {
                principal: &principals[case.principal],
                account: &case.account,
                user: case.user,
                facts: &case.facts,
                query_id: QueryId::new(Uuid::from_u128(round * 1_000_000 + n as u128)),
                mode: case.mode,
            };
            let asked = Asked::new(&ask, crate::Beside::default());
            let fresh = Policies::decided_statement(&ask, kept.judge_statement(&asked, None));
            let fresh = told(fresh);
            assert_eq!(told(kept.statement(&ask)), fresh, "round {round}");
            answers.insert(fresh.split(']').next().unwrap().to_owned());
        }
    }
    let mut distinct: Vec<&Case> = Vec::new();
    for case in &cases {
        if !distinct.iter().any(|known| known.is_asked_as(case)) {
            distinct.push(case);
        }
    }
    assert_eq!(kept.kept.len(), distinct.len(), "each ask is kept once");
    assert!(distinct.len() < cases.len());
    // The rules do tell the cases apart.
    assert!(answers.len() >= 11, "{answers:?}");
}

fn ask_with<'a>(
    principal: &'a identity::Principal,
    account: &'a AccountName,
    facts: &'a Arc<Facts>,
) -> StatementAsk<'a> {
    StatementAsk {
        principal,
        account,
        user: "ETL_SVC",
        facts,
        query_id: super::query_id(),
        mode: Mode::Enforce,
    }
}

#[test]
fn texts_that_differ_in_what_nobody_judges_are_judged_once() {
    let (me, acme, policies) = (verified(), AccountName::new("acme"), policies(ALL_KINDS));
    let read = |text: &str| {
        Arc::new(sql::analyze(&SqlText::new(text).unwrap(), &session(), &sql::Catalog::default()))
    };
    for (text, kept) in [
        ("select id from orders where id = 1", 1),
        ("select id from orders where id = 1", 1),
        ("select id from orders where id = 2 -- another", 1),
        ("select id from orders where amount = 2", 2),
        ("select id as x from orders where id = 1", 3),
        ("select id from customers where id = 1", 4),
        ("delete from orders where id = 1", 5),
        ("select id from orders where id = 3", 5),
    ] {
        let facts = read(text);
        let decision = policies.statement(&ask_with(&me, &acme, &facts));
        assert_eq!(policies.kept.len(), kept, "{text}");
        let Decision::Permit(permit) = decision else { continue };
        assert_eq!(permit.spend().0.as_str(), text, "a permit is for its own text");
    }
    // Nobody else holds those facts any more, and yet no others can take their place.
    for n in 0..50 {
        let decision = policies.statement(&ask_with(&me, &acme, &read(&format!("drop table t{n}"))));
        assert!(matches!(decision, Decision::Denial(_)), "{}", show(&decision));
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let (me, acme, policies) = (verified(), AccountName::new("acme"), policies(ALL_KINDS));
    let padding = "x".repeat(crate::kept::KEPT_ONE_BYTES_MAX / 2);
    let ask = |n: usize, padding: &str| {
        let text = SqlText::new(&format!("select {n} as c{n}, '{padding}'")).unwrap();
        let facts = Arc::new(sql::analyze(&text, &session(), &sql::Catalog::default()));
        drop(policies.statement(&ask_with(&me, &acme, &facts)));
    };
    let most = crate::kept::KEPT_BYTES_MAX / padding.len();
    for n in 0..3 * most {
        ask(n, &padding);
        assert!(policies.kept.len() <= most, "{n}");
    }
    let before = policies.kept.len();
    ask(0, &padding.repeat(3));
    assert_eq!(policies.kept.len(), before, "one that is too long is not kept");
}
