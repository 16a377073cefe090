//! One door: SQL in, a line of facts out. The session is `ANALYTICS.PUBLIC` unless a test says otherwise.

use std::fmt::Write as _;

use model::{Ident, SqlText, TableName};

use crate::{Catalog, Container, Outputs, Parse, SessionNames, Sources, Statement, Table, analyze};

mod bodies;
mod classes;
mod hostile;
mod lineage;
mod mentioned;
mod outputs;
mod partial;
mod refused;
mod totality;

pub(super) fn session() -> SessionNames {
    SessionNames {
        database: Some(Ident::unquoted("ANALYTICS")),
        schema: Some(Ident::unquoted("PUBLIC")),
        fold_quoted: false,
        number: Some(7),
        ..SessionNames::default()
    }
}

/// Facts as one line: action, then each table and container with its access, then what is reached beside them.
pub(super) fn facts_in(sql: &str, session: &SessionNames) -> String {
    let facts = analyze(&SqlText::new(sql).unwrap(), session, &Catalog::default());
    match facts.statements() {
        Ok(statements) => statements.iter().map(line).collect::<Vec<_>>().join("; "),
        Err(opaque) => format!("opaque: {opaque}"),
    }
}

fn line(statement: &Statement) -> String {
    let mut line = statement.class.action().to_owned();
    for table in &statement.tables {
        let fallback = if table.fallback { "?" } else { "" };
        write!(line, " {}{fallback}:{}", table.access.as_str(), table.table).unwrap();
    }
    for used in &statement.containers {
        let name = match &used.container {
            Container::Database(database) => database.to_string(),
            Container::Schema { database, schema } => {
                let part = |p: &Option<Ident>| p.as_ref().map_or("?".to_owned(), ToString::to_string);
                format!("{}.{}", part(database), part(schema))
            }
        };
        write!(line, " {}:{name}", used.access.as_str()).unwrap();
    }
    for function in &statement.functions {
        write!(line, " calls:{function}").unwrap();
    }
    for elsewhere in &statement.elsewhere {
        write!(line, " elsewhere:{elsewhere:?}").unwrap();
    }
    if statement.moves_data {
        line.push_str(" moves");
    }
    if statement.parse == Parse::Partial {
        line.push_str(" partial");
    }
    line
}

/// Objects that are no tables, and effects, as one line.
pub(super) fn objects(sql: &str) -> String {
    let facts = analyze(&SqlText::new(sql).unwrap(), &session(), &Catalog::default());
    let statements = facts.statements().unwrap_or_else(|o| panic!("{sql}: {o}"));
    let of = |statement: &Statement| {
        let objects = statement.objects.iter();
        let objects =
            objects.map(|used| format!("{}:{}:{}", used.kind, used.access.as_str(), used.full_name()));
        let effects = statement.effects.iter().map(|effect| format!("!{}", effect.as_str()));
        objects.chain(effects).collect::<Vec<_>>().join(" ")
    };
    statements.iter().map(of).collect::<Vec<_>>().join("; ")
}

pub(super) fn facts(sql: &str) -> String {
    facts_in(sql, &session())
}

/// Outputs as one line.
pub(super) fn outputs(sql: &str) -> String {
    let facts = analyze(&SqlText::new(sql).unwrap(), &session(), &Catalog::default());
    let statements = facts.statements().unwrap_or_else(|o| panic!("{sql}: {o}"));
    match &statements.first().unwrap().outputs {
        Outputs::Unknown(_) => "unknown".to_owned(),
        Outputs::Known(outputs) => {
            let list = |names: Vec<String>| names.join("|").replace("ANALYTICS.PUBLIC.", "");
            let columns = |c: &[model::ColumnName]| list(c.iter().map(ToString::to_string).collect());
            let show = |output: &crate::Output| match &output.sources {
                Sources::Nothing => "-".to_owned(),
                Sources::Column(c) => columns(c),
                Sources::Derived(c) => format!("f({})", columns(c)),
                Sources::Wildcard(t) => format!("*({})", list(t.iter().map(ToString::to_string).collect())),
                Sources::Within { columns: c, tables: t } => {
                    let tables = t.iter().map(|t| format!("{t}.*"));
                    list(c.iter().map(ToString::to_string).chain(tables).collect())
                }
                Sources::Unknown => "?".to_owned(),
            };
            outputs.iter().map(show).collect::<Vec<_>>().join(", ")
        }
    }
}

const T: &str = "ANALYTICS.PUBLIC.T";

fn sorted(line: &str) -> Vec<&str> {
    let mut words: Vec<&str> = line.split(' ').collect();
    words.sort_unstable();
    words
}

fn check(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(sql, expected)| sorted(&facts(sql)) != sorted(&expected.replace("#T", T)))
        .map(|(sql, expected)| {
            format!("{sql}\n  is       {}\n  expected {expected}", facts(sql).replace(T, "#T"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn queries_list_every_table() {
    check(&[
        ("select 1", "SELECT"),
        ("values (1), (2)", "SELECT"),
        ("SELECT * FROM t", "SELECT read:#T"),
        ("-- hello\n /* there */ // now\n ( select * from t ) ;", "SELECT read:#T"),
        (
            "select * from t, s.u u2 join d.s.v v on u2.a = v.a",
            "SELECT read:#T read:ANALYTICS.S.U read:D.S.V",
        ),
        ("select * from d..t", "SELECT read:D.PUBLIC.T"),
        ("select * from \"t\"", "SELECT read:ANALYTICS.PUBLIC.t"),
        ("select * from (select * from t) x", "SELECT read:#T"),
        ("select a from t union all select b from u", "SELECT read:#T read:ANALYTICS.PUBLIC.U"),
        (
            "select (select max(x) from u) from t where a in (select b from v)",
            "SELECT read:#T read:ANALYTICS.PUBLIC.U read:ANALYTICS.PUBLIC.V",
        ),
        ("select * from t where exists (select 1 from u)", "SELECT read:#T read:ANALYTICS.PUBLIC.U"),
        (
            "select a from t qualify row_number() over (partition by a order by (select 1 from u)) = 1",
            "SELECT read:#T read:ANALYTICS.PUBLIC.U",
        ),
        ("select f.value from t, lateral flatten(input => t.v) f", "SELECT read:#T"),
        ("select * from table(generator(rowcount => 3))", "SELECT"),
        (
            "select * from t pivot (sum(a) for b in (select b from u))",
            "SELECT read:#T read:ANALYTICS.PUBLIC.U",
        ),
        ("select * from t at (offset => -60)", "SELECT read:#T"),
    ]);
}

#[test]
fn a_cte_hides_a_table_only_where_it_is_in_scope() {
    check(&[
        ("with x as (select * from t) select * from x", "SELECT read:#T"),
        ("with t as (select * from t) select * from t", "SELECT read:#T"),
        ("with t as (select 1 a) select * from t", "SELECT"),
        ("with \"t\" as (select 1 a) select * from t", "SELECT read:#T"),
        ("with t as (select 1 a) select * from public.t", "SELECT read:#T"),
        ("with x as (select * from t), t as (select 1 a) select * from x, t", "SELECT read:#T"),
        ("select * from (with t as (select 1 a) select * from t) q, t", "SELECT read:#T"),
        ("with t as (select 1 a) select * from (select * from t)", "SELECT"),
        ("with a as (with t as (select 1 x) select * from t) select * from a, t", "SELECT read:#T"),
        (
            "with recursive r as (select 1 n union all select n + 1 from r where n < 3) select * from r",
            "SELECT read:ANALYTICS.PUBLIC.R",
        ),
        ("insert into t with t as (select 1 a) select * from t", "INSERT write:#T"),
    ]);
}

#[test]
fn an_unqualified_name_is_looked_for_in_public_too() {
    let staging = SessionNames { schema: Some(Ident::unquoted("STAGING")), ..session() };
    let facts = |sql| facts_in(sql, &staging);
    assert_eq!(facts("select * from t"), "SELECT read?:ANALYTICS.PUBLIC.T read:ANALYTICS.STAGING.T");
    assert_eq!(facts("select * from staging.t"), "SELECT read:ANALYTICS.STAGING.T");
    assert_eq!(facts("drop table t"), "DROP drop:ANALYTICS.STAGING.T");
    assert_eq!(facts("delete from t"), "DELETE write:ANALYTICS.STAGING.T");
    let nowhere = SessionNames::default();
    assert_eq!(facts_in("select * from t", &nowhere), "SELECT read:?.?.T");
    assert_eq!(facts_in("select * from s.t", &nowhere), "SELECT read:?.S.T");
    let folding = SessionNames { fold_quoted: true, ..session() };
    assert_eq!(facts_in("select * from \"t\"", &folding), "SELECT read:ANALYTICS.PUBLIC.T");
}

#[test]
fn rows_that_are_changed() {
    check(&[
        ("insert into t (a) values (1)", "INSERT write:#T"),
        ("insert into t select * from u", "INSERT read:ANALYTICS.PUBLIC.U write:#T moves"),
        ("insert into t select * from t", "INSERT read:#T write:#T moves"),
        ("insert overwrite into t select 1", "INSERT write:#T"),
        (
            "insert all into t into s.u select * from v",
            "INSERT read:ANALYTICS.PUBLIC.V write:#T write:ANALYTICS.S.U moves",
        ),
        (
            "insert first when a > 1 then into t else into w select a from v",
            "INSERT read:ANALYTICS.PUBLIC.V write:#T write:ANALYTICS.PUBLIC.W moves",
        ),
        ("update t set a = 1 where b = 2", "UPDATE write:#T"),
        ("update t set a = b", "UPDATE read:#T write:#T moves"),
        ("update t set a = (select max(x) from u)", "UPDATE read:#T read:ANALYTICS.PUBLIC.U write:#T moves"),
        ("update t set a = 1 from u where t.id = u.id", "UPDATE read:ANALYTICS.PUBLIC.U write:#T"),
        ("delete from t where a in (select a from u)", "DELETE read:ANALYTICS.PUBLIC.U write:#T"),
        ("delete from t using u where t.a = u.a", "DELETE read:ANALYTICS.PUBLIC.U write:#T"),
        (
            "merge into t using u on t.a = u.a when matched then update set t.b = u.b",
            "MERGE read:#T read:ANALYTICS.PUBLIC.U write:#T moves",
        ),
        ("truncate table if exists t", "TRUNCATE write:#T"),
        ("copy into t from @stage/x file_format = (type = csv)", "COPY_LOAD write:#T"),
        ("copy into @~/x from t", "COPY_UNLOAD read:#T moves"),
        ("copy into '@~/x' from t", "COPY_UNLOAD read:#T moves"),
        ("copy into 's3://b/x' from (select * from t)", "COPY_UNLOAD read:#T moves"),
    ]);
}

#[test]
fn what_exists_is_changed() {
    check(&[
        ("create table t (a int)", "CREATE create:#T"),
        (
            "create or replace temporary table t as select * from u",
            "CREATE create:#T read:ANALYTICS.PUBLIC.U moves",
        ),
        ("create or replace table t as select * from t", "CREATE read:#T create:#T moves"),
        ("create table t clone s.u", "CREATE create:#T read:ANALYTICS.S.U moves"),
        ("create table t like u", "CREATE create:#T read:ANALYTICS.PUBLIC.U"),
        ("create view t as select * from u", "CREATE create:#T read:ANALYTICS.PUBLIC.U moves"),
        ("create schema d.s", "CREATE create:D.S"),
        ("create schema s2 clone s", "CREATE create:ANALYTICS.S2 read:ANALYTICS.S moves"),
        ("create database d2 clone d", "CREATE create:D2 read:D moves"),
        ("create sequence s.q", "CREATE create:ANALYTICS.S"),
        ("drop table if exists t, s.u", "DROP drop:#T drop:ANALYTICS.S.U"),
        ("drop view t", "DROP drop:#T"),
        ("drop schema d.s", "DROP drop:D.S"),
        ("drop database d", "DROP drop:D"),
        ("undrop table t", "UNDROP drop:#T"),
        ("undrop schema s", "UNDROP drop:ANALYTICS.S"),
        ("alter table t add column b int", "ALTER alter:#T"),
        ("alter table t rename to u", "ALTER read:#T create:ANALYTICS.PUBLIC.U alter:#T moves"),
        (
            "alter table t swap with u",
            "ALTER read:#T read:ANALYTICS.PUBLIC.U alter:#T alter:ANALYTICS.PUBLIC.U moves",
        ),
        ("alter table t rename column a to b", "ALTER read:#T alter:#T moves"),
        ("comment on table t is 'x'", "COMMENT alter:#T"),
    ]);
}

#[test]
fn the_account_the_session_and_code() {
    check(&[
        ("create user bob password = 'x'", "ADMINISTER"),
        ("create or replace network policy p allowed_ip_list = ('0.0.0.0/0')", "ADMINISTER"),
        ("alter user bob add programmatic access token x", "ADMINISTER"),
        ("drop warehouse w", "ADMINISTER"),
        ("grant select on table t to role r", "GRANT grant:#T"),
        ("grant role a to user b", "GRANT"),
        ("revoke select on all tables in schema s from role r", "REVOKE grant:ANALYTICS.S"),
        ("use warehouse w", "USE"),
        ("USE SCHEMA \"a\".b", "USE"),
        ("use secondary roles all", "USE"),
        ("set a = 1", "SET"),
        ("set (a, b) = (1, 'x')", "SET"),
        ("unset a", "SET"),
        ("alter session set query_tag = 'x' timezone = 'UTC'", "ALTER_SESSION"),
        ("begin", "TRANSACTION"),
        ("begin transaction", "TRANSACTION"),
        ("start transaction;", "TRANSACTION"),
        ("commit work", "TRANSACTION"),
        ("rollback", "TRANSACTION"),
        ("show terse tables like '%x%' in schema a.b limit 3", "SHOW read:A.B"),
        ("describe table t", "DESCRIBE read:#T"),
        ("desc view s.t", "DESCRIBE read:ANALYTICS.S.T"),
        ("describe warehouse w", "DESCRIBE"),
        ("explain using json select * from t", "EXPLAIN read:#T"),
        ("explain delete from t", "EXPLAIN read:#T"),
        ("put file:///tmp/x.csv @~", "PUT"),
        ("get @~/x file:///tmp/", "GET"),
        ("ls @s", "LIST"),
        ("remove @s/x", "REMOVE"),
        ("call p(1)", "CALL calls:p"),
        ("execute task x", "EXECUTE call:ANALYTICS.PUBLIC"),
    ]);
}

#[test]
fn what_the_catalog_lacks_is_wanted() {
    let wants = |sql: &str, catalog: &Catalog| {
        let facts = analyze(&SqlText::new(sql).unwrap(), &session(), catalog);
        facts.wants().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ").replace(T, "#T")
    };
    let mut catalog = Catalog::default();
    for (sql, expected) in [
        ("select * from t, d.s.u", "#T D.S.U"),
        ("insert into t select * from d.s.u", "#T D.S.U"),
        ("select 1", ""),
        ("drop table t", ""),
        ("with t as (select 1 a) select * from t", ""),
        ("selec", ""),
    ] {
        assert_eq!(wants(sql, &catalog), expected, "{sql}");
    }
    let name = TableName {
        database: Some(Ident::unquoted("analytics")),
        schema: Some(Ident::unquoted("public")),
        name: Ident::unquoted("t"),
    };
    catalog.insert_table(name.clone(), Table::with_columns([Ident::unquoted("a")]).into());
    assert_eq!(wants("select * from t, d.s.u", &catalog), "D.S.U");
    catalog.remove_table(&name);
    assert_eq!(wants("select * from t", &catalog), "#T");
}

#[test]
fn several_statements_are_read_one_by_one_under_the_names_that_those_before_leave() {
    check(&[
        ("select 1; drop table t;", "SELECT; DROP drop:#T"),
        (";; show tables;\n; -- x\n drop table t", "SHOW; DROP drop:#T"),
        ("use schema s; select * from t", "USE; SELECT read:ANALYTICS.S.T read?:#T"),
        ("use d.s; insert into t values (1)", "USE; INSERT write:D.S.T"),
        ("use database d; select * from t", "USE; SELECT read:D.PUBLIC.T"),
        ("use d; select * from t", "USE; SELECT read:D.PUBLIC.T"),
        (
            "create schema s; select * from s.t; create table t (a int)",
            "CREATE create:ANALYTICS.S; SELECT read:ANALYTICS.S.T; CREATE create:ANALYTICS.S.T",
        ),
        ("create schema if not exists s; drop table t", "CREATE create:ANALYTICS.S; DROP drop:?.?.T"),
        ("call p(); drop table t", "CALL calls:p; DROP drop:?.?.T"),
        ("drop database d; drop table t", "DROP drop:D; DROP drop:?.?.T"),
        ("use role r; begin; drop table t; commit", "USE; TRANSACTION; DROP drop:#T; TRANSACTION"),
    ]);
}
