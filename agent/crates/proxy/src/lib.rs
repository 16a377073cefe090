//! The corridor that every request walks, from the client's connection to Snowflake and back.
//!
//! Owns: the order of things: who, what, may it, written down, sent, masked, written down, answered.
//! May touch: audit, broker, identity, model, policy, snowflake, sql, tls, workload.
//! Never: kernels, files, a way upstream without a permit and a receipt, or a connection passed on because of what its
//! client said.

mod addresses;
mod answer;
mod arrival;
mod catalog;
mod chunks;
mod connect_proxy;
mod corridor;
mod departures;
mod exchange;
mod housekeeping;
mod limits;
mod login;
mod passing;
mod passthrough;
mod peek;
mod plain;
mod proxied;
mod proxy_head;
mod query;
mod record;
mod refusal;
mod relay;
mod renaming;
mod reply;
mod results;
mod retries;
mod seen;
mod session;
mod sql_api;
mod statements;
#[cfg(test)]
mod testing;
mod upstream;

pub use addresses::{Addresses, Answer as AddressAnswer, Undecided, Whose};
pub use arrival::Arrival;
pub use catalog::copies::{Copies, Place, Shelf, State};
pub use chunks::Storage;
pub use corridor::{Corridor, Parts};
pub use passthrough::Passed;
pub use upstream::Dial;
