//! What the pages for operators show is what the agent takes: every rule, every file and every name in them.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lab::{JobFacts, Lab, Options};
use serde_json::Value;

const STEP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/demo.py");

/// What the agent needs besides, for a step to come to its statements.
const SESSIONS: &str = r#"
@id("test-sessions")
permit (principal, action in [Action::"login", Action::"session"], resource);
"#;

/// What a job of acme/billing needs besides, to have something that it can see unmasked.
const BILLING_READS: &str = r#"
@id("test-billing-reads")
permit (principal in Group::"repository:acme/billing", action in Action::"read", resource);
"#;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap()
}

/// The blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let opened = page.split(&fence).skip(1);
    opened.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// What stands between backquotes in the table under a heading.
fn named_in_table<'page>(page: &'page str, heading: &str) -> Vec<&'page str> {
    let section = page.split(&format!("## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect()
}

/// Puts a policy and a classification in place of what the lab's agent has.
fn install(lab: &Lab, policy: &[&str], classification: &str) {
    let etc = lab.config().parent().unwrap().to_owned();
    for entry in fs::read_dir(etc.join("policy")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::write(etc.join("policy/page.cedar"), policy.concat()).unwrap();
    fs::write(etc.join("classification.toml"), classification).unwrap();
}

/// What `doctor` says of the policy: whether it is good, and in which words.
fn judged(lab: &Lab, policy: &[&str], classification: &str) -> (bool, String) {
    install(lab, policy, classification);
    let findings: Vec<Value> =
        serde_json::from_slice(&lab.snowfence(&["doctor", "--json"]).unwrap().stdout).unwrap();
    let finding = findings.iter().find(|finding| finding["what"] == "policy").unwrap();
    (finding["good"] == true, finding["found"].as_str().unwrap().to_owned())
}

/// What a step of a repository's job sees of its statements, with a policy.
fn seen(lab: &Lab, policy: &[&str], classification: &str, repository: &str, statements: &[&str]) -> String {
    assert_eq!(lab.stop_agent().unwrap(), Some(0));
    install(lab, policy, classification);
    lab.start_agent().unwrap();
    let facts = JobFacts { repository: repository.to_owned(), ..JobFacts::default() };
    let words: Vec<&str> = ["python3", STEP].iter().chain(statements).copied().collect();
    let output = lab.command(&words).unwrap().facts(facts).run().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn every_example_is_taken_by_the_agent() {
    let lab = Lab::start(Options::default()).unwrap();
    let pages = ["README.md", "docs/using.md", "docs/policy.md", "docs/lab.md"].map(page);
    let all = |language| pages.iter().flat_map(|page| blocks(page, language)).collect::<Vec<_>>();
    // Other TOML is of the configuration or of test cases, whose keys are checked where they are read.
    let is_classification =
        |text: &String| ["[[column]]", "[[object]]", "[[detector]]"].iter().any(|table| text.contains(table));
    let rules = all("cedar");
    let classifications = all("toml").into_iter().filter(is_classification).collect::<Vec<_>>();
    assert!(rules.len() >= 3 && !classifications.is_empty(), "{rules:?} {classifications:?}");
    for rule in &rules {
        let (good, words) = judged(&lab, &[rule], "");
        assert!(good, "{words}: {rule}");
    }
    for classification in &classifications {
        let (good, words) = judged(&lab, &[SESSIONS], classification);
        assert!(good, "{words}: {classification}");
        let key = if classification.contains("pattern") { "pattern" } else { "find" };
        let misspelt = format!("{key}x");
        let (good, words) = judged(&lab, &[SESSIONS], &classification.replace(key, &misspelt));
        assert!(!good && words.contains(&misspelt), "{words}");
    }
    let (good, words) = judged(&lab, &[&rules[0].replace("principal", "principle")], "");
    assert!(!good && words.contains("page.cedar:"), "{words}");
    assert!(!judged(&lab, &["// no rule\n"], "").0);
}

#[test]
fn every_name_in_the_page_on_policy_is_one_of_the_schema() {
    let lab = Lab::start(Options::default()).unwrap();
    let page = page("docs/policy.md");
    let actions = named_in_table(&page, "What is asked");
    let attributes = named_in_table(&page, "Who asks");
    let attributes = attributes.iter().filter(|name| !name.starts_with('"'));
    let attributes = attributes.map(|name| name.trim_start_matches("principal").trim_start_matches('.'));
    let of_actions = actions.iter().enumerate().map(|(n, action)| {
        format!("@id(\"a{n}\") permit (principal, action in Action::\"{action}\", resource);\n")
    });
    let of_attributes = attributes.enumerate().map(|(n, name)| {
        // It has three values, and no other is taken.
        let value = if name == "assurance" { "verified" } else { "x" };
        format!(
            "@id(\"p{n}\") permit (principal, action, resource) when {{ principal.{name} == \"{value}\" }};\n"
        )
    });
    let rules: Vec<String> = of_actions.chain(of_attributes).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let (good, words) = judged(&lab, &rules, "");
    assert!(good, "{words}");

    // And the other way round: the page leaves no action out.
    let schema = self::page("agent/crates/policy/src/schema.cedarschema");
    let lines = schema.lines().filter_map(|line| line.strip_prefix("action "));
    let declared = lines.flat_map(|line| {
        let names = line.split([';', '{']).next().unwrap().split(" in ").next().unwrap();
        names.split(" appliesTo").next().unwrap().split(',').map(str::trim)
    });
    let missing: BTreeSet<&str> = declared.filter(|name| !actions.contains(name)).collect();
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn the_examples_do_what_the_pages_say() {
    let lab = Lab::start(Options::default()).unwrap();
    let (using, policy) = (page("docs/using.md"), page("docs/policy.md"));
    let [etl_reads] = blocks(&using, "cedar").try_into().unwrap();
    let [analytics, billing] = blocks(&policy, "cedar").try_into().unwrap();
    let classification = blocks(&policy, "toml").into_iter().next().unwrap();
    let of_customers = "select ssn, email from customers where id = 1";

    // The policy to begin with: the job logs in and reads, masked; anything else is refused.
    let seen_by = |rules: &[&str], repository: &str, statements: &[&str]| {
        seen(&lab, rules, &classification, repository, statements)
    };
    let etl = seen_by(&[&etl_reads], "acme/etl", &[of_customers, "drop table customers"]);
    assert!(etl.contains("****7919  ****@example.org"), "{etl}");
    assert!(etl.contains("no rule permits DROP on table ANALYTICS.PUBLIC.CUSTOMERS"), "{etl}");
    let fork = seen_by(&[&etl_reads], "evil/fork", &["select 1"]);
    assert!(fork.contains("Snowfence refused this login"), "{fork}");

    // One database, and nothing beside it.
    let elsewhere = "select * from side.public.customers";
    let one = seen_by(&[SESSIONS, &analytics], "acme/etl", &["select 41 + 1", of_customers, elsewhere]);
    assert!(one.contains("42") && one.contains("****7919"), "{one}");
    assert!(one.contains("no rule permits SELECT on table SIDE.PUBLIC.CUSTOMERS"), "{one}");

    // Who may unmask e-mail sees it, and nothing else.
    let paid = seen_by(&[SESSIONS, BILLING_READS, &billing], "acme/billing", &[of_customers]);
    assert!(paid.contains("****7919  bruno.berg1@example.org"), "{paid}");
}
