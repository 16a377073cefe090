//! The corridor's findings in the record's own words. One place, so that nothing is told in two ways.

use audit::{
    AgentEvidence, AiAgent, Assurance, Decision, FoundValues, Journal, MaskedColumn, Outcome, Reading,
    Receipt, TableUse, Verdict, Who,
};
use identity::Principal;
use model::{Mode, QueryId, RuleId};
use policy::Denial;

use crate::{
    answer::Answer,
    refusal::{Refusal, What, Withheld},
};

/// Who is asking.
pub(crate) fn who(principal: &Principal) -> Who {
    let own = |text: Option<&str>| text.map(str::to_owned);
    Who {
        principal: principal.id(),
        assurance: match principal.assurance() {
            identity::Assurance::Verified => Assurance::Verified,
            identity::Assurance::Observed => Assurance::Observed,
            identity::Assurance::None => Assurance::None,
        },
        provider: principal.provider().map(|provider| provider.as_str().to_owned()),
        repository: own(principal.repository()),
        r#ref: own(principal.git_ref()),
        workflow: own(principal.workflow()),
        job: own(principal.job()),
        run_id: own(principal.run_id()),
        run_attempt: own(principal.run_attempt()),
        actor: own(principal.actor()),
        environment: own(principal.environment()),
        runner: own(principal.registration()),
        groups: principal.groups().map(str::to_owned).collect(),
        agent: principal.agent().map(|agent| AiAgent {
            name: agent.name().to_owned(),
            evidence: match agent.evidence() {
                identity::AgentEvidence::Executable => AgentEvidence::Executable,
                identity::AgentEvidence::Asserted => AgentEvidence::Asserted,
            },
        }),
        reason: principal.reason().map(ToString::to_string),
    }
}

/// A verdict that lets something happen, perhaps only because the mode is to observe. Then it says in the very words of
/// enforce mode what that would have told the client.
pub(crate) fn permitted(
    mode: Mode,
    what: What,
    id: QueryId,
    rules: &[RuleId],
    would_refuse: Option<&Denial>,
) -> Verdict {
    Verdict {
        decision: Decision::Permitted,
        rules: names(rules),
        reason: None,
        mode,
        would_refuse: would_refuse.map(|denial| Refusal::Denied(denial.clone()).sentence(what, id)),
    }
}

/// A verdict that lets nothing happen. `reason` is the sentence that the client is shown.
pub(crate) fn refused(mode: Mode, decision: Decision, rules: &[RuleId], reason: String) -> Verdict {
    Verdict { decision, rules: names(rules), reason: Some(reason), mode, would_refuse: None }
}

/// The tables of a text; none when it was not understood.
pub(crate) fn tables(facts: &sql::Facts) -> Vec<TableUse> {
    let statements = facts.statements().unwrap_or_default();
    statements
        .iter()
        .flat_map(|statement| &statement.tables)
        .map(|used| TableUse { table: used.table.to_string(), access: used.access.as_str().to_owned() })
        .collect()
}

/// The classes of a text's statements, by their actions' names; of what was not understood, the words it begins with.
pub(crate) fn class(facts: &sql::Facts) -> String {
    match facts.statements() {
        Ok(statements) => statements.iter().map(|s| s.class.action()).collect::<Vec<_>>().join("; "),
        Err(_) => format!("opaque: {}", facts.verb()),
    }
}

/// The columns that were masked.
pub(crate) fn masked(columns: &[policy::MaskedColumn]) -> Vec<MaskedColumn> {
    columns
        .iter()
        .map(|column| MaskedColumn {
            name: column.name.clone(),
            tags: column.tags.clone(),
            mask: column.mask.to_string(),
            cells: column.cells,
            nulls: column.nulls,
            rows: column.rows,
        })
        .collect()
}

/// What was found where no tag told of it.
pub(crate) fn found(values: &[policy::FoundValues]) -> Vec<FoundValues> {
    values
        .iter()
        .map(|found| FoundValues {
            name: found.name.clone(),
            detector: found.detector.to_owned(),
            rows: found.rows,
            looked: found.looked,
            passed: found.passed,
            masked: found.masked,
        })
        .collect()
}

/// Writes an outcome down, and only then lets the answer go. An outcome that cannot be written down leaves no answer
/// to give.
pub(crate) async fn close(
    receipt: Receipt,
    outcome: impl Into<Outcome>,
    what: What,
    answer: Answer,
) -> Answer {
    let id = receipt.query_id();
    match receipt.close(outcome).await {
        Ok(_) => answer,
        Err(error) => Refusal::Withheld(Withheld::Unrecorded(error)).answer(what, id),
    }
}

/// Writes a further reading of a result down, and only then lets the answer go.
pub(crate) async fn read_again(journal: &Journal, reading: Reading, answer: Answer) -> Answer {
    let id = reading.query;
    match journal.append(reading).await {
        Ok(_) => answer,
        Err(error) => Refusal::Withheld(Withheld::Unrecorded(error)).answer(What::Statement, id),
    }
}

fn names(rules: &[RuleId]) -> Vec<String> {
    rules.iter().map(ToString::to_string).collect()
}
