//! The judge: may this principal do that, and what is owed for it.
//!
//! Owns: policies, classification, every decision, and the masks that a permitted statement owes.
//! May touch: identity, masking, model, sql.
//! Never: I/O, clocks, or a row without a clearance.
//!
//! A [`Permit`] carries the text that was judged, and is made by [`Policies::statement`] alone:
//!
//! ```compile_fail,E0451
//! let forged = policy::Permit { text: todo!(), query_id: todo!(), clearance: todo!(), verdict: todo!() };
//! ```
//!
//! A [`Clearance`] comes out of a permit, and is used once:
//!
//! ```compile_fail,E0451
//! let forged = policy::Clearance { query_id: todo!(), plan: todo!(), mode: todo!() };
//! ```
//!
//! ```compile_fail,E0382
//! fn twice(clearance: policy::Clearance, a: model::ResultSet, b: model::ResultSet) {
//!     let _first = clearance.clear(a);
//!     let _second = clearance.clear(b);
//! }
//! ```
//!
//! A [`StandingClearance`] comes out of a clearance, and gives one for each further reading of the same result:
//!
//! ```compile_fail,E0451
//! let forged = policy::StandingClearance { query_id: todo!(), plan: todo!(), mode: todo!() };
//! ```
//!
//! So does the word that rows may pass as they come:
//!
//! ```compile_fail,E0451
//! let forged = policy::Untouched { query_id: todo!() };
//! ```
//!
//! [`Cleared`] rows come out of a clearance:
//!
//! ```compile_fail,E0451
//! let forged = policy::Cleared { result: todo!(), masked: todo!(), found: todo!(), rows: todo!(), mode: todo!() };
//! ```

mod absence;
mod ask;
mod beside;
mod carry;
mod cases;
mod classification;
mod clearance;
mod columns;
mod compile;
mod decide;
mod decision;
mod entities;
mod explain;
mod in_force;
mod judge;
mod kept;
mod literals;
mod misfits;
mod near;
mod pattern;
mod plan;
mod problem;
mod questions;
mod rule;
mod slice;
mod split;
pub mod starter;
mod statement;
mod suppose;
mod tally;
#[cfg(test)]
mod tests;
mod who;
mod words;

pub use ask::{EndpointAsk, LoginAsk, StatementAsk};
pub use beside::{Beside, Carried};
pub use carry::STAGES;
pub use cases::{CaseResult, Cases, know_table};
pub use classification::{Classification, Classified};
pub use clearance::{
    ClearError, Clearance, Cleared, FoundValues, MaskedColumn, StandingClearance, Untouched,
};
pub use compile::{Policies, PolicyFile};
pub use decision::{Approvers, Decision, Denial, EndpointPermit, Hold, LoginPermit, Permit};
pub use explain::{
    Counted, Explanation, Missed, Question, ShownColumn, SupposedAsk, SupposedLogin, TaggedColumn,
};
pub use in_force::InForce;
pub use masking::{Key as MaskKey, KeyTooShort as MaskKeyTooShort};
pub use problem::{Place, PolicyError, Problem};
pub use suppose::{Supposed, SupposedAssurance};
pub use tally::Tally;
