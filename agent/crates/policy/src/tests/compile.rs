//! What is wrong with a policy is said with file, line, column and what was meant.

use super::{ALLOW_ALL, READS, compile, file};
use crate::{Classification, Policies};

/// The errors of a text, one per line.
fn errors(text: &str) -> String {
    compile(text).err().map_or_else(|| "fine".to_owned(), |error| error.to_string())
}

#[test]
fn good_policies_compile() {
    assert_eq!(errors(READS), "fine");
    assert_eq!(errors(ALLOW_ALL), "fine");
    assert_eq!(errors(""), "fine");
    assert_eq!(errors("// nothing but a comment; really\n"), "fine");
    let rules = [READS, ALLOW_ALL].join("\n");
    assert_eq!(super::policies(&rules).rule_ids().collect::<Vec<_>>(), ["allow-all", "etl-reads"]);
}

#[test]
fn the_examples_of_the_design_compile() {
    assert_eq!(
        errors(
            r#"
@id("etl-reads")
permit (principal in Group::"data-eng", action in Action::"read", resource in Database::"ANALYTICS");

@id("pii-needs-a-human") @approve("security-oncall") @reason("tables marked pii are read with a second pair of eyes")
forbid (principal, action in Action::"read", resource) when { resource.tags.contains("pii") };

@id("no-static-credentials") @reason("this credential never expires; the agent lends one that does")
forbid (principal, action == Action::"login", resource) when { resource.static };
"#
        ),
        "fine"
    );
}

#[test]
fn what_does_not_parse_is_said_with_its_place() {
    for (text, expected) in [
        ("@id(\"a\")\npermit (principal, action, resource)", "p.cedar:2:37: unexpected end of input"),
        ("@id(\"a\")\npermit (principal, action resource);", "p.cedar:2:27: unexpected token `resource`"),
        ("\n\n  permitt (principal, action, resource);", "p.cedar:3:3: invalid policy effect: permitt"),
        ("@id(\"a\") permit (principal, action, resource) when { \"abc };", "p.cedar:1:"),
        ("@id(\"a\") permit (principal == ?principal, action, resource);", "p.cedar:1:"),
        (
            "@id(\"a\") @id(\"b\") permit (principal, action, resource);",
            "p.cedar:1:10: duplicate annotation: @id",
        ),
    ] {
        let found = errors(text);
        assert!(found.starts_with(expected), "{text}\n  is       {found}\n  expected {expected}");
    }
}

#[test]
fn what_does_not_fit_the_schema_is_said_with_its_place() {
    for (text, expected) in [
        (
            "@id(\"a\")\npermit (principal, action == Action::\"SELEKT\", resource);",
            "p.cedar:2:30: rule \"a\" does not fit the schema: unrecognized action `Action::\"SELEKT\"` (did you mean `Action::\"SELECT\"`?)",
        ),
        (
            "@id(\"a\")\npermit (principal, action, resource is Tabel);",
            "p.cedar:2:40: rule \"a\" does not fit the schema: unrecognized entity type `Tabel` (did you mean `Table`?)",
        ),
        (
            "@id(\"a\")\npermit (principal, action, resource)\nwhen { principal.repo == \"acme/etl\" };",
            "p.cedar:3:8: rule \"a\" does not fit the schema: attribute `repo`",
        ),
        (
            "@id(\"a\")\npermit (principal, action, resource)\nwhen { principal.repository == 1 };",
            "p.cedar:3:8: rule \"a\" does not fit the schema: the types Long and String are not compatible",
        ),
        (
            "@id(\"a\")\nforbid (principal, action in Action::\"read\", resource is Credential);",
            "p.cedar:1:1: rule \"a\" does not fit the schema: unable to find an applicable action",
        ),
    ] {
        let found = errors(text);
        assert!(found.starts_with(expected), "{text}\n  is       {found}\n  expected {expected}");
    }
}

#[test]
fn rules_have_names_and_known_annotations() {
    let rule = |annotations: &str, effect: &str| {
        errors(&format!("{annotations}\n{effect} (principal, action, resource);"))
    };
    for (annotations, effect, expected) in [
        ("", "permit", "p.cedar:2:1: this rule has no name; put @id(\"…\") before it"),
        (
            "@id(\"\")",
            "permit",
            "p.cedar:1:1: \"\" cannot be a rule's name: use up to 64 letters, digits, '-', '_' and '.'",
        ),
        ("@id(\"a b\")", "permit", "p.cedar:1:1: \"a b\" cannot be a rule's name"),
        (
            "@id(\"default-deny\")",
            "permit",
            "p.cedar:1:1: \"default-deny\" cannot be a rule's name: the program uses it itself",
        ),
        (
            "@id(\"a\") @aprove(\"x\")",
            "forbid",
            "p.cedar:1:10: rule \"a\" has an annotation @aprove that is not known; did you mean @approve?",
        ),
        (
            "@id(\"a\") @approve(\"x\")",
            "permit",
            "p.cedar:1:10: rule \"a\": @approve says who can lift a forbid; this is a permit",
        ),
        (
            "@id(\"a\") @approve(\"\")",
            "forbid",
            "p.cedar:1:10: rule \"a\": @approve needs the name of a group",
        ),
        (
            "@id(\"a\") @assurance(\"some\")",
            "permit",
            "p.cedar:1:10: rule \"a\": @assurance is \"verified\", \"observed\" or \"none\"",
        ),
        (
            "@id(\"a\") @assurance(\"none\")",
            "forbid",
            "p.cedar:1:10: rule \"a\": a forbid counts for everybody; remove @assurance",
        ),
        (
            "@id(\"a\") @because(\"x\")",
            "permit",
            "p.cedar:1:10: rule \"a\" has an annotation @because that is not known; known are @id, @reason, @approve, @mask and \
             @assurance",
        ),
        ("@id(\"a\") @approve(\"x:0\")", "forbid", "p.cedar:1:10: rule \"a\": @approve takes 1 to 9 people"),
        (
            "@id(\"a\") @mask(\"null\")",
            "permit",
            "p.cedar:1:10: rule \"a\": @mask says what a permit for Action::\"unmask\" alone lets be seen",
        ),
        ("@id(\"a\") @reason(\" \")", "forbid", "p.cedar:1:10: rule \"a\": @reason needs a text"),
    ] {
        let found = rule(annotations, effect);
        assert!(found.starts_with(expected), "{annotations}\n  is       {found}\n  expected {expected}");
    }
}

#[test]
fn names_are_unique_across_files_and_all_errors_are_listed() {
    let other = crate::PolicyFile { name: "q.cedar".to_owned(), text: format!("\n{ALLOW_ALL}") };
    let error = Policies::compile(&[file(ALLOW_ALL), other], Classification::default()).unwrap_err();
    assert_eq!(error.to_string(), "q.cedar:2:1: rule \"allow-all\" has the name of the rule at p.cedar:1:1");
    let two =
        errors("permit (principal, action, resource);\n@id(\"x\") permit (principal, action, resourc);");
    assert_eq!(two.lines().count(), 2, "{two}");
}

#[test]
fn misspelt_tags_and_effects_are_said_with_their_place() {
    let errors = |condition: &str| {
        errors(&format!(
            "@id(\"a\")\nforbid (principal, action in Action::\"statement\", resource)\nwhen {{ {condition} }};"
        ))
    };
    for (condition, expected) in [
        (
            "resource.tags.contains(\"pil\")",
            "p.cedar:3:31: rule \"a\" speaks of the tag \"pil\", which is not known; did you mean \"pii\"?",
        ),
        (
            "[\"ssn\", \"emial\"].containsAny(resource.tags)",
            "p.cedar:3:16: rule \"a\" speaks of the tag \"emial\", which is not known; did you mean \"email\"?",
        ),
        (
            "context.effects.contains(\"mint-credential\")",
            "p.cedar:3:33: rule \"a\" speaks of the effect \"mint-credential\", which is not known; did you mean \"mints-credential\"?",
        ),
        (
            "context.effects.contains(\"x\")",
            "p.cedar:3:33: rule \"a\" speaks of the effect \"x\", which is not known",
        ),
        // A tag that no column carries yet, and that is like none.
        ("resource.tags.contains(\"payroll\")", "fine"),
        ("resource.tags.contains(\"pii\") && context.effects.contains(\"share\")", "fine"),
    ] {
        assert_eq!(errors(condition), expected, "{condition}");
    }
}

#[test]
fn a_mistake_is_told_once_and_with_what_was_meant() {
    for (rule, expected) in [
        (
            "permit (principal, action in Action::\"read\", resource) when { context.efects.contains(\"share\") };",
            "p.cedar:2:63: rule \"a\" does not fit the schema: attribute `efects` in context for Action::",
        ),
        (
            "permit (principal, action in Action::\"read\", resource) when { principal.repositry == \"x\" };",
            "p.cedar:2:63: rule \"a\" does not fit the schema: attribute `repositry` on entity type",
        ),
        (
            "permit (principal, action == Action::\"select\", resource);",
            "p.cedar:2:30: rule \"a\" does not fit the schema: unrecognized action `Action::\"select\"` (did you mean `Action::\"SELECT\"`?)",
        ),
        (
            "permit (principal, action == Action::\"read\", resource);",
            "p.cedar:1:1: rule \"a\" does not fit the schema: Action::\"read\" is a group of actions; write `action in Action::\"read\"`",
        ),
        (
            "permit (principal == Group::\"repository:acme/etl\", action, resource);",
            "p.cedar:1:1: rule \"a\" does not fit the schema: unable to find an applicable action given the policy scope constraints (try replacing `==` with `in`",
        ),
        (
            "forbid (principal, action, resource) when { principal.assurance == \"verifed\" };",
            "p.cedar:2:68: rule \"a\" speaks of the assurance \"verifed\", which is not known; did you mean \"verified\"?",
        ),
        (
            "forbid (principal, action in Action::\"read\", resource in Schema::\"analytics.hr\");",
            "p.cedar:2:66: rule \"a\" names Schema::\"analytics.hr\", which nothing is called; names are written as Snowflake stores them: Schema::\"ANALYTICS.HR\"",
        ),
        (
            "permit (principal, action, resource)\n@id(\"b\") forbid (principal, action, resource);",
            "p.cedar:3:1: unexpected token `@`; is the `;` of the rule before it missing?",
        ),
        ("permit (principal, action, resource) when { (principal.actor == \"x\" };", "p.cedar:2:"),
        (
            "permit (principal, action, resource) when { principal.actor == \"x\" ;",
            "p.cedar:2:68: unexpected token `;`; is a bracket before it not closed?",
        ),
    ] {
        let found = errors(&format!("@id(\"a\")\n{rule}"));
        assert!(found.starts_with(expected), "{rule}\n  is       {found}\n  expected {expected}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}

#[test]
fn what_is_wrong_with_rules_and_classification_is_said_at_once() {
    let classification = crate::PolicyFile { name: "c.toml".to_owned(), text: "[[column]]\n".to_owned() };
    let rules = [file(
        "@id(\"a\") @x(\"\") permit (principal, action, resource);\npermit (principal, action, resource);",
    )];
    let error = Policies::load(&rules, &classification).unwrap_err();
    let places: Vec<String> =
        error.problems().iter().filter_map(|p| p.place()).map(ToString::to_string).collect();
    assert_eq!(places, ["c.toml:1:1", "p.cedar:1:10", "p.cedar:2:1"]);
    let good = crate::PolicyFile { text: super::TAGS.to_owned(), ..classification };
    assert_eq!(Policies::load(&[file(READS)], &good).unwrap().rule_ids().collect::<Vec<_>>(), ["etl-reads"]);
}
