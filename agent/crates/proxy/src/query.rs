//! A statement, from top to bottom. Each step makes what the next one demands, so none can be left out:
//! whose session, what is asked, what it means, may it, written down, sent, masked, written down, answered.

use audit::Receipt;
use model::{Ident, QueryId, RequestId};
use policy::{Clearance, Decision, StatementAsk};
use snowflake::{QueryReply, QueryRequest, QuerySuccess, SessionNames, session_token};
use sql::{Class, Group};

use crate::{
    answer::Answer,
    corridor::{Corridor, Peer},
    housekeeping, record,
    refusal::{Refusal, What, Withheld},
    session::{Repeat, Session, Turn},
    upstream::{Inbound, Reply, Worded},
};

/// Answers a statement.
///
/// # Errors
/// When nothing was sent upstream.
pub(crate) async fn query(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
    request: Option<RequestId>,
    id: QueryId,
) -> Result<Answer, Refusal> {
    let token = session_token(&inbound.headers)?.ok_or(Refusal::UnknownSession)?;
    let session = corridor.session(peer, &token)?;
    let worded = Worded::read(inbound)?;
    if let Some(parameter) = worded.request().parameters.name_changing() {
        return Err(Refusal::NameChanging(parameter));
    }
    if worded.request().described_job_id.is_some() {
        return Err(Refusal::DescribedEarlier);
    }
    let Reading { facts, names, _turn } = read(&session, worded.request(), request).await?;
    let intent = |verdict| intent(peer, &session, request, id, &facts, verdict);
    let asked = StatementAsk {
        principal: &peer.principal,
        account: &session.account,
        user: &session.user,
        role: names.role.as_ref().map(Ident::as_str),
        facts: &facts,
        query_id: id,
        mode: corridor.mode,
    };
    let permit = match corridor.policies.statement(&asked) {
        Decision::Permit(permit) => permit,
        Decision::Denial(denial) => return refuse(corridor, Refusal::Denied(denial), id, intent).await,
        Decision::Hold(hold) => return refuse(corridor, Refusal::Held(hold.into_denial()), id, intent).await,
    };

    let verdict = record::permitted(corridor.mode, permit.rules(), permit.would_refuse());
    let receipt = corridor.journal.open(intent(verdict)).await?;
    let lease = housekeeping::lease(token);
    let renaming = Renaming::of(&facts, &session);
    match corridor.upstream.execute(permit, &receipt, &lease, peer, worded).await {
        Ok((reply, clearance)) => Ok(finish(&session, renaming, receipt, reply, clearance).await),
        Err(refusal) => {
            let reason = refusal.to_string();
            Ok(record::close(
                receipt,
                audit::Lost { reason },
                What::Statement,
                refusal.answer(What::Statement, id),
            )
            .await)
        }
    }
}

/// A statement that was understood, under names that stay as they are until it is answered.
struct Reading {
    facts: sql::Facts,
    names: SessionNames,
    _turn: Turn,
}

/// Waits for the statement's turn and reads it.
async fn read(
    session: &Session,
    asked: &QueryRequest,
    request: Option<RequestId>,
) -> Result<Reading, Refusal> {
    let analyze = |names: &SessionNames| {
        let (database, schema) = (names.database.clone(), names.schema.clone());
        let scope = sql::SessionNames { database, schema, fold_quoted: session.fold_quoted };
        sql::analyze(&asked.text, &scope)
    };
    let mut turn = session.share().await;
    let mut names = session.names();
    let mut facts = analyze(&names);
    if may_rename(&facts) {
        drop(turn);
        turn = session.alone().await;
        names = session.names();
        facts = analyze(&names);
    }
    if let Some(request) = request {
        match session.repeat(request, asked.retry_content(), &names) {
            Repeat::Different => return Err(Refusal::NotARetry),
            Repeat::Same(common) if common != names => {
                facts = analyze(&common);
                names = common;
            }
            Repeat::First | Repeat::Same(_) => {}
        }
    }
    Ok(Reading { facts, names, _turn: turn })
}

/// Whether the session's names may be others after the statement. Nobody knows of what was not understood.
fn may_rename(facts: &sql::Facts) -> bool {
    facts.statement().map_or(true, |statement| match statement.class {
        Class::Use => true,
        // A new database or schema becomes the session's own; one that is dropped is no more.
        Class::Create | Class::Alter | Class::Drop | Class::Undrop => !statement.containers.is_empty(),
        class => class.group() == Group::Execute,
    })
}

/// A statement under way. If it may change the session's names, they are not known until Snowflake says that it is over.
struct Renaming {
    /// What they were, if it may change them.
    before: Option<SessionNames>,
    /// Whether it may have changed them although it failed.
    runs_code: bool,
}

impl Renaming {
    fn of(facts: &sql::Facts, session: &Session) -> Self {
        let runs_code = facts.statement().map_or(true, |statement| statement.class.group() == Group::Execute);
        let before = may_rename(facts).then(|| session.names());
        if before.is_some() {
            session.lose_names();
        }
        Self { before, runs_code }
    }

    fn succeeded(self, session: &Session, reported: SessionNames) {
        if let Some(before) = self.before {
            session.follow(before);
        }
        session.follow(reported);
    }

    fn failed(self, session: &Session) {
        if let (Some(before), false) = (self.before, self.runs_code) {
            session.follow(before);
        }
    }
}

/// Writes a refused statement down, then refuses it. If it cannot be written down, it is refused all the same.
async fn refuse(
    corridor: &Corridor,
    refusal: Refusal,
    id: QueryId,
    intent: impl Fn(audit::Verdict) -> audit::Statement,
) -> Result<Answer, Refusal> {
    let sentence = refusal.sentence(What::Statement, id);
    let verdict = record::refused(corridor.mode, refusal.decision(), refusal.rules(), sentence);
    corridor.journal.append(intent(verdict)).await?;
    Ok(refusal.answer(What::Statement, id))
}

/// Masks Snowflake's answer, writes the outcome down, and only then answers.
async fn finish(
    session: &Session,
    renaming: Renaming,
    receipt: Receipt,
    reply: Reply,
    clearance: Clearance,
) -> Answer {
    let id = receipt.query_id();
    match cleared(session, renaming, &reply, clearance) {
        Ok((outcome, body)) => {
            record::close(receipt, outcome, What::Statement, Answer::reply(reply.status, reply.headers, body))
                .await
        }
        Err((server_query, withheld)) => {
            let refusal = Refusal::Withheld(withheld);
            let outcome = audit::Withheld { server_query, reason: refusal.to_string() };
            record::close(receipt, outcome, What::Statement, refusal.answer(What::Statement, id)).await
        }
    }
}

/// Snowflake's id of the query, where it was told, and why the answer is not passed on.
type NotPassedOn = (Option<String>, Withheld);

/// What is written down and what is passed on. The rows in it went through the clearance.
fn cleared(
    session: &Session,
    renaming: Renaming,
    reply: &Reply,
    clearance: Clearance,
) -> Result<(audit::Outcome, Vec<u8>), NotPassedOn> {
    let early = |withheld| (None, withheld);
    let body = reply.plain().map_err(|error| early(error.into()))?;
    match QueryReply::decode(body).map_err(|error| early(error.into()))? {
        QueryReply::Success(success) => {
            renaming.succeeded(session, success.names.clone());
            let server_query = success.query_id.clone();
            let passed = pass(*success, clearance);
            passed.map_err(|withheld| (server_query, withheld))
        }
        QueryReply::Failure(failure) => {
            renaming.failed(session);
            let outcome = audit::Failed {
                server_query: failure.query_id.clone(),
                code: failure.code.clone(),
                message: Some(failure.message().to_owned()),
            };
            Ok((outcome.into(), failure.into_body()))
        }
        QueryReply::Running(running) => Err((running.query_id, Withheld::Running)),
    }
}

fn pass(success: QuerySuccess, clearance: Clearance) -> Result<(audit::Outcome, Vec<u8>), Withheld> {
    let server_query = success.query_id;
    let Some(result) = success.result else {
        let outcome = audit::Answered { server_query, rows: 0, columns: Vec::new(), masked: Vec::new() };
        return Ok((outcome.into(), success.envelope.encode(None)?));
    };
    let columns: Vec<String> = result.columns.iter().map(|column| column.name.clone()).collect();
    let (is_whole, is_plain) = (!success.has_chunks, !success.has_children && !success.is_file_transfer);
    let cleared = clearance.clear(result)?;
    if !cleared.masked().is_empty() {
        if !is_whole {
            return Err(Withheld::Chunks);
        }
        if !is_plain {
            return Err(Withheld::Elsewhere);
        }
    }
    // A stream that was cut between two messages reads as one that ended early.
    if is_whole && success.total.is_some_and(|total| total != cleared.rows()) {
        return Err(Withheld::Short);
    }
    let outcome = audit::Answered {
        server_query,
        rows: success.total.unwrap_or(cleared.rows()),
        columns,
        masked: record::masked(cleared.masked()),
    };
    Ok((outcome.into(), success.envelope.encode(Some(cleared.into_result()))?))
}

fn intent(
    peer: &Peer,
    session: &Session,
    request: Option<RequestId>,
    query: QueryId,
    facts: &sql::Facts,
    verdict: audit::Verdict,
) -> audit::Statement {
    audit::Statement {
        session: session.id,
        query,
        request,
        connection: peer.connection,
        text: facts.text().as_str().to_owned(),
        class: record::class(facts),
        tables: record::tables(facts),
        verdict,
    }
}

#[cfg(test)]
mod tests;
