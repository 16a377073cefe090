//! The two addresses of a chunk: the one at the store, and the one that a client is told in its place.

use std::fmt;

use http::uri::PathAndQuery;
use model::HostName;
use uuid::Uuid;

use crate::{error::DecodeError, exchange::canonical};

/// Where clients find chunks. Snowflake has nothing there.
const PATH: &str = "/snowfence/chunks/";

/// Where a store listens.
const HTTPS: u16 = 443;

/// How long an address may be. Signed ones have up to two thousand bytes.
const URL_BYTES_MAX: usize = 16 << 10;

/// The address of a chunk at a store: `https`, a host name, and what is signed. `Debug` shows the host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkUrl {
    host: HostName,
    target: PathAndQuery,
}

impl ChunkUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is not one that every client reads alike: another scheme or port, a user, an address in place of a name,
    /// a fragment, or a character that stands in no address.
    pub(crate) fn parse(text: &str) -> Result<Self, DecodeError> {
        let wrong = || DecodeError::wrong_type("url", "the https address of a chunk at a store");
        let rest = text.strip_prefix("https://").filter(|_| text.len() <= URL_BYTES_MAX).ok_or_else(wrong)?;
        let at = rest.find('/').ok_or_else(wrong)?;
        let (authority, target) = rest.split_at_checked(at).ok_or_else(wrong)?;
        let host = match authority.split_once(':') {
            Some((host, port)) if port == HTTPS.to_string() => host,
            Some(_) => return Err(wrong()),
            None => authority,
        };
        let host = HostName::parse(host).map_err(|_| wrong())?;
        let parsed: PathAndQuery = target.parse().map_err(|_| wrong())?;
        // What is signed goes on byte for byte, or not at all. A fragment would be left behind.
        if parsed.as_str() != target {
            return Err(wrong());
        }
        Ok(Self { host, target: parsed })
    }

    /// The store.
    #[must_use]
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The store's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        HTTPS
    }

    /// What is asked for, signature and all.
    #[must_use]
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }
}

impl fmt::Debug for ChunkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkUrl({})", self.host)
    }
}

/// What a client names a chunk by: the result, by a key that nobody guesses, and the chunk's place in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkId {
    /// The key of the result.
    pub result: Uuid,
    /// The chunk's place in the result's list, from 0.
    pub index: usize,
}

impl ChunkId {
    /// Reads the path of a request; `None` where it leads to no chunk.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let (result, index) = path.strip_prefix(PATH)?.split_once('/')?;
        let number: usize = index.parse().ok()?;
        let id = Self { result: canonical(result)?, index: number };
        (number.to_string() == index).then_some(id)
    }
}

/// Whoever has the key may have the rows.
impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId(…, {})", self.index)
    }
}

/// The address that a client is told: on the host, and at the port, that it asked for its result.
#[must_use]
pub fn link(host: &HostName, port: u16, id: ChunkId) -> String {
    let port = if port == HTTPS { String::new() } else { format!(":{port}") };
    format!("https://{host}{port}{PATH}{}/{}", id.result, id.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = "/results/01b_0/main/data_0_0_1?x-amz-algorithm=AES256&response-content-encoding=gzip&Signature=a%2Bb%2f%3D&Expires=1";

    #[test]
    fn what_is_signed_stays_as_it_is() {
        let url = ChunkUrl::parse(&format!("https://Bucket.S3.amazonaws.com:443{SIGNED}")).unwrap();
        assert_eq!((url.host().as_str(), url.port()), ("bucket.s3.amazonaws.com", 443));
        assert_eq!(url.target().as_str(), SIGNED);
        assert!(!format!("{url:?}").contains("Signature"));
    }

    #[test]
    fn an_address_that_leads_elsewhere_is_refused() {
        for url in [
            "",
            "http://bucket.s3.amazonaws.com/a",
            "HTTPS://bucket.s3.amazonaws.com/a",
            "https://bucket.s3.amazonaws.com",
            "https://bucket.s3.amazonaws.com?a",
            "https://user@bucket.s3.amazonaws.com/a",
            "https://user:443@bucket.s3.amazonaws.com/a",
            "https://bucket.s3.amazonaws.com:80/a",
            "https://bucket.s3.amazonaws.com:0443/a",
            "https://bucket.s3.amazonaws.com:/a",
            "https://127.0.0.1/a",
            "https://[::1]/a",
            "https://2130706433/a",
            "https://169.254.169.254/latest/meta-data",
            "https://bucket.s3.amazonaws.com\\@evil.example/a",
            "https:///a",
            "https://bucket.s3.amazonaws.com/a#b",
            "https://bucket.s3.amazonaws.com/a b",
            "https://bucket.s3.amazonaws.com/a\r\nhost: x",
            "//bucket.s3.amazonaws.com/a",
            "file:///etc/passwd",
        ] {
            assert!(ChunkUrl::parse(url).is_err(), "{url}");
        }
        let long = format!("https://bucket.s3.amazonaws.com/{}", "a".repeat(URL_BYTES_MAX));
        assert!(ChunkUrl::parse(&long).is_err());
    }

    #[test]
    fn what_a_client_is_told_is_what_it_asks_for() {
        let host = HostName::parse("acme.snowflakecomputing.com").unwrap();
        let id = ChunkId { result: Uuid::from_u128(7), index: 12 };
        let told = link(&host, 443, id);
        assert_eq!(
            told,
            "https://acme.snowflakecomputing.com/snowfence/chunks/00000000-0000-0000-0000-000000000007/12"
        );
        assert_eq!(
            ChunkId::of_path(told.strip_prefix("https://acme.snowflakecomputing.com").unwrap()),
            Some(id)
        );
        assert!(link(&host, 8443, id).starts_with("https://acme.snowflakecomputing.com:8443/"));
        for path in [
            "/snowfence/chunks/00000000-0000-0000-0000-000000000007",
            "/snowfence/chunks/00000000-0000-0000-0000-000000000007/",
            "/snowfence/chunks/00000000-0000-0000-0000-000000000007/+1",
            "/snowfence/chunks/00000000-0000-0000-0000-000000000007/01",
            "/snowfence/chunks/00000000-0000-0000-0000-000000000007/1/",
            "/snowfence/chunks/00000000000000000000000000000007/1",
            "/snowfence/chunks//1",
        ] {
            assert_eq!(ChunkId::of_path(path), None, "{path}");
        }
    }
}
