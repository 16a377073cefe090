//! One session as a page for a person.

use audit::{
    Answered, Assurance, Decision, Outcome, Verdict,
    read::{SessionDetail, StatementDetail},
};

use super::short_time;
use crate::output::printable;

/// The page.
pub(super) fn text(session: &SessionDetail) -> String {
    let mut page = String::new();
    heading(&mut page, session);
    for statement in &session.statements {
        entry(&mut page, statement);
    }
    if let Some(end) = &session.end {
        line(&mut page, "ended", &end.reason);
    }
    page
}

fn heading(page: &mut String, session: &SessionDetail) {
    let (login, who) = (&session.login, &session.login.who);
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    line(page, "session", &login.session.to_string());
    line(page, "started", &short_time(&session.summary.started.to_string()));
    line(page, "principal", &format!("{} ({})", who.principal, assurance(who.assurance)));
    if let Some(reason) = &who.reason {
        line(page, "why", reason);
    }
    if who.repository.is_some() {
        line(page, "repository", &known(&who.repository));
        line(page, "ref", &known(&who.r#ref));
        line(page, "workflow", &format!("{}, job {}", known(&who.workflow), known(&who.job)));
        line(page, "run", &format!("{} (attempt {})", known(&who.run_id), known(&who.run_attempt)));
        line(page, "actor", &known(&who.actor));
    }
    let process = &login.process;
    line(page, "process", &format!("{} (pid {}, uid {})", process.argv.join(" "), process.pid, process.uid));
    line(page, "executable", &known(&process.exe));
    line(page, "cgroup", &process.cgroup);
    if let Some(container) = &process.container {
        line(page, "container", container);
    }
    line(
        page,
        "login",
        &format!(
            "{} at {}, {}, with {}",
            known(&login.user),
            login.account,
            known(&login.client),
            login.credential
        ),
    );
    verdict(page, &login.verdict);
    if let Some(outcome) = &session.login_outcome {
        line(page, "outcome", &result(outcome));
    }
}

fn entry(page: &mut String, detail: &StatementDetail) {
    page.push('\n');
    let statement = &detail.statement;
    line(page, "statement", &format!("{} at {}", statement.query, short_time(&detail.time.to_string())));
    for (n, text) in statement.text.lines().enumerate() {
        line(page, if n == 0 { "text" } else { "" }, text);
    }
    let tables: Vec<String> = statement.tables.iter().map(|t| format!("{} {}", t.access, t.table)).collect();
    line(page, "class", &statement.class);
    if !tables.is_empty() {
        line(page, "tables", &tables.join(", "));
    }
    verdict(page, &statement.verdict);
    if let Some(outcome) = &detail.outcome {
        line(page, "outcome", &result(outcome));
        if let Outcome::Answered(answered) = outcome {
            masks(page, answered);
        }
    }
}

fn verdict(page: &mut String, verdict: &Verdict) {
    let rules = if verdict.rules.is_empty() { "no rule".to_owned() } else { verdict.rules.join(", ") };
    line(
        page,
        "decision",
        &format!("{} by {rules} ({} mode)", decision(verdict.decision), verdict.mode.as_str()),
    );
    if let Some(reason) = &verdict.reason {
        line(page, "reason", reason);
    }
    if let Some(reason) = &verdict.would_refuse {
        line(page, "would be", &format!("refused: {reason}"));
    }
}

fn masks(page: &mut String, answered: &Answered) {
    for column in &answered.masked {
        let tags = column.tags.join(", ");
        line(page, "masked", &format!("{} [{tags}] by {}, {} cells", column.name, column.mask, column.cells));
    }
}

fn result(outcome: &Outcome) -> String {
    match outcome {
        Outcome::LoggedIn(_) => "logged in".to_owned(),
        Outcome::Answered(answered) => {
            format!("{} rows of {} columns", answered.rows, answered.columns.len())
        }
        Outcome::Failed(failed) => {
            format!("Snowflake error {}: {}", failed.code, failed.message.as_deref().unwrap_or("no message"))
        }
        Outcome::Withheld(withheld) => format!("withheld from the client: {}", withheld.reason),
        Outcome::Lost(lost) => format!("lost: {}", lost.reason),
        _ => "written by a later version; see --json".to_owned(),
    }
}

/// The word for an assurance.
pub(super) fn assurance(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::Verified => "verified",
        Assurance::Observed => "observed",
        Assurance::None => "none",
    }
}

/// The word for a decision.
pub(super) fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Permitted => "permitted",
        Decision::Held => "held",
        Decision::Refused => "refused",
    }
}

fn line(page: &mut String, name: &str, value: &str) {
    page.push_str(&format!("{name:<11} {}\n", printable(value)));
}
