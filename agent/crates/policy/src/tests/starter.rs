//! What `init` writes is a good beginning: it compiles, and so do the examples in its comments.

use super::{file, nobody, verdict, verified};
use crate::{Classification, Policies, starter};

fn compile(text: &str) -> Policies {
    let classification = Classification::parse("classification.toml", starter::CLASSIFICATION).unwrap();
    Policies::compile(&[file(text)], classification).unwrap_or_else(|error| panic!("{error}"))
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
    let rules = compile(starter::POLICY);
    assert_eq!(verdict(&rules, &verified(), "use role r"), "permit [jobs-have-sessions]");
    for sql in ["select 1", "drop table t", "insert into t values (1)"] {
        assert!(verdict(&rules, &verified(), sql).starts_with("deny [default-deny]"), "{sql}");
    }
    assert!(verdict(&rules, &verified(), "create user u").starts_with("deny [no-administration]"));
    assert!(verdict(&rules, &verified(), "copy into @~/x from t").starts_with("deny [no-unload]"));
    assert!(verdict(&rules, &nobody(), "use role r").starts_with("deny [default-deny]"));
}

#[test]
fn its_examples_do_what_they_say() {
    let rules = compile(&with_examples());
    assert_eq!(
        rules.rule_ids().collect::<Vec<_>>(),
        [
            "billing-sees-email",
            "etl-reads-analytics",
            "etl-writes-staging",
            "jobs-have-sessions",
            "no-administration",
            "no-unload"
        ]
    );
    assert!(verdict(&rules, &verified(), "select * from customers").starts_with("permit"));
    assert!(verdict(&rules, &verified(), "insert into staging.t values (1)").starts_with("permit"));
    assert!(verdict(&rules, &verified(), "insert into public.t values (1)").starts_with("deny"));
}
