//! Bodies of routines that are texts, and what a statement fills that is not understood in full.

use model::SqlText;

use super::{check, session};
use crate::analyze;

#[test]
fn texts_that_are_bodies_are_read() {
    check(&[
        (
            "create procedure s.p() returns int language sql as $$ begin delete from t; return 1; end $$",
            "CREATE create:ANALYTICS.S; SCRIPT; DELETE write:ANALYTICS.S.T",
        ),
        (
            "create procedure s.p() returns int execute as owner as 'declare x int; begin select count(*) into :x from t; end'",
            "CREATE create:ANALYTICS.S; SCRIPT; SELECT read:ANALYTICS.S.T read?:#T",
        ),
        // Whoever calls it has another session.
        (
            "create procedure s.p() returns int language sql execute as caller as 'begin delete from t; end'",
            "CREATE create:ANALYTICS.S; SCRIPT; DELETE write:?.?.T",
        ),
        ("create function f(a int) returns int as 'a + 1'", "CREATE create:ANALYTICS.PUBLIC; SELECT"),
        (
            "create secure function f() returns table (b int) as $$ select b from d.s.t $$",
            "CREATE create:ANALYTICS.PUBLIC; SELECT read:D.S.T",
        ),
        (
            "create procedure p() returns int language javascript as 'drop table t'",
            "CREATE create:ANALYTICS.PUBLIC",
        ),
        (
            "create function f() returns int language python handler = 'f' as $$ select a from t $$",
            "CREATE create:ANALYTICS.PUBLIC",
        ),
        (
            "create external function f() returns int api_integration = i as 'https://x'",
            "CREATE create:ANALYTICS.PUBLIC",
        ),
        // What cannot be read is code that nobody here knows.
        (
            "create function f() returns int as 'select from where `'",
            "CREATE create:ANALYTICS.PUBLIC partial",
        ),
        (
            "create procedure p() returns int as 'begin insert into t select * from u; end'; select * from t",
            "CREATE create:ANALYTICS.PUBLIC; SCRIPT; INSERT read:ANALYTICS.PUBLIC.U write:#T moves; SELECT read:#T",
        ),
        (
            "with p as procedure () returns int language sql as $$ begin delete from t; end $$ call p()",
            "CALL calls:P partial; SCRIPT; DELETE write:#T",
        ),
        (
            "begin begin transaction; delete from t; commit; end",
            "SCRIPT; TRANSACTION; DELETE write:#T; TRANSACTION",
        ),
    ]);
}

#[test]
fn what_is_not_understood_in_full_may_fill_any_column_with_anything() {
    for (sql, tables) in [
        ("insert into t table u", "T"),
        ("merge into t using u on t.a = u.a when matched then frobnicate", "T"),
        ("update t set a = 1 frobnicate (b)", "T"),
        ("create dynamic table t (a, b) target_lag = downstream warehouse = w as select x, y from u", "T"),
        ("copy into t from @s validation_mode = return_errors", "T"),
        ("copy into @st from (select * from t) validation_mode = return_rows", "(files)"),
    ] {
        let facts = analyze(&SqlText::new(sql).unwrap(), &session(), &crate::Catalog::default());
        let statement =
            facts.statements().unwrap_or_else(|opaque| panic!("{sql}: {opaque}")).first().unwrap();
        let landed = statement.landings.iter().map(|landing| {
            assert!(matches!(landing.columns, crate::Outputs::Unknown(_)), "{sql}");
            landing.table.as_ref().map_or("(files)".to_owned(), |table| table.name.to_string())
        });
        assert_eq!(landed.collect::<Vec<_>>().join(" "), tables, "{sql}");
    }
}
