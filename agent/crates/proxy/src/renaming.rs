//! What a statement may do to the names of its session: the place that they are read in, roles, variables.

use sql::{Class, Group, SessionNames, Statement};

use crate::session::Session;

/// Whether the session's names may be others after the statement. Nobody knows of what was not understood.
pub(crate) fn may_rename(facts: &sql::Facts) -> bool {
    let renames = |statement: &Statement| match statement.class {
        Class::Use | Class::Set => true,
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
    /// If it may change them.
    names: Option<Box<Names>>,
    /// Whether it may have changed them although it failed.
    may_fail_in_part: bool,
}

/// A session's names on both sides of a statement.
#[derive(Debug)]
struct Names {
    before: SessionNames,
    /// What its text says of them if it succeeds.
    after: SessionNames,
}

impl Renaming {
    pub(crate) fn of(facts: &sql::Facts, session: &Session) -> Self {
        // What was not understood is sent in observe mode alone, where only the words of the record depend on names: when
        // it fails, it is taken to have failed as a whole.
        let may_fail_in_part = may_fail_in_part(facts);
        let names = may_rename(facts).then(|| {
            let before = session.names();
            Box::new(Names { after: facts.leaves().unwrap_or(&before).clone(), before })
        });
        if names.is_some() {
            session.lose_names();
        }
        Self { names, may_fail_in_part }
    }

    /// Whether something of it may be done although it failed.
    pub(crate) fn may_fail_in_part(&self) -> bool {
        self.may_fail_in_part
    }

    /// Snowflake says in which place and role the session is then. It says nothing of the roles beside that one and of
    /// variables: those are as the text says, or not known.
    pub(crate) fn succeeded(self, session: &Session, reported: snowflake::SessionNames) {
        if let Some(names) = self.names {
            session.set_names(names.after);
        }
        session.follow(reported);
    }

    pub(crate) fn failed(self, session: &Session) {
        if let (Some(names), false) = (self.names, self.may_fail_in_part) {
            session.set_names(names.before);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{AccountName, Ident, SessionId, SqlText};
    use sql::SecondaryRoles;
    use uuid::Uuid;

    use super::*;

    /// A session in `DB.S` in role `R`, with one variable.
    fn session() -> Session {
        let part = |text: &str| Some(Ident::exact(text));
        let names = SessionNames {
            database: part("DB"),
            schema: part("S"),
            role: part("R"),
            secondary_roles: SecondaryRoles::Usual,
            number: Some(7),
            variables: [(Ident::exact("T"), "orders".to_owned())].into(),
            ..SessionNames::default()
        };
        let id = SessionId::new(Uuid::from_u128(1));
        Session::new(id, AccountName::new("acme"), "U".into(), "job".into(), names)
    }

    fn facts(text: &str, session: &Session) -> sql::Facts {
        sql::analyze(&SqlText::new(text).unwrap(), &session.names(), &sql::Catalog::default())
    }

    /// `database.schema role secondary variables`, `?` for what is not known.
    fn told(names: &SessionNames) -> String {
        let part = |part: &Option<Ident>| part.as_ref().map_or("?", Ident::as_str).to_owned();
        let variables = names.variables.iter().map(|(name, text)| format!(" {name}={text}"));
        let (database, schema, role) = (part(&names.database), part(&names.schema), part(&names.role));
        let secondary = names.secondary_roles.as_str();
        format!("{database}.{schema} {role} {secondary}{}", variables.collect::<String>())
    }

    /// The names after a statement of which Snowflake reports nothing but that it succeeded, or failed.
    fn after(text: &str, succeeds: bool) -> String {
        let session = session();
        let facts = facts(text, &session);
        let renaming = Renaming::of(&facts, &session);
        if may_rename(&facts) {
            assert_eq!(told(&session.names()), "?.? ? unknown", "{text}");
        }
        match succeeds {
            true => renaming.succeeded(&session, snowflake::SessionNames::default()),
            false => renaming.failed(&session),
        }
        assert_eq!(session.names().number, Some(7));
        told(&session.names())
    }

    #[test]
    fn what_a_statement_says_of_the_session_is_followed() {
        const SAME: &str = "DB.S R usual T=orders";
        const NOTHING: &str = "?.? ? unknown";
        for (text, expected) in [
            ("select 1", SAME),
            ("use role admin", "DB.S ADMIN usual T=orders"),
            ("use role \"a b\"", "DB.S a b usual T=orders"),
            ("use secondary roles all", "DB.S R all T=orders"),
            ("use secondary roles none", "DB.S R none T=orders"),
            ("use secondary roles b, \"a\"", "DB.S R some T=orders"),
            ("use warehouse w", SAME),
            ("use database d2", "D2.PUBLIC R usual T=orders"),
            ("use schema s2", "DB.S2 R usual T=orders"),
            ("set t = 'customers'", "DB.S R usual T=customers"),
            ("set u = $$it's$$", "DB.S R usual T=orders U=it's"),
            ("set (t, u) = ('a', 'b')", "DB.S R usual T=a U=b"),
            ("set (t, u) = ('a', 1)", "DB.S R usual"),
            ("set t = 5", "DB.S R usual"),
            ("set t = 'a' || 'b'", "DB.S R usual"),
            ("set t = (select max(x) from y)", "DB.S R usual"),
            ("unset t", "DB.S R usual"),
            ("unset (t, u)", "DB.S R usual"),
            ("execute immediate 'select 1'", SAME),
            ("execute immediate 'set t = ''x'''", NOTHING),
            ("begin select 1; end", SAME),
            ("begin use role admin; end", NOTHING),
            ("call p()", NOTHING),
            ("execute immediate $x", NOTHING),
            ("create schema s3", "DB.S3 R usual T=orders"),
            ("drop schema s", "?.? R usual T=orders"),
            ("what is this", NOTHING),
        ] {
            assert_eq!(after(text, true), expected, "{text}");
            let may_be_half_done = ["begin", "call", "execute"].iter().any(|verb| text.starts_with(verb));
            let expected = if may_be_half_done { NOTHING } else { SAME };
            assert_eq!(after(text, false), expected, "{text} failed");
        }
    }

    #[test]
    fn what_snowflake_reports_counts_before_what_the_text_says() {
        let session = session();
        let renaming = Renaming::of(&facts("use role admin", &session), &session);
        let role = Some(Ident::exact("OTHER"));
        renaming.succeeded(&session, snowflake::SessionNames { role, ..Default::default() });
        assert_eq!(told(&session.names()), "DB.S OTHER usual T=orders");
    }
}
