//! Every bound of the corridor, on one page.

use std::time::Duration;

/// The body of a statement's request, as sent and after inflating. Snowflake takes texts of 1 MB; binds may be many
/// times that.
pub(crate) const STATEMENT_BYTES_MAX: usize = 64 << 20;

/// The body of any other request, as sent and after inflating. Most of these can be sent without a session, so little
/// is held for them.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 << 20;

/// A reply body, as sent and after inflating. Inline rows are a first part of a few megabytes; the rest comes in chunks.
pub(crate) const REPLY_BYTES_MAX: usize = 256 << 20;

/// Sessions known at one time. Beyond it the one unused for longest is forgotten, and must log in again.
pub(crate) const SESSIONS_MAX: usize = 10_000;

/// Request ids remembered in a session, to tell a retry from a request that only looks like one.
pub(crate) const RETRIES_MAX: usize = 1_024;

/// Session variables that are followed, and the longest text of one, in bytes. Snowflake keeps no longer ones.
/// Source: Snowflake documentation, "SQL variables".
pub(crate) const VARIABLES_MAX: usize = 100;
/// See [`VARIABLES_MAX`].
pub(crate) const VARIABLE_BYTES_MAX: usize = 256;

/// Answers kept for retries, over all sessions: how many, how long each may be, how long all of them, and for how long.
/// What is not kept is asked of Snowflake again.
pub(crate) const KEPT_ANSWERS_MAX: usize = 4_096;
/// See [`KEPT_ANSWERS_MAX`].
pub(crate) const KEPT_ANSWER_BYTES_MAX: usize = 1 << 20;
/// See [`KEPT_ANSWERS_MAX`].
pub(crate) const KEPT_BYTES_MAX: usize = 16 << 20;
/// See [`KEPT_ANSWERS_MAX`].
pub(crate) const KEPT_WAIT_MAX: Duration = Duration::from_secs(600);

/// Requests of one session that are aborted when it is ended from here: the last ones whose statements may still run.
pub(crate) const OPEN_REQUESTS_MAX: usize = 64;

/// Statements of one session that may run at one time, by Snowflake's word. Beyond it the ones that nobody has asked about
/// for longest are lost.
pub(crate) const RUNNING_MAX: usize = 1_024;

/// Statements of one session that are over and whose results may be read again by their ids. Beyond it those that nobody
/// has asked about for longest are forgotten, and a reading of them is refused.
pub(crate) const RESULTS_MAX: usize = 128;

/// A running statement that nobody asks about for so long is closed in the record. Drivers ask every 45 s or more often,
/// and the longest pause between two questions of one is 16 s; people come back for results of their own.
pub(crate) const UNASKED_WAIT_MAX: Duration = Duration::from_secs(900);

/// A statement that waits for its turn has Snowflake asked this often about those that it waits for.
pub(crate) const TURN_ASK_EVERY: Duration = Duration::from_secs(1);

/// Credentials that the SQL API was asked with, by job and role, and how long one is taken for logged in.
pub(crate) const API_ADMITTED_MAX: usize = 10_000;
/// See [`API_ADMITTED_MAX`]. A key-pair JWT lives for an hour at most.
pub(crate) const API_ADMITTED_WAIT_MAX: Duration = Duration::from_secs(3_600);

/// Statements of the SQL API whose rows may be asked for. Beyond it the oldest is forgotten, and must be submitted again.
pub(crate) const API_STATEMENTS_MAX: usize = 10_000;

/// How long one is remembered. Snowflake keeps results for a day.
pub(crate) const API_STATEMENTS_WAIT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Requests of the SQL API that were seen, for the same time, to tell a retry from what only says that it is one.
pub(crate) const API_REQUESTS_MAX: usize = 50_000;

/// What a client of the SQL API says it is, as the record keeps it.
pub(crate) const CLIENT_CHARS_MAX: usize = 200;

/// A connection that has sent no complete request head for so long is closed.
pub(crate) const HEAD_WAIT_MAX: Duration = Duration::from_secs(300);

/// Connecting to Snowflake, TLS included.
pub(crate) const UPSTREAM_CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// A reply from Snowflake. It answers "still running" after 45 s by itself, so this is generous.
pub(crate) const UPSTREAM_REPLY_WAIT_MAX: Duration = Duration::from_secs(600);

/// Idle upstream connections kept per host, and for how long. Snowflake closes idle ones after a minute or more.
pub(crate) const UPSTREAM_IDLE_MAX: usize = 32;
/// See [`UPSTREAM_IDLE_MAX`].
pub(crate) const UPSTREAM_IDLE_WAIT_MAX: Duration = Duration::from_secs(30);

/// What is read from Snowflake at one time, which is also how long the head of a reply may be. Heads have a kilobyte, TLS
/// records 16 of them.
pub(crate) const UPSTREAM_READ_BYTES: usize = 32 << 10;

/// A reply longer than this, as sent, is passed on as it comes, if no mask is owed for it. It is not kept for retries.
pub(crate) const LONG_REPLY_BYTES_MIN: usize = KEPT_ANSWER_BYTES_MAX;

/// Pieces of such a reply, of at most [`UPSTREAM_READ_BYTES`] each, that wait for the client to take them.
pub(crate) const PASSING_PIECES_MAX: usize = 8;

/// How long a client may take none of them.
pub(crate) const PASSING_WAIT_MAX: Duration = Duration::from_secs(600);

/// Chunks of results that are fetched at one time. Each takes a batch of rows in memory, and what became of it.
pub(crate) const CHUNKS_AT_ONCE_MAX: usize = 64;

/// Addresses of chunks that are kept, of one session and of all. Beyond it the oldest results are forgotten, and their
/// chunks are refused. Snowflake makes chunks of some megabytes, whose addresses have about a kilobyte.
pub(crate) const SESSION_CHUNKS_BYTES_MAX: usize = 16 << 20;
/// See [`SESSION_CHUNKS_BYTES_MAX`].
pub(crate) const CHUNKS_BYTES_MAX: usize = 64 << 20;

/// How long they are kept. The addresses that Snowflake gives hold for six hours.
pub(crate) const CHUNKS_KEPT_WAIT_MAX: Duration = Duration::from_secs(6 * 3600);

/// How often a store is asked for a chunk, and after what pause again: twice as long each time. Drivers ask again, too.
pub(crate) const CHUNK_TRIES_MAX: u32 = 4;
/// See [`CHUNK_TRIES_MAX`].
pub(crate) const CHUNK_TRY_AFTER: Duration = Duration::from_millis(250);

/// The head of a store's answer.
pub(crate) const CHUNK_REPLY_WAIT_MAX: Duration = Duration::from_secs(30);

/// All of a chunk, for as long as a slow client takes.
pub(crate) const CHUNK_WAIT_MAX: Duration = Duration::from_secs(1800);

/// A chunk may be longer than twice what its result says by so much. The word is not always exact.
pub(crate) const CHUNK_BYTES_SLACK: u64 = 1 << 20;

/// What waits to be written to one client.
pub(crate) const CLIENT_BUFFER_BYTES_MAX: usize = 128 << 10;

/// A request head on port 80.
pub(crate) const PLAIN_WAIT_MAX: Duration = Duration::from_secs(5);

/// Method and path of a refused request, as the record keeps them.
pub(crate) const EXCHANGE_CHARS_MAX: usize = 200;

/// How long a client may take to say its first bytes, on a connection that may turn out to be none of ours. Those who
/// wait for the server to speak first are passed on after it.
pub(crate) const HELLO_WAIT_MAX: Duration = Duration::from_secs(2);

/// Connections that are passed on at one time. Fewer than are served in all, so that those to Snowflake find a place.
pub(crate) const PASSED_MAX: usize = 3072;

/// A passed connection on which nothing moves for so long is ended. Long polls and web sockets speak more often.
pub(crate) const PASSED_IDLE_MAX: Duration = Duration::from_secs(4 * 3600);

/// When the agent is told to stop, a passed connection may go on until nothing moves on it for so long.
pub(crate) const PASSED_STOP_WAIT_MAX: Duration = Duration::from_secs(1);

/// After how much silence a passed connection's far end is asked whether it is still there.
pub(crate) const PASSED_KEEPALIVE: Duration = Duration::from_secs(60);

/// What a client says first to a proxy, and a proxy to a client: tokens of a Kerberos realm take tens of kilobytes.
pub(crate) const PROXY_HEAD_BYTES_MAX: usize = 64 << 10;

/// How long a client may take to ask a proxy for something, on a new connection and after a refusal.
pub(crate) const PROXY_HEAD_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a proxy may take to open a tunnel: it looks a name up and connects.
pub(crate) const PROXY_WAIT_MAX: Duration = Duration::from_secs(120);

/// How long the body of a proxy's refusal may take.
pub(crate) const PROXY_BODY_WAIT_MAX: Duration = Duration::from_secs(30);

/// Facts kept of texts that were read before, all together.
pub(crate) const SEEN_BYTES_MAX: usize = 8 << 20;
/// Those of one text, beyond which they are not kept: few are as large, and they would drive out many.
pub(crate) const SEEN_FACTS_BYTES_MAX: usize = 256 << 10;

/// How long a statement waits to hear what the tables and views are that it names, all together.
pub(crate) const CATALOG_WAIT_MAX: Duration = Duration::from_secs(10);

/// How many of them Snowflake is asked about for one statement, and how deep views over views are followed.
pub(crate) const CATALOG_ASKED_MAX: usize = 256;
/// See [`CATALOG_ASKED_MAX`].
pub(crate) const CATALOG_ROUNDS_MAX: usize = 16;

/// How long an answer is believed. Who changes a table on this host is seen; who does so elsewhere is not.
pub(crate) const CATALOG_AGE_MAX: Duration = Duration::from_secs(60);

/// Answers kept, all together, and the largest that is kept.
pub(crate) const CATALOG_BYTES_MAX: usize = 16 << 20;
/// See [`CATALOG_BYTES_MAX`].
pub(crate) const CATALOG_ENTRY_BYTES_MAX: usize = 1 << 20;

/// Tables of its own (`TEMPORARY`) that a session may have made before nothing more is looked up for it.
pub(crate) const PRIVATE_TABLES_MAX: usize = 1_024;

/// When the agent's own session could not be opened, or fell silent, it is tried again after so long.
pub(crate) const OWN_SESSION_RETRY: Duration = Duration::from_secs(60);

/// How long the end of the agent's own session may take, which its client waits for.
pub(crate) const OWN_SESSION_END_WAIT_MAX: Duration = Duration::from_secs(2);

/// Places where tagged data went, over all accounts. When there are so many, statements that would add one are refused.
pub(crate) const COPIES_MAX: usize = 20_000;
