//! `docs/map.md` shows the rooms that there are, and directions that are the ones kept here.

use std::collections::BTreeSet;

use super::{
    Finding, Room, Source, named,
    rooms::{May, may},
};

const MAP: &str = "docs/map.md";

/// Checks the first code block of the map.
pub(super) fn check(rooms: &[Room], sources: &[Source]) -> Vec<Finding> {
    let Some(map) = named(sources, MAP) else {
        return vec![Finding::new(MAP, 0, "there is no map")];
    };
    let fence = |line: &&str| line.trim_start().starts_with("```");
    let begin = map.text.lines().position(|line| fence(&line)).map_or(usize::MAX, |at| at + 1);
    let block = map.text.lines().enumerate().skip(begin).take_while(|(_, line)| !fence(line));
    let lines: Vec<(usize, &str)> = block.map(|(at, line)| (at + 1, line)).collect();
    let is_shown =
        |room: &str| lines.iter().any(|(_, line)| line.split_whitespace().any(|word| word == room));
    let beside = ["agent-ebpf", "tests", "xtask"];
    let hidden =
        rooms.iter().map(|room| room.name.as_str()).filter(|name| !beside.contains(name) && !is_shown(name));
    let mut findings: Vec<_> =
        hidden.map(|name| Finding::new(MAP, 0, format!("the map does not show {name}"))).collect();
    findings.extend(
        lines.iter().filter_map(|(at, line)| direction(line).map(|problem| Finding::new(MAP, *at, problem))),
    );
    findings
}

/// What is wrong with a line `room   what it is   -> room, room`. A line without a list of rooms says nothing to check.
fn direction(line: &str) -> Option<String> {
    let (before, list) = line.split_once("->")?;
    let mut words = before.split_whitespace();
    let room = words.find(|word| !is_level(word))?;
    let said: BTreeSet<&str> = list.split(',').map(str::trim).collect();
    if !said.iter().all(|name| may(name).is_some()) {
        return None;
    }
    match may(room) {
        None => Some(format!("there is no room {room}")),
        Some(May::Touch(allowed)) if said == allowed.iter().copied().collect() => None,
        Some(May::Touch([])) => Some(format!("{room} may touch nothing")),
        Some(May::Touch(allowed)) => Some(format!("{room} may touch {}", allowed.join(", "))),
        Some(May::TouchAll) => Some(format!("{room} may touch everything")),
    }
}

fn is_level(word: &str) -> bool {
    word.strip_prefix('L').is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> usize {
        let rooms = ["model", "sql", "xtask"].map(|name| Room { name: name.to_owned(), ..Room::default() });
        check(&rooms, &[Source::new(MAP, text)]).len()
    }

    #[test]
    fn the_map_tells_what_is_kept() {
        let good = "# Map\n```\nL1  sql     text -> facts  x\n    policy  the judge -> masking, model, identity, sql\nL0  model\nL4  agent  -> everything\n```\n";
        assert_eq!(findings(&good.replace("text -> facts  x", "facts  -> model")), 0);
        for (name, bad) in [
            ("a room is not shown", good.replace("L0  model\n", "").replace("masking, model", "masking")),
            ("a direction too many", good.replace("text -> facts  x", "facts -> model, tls")),
            ("a direction too few", good.replace("masking, ", "")),
            ("no such room", good.replace("policy ", "police ")),
            ("no table", "# Map\n".to_owned()),
        ] {
            assert_ne!(findings(&bad), 0, "{name}");
        }
        assert_eq!(check(&[], &[]).len(), 1);
    }
}
