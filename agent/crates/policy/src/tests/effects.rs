//! Each effect, as rules see it: one rule for each word, statements in, decisions out.

use sql::Effect;

use super::{policies, verdict, verified};
use crate::Policies;

/// Everything is permitted but what has an effect.
fn rules() -> Policies {
    let forbid = |effect: Effect| {
        let word = effect.as_str();
        format!(
            "@id(\"no-{word}\") forbid (principal, action in Action::\"statement\", resource) \
             when {{ context.effects.contains(\"{word}\") }};\n"
        )
    };
    let forbids: String = Effect::ALL.into_iter().map(forbid).collect();
    policies(&format!("@id(\"all\") permit (principal, action, resource);\n{forbids}"))
}

/// The rules that refuse a statement; none if it is permitted.
fn refusing(rules: &Policies, sql: &str) -> Vec<String> {
    let told = verdict(rules, &verified(), sql);
    let refusing = told.strip_prefix("deny [").and_then(|rest| rest.split(']').next());
    refusing.map(|rules| rules.split(' ').map(str::to_owned).collect()).unwrap_or_default()
}

#[test]
fn a_rule_can_refuse_each_effect() {
    let rules = rules();
    let table: [(Effect, &[&str]); 13] = [
        (
            Effect::UnloadStage,
            &[
                "copy into @out from orders",
                "copy into @~/x from (select city from orders)",
                "copy files into @a from @b",
            ],
        ),
        (
            Effect::UnloadUrl,
            &["copy into 's3://bucket/x' from orders", "copy into 'azure://a/b' from orders"],
        ),
        (
            Effect::Share,
            &[
                "create share s",
                "alter share s add accounts = other",
                "grant usage on database analytics to share s",
                "create listing l",
            ],
        ),
        (
            Effect::ExternalAccess,
            &[
                "create network rule r mode = egress type = host_port value_list = ('x.example')",
                "create external access integration e allowed_network_rules = (r) enabled = true",
                "create api integration a api_provider = aws_api_gateway enabled = true",
                "create storage integration s type = external_stage enabled = true",
                "create notification integration n type = email enabled = true",
            ],
        ),
        (
            Effect::Grant,
            &[
                "grant role a to user b",
                "revoke select on table orders from role r",
                "grant ownership on table orders to role r",
            ],
        ),
        (
            Effect::PolicyChange,
            &[
                "create masking policy p as (v string) returns string -> v",
                "drop masking policy p",
                "alter table orders modify column city unset masking policy",
                "alter table orders drop all row access policies",
                "create network policy n allowed_ip_list = ('0.0.0.0/0')",
                "alter account set network_policy = n",
            ],
        ),
        (
            Effect::TagChange,
            &[
                "create tag t",
                "alter table orders set tag t = 'x'",
                "alter table orders modify column city unset tag t",
            ],
        ),
        (
            Effect::CredentialInText,
            &[
                "alter user u set password = 'x'",
                "create user u password = 'x'",
                "copy into orders from 's3://b/x' credentials = (aws_key_id = 'a' aws_secret_key = 'b')",
                "create secret s type = password username = 'a' password = 'b'",
            ],
        ),
        (
            Effect::MintsCredential,
            &[
                "alter user u add programmatic access token t",
                "create user u",
                "alter user u set rsa_public_key = 'x'",
                "alter user u set password = 'x'",
            ],
        ),
        (
            Effect::TimeTravel,
            &[
                "select city from orders at (offset => -60)",
                "select city from orders before (statement => '01-x')",
                "create table t clone orders at (offset => -60)",
            ],
        ),
        (
            Effect::Clone,
            &["create table t clone orders", "create schema s clone other", "create database d clone other"],
        ),
        (Effect::ResultScan, &[]),
        (Effect::Dynamic, &[]),
    ];
    for (effect, statements) in table {
        for sql in statements {
            let refusing = refusing(&rules, sql);
            assert!(refusing.contains(&format!("no-{}", effect.as_str())), "{effect:?}: {sql}: {refusing:?}");
        }
    }
}

#[test]
fn some_effects_are_refused_before_any_rule() {
    let rules = rules();
    for sql in [
        "select * from table(result_scan(last_query_id()))",
        "execute immediate $x",
        "begin let q := 'drop table t'; execute immediate :q; end",
        "select get_presigned_url(@s, 'x')",
    ] {
        assert_eq!(refusing(&rules, sql), ["reads-elsewhere"], "{sql}");
    }
}

#[test]
fn what_has_no_effect_is_not_taken_for_one() {
    let rules = rules();
    for sql in [
        "select city from orders where note = 'password = secret'",
        "copy into orders from @in",
        "create table grants (share varchar)",
        "insert into orders select * from places",
        "select clone, tag, share from orders",
        "use role accountadmin",
        "drop table orders",
        "truncate table orders",
    ] {
        assert!(refusing(&rules, sql).is_empty(), "{sql}: {:?}", verdict(&rules, &verified(), sql));
    }
}
