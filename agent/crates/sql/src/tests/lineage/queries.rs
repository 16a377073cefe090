//! Queries within, beside and above queries.

use super::{known, open};

#[test]
fn common_table_expressions_are_followed() {
    known(&[
        ("with x as (select ssn as s, a from t) select s from x", "S=T.SSN"),
        ("with x (p, q) as (select ssn, a from t) select q, p from x", "Q=T.A P=T.SSN"),
        ("with x as (select * from t), y as (select ssn as s from x) select * from y", "S=T.SSN"),
        ("with t as (select a from t) select * from t", "A=T.A"),
        ("with t as (select 1 as a) select a from public.t", "A=T.A"),
        (
            "with x as (select a from t) select * from (with x as (select b from t) select * from x) y, x",
            "B=T.B A=T.A",
        ),
        (
            "with x as (select a from t) select (with y as (select a as z from x) select max(z) from y) as m from u",
            "M=T.A",
        ),
        ("select * from (with x as (select ssn from t) select * from x)", "SSN=T.SSN"),
        ("with x as (select a from t where ssn = '1') select * from x", "A=T.A / T.SSN"),
        ("with \"x\" as (select a from t) select * from x", "*=X.*"),
        (
            "with x as (select a from t), y as (select * from x union all select ssn from t) select a from y",
            "A=T.A|T.SSN",
        ),
    ]);
    open(&[
        ("with x as (select * from t) select a, ssn from x", "A=T.A SSN=T.SSN"),
        ("with x as (select * from t join u on t.id = u.id) select a from x", "A=T.A|U.A / T.ID|U.ID"),
        ("with x as (select *, upper(ssn) as s from t) select s from x", "S=T.SSN"),
        ("with x as (select * from t), y as (select * from x) select y.a from y", "A=T.A"),
    ]);
}

#[test]
fn recursion_is_followed_to_its_end() {
    known(&[
        (
            "with recursive r as (select id, name as n from emp union all select e.id, r.n || e.pay from emp e join r on e.boss = r.id) \
             select n from r",
            "N=EMP.NAME|EMP.PAY / EMP.BOSS|EMP.ID",
        ),
        (
            "with recursive r (x, y, z) as (select a, b, ssn from t union all select y, z, x from r) select x from r",
            "X=T.A|T.B|T.SSN",
        ),
        // Without the keyword its name may be that of a table, too.
        ("with r as (select id as i from emp union all select i from r) select i from r", "I=EMP.ID|R.I"),
        ("with recursive r as ((select a from t) union all (select a from r)) select * from r", "A=T.A"),
        (
            "with recursive r as (select a as i from t union all select i from r union all select ssn from t) select i from r",
            "I=T.A|T.SSN",
        ),
        (
            "with recursive r as (select 1 as n union all select n + 1 from r where n < 9) select n from r",
            "N=- / -",
        ),
        ("with recursive a as (select ssn as k from t), b as (select k from a) select k from b", "K=T.SSN"),
    ]);
}

#[test]
fn set_operations_are_of_both_sides() {
    known(&[
        ("select a from t union all select x from u", "A=T.A|U.X"),
        ("select a, b from t union select x, ssn from u", "A=T.A|U.X B=T.B|U.SSN"),
        ("select a from t intersect select x from u", "A=T.A|U.X / T.A|U.X"),
        ("select a from t except select x from u", "A=T.A|U.X / T.A|U.X"),
        ("select a from t minus select x from u", "A=T.A|U.X / T.A|U.X"),
        (
            "select * from t union all select 1, 2, 3, 4, 5, ssn from u",
            "ID=T.ID A=T.A B=T.B C=T.C SSN=T.SSN V=T.V|U.SSN",
        ),
        (
            "(select a from t) union all ((select x from u) union all (select ssn from t)) order by a",
            "A=T.A|T.SSN|U.X / T.A|T.SSN|U.X",
        ),
        ("select a as k from t union all select 1", "K=T.A"),
        ("select b as a from (select a as b from t union all select x from u)", "A=T.A|U.X"),
        (
            "select a, ssn as s from t union all by name select ssn as s, x as a from u",
            "A=T.A|U.X S=T.SSN|U.SSN",
        ),
        ("select a from t union by name select x from u", "A=T.A X=U.X"),
        (
            "select a, max(b) from t group by 1 union all by name select x as a, max(y) as \"MAX(B)\" from u group by 1",
            "*=T.A|T.B|U.X|U.Y",
        ),
        ("values (1, 'x'), (2, (select max(ssn) from t))", "COLUMN1=- COLUMN2=T.SSN"),
        ("select c2 from (values (1, 'x')) as v (c1, c2)", "C2=-"),
        ("select column1 as c, $2 as d from values (1, 2)", "C=- D=-"),
    ]);
    open(&[
        ("select * from t union all select * from u", "*=T.*|U.*"),
        ("select a from (select * from t union all select * from u)", "A=T.A|U.*"),
        ("select a, b from t union all select * from u", "A=T.A|U.* B=T.B|U.*"),
        ("select a from t union all select b from u union all select c from w", "A=T.A|U.B|W.C"),
        ("select a from (select * from t union all by name select * from u)", "A=T.A|U.A"),
    ]);
}

#[test]
fn what_decides_is_kept_apart() {
    known(&[
        ("select a from t where ssn like '1%' and b in (1, 2)", "A=T.A / T.B|T.SSN"),
        ("select a, count(*) from t group by a, upper(ssn) having max(b) > 1", "A=T.A =- / T.A|T.B|T.SSN"),
        ("select a from t order by ssn desc nulls last limit 3", "A=T.A / T.SSN"),
        ("select a from t qualify row_number() over (partition by b order by ssn) = 1", "A=T.A / T.B|T.SSN"),
        ("select a, count(*) from t group by all", "A=T.A =- / T.A"),
        ("select upper(a), b + max(c) from t group by all", "=T.A =T.B|T.C / T.A|T.B"),
        (
            "select a, b, count(*) from t group by grouping sets ((a), (b, ssn))",
            "A=T.A B=T.B =- / T.A|T.B|T.SSN",
        ),
        ("select a, count(*) from t group by cube (a, ssn)", "A=T.A =- / T.A|T.SSN"),
        ("select a from t order by all", "A=T.A / T.A"),
        ("select a from t where rlike(ssn, '1.*') or ssn is null", "A=T.A / T.SSN"),
        ("select distinct a from t", "A=T.A / -"),
        ("select top 3 a from t order by ssn", "A=T.A / T.SSN"),
        ("select a from t where nothing = 1", "A=T.A / ?"),
        ("select a from t where my_udf(b) = 1", "A=T.A / ?"),
        (
            "select * exclude (id, b, c, v) from t where t.ssn = (select max(u.ssn) from u)",
            "A=T.A SSN=T.SSN / T.SSN|U.SSN",
        ),
        ("select a from t sample (10)", "A=T.A / -"),
        (
            "select name from emp start with pay > 1 connect by boss = prior id",
            "NAME=EMP.NAME / EMP.BOSS|EMP.ID|EMP.PAY",
        ),
    ]);
}
