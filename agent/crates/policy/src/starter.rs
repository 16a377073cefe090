//! What `snowfence init` writes: policies and a classification to begin with, each with cases that show what it does.

/// A file that comes with the program.
#[derive(Debug, Clone, Copy)]
pub struct Starter {
    /// Its name, without an ending.
    pub name: &'static str,
    /// The rules.
    pub policy: &'static str,
    /// Cases for `snowfence policy test`; empty if there are none.
    pub test: &'static str,
}

macro_rules! starter {
    ($name:literal) => {
        Starter {
            name: $name,
            policy: include_str!(concat!("../starter/", $name, ".cedar")),
            test: include_str!(concat!("../starter/", $name, ".test.toml")),
        }
    };
}

/// What every policy begins with: jobs have sessions, and examples of who may do more.
pub const POLICY: &str = include_str!("../starter/policy.cedar");

/// What goes beside it.
pub const BESIDE: [Starter; 3] = [starter!("no-grants"), starter!("no-unload"), starter!("pii-masked")];

/// What an operator may take over and change.
pub const EXAMPLES: [Starter; 3] = [starter!("agents-read-only"), starter!("dbt"), starter!("read-only-ci")];

/// A classification to begin with: `classification.toml`.
pub const CLASSIFICATION: &str = include_str!("../starter/classification.toml");
