//! The certificate cache that drivers ask before a handshake, over port 80.
//!
//! It has nothing, and says so at once: a driver then goes on, where silence would cost it up to twenty seconds.

use bytes::Bytes;
use hyper::{Request, StatusCode};

use super::serve::{Caller, Reply, Site, text};

pub(super) struct NoCache;

impl Site for NoCache {
    async fn answer(&self, _: &Caller, _: Request<Bytes>) -> Reply {
        text(StatusCode::NOT_FOUND, "no certificate status is known here\n")
    }
}
