//! Reading the record, from its files alone: of a running agent or a stopped one, here or carried elsewhere.

use std::{collections::BTreeMap, path::Path};

use model::{Mode, QueryId, SessionId, Timestamp};
use serde::Serialize;

use crate::{
    error::{Damage, Error},
    event::{
        ChunkOutcome, Decision, Entry, Event, Login, Outcome, OwnStep, RefusedConnection, RefusedRequest,
        SessionEnd, Statement, Who,
    },
    scan::{End, Rest, scan},
    wire,
};

/// Every session of a record, in few words.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// In the order in which they began.
    pub sessions: Vec<SessionSummary>,
    /// Connections that were refused before there was a session.
    pub refused: Vec<Refused>,
    /// Requests that were refused before they became an exchange of a session.
    pub refused_requests: Vec<RefusedAsk>,
    /// Where the record stops being what was written. What comes after is not in the listing.
    pub damage: Option<Damage>,
}

/// A connection that was refused before there was a session.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// When.
    #[serde(with = "wire::timestamp")]
    pub time: Timestamp,
    /// What is recorded of it.
    pub connection: RefusedConnection,
}

/// A request that was refused before it became an exchange.
#[derive(Debug, Serialize)]
pub struct RefusedAsk {
    /// When.
    #[serde(with = "wire::timestamp")]
    pub time: Timestamp,
    /// What is recorded of it.
    pub request: RefusedRequest,
}

/// A session in few words.
#[derive(Debug, Clone, Serialize)]
pub struct SessionSummary {
    /// The session.
    #[serde(with = "wire::session_id")]
    pub session: SessionId,
    /// The exchange of its login.
    #[serde(with = "wire::query_id")]
    pub query: QueryId,
    /// When it was asked for.
    #[serde(with = "wire::timestamp")]
    pub started: Timestamp,
    /// When its last entry was written.
    #[serde(with = "wire::timestamp")]
    pub last: Timestamp,
    /// Whether it is over.
    pub ended: bool,
    /// Who is behind it.
    pub who: Who,
    /// The Snowflake account.
    pub account: String,
    /// The Snowflake user.
    pub user: Option<String>,
    /// What was decided of the login.
    pub login: Decision,
    /// What the agent did with its verdicts then.
    #[serde(with = "wire::mode")]
    pub mode: Mode,
    /// Statements that were judged.
    pub statements: u64,
    /// Of these, permitted.
    pub permitted: u64,
    /// Of these, refused or held.
    pub refused: u64,
    /// In observe mode: of these, permitted, and refused had it been enforced.
    pub would_refuse: u64,
    /// Exchanges that were permitted and whose outcome is not known, the login among them.
    pub lost: u64,
    /// Cells that were masked.
    pub masked_cells: u64,
}

/// A session in full.
#[derive(Debug, Serialize)]
pub struct SessionDetail {
    /// In few words.
    pub summary: SessionSummary,
    /// How it was asked for.
    pub login: Login,
    /// What came of that; `None` while it is under way, and when it was not permitted.
    pub login_outcome: Option<Outcome>,
    /// What happened to the session that the agent has for itself beside it, in order.
    pub own_session: Vec<OwnStep>,
    /// Its statements, in order.
    pub statements: Vec<StatementDetail>,
    /// How it ended; `None` while it is open.
    pub end: Option<SessionEnd>,
    /// Where the record stops being what was written. What comes after is not in here.
    pub damage: Option<Damage>,
}

/// A statement of a session.
#[derive(Debug, Serialize)]
pub struct StatementDetail {
    /// Position of its entry.
    pub seq: u64,
    /// When it was judged.
    #[serde(with = "wire::timestamp")]
    pub time: Timestamp,
    /// What was asked and decided.
    pub statement: Statement,
    /// What came of it; `None` while it is under way, and when it was not permitted.
    pub outcome: Option<Outcome>,
    /// What later readings of its result were given, in order.
    pub readings: Vec<ReadingDetail>,
    /// What was given of the chunks that its answers led to, in order.
    pub chunks: Vec<ChunkDetail>,
}

/// A chunk of a statement's result that was asked for.
#[derive(Debug, Serialize)]
pub struct ChunkDetail {
    /// When.
    #[serde(with = "wire::timestamp")]
    pub time: Timestamp,
    /// Its place among those of the result, from 0.
    pub index: u64,
    /// What the client was given.
    pub outcome: ChunkOutcome,
}

/// A further reading of a statement's result.
#[derive(Debug, Serialize)]
pub struct ReadingDetail {
    /// When.
    #[serde(with = "wire::timestamp")]
    pub time: Timestamp,
    /// What the reader was given.
    pub outcome: Outcome,
}

/// Hands every whole entry to `each`, in order, and says where the record stops being what was written.
///
/// # Errors
/// When the folder or its file cannot be read.
pub fn entries(dir: &Path, each: impl FnMut(Entry)) -> Result<Option<Damage>, Error> {
    let End { rest, .. } = scan(dir, each)?;
    match rest {
        // An unfinished end is a line being written, or what the next start sets aside.
        Rest::Nothing | Rest::Torn => Ok(None),
        Rest::Damaged(damage) => Ok(Some(damage)),
    }
}

/// Lists the sessions of a record.
///
/// # Errors
/// When the folder or its file cannot be read.
pub fn sessions(dir: &Path) -> Result<Listing, Error> {
    let mut sessions: BTreeMap<SessionId, (u64, SessionSummary)> = BTreeMap::new();
    let mut refused = Vec::new();
    let mut refused_requests = Vec::new();
    let damage = entries(dir, |entry| match entry.event {
        Event::Login(login) => {
            let summary = SessionSummary::new(&login, entry.time);
            sessions.entry(login.session).or_insert((entry.seq, summary));
        }
        Event::RefusedConnection(connection) => {
            refused.push(Refused { time: entry.time, connection: *connection });
        }
        Event::RefusedRequest(request) => {
            refused_requests.push(RefusedAsk { time: entry.time, request: *request });
        }
        event => {
            if let Some((_, summary)) = session_of(&event).and_then(|id| sessions.get_mut(&id)) {
                summary.count(&event, entry.time);
            }
        }
    })?;
    let mut sessions: Vec<_> = sessions.into_values().collect();
    sessions.sort_unstable_by_key(|(seq, _)| *seq);
    let sessions = sessions.into_iter().map(|(_, summary)| summary).collect();
    Ok(Listing { sessions, refused, refused_requests, damage })
}

/// Reads one session; `None` when the record has none of that name.
///
/// # Errors
/// When the folder or its file cannot be read.
pub fn session(dir: &Path, id: SessionId) -> Result<Option<SessionDetail>, Error> {
    let mut detail: Option<SessionDetail> = None;
    let damage = entries(dir, |entry| match (&mut detail, entry) {
        (None, Entry { event: Event::Login(login), time, .. }) if login.session == id => {
            detail = Some(SessionDetail {
                summary: SessionSummary::new(&login, time),
                login: *login,
                login_outcome: None,
                own_session: Vec::new(),
                statements: Vec::new(),
                end: None,
                damage: None,
            });
        }
        (Some(detail), entry) if session_of(&entry.event) == Some(id) => detail.add(entry),
        _ => {}
    })?;
    Ok(detail.map(|detail| SessionDetail { damage, ..detail }))
}

fn session_of(event: &Event) -> Option<SessionId> {
    match event {
        Event::Login(login) => Some(login.session),
        Event::Statement(statement) => Some(statement.session),
        Event::Outcome(closing) => Some(closing.session),
        Event::Reading(reading) => Some(reading.session),
        Event::Chunk(chunk) => Some(chunk.session),
        Event::OwnSession(own) => Some(own.session),
        Event::SessionEnd(end) => Some(end.session),
        Event::Start(_)
        | Event::Stop(_)
        | Event::RefusedConnection(_)
        | Event::RefusedRequest(_)
        | Event::Policy(_)
        | Event::SetAside(_) => None,
    }
}

impl SessionSummary {
    fn new(login: &Login, time: Timestamp) -> Self {
        Self {
            session: login.session,
            query: login.query,
            started: time,
            last: time,
            ended: login.verdict.decision != Decision::Permitted,
            who: login.who.clone(),
            account: login.account.clone(),
            user: login.user.clone(),
            login: login.verdict.decision,
            mode: login.verdict.mode,
            statements: 0,
            permitted: 0,
            refused: 0,
            would_refuse: 0,
            lost: 0,
            masked_cells: 0,
        }
    }

    fn count(&mut self, event: &Event, time: Timestamp) {
        self.last = time;
        match event {
            Event::Statement(statement) => {
                self.statements += 1;
                match statement.verdict.decision {
                    Decision::Permitted => self.permitted += 1,
                    Decision::Held | Decision::Refused => self.refused += 1,
                }
                self.would_refuse += u64::from(statement.verdict.would_refuse.is_some());
            }
            Event::Outcome(closing) => {
                self.ended |= closing.query == self.query && !matches!(closing.outcome, Outcome::LoggedIn(_));
                self.masked_cells += masked_cells(&closing.outcome);
                self.lost += u64::from(matches!(closing.outcome, Outcome::Lost(_)));
            }
            Event::Reading(reading) => self.masked_cells += masked_cells(&reading.outcome),
            Event::Chunk(chunk) => self.masked_cells += masked_cells_of_chunk(&chunk.outcome),
            Event::SessionEnd(_) => self.ended = true,
            _ => {}
        }
    }
}

fn masked_cells(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Answered(answered) => answered.masked.iter().map(|column| column.cells).sum(),
        _ => 0,
    }
}

fn masked_cells_of_chunk(outcome: &ChunkOutcome) -> u64 {
    match outcome {
        ChunkOutcome::Given(given) => given.masked.iter().map(|column| column.cells).sum(),
        ChunkOutcome::Withheld(_) => 0,
    }
}

impl SessionDetail {
    fn add(&mut self, entry: Entry) {
        self.summary.count(&entry.event, entry.time);
        match entry.event {
            Event::Statement(statement) => self.statements.push(StatementDetail {
                seq: entry.seq,
                time: entry.time,
                statement: *statement,
                outcome: None,
                readings: Vec::new(),
                chunks: Vec::new(),
            }),
            Event::Outcome(closing) if closing.query == self.login.query => {
                self.login_outcome = Some(closing.outcome);
            }
            Event::Outcome(closing) => {
                if let Some(found) = self.statement(closing.query) {
                    found.outcome = Some(closing.outcome);
                }
            }
            Event::Reading(reading) => {
                if let Some(found) = self.statement(reading.query) {
                    found.readings.push(ReadingDetail { time: entry.time, outcome: reading.outcome });
                }
            }
            Event::Chunk(chunk) => {
                if let Some(found) = self.statement(chunk.query) {
                    let (index, outcome) = (chunk.index, chunk.outcome);
                    found.chunks.push(ChunkDetail { time: entry.time, index, outcome });
                }
            }
            Event::OwnSession(own) => self.own_session.push(own.step),
            Event::SessionEnd(end) => self.end = Some(end),
            _ => {}
        }
    }

    fn statement(&mut self, query: QueryId) -> Option<&mut StatementDetail> {
        self.statements.iter_mut().rev().find(|detail| detail.statement.query == query)
    }
}
