//! Statements before the judge.

use identity::{Principal, Provider, testing};
use model::{Mode, SqlText};
use serde_json::json;
use sql::{Class, SessionNames};

use super::{
    ALLOW_ALL, READS, decide, decide_in, nobody, observed, policies, query_id, session, show, verdict,
    verified,
};
use crate::Decision;

const ID: &str = "github:repo:acme/etl:ref:refs/heads/main";

#[test]
fn nothing_is_permitted_that_no_rule_permits() {
    let (reads, me) = (policies(READS), verified());
    for (sql, expected) in [
        ("select * from customers", "permit [etl-reads]".to_owned()),
        ("select 1", "permit [etl-reads]".to_owned()),
        ("use warehouse w", "permit [etl-reads]".to_owned()),
        ("explain delete from customers", "permit [etl-reads]".to_owned()),
        (
            "drop table customers",
            format!("deny [default-deny] no rule permits DROP on table ANALYTICS.PUBLIC.CUSTOMERS for {ID}"),
        ),
        (
            "insert into \"odd name\" select 1",
            format!(
                "deny [default-deny] no rule permits INSERT on table ANALYTICS.PUBLIC.\"odd name\" for {ID}"
            ),
        ),
        ("drop schema s", format!("deny [default-deny] no rule permits DROP on schema ANALYTICS.S for {ID}")),
        ("drop database d", format!("deny [default-deny] no rule permits DROP on database D for {ID}")),
        ("create user u", format!("deny [default-deny] no rule permits CREATE USER on user U for {ID}")),
        ("get @s file:///tmp", "deny [default-deny] no rule permits GET on ".to_owned()),
        ("call p()", "deny [default-deny] no rule permits CALL on ".to_owned()),
        ("select my_udf(id) from customers", "deny [default-deny] no rule permits CALL o".to_owned()),
    ] {
        let told = verdict(&reads, &me, sql);
        assert!(told.starts_with(&expected), "{sql}\n  is       {told}\n  expected {expected}");
    }
    assert!(
        verdict(&policies(""), &me, "select 1").starts_with("deny [default-deny] no rule permits SELECT")
    );
}

#[test]
fn every_object_and_the_account_must_be_permitted() {
    let me = verified();
    let table_only = policies(
        r#"@id("t") permit (principal, action in Action::"read", resource in Database::"ANALYTICS");"#,
    );
    assert!(verdict(&table_only, &me, "select * from orders").contains("SELECT on account ACME"));
    let account_only =
        policies(r#"@id("a") permit (principal, action in Action::"read", resource == Account::"ACME");"#);
    assert!(verdict(&account_only, &me, "select * from orders").contains("on table ANALYTICS.PUBLIC.ORDERS"));
    let both = policies(
        r#"@id("a") permit (principal, action in Action::"read", resource == Account::"ACME");
           @id("t") permit (principal, action in Action::"read", resource in Schema::"ANALYTICS.PUBLIC");"#,
    );
    assert_eq!(verdict(&both, &me, "select * from orders"), "permit [a t]");
    for sql in ["select * from orders, other.s.t", "select (select 1 from other.s.t) from orders"] {
        assert!(verdict(&both, &me, sql).contains("on table OTHER.S.T"), "{sql}");
    }
}

#[test]
fn what_is_read_by_a_change_is_asked_as_a_read() {
    let me = verified();
    let rules = policies(
        r#"@id("w") permit (principal, action in Action::"write", resource in Account::"ACME");
           @id("r") permit (principal, action in Action::"read", resource in Schema::"ANALYTICS.OPEN");"#,
    );
    assert_eq!(verdict(&rules, &me, "insert into t select * from open.u"), "permit [r w]");
    assert!(
        verdict(&rules, &me, "insert into t select * from closed.u")
            .contains("no rule permits SELECT on table ANALYTICS.CLOSED.U")
    );
}

#[test]
fn a_forbid_wins_and_says_why() {
    let me = verified();
    let rules = policies(
        r#"@id("all") permit (principal, action, resource);
           @id("no-ddl") @reason("tables are made by the platform team") forbid (principal, action in Action::"ddl", resource);
           @id("no-hr") forbid (principal, action, resource in Schema::"ANALYTICS.HR");"#,
    );
    assert_eq!(verdict(&rules, &me, "drop table t"), "deny [no-ddl] tables are made by the platform team");
    assert_eq!(
        verdict(&rules, &me, "select * from t, hr.people"),
        format!("deny [no-hr] a rule forbids SELECT on table ANALYTICS.HR.PEOPLE for {ID}")
    );
    assert_eq!(verdict(&rules, &me, "select * from t"), "permit [all]");
}

#[test]
fn a_permit_counts_only_for_the_assurance_it_names() {
    let rules = |assurance: &str| {
        policies(&format!("@id(\"p\") {assurance} permit (principal, action in Action::\"read\", resource);"))
    };
    for (assurance, expected) in [
        ("", [true, false, false]),
        ("@assurance(\"verified\")", [true, false, false]),
        ("@assurance(\"observed\")", [true, true, false]),
        ("@assurance(\"none\")", [true, true, true]),
    ] {
        let rules = rules(assurance);
        let allowed = [verified(), observed(), nobody()]
            .map(|principal| matches!(decide(&rules, &principal, "select 1"), Decision::Permit(_)));
        assert_eq!(allowed, expected, "{assurance}");
    }
    assert_eq!(
        verdict(&rules(""), &observed(), "select 1"),
        "deny [default-deny] no rule permits SELECT on account ACME for \
         observed:github:repo:acme/etl:ref:refs/heads/main; one does for verified jobs, but this one's identity is observed; to have a verified identity, give the workflow's job `permissions: id-token: write`"
    );
    let reads = policies(READS);
    assert_eq!(
        verdict(&reads, &nobody(), "select 1"),
        "deny [default-deny] no rule permits SELECT on account ACME for a client without identity (the process does not \
         belong to a CI job: no worker listed in [workload] workers started it or one of its parents)"
    );
}

#[test]
fn forbids_count_for_everybody() {
    let rules = policies(&format!(
        "{ALLOW_ALL} @id(\"f\") forbid (principal, action, resource) when {{ principal.assurance == \"none\" }};"
    ));
    assert!(verdict(&rules, &nobody(), "select 1").starts_with("deny [f]"));
    assert_eq!(verdict(&rules, &observed(), "select 1"), "permit [allow-all]");
}

#[test]
fn a_forbid_that_people_can_lift_holds_only_if_it_alone_refuses() {
    let me = verified();
    let hold = r#"@id("pii") @approve("security-oncall") @reason("pii is read with a second pair of eyes")
        forbid (principal, action in Action::"read", resource) when { resource.tags.contains("pii") };
        @id("audit") @approve("auditors") forbid (principal, action, resource in Schema::"ANALYTICS.AUDIT");"#;
    let rules = policies(&format!("{READS} {hold}"));
    assert_eq!(verdict(&rules, &me, "select * from orders"), "permit [etl-reads]");
    assert_eq!(
        verdict(&rules, &me, "select * from customers"),
        "hold [pii] by security-oncall: pii is read with a second pair of eyes"
    );
    assert_eq!(
        verdict(&rules, &me, "select * from audit.t, customers"),
        format!(
            "hold [audit pii] by auditors security-oncall: a rule forbids SELECT on table ANALYTICS.AUDIT.T for {ID}"
        )
    );
    // Without the forbid nothing would permit it.
    assert!(verdict(&rules, &nobody(), "select * from customers").starts_with("deny [pii]"));
    let harder =
        policies(&format!("{READS} {hold} @id(\"never\") forbid (principal, action, resource is Table);"));
    assert!(verdict(&harder, &me, "select * from customers").starts_with("deny [never pii]"));
    assert!(verdict(&harder, &me, "select * from customers, x.y.z").starts_with("deny"));
    let Err(denial) = decide(&rules, &me, "select * from customers").permit() else { panic!("held") };
    assert_eq!(
        denial.to_string(),
        "pii is read with a second pair of eyes; security-oncall could approve it, and this version cannot ask them"
    );
}

#[test]
fn a_rule_that_cannot_be_evaluated_refuses() {
    let rules = policies(
        r#"@id("all") permit (principal, action, resource);
           @id("overflows") forbid (principal, action == Action::"SELECT", resource)
           when { 9223372036854775807 + (if context.user == "ETL_SVC" then 1 else 0) > 0 };"#,
    );
    assert!(verdict(&rules, &verified(), "select 1").starts_with("deny [overflows not-judged]"));
}

#[test]
fn what_is_not_understood_or_leads_elsewhere_is_refused_whatever_the_rules() {
    let all = policies(ALLOW_ALL);
    for (sql, rule, reason) in [
        ("frobnicate", "not-understood", "FROBNICATE was not understood: near line 1, column 1"),
        ("select 1; select 2", "several-statements", "it holds several statements"),
        ("select 1; frobnicate", "not-understood", "SELECT was not understood: near line 1"),
        ("execute immediate $x", "reads-elsewhere", "EXECUTE IMMEDIATE runs text that is computed"),
        ("select * from table(result_scan('x'))", "reads-elsewhere", "RESULT_SCAN reads the rows"),
        (
            "select system$whitelist()",
            "reads-elsewhere",
            "SYSTEM$WHITELIST reads or changes the system itself",
        ),
    ] {
        let found = verdict(&all, &nobody(), sql);
        assert!(found.starts_with(&format!("deny [{rule}] {reason}")), "{found}");
    }
    let nameless = decide_in(&all, &nobody(), "select * from t", Mode::Enforce, &SessionNames::default());
    assert!(show(&nameless).starts_with("deny [unknown-name] it is not known which table ?.?.T is"));
    let many: Vec<String> = (0..501).map(|i| format!("t{i}")).collect();
    let found = verdict(&all, &nobody(), &format!("select * from {}", many.join(", ")));
    assert!(found.starts_with("deny [too-many-objects]"), "{found}");
}

#[test]
fn an_unqualified_name_must_be_permitted_in_both_places() {
    let rules = policies(
        r#"@id("a") permit (principal, action in Action::"read", resource == Account::"ACME");
           @id("s") permit (principal, action in Action::"read", resource in Schema::"ANALYTICS.STAGING");"#,
    );
    let staging = SessionNames { schema: Some(model::Ident::unquoted("STAGING")), ..session() };
    let me = verified();
    let unqualified = show(&decide_in(&rules, &me, "select * from t", Mode::Enforce, &staging));
    assert!(
        unqualified.contains(
            "table ANALYTICS.PUBLIC.T (which an unqualified name may mean, too; write the schema before it)"
        ),
        "{unqualified}"
    );
    let qualified = show(&decide_in(&rules, &me, "select * from staging.t", Mode::Enforce, &staging));
    assert_eq!(qualified, "permit [a s]");
}

#[test]
fn every_class_is_an_action_of_the_schema_in_its_group() {
    let me = verified();
    for class in Class::ALL {
        let group = class.group().as_str();
        let by_name =
            format!("@id(\"n\") permit (principal, action == Action::\"{}\", resource);", class.action());
        let by_group = format!(
            "@id(\"g\") permit (principal, action == Action::\"{}\", resource) when {{ action in Action::\"{group}\" }};",
            class.action()
        );
        for text in [by_name, by_group] {
            let _compiles = policies(&text);
        }
    }
    let all = policies(ALLOW_ALL);
    for sql in [
        "show tables",
        "insert into t values (1)",
        "drop table t",
        "grant role a to user b",
        "ls @s",
        "call p()",
        "commit",
    ] {
        assert_eq!(verdict(&all, &me, sql), "permit [allow-all]", "{sql}");
    }
}

#[test]
fn a_copy_of_tagged_data_must_be_permitted_as_such() {
    let me = verified();
    let all_but_derive = policies(
        r#"@id("all") permit (principal, action in [Action::"statement", Action::"decide"], resource);"#,
    );
    let everything = policies(ALLOW_ALL);
    for sql in [
        "create table t as select * from customers",
        "create table t clone customers",
        "create schema s clone public",
        "create database d clone analytics",
        "create view v as select ssn from customers",
        "insert into t select ssn from customers",
        "update customers set city = ssn",
        "merge into t using customers c on t.id = c.id when matched then update set t.a = c.ssn",
        "copy into @~/x from customers",
        "alter table customers rename to t",
        "alter table customers rename column ssn to x",
        "alter table t swap with customers",
    ] {
        let refused = verdict(&all_but_derive, &me, sql);
        assert!(
            refused.starts_with(
                "deny [default-deny] no rule permits deriving from column ANALYTICS.PUBLIC.CUSTOMERS."
            ),
            "{sql}: {refused}"
        );
        assert_eq!(verdict(&everything, &me, sql), "permit [allow-all]", "{sql}");
    }
    for sql in [
        "create table t as select * from orders",
        "create view v as select id, city from customers",
        "insert into t select upper(city) from customers",
        "update customers set city = 'x' where id = 1",
        "delete from customers where id = 1",
        "create table t like customers",
        "create schema s clone other.public",
        "alter table customers add column x int",
    ] {
        assert_eq!(verdict(&all_but_derive, &me, sql), "permit [all]", "{sql}");
    }
}

#[test]
fn observe_mode_permits_and_says_what_it_would_have_done() {
    let rules = policies(READS);
    let decision = decide_in(&rules, &verified(), "drop table t", Mode::Observe, &session());
    let Decision::Permit(permit) = decision else { panic!("refused") };
    let denial = permit.would_refuse().unwrap();
    assert_eq!(denial.rule().as_str(), "default-deny");
    assert!(denial.reason().starts_with("no rule permits DROP"));
    let (text, id, clearance) = permit.spend();
    assert_eq!((text.as_str(), id, clearance.query_id()), ("drop table t", query_id(), query_id()));
    let decision = decide_in(&rules, &verified(), "select 1", Mode::Observe, &session());
    assert!(matches!(decision, Decision::Permit(permit) if permit.would_refuse().is_none()));
}

#[test]
fn the_permit_carries_the_text_that_was_judged() {
    let sql = "select 1 -- exactly so";
    let Decision::Permit(permit) = decide(&policies(READS), &verified(), sql) else { panic!("refused") };
    assert_eq!(permit.spend().0, SqlText::new(sql).unwrap());
}

#[test]
fn names_shown_to_people_are_bounded_and_plain() {
    let name = format!("select * from \"{}\u{1b}[31m\"", "x".repeat(500));
    let found = verdict(&policies(""), &verified(), &name);
    assert!(found.chars().count() < 400 && !found.contains('\u{1b}') && found.contains('…'), "{found}");
}

#[test]
fn a_group_of_another_ci_system_bears_its_word() {
    let gitlab = testing::verified_by(Provider::GitLab, &json!({"project_path": "acme/etl"}));
    let is_in = |principal: &Principal, group: &str| {
        let rule = format!("permit (principal in Group::\"{group}\", action in Action::\"read\", resource);");
        verdict(&policies(&format!("@id(\"reads\") {rule}")), principal, "select 1 from t")
            .starts_with("permit")
    };
    for group in
        ["gitlab:repository:acme/etl", "gitlab:owner:acme", "gitlab:group:acme/data", "provider:gitlab"]
    {
        assert!(is_in(&gitlab, group) && !is_in(&verified(), group), "{group}");
    }
    for group in ["repository:acme/etl", "owner:acme", "provider:github"] {
        assert!(!is_in(&gitlab, group) && is_in(&verified(), group), "{group}");
    }
}

#[test]
fn an_agent_and_the_operators_groups_are_there_for_rules() {
    use identity::{AgentTable, Assurance, GroupField, GroupRule, GroupRules};

    let fields = [(GroupField::Repository, vec!["acme/*"])];
    let rules = GroupRules::new(vec![GroupRule::new("data-eng", Assurance::Verified, &fields).unwrap()]);
    let policies = policies(
        r#"@id("team") permit (principal in Group::"data-eng", action in Action::"read", resource);
        @id("no-agents") forbid (principal, action, resource)
        when { principal has agent && principal.agent == "claude-code" &&
            principal has agent_evidence && principal.agent_evidence == "executable" };"#,
    );
    assert!(verdict(&policies, &verified(), "select 1").starts_with("deny [default-deny]"));
    let member = verified().grouped(&rules);
    assert_eq!(verdict(&policies, &member, "select 1"), "permit [team]");
    let table = AgentTable::default();
    let cursor = table.by_program("/usr/bin/cursor-agent", &[]).unwrap();
    assert_eq!(verdict(&policies, &member.clone().with_agent(cursor), "select 1"), "permit [team]");
    let claude = table.by_program("/usr/bin/claude", &[]).unwrap();
    assert!(
        verdict(&policies, &member.clone().with_agent(claude), "select 1").starts_with("deny [no-agents]")
    );
    let said = table.by_variables(|name| (name == "CLAUDECODE").then_some("1")).unwrap();
    assert_eq!(verdict(&policies, &member.with_agent(said), "select 1"), "permit [team]");
}

#[test]
fn rules_see_the_roles_that_each_statement_runs_in() {
    let rules = policies(
        r#"@id("all") permit (principal, action in [Action::"statement", Action::"decide"], resource);
           @id("etl-alone") forbid (principal, action in Action::"read", resource) unless { context.role == "ETL" };
           @id("no-more") forbid (principal, action in Action::"ddl", resource)
           unless { context.secondary_roles == "none" };"#,
    );
    let me = verified();
    for (sql, expected) in [
        ("select * from orders", "permit [all]"),
        ("use role accountadmin", "permit [all]"),
        ("begin use role accountadmin; select * from orders; end", "deny [etl-alone]"),
        ("begin use role etl; select * from orders; end", "permit [all]"),
        ("begin call p(); select * from analytics.public.orders; end", "deny [etl-alone]"),
        ("execute immediate 'select * from orders'", "permit [all]"),
        ("drop table orders", "deny [no-more]"),
    ] {
        assert!(verdict(&rules, &me, sql).starts_with(expected), "{sql}: {}", verdict(&rules, &me, sql));
    }
    let alone = SessionNames { secondary_roles: sql::SecondaryRoles::None, ..session() };
    let told = show(&decide_in(&rules, &me, "drop table orders", Mode::Enforce, &alone));
    assert_eq!(told, "permit [all]");
}

#[test]
fn who_is_nobody_is_told_what_to_do() {
    let reads = policies(READS);
    let below = nobody().below_runner(Some("gitlab"));
    let told = verdict(&reads, &below, "select 1");
    assert!(
        told.contains("without identity")
            && told.contains("; to have a verified identity, declare `id_tokens:`"),
        "{told}"
    );
}
