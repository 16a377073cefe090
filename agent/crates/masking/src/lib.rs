//! Masks over the rows of a result: what a column that may not be seen looks like to the client.
//!
//! Owns: the list of masks and how each is written into JSON cells and Arrow streams, type for type.
//! May touch: model.
//! Never: decides which column is masked; returns rows it could not read.
//!
//! A mask keeps the number and order of rows and columns. It writes text only where the column is text, because a
//! text in a column of another type makes drivers crash or report a wrong number; there it writes NULL, or a value of the
//! same type, or makes the column one of text in all that describes it.

mod apply;
mod arrow;
mod calendar;
mod cells;
mod detect;
mod document;
mod frames;
mod instant;
mod key;
mod kind;
mod lenient;
mod mask;
mod path;
mod permute;
mod render;
mod report;
mod text;
mod token;
mod treatment;
mod watch;

pub use apply::{Applied, MaskError, apply, count_rows};
pub use calendar::Unit;
pub use detect::Detector;
pub use key::{KEY_BYTES_MIN, Key, KeyTooShort};
pub use mask::Mask;
pub use path::{JsonPath, PathError};
pub use report::{ColumnReport, RowSpan};
pub use token::Format;
pub use watch::{Finding, Watch, Watched, watch};
