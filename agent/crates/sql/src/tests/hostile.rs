//! Texts that are made to be read in two ways, or to hide a table.

use super::{facts, facts_in, session};

#[test]
fn no_table_hides() {
    let mut hidden = Vec::new();
    for sql in [
        "select a ?? b from x, secret",
        "select a ?? b from x where, secret",
        "select a ?? b from x limit, secret",
        "select a ?? b from x window, secret",
        "select a ?? b from x qualify_, secret",
        "select a ?? b from x as y, secret as z",
        "select a ?? b from (x), (secret)",
        "select a ?? b from ((secret))",
        "select a ?? b from (x join (secret) on 1=1)",
        "select a ?? b from x/**/,/**/secret",
        "select a ?? b from x--\n,secret",
        "select a ?? b from x // , y\n, secret",
        "select a ?? (select c from secret) from x",
        "select a ?? b from x where c in (select d from secret)",
        "with secret as (select * from secret) select a ?? b from secret",
        "with a as (select * from secret), secret as (select 1) select a ?? b from a",
        "select * from (with secret as (select 1 x) select ?? from secret) q, secret",
        "select a ?? b from x union all select c from secret",
        "select a ?? b from x left join lateral (select * from secret) y",
        "select a ?? b from table('secret')",
        "select a ?? b from table($$secret$$)",
        "select a ?? b from identifier('secret')",
        "select a ?? b from identifier('analytics.public.secret')",
        "select a ?? b from identifier('\"SECRET\"')",
        "select a ?? b from analytics..secret",
        "select a ?? b from \"SECRET\"",
        "select a ?? b from x tag (y), secret",
        "select a ?? b from x at (offset => -1), secret",
        "select a ?? b from x tablesample (1), secret",
        "select a ?? b from x pivot (max(c) for d in ('e')), secret",
        "select a ?? b from x match_recognize (pattern (y) define y as 1), secret",
        "select a ?? b from @s, secret",
        "select a ?? b from @s/x/y.csv, secret",
        "select a ?? b from values (1), secret",
        "select a ?? b from f(1), secret",
        "select a ?? b from x use index, secret",
        "create table t as select a ?? b from secret",
        "create view v with tag (secret = 'x') as select a ?? b from secret",
        "create dynamic table t target_lag = '1 minute' warehouse = w as select * from secret",
        "create materialized view v cluster by (a) as select * from x, secret",
        "create stream st on table secret",
        "create table t like secret",
        "create table t clone secret before (offset => -1)",
        "create task k as select * from secret",
        "create task k as begin select 1; if (exists (select 1 from secret)) then return 1; end if; end",
        "create cortex search service c on a warehouse = w as select a from secret",
        "create function f() returns table (a int) as begin return table(select * from secret); end",
        "create alert a if (exists (select 1 from secret)) then call p()",
        "begin let x := (select max(a) from secret); end",
        "begin return (select max(a) from secret); end",
        "begin let c cursor for select a from secret; end",
        "declare x int default (select 1 from secret); begin return 1; end",
        "begin for r in (select a from secret) do return 1; end for; end",
        "begin while ((select count(*) from secret) > 1) do break; end while; end",
        "begin case (select 1 from secret) when 1 then return 1; end case; end",
        "begin repeat select 1; until ((select 1 from secret) = 1) end repeat; end",
        "begin select 1; exception when other then select * from secret; end",
        "begin end; select * from secret",
        "begin begin select 1; end; end; select * from secret",
        "begin async (select * from secret); end",
        "begin res := (execute immediate 'select * from secret'); end",
        "begin let r resultset := (execute immediate $$select * from secret$$); end",
        "execute immediate 'begin execute immediate ''select * from secret''; end'",
        "execute immediate 'select 1; select * from secret'",
        "execute immediate 'select \\'a\\'; select * from secret'",
        "set v = 'secret'; select * from identifier($v)",
        "set v = 'select * from secret'; execute immediate $v",
        "select 1 ->> select * from secret",
        "show tables ->> select * from $1, secret",
        "insert into x select ?? from secret",
        "update x set a ?? b from secret",
        "delete from x using secret where a ?? b",
        "merge into x using secret on a ?? b when matched then delete",
        "merge into x using (select * from secret) y on a ?? b when matched then delete",
        "copy into @s from (select * from secret)",
        "copy into @s from secret",
        "copy into 's3://x' from (select ?? from y, secret)",
        "explain select a ?? b from secret",
        "call p((select max(a) from secret))",
        "describe table secret",
        "select * from semantic_view(secret metrics m)",
        "select a ?? b from semantic_view(secret metrics m)",
        "alter table x swap with secret",
        "alter table secret rename to x",
        "select {* exclude (a)} from secret",
        "select date_part(year from (select max(d) from secret))",
        "select m!predict((select a from secret))",
        "select array_construct(1)::array(int), a from secret",
        "select cast((select a from secret) as array(int))",
    ] {
        let line = facts(sql);
        if !line.contains("ANALYTICS.PUBLIC.SECRET") {
            hidden.push(format!("{sql}: {line}"));
        }
    }
    assert!(hidden.is_empty(), "{}", hidden.join("\n"));
}

#[test]
fn what_cannot_be_told_is_said() {
    for sql in [
        "select * from identifier($v)",
        "select * from identifier(:v)",
        "select a ?? b from identifier($v)",
        "select a ?? b from identifier('a' || 'b')",
        "select a ?? b from table($v)",
        "select a ?? b from table(:v)",
        "select a ?? b from ?",
        "select a ?? b from :x",
        "select a ?? b from $1",
        "select a ?? b from 1a",
        "select a ?? b from a.b.c.d",
        "select a ?? b from x.1y",
        "select a ?? b from '@s/x'",
        "set v = 'a' || 'b'; select * from identifier($v)",
        "set v = (select 't'); select * from identifier($v)",
        "set v = 't'; set v = $w; select * from identifier($v)",
        "set v = 't'; unset v; select * from identifier($v)",
        "set (v, w) = ('t', 'u' || 'x'); select * from identifier($v)",
        "set (v, w) = ('t'); select * from identifier($v)",
        "set v = 't'; call p(); select * from identifier($v)",
        "set v = 't'; execute immediate 'set v = ''u'''; select * from identifier($v)",
        "set v = 't'; begin set v = 'u'; end; select * from identifier($v)",
        "execute immediate 'drop ' || 'table t'",
        "execute immediate 'select 1' || $v",
        "execute immediate '\\x41'",
        "begin execute immediate q; end",
        "begin let q := 'drop table t'; execute immediate :q; end",
        "execute immediate 'execute immediate ''execute immediate ''''execute immediate ''''''''execute immediate \
         ''''''''''''''''select 1'''''''''''''''' '''''''' '''' '' '",
    ] {
        let line = facts(sql);
        assert!(line.contains("elsewhere:") || line.starts_with("opaque"), "{sql}: {line}");
    }
}

#[test]
fn characters_that_are_no_names_are_refused() {
    for sql in [
        "select a ?? b from té",
        "select a ?? b from é.t",
        "select 1 from t\u{200b}x ??",
        "select a from t é, secret",
    ] {
        assert!(facts(sql).starts_with("opaque"), "{sql}: {}", facts(sql));
    }
}

#[test]
fn names_that_a_statement_leaves_are_not_taken_for_those_before() {
    for (sql, expected) in [
        (
            "begin use schema s; select * from t; end; select * from t",
            "SCRIPT; USE; SELECT read?:ANALYTICS.PUBLIC.T read:ANALYTICS.S.T; SELECT read:?.?.T",
        ),
        ("execute immediate 'use schema s'; select * from t", "EXECUTE_IMMEDIATE; USE; SELECT read:?.?.T"),
        (
            "create procedure d.s.p() as begin use schema x; delete from t; end; delete from t",
            "CREATE create:D.S; SCRIPT; USE; DELETE write:D.X.T; DELETE write:ANALYTICS.PUBLIC.T",
        ),
        (
            "create procedure p() execute as caller as begin delete from t; end",
            "CREATE create:ANALYTICS.PUBLIC; SCRIPT; DELETE write:?.?.T",
        ),
        ("execute immediate 'select 1'; select * from t", "SELECT read:ANALYTICS.PUBLIC.T"),
        ("use identifier($x); select * from t", "SELECT read:?.?.T"),
        ("set (v, w) = ('t', 'u'); select * from identifier($w)", "SELECT read:ANALYTICS.PUBLIC.U"),
    ] {
        let line = facts(sql);
        assert!(line.ends_with(expected), "{sql}: {line}");
    }
}

#[test]
fn long_names_are_kept_whole() {
    let name = "n".repeat(100_000);
    let line = facts_in(&format!("select ?? from {name}"), &session());
    assert!(line.contains(&name.to_uppercase()));
}
