//! What a statement may do to the names of its session.

use snowflake::SessionNames;
use sql::{Class, Group, Statement};

use crate::session::Session;

/// Whether the session's names may be others after the statement. Nobody knows of what was not understood.
pub(crate) fn may_rename(facts: &sql::Facts) -> bool {
    let renames = |statement: &Statement| match statement.class {
        Class::Use => true,
        // A new database or schema becomes the session's own; one that is dropped is no more.
        Class::Create | Class::Alter | Class::Drop | Class::Undrop => !statement.containers.is_empty(),
        class => class.group() == Group::Execute,
    };
    facts.statements().map_or(true, |statements| statements.iter().any(renames))
}

/// Whether it may do something although it failed: it runs code, or holds several statements.
fn may_fail_in_part(facts: &sql::Facts) -> bool {
    let runs_code = |statement: &Statement| statement.class.group() == Group::Execute;
    facts.answers() > 1 || facts.statements().is_ok_and(|statements| statements.iter().any(runs_code))
}

/// A statement under way. If it may change the session's names, they are not known until Snowflake says that it is over.
#[derive(Debug)]
pub(crate) struct Renaming {
    /// What they were, if it may change them.
    before: Option<SessionNames>,
    /// Whether it may have changed them although it failed.
    may_fail_in_part: bool,
}

impl Renaming {
    pub(crate) fn of(facts: &sql::Facts, session: &Session) -> Self {
        // What was not understood is sent in observe mode alone, where only the words of the record depend on names: when
        // it fails, it is taken to have failed as a whole.
        let may_fail_in_part = may_fail_in_part(facts);
        let before = may_rename(facts).then(|| session.names());
        if before.is_some() {
            session.lose_names();
        }
        Self { before, may_fail_in_part }
    }

    /// Whether something of it may be done although it failed.
    pub(crate) fn may_fail_in_part(&self) -> bool {
        self.may_fail_in_part
    }

    pub(crate) fn succeeded(self, session: &Session, reported: SessionNames) {
        if let Some(before) = self.before {
            session.follow(before);
        }
        session.follow(reported);
    }

    pub(crate) fn failed(self, session: &Session) {
        if let (Some(before), false) = (self.before, self.may_fail_in_part) {
            session.follow(before);
        }
    }
}
