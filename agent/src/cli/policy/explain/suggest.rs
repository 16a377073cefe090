//! A rule that would permit what was refused for want of one: for whoever decides that it should be.

use std::collections::BTreeSet;

use policy::Explanation;

/// The rule's text; none where something else refuses, which a permit would not change.
pub(super) fn rule(told: &Explanation) -> Option<String> {
    if told.rules.first().map(String::as_str) != Some("default-deny") {
        return None;
    }
    // That a column is masked refuses nothing.
    let missing = || told.questions.iter().filter(|q| q.answer == "deny" && q.action != "unmask");
    let is_permit_missing = |rules: &[policy::Counted]| rules.iter().all(|rule| rule.rule == "default-deny");
    if missing().any(|question| !is_permit_missing(&question.rules)) {
        return None;
    }
    let actions: BTreeSet<String> =
        missing().map(|question| format!("Action::\"{}\"", question.action)).collect();
    let resources: BTreeSet<String> =
        missing().map(|question| format!("resource == {}", question.resource)).collect();
    let [actions, resources] = [(actions, ", "), (resources, " || ")]
        .map(|(all, between)| all.into_iter().collect::<Vec<_>>().join(between));
    if actions.is_empty() {
        return None;
    }
    let assurance = match told.principal.split(':').next() {
        Some("observed") => "@assurance(\"observed\")\n",
        Some("unidentified") => "@assurance(\"none\")\n",
        _ => "",
    };
    let principal = match told.groups.first() {
        Some(group) => format!("principal in Group::{group:?}"),
        None => "principal".to_owned(),
    };
    Some(format!(
        "@id(\"choose-a-name\")\n{assurance}permit (\n    {principal},\n    action in [{actions}],\n    resource\n) when {{\n    {resources}\n}};"
    ))
}
