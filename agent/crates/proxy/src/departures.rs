//! Whoever has left: refused where they ask, and their sessions ended where they are open.
//!
//! A session is ended from here, and not when its client asks next: what runs in it is aborted, Snowflake is told that it
//! is over, and whoever waits for an answer gets the sentence that says why.

use std::sync::Arc;

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
    upstream::{Inbound, UpstreamError},
};

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
        for session in self.sessions.all() {
            let corridor = self.clone();
            ending.spawn(async move { corridor.end_if_departed(&session).await });
        }
        while ending.join_next().await.is_some() {}
    }

    /// Ends a session whose people have left, if it is one.
    pub(crate) async fn end_if_departed(&self, session: &Session) {
        let Some(owner) = session.owner() else { return };
        let Some(gone) = self.status.gone(&owner.principal, Some(&session.user)) else { return };
        match self.mode {
            Mode::Observe => warn!(session = %session.id, %gone, "a session would be ended"),
            Mode::Enforce => self.end(session, owner, &gone).await,
        }
    }

    async fn end(&self, session: &Session, owner: &Peer, gone: &Gone) {
        if !session.end(gone.to_string()) {
            return;
        }
        info!(session = %session.id, %gone, "a session is ended");
        let reason = format!("the agent ended it: {gone} (known as {})", gone.name);
        session.statements.lose_all(&reason).await;
        let end = audit::SessionEnd { session: session.id, reason };
        if let Err(error) = self.journal.append(end).await {
            warn!(session = %session.id, %error, "the end of a session could not be recorded");
        }
        session.lookups.own.end(self, owner).await;
        let Some(token) = session.take_token() else { return };
        for request in session.take_open() {
            if let Err(error) = self.tell(owner, &token, abort(request)).await {
                warn!(session = %session.id, %error, "a statement could not be aborted");
            }
        }
        if let Err(error) = self.tell(owner, &token, close()).await {
            warn!(session = %session.id, %error, "Snowflake could not be told that a session is over");
        }
    }

    /// Tells Snowflake something in a session's name. What it answers changes nothing.
    async fn tell(
        &self,
        owner: &Peer,
        token: &Secret<String>,
        (path, body): (String, String),
    ) -> Result<(), UpstreamError> {
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json.clone()), (header::ACCEPT, json)]);
        let uri = Uri::try_from(path).map_err(http::Error::from)?;
        let body = Bytes::from(body);
        let inbound = Inbound { method: Method::POST, uri, headers, body, bytes_max: REQUEST_BYTES_MAX };
        let lease = lease(Secret::new(token.expose().clone()));
        self.upstream.keep(&lease, owner, &inbound).await.map(drop)
    }
}

/// What drivers send to abort a statement.
fn abort(request: RequestId) -> (String, String) {
    let path = format!("/queries/v1/abort-request?requestId={}", Uuid::new_v4());
    (path, format!("{{\"sqlText\":\"\",\"requestId\":\"{request}\"}}"))
}

/// What drivers send to end a session.
fn close() -> (String, String) {
    (format!("/session?delete=true&requestId={}", Uuid::new_v4()), "{}".to_owned())
}
