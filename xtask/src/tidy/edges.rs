//! Directions: a room depends on what it may touch, and a crate from outside is used by its owner alone.

use super::{
    Finding, Room,
    rooms::{May, defiles, may, owners},
};

/// Checks one room's manifest.
pub(super) fn check(room: &Room) -> Vec<Finding> {
    let manifest = room.file("Cargo.toml");
    let Some(may) = may(&room.name) else {
        let problem = format!(
            "`{}` is in no table of rooms: say in xtask/src/tidy/rooms.rs what it may touch",
            room.name
        );
        return vec![Finding::new(&manifest, 0, problem)];
    };
    let mut problems = Vec::new();
    if let May::Touch(allowed) = may {
        let beyond = room.rooms.iter().filter(|touched| !allowed.contains(&touched.as_str()));
        problems.extend(beyond.map(|touched| format!("{} must not touch {touched}", room.name)));
    }
    for used in &room.crates {
        if let Some(owners) = owners(used).filter(|owners| !owners.contains(&room.name.as_str())) {
            problems.push(format!("`{used}` belongs to {} alone", owners.join(" and ")));
        }
        if defiles(used, &room.name) {
            problems.push(format!("{} has no I/O, no clock and no randomness, so no `{used}`", room.name));
        }
    }
    problems.into_iter().map(|problem| Finding::new(&manifest, 0, problem)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str, rooms: &[&str], crates: &[&str]) -> Room {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Room {
            name: name.to_owned(),
            folder: "f".to_owned(),
            rooms: own(rooms),
            crates: own(crates),
            ..Room::default()
        }
    }

    #[test]
    fn an_edge_beyond_the_table_is_found() {
        for (name, rooms, crates, findings) in [
            ("policy", &["model", "sql"][..], &["serde"][..], 0),
            ("agent", &["interception", "proxy"], &["tokio"], 0),
            ("proxy", &["interception"], &[], 1),
            ("audit", &["policy", "tls"], &[], 2),
            ("model", &["agent-common"], &[], 1),
            ("tests", &["audit"], &["rcgen"], 1),
            ("proxy", &[], &["sqlparser"], 1),
            ("sql", &["model"], &["sqlparser", "tokio"], 1),
            ("cellar", &[], &[], 1),
        ] {
            let found = check(&room(name, rooms, crates));
            assert_eq!(found.len(), findings, "{name} {rooms:?} {crates:?}: {found:?}");
        }
    }
}
