//! Who may decide on tagged columns, who may copy them, and what is left of them.

use super::{policies, verdict, verified};
use crate::Policies;

const READS: &str = r#"@id("r") permit (principal, action in Action::"statement", resource);"#;

fn refused(rules: &Policies, sql: &str) -> Option<String> {
    let told = verdict(rules, &verified(), sql);
    told.strip_prefix("deny [default-deny] no rule permits ")
        .map(|rest| rest.split(" for ").next().unwrap().to_owned())
}

#[test]
fn a_masked_column_decides_only_where_that_is_permitted() {
    let rules = policies(READS);
    for (sql, column) in [
        ("select id from customers where ssn like '1%'", "SSN"),
        ("select count(*) from customers group by email", "EMAIL"),
        ("select id from customers order by ssn", "SSN"),
        ("select id from customers qualify row_number() over (partition by ssn order by id) = 1", "SSN"),
        ("select o.id from orders o join customers c on c.email = o.email", "EMAIL"),
        ("select id from orders where exists (select 1 from customers where ssn = '1')", "SSN"),
        ("delete from customers where ssn = '1'", "SSN"),
        ("update customers set city = 'x' where email = 'a'", "EMAIL"),
    ] {
        let expected = format!("deciding on column ANALYTICS.PUBLIC.CUSTOMERS.{column}");
        assert_eq!(refused(&rules, sql), Some(expected), "{sql}");
    }
    for sql in [
        "select id, ssn from customers",
        "select * from customers where id = 1 order by city",
        "select count(*) from customers",
        "select id from orders where ssn = '1'",
        "delete from customers where id = 1",
        "drop table customers",
        "use role r",
    ] {
        assert_eq!(verdict(&rules, &verified(), sql), "permit [r]", "{sql}");
    }
    let some = policies(&format!(
        "{READS} @id(\"d\") permit (principal, action == Action::\"decide\", resource) when {{ resource.tags.contains(\"email\") }};"
    ));
    assert_eq!(verdict(&some, &verified(), "select id from customers where email = 'a'"), "permit [d r]");
    assert!(refused(&some, "select id from customers where email = 'a' and ssn = '1'").is_some());
}

#[test]
fn who_sees_a_column_may_decide_on_it_and_not_yet_copy_it() {
    let rules =
        policies(&format!("{READS} @id(\"u\") permit (principal, action == Action::\"unmask\", resource);"));
    assert_eq!(verdict(&rules, &verified(), "select id from customers where ssn = '1'"), "permit [r]");
    assert_eq!(
        refused(&rules, "create table t as select ssn from customers").as_deref(),
        Some("deriving from column ANALYTICS.PUBLIC.CUSTOMERS.SSN")
    );
}

#[test]
fn functions_and_the_class_are_in_the_context() {
    let rules = policies(&format!(
        "{READS}
@id(\"calls\") forbid (principal, action in Action::\"statement\", resource) when {{ context.functions.contains(\"STEAL\") }};
@id(\"class\") forbid (principal, action == Action::\"SELECT\", resource) when {{ context.class == \"INSERT\" }};"
    ));
    assert!(verdict(&rules, &verified(), "select steal(1)").starts_with("deny [calls]"));
    assert!(verdict(&rules, &verified(), "insert into t select * from orders").starts_with("deny [class]"));
    assert_eq!(verdict(&rules, &verified(), "select * from orders"), "permit [r]");
}
