//! What is noticed as leading elsewhere, and what is not understood at all.

use super::{facts, facts_in, session};

#[test]
fn ways_to_elsewhere_are_noticed() {
    for (sql, expected) in [
        ("select * from table(result_scan(last_query_id()))", "ResultScan"),
        ("select * from table(information_schema.query_history())", "TableFunction"),
        ("select * from table($x)", "TableFunction"),
        ("select * from table(?)", "TableFunction"),
        ("select * from my_table_function(1)", "TableFunction"),
        ("select * from identifier($x)", "Identifier"),
        ("select identifier(:x) from t", "Identifier"),
        ("select * from identifier('a' || 'b')", "Identifier"),
        ("insert into identifier($x) values (1)", "Identifier"),
        ("select system$cancel_all_queries(1)", "SystemFunction"),
        ("select SYSTEM$STREAM_HAS_DATA('x') from t", "SystemFunction"),
        ("select get_presigned_url(@s, 'x')", "FileUrl"),
        ("select build_scoped_file_url(@s, 'x')", "FileUrl"),
        ("select $1 from @~/x", "Stage"),
        ("select $1 from @s.t/x (file_format => 'f')", "Stage"),
        ("select $1 from '@~/x'", "Stage"),
        ("select * from directory(@s)", "Stage"),
        ("execute immediate 'drop ' || 'table t'", "DynamicSql"),
        ("execute immediate $x", "DynamicSql"),
        ("execute immediate from @s/x.sql", "DynamicSql"),
        ("set x = (select ssn from t)", "VariableHoldsData"),
        ("set x = leak()", "VariableHoldsData"),
        ("set x = ssn", "VariableHoldsData"),
        ("set x = -t.ssn", "VariableHoldsData"),
        ("set (x, y) = (1, \"SSN\")", "VariableHoldsData"),
        ("alter session set search_path = 'a, b'", "NameResolution(\"SEARCH_PATH\")"),
        ("alter session unset timezone, \"QUOTED_IDENTIFIERS_IGNORE_CASE\"", "NameResolution"),
    ] {
        let line = facts(sql);
        assert!(line.contains(&format!("elsewhere:{expected}")), "{sql}: {line}");
    }
}

#[test]
fn harmless_neighbours_are_not() {
    for sql in [
        "select 'system$x', '@s', 'identifier(1)' from t",
        "select \"SYSTEM$X\" from t",
        "select a from t where b = 'a@b.example'",
        "select last_query_id()",
        "alter session set query_tag = 'search_path'",
        "set x = upper('a')",
        "set (x, y) = ('a', 1 + $z)",
        "copy into t from @s",
    ] {
        let line = facts(sql);
        assert!(!line.contains("elsewhere") && !line.contains("opaque"), "{sql}: {line}");
    }
}

#[test]
fn a_session_may_end_its_own_statements_and_no_others() {
    for (sql, is_own) in [
        ("select system$cancel_all_queries(7)", true),
        ("SELECT SYSTEM$CANCEL_ALL_QUERIES( 7 );", true),
        ("select system$cancel_all_queries(8)", false),
        ("select system$cancel_all_queries(7 + 1)", false),
        ("select system$cancel_all_queries(-7)", false),
        ("select system$cancel_all_queries(7, 8)", false),
        ("select system$cancel_all_queries(id) from t", false),
        ("select s.system$cancel_all_queries(7)", false),
        ("select system$cancel_query(7)", false),
    ] {
        assert_eq!(!facts(sql).contains("elsewhere"), is_own, "{sql}: {}", facts(sql));
    }
    let unknown = crate::SessionNames { number: None, ..session() };
    assert!(facts_in("select system$cancel_all_queries(7)", &unknown).contains("elsewhere"));
}

#[test]
fn own_functions_are_listed() {
    assert_eq!(
        facts("select f(a), s.g(b), upper(c) from t"),
        "SELECT read:ANALYTICS.PUBLIC.T calls:F calls:s.g"
    );
    assert_eq!(facts("select snowflake.cortex.complete('m', a) from t").matches("calls:").count(), 1);
}

#[test]
fn what_is_not_understood_is_opaque() {
    for (sql, reason) in [
        ("", "it is empty"),
        (" ;; -- nothing", "it is empty"),
        ("put file:///x @~; drop table t", "the location of a file"),
        ("select 1; frobnicate", "near line 1, column 11"),
        ("table t", ""),
        ("select * into x from t", "not read"),
        ("with x as (delete from t returning a) select * from x", "not read"),
        ("with x as (drop table t) select * from x", "near line 1"),
        ("frobnicate", "near line 1, column 1"),
        ("frobnicate the table", "near line 1, column 1"),
        ("select 'abc", "does not end"),
        ("select \"abc", "does not end"),
        ("select /* abc", "does not end"),
        ("copy into t from @s//x; drop table u", "the location of a file"),
        ("copy into t from @s/a--b", "the location of a file"),
        ("copy into t from @s/*.csv */", "the location of a file"),
        ("frobnicate; select 1", "near line 1, column 1"),
        ("select 1 # from t\n from u", "# comment"),
        ("select /* /* */ 1 */ from t", "comment within a comment"),
        ("select 1 -- x\r from t", "may end the line"),
        ("select 1 -- x\u{2028} from t", "may end the line"),
        ("select\u{a0}1", "white space"),
        ("select\u{b}1", "white space"),
        ("select $a$ from t where $a$", "tagged dollar quote"),
        ("select `a` from t", "not Snowflake's"),
        ("select N'a' from t", "not Snowflake's"),
        ("select é from t", "near line"),
    ] {
        let line = facts(sql);
        assert!(line.starts_with("opaque: ") && line.contains(reason), "{sql:?}: {line}");
    }
}

#[test]
fn odd_characters_in_strings_and_comments_are_fine() {
    for sql in [
        "select 'a\u{a0}b', \"c\u{2028}\" from t /* \u{85} */ -- é\u{a0}\n",
        "select 1 -- windows\r\n from t\r\n",
        "select $$ it's; -- /* # $$ from t",
        "select 'it\\'s; drop table u' from t",
        "select 'it''s; drop table u' from t",
    ] {
        assert_eq!(facts_in(sql, &session()), "SELECT read:ANALYTICS.PUBLIC.T", "{sql:?}");
    }
}

#[test]
fn a_verb_is_known_of_what_is_opaque() {
    let verb = |sql: &str| {
        crate::analyze(&model::SqlText::new(sql).unwrap(), &session(), &crate::Catalog::default())
            .verb()
            .to_owned()
    };
    assert_eq!(verb("create or replace task x as select"), "CREATE TASK");
    assert_eq!(verb("frobnicate"), "FROBNICATE");
    assert_eq!(verb(&"x".repeat(200)), "");
}
