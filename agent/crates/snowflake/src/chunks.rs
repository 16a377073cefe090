//! The rows of a result that are not in its reply: chunks, which a client fetches from the cloud storage that the reply
//! names. Here is where they lie, how their addresses are replaced in the reply, and how their bodies are read.
//!
//! Source of the form: the drivers' own readers (`result_batch.py` of the Python connector, `chunk_downloader.go` of
//! gosnowflake, `chunk.js` of the one for Node). Each is fetched without Snowflake's credentials by a signed address that
//! holds for hours, with the headers that the reply names.

mod arrow;
mod json;
mod link;

use std::{fmt, ops::Range};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;

pub use self::{
    arrow::{ArrowError, ArrowParts, ArrowRows},
    json::{JsonBatch, JsonPlace, JsonRows},
    link::{ChunkId, ChunkUrl, link},
};
use crate::{error::DecodeError, json::Object, splice::span};

/// Headers that a store may be sent: those by which clouds name their own.
const STORE_HEADERS: [&str; 3] = ["x-amz-", "x-ms-", "x-goog-"];

/// How many of them there may be. Snowflake sends two.
const HEADERS_MAX: usize = 16;

/// Where the rows of a result are that are not in its reply.
#[derive(Clone)]
pub struct Chunks {
    /// In the order of the rows.
    pub list: Vec<Chunk>,
    /// What a store must be sent to give them. A secret: the key that they are encrypted with is among it.
    pub headers: HeaderMap,
    /// How rows are written in them.
    pub format: ChunkFormat,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it is.
    pub url: ChunkUrl,
    /// How many rows it has, as the reply says.
    pub rows: u64,
    /// How many bytes it has, as the reply says: inflated, or as they are sent, whichever is more.
    pub bytes: u64,
}

/// How rows are written in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkFormat {
    /// Rows as in `rowset`, without the brackets around them.
    Json,
    /// One complete Arrow IPC stream.
    Arrow,
}

/// Where in a reply the things lie that lead to chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Links {
    /// The address of each chunk.
    pub(crate) urls: Vec<Range<usize>>,
    /// What a client needs to ask a store, and what stands for "nothing" in its place.
    pub(crate) keys: Vec<(Range<usize>, &'static str)>,
}

impl Chunks {
    /// How many rows they have together, as the reply says.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.list.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.rows))
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunks({} in {:?})", self.list.len(), self.format)
    }
}

/// Whether `data` says anything about chunks.
pub(crate) fn are_told_of(data: &Object<'_>) -> bool {
    data.keys().any(|key| key.starts_with("chunk") || key == "qrmk")
}

/// Reads what the `data` of a reply, whose whole text is `body`, says about chunks; `None` where there are none.
pub(crate) fn read(body: &str, data: &Object<'_>) -> Result<Option<(Chunks, Links)>, DecodeError> {
    let may_lead_on = |raw: &str| raw.starts_with(['"', '[', '{']);
    for (key, value) in data.entries() {
        let is_known = ["chunks", "chunkHeaders"].contains(&key);
        if key.starts_with("chunk") && !is_known && may_lead_on(value.get()) {
            return Err(DecodeError::wrong_type(key, "a number, or nothing"));
        }
    }
    let list = data.list("chunks")?.unwrap_or_default();
    if list.is_empty() {
        return Ok(None);
    }
    let mut chunks = Vec::with_capacity(list.len());
    let mut urls = Vec::with_capacity(list.len());
    for entry in list {
        let (chunk, url) = chunk(body, entry)?;
        chunks.push(chunk);
        urls.push(url);
    }
    let nothing = [("chunkHeaders", "{}"), ("qrmk", "null")];
    let keys = nothing.into_iter().filter_map(|(key, nothing)| Some((span(body, data.raw(key)?)?, nothing)));
    let links = Links { urls, keys: keys.collect() };
    let format = match data.text("queryResultFormat")?.as_deref() {
        Some("arrow") => ChunkFormat::Arrow,
        Some("json") | None => ChunkFormat::Json,
        Some(_) => return Err(DecodeError::wrong_type("queryResultFormat", "arrow or json")),
    };
    Ok(Some((Chunks { list: chunks, headers: headers(data)?, format }, links)))
}

/// One chunk, and where its address stands.
fn chunk(body: &str, entry: &RawValue) -> Result<(Chunk, Range<usize>), DecodeError> {
    if !entry.get().starts_with('{') {
        return Err(DecodeError::wrong_type("chunks", "a list of objects"));
    }
    let entry = Object::parse(entry.get())?;
    for (key, value) in entry.entries() {
        // Rows that a client finds elsewhere would not be found here.
        if key != "url" && value.get().starts_with(['"', '[', '{']) {
            return Err(DecodeError::wrong_type(key, "a number, or nothing"));
        }
    }
    let missing = |key| DecodeError::Missing { key };
    let url = ChunkUrl::parse(&entry.text("url")?.ok_or(missing("url"))?)?;
    let at = entry.raw("url").and_then(|raw| span(body, raw)).ok_or(missing("url"))?;
    let rows = entry.whole("rowCount")?.ok_or(missing("rowCount"))?;
    let sizes = [entry.whole("uncompressedSize")?, entry.whole("compressedSize")?];
    let bytes = sizes.into_iter().flatten().max().unwrap_or_default();
    Ok((Chunk { url, rows, bytes }, at))
}

/// What a store must be sent: all of `chunkHeaders`, or else the key in `qrmk`.
fn headers(data: &Object<'_>) -> Result<HeaderMap, DecodeError> {
    let mut headers = HeaderMap::new();
    let named = data.object("chunkHeaders")?;
    let entries = named.iter().flat_map(Object::entries);
    for (name, value) in entries {
        let value: String = serde_json::from_str(value.get()).map_err(|_| wrong_header(name))?;
        insert(&mut headers, name, &value)?;
    }
    if let (true, Some(key)) = (headers.is_empty(), data.text("qrmk")?.filter(|key| !key.is_empty())) {
        insert(&mut headers, "x-amz-server-side-encryption-customer-algorithm", "AES256")?;
        insert(&mut headers, "x-amz-server-side-encryption-customer-key", &key)?;
    }
    Ok(headers)
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), DecodeError> {
    let wrong = || wrong_header(name);
    let header = HeaderName::try_from(name).map_err(|_| wrong())?;
    let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
    value.set_sensitive(true);
    let is_a_stores = STORE_HEADERS.iter().any(|prefix| header.as_str().starts_with(prefix));
    if !is_a_stores || headers.len() >= HEADERS_MAX || headers.insert(header, value).is_some() {
        return Err(wrong());
    }
    Ok(())
}

fn wrong_header(name: &str) -> DecodeError {
    DecodeError::wrong_type(name, "a header of cloud storage")
}

#[cfg(test)]
#[path = "chunks_tests.rs"]
mod tests;
