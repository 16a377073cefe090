//! Functions of Snowflake's that are about statements and definitions, which fakesnow does not have: each call becomes the
//! literal that it returns, or a query for it. And the comment by which a statement is slow.

use std::time::Duration;

use super::sessions::resolve_identifier;
use super::statement::skip_comments;

const SLOW_COMMENT: (&str, &str) = ("/* takes ", " s */");
/// No lab waits longer for one statement.
const DELAY_MAX: Duration = Duration::from_secs(600);

/// A statement as fakesnow takes it, and what else it asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rewritten {
    pub(super) sql: String,
    /// By `SYSTEM$WAIT`, or by a comment `/* takes 2.5 s */`.
    pub(super) delay: Duration,
    /// By `SYSTEM$CANCEL_QUERY`: a statement's id.
    pub(super) cancels_query: Option<String>,
    /// By `SYSTEM$CANCEL_ALL_QUERIES`: a session's id.
    pub(super) cancels_session: Option<u64>,
    /// By `GET_DDL`: without a row there is no such object.
    pub(super) needs_row: bool,
}

/// Replaces the calls. Their texts are found anywhere, also in literals: a lab's statements are not hostile to it.
/// Source of the results: Snowflake documentation, "System functions".
pub(super) fn rewrite(sql: &str) -> Rewritten {
    let mut rewritten = Rewritten { sql: sql.to_owned(), delay: slow(sql), ..Rewritten::default() };
    while let Some(call) = Call::find(&rewritten.sql, "SYSTEM$WAIT") {
        let waited = call.duration();
        rewritten.delay += waited;
        rewritten.sql = call.replaced(&format!("waited {} seconds", waited.as_secs_f64()));
    }
    if let Some(call) = Call::find(&rewritten.sql, "SYSTEM$CANCEL_QUERY") {
        let id = call.arguments.trim().trim_matches('\'').to_owned();
        rewritten.sql = call.replaced(&format!("query [{id}] terminated."));
        rewritten.cancels_query = Some(id);
    }
    if let Some(call) = Call::find(&rewritten.sql, "SYSTEM$CANCEL_ALL_QUERIES") {
        let id = call.arguments.trim().trim_matches('\'').parse().unwrap_or_default();
        rewritten.sql = call.replaced("0 cancelled, 0 failed");
        rewritten.cancels_session = Some(id);
    }
    if let Some(sql) = Call::find(&rewritten.sql, "GET_DDL").and_then(|call| call.definition()) {
        rewritten.sql = sql;
        rewritten.needs_row = true;
    }
    rewritten.delay = rewritten.delay.min(DELAY_MAX);
    if rewritten.sql != sql {
        rewritten.sql = select_in_place_of_call(&rewritten.sql);
    }
    rewritten
}

/// Replaces `LAST_QUERY_ID()` by the id of the session's last statement, or by null where there is none.
pub(super) fn with_last_id(sql: &str, last: impl FnOnce() -> Option<String>) -> String {
    match Call::find(sql, "LAST_QUERY_ID") {
        Some(call) => match last() {
            Some(id) => call.replaced(&id),
            None => format!("{}NULL{}", call.before, call.after),
        },
        None => sql.to_owned(),
    }
}

fn slow(sql: &str) -> Duration {
    let amount = sql.split_once(SLOW_COMMENT.0).and_then(|(_, rest)| rest.split_once(SLOW_COMMENT.1));
    amount.and_then(|(seconds, _)| seconds.parse().ok()).map_or(Duration::ZERO, seconds)
}

fn seconds(amount: f64) -> Duration {
    Duration::try_from_secs_f64(amount).unwrap_or(Duration::ZERO).min(DELAY_MAX)
}

fn select_in_place_of_call(sql: &str) -> String {
    let statement = skip_comments(sql);
    match statement.split_at_checked(5) {
        Some((verb, rest)) if verb.eq_ignore_ascii_case("CALL ") => format!("SELECT {rest}"),
        _ => sql.to_owned(),
    }
}

/// One call in a text.
struct Call<'a> {
    before: &'a str,
    arguments: &'a str,
    after: &'a str,
}

impl<'a> Call<'a> {
    fn find(sql: &'a str, function: &str) -> Option<Self> {
        // Lower-casing ASCII letters moves no byte.
        let start = sql.to_ascii_lowercase().find(&format!("{}(", function.to_ascii_lowercase()))?;
        let (before, call) = sql.split_at_checked(start)?;
        let (arguments, after) = call.get(function.len() + 1..)?.split_once(')')?;
        Some(Self { before, arguments, after })
    }

    fn replaced(&self, literal: &str) -> String {
        format!("{}'{literal}'{}", self.before, self.after)
    }

    /// A query for what `GET_DDL` returns: of a view its definition, of a table that it is one. `None` where the call is
    /// not the whole statement, or does not name a table or view in full.
    fn definition(&self) -> Option<String> {
        let is_whole = self.before.trim().eq_ignore_ascii_case("SELECT") && self.after.trim().is_empty();
        let (kind, name) = self.arguments.split_once(',')?;
        let is_table = ["'VIEW'", "'TABLE'"].contains(&kind.trim().to_ascii_uppercase().as_str());
        let name = name.trim().strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
        let parts: Vec<String> = parts(&name).map(|part| resolve_identifier(&part)).collect();
        let ([database, schema, name], true) = (parts.as_slice(), is_whole && is_table) else { return None };
        let text = |part: &str| format!("'{}'", part.replace('\'', "''"));
        let within = format!("\"{}\".INFORMATION_SCHEMA", database.replace('"', "\"\""));
        let is_it = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", text(schema), text(name));
        Some(format!(
            "SELECT VIEW_DEFINITION AS DDL FROM {within}.VIEWS WHERE {is_it} UNION ALL \
             SELECT 'create or replace TABLE ' || TABLE_NAME || ' ();' AS DDL FROM {within}.TABLES \
             WHERE TABLE_TYPE = 'BASE TABLE' AND {is_it}"
        ))
    }

    /// `SYSTEM$WAIT( <amount> [ , <unit> ] )`, the unit being seconds by default.
    fn duration(&self) -> Duration {
        let (amount, unit) = self.arguments.split_once(',').unwrap_or((self.arguments, "SECONDS"));
        let factor = match unit.trim().trim_matches('\'').to_ascii_uppercase().as_str() {
            "MILLISECONDS" => 0.001,
            "MINUTES" => 60.0,
            _ => 1.0,
        };
        seconds(amount.trim().parse().unwrap_or(0.0) * factor)
    }
}

/// The parts of a name, each as it is written.
fn parts(name: &str) -> impl Iterator<Item = String> {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    for c in name.chars() {
        is_quoted ^= c == '"';
        match parts.last_mut() {
            Some(part) if c != '.' || is_quoted => part.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_wait_wait_as_long_as_they_say() {
        for (sql, millis, expected) in [
            ("SELECT System$Wait(2)", 2000, "SELECT 'waited 2 seconds'"),
            ("call system$wait( 50 , 'MILLISECONDS' )", 50, "SELECT 'waited 0.05 seconds'"),
            ("select 1 /* takes 1.5 s */", 1500, "select 1 /* takes 1.5 s */"),
            ("select 1 /* takes long */", 0, "select 1 /* takes long */"),
            ("select system$wait(1), system$wait(1)", 2000, "select 'waited 1 seconds', 'waited 1 seconds'"),
        ] {
            let rewritten = rewrite(sql);
            assert_eq!((rewritten.delay.as_millis(), rewritten.sql.as_str()), (millis, expected));
        }
        assert_eq!(rewrite("select system$wait(99999)").delay, DELAY_MAX);
    }

    #[test]
    fn a_definition_is_looked_up_where_the_object_lives() {
        let sql = rewrite("SELECT GET_DDL('VIEW', '\"D\".s.\"it''s \"\"v\"\"\"')").sql;
        assert!(
            sql.starts_with("SELECT VIEW_DEFINITION AS DDL FROM \"D\".INFORMATION_SCHEMA.VIEWS WHERE "),
            "{sql}"
        );
        assert!(sql.contains("TABLE_SCHEMA = 'S' AND TABLE_NAME = 'it''s \"v\"' UNION"), "{sql}");
        assert!(rewrite("select get_ddl('table', 'd.s.t')").needs_row);
        for other in [
            "select get_ddl('view', 'v')",
            "select get_ddl('schema', 'a.b.c')",
            "select 1, get_ddl('view', 'a.b.c')",
        ] {
            assert_eq!((rewrite(other).sql.as_str(), rewrite(other).needs_row), (other, false));
        }
    }

    #[test]
    fn the_last_statement_of_a_session_is_told() {
        let one = || Some("one".to_owned());
        assert_eq!(with_last_id("select last_query_id() as x", one), "select 'one' as x");
        assert_eq!(with_last_id("select last_query_id()", || None), "select NULL");
        assert_eq!(with_last_id("select 1", one), "select 1");
    }

    #[test]
    fn what_cancels_names_what_it_cancels() {
        let one = rewrite("select system$cancel_query('abc')");
        assert_eq!(
            (one.sql.as_str(), one.cancels_query.as_deref()),
            ("select 'query [abc] terminated.'", Some("abc"))
        );
        assert_eq!(rewrite("select system$cancel_all_queries(7)").cancels_session, Some(7));
        assert_eq!(rewrite("select 1").sql, "select 1");
    }
}
