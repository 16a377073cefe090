//! What data took with it, what views show, and what nobody knows.

use std::{collections::BTreeSet, sync::Arc};

use model::{AccountName, ColumnMeta, Ident, Mode, ResultSet, Rows, SqlText, TableName};

use super::{READS, policies, query_id, session, verified};
use crate::{Beside, Carried, Decision, Permit, Policies, StatementAsk};

/// Jobs of `acme/etl` may do everything, and see what is tagged as an address.
const MOVES: &str = r#"
@id("moves")
permit (principal, action, resource) when { !(action in [Action::"unmask", Action::"derive"]) };

@id("copies-addresses")
permit (principal, action == Action::"derive", resource) when { resource.tags.contains("email") };

@id("sees-addresses")
permit (principal, action == Action::"unmask", resource) when { resource.tags.contains("email") };
"#;

const SEES_ALL: &str = r#"@id("all") permit (principal, action, resource);"#;

fn table(name: &str) -> TableName {
    let part = |text: &str| Some(Ident::exact(text));
    TableName { database: part("ANALYTICS"), schema: part("PUBLIC"), name: Ident::exact(name) }
}

fn tables(names: &[&str]) -> Arc<BTreeSet<TableName>> {
    Arc::new(names.iter().map(|name| table(name)).collect())
}

fn carried(name: &str, column: Option<&str>, tags: &[&str]) -> Carried {
    let TableName { database, schema, name } = table(name);
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Carried { database, schema, table: Some(name), column: column.map(Ident::exact), tags }
}

fn decide(policies: &Policies, sql: &str, beside: Beside) -> Decision<Permit> {
    decide_with(policies, sql, beside, &sql::Catalog::default())
}

fn decide_with(policies: &Policies, sql: &str, beside: Beside, catalog: &sql::Catalog) -> Decision<Permit> {
    let facts = Arc::new(sql::analyze(&SqlText::new(sql).unwrap(), &session(), catalog));
    let ask = StatementAsk {
        principal: &verified(),
        account: &AccountName::new("acme"),
        user: "U",
        facts: &facts,
        query_id: query_id(),
        mode: Mode::Enforce,
    };
    policies.statement_beside(&ask, beside)
}

/// The cells of one row of texts: `=` untouched, `4` last four kept, `@` domain kept, `0` NULL.
fn row(policies: &Policies, sql: &str, columns: &[(&str, &str)], beside: Beside) -> String {
    let Decision::Permit(permit) = decide(policies, sql, beside) else { panic!("{sql} was refused") };
    let column = |(name, table): &(&str, &str)| ColumnMeta {
        name: (*name).to_owned(),
        database: if table.is_empty() { String::new() } else { "ANALYTICS".to_owned() },
        schema: if table.is_empty() { String::new() } else { "PUBLIC".to_owned() },
        table: (*table).to_owned(),
        type_name: "text".to_owned(),
        nullable: true,
    };
    let cells = columns.iter().map(|_| Some("ann@example.org".to_owned())).collect();
    let result = ResultSet { columns: columns.iter().map(column).collect(), rows: Rows::Json(vec![cells]) };
    let cleared = permit.spend().2.clear(result).unwrap();
    let Rows::Json(rows) = cleared.into_result().rows else { panic!("not JSON") };
    let shown = |cell: Option<String>| match cell.as_deref() {
        None => '0',
        Some("ann@example.org") => '=',
        Some("****@example.org") => '@',
        Some("****.org") => '4',
        Some(_) => '?',
    };
    rows.into_iter().flatten().map(shown).collect()
}

#[test]
fn a_column_that_holds_what_a_tagged_one_held_is_masked_likewise() {
    let policies = policies(READS);
    let beside = || Beside {
        carried: vec![carried("COPY", Some("CODE"), &["pii", "ssn"]), carried("BAG", None, &["email"])],
        ..Beside::default()
    };
    let sql = "select code, city from copy";
    assert_eq!(row(&policies, sql, &[("CODE", ""), ("CITY", "")], beside()), "4=");
    assert_eq!(row(&policies, sql, &[("CODE", ""), ("CITY", "")], Beside::default()), "==");
    assert_eq!(row(&policies, "select a, b from bag", &[("A", ""), ("B", "")], beside()), "@@");
    assert_eq!(row(&policies, "select code from other", &[("CODE", "")], beside()), "=");
    // A tag that the classification gives no mask.
    let odd = Beside { carried: vec![carried("COPY", None, &["secret"])], ..Beside::default() };
    assert_eq!(row(&policies, "select code from copy", &[("CODE", "")], odd), "0");
}

#[test]
fn who_may_see_the_tag_sees_the_copy() {
    let policies = policies(MOVES);
    let beside = Beside {
        carried: vec![carried("COPY", Some("A"), &["email"]), carried("COPY", Some("B"), &["ssn"])],
        ..Beside::default()
    };
    assert_eq!(row(&policies, "select a, b from copy", &[("A", ""), ("B", "")], beside), "=4");
}

#[test]
fn tables_behind_a_view_are_read_as_well() {
    let policies = policies(MOVES);
    let view = sql::View {
        definition: "create view people as select ssn as code, city from customers".to_owned(),
        names: session(),
    };
    let columns = ["CODE", "CITY"].map(Ident::exact);
    let mut catalog = sql::Catalog::default();
    catalog.insert_table(table("PEOPLE"), Arc::new(sql::Table { columns: columns.into(), view: Some(view) }));
    let customers = ["ID", "SSN", "EMAIL", "CITY"].map(Ident::exact);
    catalog.insert_table(table("CUSTOMERS"), Arc::new(sql::Table::with_columns(customers)));
    let through_view = || Beside { reached: tables(&["CUSTOMERS"]), ..Beside::default() };
    for (columns, is_permitted) in [("*", false), ("code", false), ("upper(code)", false), ("city", true)] {
        let sql = format!("create table mine as select {columns} from people");
        match decide_with(&policies, &sql, through_view(), &catalog) {
            Decision::Permit(_) => assert!(is_permitted, "{sql}"),
            Decision::Denial(denial) => {
                let told = denial.to_string();
                assert!(
                    !is_permitted && told.contains("deriving from column ANALYTICS.PUBLIC.CUSTOMERS.SSN")
                );
            }
            Decision::Hold(_) => panic!("{sql} is held"),
        }
    }
}

/// Columns of that name are tagged wherever they are, and one table besides.
const BY_NAME: &str = r#"
[[column]]
pattern = "*.PUBLIC.*.SSN"
tags = ["pii"]
[[column]]
pattern = "*.PUBLIC.CUSTOMERS.EMAIL"
tags = ["pii", "email"]
"#;

#[test]
fn a_table_that_is_renamed_is_no_copy_where_its_tags_go_with_it() {
    let classification = crate::Classification::parse("c.toml", BY_NAME).unwrap();
    let rules = r#"@id("moves") permit (principal, action, resource) unless { action == Action::"derive" };"#;
    let policies = Policies::compile(&[super::file(rules)], classification).unwrap();
    let told = |sql: &str, carried: Vec<Carried>| match decide(
        &policies,
        sql,
        Beside { carried, ..Beside::default() },
    ) {
        Decision::Permit(permit) => {
            let tags = permit.carries().iter().map(|c| {
                let part = |part: &Option<Ident>| part.as_ref().map_or("*".to_owned(), ToString::to_string);
                format!("{}.{}", part(&c.table), part(&c.column))
            });
            format!("permit {}", tags.collect::<Vec<_>>().join(" "))
        }
        Decision::Denial(denial) => denial.to_string(),
        Decision::Hold(hold) => hold.to_string(),
    };
    for (sql, expected) in [
        ("alter table people rename to persons", "permit PERSONS.SSN"),
        ("alter table people swap with persons", "permit PEOPLE.SSN PERSONS.SSN"),
        ("alter table customers rename column ssn to \"ssn\"", "permit CUSTOMERS.ssn"),
        ("alter table customers rename column city to town", "permit "),
        ("alter table places rename column city to town", "permit "),
    ] {
        assert_eq!(told(sql, Vec::new()), expected, "{sql}");
    }
    for (sql, column) in [
        // Another schema, where the pattern does not say so; a name that it does not match; the table that it names.
        ("alter table people rename to other.people", "PEOPLE.SSN"),
        ("alter table people rename to elsewhere.public.people", "PEOPLE.SSN"),
        ("alter table people rename column ssn to code", "PEOPLE.SSN"),
        ("alter table customers rename to c2", "CUSTOMERS.EMAIL"),
        ("alter table customers swap with c2", "CUSTOMERS.EMAIL"),
        ("create table c2 clone people", "PEOPLE.SSN"),
    ] {
        let told = told(sql, Vec::new());
        let expected = format!("no rule permits deriving from column ANALYTICS.PUBLIC.{column}");
        assert!(told.starts_with(&expected), "{sql}: {told}");
    }
    // What a copy took along goes with it.
    let copy = || vec![carried("COPY", Some("CODE"), &["pii"])];
    assert_eq!(told("alter table copy rename to kept", copy()), "permit KEPT.CODE KEPT.SSN");
    assert_eq!(told("alter table copy rename column code to c", copy()), "permit COPY.C");
    assert!(told("alter table copy rename to other.kept", copy()).contains("deriving from"));
}

#[test]
fn behind_a_name_that_nobody_knows_there_may_be_anything() {
    let policies = policies(READS);
    let unresolved = || Beside { unresolved: tables(&["PEOPLE"]), ..Beside::default() };
    let sql = "select city, 1 from people";
    assert_eq!(row(&policies, sql, &[("CITY", ""), ("1", "")], unresolved()), "0=");
    assert_eq!(row(&policies, sql, &[("CITY", ""), ("1", "")], Beside::default()), "==");
    let both = "select people.city, c.city from people, customers c";
    assert_eq!(row(&policies, both, &[("CITY", ""), ("CITY", "")], unresolved()), "0=");
    let copy = decide(&super::policies(MOVES), "create table x as select city from people", unresolved());
    assert!(matches!(copy, Decision::Denial(_)));
    // What data took anywhere may be there, too.
    let anywhere = Beside { carried_anywhere: BTreeSet::from(["ssn".to_owned()]), ..unresolved() };
    assert_eq!(row(&super::policies(MOVES), "select city from people", &[("CITY", "")], anywhere), "0");
}

#[test]
fn where_the_server_says_that_a_column_comes_from_counts_too() {
    let policies = policies(MOVES);
    let sql = "select o.email, o.note from customers c join orders o on c.id = o.id";
    let told = |table| [("EMAIL", table), ("SSN", table)];
    assert_eq!(row(&policies, sql, &told("ORDERS"), Beside::default()), "==");
    assert_eq!(row(&policies, sql, &told("CUSTOMERS"), Beside::default()), "=4");
    // A result of another width is masked as a whole.
    let wide = [("EMAIL", ""), ("CITY", ""), ("ID", "")];
    assert_eq!(row(&policies, sql, &wide, Beside::default()), "000");
}

#[test]
fn a_permit_says_where_tags_will_be() {
    let policies = policies(SEES_ALL);
    let said = |sql: &str, beside: Beside| {
        let Decision::Permit(permit) = decide(&policies, sql, beside) else { panic!("{sql} was refused") };
        let part = |part: &Option<Ident>| part.as_ref().map_or("*".to_owned(), ToString::to_string);
        let word = |c: &Carried| {
            let tags = c.tags.iter().cloned().collect::<Vec<_>>().join("+");
            format!("{}.{}.{} {tags}", part(&c.schema), part(&c.table), part(&c.column))
        };
        permit.carries().iter().map(word).collect::<Vec<_>>().join(", ")
    };
    for (sql, expected) in [
        ("create table x as select ssn from customers", "PUBLIC.X.SSN pii+ssn"),
        ("create table x as select upper(email) e, city from customers", "PUBLIC.X.E email+pii"),
        ("insert into x (a, b) select id, ssn from customers", "PUBLIC.X.B pii+ssn"),
        ("insert into x select * from customers", "PUBLIC.X.* email+pii+ssn"),
        ("create view v as select city from customers", ""),
        ("create view v (k) as select email from customers", "PUBLIC.V.K email+pii"),
        ("update customers set city = ssn", "PUBLIC.CUSTOMERS.CITY pii+ssn"),
        ("copy into @out from (select ssn from customers)", "*.@.* pii+ssn"),
        ("create table x as select 1 a", ""),
        ("create table x as select city from places", ""),
        ("select ssn from customers", ""),
        ("drop table customers", ""),
        ("create schema s2 clone public", "S2.*.* email+pii+ssn"),
    ] {
        assert_eq!(said(sql, Beside::default()), expected, "{sql}");
    }
    let renamed = said("alter table customers rename to c2", Beside::default());
    for column in ["PUBLIC.C2.SSN pii+ssn", "PUBLIC.C2.EMAIL email+pii"] {
        assert!(renamed.contains(column), "{renamed}");
    }
    let again = Beside { carried: vec![carried("COPY", Some("CODE"), &["ssn"])], ..Beside::default() };
    assert_eq!(said("create table y as select code k from copy", again), "PUBLIC.Y.K ssn");
    let unknown = Beside { unresolved: tables(&["PEOPLE"]), ..Beside::default() };
    assert_eq!(said("create table y as select * from people", unknown), "PUBLIC.Y.* email+pii+ssn");
    // What went into files of stages comes out of them.
    let staged = Carried { database: None, schema: None, ..carried(crate::STAGES, None, &["ssn"]) };
    let staged = || Beside { carried: vec![staged.clone()], ..Beside::default() };
    assert_eq!(said("copy into landed from @in", staged()), "PUBLIC.LANDED.* ssn");
    assert_eq!(said("copy into landed from @in", Beside::default()), "");
}

#[test]
fn a_masked_column_goes_into_no_other_of_its_table() {
    let policies = policies(MOVES);
    let said = |sql: &str| match decide(&policies, sql, Beside::default()) {
        Decision::Permit(_) => "permitted".to_owned(),
        Decision::Denial(denial) => denial.to_string(),
        Decision::Hold(hold) => hold.to_string(),
    };
    for sql in ["update customers set city = ssn", "update customers set city = upper(ssn) || 'x'"] {
        assert_ne!(said(sql), "permitted", "{sql}");
    }
    for sql in [
        "update customers set city = 'x'",
        "insert into customers (id, ssn) values (1, 'x')",
        "insert into customers select * from places",
        "copy into customers from @in",
    ] {
        assert_eq!(said(sql), "permitted", "{sql}");
    }
}
