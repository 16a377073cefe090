//! Reads a statement's text and says what it is, what it touches and where its output comes from.
//!
//! Owns: facts about SQL text, and the only use of the SQL parser.
//! May touch: model.
//! Never: I/O, clocks, a verdict, or fewer tables than the statement can reach without saying so.

mod analyze;
mod catalog;
mod class;
mod depth;
mod elsewhere;
mod facts;
mod functions;
mod lex;
mod lineage;
mod names;
mod plain;
mod reach;
mod size;
mod statement;
#[cfg(test)]
mod tests;

pub use analyze::analyze;
pub use catalog::{Catalog, Routine, Table, View};
pub use class::{Class, Group};
pub use elsewhere::Elsewhere;
pub use facts::{
    Access, Container, ContainerUse, Facts, Opaque, Output, Outputs, Sources, Statement, TableUse, Unreadable,
};
pub use names::SessionNames;
