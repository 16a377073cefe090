//! The door: any text in, facts out. Total, and bounded in length, depth and number of statements.

use std::collections::BTreeSet;

use model::SqlText;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{
    Access, Catalog, Class, Facts, Landing, Opaque, Output, Outputs, Parse, SessionNames, Sources, Statement,
    body,
    cursor::Cursor,
    follow, lex, literal, read,
    script::{self, Role, Unit},
};

/// How deep texts within texts are read: `EXECUTE IMMEDIATE 'EXECUTE IMMEDIATE …'`.
const NESTING_MAX: usize = 4;

/// Most fillings of tables in one text that are told apart in what follows them.
const LANDINGS_FOLLOWED_MAX: usize = 200;

/// Reads a text as Snowflake would read it in a session with these names, with what the catalog knows of the objects that
/// it names. With an empty catalog every answer is still true, and more of them are "unknown".
///
/// Never fails and never panics: what is not understood is [`Opaque`] and says why.
#[must_use]
pub fn analyze(text: &SqlText, session: &SessionNames, catalog: &Catalog) -> Facts {
    let tokens = match lex::tokens(text.as_str()) {
        Ok(tokens) => tokens,
        Err(unreadable) => {
            return Facts::new(
                text.clone(),
                String::new(),
                Vec::new(),
                Err(unreadable.into()),
                (BTreeSet::new(), Some(session.forgotten())),
            );
        }
    };
    let verb = lex::verb(&tokens);
    let literals = literal::find(text.as_str(), &tokens);
    let mut reading =
        Reading { catalog, statements: Vec::new(), filled: Vec::new(), bytes_left: SqlText::BYTES_MAX };
    let read = reading.text(tokens, session, 0);
    let left = read.as_ref().map_or_else(|_| session.forgotten(), Clone::clone);
    let read = read.map(|_| reading.statements);
    let wants = read.iter().flatten().flat_map(|statement| statement.wants.iter().cloned()).collect();
    Facts::new(text.clone(), verb, literals, read, (wants, (left != *session).then_some(left)))
}

struct Reading<'c> {
    catalog: &'c Catalog,
    statements: Vec<Statement>,
    /// What they put into tables.
    filled: Vec<Landing>,
    /// How much may be read of texts within the text.
    bytes_left: usize,
}

impl Reading<'_> {
    /// Each statement under the names that those before it leave, and with what they put into tables. Gives what the last
    /// one leaves.
    fn text(
        &mut self,
        tokens: Vec<TokenWithSpan>,
        session: &SessionNames,
        nesting: usize,
    ) -> Result<SessionNames, Opaque> {
        let mut names = session.clone();
        // What the statement that others are inside of leaves, once they are over.
        let mut after: Option<SessionNames> = None;
        let mut is_definition = false;
        let mut inside = names.clone();
        for unit in script::split(tokens)? {
            if !unit.is_inside {
                if let Some(after) = after.take() {
                    names = after;
                }
                inside.clone_from(&names);
            }
            let at = self.statements.len();
            let change = self.unit(&unit, &inside, nesting)?;
            if !unit.is_inside {
                let head = self.statements.get(at);
                is_definition = head.is_some_and(|head| head.class.group() == crate::Group::Ddl);
                if let Some(head) = head.filter(|_| is_definition) {
                    inside = names_in_body(head, &significant_words(&unit), &names);
                }
                after = change;
            } else if let Some(change) = change {
                // What a definition holds does not run yet.
                if !is_definition {
                    after = Some(names.forgotten());
                }
                inside = change;
            }
        }
        Ok(after.unwrap_or(names))
    }

    /// One unit and the text that it runs; and what it leaves of the names.
    fn unit(
        &mut self,
        unit: &Unit,
        names: &SessionNames,
        nesting: usize,
    ) -> Result<Option<SessionNames>, Opaque> {
        let significant = lex::significant(&unit.tokens);
        let inner = inner_text(&significant, names)
            .filter(|inner| nesting < NESTING_MAX && inner.len() <= self.bytes_left);
        let mut statement =
            read::unit(unit, &significant, names, (self.catalog, &self.filled), inner.is_some())?;
        statement.is_inside = unit.is_inside || nesting > 0;
        (statement.role, statement.secondary_roles) = (names.role.clone(), names.secondary_roles.clone());
        self.fill(&statement);
        let body = body::of(&significant, &statement)
            .filter(|body| nesting < NESTING_MAX && body.len() <= self.bytes_left);
        // What `WITH … AS PROCEDURE … CALL` makes runs here and now.
        let body_names = body.as_ref().map(|_| match statement.class {
            Class::Call => names.clone(),
            _ => names_in_body(&statement, &significant_words(unit), names),
        });
        self.statements.push(statement);
        if self.statements.len() > script::STATEMENTS_MAX {
            return Err(Opaque::TooMany);
        }
        if let Some(inner) = inner {
            self.bytes_left -= inner.len();
            let left = self.text(lex::tokens(&inner)?, names, nesting + 1)?;
            return Ok(Some(if left == *names { left } else { names.forgotten() }));
        }
        if let (Some(body), Some(names)) = (body, body_names) {
            self.body(&body, &names, nesting);
        }
        Ok(match unit.role {
            // What is in it changes names, if anything does.
            Role::Block => None,
            Role::Statement | Role::Piped(_) => follow::change(&significant, names),
        })
    }

    /// The body of a routine, where it is a text. It does not run yet, so it fills nothing. One that cannot be read leaves
    /// the routine as what it is: code that nobody here knows, like that in another language.
    fn body(&mut self, body: &str, names: &SessionNames, nesting: usize) {
        self.bytes_left -= body.len();
        let (before, filled) = (self.statements.len(), self.filled.clone());
        let read =
            lex::tokens(body).map_err(Opaque::from).and_then(|tokens| self.text(tokens, names, nesting + 1));
        self.filled = filled;
        if read.is_err() {
            self.statements.truncate(before);
            if let Some(routine) = self.statements.last_mut() {
                routine.parse = Parse::Partial;
            }
        }
    }

    /// Remembers what a statement puts into tables.
    fn fill(&mut self, statement: &Statement) {
        self.filled.extend(statement.landings.iter().cloned());
        if statement.moves_data && statement.landings.is_empty() {
            self.filled.extend(moved(statement));
        }
        if self.filled.len() > LANDINGS_FOLLOWED_MAX {
            self.filled = vec![Landing::unknown(None, "too much was put into tables")];
        }
    }
}

/// What is in the tables that are renamed, swapped or copied as a whole: what was in those that the statement names.
fn moved(statement: &Statement) -> Vec<Landing> {
    if statement.containers.iter().any(|used| used.access == Access::Read) {
        return vec![Landing::unknown(None, "all of a schema is copied")];
    }
    let read = statement.tables.iter().filter(|used| used.access == Access::Read);
    let sources = Sources::Wildcard(read.map(|used| used.table.clone()).collect());
    let columns = Outputs::Known(vec![Output { name: None, sources, is_many: true }]);
    let changed =
        statement.tables.iter().filter(|used| matches!(used.access, Access::Create | Access::Alter));
    changed
        .map(|used| Landing {
            table: Some(used.table.clone()),
            columns: columns.clone(),
            is_new: false,
            is_by_position: false,
        })
        .collect()
}

fn significant_words(unit: &Unit) -> Vec<String> {
    let significant = lex::significant(&unit.tokens);
    significant.iter().filter_map(|t| crate::cursor::word(&t.token)).map(str::to_uppercase).collect()
}

/// What names mean in the body of a routine or a task: those of the schema that it is in, unless it runs as its caller,
/// whose session nobody knows yet.
fn names_in_body(head: &Statement, words: &[String], names: &SessionNames) -> SessionNames {
    let mut body = names.forgotten();
    let runs_as_caller = words.windows(2).any(|pair| matches!(pair, [a, b] if a == "AS" && b == "CALLER"));
    let made = head.containers.iter().find_map(|used| match &used.container {
        crate::Container::Schema { database, schema } => Some((database.clone(), schema.clone())),
        crate::Container::Database(_) => None,
    });
    if let Some((database, schema)) = made.filter(|_| !runs_as_caller) {
        body.database = database;
        body.schema = schema;
    }
    body
}

/// The text that an `EXECUTE IMMEDIATE` runs, if it is known.
fn inner_text(tokens: &[&TokenWithSpan], names: &SessionNames) -> Option<String> {
    let mut at = Cursor::new(tokens);
    if !at.take(&["EXECUTE", "IMMEDIATE"]) {
        return None;
    }
    let text = match at.next()? {
        Token::Placeholder(variable) => {
            let name = model::Ident::unquoted(variable.strip_prefix('$')?);
            names.variables.get(&name)?.clone()
        }
        token => literal::content(token)?,
    };
    // What is not a statement is not run; and nothing but values may follow.
    let is_plain = at.is_at_end() || at.stands(&["USING"]);
    (is_plain && !text.trim().is_empty()).then_some(text)
}

/// Whether it is one of the classes whose statements are told apart by what they run.
pub(crate) fn runs_text(class: Class) -> bool {
    matches!(class, Class::ExecuteImmediate | Class::Dynamic)
}
