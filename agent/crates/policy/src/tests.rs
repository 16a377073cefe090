//! Policies and statements in, sentences out.

use std::sync::Arc;

use identity::{NobodyReason, Principal, testing};
use model::{AccountName, Ident, Mode, QueryId, SqlText};
use serde_json::json;
use sql::SessionNames;

use crate::{Classification, Decision, Permit, Policies, PolicyError, PolicyFile, StatementAsk};

mod beside;
mod cases;
mod columns;
mod compile;
mod doors;
mod effects;
mod kept;
mod masks;
mod page;
mod starter;
mod statements;

/// Jobs of `acme/etl` may read, log in and keep their session; as the lab has it.
pub(super) const READS: &str = r#"
@id("etl-reads")
permit (
    principal in Group::"repository:acme/etl",
    action in [Action::"read", Action::"session", Action::"login", Action::"decide"],
    resource in Account::"ACME"
);
"#;

pub(super) const ALLOW_ALL: &str =
    r#"@id("allow-all") @assurance("none") permit (principal, action, resource);"#;

pub(super) const TAGS: &str = r#"
[[column]]
pattern = "ANALYTICS.PUBLIC.CUSTOMERS.EMAIL"
tags = ["pii", "email"]

[[column]]
pattern = "ANALYTICS.PUBLIC.CUSTOMERS.SSN"
tags = ["pii", "ssn"]

[tags.email]
mask = "keep-domain"

[tags.ssn]
mask = { keep-last = 4 }
"#;

pub(super) fn file(text: &str) -> PolicyFile {
    PolicyFile { name: "p.cedar".to_owned(), text: text.to_owned() }
}

pub(super) fn compile(text: &str) -> Result<Policies, PolicyError> {
    Policies::compile(&[file(text)], Classification::parse("c.toml", TAGS).unwrap())
}

pub(super) fn policies(text: &str) -> Policies {
    compile(text).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn verified() -> Principal {
    testing::verified(&json!({}))
}

pub(super) fn observed() -> Principal {
    testing::observed(&json!({}))
}

pub(super) fn nobody() -> Principal {
    Principal::unidentified(NobodyReason::NoJob)
}

pub(super) fn query_id() -> QueryId {
    QueryId::new(uuid::Uuid::from_u128(7))
}

pub(super) fn session() -> SessionNames {
    SessionNames {
        database: Some(Ident::unquoted("ANALYTICS")),
        schema: Some(Ident::unquoted("PUBLIC")),
        role: Some(Ident::unquoted("ETL")),
        ..SessionNames::default()
    }
}

pub(super) fn decide_in(
    policies: &Policies,
    principal: &Principal,
    sql: &str,
    mode: Mode,
    session: &SessionNames,
) -> Decision<Permit> {
    let facts = Arc::new(sql::analyze(&SqlText::new(sql).unwrap(), session, &sql::Catalog::default()));
    policies.statement(&StatementAsk {
        principal,
        account: &AccountName::new("acme"),
        user: "ETL_SVC",
        facts: &facts,
        query_id: query_id(),
        mode,
    })
}

pub(super) fn decide(policies: &Policies, principal: &Principal, sql: &str) -> Decision<Permit> {
    decide_in(policies, principal, sql, Mode::Enforce, &session())
}

/// `permit [rules]`, or `deny [rules] reason`, or `hold [rules] by groups: reason`.
pub(super) fn verdict(policies: &Policies, principal: &Principal, sql: &str) -> String {
    show(&decide(policies, principal, sql))
}

pub(super) fn show(decision: &Decision<Permit>) -> String {
    let list = |rules: &[model::RuleId]| rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match decision {
        Decision::Permit(permit) => format!("permit [{}]", list(permit.rules())),
        Decision::Hold(hold) => {
            format!(
                "hold [{}] by {}: {hold}",
                list(hold.rules()),
                hold.approvers().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            )
        }
        Decision::Denial(denial) => format!("deny [{}] {denial}", list(denial.rules())),
    }
}
