//! A statement, from top to bottom. Each step makes what the next one demands, so none can be left out:
//! whose session, what is asked, what it means, may it, written down, sent, masked, written down, answered.

use std::sync::Arc;

use model::{QueryId, RequestId, Secret};
use policy::{Decision, StandingClearance, StatementAsk};
use snowflake::session_token;
use sql::SessionNames;

use crate::{
    answer::{Answer, Outbox},
    catalog::{Reader, Understood},
    corridor::{Corridor, Peer},
    housekeeping, passing, record,
    refusal::{Refusal, What},
    renaming::{Renaming, may_rename},
    reply::{Effect, Read},
    results,
    retries::{Entered, Repeated, Ticket},
    session::{Flight, Session, Turn},
    statements::{Hold, Open},
    upstream::{Inbound, Worded},
};

/// A statement that is to be answered: who asks, in which session, and what.
struct Errand<'a> {
    corridor: &'a Corridor,
    peer: &'a Peer,
    session: &'a Arc<Session>,
    token: Secret<String>,
    inbound: &'a Inbound,
    worded: Worded<'a>,
    request: Option<RequestId>,
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
    /// A judgement of its own: the statement never ran.
    Anew,
}

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
    outbox: &mut Outbox,
) -> Result<Answer, Refusal> {
    let token = session_token(&inbound.headers)?.ok_or(Refusal::UnknownSession)?;
    let session = &corridor.session(peer, &token)?;
    let worded = Worded::read(inbound)?;
    let parameters = &worded.request().parameters;
    if let Some(parameter) = parameters.name_changing().or_else(|| parameters.variable_setting()) {
        return Err(Refusal::NameChanging(parameter));
    }
    if worded.request().described_job_id.is_some() {
        return Err(Refusal::DescribedEarlier);
    }
    let errand = Errand { corridor, peer, session, token, inbound, worded, request, id };
    let Some(request) = request else { return Ok(errand.run(None, outbox).await?.answer) };
    let entered = session.retries.enter(request, errand.worded.request().retry_content()).await;
    let ticket = match entered {
        Entered::First(ticket) => ticket,
        Entered::Same(answer) => return Ok(answer),
        Entered::Different => return Err(Refusal::NotARetry),
        Entered::Again(repeated) => {
            // As long as this turn lasts the text means what it meant.
            let _turn = errand.wait(session.share()).await;
            if repeated.means_the_same(&session.names()) {
                return errand.ask_again(&repeated, outbox).await;
            }
            repeated.judge_anew()
        }
    };
    let told = errand.run(Some(&ticket), outbox).await?;
    if let Again::Same(clearance) = told.again {
        ticket.answered(&told.answer, clearance, &corridor.kept);
    }
    Ok(told.answer)
}

impl Errand<'_> {
    /// Everything between the request and its answer.
    async fn run(self, ticket: Option<&Ticket>, outbox: &mut Outbox) -> Result<Told, Refusal> {
        let Self { corridor, peer, session, id, .. } = self;
        let Reading { understood, turn } = self.read(ticket).await;
        let facts = &understood.facts;
        let intent = |verdict| intent(peer, session, self.request, id, facts, verdict);
        let asked = StatementAsk {
            principal: &peer.principal,
            account: &session.account,
            user: &session.user,
            facts,
            query_id: id,
            mode: corridor.mode,
        };
        let beside = understood.beside(&corridor.copies, &session.account);
        let permit = match corridor.policies.get().statement_beside(&asked, beside) {
            Decision::Permit(permit) => permit,
            Decision::Denial(denial) => return refuse(corridor, Refusal::Denied(denial), id, intent).await,
            Decision::Hold(hold) => {
                return refuse(corridor, Refusal::Held(hold.into_denial()), id, intent).await;
            }
        };

        let mut verdict =
            record::permitted(corridor.mode, What::Statement, id, permit.rules(), permit.would_refuse());
        let would_bar = corridor.would_bar(peer, Some(&session.user), What::Statement, id);
        verdict.would_refuse = would_bar.or(verdict.would_refuse);
        let carrying = corridor.carry(session, facts, &permit).await?;
        let receipt = corridor.journal.open(intent(verdict)).await?;
        let lease = housekeeping::lease(self.token);
        let renaming = Renaming::of(facts, session);
        let changing = corridor.catalog.begin(session, facts);
        let flight = session.flies(self.request);
        let answered = async {
            let sent = corridor.upstream.execute(permit, &receipt, &lease, peer, self.worded);
            let (came, clearance) = session.unless_ended(sent).await?;
            let clearance = clearance.stand();
            let door = corridor.door(peer, session);
            let read = passing::read(came, &clearance, corridor.mode, door, outbox).await?;
            Ok((read, clearance))
        };
        match answered.await {
            Ok((read, clearance)) => {
                let hold = Hold { renaming, _changing: changing, carrying, _turn: turn };
                let open = Open { receipt, hold: Some(hold) };
                Ok(finish(session, open, flight, read, clearance).await)
            }
            Err::<_, Refusal>(refusal) => {
                let lost = audit::Lost { reason: refusal.to_string() };
                let answer = refusal.answer(What::Statement, id);
                let answer = record::close(receipt, lost, What::Statement, answer).await;
                Ok(Told { answer, again: Again::Same(None) })
            }
        }
    }

    /// Asks Snowflake for an answer that it gave before, and that is not kept here any more.
    async fn ask_again(self, repeated: &Repeated, outbox: &mut Outbox) -> Result<Answer, Refusal> {
        let Self { corridor, peer, session, .. } = self;
        let lease = housekeeping::lease(self.token);
        let again = corridor.upstream.again(repeated, &lease, peer, self.inbound);
        let came = session.unless_ended(again).await?;
        let door = corridor.door(peer, session);
        match passing::read(came, repeated.clearance(), corridor.mode, door, outbox).await? {
            Read::Running { ids, answer } => {
                for id in ids {
                    session.statements.ended(id, repeated.clearance().clone());
                }
                Ok(answer)
            }
            Read::Ended(ended) if ended.effect == Effect::NeverRan => Ok(ended.answer),
            Read::Ended(ended) => {
                let reading = audit::Reading {
                    session: session.id,
                    query: repeated.clearance().query_id(),
                    connection: peer.connection,
                    outcome: ended.outcome,
                };
                Ok(record::read_again(&corridor.journal, reading, ended.answer).await)
            }
        }
    }

    /// Waits for the statement's turn and reads it.
    async fn read(&self, ticket: Option<&Ticket>) -> Reading {
        let session = self.session;
        let text = &self.worded.request().text;
        let reader = Reader { corridor: self.corridor, peer: self.peer, session, bearer: None };
        let analyze =
            async |names: &SessionNames| self.corridor.catalog.read(reader, text, names.clone()).await;
        let mut turn = self.wait(session.share()).await;
        let mut names = session.names();
        let mut understood = analyze(&names).await;
        if may_rename(&understood.facts) {
            drop(turn);
            turn = self.wait(session.alone()).await;
            names = session.names();
            understood = analyze(&names).await;
        }
        if let Some(ticket) = ticket {
            let common = ticket.names(&names);
            if common != names {
                understood = analyze(&common).await;
            }
        }
        Reading { understood, turn }
    }

    async fn wait(&self, turn: impl Future<Output = Turn>) -> Turn {
        results::wait(self.corridor, self.peer, self.session, &self.inbound.headers, turn).await
    }
}

/// A statement that was understood, under names that stay as they are until it is answered.
struct Reading {
    understood: Understood,
    turn: Turn,
}

/// Writes a refused statement down, then refuses it. If it cannot be written down, it is refused all the same.
async fn refuse(
    corridor: &Corridor,
    refusal: Refusal,
    id: QueryId,
    intent: impl Fn(audit::Verdict) -> audit::Statement,
) -> Result<Told, Refusal> {
    let sentence = refusal.sentence(What::Statement, id);
    let verdict = record::refused(corridor.mode, refusal.decision(), refusal.rules(), sentence);
    corridor.journal.append(intent(verdict)).await?;
    Ok(Told { answer: refusal.answer(What::Statement, id), again: Again::Same(None) })
}

/// Writes the outcome down, and only then answers, or gives the last of an answer. A statement that still runs stays
/// open.
async fn finish(
    session: &Session,
    open: Open,
    flight: Flight<'_>,
    read: Read,
    clearance: StandingClearance,
) -> Told {
    let ended = match read {
        Read::Running { ids, answer } => {
            flight.stays();
            session.statements.running(&ids, clearance.clone(), open);
            return Told { answer, again: Again::Same(Some(clearance)) };
        }
        Read::Ended(ended) => *ended,
    };
    let again = match ended.effect {
        Effect::NeverRan => Again::Anew,
        _ => Again::Same(Some(clearance.clone())),
    };
    if let Some(id) = ended.id {
        session.statements.ended(id, clearance);
    }
    if let Some(hold) = open.hold {
        hold.followed(ended.effect, session).await;
    }
    let answer = record::close(open.receipt, ended.outcome, What::Statement, ended.answer).await;
    Told { answer, again }
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
