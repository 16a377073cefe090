//! The answer as a page that a person reads from top to bottom: the decision, what the statement is, what was asked, and
//! what would be seen.

use super::{Column, Question, Report};
use crate::output::printable;

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut page = Page(String::new());
    let decision = match report.decision {
        "permit" => format!("permitted by {}", report.rules.join(", ")),
        "hold" => {
            format!("held by {}; {} could lift it", report.rules.join(", "), report.approvers.join(" and "))
        }
        _ => format!("refused by {}", report.rules.join(", ")),
    };
    page.line(0, &decision);
    if let Some(reason) = &report.reason {
        page.line(1, reason);
    }
    page.line(0, "");
    page.line(0, &format!("who asks: {}", report.principal));
    for group in &report.groups {
        page.line(1, &format!("in group {group}"));
    }
    page.line(0, "");
    page.facts(report);
    page.line(0, "what was asked:");
    // What only says that a column is masked, because nothing lets it be seen, is said with the columns.
    for question in report.questions.iter().filter(|q| q.action != "unmask" || q.answer == "permit") {
        page.question(question);
    }
    if report.questions.is_empty() {
        page.line(1, "nothing: it is refused before any rule is asked");
    }
    if let Some(rule) = &report.would_permit {
        page.line(0, "");
        page.line(0, "if it should be permitted, a rule that does so:");
        rule.lines().for_each(|line| page.line(1, line));
    }
    page.columns("columns of the result:", &report.columns);
    page.columns("tagged columns that it reads:", &report.tagged);
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, depth: usize, text: &str) {
        let indent = "  ".repeat(depth);
        self.0.push_str(format!("{indent}{}", printable(text)).trim_end());
        self.0.push('\n');
    }

    fn facts(&mut self, report: &Report) {
        if let Some(why) = &report.opaque {
            self.line(0, &format!("the statement was not understood: {why}"));
        }
        for facts in &report.statements {
            let parse = if facts.parse == "full" { "" } else { " (understood in part)" };
            self.line(0, &format!("statement: {}, class {}{parse}", facts.verb, facts.class));
            for touched in &facts.objects {
                self.line(1, &format!("{} {} {}", touched.access, touched.kind, touched.name));
            }
            let lists = [
                ("calls", facts.functions.join(", ")),
                ("effects", facts.effects.join(", ")),
                ("decides on", facts.decides_on.join(", ")),
            ];
            for (what, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
                self.line(1, &format!("{what} {list}"));
            }
            for elsewhere in &facts.elsewhere {
                self.line(1, elsewhere);
            }
            if let Some(why) = &facts.outputs_unknown {
                self.line(1, &format!("where its columns come from is not known: {why}"));
            }
            for (at, output) in facts.outputs.iter().enumerate() {
                let name = output.name.clone().unwrap_or_else(|| format!("column {}", at + 1));
                let from = match (output.sources.is_empty(), output.unchanged) {
                    (true, _) => "no column".to_owned(),
                    (false, true) => output.sources.join(" or "),
                    (false, false) => format!("computed from {}", output.sources.join(", ")),
                };
                self.line(1, &format!("{name} <- {from}"));
            }
        }
        self.line(0, "");
    }

    fn question(&mut self, question: &Question) {
        let Question { action, resource, answer, .. } = question;
        self.line(1, &format!("{answer}  {action} on {resource}"));
        for rule in &question.rules {
            match &rule.place {
                Some(place) => {
                    let effect = rule.effect;
                    self.line(2, &format!("{} ({place}) {effect}s it", rule.rule));
                }
                None => self.line(2, &format!("{} (built in)", rule.rule)),
            }
            if let Some(reason) = &rule.reason {
                self.line(3, reason);
            }
        }
        for missed in &question.missed {
            self.line(2, &format!("{} ({}) does not: {}", missed.rule, missed.place, missed.why));
        }
    }

    fn columns(&mut self, heading: &str, columns: &[Column]) {
        if columns.is_empty() {
            return;
        }
        self.line(0, "");
        self.line(0, heading);
        for column in columns {
            let mask = column.mask.map_or("as it is".to_owned(), |mask| format!("masked: {mask}"));
            let tags = match column.tags.as_slice() {
                [] => String::new(),
                tags => format!(" ({})", tags.join(", ")),
            };
            let watched = match column.watched.as_slice() {
                [] => String::new(),
                kinds => format!(", looked through for {}", kinds.join(", ")),
            };
            self.line(1, &format!("{}  {mask}{tags}{watched}", column.name));
        }
    }
}
