//! What can be asked.

use std::sync::Arc;

use identity::Principal;
use model::{AccountName, HostName, Mode, QueryId};
use sql::Facts;

/// May this statement be sent?
#[derive(Debug, Clone, Copy)]
pub struct StatementAsk<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The account it would go to.
    pub account: &'a AccountName,
    /// Snowflake user of the session.
    pub user: &'a str,
    /// What is known of the statement; it carries the text, and says the role that it runs in. An answer is kept for these very facts, so whoever keeps
    /// facts and asks with them again is answered sooner.
    pub facts: &'a Arc<Facts>,
    /// The id that permit, receipt and clearance share.
    pub query_id: QueryId,
    /// What is done with the answer.
    pub mode: Mode,
}

/// May this login be sent?
#[derive(Debug, Clone, Copy)]
pub struct LoginAsk<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The account.
    pub account: &'a AccountName,
    /// The Snowflake user.
    pub user: &'a str,
    /// The role asked for, if any.
    pub role: Option<&'a str>,
    /// What is presented: `password`, `key-pair`, `pat`, `oauth`, `wif`, …
    pub credential: &'a str,
    /// Whether that never expires by itself.
    pub is_static: bool,
    /// What the client calls itself.
    pub client: &'a str,
    /// What is done with the answer.
    pub mode: Mode,
}

/// May this exchange, which is neither login nor statement, be sent?
#[derive(Debug, Clone, Copy)]
pub struct EndpointAsk<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The account.
    pub account: &'a AccountName,
    /// The Snowflake user of the session, empty if there is none.
    pub user: &'a str,
    /// The host.
    pub host: &'a HostName,
    /// HTTP method.
    pub method: &'a str,
    /// Path without query string.
    pub path: &'a str,
    /// What is done with the answer.
    pub mode: Mode,
}
