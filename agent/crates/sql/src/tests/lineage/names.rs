//! What a name means.

use super::{known, open};

#[test]
fn a_name_belongs_to_the_table_that_has_it() {
    known(&[
        ("select a, x from t, u", "A=T.A X=U.X"),
        ("select t.ssn, u.ssn from t, u", "SSN=T.SSN SSN=U.SSN"),
        ("select ssn from t, u", "SSN=T.SSN|U.SSN"),
        ("select one.ssn as s from t one, t two", "S=T.SSN"),
        ("select public.t.a, analytics.public.t.b from t", "A=T.A B=T.B"),
        ("select other.t.a from t", "A=?"),
        ("select nothing from t", "NOTHING=?"),
        ("select t.nothing from t", "NOTHING=?"),
        ("select t.a from t as x", "A=?"),
        ("select \"a\" from odd", "a=ODD.a"),
        ("select \"My Col\" as m, upper(x) from odd, u", "M=ODD.My Col =U.X"),
        ("select x.$2, $1 from t x", "$2=T.A =T.ID"),
        ("select $9 from t", "=?"),
        ("select $1 from t, u", "=T.ID|U.ID"),
        ("select metadata$action, a from t", "METADATA$ACTION=- A=T.A"),
        ("select seq.nextval, a from t", "NEXTVAL=- A=T.A"),
        (
            "select level, name from emp start with boss is null connect by prior id = boss",
            "LEVEL=- NAME=EMP.NAME / EMP.BOSS|EMP.ID",
        ),
        ("select :1, ?, $var, :2 from t", "=- =- =- =-"),
        ("select :scripted from t", "=?"),
    ]);
    open(&[
        ("select a from t, u", "A=T.A|U.A"),
        ("select t.a, u.b from t, u", "A=T.A B=U.B"),
        ("select a from (select a from t) x, u", "A=T.A"),
        ("select b from (select a from t) x, u", "B=U.B"),
        ("select \"a\" from (select 1 as A) x, u", "a=U.a"),
        ("select \"MAX(SSN)\" from (select max(ssn) from t) x, u", "MAX(SSN)=T.SSN|U.MAX(SSN)"),
        ("select current_date from (select current_date from t) x, u", "=-"),
        ("select nothing.a from t", "A=?"),
    ]);
}

#[test]
fn joined_columns_are_of_both_sides() {
    known(&[
        ("select id from t join u using (id)", "ID=T.ID|U.ID / T.ID|U.ID"),
        ("select t.id from t left join u using (id)", "ID=T.ID / T.ID|U.ID"),
        (
            "select * from t join u using (id)",
            "ID=T.ID|U.ID A=T.A B=T.B C=T.C SSN=T.SSN V=T.V X=U.X Y=U.Y SSN=U.SSN",
        ),
        (
            "select ssn from (select id, ssn from t) natural join (select id, x from u)",
            "SSN=T.SSN / T.ID|U.ID",
        ),
        (
            "select * from (select ssn, a from t) natural join (select ssn, x from u)",
            "SSN=T.SSN|U.SSN A=T.A X=U.X / T.SSN|U.SSN",
        ),
        // Where the joined column stands is not known, so each may be any.
        (
            "select * from (select a, id from t) join (select id, x from u) using (id)",
            "ID=T.A|T.ID|U.ID|U.X A=T.A|T.ID|U.ID|U.X X=T.A|T.ID|U.ID|U.X",
        ),
        ("select a from t join u on t.id = u.id and u.ssn = '1'", "A=T.A / T.ID|U.ID|U.SSN"),
        ("select a from t, u where t.id = u.id(+)", "A=T.A / T.ID|U.ID"),
        ("select a from t cross join u", "A=T.A / -"),
        (
            "select a from t asof join events match_condition (t.id >= events.ts) on t.a = events.user_id",
            "A=T.A / EVENTS.TS|EVENTS.USER_ID|T.A|T.ID",
        ),
        ("select x.a, y.x from (t x join u y on x.id = y.id)", "A=T.A X=U.X"),
    ]);
    open(&[
        ("select f from (select f from t) left join (select f from u) using (f)", "F=T.F|U.F / T.F|U.F"),
        ("select f from (select f from t) left join u using (f)", "F=T.F|U.F / T.F|U.F"),
        ("select a from t natural join u", "A=T.A|U.A / T.*|U.*"),
        ("select * from t join u using (id)", "*=T.* ID=T.ID|U.ID *=T.* *=U.*"),
    ]);
}

#[test]
fn an_output_may_be_named_by_another() {
    known(&[
        ("select ssn as s, upper(s) as r from t", "S=T.SSN R=T.SSN"),
        ("select upper(r) as q, lower(p) as r, ssn as p from t", "Q=T.SSN R=T.SSN P=T.SSN"),
        // A column that there is hides an entry of the select list, and nothing else hides one.
        ("select ssn as a, a as b from t", "A=T.SSN B=T.A"),
        ("select a as b, b as a from t", "B=T.A A=T.B"),
        ("select ssn as a, a as b from (select * from t)", "A=T.SSN B=T.A"),
        ("select a || b as a, (select max(x) from u where y = a) as m from t", "A=T.A|T.B M=U.X / T.A|U.Y"),
        ("select ssn as a from t where a = 'x'", "A=T.SSN / T.A|T.SSN"),
        // The condition of a join may name one, too.
        ("select upper(t.ssn) as k, u.x from t join u on k = u.y", "K=T.SSN X=U.X / ?"),
        // And what a WITH calls a column may be meant within its own query.
        ("with w (k) as (select max(ssn) from t having k > 'a') select k from w", "K=T.SSN / T.SSN"),
        ("select ssn as s from t where s = '1'", "S=T.SSN / T.SSN"),
        ("select upper(ssn) as s, count(*) from t group by s having s > 'a'", "S=T.SSN =- / T.SSN"),
        ("select a, b from t order by 2", "A=T.A B=T.B / T.A|T.B"),
        ("select a, ssn from t group by 1, 2", "A=T.A SSN=T.SSN / T.A|T.SSN"),
        ("select a as z from t order by z", "Z=T.A / T.A"),
        (
            "select upper(a) as k, (select max(x) from u where k = u.y) as m from t",
            "K=T.A M=T.A|U.X / T.A|U.Y",
        ),
        ("select max(ssn), \"MAX(SSN)\" as m from t", "=T.SSN M=T.SSN"),
    ]);
}

#[test]
fn what_an_entry_is_called_decides_where_the_tables_are_not_known() {
    open(&[
        ("select upper(t.ssn) as k from t join u on k = u.y", "K=T.SSN / T.K|T.SSN|U.K|U.Y"),
        ("select upper(t.ssn) as k from (t join u on k = u.y)", "K=T.SSN / T.K|T.SSN|U.K|U.Y"),
        ("with w (k) as (select max(ssn) from t having k > 'a') select k from w", "K=T.SSN / T.K|T.SSN"),
        (
            "with w (k) as (with z as (select x from t) select y from z qualify k > 1) select k from w",
            "K=? / ?",
        ),
    ]);
}

#[test]
fn a_subquery_sees_what_is_around_it() {
    known(&[
        ("select (select max(u.ssn) from u where u.id = t.id) as m from t", "M=U.SSN / T.ID|U.ID"),
        ("select (select a) as m from t", "M=T.A"),
        ("select (select max(x || a) from u) as m from t", "M=T.A|U.X"),
        ("select (select max(ssn) from u) as m from t", "M=U.SSN"),
        ("select a from t where exists (select 1 from u where u.ssn = t.ssn)", "A=T.A / T.SSN|U.SSN"),
        ("select exists (select 1 from u where u.ssn = t.ssn) as e from t", "E=T.SSN|U.SSN / T.SSN|U.SSN"),
        ("select a in (select x from u where y = 1) as e from t", "E=T.A|U.X|U.Y"),
        ("select a from t where a = any (select x from u)", "A=T.A / T.A|U.X"),
        ("select case when ssn like '1%' then a end as c from t", "C=T.A|T.SSN"),
        ("select (select max(pin) from vault.secret) as m", "M=ANALYTICS.VAULT.SECRET.PIN"),
        ("select (select count(*) from t where ssn = '1') as n", "N=- / T.SSN"),
    ]);
    open(&[
        ("select (select max(ssn) from u) as m from t", "M=T.SSN|U.SSN"),
        ("select (select max(u.ssn) from u) as m from t", "M=U.SSN"),
        ("select a from t where b in (select c from u)", "A=T.A / T.B|T.C|U.C"),
    ]);
}

#[test]
fn calls_reach_what_they_are_given_and_unknown_ones_anything() {
    known(&[
        ("select dateadd(day, 1, \"DAY\") as d, datediff(month, id, 1) as m from odd, u", "D=ODD.DAY M=U.ID"),
        ("select my_udf(a) as r, b from t", "R=? B=T.B"),
        ("select public.my_udf(a) as r from t", "R=?"),
        ("select system$typeof(a) as r from t", "R=?"),
        ("select coalesce(a, b) as r, iff(ssn is null, 1, 2) as i from t", "R=T.A|T.B I=T.SSN"),
        ("select count(*) as n, count(ssn) as m, count(distinct a, b) as k from t", "N=- M=T.SSN K=T.A|T.B"),
        ("select object_construct(*) as o from u", "O=U.ID|U.SSN|U.X|U.Y"),
        ("select object_construct(u.*) as o from t, u", "O=U.ID|U.SSN|U.X|U.Y"),
        ("select hash(*) as h from u", "H=U.ID|U.SSN|U.X|U.Y"),
        ("select {*} as o from u", "O=U.ID|U.SSN|U.X|U.Y"),
        (
            "select {u.*} as o, {'k': {* exclude id}, 'l': {}} as p, a from t, u",
            "O=U.ID|U.SSN|U.X|U.Y P=T.A|T.B|T.C|T.ID|T.SSN|T.V|U.ID|U.SSN|U.X|U.Y A=T.A",
        ),
        (
            "select {'a': 2 * a, 'b': {'c': ssn}} as o, { * ilike 's%' } as p from t",
            "O=T.A|T.SSN P=T.A|T.B|T.C|T.ID|T.SSN|T.V",
        ),
        ("select array_agg(a) within group (order by ssn) as l from t", "L=T.A|T.SSN / T.SSN"),
        (
            "select max(a) over (partition by b order by ssn rows between 1 preceding and current row) as w from t",
            "W=T.A|T.B|T.SSN / T.B|T.SSN",
        ),
        ("select row_number() over (order by ssn) as n from t", "N=T.SSN / T.SSN"),
        (
            "select filter(v, x -> x:k > a) as f, reduce(v, 0, (s, y) -> s + y + b) as r from t",
            "F=T.A|T.V R=T.B|T.V",
        ),
        (
            "select v:a.b[0]::string as p, v['k'] as q, v[a] as r, t.v:x as s, t.v[0].name as n from t",
            "P=T.V Q=T.V R=T.A|T.V S=T.V N=T.V",
        ),
        ("select {'k': ssn, 'l': a} as o, [b, c] as l from t", "O=T.A|T.SSN L=T.B|T.C"),
        (
            "select extract(year from a) as y, cast(b as date) as d, trim(c) as s, a collate 'en' as k from t",
            "Y=T.A D=T.B S=T.C K=T.A",
        ),
        (
            "select position(a in b) as p, substring(c from 1 for id) as s, a between b and c as w from t",
            "P=T.A|T.B S=T.C|T.ID W=T.A|T.B|T.C",
        ),
        ("select current_user() as w, current_date as d, 'x' as k, null as n from t", "W=- D=- K=- N=-"),
    ]);
    open(&[
        ("select object_construct(*) as o, a from t", "O=T.* A=T.A"),
        ("select filter(v, x -> x:k > a) as f from t", "F=T.A|T.V|T.X"),
        ("select date_trunc('month', ts) as m, date_part(day, d) as p from t", "M=T.TS P=T.D"),
    ]);
}
