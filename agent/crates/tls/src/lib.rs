//! The agent's two ends of TLS, and the trust that makes the near one believable to unmodified clients.
//!
//! Owns: the agent's certificate authority, the server side of a client's handshake, the client side of the
//! handshake with Snowflake, and what `trust install` changes on a host together with its undo.
//! May touch: model.
//! Never: an upstream certificate taken on trust, a private key outside its file and this room's memory, a file of
//! somebody else's changed without a way back.

mod ask;
mod authority;
mod hello;
mod intermediate;
mod leaves;
mod originate;
mod place;
mod profile;
mod terminate;
pub mod trust;

pub use ask::Shown;
pub use authority::{Authority, AuthorityError, LeafError};
pub use hello::{HELLO_BYTES_MAX, Hello};
pub use originate::{OriginateError, Originator};
pub use terminate::{AcceptError, Terminated, Terminator};

#[cfg(test)]
mod testing;
