//! Each room says what it owns, what it may touch and what it never does, and may touch what its manifest says.

use std::collections::BTreeSet;

use super::{Finding, Room, Source, named};

/// The words with which the three lines begin, in this order.
const WORDS: [&str; 3] = ["Owns: ", "May touch: ", "Never: "];

/// Checks the first file of every room.
pub(super) fn check(rooms: &[Room], sources: &[Source]) -> Vec<Finding> {
    let rooms = rooms.iter().filter(|room| !["agent", "tests", "xtask"].contains(&room.name.as_str()));
    rooms.filter_map(|room| check_room(room, sources)).collect()
}

fn check_room(room: &Room, sources: &[Source]) -> Option<Finding> {
    // A package for another machine has its programs in `main.rs`.
    let path = room.file(if room.name == "agent-ebpf" { "src/main.rs" } else { "src/lib.rs" });
    let finding = |problem: String| Some(Finding::new(&path, 0, problem));
    let Some(source) = named(sources, &path) else {
        return finding("the room has no such file".to_owned());
    };
    let Some([owns, touch, never]) = header(&source.text) else {
        return finding(
            "no header: after the first sentence, `//! Owns: …`, `//! May touch: …`, `//! Never: …`"
                .to_owned(),
        );
    };
    if owns.is_empty() || never.is_empty() {
        return finding("the header says nothing after `Owns:` or `Never:`".to_owned());
    }
    let said: BTreeSet<String> = match touch.trim_end_matches('.') {
        "nothing" => BTreeSet::new(),
        list => list.split(',').map(|name| name.trim().to_owned()).collect(),
    };
    if said == room.plain_rooms {
        return None;
    }
    let list = |rooms: &BTreeSet<String>| match rooms.is_empty() {
        true => "nothing".to_owned(),
        false => rooms.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    };
    finding(format!("the header may touch {}, the manifest touches {}", list(&said), list(&room.plain_rooms)))
}

/// What follows each of the three words; a line that does not begin with one of them goes on with the line before it.
fn header(text: &str) -> Option<[String; 3]> {
    let mut found: [Option<String>; 3] = [None, None, None];
    let mut current: Option<usize> = None;
    for line in text.lines().map_while(|line| line.strip_prefix("//!")) {
        let line = line.trim();
        if let Some((at, word)) = WORDS.iter().enumerate().find(|(_, word)| line.starts_with(word.trim_end()))
        {
            let in_order = found.iter().take(at).all(Option::is_some);
            let slot = found.get_mut(at).filter(|slot| in_order && slot.is_none())?;
            *slot = Some(line.get(word.trim_end().len()..)?.trim().to_owned());
            current = Some(at);
        } else if line.is_empty() {
            current = None;
        } else if let Some(text) = current.and_then(|at| found.get_mut(at)?.as_mut()) {
            text.push(' ');
            text.push_str(line);
        }
    }
    let [owns, touch, never] = found;
    Some([owns?, touch?, never?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> usize {
        let rooms = ["model", "sql"].map(str::to_owned).into();
        let room =
            Room { name: "x".to_owned(), folder: "x".to_owned(), plain_rooms: rooms, ..Room::default() };
        check(&[room], &[Source::new("x/src/lib.rs", text)]).len()
    }

    #[test]
    fn a_header_says_what_the_manifest_says() {
        let good = "//! X.\n//!\n//! Owns: a thing\n//! and another.\n//! May touch: sql,\n//! model.\n//! Never: b.\n//!\n//! More.\n";
        assert_eq!(findings(good), 0);
        for (name, bad) in [
            ("a room too many", good.replace("model", "model, tls")),
            ("a room too few", good.replace("sql,\n//! ", "")),
            ("nothing", good.replace("sql,\n//! model", "nothing")),
            ("a line is missing", good.replace("//! Never: b.\n", "")),
            ("another order", good.replace("Owns", "N").replace("Never", "Owns").replace("N:", "Never:")),
            ("an empty one", good.replace("a thing\n//! and another.", "")),
            ("twice", good.replace("//! More", "//! Owns: c")),
            ("not at the beginning", format!("mod a;\n{good}")),
        ] {
            assert_eq!(findings(&bad), 1, "{name}");
        }
        assert_eq!(check(&[Room { name: "x".to_owned(), ..Room::default() }], &[]).len(), 1);
    }

    #[test]
    fn a_room_that_touches_nothing_says_so() {
        let room = Room { name: "x".to_owned(), folder: "x".to_owned(), ..Room::default() };
        let text = "//! X.\n//! Owns: a.\n//! May touch: nothing.\n//! Never: b.\n";
        assert!(check(&[room], &[Source::new("x/src/lib.rs", text)]).is_empty());
    }
}
