//! Nothing panics, overflows the stack or takes long, whatever is sent. Run on a small stack, as a server's tasks are.

use std::time::{Duration, Instant};

use model::SqlText;

use super::{facts, session};
use crate::analyze;

/// What a thread of the runtime has.
const STACK_BYTES: usize = 2 << 20;

fn on_a_small_stack(test: fn()) {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(test).unwrap().join().unwrap();
}

/// Enough to tell what is not linear.
const MUCH_BYTES: usize = 64 << 10;

/// `text` with `before`, `inner` and `after` repeated to fill the longest statement.
fn filled(before: &str, repeat: &str, after: &str) -> String {
    let room = SqlText::BYTES_MAX - before.len() - after.len();
    format!("{before}{}{after}", repeat.repeat(room / repeat.len()))
}

#[test]
fn a_megabyte_of_nesting_is_refused_at_once() {
    on_a_small_stack(|| {
        for (before, repeat) in [
            ("select ", "("),
            ("select * from ", "("),
            ("", "("),
            ("select ", "["),
            ("select ", "{'a':"),
            ("select ", "f("),
            ("select ", "case when "),
            ("select ", "- "),
            ("select ", "not "),
            ("select 1", "+1"),
            ("select a", "::int"),
            ("select a", ":b[0]"),
            ("select a", " is null"),
            ("select a", " and b"),
            ("select a", " is distinct from b"),
            ("select a", " at time zone 'x'"),
            ("select 1", " union all select 1, 2"),
            ("select * from t", " join t on 1=1"),
            ("select * from t", " pivot (max(a) for b in (1, 2))"),
            ("", "explain "),
            ("select a from t where a", " in (select a from t where a"),
            ("with x as (", "with x as ("),
            ("create table t (a ", "array("),
            ("select cast(a as ", "array("),
            ("select x -> ", "y -> "),
            ("select ", "prior "),
            ("select exists ", "(select exists "),
        ] {
            let sql = filled(before, repeat, "");
            let started = Instant::now();
            let line = facts(&sql);
            assert!(line.starts_with("opaque"), "{before}{repeat}…: {line:.100}");
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "{before}{repeat}… took {:?}",
                started.elapsed()
            );
        }
    });
}

#[test]
fn the_deepest_statements_let_through_are_read_on_a_small_stack() {
    on_a_small_stack(|| {
        for n in [10, 50, 59, 500, 900, 1400, 2900] {
            for (before, open, middle, close) in [
                ("select ", "(", "1", ")"),
                ("select ", "abs(", "1", ")"),
                ("select ", "[", "1", "]"),
                ("select ", "{'a':", "1", "}"),
                ("select ", "case when a then ", "1", " end"),
                ("select * from ", "(", "t", ")"),
                ("select * from ", "(select * from ", "t", ")"),
                ("select a from t where ", "a in (select a from t where ", "a", ")"),
                ("select ", "transform(a, x -> ", "1", ")"),
                ("select 1", "+1", "", ""),
                ("select a", "::int", "", ""),
                ("select a", ":b", "", ""),
                ("select a", "[0]", "", ""),
                ("select 1", " union all select 1", "", ""),
                ("select * from t", " join t on 1=1", "", ""),
                ("select ", "not ", "a", ""),
                ("select ", "- ", "a", ""),
                ("select cast(1 as ", "array(", "int", ")"),
                ("select f", "(1)", "", ""),
                ("select * from t", " pivot (max(a) for b in (1, 2))", "", ""),
            ] {
                let sql = format!("{before}{}{middle}{}", open.repeat(n), close.repeat(n));
                let started = Instant::now();
                let _line = facts(&sql);
                assert!(started.elapsed() < Duration::from_secs(5), "{n} × {open}: {:?}", started.elapsed());
            }
        }
    });
}

#[test]
fn what_costs_the_parser_far_more_than_its_length_is_over_at_once() {
    on_a_small_stack(|| {
        for (before, repeat, after) in [
            // Read by recursion, with a large frame for each.
            ("select * from t", " join t", ""),
            ("select * from ", "(t join t join ", "]"),
            ("delete from t ", "join window ", "not between"),
            ("select * from t ", "join natural ", ""),
            ("select * from t ", "join using ", ""),
            ("explain ", "while ", ""),
            ("create procedure p() as ", "begin ", "] end"),
            ("create or replace procedure p() as ", "while ", "]"),
            ("create trigger x before insert on t ", "begin ", ""),
            ("", "explain ", "on ("),
            ("explain ", "begin ", "exists"),
            ("explain create procedure p() as ", "describe ", "1"),
            // Read twice at each level.
            ("select ", "position(", "1"),
            ("set a = ", "position(", "]"),
            ("select a from t order by ", "(a, b) -> ", "between similar"),
            ("select f(", "(a, b) -> ", "]"),
            ("select a from t where b ", "in (merge ", "with a as ( describe"),
            ("insert into t ", "(select not in ", "1 ))))"),
        ] {
            for n in [24, 40, 58, 120, 230, 900, 2900] {
                let sql = format!("{before}{}{after}", repeat.repeat(n));
                let started = Instant::now();
                let line = facts(&sql);
                assert!(
                    started.elapsed() < Duration::from_secs(2),
                    "{n} × {repeat}: {:?} for {line:.100}",
                    started.elapsed()
                );
            }
        }
    });
}

#[test]
fn as_much_of_it_as_people_write_is_read() {
    let joins = " join t on 1=1".repeat(100) + &" natural join t".repeat(50) + &" cross join t".repeat(50);
    for (sql, expected) in [
        (format!("select * from t{joins}"), "SELECT read:ANALYTICS.PUBLIC.T"),
        ("select * from t join t join t on 1=1 on 1=1".to_owned(), "SELECT read:ANALYTICS.PUBLIC.T"),
        (format!("select 1{}", ", position(a, position('b', c))".repeat(50)), "SELECT"),
        (format!("select 1{}", ", transform(a, x -> filter(x, y -> y > 1))".repeat(50)), "SELECT"),
        ("explain select a from t".to_owned(), "EXPLAIN read:ANALYTICS.PUBLIC.T"),
        ("create table t (begin date, function int)".to_owned(), "CREATE create:ANALYTICS.PUBLIC.T"),
    ] {
        assert_eq!(facts(&sql), expected, "{sql:.80}");
    }
}

#[test]
fn long_and_flat_statements_are_read() {
    on_a_small_stack(|| {
        for (sql, expected) in [
            (filled("select * from t where a in (1", ",1", ")"), "SELECT read:ANALYTICS.PUBLIC.T"),
            (filled("insert into t values (1, 'x')", ", (null, -1)", ""), "INSERT write:ANALYTICS.PUBLIC.T"),
            (filled("select a", ", b + 1 as c", " from t"), "SELECT read:ANALYTICS.PUBLIC.T"),
        ] {
            let started = Instant::now();
            assert_eq!(facts(&sql), expected);
            assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        }
    });
}

#[test]
fn many_ctes_cost_no_more_than_their_number() {
    on_a_small_stack(|| {
        let ctes: Vec<String> = (0..10_000).map(|i| format!("c{i} as (select 1 a from t)")).collect();
        let started = Instant::now();
        let line = facts(&format!("with {} select * from c1", ctes.join(", ")));
        assert_eq!(line, "SELECT read:ANALYTICS.PUBLIC.T");
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    });
}

#[test]
fn any_cut_of_a_statement_gives_an_answer() {
    let sql = "with x as (select a, b:c::string, $1 from d.s.t at (offset => -1) where e like '%''x' and f in (1, 2)) \
               select case when a then b else c end, \"q\"\"r\", $$ s $$, f(*) over (order by a) /* c */ from x -- d\n \
               union all select * from table(flatten(input => [1, {'k': 2}])) ; merge into t using u on 1=1";
    for end in (0..=sql.len()).filter(|end| sql.is_char_boundary(*end)) {
        for start in [0, end / 2] {
            let part = sql.get(start..end).unwrap();
            let _facts = analyze(&SqlText::new(part).unwrap(), &session(), &crate::Catalog::default());
        }
    }
}

#[test]
fn much_of_a_block_or_a_chain_is_over_soon() {
    on_a_small_stack(|| {
        for (before, repeat) in [
            ("", "select 1;"),
            ("begin ", "else "),
            ("begin ", "if (a) then "),
            ("begin ", "case when a then "),
            ("begin ", "case a "),
            ("begin ", "for x in y do "),
            ("begin ", "begin "),
            ("begin ", "end "),
            ("begin ", "declare x int; begin "),
            ("begin ", "let x := (select "),
            ("begin ", "let x := select 1; "),
            ("begin ", "x := (execute immediate 'a'); "),
            ("", "create task x as "),
            ("", "create procedure p() as begin "),
            ("", "create procedure p() as begin; "),
            ("", "create alert a if (a) then "),
            ("select 1", " ->> select 1"),
            ("select 1 ?? ", "with a as (select 1), b as (select 1) "),
            ("select ?? from ", "a, "),
            ("select ?? from ", "(a join "),
            ("select ?? from ", "table(a), "),
            ("select ?? from ", "f(a), "),
            ("select ?? from ", "@s/a, "),
            ("select ", "identifier('a'), "),
            ("select ", "{* "),
            ("select * from t ", "match_recognize( pattern ( "),
            ("select * from t match_recognize(", "after match "),
            ("select a ", "into :x, "),
            ("", "execute immediate 'select 1'; "),
            ("execute immediate '", "execute immediate "),
            ("", "set v = 'select 1'; execute immediate $v; "),
            ("grant select on ", "t, "),
            ("drop table ", "t, "),
            ("alter table t set tag ", "a = 'b', "),
            ("create view v ", "row access policy p "),
            ("create view v ", "with tag "),
            ("create table t as ", "select ?? from "),
            ("copy into @s from (", "select * from t, "),
            ("show tables ", "in schema "),
            ("create database d ", "clone "),
            ("use ", "a."),
            ("select ?? from ", "a."),
            ("call p(", "a => "),
            ("create ", "or replace "),
            ("explain ", "using "),
            ("put file:///", "x "),
            ("", "/* */ "),
            ("", "-- \n"),
            ("", "$$ $$ "),
        ] {
            let sql = format!("{before}{}", repeat.repeat(MUCH_BYTES / repeat.len()));
            let started = Instant::now();
            let line = facts(&sql);
            assert!(
                started.elapsed() < Duration::from_secs(15),
                "{before}{repeat}… took {:?}: {line:.100}",
                started.elapsed()
            );
        }
    });
}
