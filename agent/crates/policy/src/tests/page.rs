//! The page on policy shows what is true: its rules and its classification load together, and its cases hold for them.

use super::file;
use crate::{Cases, Policies, PolicyFile, starter};

const PAGE: &str = include_str!("../../../../../docs/policy.md");

fn blocks(kind: &str) -> Vec<&'static str> {
    let fence = format!("```{kind}\n");
    PAGE.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_cases_on_the_page_hold_for_the_rules_on_the_page() {
    let rules = [blocks("cedar").concat(), starter::POLICY.to_owned()].concat();
    let classification = PolicyFile { name: "c.toml".into(), text: blocks("toml").concat() };
    let rules = Policies::load(&[file(&rules)], &classification).unwrap();
    let [cases] = blocks("toml test").try_into().unwrap();
    let results =
        Cases::parse(&PolicyFile { name: "page".into(), text: cases.to_owned() }).unwrap().run(&rules);
    assert_eq!(results.len(), 3);
    for result in results {
        assert!(result.differences.is_empty(), "{}: {:#?}", result.name, result.differences);
    }
}

#[test]
fn every_effect_and_annotation_is_on_the_page() {
    for effect in sql::Effect::ALL {
        assert!(PAGE.contains(&format!("`\"{}\"`", effect.as_str())), "{}", effect.as_str());
    }
    for annotation in crate::rule::ANNOTATIONS {
        assert!(PAGE.contains(&format!("`@{annotation}(")), "{annotation}");
    }
}
