//! Wildcards with options, tables that are made of other tables, and what stands in the place of a table.

use super::{known, open};

#[test]
fn wildcards_are_spelled_out_where_the_columns_are_known() {
    known(&[
        ("select * from u", "ID=U.ID X=U.X Y=U.Y SSN=U.SSN"),
        ("select u.*, t.a from t, u", "ID=U.ID X=U.X Y=U.Y SSN=U.SSN A=T.A"),
        ("select * exclude ssn from u", "ID=U.ID X=U.X Y=U.Y"),
        ("select * exclude (ssn, id) from u", "X=U.X Y=U.Y"),
        ("select * rename ssn as x2 from u", "ID=U.ID X=U.X Y=U.Y X2=U.SSN"),
        ("select * rename (ssn as x, x as z) from u", "ID=U.ID Z=U.X Y=U.Y X=U.SSN"),
        ("select * replace (upper(ssn) as x) from u", "ID=U.ID X=U.SSN Y=U.Y SSN=U.SSN"),
        ("select * ilike '%s%' from u", "SSN=U.SSN"),
        ("select * ilike '_' from u", "X=U.X Y=U.Y"),
        ("select * ilike '%s%' rename ssn as n from u", "N=U.SSN"),
        ("select u.* exclude ssn rename id as i from t, u", "I=U.ID X=U.X Y=U.Y"),
        ("select x.* from t as x", "ID=T.ID A=T.A B=T.B C=T.C SSN=T.SSN V=T.V"),
        ("select x.* from u as x (i, j, k, l)", "I=U.ID J=U.X K=U.Y L=U.SSN"),
        ("select * from (select * exclude id from u)", "X=U.X Y=U.Y SSN=U.SSN"),
        ("select z.* from t", "*=?"),
        (
            "select * from t, u where false",
            "ID=T.ID A=T.A B=T.B C=T.C SSN=T.SSN V=T.V ID=U.ID X=U.X Y=U.Y SSN=U.SSN",
        ),
    ]);
    open(&[
        ("select * from t", "*=T.*"),
        ("select t.*, u.a from t, u", "*=T.* A=U.A"),
        ("select ssn from (select * exclude ssn from t)", "SSN=?"),
        ("select x from (select * rename ssn as x from t)", "X=T.SSN"),
        ("select ssn from (select * rename ssn as x from t)", "SSN=?"),
        ("select * rename ssn as x from t", "*=T.* X=T.SSN *=T.*"),
        ("select * replace (upper(ssn) as city) from t", "*=T.* CITY=T.SSN *=T.*"),
        ("select city from (select * replace (upper(ssn) as city) from t)", "CITY=T.SSN"),
        ("select a from (select * ilike '%a%' from t)", "A=T.A"),
        ("select a from t as x (a, b)", "A=T.*"),
    ]);
}

#[test]
fn tables_by_other_names() {
    known(&[
        ("select a from table('t')", "A=T.A"),
        ("select x.a from table('analytics.public.t') as x", "A=T.A"),
        ("select a from identifier('t')", "A=T.A"),
        ("select a from identifier('\"T\"') as x", "A=T.A"),
        ("select * from table(result_scan(last_query_id()))", "*=?"),
        ("select a from table(my_function(1)), u", "A=?"),
        ("select x from table(my_function(1)) f, u", "X=U.X"),
        ("select a from t at (offset => -60)", "A=T.A"),
        (
            "select a, metadata$isupdate from t changes (information => default) at (timestamp => '2026-01-01'::timestamp)",
            "A=T.A METADATA$ISUPDATE=-",
        ),
        ("select $1, metadata$filename from @stage", "=? METADATA$FILENAME=?"),
        ("select x.$1:a from @stage/path x", "=?"),
        ("select seq4() as n from table(generator(rowcount => 3))", "N=-"),
    ]);
    known(&[
        (
            "select f.value, f.key, f.seq, f.this from t, lateral flatten(input => t.v) f",
            "VALUE=T.V KEY=T.V SEQ=- THIS=T.V",
        ),
        ("select value:x::string as x, a from t, table(flatten(v))", "X=T.V A=T.A"),
        (
            "select g.value from t, lateral flatten(input => v:items) f, lateral flatten(input => f.value:parts) g",
            "VALUE=T.V",
        ),
        (
            "select t.a, f.index from t left join lateral flatten(input => v, outer => true) f on f.key = t.b",
            "A=T.A INDEX=T.V / T.B|T.V",
        ),
        ("select s.value from t, lateral split_to_table(t.ssn, '-') s", "VALUE=T.SSN"),
        ("select s.value from t, table(strtok_split_to_table(ssn, '-')) as s", "VALUE=T.SSN"),
        (
            "select * from t, lateral flatten(v)",
            "ID=T.ID A=T.A B=T.B C=T.C SSN=T.SSN V=T.V SEQ=- KEY=T.V PATH=T.V INDEX=T.V VALUE=T.V THIS=T.V",
        ),
        ("select l.m from t, lateral (select max(x) as m from u where u.id = t.ssn) l", "M=U.X / T.SSN|U.ID"),
        ("select l.m from t, lateral (select t.ssn || x as m from u) l", "M=T.SSN|U.X"),
    ]);
    open(&[
        ("select f.value:name from t, lateral flatten(input => t.v) f", "=T.V"),
        ("select value from t, lateral flatten(input => v)", "VALUE=T.V"),
    ]);
}

#[test]
fn pivots_and_unpivots() {
    known(&[
        (
            "select * from events pivot (sum(amount) for kind in ('a', 'b'))",
            "TS=EVENTS.TS USER_ID=EVENTS.USER_ID 'a'=EVENTS.AMOUNT|EVENTS.KIND 'b'=EVENTS.AMOUNT|EVENTS.KIND",
        ),
        (
            "select p.\"'a'\" as k from events pivot (max(amount) for kind in ('a', 'b')) as p",
            "K=EVENTS.AMOUNT|EVENTS.KIND",
        ),
        (
            "select x, w from events pivot (sum(amount) for kind in ('a' as x, 'b' as y)) as p (s, w, x, y)",
            "X=EVENTS.AMOUNT|EVENTS.KIND W=EVENTS.USER_ID",
        ),
        (
            "select * from events pivot (sum(amount) for kind in (any order by kind)) p",
            "TS=EVENTS.TS USER_ID=EVENTS.USER_ID *=EVENTS.AMOUNT|EVENTS.KIND",
        ),
        (
            "select * from events pivot (sum(amount) for kind in (select distinct y from u where ssn = '1'))",
            "TS=EVENTS.TS USER_ID=EVENTS.USER_ID *=EVENTS.AMOUNT|EVENTS.KIND|U.SSN|U.Y",
        ),
        (
            "select * from (select kind, amount from events) pivot (sum(amount) for kind in ('a' as x))",
            "X=EVENTS.AMOUNT|EVENTS.KIND",
        ),
        ("select * from u unpivot (val for col in (x, ssn))", "ID=U.ID Y=U.Y COL=- VAL=U.SSN|U.X"),
        (
            "select val from (select id, x, ssn from u) unpivot include nulls (val for col in (x as ex, ssn)) as p",
            "VAL=U.SSN|U.X",
        ),
        (
            "select p.id, p.val from u unpivot (val for col in (x, y)) p where p.col = 'X'",
            "ID=U.ID VAL=U.X|U.Y / -",
        ),
    ]);
    open(&[
        ("select k from t pivot (max(a) for b in ('x' as k)) p", "K=T.A|T.B"),
        ("select c from t pivot (max(a) for b in ('x' as k)) p", "C=T.C"),
        ("select a from t pivot (max(a) for b in ('x' as k)) p", "A=?"),
    ]);
}

#[test]
fn match_recognize_shows_its_measures() {
    let rest = "order by ts measures match_number() as n, first(up.amount) as f, last(amount) - first(amount) as d, classifier() as c \
                one row per match pattern (start up+) define up as up.amount > lag(up.amount) and up.kind = 'x'";
    let sql = format!("select * from events match_recognize (partition by user_id {rest})");
    let all = format!("select d, ts from events match_recognize ({}) m", rest.replace("one row", "all rows"));
    known(&[
        (
            sql.leak(),
            "USER_ID=EVENTS.USER_ID N=- F=EVENTS.AMOUNT D=EVENTS.AMOUNT C=EVENTS.AMOUNT|EVENTS.KIND / EVENTS.AMOUNT|EVENTS.KIND|EVENTS.TS|EVENTS.USER_ID",
        ),
        (all.leak(), "D=EVENTS.AMOUNT TS=EVENTS.TS"),
    ]);
}
