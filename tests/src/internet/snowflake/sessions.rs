//! Sessions and their tokens: a short one for statements, a longer one that renews it. Both really expire.
//!
//! fakesnow knows one token per session, for ever; it never leaves this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::Uri;
use uuid::Uuid;

use super::format::Formats;
use super::query_string;

/// How long tokens live.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// Of a session token.
    pub session: Duration,
    /// Of a master token, counted from the login or the last renewal.
    pub master: Duration,
}

/// What a session is set to, apart from database and schema, which fakesnow knows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) role: String,
    pub(super) warehouse: Option<String>,
}

impl Names {
    /// The names a login asks for. A user without a default role has `PUBLIC`.
    pub(super) fn of_login(uri: &Uri) -> Self {
        let name = |key| query_string::value(uri, key).map(|name| resolve_identifier(&name));
        Self { role: name("roleName").unwrap_or_else(|| "PUBLIC".to_owned()), warehouse: name("warehouse") }
    }
}

/// An identifier as Snowflake stores it: in capitals, unless it is quoted.
pub(super) fn resolve_identifier(written: &str) -> String {
    match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => written.to_uppercase(),
    }
}

/// One session.
pub(super) struct Session {
    id: u64,
    engine_token: String,
    validity: Validity,
    /// Held while a statement runs: a session of fakesnow is one database connection, and two statements at once
    /// would read each other's results.
    pub(super) turn: tokio::sync::Mutex<Turn>,
}

/// What a statement needs of its session, and leaves for the next one.
pub(super) struct Turn {
    pub(super) names: Names,
    pub(super) formats: Formats,
}

impl Session {
    pub(super) fn engine_token(&self) -> &str {
        &self.engine_token
    }

    /// Snowflake's number of the session.
    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

/// What a client is told of its session, at login and at renewal.
pub(super) struct Opened {
    pub(super) id: u64,
    pub(super) session_token: String,
    pub(super) master_token: String,
    pub(super) validity: Validity,
}

/// What is behind a token.
pub(super) enum Found {
    Live(Arc<Session>),
    Expired,
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Session,
    Master,
}

struct Ticket {
    kind: Kind,
    session: Arc<Session>,
    expires: Instant,
}

/// Every open session, by its tokens.
pub(super) struct Sessions {
    next_id: AtomicU64,
    tickets: Mutex<HashMap<String, Ticket>>,
}

impl Sessions {
    pub(super) fn new() -> Self {
        // Thirteen digits, as Snowflake's session ids have: more than 32 bits, and exact in a JavaScript number.
        Self { next_id: AtomicU64::new(1_172_562_260_498), tickets: Mutex::default() }
    }

    /// Opens a session over one of fakesnow's.
    pub(super) fn open(&self, engine_token: String, turn: Turn, validity: Validity, now: Instant) -> Opened {
        let id = self.next_id.fetch_add(4, Ordering::Relaxed);
        self.grant(
            &Arc::new(Session { id, engine_token, validity, turn: tokio::sync::Mutex::new(turn) }),
            now,
        )
    }

    /// A session for one statement. It has no token: nobody comes back to it.
    pub(super) fn lone(&self, engine_token: String, names: Names) -> Arc<Session> {
        let id = self.next_id.fetch_add(4, Ordering::Relaxed);
        let validity = Validity { session: Duration::ZERO, master: Duration::ZERO };
        let turn = Turn { names, formats: Formats::of_login(&serde_json::Value::Null) };
        Arc::new(Session { id, engine_token, validity, turn: tokio::sync::Mutex::new(turn) })
    }

    /// The session whose session token this is.
    pub(super) fn find(&self, token: &str, now: Instant) -> Found {
        find(&self.tickets(), token, Kind::Session, now)
    }

    /// New tokens for the session whose master token this is, and whose session token `old` was.
    pub(super) fn renew(&self, master: &str, old: &str, now: Instant) -> Result<Opened, Found> {
        let session = {
            let tickets = self.tickets();
            let session = match find(&tickets, master, Kind::Master, now) {
                Found::Live(session) => session,
                lost => return Err(lost),
            };
            let was = tickets.get(old).filter(|ticket| ticket.kind == Kind::Session);
            if was.is_none_or(|ticket| ticket.session.id != session.id) {
                return Err(Found::Unknown);
            }
            session
        };
        Ok(self.grant(&session, now))
    }

    /// Forgets every token of a session.
    pub(super) fn close(&self, session: &Session) {
        self.tickets().retain(|_, ticket| ticket.session.id != session.id);
    }

    fn grant(&self, session: &Arc<Session>, now: Instant) -> Opened {
        let (session_token, master_token) = (fresh_token(session.id), fresh_token(session.id));
        let mut tickets = self.tickets();
        for (token, kind, validity) in [
            (&session_token, Kind::Session, session.validity.session),
            (&master_token, Kind::Master, session.validity.master),
        ] {
            let ticket = Ticket { kind, session: Arc::clone(session), expires: now + validity };
            tickets.insert(token.clone(), ticket);
        }
        Opened { id: session.id, session_token, master_token, validity: session.validity }
    }

    fn tickets(&self) -> MutexGuard<'_, HashMap<String, Ticket>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(tickets: &HashMap<String, Ticket>, token: &str, kind: Kind, now: Instant) -> Found {
    match tickets.get(token).filter(|ticket| ticket.kind == kind) {
        Some(ticket) if now < ticket.expires => Found::Live(Arc::clone(&ticket.session)),
        Some(_) => Found::Expired,
        None => Found::Unknown,
    }
}

/// A token in the form of Snowflake's; the part that is hard to guess is at its end.
fn fresh_token(session: u64) -> String {
    format!("ver:3-hint:{session}-{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALIDITY: Validity =
        Validity { session: Duration::from_secs(60), master: Duration::from_secs(240) };

    fn turn() -> Turn {
        let names = Names { role: "ETL".to_owned(), warehouse: None };
        Turn { names, formats: Formats::of_login(&serde_json::Value::Null) }
    }

    #[test]
    fn a_session_token_expires_and_its_master_token_renews_it() {
        let (sessions, start) = (Sessions::new(), Instant::now());
        let first = sessions.open("engine".to_owned(), turn(), VALIDITY, start);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(
            matches!(sessions.find(&first.session_token, after(59)), Found::Live(s) if s.engine_token() == "engine")
        );
        assert!(matches!(sessions.find(&first.session_token, after(60)), Found::Expired));

        let second = sessions.renew(&first.master_token, &first.session_token, after(61)).ok().unwrap();
        assert_eq!(second.id, first.id);
        assert_ne!(second.session_token, first.session_token);
        assert!(matches!(sessions.find(&second.session_token, after(120)), Found::Live(_)));
        assert!(matches!(
            sessions.renew(&first.master_token, &first.session_token, after(240)),
            Err(Found::Expired)
        ));
        assert!(sessions.renew(&second.master_token, &second.session_token, after(300)).is_ok());
    }

    #[test]
    fn tokens_are_good_for_their_own_purpose_and_session_only() {
        let (sessions, now) = (Sessions::new(), Instant::now());
        let (one, two) = (
            sessions.open("1".into(), turn(), VALIDITY, now),
            sessions.open("2".into(), turn(), VALIDITY, now),
        );
        for token in ["", "None", &one.master_token] {
            assert!(matches!(sessions.find(token, now), Found::Unknown), "{token}");
        }
        for (master, old) in [
            (&one.session_token, &one.session_token),
            (&one.master_token, &two.session_token),
            (&one.master_token, &one.master_token),
        ] {
            assert!(matches!(sessions.renew(master, old, now), Err(Found::Unknown)));
        }
    }

    #[test]
    fn a_closed_session_is_gone_with_all_its_tokens() {
        let (sessions, now) = (Sessions::new(), Instant::now());
        let (one, two) = (
            sessions.open("1".into(), turn(), VALIDITY, now),
            sessions.open("2".into(), turn(), VALIDITY, now),
        );
        let Found::Live(session) = sessions.find(&one.session_token, now) else { panic!("not found") };
        sessions.close(&session);
        assert!(matches!(sessions.find(&one.session_token, now), Found::Unknown));
        assert!(sessions.renew(&one.master_token, &one.session_token, now).is_err());
        assert!(matches!(sessions.find(&two.session_token, now), Found::Live(_)));
    }

    #[test]
    fn names_are_in_capitals_unless_quoted() {
        let names = Names::of_login(&"/l?roleName=etl&warehouse=%22My+wh%22".parse().unwrap());
        assert_eq!(names, Names { role: "ETL".to_owned(), warehouse: Some("My wh".to_owned()) });
        assert_eq!(
            Names::of_login(&"/l".parse().unwrap()),
            Names { role: "PUBLIC".to_owned(), warehouse: None }
        );
    }
}
