//! Reads a statement's text and says what it is, what it touches and where its output comes from.
//!
//! Owns: facts about SQL text, and the only use of the SQL parser.
//! May touch: model.
//! Never: I/O, clocks, a verdict, or fewer tables than the statement can reach without saying so.

mod analyze;
mod body;
mod catalog;
mod class;
mod copy;
mod cursor;
mod definition;
mod depth;
mod effect;
mod elsewhere;
mod facts;
mod follow;
mod functions;
mod guess;
mod kinds;
mod lex;
mod lineage;
mod literal;
mod mentions;
mod names;
mod object;
mod opaque;
mod plain;
mod reach;
mod read;
mod rewrite;
mod script;
mod size;
mod statement;
mod survey;
#[cfg(test)]
mod tests;
mod upper;

pub use analyze::analyze;
pub use catalog::{Catalog, Routine, Table, View};
pub use class::{Class, Group};
pub use effect::Effect;
pub use elsewhere::Elsewhere;
pub use facts::{
    Access, Container, ContainerUse, Facts, Landing, Output, Outputs, Parse, Sources, Statement, TableUse,
};
pub use literal::Literal;
pub use names::{SecondaryRoles, SessionNames, identifier, table_name};
pub use object::{Level, ObjectKind, ObjectPath, ObjectUse};
pub use opaque::{Opaque, Unreadable};
