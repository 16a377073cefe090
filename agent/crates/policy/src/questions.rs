//! What is asked of the objects that a statement names, and of the account.

use sql::{Access, Class, Container, Group, ObjectKind, ObjectUse, Statement};

use crate::{
    Denial, Policies,
    decision::{Judged, Refusal, built_in},
    entities::{Things, container_id, table_id},
    judge::{Question, not_judged, shown},
};

/// What is added to the words for an object that an unqualified name only may mean.
const FALLBACK: &str = " (which an unqualified name may mean, too; write the schema before it)";

impl Policies {
    /// One question per object, and one on the account: the objects first, because they make the better sentence.
    pub(crate) fn questions<'p>(
        &'p self,
        statement: &Statement,
        things: &mut Things<'_>,
    ) -> Judged<Vec<Question<'p>>> {
        let mut asking = Asking { policies: self, statement, questions: Vec::new() };
        for used in &statement.tables {
            let id = table_id(&used.table);
            let tags = self.classification.table_tags(&used.table);
            let resource = things.table(&used.table, &tags).ok_or_else(|| unknown_name("table", &id))?;
            asking.ask(used.access, "table", &id, used.fallback, resource)?;
        }
        for used in &statement.containers {
            let id = container_id(&used.container);
            let tags = self.classification.container_tags(&used.container);
            let (what, resource) = match &used.container {
                Container::Database(database) => ("database", things.database(database, &tags)),
                Container::Schema { database: Some(database), schema: Some(schema) } => {
                    ("schema", things.schema(database, schema, &tags))
                }
                Container::Schema { .. } => return Err(unknown_name("schema", &id)),
            };
            asking.ask(used.access, what, &id, false, resource)?;
        }
        // The account is asked in any case.
        for used in statement.objects.iter().filter(|used| used.kind != ObjectKind::Account) {
            let (id, kind) = (used.full_name(), used.kind.as_str());
            let tags = self.classification.object_tags(used);
            let resource = things.object(used, &tags).ok_or_else(|| unknown_name(kind, &id))?;
            asking.ask(used.access, kind, &id, used.fallback, resource)?;
        }
        let account = things.account();
        let name = account.id().unescaped();
        if statement.class != Class::Call
            && let Some(function) = statement.functions.first()
            && !statement.objects.iter().any(is_called)
        {
            let words = format!("CALL of {} on account {name}", shown(function));
            asking.push(Class::Call, account.clone(), words)?;
        }
        let words = asking.words(statement.class, "account", name);
        asking.push(statement.class, account.clone(), words)?;
        let questions = asking.questions;
        questions.iter().for_each(|question| things.action(question.action));
        Ok(questions)
    }
}

fn is_called(used: &ObjectUse) -> bool {
    used.access == Access::Call
}

/// The questions so far.
struct Asking<'p, 's> {
    policies: &'p Policies,
    statement: &'s Statement,
    questions: Vec<Question<'p>>,
}

impl Asking<'_, '_> {
    fn ask(
        &mut self,
        access: Access,
        what: &str,
        id: &str,
        fallback: bool,
        resource: cedar_policy::EntityUid,
    ) -> Judged<()> {
        // What is read or run by a statement that does something else is asked as if it was read or run by itself.
        let class = match access {
            Access::Read if self.statement.class.group() != Group::Read => Class::Select,
            Access::Call if self.statement.class.group() != Group::Execute => Class::Call,
            _ => self.statement.class,
        };
        let mut words = self.words(class, what, id);
        if fallback {
            words.push_str(FALLBACK);
        }
        self.push(class, resource, words)
    }

    fn words(&self, class: Class, what: &str, name: &str) -> String {
        let verb = if class == self.statement.class { self.statement.verb.as_str() } else { class.action() };
        format!("{verb} on {what} {}", shown(name))
    }

    fn push(&mut self, class: Class, resource: cedar_policy::EntityUid, words: String) -> Judged<()> {
        let action = self.policies.vocabulary.class(class);
        let action = action.ok_or_else(|| not_judged("its class has no action"))?;
        self.questions.push(Question { action, resource, words });
        Ok(())
    }
}

fn unknown_name(what: &str, id: &str) -> Refusal {
    let reason = format!(
        "it is not known which {what} {} is, because the session has no database or schema; write its full name",
        shown(id)
    );
    Refusal::Denial(Denial::built_in(built_in::UNKNOWN_NAME, reason))
}
