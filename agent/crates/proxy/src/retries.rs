//! Requests by their ids: a driver that lost an answer sends the same request again. It is judged, executed and written
//! down once, however often it comes.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, Weak},
};

use model::{Ident, RequestId};
use policy::StandingClearance;
use sha2::{Digest, Sha256};
use sql::{SecondaryRoles, SessionNames};
use tokio::{sync::watch, time::Instant};

use crate::{
    answer::Answer,
    limits::{KEPT_ANSWER_BYTES_MAX, KEPT_ANSWERS_MAX, KEPT_BYTES_MAX, KEPT_WAIT_MAX, RETRIES_MAX},
    session::lock,
};

/// The requests of one session.
#[derive(Debug, Default)]
pub(crate) struct Retries(Mutex<Requests>);

#[derive(Debug, Default)]
struct Requests {
    by_id: HashMap<RequestId, Arc<Asked>>,
    /// The same, oldest first.
    in_order: VecDeque<Arc<Asked>>,
}

/// A request that was seen.
#[derive(Debug)]
struct Asked {
    request: RequestId,
    digest: [u8; 32],
    /// What the session's names were at every time when it was judged.
    names: Mutex<Option<SessionNames>>,
    state: watch::Sender<State>,
}

#[derive(Debug)]
enum State {
    /// Somebody is at it.
    UnderWay,
    /// It was answered.
    Answered {
        /// The answer, for as long as it is kept.
        answer: Option<Answer>,
        /// What is owed for its rows, where Snowflake was asked for them.
        clearance: Option<StandingClearance>,
    },
    /// Nobody is at it, and there is no answer to give.
    Idle,
}

/// What a request id says about a request.
#[derive(Debug)]
pub(crate) enum Entered {
    /// It is to be judged: not seen before, or never answered.
    First(Ticket),
    /// Seen, with the same text, bindings and parameters, and answered with this.
    Same(Answer),
    /// Seen, the same, and answered with more than is kept.
    Again(Repeated),
    /// Seen with something else in it.
    Different,
}

/// A witness: the request is, byte for byte in all that counts, one that was judged, sent and answered in this session.
#[derive(Debug)]
pub(crate) struct Repeated {
    asked: Arc<Asked>,
    clearance: StandingClearance,
}

/// Held by who answers a request, while others that send the same wait.
#[derive(Debug)]
pub(crate) struct Ticket {
    asked: Arc<Asked>,
}

impl Retries {
    /// Says what is to be done with a request, and if somebody is at the same one, waits for the answer. `content` is
    /// what must not differ between tries.
    pub(crate) async fn enter(&self, request: RequestId, content: &[u8]) -> Entered {
        let digest: [u8; 32] = Sha256::digest(content).into();
        let asked = match self.find(request, digest) {
            Ok(asked) => asked,
            Err(ticket) => return Entered::First(ticket),
        };
        if asked.digest != digest {
            return Entered::Different;
        }
        let mut state = asked.state.subscribe();
        loop {
            if asked.begin() {
                return Entered::First(Ticket { asked });
            }
            match &*state.borrow_and_update() {
                State::UnderWay => {}
                State::Answered { answer, clearance } => {
                    if let Some(answer) = answer.as_ref().and_then(Answer::copy) {
                        return Entered::Same(answer);
                    }
                    if let Some(clearance) = clearance.clone() {
                        return Entered::Again(Repeated { asked: asked.clone(), clearance });
                    }
                    // It came to this just now: the next turn of the loop takes it up.
                    continue;
                }
                State::Idle => continue,
            }
            // The sender is in `asked`, so this cannot fail.
            drop(state.changed().await);
        }
    }

    /// The request, or a ticket for it where it was not seen before.
    fn find(&self, request: RequestId, digest: [u8; 32]) -> Result<Arc<Asked>, Ticket> {
        let mut seen = lock(&self.0);
        if let Some(asked) = seen.by_id.get(&request) {
            return Ok(asked.clone());
        }
        seen.make_room();
        let state = watch::Sender::new(State::UnderWay);
        let asked = Arc::new(Asked { request, digest, names: Mutex::default(), state });
        seen.by_id.insert(request, asked.clone());
        seen.in_order.push_back(asked.clone());
        Err(Ticket { asked })
    }
}

impl Requests {
    /// Forgets the oldest that nobody is at, when there are too many.
    fn make_room(&mut self) {
        if self.in_order.len() < RETRIES_MAX {
            return;
        }
        let is_over = |asked: &Arc<Asked>| !matches!(*asked.state.borrow(), State::UnderWay);
        let oldest = self.in_order.iter().position(is_over).unwrap_or_default();
        if let Some(oldest) = self.in_order.remove(oldest) {
            self.by_id.remove(&oldest.request);
        }
    }
}

impl Asked {
    /// Takes it up, if nobody is at it and there is no answer.
    fn begin(&self) -> bool {
        self.state.send_if_modified(|state| {
            let is_free = matches!(state, State::Idle | State::Answered { answer: None, clearance: None });
            if is_free {
                *state = State::UnderWay;
            }
            is_free
        })
    }

    /// Lets go of an answer that was kept for long enough.
    fn let_go(&self) {
        self.state.send_if_modified(|state| {
            if let State::Answered { answer, .. } = state {
                *answer = None;
            }
            false
        });
    }
}

impl Ticket {
    /// The names to judge by, where the session's are `now` those: the ones that were the same at every earlier time,
    /// because Snowflake answers as it did then, or executes it now.
    pub(crate) fn names(&self, now: &SessionNames) -> SessionNames {
        let mut names = lock(&self.asked.names);
        let common = names.as_ref().map_or_else(|| now.clone(), |before| common(before, now));
        names.insert(common).clone()
    }

    /// Hands the answer to whoever waits for it or comes later. `clearance` is what is owed for its rows.
    pub(crate) fn answered(self, answer: &Answer, clearance: Option<StandingClearance>, kept: &Kept) {
        // One that passed is kept by nobody: who waits asks Snowflake again.
        let is_kept = answer.len().is_some_and(|bytes| kept.make_room(&self.asked, bytes));
        // Whoever waits is given it in any case.
        let answer = if is_kept { answer.kept() } else { answer.copy() };
        self.asked.state.send_replace(State::Answered { answer, clearance });
        if !is_kept {
            self.asked.let_go();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.asked.state.send_if_modified(|state| {
            let is_unanswered = matches!(state, State::UnderWay);
            if is_unanswered {
                *state = State::Idle;
            }
            is_unanswered
        });
    }
}

impl Repeated {
    /// What is owed for the rows.
    pub(crate) fn clearance(&self) -> &StandingClearance {
        &self.clearance
    }

    /// Whether a session with these names would mean the same by the text now.
    pub(crate) fn means_the_same(&self, now: &SessionNames) -> bool {
        lock(&self.asked.names).as_ref() == Some(now)
    }

    /// Has it judged anew, because the text may mean something else now.
    pub(crate) fn judge_anew(self) -> Ticket {
        self.asked.state.send_replace(State::UnderWay);
        Ticket { asked: self.asked }
    }
}

/// The names that are the same in both; the others are not known.
fn common(a: &SessionNames, b: &SessionNames) -> SessionNames {
    let same = |a: &Option<Ident>, b: &Option<Ident>| if a == b { a.clone() } else { None };
    let variables = a.variables.iter().filter(|(name, text)| b.variables.get(*name) == Some(*text));
    SessionNames {
        database: same(&a.database, &b.database),
        schema: same(&a.schema, &b.schema),
        role: same(&a.role, &b.role),
        secondary_roles: if a.secondary_roles == b.secondary_roles {
            a.secondary_roles.clone()
        } else {
            SecondaryRoles::Unknown
        },
        variables: variables.map(|(name, text)| (name.clone(), text.clone())).collect(),
        // No statement changes these.
        fold_quoted: b.fold_quoted,
        number: b.number,
    }
}

/// The answers of all sessions that are kept for a retry, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    answers: VecDeque<(Weak<Asked>, usize, Instant)>,
    bytes: usize,
}

impl Kept {
    /// Makes room for one more answer; false if it is too long to be kept.
    fn make_room(&self, asked: &Arc<Asked>, bytes: usize) -> bool {
        let mut held = lock(&self.0);
        let is_kept = bytes <= KEPT_ANSWER_BYTES_MAX;
        if is_kept {
            held.answers.push_back((Arc::downgrade(asked), bytes, Instant::now()));
            held.bytes += bytes;
        }
        while let Some((oldest, bytes, since)) = held.answers.front() {
            let is_full = held.bytes > KEPT_BYTES_MAX || held.answers.len() > KEPT_ANSWERS_MAX;
            if !is_full && since.elapsed() <= KEPT_WAIT_MAX {
                break;
            }
            let (oldest, bytes) = (oldest.upgrade(), *bytes);
            held.bytes -= bytes;
            held.answers.pop_front();
            if let Some(oldest) = oldest {
                oldest.let_go();
            }
        }
        is_kept
    }
}

#[cfg(test)]
mod tests;
