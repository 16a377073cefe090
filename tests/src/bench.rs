//! Benchmarks: the agent beside what it is compared with, in one run on one machine.
//!
//! A machine is slower at one time than at another, so nothing is compared across runs: in each round every candidate
//! does the same work, one after the other, and what is told is the median over the rounds, and the median of the
//! ratios to the direct connection in the same round.

mod intercept;
pub mod load;
mod peers;
mod sql;
mod table;
mod usage;

pub use intercept::{Intercept, intercept};
pub use sql::{Sql, sql};

/// The name under which everything is asked for.
const SERVER_NAME: &str = "acme.snowflakecomputing.com";
