//! The corridor that every request walks, from the client's connection to Snowflake and back.
//!
//! Owns: the order of things: who, what, may it, written down, sent, masked, written down, answered.
//! May touch: audit, broker, identity, model, policy, snowflake, sql, tls, workload.
//! Never: kernels, files, or a way upstream without a permit and a receipt.

mod answer;
mod arrival;
mod corridor;
mod housekeeping;
mod limits;
mod login;
mod plain;
mod query;
mod record;
mod refusal;
mod renaming;
mod reply;
mod results;
mod retries;
mod session;
mod sql_api;
mod statements;
#[cfg(test)]
mod testing;
mod upstream;

pub use arrival::Arrival;
pub use corridor::{Corridor, Parts};
pub use upstream::Dial;
