//! What the parser does not know: surveyed statements, blocks, texts within texts, chains.

use model::SqlText;

use super::{check, objects, session};
use crate::analyze;

#[test]
fn what_is_not_parsed_is_surveyed() {
    check(&[
        ("select * from t where", "SELECT read:#T partial"),
        ("select 1 +\n  , 2 from t, u", "SELECT read:#T read:ANALYTICS.PUBLIC.U partial"),
        ("select * from t )", "SELECT read:#T partial"),
        ("select * from (table t)", "SELECT read:#T partial"),
        ("select 1 union table t", "SELECT read:#T partial"),
        ("select * from a.b.c.d", "SELECT elsewhere:Identifier partial"),
        ("alter table t modify column a set masking policy p", "ALTER read:#T alter:#T moves"),
        ("copy into t from @s validation_mode = return_errors", "COPY_LOAD write:#T elsewhere:Stage"),
        ("copy into t from (select * from u)", "COPY_LOAD write:#T read:ANALYTICS.PUBLIC.U moves partial"),
        ("select {*}, {t.*} from t", "SELECT read:#T"),
        (
            "with x as (select * from u) select a ?? b from x, t",
            "SELECT read:#T read:ANALYTICS.PUBLIC.U partial",
        ),
        (
            "with x as (select * from y), y as (select 1) select a ?? b from x, y",
            "SELECT read:ANALYTICS.PUBLIC.X read:ANALYTICS.PUBLIC.Y partial",
        ),
        (
            "select a ?? b from (t join u on 1=1), lateral f(t.a), table(g(1)) where c in (select d from v)",
            "SELECT read:ANALYTICS.PUBLIC.F read:ANALYTICS.PUBLIC.G read:#T read:ANALYTICS.PUBLIC.U read:ANALYTICS.PUBLIC.V elsewhere:TableFunction(\"F\") elsewhere:TableFunction(\"G\") partial",
        ),
        (
            "select a ?? my_udf(b) from t where, u",
            "SELECT read:#T read:ANALYTICS.PUBLIC.U calls:MY_UDF partial",
        ),
        (
            "delete from t using u, v where a ?? b",
            "DELETE write:#T read:ANALYTICS.PUBLIC.U read:ANALYTICS.PUBLIC.V moves partial",
        ),
        (
            "merge into t using (select * from u) x on a ?? b when matched then update set t.a = x.b",
            "MERGE read:#T write:#T read:ANALYTICS.PUBLIC.U moves partial",
        ),
        ("insert into t (a, b) select ?? from u", "INSERT write:#T read:ANALYTICS.PUBLIC.U moves partial"),
        (
            "update t set a ?? b from u where c in (select 1 from w)",
            "UPDATE read:#T write:#T read:ANALYTICS.PUBLIC.U read:ANALYTICS.PUBLIC.W moves partial",
        ),
    ]);
}

#[test]
fn blocks_are_read_inside() {
    check(&[
        ("begin select 1; end", "SCRIPT; SELECT"),
        ("begin let x := 1; return x; end;", "SCRIPT"),
        ("declare x int; begin return 1; end; drop table t", "SCRIPT; DROP drop:#T"),
        (
            "begin if (exists (select 1 from u)) then delete from t; else insert into t values (1); end if; end",
            "SCRIPT; SELECT read:ANALYTICS.PUBLIC.U; DELETE write:#T; INSERT write:#T",
        ),
        (
            "declare c cursor for select a from u; begin for r in c do update t set a = 1; end for; return 1; end",
            "SCRIPT; SELECT read:ANALYTICS.PUBLIC.U; UPDATE write:#T",
        ),
        (
            "begin let r resultset := (select * from u); return table(r); exception when other then drop table t; end",
            "SCRIPT; SELECT read:ANALYTICS.PUBLIC.U; DROP drop:#T",
        ),
        ("begin execute immediate :q; end", "SCRIPT; DYNAMIC elsewhere:DynamicSql"),
        (
            "begin let r resultset := (execute immediate 'select * from t'); end",
            "SCRIPT; EXECUTE_IMMEDIATE; SELECT read:#T",
        ),
        (
            "begin case when 1 = 1 then truncate table t; end case; while (true) do call p(); end while; end; select 1",
            "SCRIPT; TRUNCATE write:#T; CALL calls:p; SELECT",
        ),
        (
            "create procedure p() returns int language sql as begin delete from t; return 1; end",
            "CREATE create:ANALYTICS.PUBLIC; SCRIPT; DELETE write:#T",
        ),
        (
            "create task x schedule = '1 minute' as insert into t select * from u",
            "CREATE create:ANALYTICS.PUBLIC; INSERT write:#T read:ANALYTICS.PUBLIC.U moves",
        ),
        (
            "create task x as begin delete from t; delete from u; end; drop table v",
            "CREATE create:ANALYTICS.PUBLIC; SCRIPT; DELETE write:#T; DELETE write:ANALYTICS.PUBLIC.U; DROP drop:ANALYTICS.PUBLIC.V",
        ),
        (
            "create alert a if (exists (select 1 from u)) then delete from t",
            "CREATE read:ANALYTICS.PUBLIC.U create:ANALYTICS.PUBLIC moves partial; DELETE write:#T",
        ),
        ("begin select a into :x from t; end", "SCRIPT; SELECT read:#T"),
    ]);
}

#[test]
fn texts_that_are_run_are_read() {
    check(&[
        ("execute immediate 'drop table t'", "EXECUTE_IMMEDIATE; DROP drop:#T"),
        (
            "execute immediate $$ begin drop table t; select * from u; end $$",
            "EXECUTE_IMMEDIATE; SCRIPT; DROP drop:#T; SELECT read:ANALYTICS.PUBLIC.U",
        ),
        ("set q = 'drop table t'; execute immediate $q", "SET; EXECUTE_IMMEDIATE; DROP drop:#T"),
        (
            "execute immediate 'execute immediate ''drop table t'''",
            "EXECUTE_IMMEDIATE; EXECUTE_IMMEDIATE; DROP drop:#T",
        ),
        ("execute immediate 'select ?' using (x)", "EXECUTE_IMMEDIATE; SELECT"),
        ("set n = 'd.s.t'; select * from identifier($n)", "SET; SELECT read:D.S.T"),
        (
            "set n = 't'; select * from table($n); unset n; select * from table($n)",
            "SET; SELECT read:#T; SET; SELECT elsewhere:TableFunction(\"TABLE(…)\")",
        ),
        (
            "insert into identifier('s.t') select * from table('u')",
            "INSERT read:ANALYTICS.PUBLIC.U write:ANALYTICS.S.T moves",
        ),
        ("drop table identifier('t')", "DROP drop:#T"),
    ]);
}

#[test]
fn chains_are_read() {
    check(&[
        (
            "select * from t ->> select a from $1 where a in (select b from u)",
            "SELECT read:#T; SELECT read:ANALYTICS.PUBLIC.U",
        ),
        ("show tables ->> select * from $1", "SHOW; SELECT"),
        ("select * from t ->> select * from $2", "SELECT read:#T; SELECT elsewhere:Identifier partial"),
    ]);
    // Whatever stands before the first operator, one statement of a chain is answered.
    for (sql, answers) in [("->> select 1", 1), ("select 2; ->> select 1 ->> ->> select 3", 2)] {
        let facts = analyze(&SqlText::new(sql).unwrap(), &session(), &crate::Catalog::default());
        assert_eq!(facts.answers(), answers, "{sql}");
    }
}

#[test]
fn objects_and_effects() {
    let mut wrong = Vec::new();
    for (sql, expected) in [
        ("copy into @s/x from t", "stage:write:ANALYTICS.PUBLIC.S !unload-stage"),
        (
            "copy into 's3://b/x' from t credentials = (aws_key_id = 'a' aws_secret_key = 'b')",
            "!unload-url !credential-in-text",
        ),
        (
            "copy into t from @d.s.st/p file_format = (format_name = ff)",
            "stage:read:D.S.ST file-format:read:ANALYTICS.PUBLIC.FF",
        ),
        (
            "copy files into @a from @b",
            "stage:write:ANALYTICS.PUBLIC.A stage:read:ANALYTICS.PUBLIC.B !unload-stage",
        ),
        ("put file:///tmp/x @d.s.st", "stage:write:D.S.ST"),
        ("get @st/x file:///tmp/", "stage:read:ANALYTICS.PUBLIC.ST"),
        ("select $1 from @st/x", "stage:read:ANALYTICS.PUBLIC.ST"),
        (
            "create user u password = 'x' default_role = r",
            "user:create:U role:read:R !credential-in-text !mints-credential",
        ),
        ("alter user u add programmatic access token x", "user:alter:U !mints-credential"),
        ("alter user u set rsa_public_key = 'x'", "user:alter:U !mints-credential"),
        (
            "create secret s type = password username = 'a' password = 'b'",
            "secret:create:ANALYTICS.PUBLIC.S !credential-in-text !mints-credential",
        ),
        (
            "create stage st url = 's3://x' storage_integration = i",
            "stage:create:ANALYTICS.PUBLIC.ST integration:read:I !external-access",
        ),
        (
            "create network policy p allowed_network_rule_list = ('d.s.r')",
            "network-policy:create:P network-rule:read:D.S.R !policy-change",
        ),
        (
            "create masking policy p as (v string) returns string -> v",
            "policy:create:ANALYTICS.PUBLIC.P !policy-change",
        ),
        ("alter table t modify column a set masking policy d.s.p", "policy:read:D.S.P !policy-change"),
        (
            "alter table t set tag x.y = 'z', w = 'v'",
            "tag:read:ANALYTICS.X.Y tag:read:ANALYTICS.PUBLIC.W !tag-change",
        ),
        ("create share sh", "share:create:SH !share"),
        ("alter share sh add accounts = a.b", "share:alter:SH !share"),
        ("grant select on table t to share sh", "share:grant:SH !share !grant"),
        ("grant role a to user b", "role:grant:A user:grant:B !grant"),
        ("grant usage on integration i to role r", "integration:grant:I role:grant:R !grant"),
        ("create table t clone u at (offset => -60)", "!time-travel !clone"),
        ("select * from t before (statement => 'x')", "!time-travel"),
        ("select * from table(result_scan('x'))", "!result-scan"),
        ("select get_presigned_url(@st, 'x')", "stage:read:ANALYTICS.PUBLIC.ST !mints-credential"),
        ("create database d from share a.b", "share:read:B !share"),
        (
            "create dynamic table dt target_lag = '1 minute' warehouse = w as select * from u",
            "warehouse:read:W",
        ),
        ("alter warehouse w resume", "warehouse:alter:W"),
        ("drop role r", "role:drop:R !grant"),
        ("execute task d.s.x", "task:call:D.S.X"),
        (
            "create external function f(a int) returns int api_integration = i as 'https://x'",
            "function:create:ANALYTICS.PUBLIC.F integration:read:I !external-access",
        ),
        (
            "create function f() returns int language python external_access_integrations = (i, j) secrets = ('a' = s) as 'x'",
            "function:create:ANALYTICS.PUBLIC.F integration:read:I integration:read:J secret:read:ANALYTICS.PUBLIC.S !external-access",
        ),
        ("describe stage st", "stage:read:ANALYTICS.PUBLIC.ST"),
        ("execute immediate :x", "!dynamic"),
        ("show grants to role r", "role:read:R"),
    ] {
        if objects(sql) != expected {
            wrong.push(format!("{sql}\n  is       {}\n  expected {expected}", objects(sql)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
