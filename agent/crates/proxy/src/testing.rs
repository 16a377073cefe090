//! What the tests of the corridor share: clearances, receipts, and a record to look into.

use std::sync::Arc;

use audit::Journal;
use identity::testing;
use model::{AccountName, ConnectionId, HostName, Ident, Mode, QueryId, SessionId, SqlText, Timestamp};
use policy::{Classification, Policies, PolicyFile, StandingClearance, StatementAsk};
use uuid::Uuid;

use crate::{
    chunks::{Announced, Door},
    session::Session,
};

const READS: &str = r#"@id("reads") @assurance("observed")
permit (principal, action in [Action::"read", Action::"decide"], resource);"#;

/// Numbers are masked because they are told of, keys in notes where they are found.
const SSN_IS_PII: &str = "[[column]]\npattern = \"*.*.*.SSN\"\ntags = [\"pii\"]\n[tags.pii]\nmask = \"null\"\n\
     [[detector]]\nfind = [\"private-key\"]\ncolumns = \"*.*.*.NOTE\"\nmask = \"null\"\n";

/// What a permit to run `text` owes in enforce mode.
pub(crate) fn clearance(text: &str) -> StandingClearance {
    clearance_in(text, Mode::Enforce)
}

/// What a permit to run `text` owes.
pub(crate) fn clearance_in(text: &str, mode: Mode) -> StandingClearance {
    let files = [PolicyFile { name: "reads.cedar".into(), text: READS.into() }];
    let policies = Policies::compile(&files, Classification::parse("c.toml", SSN_IS_PII).unwrap()).unwrap();
    let scope = sql::SessionNames {
        database: Some(Ident::exact("DB")),
        schema: Some(Ident::exact("S")),
        fold_quoted: false,
        ..sql::SessionNames::default()
    };
    let asked = StatementAsk {
        principal: &testing::observed(&serde_json::json!({})),
        account: &AccountName::new("acme"),
        user: "U",
        facts: &Arc::new(sql::analyze(&SqlText::new(text).unwrap(), &scope, &sql::Catalog::default())),
        query_id: QueryId::new(Uuid::from_u128(1)),
        mode,
    };
    policies.statement(&asked).permit().unwrap().spend().2.stand()
}

/// A session, and the table of what its client was told of chunks.
pub(crate) struct Doorway {
    pub(crate) announced: Announced,
    pub(crate) session: Arc<Session>,
    host: HostName,
}

impl Doorway {
    pub(crate) fn open() -> Self {
        let host = |name| HostName::parse(name).unwrap();
        Self {
            announced: Announced::new(vec![host("amazonaws.com")]),
            session: Arc::new(session()),
            host: host("acme.snowflakecomputing.com"),
        }
    }

    pub(crate) fn door(&self) -> Door<'_> {
        Door { announced: &self.announced, session: &self.session, host: &self.host, port: 443 }
    }

    /// Ends the session.
    pub(crate) fn close(self) -> Announced {
        self.announced
    }
}

/// A record in a folder that goes away, and what is written into it.
pub(crate) struct Record {
    folder: tempfile::TempDir,
    pub(crate) journal: Journal,
}

impl Record {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let start = audit::Start {
            agent: "0.1.0".to_owned(),
            host: "runner-7".to_owned(),
            mode: Mode::Enforce,
            guarded: Vec::new(),
            policy: None,
        };
        let journal =
            Journal::start(folder.path(), start, || Timestamp::from_unix_seconds(1_700_000_000)).unwrap();
        Self { folder, journal }
    }

    /// A receipt for a statement of the session numbered 1.
    pub(crate) async fn receipt(&self, query: u128) -> audit::Receipt {
        let statement = audit::Statement {
            session: SessionId::new(Uuid::from_u128(1)),
            query: QueryId::new(Uuid::from_u128(query)),
            request: None,
            connection: ConnectionId::new(Uuid::from_u128(1)),
            text: "select 1".to_owned(),
            class: "select".to_owned(),
            tables: Vec::new(),
            verdict: crate::record::permitted(
                Mode::Enforce,
                crate::refusal::What::Statement,
                QueryId::new(Uuid::from_u128(query)),
                &[],
                None,
            ),
        };
        self.journal.open(statement).await.unwrap()
    }

    /// What came of statements, as the record says, in order.
    pub(crate) fn outcomes(&self) -> Vec<audit::Outcome> {
        let mut outcomes = Vec::new();
        let note = |entry: audit::Entry| {
            if let audit::Event::Outcome(closing) = entry.event {
                outcomes.push(closing.outcome);
            }
        };
        assert_eq!(audit::read::entries(self.folder.path(), note).unwrap(), None);
        outcomes
    }

    /// Why statements are lost, as the record says, in order.
    pub(crate) async fn lost(&self) -> Vec<String> {
        // What a dropped receipt says is written without anybody waiting for it; this comes after it.
        let end =
            audit::SessionEnd { session: SessionId::new(Uuid::from_u128(1)), reason: "a mark".to_owned() };
        self.journal.append(end).await.unwrap();
        let mut lost = Vec::new();
        let note = |entry: audit::Entry| {
            if let audit::Event::Outcome(closing) = entry.event
                && let audit::Outcome::Lost(found) = closing.outcome
            {
                lost.push(found.reason);
            }
        };
        assert_eq!(audit::read::entries(self.folder.path(), note).unwrap(), None);
        lost
    }
}

/// A session of which nothing is known but its id.
pub(crate) fn session() -> Session {
    let (id, account) = (SessionId::new(Uuid::from_u128(1)), AccountName::new("acme"));
    Session::new(id, account, "U".to_owned(), "job".to_owned(), sql::SessionNames::default())
}

/// A process of which nothing is known but its id.
pub(crate) fn process() -> model::ProcessFacts {
    model::ProcessFacts::unread(model::ProcessId { pid: 42, start_ticks: 1 }, 0, model::Standing::Unknown)
}
