//! Words that a rule compares tags and effects with. To the policy language they are any text, so a misspelt one is a rule
//! that never applies, which for a forbid is a door left open.

use cedar_policy::Policy;
use serde_json::Value;

/// The texts that a rule compares an attribute of this name with.
pub(crate) fn compared_with(policy: &Policy, attribute: &str) -> Vec<String> {
    let mut found = Vec::new();
    // A rule that cannot be written down as JSON would not have been taken as one.
    if let Ok(json) = policy.to_json() {
        look(&json, attribute, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

/// The depth is that of the policy language's own parser, which is bounded.
fn look(json: &Value, attribute: &str, found: &mut Vec<String>) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| look(item, attribute, found)),
        Value::Object(members) => {
            for operands in members.values() {
                if let (Some(left), Some(right)) = (operands.get("left"), operands.get("right")) {
                    match (is_attribute(left, attribute), is_attribute(right, attribute)) {
                        (true, _) => texts(right, found),
                        (_, true) => texts(left, found),
                        _ => {}
                    }
                }
                look(operands, attribute, found);
            }
        }
        _ => {}
    }
}

/// `{".": {"left": …, "attr": "tags"}}`.
fn is_attribute(json: &Value, attribute: &str) -> bool {
    json.pointer("/./attr").and_then(Value::as_str) == Some(attribute)
}

/// `{"Value": "pii"}`, and sets of such.
fn texts(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => {
            members
                .iter()
                .filter(|(name, _)| matches!(name.as_str(), "Value" | "Set"))
                .for_each(|(_, value)| texts(value, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_wherever_an_attribute_is_compared() {
        let policy = r#"forbid (principal, action, resource) when {
            (resource.tags.contains("a") || resource.tags.containsAny(["b", "c"])) && ["d"].containsAll(resource.tags)
            && !(resource.tags == ["e"]) && context.effects.contains("f") && principal.ref == "g" && resource.tags.isEmpty()
        };"#;
        let policy = Policy::parse(None, policy).unwrap();
        assert_eq!(compared_with(&policy, "tags"), ["a", "b", "c", "d", "e"]);
        assert_eq!(compared_with(&policy, "effects"), ["f"]);
    }
}
