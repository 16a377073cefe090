//! Functions of Snowflake's that are about statements, which fakesnow does not have: each call becomes the literal that
//! it returns. And the comment by which a statement is slow.

use std::time::Duration;

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
    rewritten.delay = rewritten.delay.min(DELAY_MAX);
    if rewritten.sql != sql {
        rewritten.sql = select_in_place_of_call(&rewritten.sql);
    }
    rewritten
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
