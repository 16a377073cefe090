//! Whoever has left: refused where they ask, and their sessions ended where they are open.
//!
//! A session is ended from here, and not when its client asks next: what runs in it is aborted, Snowflake is told that it
//! is over, and whoever waits for an answer gets the sentence that says why. What the SQL API has in place of sessions,
//! where each request brings a credential, ends in the same way: its statements are cancelled, and nobody is let in by
//! that credential before they are judged again.

use std::sync::Arc;

use broker::Lease;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use identity::Gone;
use model::{Mode, QueryId, RequestId, Secret};
use tokio::task::JoinSet;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    corridor::{Corridor, Peer},
    housekeeping::lease,
    limits::REQUEST_BYTES_MAX,
    refusal::{Refusal, What},
    session::Session,
    sql_api,
    upstream::{Inbound, UpstreamError},
};

/// How a session was come into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// By a login, whose token is the session's.
    Login,
    /// Each request of the SQL API brings the credential. Snowflake knows of no session.
    EachRequest,
}

impl Entrance {
    fn lease(self, token: Secret<String>) -> Lease {
        match self {
            Self::Login => lease(token),
            Self::EachRequest => sql_api::lease(&token),
        }
    }
}

impl Corridor {
    /// Why somebody is not served, whatever the rules say. Somebody who has left, or of whom nobody knows.
    pub(crate) fn barred(&self, peer: &Peer, user: Option<&str>) -> Option<Refusal> {
        self.status.check(&peer.principal, user).err().map(Refusal::Barred)
    }

    /// In observe mode: the sentence that enforce mode would have told them.
    pub(crate) fn would_bar(
        &self,
        peer: &Peer,
        user: Option<&str>,
        what: What,
        id: QueryId,
    ) -> Option<String> {
        if self.mode == Mode::Enforce {
            return None;
        }
        self.barred(peer, user).map(|refusal| refusal.sentence(what, id))
    }

    /// Ends sessions as soon as somebody behind them has left. Runs for ever; where nobody is asked who has left, it
    /// waits for ever.
    pub async fn watch_departures(self: Arc<Self>) {
        let mut status = self.status.clone();
        loop {
            status.changed().await;
            self.clone().end_departed().await;
        }
    }

    async fn end_departed(self: Arc<Self>) {
        let mut ending = JoinSet::new();
        let logins = self.sessions.all().into_iter().map(|session| (session, Entrance::Login));
        for (session, entrance) in logins.chain(self.sql_api.sessions().await) {
            let corridor = self.clone();
            ending.spawn(async move { corridor.end_if_departed(&session, entrance).await });
        }
        while ending.join_next().await.is_some() {}
    }

    /// Ends a session whose people have left, if it is one.
    pub(crate) async fn end_if_departed(&self, session: &Session, entrance: Entrance) {
        let Some(owner) = session.owner() else { return };
        let Some(gone) = self.status.gone(&owner.principal, Some(&session.user)) else { return };
        match self.mode {
            Mode::Observe => warn!(session = %session.id, %gone, "a session would be ended"),
            Mode::Enforce => self.end(session, entrance, owner, &gone).await,
        }
    }

    async fn end(&self, session: &Session, entrance: Entrance, owner: &Peer, gone: &Gone) {
        if !session.end(gone.to_string()) {
            return;
        }
        info!(session = %session.id, %gone, "a session is ended");
        let reason = format!("the agent ended it: {gone} (known as {})", gone.name);
        session.statements.lose_all(&reason).await;
        let submitted = self.sql_api.end(session.id, &reason).await;
        let end = audit::SessionEnd { session: session.id, reason };
        if let Err(error) = self.journal.append(end).await {
            warn!(session = %session.id, %error, "the end of a session could not be recorded");
        }
        session.lookups.own.end(self, owner).await;
        let Some(lease) = session.take_token().map(|token| entrance.lease(token)) else { return };
        let aborts = session.take_open().into_iter().map(abort);
        for told in aborts.chain(submitted.into_iter().map(cancel)) {
            if let Err(error) = self.tell(owner, &lease, told).await {
                warn!(session = %session.id, %error, "a statement could not be aborted");
            }
        }
        if entrance == Entrance::EachRequest {
            return;
        }
        if let Err(error) = self.tell(owner, &lease, close()).await {
            warn!(session = %session.id, %error, "Snowflake could not be told that a session is over");
        }
    }

    /// Ends a statement of the SQL API that nobody is to have the rows of, whose handle was not known before.
    pub(crate) async fn cancel(&self, peer: &Peer, lease: &Lease, handle: Uuid) {
        if let Err(error) = self.tell(peer, lease, cancel(handle)).await {
            warn!(%handle, %error, "a statement could not be aborted");
        }
    }

    /// Tells Snowflake something in a session's name. What it answers changes nothing.
    async fn tell(
        &self,
        owner: &Peer,
        lease: &Lease,
        (path, body): (String, String),
    ) -> Result<(), UpstreamError> {
        let json = HeaderValue::from_static("application/json");
        // The SQL API answers nobody who does not say what they are.
        let agent = HeaderValue::from_static(concat!("Snowfence/", env!("CARGO_PKG_VERSION")));
        let told =
            [(header::CONTENT_TYPE, json.clone()), (header::ACCEPT, json), (header::USER_AGENT, agent)];
        let headers = HeaderMap::from_iter(told);
        let uri = Uri::try_from(path).map_err(http::Error::from)?;
        let body = Bytes::from(body);
        let inbound = Inbound { method: Method::POST, uri, headers, body, bytes_max: REQUEST_BYTES_MAX };
        self.upstream.keep(lease, owner, &inbound).await.map(drop)
    }
}

/// What drivers send to abort a statement.
fn abort(request: RequestId) -> (String, String) {
    let path = format!("/queries/v1/abort-request?requestId={}", Uuid::new_v4());
    (path, format!("{{\"sqlText\":\"\",\"requestId\":\"{request}\"}}"))
}

/// What clients of the SQL API send to end a statement.
fn cancel(handle: Uuid) -> (String, String) {
    (format!("/api/v2/statements/{handle}/cancel?requestId={}", Uuid::new_v4()), "{}".to_owned())
}

/// What drivers send to end a session.
fn close() -> (String, String) {
    (format!("/session?delete=true&requestId={}", Uuid::new_v4()), "{}".to_owned())
}
