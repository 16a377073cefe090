//! Where output columns come from.

use super::outputs;

fn check(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(sql, expected)| (sql, outputs(sql), expected))
        .filter(|(_, is, expected)| is != *expected)
        .map(|(sql, is, expected)| format!("{sql}\n  is       {is}\n  expected {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_plain_select_is_followed() {
    check(&[
        ("select a, t.b, T.\"c\", (a) from t", "T.A, T.B, T.c, T.A"),
        ("select x.a from t as x", "T.A"),
        ("select a from t, u", "T.A|U.A"),
        ("select t.a, u.a from t join u using (id)", "T.A, U.A"),
        ("select public.t.a, analytics.public.t.b from t", "T.A, T.B"),
        ("select upper(a), a || b, cast(a as int), a::text from t", "f(T.A), f(T.A|T.B), f(T.A), f(T.A)"),
        ("select case when a > 1 then b end from t", "f(T.A|T.B)"),
        ("select v:x.y::string from t", "f(T.V)"),
        ("select count(*), count(a), 1, 'x', current_user() from t", "-, f(T.A), -, -, -"),
        ("select max(a) over (partition by b order by c) from t", "f(T.A|T.B|T.C)"),
        ("select * from t", "*(T)"),
        ("select t.*, u.a from t, u", "*(T), U.A"),
        ("select * exclude (a) from t", "*(T)"),
        ("select distinct a from t where b = 1 order by c limit 3", "T.A"),
        ("(select a from t)", "T.A"),
        ("select :1, ?, $x from t", "-, -, -"),
        ("select {'k': ssn}, [ssn], ssn[0], v['x'] from t", "f(T.SSN), f(T.SSN), f(T.SSN), f(T.V)"),
        ("select connect_by_root ssn from t connect by prior id = pid", "f(T.SSN)"),
        (
            "select try_cast(ssn as int), ssn collate 'en', extract(year from d) from t",
            "f(T.SSN), f(T.SSN), f(T.D)",
        ),
        ("select listagg(a) within group (order by ssn), min_by(a, b) from t", "f(T.A|T.SSN), f(T.A|T.B)"),
        ("select filter(v, x -> x > ssn) from t", "f(T.SSN|T.V|T.X)"),
        ("select ssn as x, x:y from t", "T.SSN, f(T.SSN|T.X)"),
        ("select 1", "-"),
        // The name of a table may stand for its whole row.
        ("select t, a from t", "T.T|T.*, T.A"),
        ("select r::varchar, to_json(\"R\"), r:ssn, r['ssn'] from t r", "T.R|T.*, T.R|T.*, T.R|T.*, T.R|T.*"),
    ]);
}

#[test]
fn an_output_may_name_another_one() {
    check(&[
        ("select ssn as a, a as b from t", "T.SSN, T.A|T.SSN"),
        ("select a as b, upper(ssn) as a from t", "f(T.A|T.SSN), f(T.SSN)"),
        ("select b as c, a as b, ssn as a from t", "T.A|T.B|T.SSN, T.A|T.SSN, T.SSN"),
        ("select upper(email) as email from t", "f(T.EMAIL)"),
        ("select leak() as a, a as b from t", "?, ?"),
        // Some engines do not mind the case of a quoted name.
        ("select ssn as \"x\", x as y, X || '' as z from t", "T.SSN, T.SSN|T.X, f(T.SSN|T.X)"),
    ]);
}

#[test]
fn what_is_not_followed_is_unknown() {
    check(&[
        ("call p()", "unknown"),
        ("select * from table(result_scan(last_query_id()))", "?"),
        ("select a from @stage", "?"),
        ("select $1 from @stage", "?"),
    ]);
}

#[test]
fn what_is_not_known_of_one_output_leaves_the_others() {
    check(&[
        ("select $1, a from t", "T.*, T.A"),
        ("select object_construct(*), a from t", "T.*, T.A"),
        ("select hash(*), count(t.*) from t", "T.*, T.*"),
        ("select (select max(ssn) from t), a from t", "f(T.SSN), T.A"),
        ("select my_udf(a), a from t", "?, T.A"),
        ("select x.b, a from t", "?, T.A"),
        ("select x.a, a from t", "?, T.A"),
        ("select t.a from t as x", "?"),
        ("select t.$1 from t", "T.*"),
        ("select u.$1, a from t as u", "T.*, T.A"),
        ("select object_construct(t.*) from t", "T.*"),
        ("select array_agg(* exclude a) from t", "T.*"),
        ("select listagg(distinct leak(a)) from t", "?"),
    ]);
}
