//! Masks over the rows of a result: what a column that may not be seen looks like to the client.
//!
//! Owns: the list of masks and how each is written into JSON cells and Arrow streams, type for type.
//! May touch: model.
//! Never: decides which column is masked; returns rows it could not read.
//!
//! A mask keeps the number and order of rows and columns. It writes text only where the column is text, because a
//! text in a column of another type makes drivers crash or report a wrong number; there it writes NULL.

mod apply;
mod arrow;
mod cells;
mod lenient;
mod mask;
mod treatment;

pub use apply::{MaskError, apply, count_rows};
pub use mask::Mask;
