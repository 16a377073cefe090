//! One statement of the SQL API, from its receipt to its last rows: what is owed for them, and what is known of them.

use std::sync::Arc;

use audit::{Journal, Receipt};
use model::{ColumnMeta, ConnectionId, Mode, SessionId};
use policy::StandingClearance;
use snowflake::{
    SessionNames, codec,
    sql_api::{ApiFailure, ApiReply, ApiSuccess, Nulls, Submission},
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    answer::Answer,
    catalog::cache::Changing,
    departures::Entrance,
    record,
    refusal::{Refusal, What, Withheld},
    session::Session,
    upstream::Reply,
};

/// A statement that was permitted and sent.
pub(super) struct Kept {
    clearance: StandingClearance,
    mode: Mode,
    session: SessionId,
    nulls: Nulls,
    names: SessionNames,
    state: Mutex<State>,
}

enum State {
    /// Snowflake has not said what came of it.
    Running(Running),
    /// It has, and that is written down. Its rows may be asked for again.
    Done(Shape),
    /// It failed or was ended, or its outcome could not be written down: whatever is asked for, there are no rows.
    Over,
}

/// What is held for as long as Snowflake has not said what came of a statement.
pub(super) struct Running {
    pub(super) receipt: Receipt,
    /// What tables and views are that it may change is not known meanwhile.
    pub(super) _changing: Option<Changing>,
    /// Where it is ended when somebody behind it leaves.
    pub(super) session: Arc<Session>,
    pub(super) entrance: Entrance,
}

/// What the first part of a result says about all of them.
struct Shape {
    columns: Vec<ColumnMeta>,
    /// How many rows each part has, where that was said.
    partitions: Vec<u64>,
}

/// A reply that may be passed on.
enum Passed {
    Running,
    Failed(ApiFailure),
    Rows { rows: Rows, outcome: audit::Answered, shape: Shape },
}

/// Rows as the client gets them.
enum Rows {
    /// Every byte as it came.
    Unchanged,
    /// The plain body.
    Masked(Vec<u8>),
}

/// The handle in a reply. Under it the client will ask for more.
pub(super) fn handle(reply: &ApiReply) -> Option<Uuid> {
    match reply {
        ApiReply::Success(success) => success.handle,
        ApiReply::Running(running) => Some(running.handle),
        ApiReply::Failure(_) => None,
    }
}

impl Kept {
    pub(super) fn new(
        running: Running,
        clearance: StandingClearance,
        asked: &Submission,
        mode: Mode,
    ) -> Self {
        Self {
            clearance,
            mode,
            session: running.receipt.session_id(),
            nulls: if asked.is_nullable { Nulls::Json } else { Nulls::Text },
            names: asked.names.clone(),
            state: Mutex::new(State::Running(running)),
        }
    }

    /// Says that the statement was permitted.
    pub(super) fn clearance(&self) -> &StandingClearance {
        &self.clearance
    }

    /// The names that it was submitted under.
    pub(super) fn names(&self) -> &SessionNames {
        &self.names
    }

    /// Whether nobody here knows yet what columns it has.
    pub(super) async fn is_running(&self) -> bool {
        matches!(*self.state.lock().await, State::Running(..))
    }

    /// The session that it was submitted in.
    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    /// The same, as long as it runs, and how that was come into.
    pub(super) async fn runs_in(&self) -> Option<(Arc<Session>, Entrance)> {
        match &*self.state.lock().await {
            State::Running(running) => Some((running.session.clone(), running.entrance)),
            State::Done(_) | State::Over => None,
        }
    }

    /// Closes it in the record, if it runs, as one of which nobody will know what came. Says whether it ran.
    pub(super) async fn lose(&self, reason: &str) -> bool {
        let ended = self.end(audit::Lost { reason: reason.to_owned() }).await;
        ended.unwrap_or_else(|error| {
            tracing::warn!(query = %self.clearance.query_id(), %error, "the loss of a statement could not be recorded");
            true
        })
    }

    /// Reads a reply about it.
    pub(super) async fn decode(&self, reply: &Reply) -> Result<ApiReply, Withheld> {
        let body = reply.plain()?;
        let state = self.state.lock().await;
        let columns = match &*state {
            State::Done(shape) => Some(shape.columns.as_slice()),
            State::Running(..) | State::Over => None,
        };
        Ok(ApiReply::decode(reply.status, body, self.nulls, columns)?)
    }

    /// Takes the answer to its submission. Any failure is the end of it.
    pub(super) async fn first(&self, decoded: Result<ApiReply, Withheld>, reply: &Reply) -> Answer {
        let mut state = self.state.lock().await;
        let server_query = decoded.as_ref().ok().and_then(handle);
        let passed = decoded.and_then(|decoded| self.pass(decoded, &state, 0));
        self.record(&mut state, passed, server_query, reply, true).await
    }

    /// Takes the answer to a request for its rows. What came of it is written down with the first one that tells; rows
    /// after that are a further reading by whoever asks.
    pub(super) async fn next(
        &self,
        journal: &Journal,
        connection: ConnectionId,
        decoded: Result<ApiReply, Withheld>,
        reply: &Reply,
        partition: usize,
    ) -> Result<Answer, Refusal> {
        let (outcome, answer) = {
            let mut state = self.state.lock().await;
            let server_query = decoded.as_ref().ok().and_then(handle);
            let passed = decoded.and_then(|decoded| self.pass(decoded, &state, partition));
            if matches!(&*state, State::Running(..)) {
                return Ok(self.record(&mut state, passed, server_query, reply, false).await);
            }
            match passed {
                Ok(Passed::Running | Passed::Failed(_)) => return Ok(as_it_came(reply)),
                Ok(Passed::Rows { rows, outcome, .. }) => (outcome.into(), rows.answer(reply)),
                Err(withheld) => self.withhold(withheld, server_query, reply),
            }
        };
        // The reader's credential may be a newer one; the reading belongs to the statement.
        let (session, query) = (self.session, self.clearance.query_id());
        let reading = audit::Reading { session, query, connection, outcome };
        Ok(record::read_again(journal, reading, answer).await)
    }

    /// What may be passed on of a reply. The rows in it went through the clearance.
    fn pass(&self, reply: ApiReply, state: &State, partition: usize) -> Result<Passed, Withheld> {
        match reply {
            ApiReply::Running(_) => Ok(Passed::Running),
            ApiReply::Failure(failure) => Ok(Passed::Failed(failure)),
            ApiReply::Success(_) if matches!(state, State::Over) => Err(Withheld::Over),
            ApiReply::Success(success) => self.clear(*success, state, partition),
        }
    }

    fn clear(&self, success: ApiSuccess, state: &State, partition: usize) -> Result<Passed, Withheld> {
        if success.has_children {
            return Err(Withheld::Several);
        }
        let columns = success.result.columns.clone();
        let cleared = self.clearance.once().clear(success.result)?;
        let promised = match state {
            State::Done(shape) => shape.partitions.get(partition).copied(),
            State::Running(..) | State::Over => success.partitions.first().copied().or(success.total),
        };
        if promised.is_some_and(|promised| promised != cleared.rows()) {
            return Err(Withheld::Short);
        }
        let outcome = audit::Answered {
            server_query: success.handle.map(|handle| handle.to_string()),
            rows: success.total.unwrap_or(cleared.rows()),
            columns: columns.iter().map(|column| column.name.clone()).collect(),
            masked: record::masked(cleared.masked()),
            found: record::found(cleared.found()),
            chunks: 0,
            would_withhold: None,
        };
        let rows = if cleared.masked().is_empty() {
            Rows::Unchanged
        } else {
            Rows::Masked(success.envelope.encode(cleared.into_result())?)
        };
        Ok(Passed::Rows { rows, outcome, shape: Shape { columns, partitions: success.partitions } })
    }

    /// Writes down what came of a running statement, if the reply tells, and only then answers.
    async fn record(
        &self,
        state: &mut State,
        passed: Result<Passed, Withheld>,
        server_query: Option<Uuid>,
        reply: &Reply,
        is_submission: bool,
    ) -> Answer {
        let (outcome, shape, answer) = match passed {
            Ok(Passed::Running) => return as_it_came(reply),
            Ok(Passed::Failed(failure)) if !is_submission && !failure.is_final => return as_it_came(reply),
            Ok(Passed::Failed(failure)) => (failed(&failure).into(), None, as_it_came(reply)),
            Ok(Passed::Rows { rows, outcome, shape }) => (outcome.into(), Some(shape), rows.answer(reply)),
            Err(withheld) => {
                let (outcome, answer) = self.withhold(withheld, server_query, reply);
                (outcome, None, answer)
            }
        };
        // Until it is written down there are no rows.
        match std::mem::replace(state, State::Over) {
            State::Running(running) => match running.receipt.close(outcome).await {
                Ok(_) => {
                    *state = shape.map_or(State::Over, State::Done);
                    answer
                }
                Err(error) => self.refusal(Withheld::Unrecorded(error)),
            },
            other => {
                *state = other;
                answer
            }
        }
    }

    /// Snowflake says that it ended the statement.
    pub(super) async fn cancelled(&self, told: &ApiFailure) -> Result<(), Refusal> {
        self.end(failed(told)).await.map(drop).map_err(|error| Refusal::Withheld(Withheld::Unrecorded(error)))
    }

    /// The client sent the statement again, and was given the same handle: it goes on there.
    pub(super) async fn hand_over(&self) {
        let reason = "the client sent the request again; what came of it is written down there".to_owned();
        if let Err(error) = self.end(audit::Lost { reason }).await {
            tracing::warn!(%error, "an outcome could not be recorded");
        }
    }

    /// Closes it in the record, if it runs. Says whether it ran.
    async fn end(&self, outcome: impl Into<audit::Outcome>) -> Result<bool, audit::Error> {
        let mut state = self.state.lock().await;
        match std::mem::replace(&mut *state, State::Over) {
            State::Running(running) => running.receipt.close(outcome).await.map(|_| true),
            other => {
                *state = other;
                Ok(false)
            }
        }
    }

    /// An answer that is not passed on. In observe mode it is, as it came, and what would have been done is written down.
    fn withhold(
        &self,
        withheld: Withheld,
        server_query: Option<Uuid>,
        reply: &Reply,
    ) -> (audit::Outcome, Answer) {
        let refusal = Refusal::Withheld(withheld);
        let (server_query, reason) = (server_query.map(|id| id.to_string()), refusal.to_string());
        if self.mode == Mode::Observe {
            let would_withhold = Some(reason);
            let (columns, masked) = (Vec::new(), Vec::new());
            let outcome = audit::Answered {
                server_query,
                rows: 0,
                columns,
                masked,
                found: Vec::new(),
                chunks: 0,
                would_withhold,
            };
            return (outcome.into(), as_it_came(reply));
        }
        let answer = refusal.answer(What::ApiStatement, self.clearance.query_id());
        (audit::Withheld { server_query, reason }.into(), answer)
    }

    fn refusal(&self, withheld: Withheld) -> Answer {
        Refusal::Withheld(withheld).answer(What::ApiStatement, self.clearance.query_id())
    }
}

fn failed(failure: &ApiFailure) -> audit::Failed {
    audit::Failed {
        server_query: failure.handle.clone(),
        code: failure.code.clone(),
        message: failure.message.clone(),
    }
}

impl Rows {
    /// The answer with these rows: compressed if they came so. Snowflake compresses later parts also for clients that
    /// did not ask for it, and they count on that.
    fn answer(self, reply: &Reply) -> Answer {
        let (status, headers) = (reply.status, reply.headers.clone());
        match self {
            Self::Unchanged => as_it_came(reply),
            Self::Masked(body) if reply.is_compressed() => {
                Answer::as_it_came(status, headers, codec::gzip(&body).into())
            }
            Self::Masked(body) => Answer::reply(status, headers, body),
        }
    }
}

fn as_it_came(reply: &Reply) -> Answer {
    Answer::as_it_came(reply.status, reply.headers.clone(), reply.body.clone())
}

#[cfg(test)]
mod tests;
