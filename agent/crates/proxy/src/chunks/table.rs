//! The results whose chunks clients were told of: by a key that nobody guesses, for as long as the session is there and
//! the store's addresses hold.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, Weak},
};

use model::{ColumnMeta, HostName};
use policy::StandingClearance;
use snowflake::{ChunkId, Chunks};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    limits::{CHUNKS_BYTES_MAX, CHUNKS_KEPT_WAIT_MAX, SESSION_CHUNKS_BYTES_MAX},
    refusal::Withheld,
    session::{Session, lock},
};

/// What one chunk takes beside its address.
const CHUNK_BYTES: usize = 128;

/// A result whose chunks may be asked for.
#[derive(Debug)]
pub(crate) struct ChunkedResult {
    /// What its rows are made of.
    pub(crate) columns: Vec<ColumnMeta>,
    pub(crate) chunks: Chunks,
    /// What is owed for its rows, wherever they are.
    pub(crate) clearance: StandingClearance,
    session: Weak<Session>,
    until: Instant,
    bytes: usize,
}

/// All of them.
pub(crate) struct Announced {
    /// Domains in which stores are.
    domains: Vec<HostName>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_key: HashMap<Uuid, Arc<ChunkedResult>>,
    /// Oldest first.
    order: VecDeque<Uuid>,
    bytes: usize,
}

/// Where a client that got a reply finds its chunks.
#[derive(Clone, Copy)]
pub(crate) struct Door<'a> {
    pub(crate) announced: &'a Announced,
    pub(crate) session: &'a Arc<Session>,
    /// The host that it asked, and the port.
    pub(crate) host: &'a HostName,
    pub(crate) port: u16,
}

impl Door<'_> {
    /// Opens it for the chunks of a result, and says by what addresses.
    ///
    /// # Errors
    /// When one is not at a store, or they are more than can be kept.
    pub(crate) fn open(
        &self,
        columns: Vec<ColumnMeta>,
        chunks: Chunks,
        clearance: &StandingClearance,
    ) -> Result<Vec<String>, Withheld> {
        let count = chunks.list.len();
        let result = self.announced.announce(self.session, columns, chunks, clearance)?;
        let link = |index| snowflake::link(self.host, self.port, ChunkId { result, index });
        Ok((0..count).map(link).collect())
    }
}

impl Announced {
    /// None yet.
    pub(crate) fn new(domains: Vec<HostName>) -> Self {
        Self { domains, known: Mutex::default() }
    }

    fn announce(
        &self,
        session: &Arc<Session>,
        columns: Vec<ColumnMeta>,
        chunks: Chunks,
        clearance: &StandingClearance,
    ) -> Result<Uuid, Withheld> {
        let is_store = |host: &HostName| self.domains.iter().any(|domain| host.is_within(domain));
        if let Some(chunk) = chunks.list.iter().find(|chunk| !is_store(chunk.url.host())) {
            return Err(Withheld::Store(chunk.url.host().clone()));
        }
        let addresses = chunks.list.iter().map(|chunk| chunk.url.target().as_str().len() + CHUNK_BYTES);
        let bytes = addresses.sum();
        if bytes > SESSION_CHUNKS_BYTES_MAX {
            return Err(Withheld::ManyChunks(chunks.list.len()));
        }
        let key = Uuid::new_v4();
        let (until, session) = (Instant::now() + CHUNKS_KEPT_WAIT_MAX, Arc::downgrade(session));
        let result = ChunkedResult { columns, chunks, clearance: clearance.clone(), session, until, bytes };
        lock(&self.known).insert(key, result);
        Ok(key)
    }

    /// A result by its key, with its session, if that is still there.
    pub(crate) fn find(&self, key: Uuid) -> Option<(Arc<Session>, Arc<ChunkedResult>)> {
        let result = lock(&self.known).by_key.get(&key).cloned()?;
        let session = result.session.upgrade().filter(|_| result.until > Instant::now())?;
        Some((session, result))
    }
}

impl Known {
    /// The oldest make room: those that are over, then those of the same session, then any.
    fn insert(&mut self, key: Uuid, result: ChunkedResult) {
        let now = Instant::now();
        self.forget(|other| other.until <= now || other.session.strong_count() == 0, usize::MAX);
        let is_same = |other: &ChunkedResult| Weak::ptr_eq(&other.session, &result.session);
        let of_session: usize =
            self.by_key.values().filter(|other| is_same(other)).map(|other| other.bytes).sum();
        self.forget(is_same, (of_session + result.bytes).saturating_sub(SESSION_CHUNKS_BYTES_MAX));
        self.forget(|_| true, (self.bytes + result.bytes).saturating_sub(CHUNKS_BYTES_MAX));
        self.bytes += result.bytes;
        self.order.push_back(key);
        self.by_key.insert(key, Arc::new(result));
    }

    /// Forgets such results, oldest first, until as many bytes are free.
    fn forget(&mut self, is_such: impl Fn(&ChunkedResult) -> bool, bytes: usize) {
        let mut freed = 0;
        let by_key = &mut self.by_key;
        self.order.retain(|key| {
            let Some(result) = by_key.get(key) else { return false };
            if freed >= bytes || !is_such(result) {
                return true;
            }
            freed += result.bytes;
            by_key.remove(key);
            false
        });
        self.bytes -= freed;
    }
}

impl fmt::Debug for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Announced({} results)", lock(&self.known).by_key.len())
    }
}
