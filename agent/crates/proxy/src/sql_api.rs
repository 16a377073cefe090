//! A statement of the SQL API, from top to bottom. The way is that of a driver's statement, with two differences: each
//! request brings its own credential, so it is judged as a login first; and its rows may come in parts, each asked for
//! with a request of its own, long after.
//!
//! A request that comes again under its own id, with the same content, gets the answer that it was given before, and is
//! judged and written down once. One that says that it repeats an earlier one (`retry=true`) must have been seen here:
//! Snowflake may answer it with the rows of that one.

mod admission;
mod fetch;
mod kept;
mod memory;

use std::{pin::pin, sync::Arc};

use model::{Ident, Mode, QueryId, SqlText};
use policy::{Decision, StandingClearance, StatementAsk};
use snowflake::sql_api::{ApiReply, Call, Nulls, Submission};
use sql::{SecondaryRoles, SessionNames};
use uuid::Uuid;

use crate::{
    answer::{Answer, Outbox},
    catalog::{Reader, Understood},
    corridor::{Corridor, Peer},
    record,
    refusal::{Refusal, What},
    renaming::may_rename,
    results,
    retries::{Entered, Ticket},
    session::{Turn, placed},
    sql_api::{
        admission::{Admission, Caller, admit},
        kept::{Kept, Running},
    },
    upstream::{Inbound, Posed, Reply, UpstreamError},
};

pub(crate) use admission::lease;
pub(crate) use memory::Memory;

/// Answers a request of the SQL API.
///
/// # Errors
/// When nothing was sent upstream, or what came back must not be passed on.
pub(crate) async fn answer(
    corridor: &Corridor,
    peer: &Arc<Peer>,
    inbound: &Inbound,
    call: Call,
    id: QueryId,
    outbox: &mut Outbox,
) -> Result<Answer, Refusal> {
    match call {
        Call::Submit => submit(corridor, peer, inbound, id, outbox).await,
        Call::Fetch { handle } => fetch::fetch(corridor, peer, inbound, handle).await,
        Call::Cancel { handle } => fetch::cancel(corridor, peer, inbound, handle).await,
    }
}

async fn submit(
    corridor: &Corridor,
    peer: &Arc<Peer>,
    inbound: &Inbound,
    id: QueryId,
    outbox: &mut Outbox,
) -> Result<Answer, Refusal> {
    let posed = Posed::read(inbound)?;
    let asked = posed.submission();
    let parameters = &asked.parameters;
    if let Some(parameter) = parameters.name_changing().or_else(|| parameters.variable_setting()) {
        return Err(Refusal::NameChanging(parameter));
    }
    let caller = match admit(corridor, peer, inbound, &asked.names).await? {
        Admission::Admitted(caller) => caller,
        Admission::Refused(answer) => return Ok(answer),
    };
    let Reading { understood, names, _turn } = read(corridor, peer, inbound, &caller, asked).await?;
    let ticket = match enter(corridor, peer, &caller, asked, &names).await? {
        Entry::Judge(ticket) => ticket,
        Entry::Answered(answer) => return Ok(answer),
    };
    let errand = Errand { corridor, peer, caller: &caller, posed: &posed, id };
    let Told { answer, again } = errand.run(&understood, outbox).await?;
    if let (Some(ticket), Again::Same(clearance)) = (ticket, again) {
        ticket.answered(&answer, clearance, &corridor.kept);
    }
    Ok(answer)
}

/// A statement that is to be answered: who asks, and what.
struct Errand<'a> {
    corridor: &'a Corridor,
    peer: &'a Peer,
    caller: &'a Caller,
    posed: &'a Posed<'a>,
    id: QueryId,
}

/// An answer, and what becomes of it when the client asks the same once more.
struct Told {
    answer: Answer,
    again: Again,
}

/// What a retry gets.
enum Again {
    /// The same answer. With a clearance Snowflake may be asked for it, once it is not kept any more.
    Same(Option<StandingClearance>),
    /// A judgement of its own: Snowflake could not be reached, or had no time, or did not take the credential; or
    /// somebody behind it has left.
    Anew,
}

impl Errand<'_> {
    /// Everything between the statement and its answer.
    async fn run(&self, understood: &Understood, outbox: &mut Outbox) -> Result<Told, Refusal> {
        let Self { corridor, peer, caller, posed, id } = *self;
        let (session, facts) = (&caller.session, &understood.facts);
        let ask = StatementAsk {
            principal: &peer.principal,
            account: &session.account,
            user: &session.user,
            facts,
            query_id: id,
            mode: corridor.mode,
        };
        let beside = understood.beside(&corridor.copies, &session.account);
        let permit = match corridor.policies.get().statement_beside(&ask, beside) {
            Decision::Permit(permit) => permit,
            Decision::Denial(denial) => return self.refuse(Refusal::Denied(denial), facts).await,
            Decision::Hold(hold) => return self.refuse(Refusal::Held(hold.into_denial()), facts).await,
        };
        if !caller.is_bearer() && may_rename(facts) {
            if corridor.mode == Mode::Enforce {
                return self.refuse(Refusal::Renaming, facts).await;
            }
            session.lose_names();
        }
        let would_refuse = permit.would_refuse();
        let verdict = record::permitted(corridor.mode, What::ApiStatement, id, permit.rules(), would_refuse);
        let carrying = corridor.carry(session, facts, &permit).await?;
        let receipt = corridor.journal.open(self.intent(facts, verdict)).await?;
        let changing = corridor.catalog.begin(session, facts);
        let (sent, clearance) = corridor.upstream.pose(permit, &receipt, &caller.lease, peer, posed)?;
        let mut sent = pin!(sent);
        let reply = match session.unless_ended(sent.as_mut()).await {
            Ok(reply) => reply,
            Err(refusal) => {
                let lost = audit::Lost { reason: refusal.to_string() };
                let answer = refusal.answer(What::ApiStatement, id);
                let answer = record::close(receipt, lost, What::ApiStatement, answer).await;
                if matches!(refusal, Refusal::Ended(_)) {
                    answer.give(outbox).await;
                    self.cancel(sent.await).await;
                    return Ok(Told { answer: Answer::begun(None), again: Again::Anew });
                }
                return Ok(Told { answer, again: Again::Anew });
            }
        };
        let clearance = clearance.stand();
        let (session, entrance) = (session.clone(), caller.entrance());
        let running = Running { receipt, _changing: changing, session, entrance };
        let kept = Arc::new(Kept::new(running, clearance.clone(), posed.submission(), corridor.mode));
        let decoded = kept.decode(&reply).await;
        let settled = caller.settle(corridor, reply.status, &decoded).await;
        let handle = decoded.as_ref().ok().and_then(kept::handle);
        match (&decoded, carrying) {
            (Ok(ApiReply::Failure(_)), Some(carrying)) => carrying.failed().await,
            (Ok(ApiReply::Success(_)), Some(carrying)) => carrying.succeeded().await,
            _ => {}
        }
        let again = match &decoded {
            Ok(ApiReply::Failure(failure)) if !failure.is_final => Again::Anew,
            _ => Again::Same(Some(clearance)),
        };
        let answer = kept.first(decoded, &reply).await;
        if let Some(handle) = handle {
            self.keep(handle, kept).await;
        }
        settled.map(|()| Told { answer, again })
    }

    /// Keeps a statement for whoever asks for its rows later. Where its session was ended while Snowflake answered, it
    /// was not found among those that run.
    async fn keep(&self, handle: Uuid, kept: Arc<Kept>) {
        let Self { corridor, peer, caller, .. } = *self;
        corridor.sql_api.keep(&caller.session.account, peer, handle, kept.clone()).await;
        if let Some(ended) = caller.session.ended()
            && kept.lose(&ended.to_string()).await
        {
            corridor.cancel(peer, &caller.lease, handle).await;
        }
    }

    /// Ends a statement whose client was told already that its session is ended: by its handle, which only Snowflake's
    /// answer has.
    async fn cancel(&self, reply: Result<Reply, UpstreamError>) {
        let Self { corridor, peer, caller, .. } = *self;
        let read = |reply: Reply| ApiReply::decode(reply.status, reply.plain().ok()?, Nulls::Text, None).ok();
        if let Some(ApiReply::Running(running)) = reply.ok().and_then(read) {
            corridor.cancel(peer, &caller.lease, running.handle).await;
        }
    }

    /// Writes a refused statement down, then refuses it. If it cannot be written down, it is refused all the same.
    async fn refuse(&self, refusal: Refusal, facts: &sql::Facts) -> Result<Told, Refusal> {
        let sentence = refusal.sentence(What::ApiStatement, self.id);
        let verdict = record::refused(self.corridor.mode, refusal.decision(), refusal.rules(), sentence);
        self.corridor.journal.append(self.intent(facts, verdict)).await?;
        Ok(Told { answer: refusal.answer(What::ApiStatement, self.id), again: Again::Same(None) })
    }

    fn intent(&self, facts: &sql::Facts, verdict: audit::Verdict) -> audit::Statement {
        audit::Statement {
            session: self.caller.session.id,
            query: self.id,
            request: self.posed.submission().request_id,
            connection: self.peer.connection,
            text: facts.text().as_str().to_owned(),
            class: record::class(facts),
            tables: record::tables(facts),
            verdict,
        }
    }
}

/// What is done with a request, by its id.
enum Entry {
    /// It is judged; the answer is for whoever sends the same again.
    Judge(Option<Ticket>),
    /// It was judged before.
    Answered(Answer),
}

/// Looks a request up by its id. Tokens change between two tries, so one with a credential of its own is the same if it
/// comes from the same job; in a driver's session its id must not be one of the driver's.
async fn enter(
    corridor: &Corridor,
    peer: &Peer,
    caller: &Caller,
    asked: &Submission,
    names: &SessionNames,
) -> Result<Entry, Refusal> {
    let Some(request) = asked.request_id else {
        return if asked.is_retry { Err(Refusal::UnseenRetry) } else { Ok(Entry::Judge(None)) };
    };
    let (job, name) = (peer.job(), |name: &Option<Ident>| name.as_ref().map(ToString::to_string));
    let (database, schema) = (name(&names.database), name(&names.schema));
    let mut content = asked.retry_content().to_vec();
    for part in [caller.session.account.as_str(), &job, &format!("{database:?} {schema:?}")] {
        content.extend_from_slice(&(part.len() as u64).to_le_bytes());
        content.extend_from_slice(part.as_bytes());
    }
    // What is not known does not take the id.
    if asked.is_retry && !corridor.sql_api.has_seen(request, &content) {
        return Err(Refusal::UnseenRetry);
    }
    let retries = if caller.is_bearer() { &corridor.sql_api.retries } else { &caller.session.retries };
    match retries.enter(request, &content).await {
        Entered::First(ticket) => {
            corridor.sql_api.note(request, &content);
            Ok(Entry::Judge(Some(ticket)))
        }
        Entered::Same(answer) => Ok(Entry::Answered(answer)),
        Entered::Again(repeated) => Ok(Entry::Judge(Some(repeated.judge_anew()))),
        Entered::Different => Err(Refusal::NotARetry),
    }
}

/// A statement that was understood, under names that stay as they are until it is answered.
struct Reading {
    understood: Understood,
    names: SessionNames,
    /// Its turn in the session, if it runs in a driver's.
    _turn: Option<Turn>,
}

/// Waits for the statement's turn, where it runs in a driver's session, and reads it.
async fn read(
    corridor: &Corridor,
    peer: &Peer,
    inbound: &Inbound,
    caller: &Caller,
    asked: &Submission,
) -> Result<Reading, Refusal> {
    let session = &caller.session;
    let read = async |names: &SessionNames, bearer| {
        let reader = Reader { corridor, peer, session, bearer };
        corridor.catalog.read(reader, &asked.text, names.clone()).await
    };
    if caller.is_bearer() {
        let secondary_roles = SecondaryRoles::Usual;
        let names = placed(SessionNames { secondary_roles, ..SessionNames::default() }, &asked.names);
        under_either_setting(&asked.text, &names)?;
        let understood = read(&names, Some(&inbound.headers)).await;
        return Ok(Reading { understood, names, _turn: None });
    }
    let turn = results::wait(corridor, peer, session, &inbound.headers, session.share()).await;
    let names = under(session.names(), &asked.names);
    let understood = read(&names, None).await;
    Ok(Reading { understood, names, _turn: Some(turn) })
}

/// Whether quoted names fold is told at login, and here was none: the account or the user may have set it. A statement
/// is taken only if it names the same objects either way; masks do not mind case.
fn under_either_setting(text: &SqlText, names: &SessionNames) -> Result<(), Refusal> {
    if !text.as_str().contains('"') {
        return Ok(());
    }
    let objects = |fold_quoted| {
        let names = SessionNames { fold_quoted, ..names.clone() };
        let facts = sql::analyze(text, &names, &sql::Catalog::default());
        let statements = facts.statements().ok()?;
        let of = |s: &sql::Statement| (s.tables.clone(), s.containers.clone(), s.objects.clone());
        Some(statements.iter().map(of).collect::<Vec<_>>())
    };
    if objects(false) == objects(true) { Ok(()) } else { Err(Refusal::QuotedNames) }
}

/// The names of a session as a body changes them. Another database has another schema.
fn under(session: SessionNames, asked: &snowflake::SessionNames) -> SessionNames {
    let schema = if asked.database.is_some() { None } else { session.schema };
    SessionNames {
        database: asked.database.clone().or(session.database),
        schema: asked.schema.clone().or(schema),
        role: asked.role.clone().or(session.role),
        ..session
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(database: Option<&str>, schema: Option<&str>) -> SessionNames {
        SessionNames {
            database: database.map(Ident::exact),
            schema: schema.map(Ident::exact),
            ..SessionNames::default()
        }
    }

    #[test]
    fn a_body_changes_the_names_of_its_session() {
        let session = || names(Some("A"), Some("S"));
        for (asked, expected) in [
            (names(None, None), names(Some("A"), Some("S"))),
            (names(None, Some("T")), names(Some("A"), Some("T"))),
            (names(Some("B"), Some("T")), names(Some("B"), Some("T"))),
            // Which schema that is, nobody here knows.
            (names(Some("B"), None), names(Some("B"), None)),
        ] {
            let SessionNames { database, schema, .. } = asked;
            let asked = snowflake::SessionNames { database, schema, ..Default::default() };
            assert_eq!(under(session(), &asked), expected);
        }
    }

    #[test]
    fn a_quoted_name_must_mean_one_object_whatever_the_account_has_set() {
        let names = names(Some("A"), Some("S"));
        let read = |text: &str| under_either_setting(&SqlText::new(text).unwrap(), &names);
        for text in ["select city as \"city\" from t", "select \"X\" from \"A\".\"S\".\"T\"", "select 'a\"b'"]
        {
            assert!(read(text).is_ok(), "{text}");
        }
        for text in ["select x from \"t\"", "select x from a.\"s\".t", "select * from t, \"Customers\""] {
            assert!(matches!(read(text), Err(Refusal::QuotedNames)), "{text}");
        }
    }
}
