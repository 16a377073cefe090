//! What `init` writes is a good beginning: it compiles, and so do the examples in its comments.

use super::{nobody, verdict, verified};
use crate::{Cases, Policies, PolicyFile, starter};

/// Rules with all that `init` puts beside them.
fn compile(rules: &[&str]) -> Policies {
    let beside = starter::BESIDE.iter().map(|starter| starter.policy);
    let named = |(n, text): (usize, &str)| PolicyFile { name: format!("{n}.cedar"), text: text.to_owned() };
    let files: Vec<PolicyFile> = rules.iter().copied().chain(beside).enumerate().map(named).collect();
    let classification = PolicyFile { name: "c.toml".into(), text: starter::CLASSIFICATION.into() };
    Policies::load(&files, &classification).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn each_does_what_its_cases_say() {
    let all: Vec<&str> =
        starter::EXAMPLES.iter().map(|starter| starter.policy).chain([starter::POLICY]).collect();
    let rules = compile(&all);
    for starter in starter::BESIDE.iter().chain(&starter::EXAMPLES) {
        let name = format!("{}.test.toml", starter.name);
        let cases = Cases::parse(&PolicyFile { name, text: starter.test.into() });
        let cases = cases.unwrap_or_else(|error| panic!("{error}"));
        let results = cases.run(&rules);
        assert!(!results.is_empty(), "{}", starter.name);
        for result in results {
            assert!(
                result.differences.is_empty(),
                "{}: {}: {:#?}",
                result.place,
                result.name,
                result.differences
            );
        }
    }
}

#[test]
fn each_case_needs_its_rules() {
    // Without a starter's own rules, its cases do not all hold.
    let all = || starter::BESIDE.iter().chain(&starter::EXAMPLES);
    for left_out in all() {
        let others = all().filter(|starter| starter.name != left_out.name).map(|starter| starter.policy);
        let named =
            |(n, text): (usize, &str)| PolicyFile { name: format!("{n}.cedar"), text: text.to_owned() };
        let files: Vec<PolicyFile> = others.chain([starter::POLICY]).enumerate().map(named).collect();
        let classification = PolicyFile { name: "c.toml".into(), text: starter::CLASSIFICATION.into() };
        let rules = Policies::load(&files, &classification).unwrap();
        let cases = Cases::parse(&PolicyFile { name: "t".into(), text: left_out.test.into() }).unwrap();
        assert!(cases.run(&rules).iter().any(|result| !result.differences.is_empty()), "{}", left_out.name);
    }
}

/// The file with the examples in its comments made rules.
fn with_examples() -> String {
    let lines = starter::POLICY.lines().map(|line| match line.strip_prefix("// ") {
        Some(code)
            if code.starts_with(['@', ')', '}', ' '])
                || code.starts_with("permit (")
                || code.starts_with("})") =>
        {
            if code.starts_with("  @") {
                line
            } else {
                code
            }
        }
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_starter_permits_sessions_and_nothing_else() {
    let rules = compile(&[starter::POLICY]);
    assert_eq!(verdict(&rules, &verified(), "use role r"), "permit [jobs-have-sessions]");
    for sql in ["select 1", "drop table t", "insert into t values (1)"] {
        assert!(verdict(&rules, &verified(), sql).starts_with("deny [default-deny]"), "{sql}");
    }
    assert!(verdict(&rules, &verified(), "create user u").starts_with("deny [no-administration"));
    assert!(verdict(&rules, &verified(), "copy into @~/x from t").starts_with("deny [no-unload]"));
    assert!(verdict(&rules, &nobody(), "use role r").starts_with("deny [default-deny]"));
}

#[test]
fn its_examples_do_what_they_say() {
    let rules = compile(&[&with_examples()]);
    assert_eq!(
        rules.rule_ids().collect::<Vec<_>>(),
        [
            "billing-sees-email",
            "etl-reads-analytics",
            "etl-writes-staging",
            "jobs-have-sessions",
            "no-administration",
            "no-new-credentials",
            "no-unload",
            "no-ways-out",
            "other-tags-are-used",
            "pii-decides-nothing",
            "pii-stays-in-its-place"
        ]
    );
    assert!(verdict(&rules, &verified(), "select * from orders").starts_with("permit"));
    assert!(verdict(&rules, &verified(), "insert into staging.t values (1)").starts_with("permit"));
    assert!(verdict(&rules, &verified(), "insert into public.t values (1)").starts_with("deny"));
}
