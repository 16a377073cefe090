//! The rooms that there are, what each may touch, and which rooms alone may use a crate from outside.

use std::collections::BTreeSet;

use cargo_metadata::{Dependency, DependencyKind, Metadata};

/// A package of the workspace.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    /// What it is called in code: `sql`, and `agent`, `xtask`, `tests`.
    pub(super) name: String,
    /// Its folder, from the workspace.
    pub(super) folder: String,
    /// Rooms it depends on, in whatever way.
    pub(super) rooms: BTreeSet<String>,
    /// Rooms in its `[dependencies]`.
    pub(super) plain_rooms: BTreeSet<String>,
    /// Crates from outside that it depends on, other than in its tests.
    pub(super) crates: BTreeSet<String>,
}

/// What a room may touch.
pub(super) enum May {
    /// These rooms.
    Touch(&'static [&'static str]),
    /// Every room.
    TouchAll,
}

use May::{Touch, TouchAll};

/// Directions, as `docs/map.md` tells them. A room that is not here is not one.
const DIRECTIONS: [(&str, May); 19] = [
    // L0
    ("model", Touch(&[])),
    ("agent-common", Touch(&[])),
    // L1
    ("snowflake", Touch(&["model"])),
    ("sql", Touch(&["model"])),
    ("masking", Touch(&["model"])),
    ("identity", Touch(&["model"])),
    ("policy", Touch(&["model", "identity", "sql", "masking"])),
    // L2
    ("interception", Touch(&["model", "agent-common"])),
    ("workload", Touch(&["model", "identity"])),
    ("tls", Touch(&["model"])),
    ("broker", Touch(&["model"])),
    ("audit", Touch(&["model"])),
    ("approvals", Touch(&["model", "policy"])),
    // L3
    (
        "proxy",
        Touch(&[
            "model",
            "snowflake",
            "sql",
            "masking",
            "identity",
            "policy",
            "workload",
            "tls",
            "broker",
            "audit",
            "approvals",
        ]),
    ),
    ("console", Touch(&["model", "identity", "policy", "audit", "approvals"])),
    // L4, and what stands beside the product.
    ("agent", TouchAll),
    ("agent-ebpf", Touch(&["agent-common"])),
    ("xtask", Touch(&[])),
    ("tests", Touch(&[])),
];

/// Crates with one owner: whoever else wants what they do asks the owner. `tests` stands outside and plays the world.
const OWNED: [(&str, &[&str]); 7] = [
    ("aya", &["interception", "agent-common"]),
    ("aya-log", &["interception"]),
    ("aya-ebpf", &["agent-ebpf"]),
    ("rcgen", &["tls", "tests"]),
    ("sqlparser", &["sql"]),
    ("cedar-policy", &["policy"]),
    ("axum", &["console"]),
];

/// Rooms without I/O, clock or randomness, and crates by which these come in.
const PURE: [&str; 6] = ["model", "snowflake", "sql", "masking", "identity", "policy"];
const IMPURE: [&str; 10] =
    ["tokio", "async-std", "smol", "mio", "socket2", "hyper", "reqwest", "nix", "rand", "getrandom"];

/// What a room may touch; `None` for what is no room.
pub(super) fn may(room: &str) -> Option<&'static May> {
    DIRECTIONS.iter().find(|(name, _)| *name == room).map(|(_, may)| may)
}

/// Who alone may use a crate; `None` when anybody may.
pub(super) fn owners(of: &str) -> Option<&'static [&'static str]> {
    OWNED.iter().find(|(name, _)| *name == of).map(|(_, rooms)| *rooms)
}

/// Whether a crate brings into a pure room what it must not have.
pub(super) fn defiles(of: &str, room: &str) -> bool {
    PURE.contains(&room) && IMPURE.contains(&of)
}

/// Reads the rooms out of what cargo says of the workspace.
pub(super) fn all(metadata: &Metadata) -> Vec<Room> {
    let packages = metadata.workspace_packages();
    let inside: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let root = metadata.workspace_root.as_std_path();
    let mut rooms: Vec<Room> = packages
        .iter()
        .map(|package| {
            let folder = package.manifest_path.parent().map(|folder| folder.as_std_path());
            let folder = folder.and_then(|folder| folder.strip_prefix(root).ok());
            let mut room = Room {
                name: short(&package.name).to_owned(),
                folder: folder.map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default(),
                ..Room::default()
            };
            package.dependencies.iter().for_each(|edge| room.add(edge, &inside));
            room
        })
        .collect();
    rooms.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    rooms
}

impl Room {
    fn add(&mut self, edge: &Dependency, inside: &BTreeSet<&str>) {
        if inside.contains(edge.name.as_str()) {
            let name = short(&edge.name).to_owned();
            if edge.kind == DependencyKind::Normal {
                self.plain_rooms.insert(name.clone());
            }
            self.rooms.insert(name);
        } else if edge.kind != DependencyKind::Development {
            self.crates.insert(edge.name.clone());
        }
    }

    /// A file of this room.
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

/// Package `snowfence-sql` is room `sql`; package `snowfence` is the agent.
fn short(package: &str) -> &str {
    match package {
        "snowfence" => "agent",
        other => other.strip_prefix("snowfence-").unwrap_or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_called_as_its_room() {
        assert_eq!(
            ["snowfence", "snowfence-sql", "agent-common"].map(short),
            ["agent", "sql", "agent-common"]
        );
    }

    #[test]
    fn every_direction_points_down_and_none_goes_round() {
        for (at, (room, may)) in DIRECTIONS.iter().enumerate() {
            let Touch(rooms) = may else { continue };
            for touched in *rooms {
                let there = DIRECTIONS.iter().position(|(name, _)| name == touched);
                assert!(there.is_some_and(|there| there < at), "{room} -> {touched}");
            }
        }
    }
}
