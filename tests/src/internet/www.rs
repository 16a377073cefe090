//! `www.example.org`: a site that has nothing to do with Snowflake. It tells each visitor the address that it came
//! from, sends back what it is sent, and has as many bytes as anybody wants to fetch.

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};

use super::serve::{Caller, Reply, Site, bytes, text};

/// Followed by a number: that many bytes.
const BYTES_PATH: &str = "/bytes/";
const BYTES_MAX: usize = 256 << 20;

pub(super) struct EchoPeer;

impl Site for EchoPeer {
    async fn answer(&self, caller: &Caller, request: Request<Bytes>) -> Reply {
        if request.method() == Method::POST {
            return bytes(request.into_body());
        }
        match request.uri().path().strip_prefix(BYTES_PATH) {
            None => text(StatusCode::OK, format!("{}\n", caller.peer)),
            Some(length) => match length.parse() {
                Ok(length) if length <= BYTES_MAX => bytes(counting(length)),
                _ => text(StatusCode::BAD_REQUEST, format!("at most {BYTES_MAX} bytes\n")),
            },
        }
    }
}

/// The numbers from 0 on, eight bytes each, least significant first: no two stretches are alike.
fn counting(length: usize) -> Bytes {
    let mut bytes: Vec<u8> = (0..length.div_ceil(8) as u64).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_up_and_are_as_many_as_asked_for() {
        assert_eq!(counting(10).as_ref(), [0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert!(counting(0).is_empty());
    }
}
