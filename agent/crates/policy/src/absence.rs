//! Permits that would count because something was not found out.
//!
//! That no AI agent was recognised in a job says nothing about whether there is one. So a permit may ask for an agent
//! that is there, and never for one that is not.

use cedar_policy::{Effect, Policy};
use serde_json::Value;

/// Attributes of a principal that are there only where something was recognised.
const RECOGNISED: [&str; 2] = ["agent", "agent_evidence"];

/// Whether a permit could count because an attribute is missing: whether it is there is asked under anything else than
/// `&&` and `||` of a `when`.
pub(crate) fn grants(policy: &Policy) -> bool {
    if policy.effect() != Effect::Permit {
        return false;
    }
    // A policy that cannot be written as JSON was not read from text.
    let Ok(json) = policy.to_json() else { return true };
    let conditions = json.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.iter().any(|condition| {
        let body = condition.get("body").unwrap_or(&Value::Null);
        match condition.get("kind").and_then(Value::as_str) {
            Some("when") => asks_otherwise(body),
            _ => asks(body),
        }
    })
}

/// Whether it is asked anywhere but where more can only be permitted if it is there.
fn asks_otherwise(expression: &Value) -> bool {
    let sides = ["&&", "||"].iter().find_map(|operator| expression.get(operator));
    match sides {
        Some(sides) => ["left", "right"].iter().filter_map(|side| sides.get(side)).any(asks_otherwise),
        None => !is_question(expression) && asks(expression),
    }
}

/// Whether it is asked at all.
fn asks(expression: &Value) -> bool {
    is_question(expression)
        || match expression {
            Value::Object(members) => members.values().any(asks),
            Value::Array(members) => members.iter().any(asks),
            _ => false,
        }
}

fn is_question(expression: &Value) -> bool {
    let attribute = expression.get("has").and_then(|has| has.get("attr")).and_then(Value::as_str);
    attribute.is_some_and(|attribute| RECOGNISED.contains(&attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants_by(effect: &str, conditions: &str) -> bool {
        let text = format!("{effect} (principal, action, resource) {conditions};");
        grants(&Policy::parse(None, text).unwrap())
    }

    #[test]
    fn a_permit_may_ask_for_an_agent_and_not_for_none() {
        for good in [
            "",
            "when { principal has agent }",
            "when { principal has agent && principal.agent == \"cursor\" }",
            "when { principal.actor == \"mona\" || (principal has agent && principal.agent != \"cursor\") }",
            "when { principal has agent && !(principal.agent == \"cursor\") } unless { principal.actor == \"max\" }",
            "unless { principal.actor == \"max\" }",
        ] {
            assert!(!grants_by("permit", good), "{good}");
        }
        for bad in [
            "unless { principal has agent }",
            "unless { principal has agent && principal.agent == \"cursor\" }",
            "when { !(principal has agent) }",
            "when { (principal has agent) == false }",
            "when { if principal has agent then false else true }",
            "when { principal.actor == \"mona\" && !(principal has agent_evidence) }",
            "when { [principal has agent].contains(false) }",
        ] {
            assert!(grants_by("permit", bad), "{bad}");
            assert!(!grants_by("forbid", bad), "{bad}");
        }
    }
}
