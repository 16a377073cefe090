//! `www.example.org`: a site that has nothing to do with Snowflake, and tells each visitor the address it came from.

use bytes::Bytes;
use hyper::{Request, StatusCode};

use super::serve::{Caller, Reply, Site, text};

pub(super) struct EchoPeer;

impl Site for EchoPeer {
    async fn answer(&self, caller: &Caller, _: Request<Bytes>) -> Reply {
        text(StatusCode::OK, format!("{}\n", caller.peer))
    }
}
