//! Our own reader for statements that make, change, drop, show, describe, comment on and grant things, of all the kinds
//! that Snowflake has. Their first words say what they are, and on what; what follows is surveyed for tables.

use model::{Ident, TableName};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{
    Access, Class, Container, ContainerUse, Effect, ObjectKind, ObjectUse, Parse, SessionNames, Statement,
    TableUse,
    cursor::{Cursor, Parts},
    kinds::{self, Kind, Thing},
    plain,
    survey::{self, Place},
};

/// Words between the verb and the kind.
const MODIFIERS: &[&str] = &[
    "OR",
    "REPLACE",
    "ALTER",
    "SECURE",
    "TEMP",
    "TEMPORARY",
    "VOLATILE",
    "TRANSIENT",
    "LOCAL",
    "GLOBAL",
    "RECURSIVE",
    "AGGREGATE",
    "READ",
    "ONLY",
    "TERSE",
    "FORCE",
];

/// Reads the statement if it is one of these.
pub(crate) fn read(tokens: &[&TokenWithSpan], names: &SessionNames) -> Option<Statement> {
    let mut at = Cursor::new(tokens);
    let verb = at.word();
    at.pass(1);
    match verb.as_str() {
        "CREATE" | "ALTER" | "DROP" | "UNDROP" => define(&verb, at, names),
        "GRANT" | "REVOKE" => Some(grant(&verb, at, names)),
        "COMMENT" => Some(comment(at, names)),
        "DESC" | "DESCRIBE" => Some(describe(at, names)),
        "SHOW" => Some(show(at, names)),
        _ => None,
    }
}

/// Whether the parser knows most of it: tables and views, whose definitions may hold queries.
pub(crate) fn is_for_the_parser(tokens: &[&TokenWithSpan]) -> bool {
    let mut at = Cursor::new(tokens);
    let verb = at.word();
    at.pass(1);
    at.skip(MODIFIERS);
    if is_session(&verb, at) {
        return true;
    }
    let is_plain = ["TABLE", "VIEW", "MATERIALIZED", "EXTERNAL", "DYNAMIC", "ICEBERG"]
        .iter()
        .any(|kind| at.stands(&[kind]));
    is_plain && kinds::take(&mut at).is_some_and(|kind| kind.thing == Thing::Table)
}

/// `EXECUTE TASK t`, `EXECUTE ALERT a`, `EXECUTE NOTEBOOK n()`, `EXECUTE JOB SERVICE …`.
pub(crate) fn execute(tokens: &[&TokenWithSpan], names: &SessionNames) -> Statement {
    let mut at = Cursor::new(tokens);
    at.pass(1);
    let verb = format!("EXECUTE {}", at.word());
    let mut reader = Reader::new(Class::Execute, verb.trim_end(), names);
    reader.statement.outputs = crate::Outputs::Unknown("it runs code that is stored elsewhere");
    match kinds::take(&mut at) {
        Some(kind) => {
            reader.named(&mut at, kind.thing, Access::Call);
        }
        None => reader.statement.parse = Parse::Partial,
    }
    reader.done()
}

/// `ALTER SESSION`, and not `… SESSION POLICY`.
fn is_session(verb: &str, at: Cursor<'_>) -> bool {
    verb == "ALTER" && at.stands(&["SESSION"]) && !at.stands(&["SESSION", "POLICY"])
}

struct Reader<'a> {
    names: &'a SessionNames,
    statement: Statement,
}

impl<'a> Reader<'a> {
    fn new(class: Class, verb: &str, names: &'a SessionNames) -> Self {
        let mut statement = plain::bare(class, &[], 0);
        verb.clone_into(&mut statement.verb);
        Self { names, statement }
    }

    /// Notes a thing by its name. What lives in a schema is a change of that schema, too.
    fn thing(&mut self, thing: Thing, parts: &Parts, access: Access) {
        let known = match thing {
            Thing::Table if access == Access::Read => self.names.tables_of(parts).map(|tables| {
                self.statement.tables.extend(plain::uses(tables, access));
            }),
            Thing::Table => self.names.table_of(parts).map(|table| self.table(table, access)),
            Thing::Schema => {
                self.names.schema_named(parts).map(|container| self.container(container, access))
            }
            Thing::Database => {
                self.names.database_of(parts).map(|container| self.container(container, access))
            }
            Thing::Object(kind) => self.names.object(kind, parts).map(|name| {
                let (database, schema) = (name.database.clone(), name.schema.clone());
                self.statement.objects.push(ObjectUse { kind, name, access, fallback: false });
                if kind.level() == crate::Level::Schema && access != Access::Read {
                    self.container(Container::Schema { database, schema }, access);
                }
            }),
        };
        if known.is_none() {
            self.statement.elsewhere.push(crate::Elsewhere::Identifier);
        }
    }

    fn table(&mut self, table: TableName, access: Access) {
        self.statement.tables.push(TableUse { table, access, fallback: false });
    }

    fn container(&mut self, container: Container, access: Access) {
        self.statement.containers.push(ContainerUse { container, access });
    }

    /// Passes a name and notes it. A name that is computed leads elsewhere.
    fn named(&mut self, at: &mut Cursor<'_>, thing: Thing, access: Access) -> bool {
        let _exists = at.take(&["IF", "NOT", "EXISTS"]) || at.take(&["IF", "EXISTS"]);
        // `ALTER WAREHOUSE SET …`, `… ON ACCOUNT TO ROLE r`: the one that the session is in.
        if ["SET", "UNSET", "TO", "FROM"].iter().any(|word| at.stands(&[word])) {
            return false;
        }
        if let Some(Token::SingleQuotedString(text)) = at.peek()
            && let Some(parts) = crate::mentions::quoted_parts(text, self.names)
        {
            at.pass(1);
            self.thing(thing, &parts, access);
            return true;
        }
        match at.name(self.names) {
            Some(parts) => {
                self.thing(thing, &parts, access);
                true
            }
            None => false,
        }
    }

    /// Surveys what is left for tables.
    fn survey(&mut self, at: Cursor<'_>) {
        let before =
            (self.statement.tables.len(), self.statement.functions.len(), self.statement.elsewhere.len());
        survey::survey(at.rest(), Place::Definition, self.names, &mut self.statement);
        let after =
            (self.statement.tables.len(), self.statement.functions.len(), self.statement.elsewhere.len());
        if before != after {
            self.statement.parse = Parse::Partial;
        }
        // The files that a pipe loads or a notebook is made from are named; only a table's rows come out of a result.
        let makes_table = self.statement.tables.iter().any(|used| used.access == Access::Create);
        if !makes_table {
            self.statement.elsewhere.retain(|elsewhere| *elsewhere != crate::Elsewhere::Stage);
        }
    }

    fn done(mut self) -> Statement {
        self.statement.tables.sort();
        self.statement.tables.dedup();
        self.statement.elsewhere.sort();
        self.statement.elsewhere.dedup();
        self.statement.functions.sort();
        self.statement.functions.dedup();
        self.statement
    }
}

fn define(verb: &str, mut at: Cursor<'_>, names: &SessionNames) -> Option<Statement> {
    at.skip(MODIFIERS);
    if is_session(verb, at) {
        return None;
    }
    let kind = kinds::take(&mut at);
    let (class, access) = match verb {
        "CREATE" => (Class::Create, Access::Create),
        "ALTER" => (Class::Alter, Access::Alter),
        "DROP" => (Class::Drop, Access::Drop),
        _ => (Class::Undrop, Access::Drop),
    };
    let Some(kind) = kind else {
        // A kind that is not known here may be anything of the account.
        let mut reader = Reader::new(Class::Administer, verb, names);
        reader.statement.parse = Parse::Partial;
        reader.survey(at);
        return (!at.is_at_end()).then(|| reader.done());
    };
    let class = if kind.is_administered { Class::Administer } else { class };
    let words = if class == Class::Administer { format!("{verb} {}", kind.words()) } else { verb.to_owned() };
    let mut reader = Reader::new(class, &words, names);
    reader.statement.effects.extend(kind.effect);
    if verb == "DROP" && kind.words() == "INDEX" {
        return Some(drop_index(at, reader));
    }
    let mut is_named = reader.named(&mut at, kind.thing, access);
    while is_named && matches!(verb, "DROP" | "UNDROP") && at.take_token(&Token::Comma) {
        is_named = reader.named(&mut at, kind.thing, access);
    }
    let means_own = at.stands(&["SET"]) || at.stands(&["UNSET"]);
    if !is_named && !at.is_at_end() && !means_own && kind.thing != Thing::Object(ObjectKind::Account) {
        reader.statement.parse = Parse::Partial;
        if at.stands(&["IDENTIFIER"]) || matches!(at.peek(), Some(Token::Placeholder(_))) {
            reader.statement.elsewhere.push(crate::Elsewhere::Identifier);
        }
    }
    rest(verb, kind, at, &mut reader);
    Some(reader.done())
}

/// `DROP INDEX t.i`: an index is a part of its table.
fn drop_index(mut at: Cursor<'_>, mut reader: Reader<'_>) -> Statement {
    let _exists = at.take(&["IF", "EXISTS"]);
    let table = at.name(reader.names).map(|mut parts| {
        parts.pop();
        parts
    });
    match table.filter(|parts| !parts.is_empty()) {
        Some(parts) => reader.thing(Thing::Table, &parts, Access::Alter),
        None => reader.statement.parse = Parse::Partial,
    }
    reader.done()
}

/// What follows the name.
fn rest(verb: &str, kind: Kind, mut at: Cursor<'_>, reader: &mut Reader<'_>) {
    if matches!(kind.thing, Thing::Object(ObjectKind::Function | ObjectKind::Procedure))
        && at.peek() == Some(&Token::LParen)
    {
        survey::skip_parentheses(&mut at);
    }
    if verb == "DROP" || verb == "UNDROP" {
        return;
    }
    user_credentials(verb, kind, at, reader);
    if matches!(kind.thing, Thing::Schema | Thing::Database) {
        return container_rest(kind, at, reader);
    }
    let before = reader.statement.tables.len();
    if verb == "ALTER" {
        renames(kind, at, reader);
    }
    reader.survey(at);
    let reads = reader.statement.tables.len() > before || !reader.statement.functions.is_empty();
    let changes_rows_place = verb == "ALTER" && kind.thing == Thing::Table;
    reader.statement.moves_data = changes_rows_place || reads;
    // A clone keeps the names of its columns, so it is followed as a whole.
    let clones = at
        .rest()
        .iter()
        .any(|t| crate::cursor::word(&t.token).is_some_and(|w| w.eq_ignore_ascii_case("CLONE")));
    if verb == "CREATE" && kind.thing == Thing::Table && reads && !clones {
        crate::read::land(&mut reader.statement, Access::Create);
    }
    if changes_rows_place {
        // The tags of the old definition may not fit the new one: what it holds counts as read.
        let read = reader.statement.tables.iter().filter(|used| used.access == Access::Alter).cloned();
        let read: Vec<TableUse> = read.map(|used| TableUse { access: Access::Read, ..used }).collect();
        reader.statement.tables.extend(read);
    }
}

/// A new user is somebody with a credential, or somebody who can be given one; `ALTER USER … ADD PAT` mints one.
fn user_credentials(verb: &str, kind: Kind, at: Cursor<'_>, reader: &mut Reader<'_>) {
    if kind.thing != Thing::Object(ObjectKind::User) {
        return;
    }
    let words = at.rest().iter().filter_map(|t| crate::cursor::word(&t.token)).map(str::to_uppercase);
    let mints = |word: String| {
        matches!(
            word.as_str(),
            "PAT" | "TOKEN" | "PASSWORD" | "RSA_PUBLIC_KEY" | "RSA_PUBLIC_KEY_2" | "WORKLOAD_IDENTITY"
        )
    };
    if verb == "CREATE" || words.into_iter().any(mints) {
        reader.statement.effects.insert(Effect::MintsCredential);
    }
}

/// `RENAME TO x`, `SWAP WITH x`: another name that is touched.
fn renames(kind: Kind, mut at: Cursor<'_>, reader: &mut Reader<'_>) {
    if at.take(&["RENAME", "TO"]) {
        reader.named(&mut at, kind.thing, Access::Create);
    } else if at.take(&["SWAP", "WITH"]) {
        reader.named(&mut at, kind.thing, Access::Alter);
    }
}

/// What follows the name of a schema or database: other schemas and databases, shares and listings.
fn container_rest(kind: Kind, mut at: Cursor<'_>, reader: &mut Reader<'_>) {
    while !at.is_at_end() {
        let source = if at.take(&["CLONE"]) {
            Some(kind.thing)
        } else if at.take(&["RENAME", "TO"]) || at.take(&["SWAP", "WITH"]) {
            reader.named(&mut at, kind.thing, Access::Alter);
            None
        } else if at.take(&["FROM", "SHARE"]) {
            reader.statement.effects.insert(Effect::Share);
            // A share of another account is named after that account.
            let name = at.name(reader.names).and_then(|parts| parts.last().cloned());
            if let Some(name) = name {
                reader.thing(Thing::Object(ObjectKind::Share), &vec![name], Access::Read);
            }
            None
        } else if at.take(&["FROM", "LISTING"]) {
            reader.statement.effects.insert(Effect::Share);
            Some(Thing::Object(ObjectKind::Listing))
        } else if at.take(&["AS", "REPLICA", "OF"]) {
            reader.statement.effects.insert(Effect::Share);
            None
        } else {
            at.pass(1);
            None
        };
        if let Some(thing) = source {
            reader.statement.moves_data = true;
            if !reader.named(&mut at, thing, Access::Read) {
                reader.statement.elsewhere.push(crate::Elsewhere::Identifier);
            }
        }
    }
}

fn grant(verb: &str, mut at: Cursor<'_>, names: &SessionNames) -> Statement {
    let class = if verb == "GRANT" { Class::Grant } else { Class::Revoke };
    let mut reader = Reader::new(class, verb, names);
    reader.statement.effects.insert(Effect::Grant);
    let given = kinds::take(&mut at.clone());
    let is_role = given.is_some_and(|kind| {
        use ObjectKind as O;
        matches!(kind.thing, Thing::Object(O::Role | O::DatabaseRole | O::ApplicationRole))
            || kind.words() == "SERVICE ROLE"
    });
    if is_role && let Some(kind) = kinds::take(&mut at) {
        // `d.s.service!role`, which has become one name.
        if kind.thing == Thing::Object(ObjectKind::Service)
            && let Some(mut parts) = at.name(names)
        {
            parts.pop();
            reader.thing(kind.thing, &parts, Access::Grant);
        } else {
            reader.named(&mut at, kind.thing, Access::Grant);
        }
    } else {
        while !at.is_at_end() && !at.stands(&["ON"]) && !at.stands(&["TO"]) && !at.stands(&["FROM"]) {
            at.pass(1);
        }
        if at.take(&["ON"]) {
            granted_on(&mut at, &mut reader);
        }
    }
    grantees(at, &mut reader);
    reader.done()
}

/// `ON TABLE t`, `ON ALL TABLES IN SCHEMA s`, `ON FUTURE … IN DATABASE d`, `ON t`.
fn granted_on(at: &mut Cursor<'_>, reader: &mut Reader<'_>) {
    let is_many = at.take(&["ALL"]) || at.take(&["FUTURE"]);
    let kind = kinds::take(at);
    if is_many {
        if at.take(&["IN"])
            && let Some(container) = kinds::take(at)
        {
            reader.named(at, container.thing, Access::Grant);
        } else {
            reader.statement.parse = Parse::Partial;
        }
        return;
    }
    let thing = kind.map_or(Thing::Table, |kind| kind.thing);
    loop {
        let is_account = thing == Thing::Object(ObjectKind::Account);
        if !reader.named(at, thing, Access::Grant) && !is_account {
            reader.statement.parse = Parse::Partial;
        }
        if at.peek() == Some(&Token::LParen) {
            survey::skip_parentheses(at);
        }
        if is_account || !at.take_token(&Token::Comma) {
            return;
        }
    }
}

/// `TO ROLE r`, `FROM SHARE s`, `TO r`.
fn grantees(mut at: Cursor<'_>, reader: &mut Reader<'_>) {
    while !at.is_at_end() && !at.take(&["TO"]) && !at.take(&["FROM"]) {
        at.pass(1);
    }
    loop {
        let kind = kinds::take(&mut at);
        let thing = kind.map_or(Thing::Object(ObjectKind::Role), |kind| kind.thing);
        if thing == Thing::Object(ObjectKind::Share) {
            reader.statement.effects.insert(Effect::Share);
        }
        if at.is_at_end() || !reader.named(&mut at, thing, Access::Grant) || !at.take_token(&Token::Comma) {
            return;
        }
    }
}

fn comment(mut at: Cursor<'_>, names: &SessionNames) -> Statement {
    let mut reader = Reader::new(Class::Comment, "COMMENT", names);
    let _exists = at.take(&["IF", "EXISTS"]);
    let _on = at.take(&["ON"]);
    if at.take(&["COLUMN"]) {
        // The last part is the column's.
        let table = at.name(names).map(|mut parts| {
            parts.pop();
            parts
        });
        match table.filter(|parts| !parts.is_empty()) {
            Some(parts) => reader.thing(Thing::Table, &parts, Access::Alter),
            None => reader.statement.parse = Parse::Partial,
        }
        return reader.done();
    }
    match kinds::take(&mut at) {
        Some(kind) => {
            if kind.is_administered {
                reader.statement.class = Class::Administer;
                reader.statement.verb = format!("COMMENT ON {}", kind.words());
            }
            reader.named(&mut at, kind.thing, Access::Alter);
        }
        None => reader.statement.parse = Parse::Partial,
    }
    reader.done()
}

fn describe(mut at: Cursor<'_>, names: &SessionNames) -> Statement {
    let mut reader = Reader::new(Class::Describe, "DESCRIBE", names);
    if at.take(&["RESULT"]) {
        reader.statement.effects.insert(Effect::ResultScan);
        return reader.done();
    }
    if at.take(&["SEARCH", "OPTIMIZATION", "ON"]) {
        reader.named(&mut at, Thing::Table, Access::Read);
        return reader.done();
    }
    let _available = at.take(&["AVAILABLE"]) || at.take(&["AS", "RESOURCE"]);
    match kinds::take(&mut at) {
        Some(kind) => {
            reader.named(&mut at, kind.thing, Access::Read);
        }
        // `DESC t`.
        None => {
            reader.statement.parse = Parse::Partial;
            reader.named(&mut at, Thing::Table, Access::Read);
            survey::survey(at.rest(), Place::Rows, names, &mut reader.statement);
        }
    }
    reader.done()
}

/// `SHOW … IN SCHEMA s`, `SHOW … IN TABLE t`, `SHOW GRANTS ON t`.
fn show(mut at: Cursor<'_>, names: &SessionNames) -> Statement {
    at.skip(&["TERSE"]);
    let shown = at.word();
    let verb = if shown.is_empty() { "SHOW".to_owned() } else { format!("SHOW {shown}") };
    let mut reader = Reader::new(Class::Show, &verb, names);
    while !at.is_at_end() {
        let is_in = at.take(&["IN"]);
        let leads = is_in || ["ON", "TO", "OF", "FOR"].iter().any(|lead| at.take(&[lead]));
        if !leads {
            at.pass(1);
            continue;
        }
        match kinds::take(&mut at) {
            Some(kind) => {
                // `IN SCHEMA` alone is the session's.
                let is_named = matches!(at.peek(), Some(Token::Word(word))
                    if word.quote_style.is_some() || !matches!(at.word().as_str(), "LIKE" | "STARTS" | "LIMIT" | "FROM" | "IN"));
                if is_named {
                    reader.named(&mut at, kind.thing, Access::Read);
                }
            }
            // The dimensions, facts and metrics of a semantic view.
            None if is_in && shown == "SEMANTIC" => {
                reader.named(&mut at, Thing::Table, Access::Read);
            }
            None => {
                let container = at.name(names).filter(|_| is_in && shown != "GRANTS");
                match container.as_deref() {
                    Some([Some(database)]) => {
                        reader.container(Container::Database(database.clone()), Access::Read);
                    }
                    Some([Some(database), Some(schema)]) => in_schema(&mut reader, database, schema),
                    _ => {}
                }
            }
        }
    }
    reader.done()
}

fn in_schema(reader: &mut Reader<'_>, database: &Ident, schema: &Ident) {
    let container = Container::Schema { database: Some(database.clone()), schema: Some(schema.clone()) };
    reader.container(container, Access::Read);
}
