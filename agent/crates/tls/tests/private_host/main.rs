//! Trust and handshakes on a whole host, in namespaces of its own: the real tools, the real places, the real drivers.

#![cfg(test)]

mod clients;
mod host;
mod support;
