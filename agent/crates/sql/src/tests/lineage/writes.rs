//! Which columns a statement fills, and from where.

use super::{known, open};

#[test]
fn rows_of_queries() {
    known(&[
        ("insert into tgt (q, p) select a, ssn from t", "TGT: Q=T.A P=T.SSN"),
        ("insert into tgt select a, b, ssn from t where c = 1", "TGT: P=T.A Q=T.B R=T.SSN / T.C"),
        ("insert into tgt select a as x, b as y from t", "TGT: P=T.A Q=T.B"),
        ("insert into new select a, ssn as s from t", "NEW: A=T.A S=T.SSN"),
        ("insert into tgt with x as (select * from u) select ssn, x, y from x", "TGT: P=U.SSN Q=U.X R=U.Y"),
        ("insert into tgt values (1, 'x', (select max(ssn) from t))", "TGT: P=- Q=- R=T.SSN"),
        ("insert overwrite into tgt (p) select ssn from t", "TGT: P=T.SSN"),
        ("insert into tgt select * from (select id, x, ssn from u)", "TGT: P=U.ID Q=U.X R=U.SSN"),
        (
            "insert all when a > 1 then into tgt (p) values (ssn) else into u (x, y) values (b, 1) select a, b, ssn from t",
            "TGT: P=T.SSN U: X=T.B Y=- / T.A",
        ),
        (
            "insert all into tgt into new select a, b, ssn from t",
            "TGT: P=T.A Q=T.B R=T.SSN NEW: A=T.A B=T.B SSN=T.SSN",
        ),
        // As others write it.
        ("with x as (select * from u) insert into tgt select ssn, x, y from x", "TGT: P=U.SSN Q=U.X R=U.Y"),
        ("insert into tgt (with x as (select * from u) select ssn, x, y from x)", "TGT: P=U.SSN Q=U.X R=U.Y"),
        (
            "insert into tgt (q, p) (with x as (select * from u) select ssn, x from (select * from x)) ",
            "TGT: Q=U.SSN P=U.X",
        ),
        ("create table n as select a, upper(ssn) as s from t", "N: A=T.A S=T.SSN"),
        (
            "create or replace temporary table n (k varchar, l int) as select ssn, a from t",
            "N: K=T.SSN L=T.A",
        ),
        ("create table n as select * from u", "N: ID=U.ID X=U.X Y=U.Y SSN=U.SSN"),
        ("create table n clone u", "N: ID=U.ID X=U.X Y=U.Y SSN=U.SSN"),
        ("create table n like u", ""),
        ("create view n (k, l) as select ssn, a from t", "N: K=T.SSN L=T.A"),
        ("create view n as select ssn as s from t", "N: S=T.SSN"),
    ]);
    open(&[
        ("insert into tgt select * from t", "TGT: *=T.*"),
        ("insert into tgt (p, q) select * from t", "TGT: P=T.* Q=T.*"),
        ("insert into tgt (p, q) select ssn, t.* from t", "TGT: P=T.SSN Q=T.*"),
        ("create table n clone t", "N: *=T.*"),
    ]);
}

#[test]
fn changes_of_rows() {
    known(&[
        (
            "update tgt set p = t.ssn, q = upper(tgt.r) from t where tgt.q = t.a",
            "TGT: P=T.SSN Q=TGT.R / T.A|TGT.Q",
        ),
        ("update tgt set p = q", "TGT: P=TGT.Q / -"),
        (
            "with s as (select a, ssn from t) update tgt set p = s.ssn from s where s.a = tgt.q",
            "TGT: P=T.SSN / T.A|TGT.Q",
        ),
        ("with s as (select ssn from t) delete from tgt using s where p = s.ssn", " / T.SSN|TGT.P"),
        (
            "merge into tgt using t on p = a when matched then update all by name",
            "TGT: *=T.A|T.B|T.C|T.ID|T.SSN|T.V|TGT.P|TGT.Q|TGT.R",
        ),
        (
            "merge into tgt using t on p = a when not matched then insert all by name",
            "TGT: *=T.A|T.B|T.C|T.ID|T.SSN|T.V|TGT.P|TGT.Q|TGT.R",
        ),
        ("update tgt x set x.p = (select max(ssn) from t where t.a = x.q)", "TGT: P=T.SSN / T.A|TGT.Q"),
        ("delete from tgt where p in (select ssn from t)", " / T.SSN|TGT.P"),
        ("delete from tgt using t where tgt.p = t.ssn", " / T.SSN|TGT.P"),
        (
            "merge into tgt using (select a, ssn from t) s on tgt.p = s.a when matched and s.a > 1 then update set q = s.ssn \
             when not matched then insert (p, r) values (s.a, upper(s.ssn))",
            "TGT: Q=T.SSN P=T.A R=T.SSN / T.A|TGT.P",
        ),
        (
            "merge into tgt using t on p = a when not matched then insert values (t.a, t.b, t.ssn)",
            "TGT: P=T.A Q=T.B R=T.SSN",
        ),
        ("merge into tgt using t on p = a when matched then delete", "TGT:  / T.A|TGT.P"),
    ]);
}

#[test]
fn files_of_stages() {
    known(&[
        ("copy into @stage from t", "(stage): ID=T.ID A=T.A B=T.B C=T.C SSN=T.SSN V=T.V"),
        ("copy into @stage/x from (select ssn, a from t where b = 1)", "(stage): SSN=T.SSN A=T.A / T.B"),
        ("copy into tgt from @stage", "TGT: P=? Q=? R=?"),
        ("copy into tgt (p, q) from (select $1, x.$2 from @stage x)", "TGT: P=? Q=?"),
    ]);
    open(&[("copy into tgt from @stage", "TGT: *=?")]);
}

#[test]
fn what_a_text_puts_into_a_table_is_in_it_from_then_on() {
    known(&[
        ("create temp table n as select ssn as s, a from t; select s from n", "S=N.S|T.SSN"),
        ("create view n (k) as select ssn from t; select * from n", "K=N.K|T.SSN"),
        ("create table n clone u; select ssn from n", "SSN=N.SSN|U.SSN"),
        ("create table n as select * from nowhere; select a, b from n", "A=N.A|NOWHERE.A B=N.B|NOWHERE.B"),
        ("insert into tgt (p) select ssn from t; select p, q from tgt", "P=T.SSN|TGT.P Q=TGT.Q"),
        ("update tgt set q = t.ssn from t; select * from tgt", "P=TGT.P Q=T.SSN|TGT.Q R=TGT.R"),
        (
            "insert into other select ssn as s from t; select s, x from other",
            "S=OTHER.S|T.SSN X=OTHER.X|T.SSN",
        ),
        // The columns of a table that the text has made are known, in order.
        (
            "create table n as select id as k, a as l from t; insert into n select x, ssn from u; select l, k from n",
            "L=N.L|T.A|U.SSN K=N.K|T.ID|U.X",
        ),
        ("insert into other select ssn from t; select other.* from other", "*=T.SSN|OTHER.*"),
        ("insert into other (s) values (my_udf()); select s from other", "S=?"),
        (
            "create table a1 as select ssn as x1 from t; create table a2 as select x1 as x2 from a1; select x2 from a2",
            "X2=A1.X1|A2.X2|T.SSN",
        ),
        ("create table n as select max(ssn) from t; select z from n", "Z=N.Z|T.SSN"),
        (
            "create table n as select ssn as s from t; create or replace table n as select a as s from t; select s from n",
            "S=N.S|T.A",
        ),
        ("create table if not exists n as select ssn as s from t; select z from n", "Z=N.Z"),
        ("insert into identifier($x) select ssn from t; select a from u", "A=?"),
        ("insert into identifier($x) select ssn from t; select x from u", "X=T.SSN|U.X"),
        ("select ssn from t; select a from t", "A=T.A"),
        // A table that got another name, or another's place, holds what it held.
        ("alter table t rename to n; select ssn as s from n", "S=N.SSN|T.SSN"),
        ("alter table tgt swap with u; select x from tgt", "X=TGT.X|U.X"),
        ("create schema s2 clone public; select a from s2.t", "A=?"),
        ("insert into tgt table u; select p from tgt", "P=?"),
        // What a routine would do is not done.
        (
            "create procedure p() returns int as 'begin insert into t select * from u; end'; select a from t",
            "A=T.A",
        ),
    ]);
    open(&[("insert into n select * from t; select a from n", "A=N.A|T.*")]);
}
