//! What `snowfence init` writes: policies and a classification to begin with.

/// A policy file to begin with: `policy.cedar`.
pub const POLICY: &str = include_str!("../starter/policy.cedar");

/// A classification to begin with: `classification.toml`.
pub const CLASSIFICATION: &str = include_str!("../starter/classification.toml");
