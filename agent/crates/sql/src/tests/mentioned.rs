//! Objects that are named somewhere in a statement: none is missed, and a word of a condition is none.

use model::SqlText;

use super::{objects, session};
use crate::analyze;

#[test]
fn objects_are_named_wherever_they_stand() {
    let mut wrong = Vec::new();
    for (sql, expected) in [
        ("show grants of role r", "role:R"),
        ("show mfa methods for user u", "user:U"),
        ("show parameters for task x", "task:ANALYTICS.PUBLIC.X"),
        ("show session policies on user u", "user:U"),
        ("show semantic metrics in d.s.sv", "D.S.SV"),
        ("describe search optimization on d.s.t", "D.S.T"),
        ("describe available listing l", "listing:L"),
        ("truncate materialized view v", "ANALYTICS.PUBLIC.V"),
        ("grant create integration on account to role r", "role:R"),
        ("revoke monitor usage on account from role r", "role:R"),
        ("grant select on table t to application role a.r", "application-role:A.R"),
        ("grant service role d.s.svc!r to role x", "service:D.S.SVC role:X"),
        ("create stream st on stage d.s.stg", "stage:D.S.STG"),
        ("create stream st on external table e", "ANALYTICS.PUBLIC.E"),
        ("create model m from model d.s.n", "model:D.S.N"),
        ("create snapshot sn from service d.s.svc volume 'x' instance 0", "service:D.S.SVC"),
        ("create service s in compute pool p from @st specification_file = 'x'", "compute-pool:P"),
        ("execute job service in compute pool p from @st specification_file = 'x'", "compute-pool:P"),
        (
            "create semantic view v tables (o as d.s.orders primary key (id), c primary key (k)) metrics (o.n as count(*))",
            "D.S.ORDERS ANALYTICS.PUBLIC.C",
        ),
        ("create interactive warehouse w tables (t, d.s.u)", "ANALYTICS.PUBLIC.T D.S.U warehouse:W"),
        ("create table t (a int, foreign key (a) references d.s.u (x))", "D.S.U"),
        ("alter table t add foreign key (a) references d.s.u (x)", "D.S.U"),
        ("alter table t add data metric function d.s.f on (a)", "function:D.S.F"),
        ("alter table t set contact steward = d.s.c", "schema-object:D.S.C"),
        ("drop index d.s.t.i", "D.S.T"),
        ("create secret s type = oauth2 api_authentication = i", "integration:I"),
        ("create api integration i allowed_authentication_secrets = (d.s.x)", "secret:D.S.X"),
        ("create user u default_namespace = d.s", "D.S"),
        ("create replication group g allowed_databases = d, e allowed_shares = sh", "D E share:SH"),
        ("create listing l share sh as 'x'", "share:SH"),
        ("create application a from application package p", "application-package:P"),
        ("create iceberg table t external_volume = 'v' catalog = 'ci'", "external-volume:V integration:CI"),
        ("create function f() returns int service = d.s.svc endpoint = 'x' as '/p'", "service:D.S.SVC"),
        ("create function f() returns int language python imports = ('@d.s.st/x.py') as 'x'", "stage:D.S.ST"),
        ("alter account set event_table = d.s.e", "D.S.E"),
        (
            "alter user u add delegated authorization of role r to security integration i",
            "role:R integration:I",
        ),
        ("grant apply on masking policy d.s.p to role r", "policy:D.S.P role:R"),
        ("alter user u remove delegated authorizations from security integration i", "integration:I"),
        ("select * from table(infer_schema(location => '@d.s.st/x', file_format => 'ff'))", "stage:D.S.ST"),
        ("select $1 from @st (file_format => ff)", "file-format:ANALYTICS.PUBLIC.FF"),
    ] {
        let facts = analyze(&SqlText::new(sql).unwrap(), &session(), &crate::Catalog::default());
        let statements = facts.statements().unwrap_or_else(|opaque| panic!("{sql}: {opaque}"));
        let named: Vec<String> = statements
            .iter()
            .flat_map(|statement| {
                let objects = statement.objects.iter();
                let objects = objects.map(|used| format!("{}:{}", used.kind, used.full_name()));
                let tables = statement.tables.iter().map(|used| used.table.to_string());
                let containers = statement.containers.iter().map(|used| match &used.container {
                    crate::Container::Database(database) => database.to_string(),
                    crate::Container::Schema { database, schema } => {
                        let part =
                            |p: &Option<model::Ident>| p.as_ref().map_or("?".to_owned(), ToString::to_string);
                        format!("{}.{}", part(database), part(schema))
                    }
                });
                objects.chain(tables).chain(containers).collect::<Vec<_>>()
            })
            .collect();
        wrong.extend(
            expected
                .split(' ')
                .filter(|name| !named.iter().any(|named| named == name))
                .map(|name| format!("{sql}\n  {name} is not in {named:?}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_word_of_a_condition_names_no_object() {
    for sql in [
        "select * from t where warehouse = w",
        "update t set integration = 'i'",
        "insert into t select model = m from u",
    ] {
        assert_eq!(objects(sql), "", "{sql}");
    }
}
