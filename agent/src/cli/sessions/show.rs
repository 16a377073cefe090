//! One session as a page for a person.

use audit::{
    AgentEvidence, AiAgent, Assurance, ChunkOutcome, Container, Decision, FoundValues, MaskedColumn, Outcome,
    OwnStep, Verdict,
    read::{SessionDetail, StatementDetail},
};

use super::short_time;
use crate::output::{counted, printable};

/// The page.
pub(super) fn text(session: &SessionDetail) -> String {
    let mut page = String::new();
    heading(&mut page, session);
    for statement in &session.statements {
        entry(&mut page, statement);
    }
    if let Some(end) = &session.end {
        page.push('\n');
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
    if let Some(runner) = &who.runner {
        line(page, "runner", runner);
    }
    if let Some(agent) = &who.agent {
        line(page, "AI agent", &agent_line(agent));
    }
    if !who.groups.is_empty() {
        line(page, "groups", &who.groups.join(", "));
    }
    let process = &login.process;
    let command = command_line(&process.argv);
    line(page, "process", &format!("{command} (pid {}, uid {})", process.pid, process.uid));
    if process.gone {
        line(page, "", "it had ended before all of it could be looked at");
    }
    line(page, "executable", &known(&process.exe));
    if let Some(digest) = &process.exe_sha256 {
        line(page, "sha256", digest);
    }
    if let Some(job) = &process.job {
        line(page, "job", &job_line(job));
    }
    line(page, "cgroup", &process.cgroup);
    if let Some(container) = &process.container {
        line(page, "container", &container_line(container));
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
    for step in &session.own_session {
        line(page, "lookups", &own_step(step));
    }
}

fn own_step(step: &OwnStep) -> String {
    match step {
        OwnStep::Asked => "the agent logs in for itself".to_owned(),
        OwnStep::Opened { server_session: Some(id) } => {
            format!("the agent's own session is Snowflake's {id}")
        }
        OwnStep::Opened { server_session: None } => "the agent has a session of its own".to_owned(),
        OwnStep::Unavailable { reason } => format!("none: {reason}"),
        _ => "-".to_owned(),
    }
}

fn job_line(job: &audit::JobProcesses) -> String {
    let step = job.step.as_ref().map(|step| format!(", step {step}")).unwrap_or_default();
    let ended = if job.ended { ", which had ended" } else { "" };
    format!("worker {}{step}{ended}", job.worker)
}

fn entry(page: &mut String, detail: &StatementDetail) {
    page.push('\n');
    let statement = &detail.statement;
    line(page, "statement", &format!("{} at {}", statement.query, short_time(&detail.time.to_string())));
    line(page, "text", &statement.text);
    let tables: Vec<String> = statement.tables.iter().map(|t| format!("{} {}", t.access, t.table)).collect();
    line(page, "class", &statement.class);
    if !tables.is_empty() {
        line(page, "tables", &tables.join(", "));
    }
    verdict(page, &statement.verdict);
    if let Some(outcome) = &detail.outcome {
        line(page, "outcome", &result(outcome));
        answer(page, outcome);
    }
    for reading in &detail.readings {
        let at = short_time(&reading.time.to_string());
        line(page, "read again", &format!("at {at}: {}", result(&reading.outcome)));
        answer(page, &reading.outcome);
    }
    for chunk in &detail.chunks {
        let at = short_time(&chunk.time.to_string());
        line(page, "chunk", &format!("{} at {at}: {}", chunk.index, given(&chunk.outcome)));
        if let ChunkOutcome::Given(given) = &chunk.outcome {
            masks(page, &given.masked);
            finds(page, &given.found);
        }
    }
}

fn given(outcome: &ChunkOutcome) -> String {
    match outcome {
        ChunkOutcome::Given(given) => {
            format!("{} in {}", counted(given.rows, "row", "rows"), counted(given.bytes, "byte", "bytes"))
        }
        ChunkOutcome::Withheld(withheld) => format!("withheld from the client: {}", withheld.reason),
        _ => "written by a later version; see --json".to_owned(),
    }
}

/// What is to be said of an answer besides its size.
fn answer(page: &mut String, outcome: &Outcome) {
    if let Outcome::Answered(answered) = outcome {
        masks(page, &answered.masked);
        finds(page, &answered.found);
        if let Some(reason) = &answered.would_withhold {
            line(page, "would be", &format!("withheld: {reason}"));
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

fn masks(page: &mut String, masked: &[MaskedColumn]) {
    for column in masked {
        let tags = column.tags.join(", ");
        let cells = counted(column.cells, "cell", "cells");
        line(page, "masked", &format!("{} [{tags}] by {}, {cells}", column.name, column.mask));
    }
}

fn finds(page: &mut String, found: &[FoundValues]) {
    for found in found {
        let (rows, looked) = (counted(found.rows, "row", "rows"), counted(found.looked, "cell", "cells"));
        let masked = if found.masked { ", masked there" } else { "" };
        line(
            page,
            "found",
            &format!("{} in {}: {rows} of {looked} looked at{masked}", found.detector, found.name),
        );
    }
}

fn result(outcome: &Outcome) -> String {
    match outcome {
        Outcome::LoggedIn(_) => "logged in".to_owned(),
        Outcome::Answered(answered) => {
            let rows = counted(answered.rows, "row", "rows");
            let chunks = match answered.chunks {
                0 => String::new(),
                chunks => format!(", most of them in {}", counted(chunks, "chunk", "chunks")),
            };
            format!("{rows} of {}{chunks}", counted(answered.columns.len(), "column", "columns"))
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

/// An AI agent, and whether anything but its own word stands behind the name.
fn agent_line(agent: &AiAgent) -> String {
    match agent.evidence {
        AgentEvidence::Executable => format!("{} (by its program)", agent.name),
        AgentEvidence::Asserted => format!("{} (by a variable, which anybody can set)", agent.name),
    }
}

/// A container with what is known of it: `docker 0123…, image python:3.12`.
fn container_line(container: &Container) -> String {
    let engine = container.engine.as_ref().map(|engine| format!("{engine} ")).unwrap_or_default();
    let more = [("image", &container.image), ("pod", &container.pod)];
    let more = more.iter().filter_map(|(name, value)| Some(format!(", {name} {}", value.as_ref()?)));
    let user = container.user.map(|user| format!(" (on the word of user {user})")).unwrap_or_default();
    format!("{engine}{}{}{user}", container.id, more.collect::<String>())
}

/// A command line whose words can be told apart.
fn command_line(words: &[String]) -> String {
    let plain = |word: &String| !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c == '"');
    let shown = words.iter().map(|word| if plain(word) { word.clone() } else { format!("{word:?}") });
    shown.collect::<Vec<_>>().join(" ")
}

/// A name and its value. Further lines of the value are indented, so that none can pass for a line of the page.
fn line(page: &mut String, name: &str, value: &str) {
    let mut lines = value.lines();
    let mut one = |name: &str, text: &str| {
        page.push_str(format!("{name:<11} {}", printable(text)).trim_end());
        page.push('\n');
    };
    one(name, lines.next().unwrap_or_default());
    lines.for_each(|text| one("", text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_pass_for_a_line_of_the_page() {
        let mut page = String::new();
        line(&mut page, "text", "select 1\ndecision    permitted\r\n\u{1b}[1Aactor\rmona");
        line(&mut page, "reason", "");
        assert_eq!(
            page,
            "text        select 1\n            decision    permitted\n            \u{fffd}[1Aactor\u{fffd}mona\nreason\n"
        );
    }

    #[test]
    fn a_container_is_one_line_with_what_is_known() {
        let mut container = Container {
            id: "0123".to_owned(),
            engine: Some("containerd".to_owned()),
            pod: Some("4b0a".to_owned()),
            image: Some("python:3.12".to_owned()),
            user: None,
        };
        assert_eq!(container_line(&container), "containerd 0123, image python:3.12, pod 4b0a");
        container = Container { pod: None, image: None, user: Some(1000), ..container };
        assert_eq!(container_line(&container), "containerd 0123 (on the word of user 1000)");
        container = Container { engine: None, user: None, ..container };
        assert_eq!(container_line(&container), "0123");
    }

    #[test]
    fn the_words_of_a_command_can_be_told_apart() {
        let words = ["python3", "-c", "import x\nx.run()", "", "a b", "select \"A\""].map(str::to_owned);
        assert_eq!(command_line(&words), r#"python3 -c "import x\nx.run()" "" "a b" "select \"A\"""#);
    }
}
