//! The corridor: what it is built of, and how a connection walks through it.

use std::{convert::Infallible, pin::pin, sync::Arc, time::SystemTime};

use http::{Request, Response};
use http_body_util::{BodyExt, Collected, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use identity::Principal;
use model::{
    AccountName, ConnectionId, HostName, Mode, OriginalDst, ProcessFacts, QueryId, Secret, Timestamp,
};
use snowflake::{Exchange as Asked, sql_api::Call};
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    addresses::{Addresses, Whose},
    answer::{Answer, Outbox, Outgoing},
    arrival::Arrival,
    catalog::{
        Catalog,
        copies::{Carrying, Copies},
        made_anew::Anew,
    },
    chunks::{self, Door, Storage, Stores},
    connect_proxy,
    exchange::Exchange,
    housekeeping,
    limits::{
        CLIENT_BUFFER_BYTES_MAX, EXCHANGE_CHARS_MAX, HEAD_WAIT_MAX, REQUEST_BYTES_MAX, STATEMENT_BYTES_MAX,
    },
    login,
    passthrough::{self, Passage, Passed},
    plain, query, record,
    refusal::{Refusal, What},
    results,
    retries::Kept,
    seen::Seen,
    session::{Session, Sessions},
    sql_api,
    upstream::{Dial, Inbound, Upstream},
};

/// What a corridor is built of.
pub struct Parts {
    /// What is done with verdicts.
    pub mode: Mode,
    /// The guarded accounts: the host a client may ask for, and the account it stands for.
    pub accounts: Vec<(HostName, AccountName)>,
    /// Finds out who is behind a connection.
    pub workload: Arc<workload::Workload>,
    /// Answers the client's TLS handshake.
    pub terminator: tls::Terminator,
    /// Verifies Snowflake's certificate.
    pub originator: Arc<tls::Originator>,
    /// Opens connections past the agent's own guard.
    pub dial: Arc<dyn Dial>,
    /// Whose the address is that a connection was going to.
    pub addresses: Arc<dyn Addresses>,
    /// The judge.
    pub policies: Arc<policy::InForce>,
    /// The record.
    pub journal: audit::Journal,
    /// Where tagged data went.
    pub copies: Arc<Copies>,
    /// Who has left.
    pub status: workload::StatusWatch,
    /// Where chunks of results are fetched.
    pub storage: Storage,
}

/// Everything between a client's connection and Snowflake.
pub struct Corridor {
    pub(crate) mode: Mode,
    pub(crate) accounts: Vec<(HostName, AccountName)>,
    pub(crate) policies: Arc<policy::InForce>,
    pub(crate) journal: audit::Journal,
    pub(crate) upstream: Upstream,
    pub(crate) sessions: Sessions,
    /// Answers kept for retries.
    pub(crate) kept: Kept,
    /// Facts kept for texts that come again.
    pub(crate) seen: Seen,
    /// What tables and views are.
    pub(crate) catalog: Catalog,
    /// Where tagged data went.
    pub(crate) copies: Arc<Copies>,
    pub(crate) sql_api: sql_api::Memory,
    /// The rows that replies lead to.
    pub(crate) stores: Stores,
    pub(crate) addresses: Arc<dyn Addresses>,
    /// Who has left.
    pub(crate) status: workload::StatusWatch,
    /// The way for what is not Snowflake's.
    pub(crate) passage: Passage,
    workload: Arc<workload::Workload>,
    terminator: tls::Terminator,
    originator: Arc<tls::Originator>,
    /// Whether the agent is about to end.
    stopping: watch::Sender<bool>,
}

/// What is known of one connection; the same for every request on it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) connection: ConnectionId,
    pub(crate) destination: OriginalDst,
    pub(crate) process: ProcessFacts,
    /// The CI worker above the process.
    pub(crate) worker: Option<u32>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) host: HostName,
    pub(crate) way: Way,
}

/// How the host behind a connection is reached.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) port: u16,
    /// Connections of this client's alone, because they were opened in its name; none: those that all clients share.
    pub(crate) own: Option<Upstream>,
}

impl Way {
    fn straight(port: u16) -> Self {
        Self { port, own: None }
    }

    /// By connections that `dial` opens for this client and no other.
    pub(crate) fn through(port: u16, dial: Arc<dyn Dial>, corridor: &Corridor) -> Self {
        Self { port, own: Some(Upstream::new(dial, corridor.originator.clone())) }
    }
}

impl Peer {
    /// The job behind the connection, in a form that differs for any two of them. Jobs of one run, as of a matrix, have
    /// the same claims; each has a worker of its own.
    pub(crate) fn job(&self) -> String {
        let run = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let (id, attempt) = (run(self.principal.run_id()), run(self.principal.run_attempt()));
        let worker = self.worker.map_or("-".to_owned(), |pid| pid.to_string());
        format!("{} run {id} attempt {attempt} worker {worker}", self.principal.id())
    }
}

/// Waits until the agent is about to end. An error means that the corridor itself is gone, which is the same.
pub(crate) async fn told(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stopping| *stopping).await);
}

impl Corridor {
    /// Builds a corridor.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            mode: parts.mode,
            accounts: parts.accounts,
            policies: parts.policies,
            journal: parts.journal,
            upstream: Upstream::new(parts.dial, parts.originator.clone()),
            sessions: Sessions::new(),
            kept: Kept::default(),
            seen: Seen::default(),
            catalog: Catalog::default(),
            copies: parts.copies,
            sql_api: sql_api::Memory::new(),
            stores: Stores::new(parts.storage, parts.originator.clone()),
            originator: parts.originator,
            addresses: parts.addresses,
            status: parts.status,
            passage: Passage::new(),
            workload: parts.workload,
            terminator: parts.terminator,
            stopping: watch::Sender::new(false),
        }
    }

    /// Ends each connection as soon as no exchange is under way on it.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// How many sessions are alive.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.count()
    }

    /// What was passed on, because it is not Snowflake's.
    #[must_use]
    pub fn passed(&self) -> Passed {
        self.passage.passed()
    }

    /// Serves one connection to its end. Whatever goes wrong is answered, recorded or both; nothing is returned.
    pub async fn serve(self: Arc<Self>, arrival: Arrival) {
        match self.addresses.known(arrival.destination()) {
            Some(Whose::Snowflakes) => self.admit(arrival).await,
            Some(Whose::Proxys) => connect_proxy::serve(self, arrival).await,
            Some(Whose::Others) | None => passthrough::meet(self, arrival).await,
        }
    }

    /// Serves a connection to Snowflake.
    pub(crate) async fn admit(self: Arc<Self>, arrival: Arrival) {
        let port = arrival.destination().port();
        if port == 80 {
            return plain::serve(arrival.into_stream()).await;
        }
        self.admit_by(arrival, Way::straight(port)).await;
    }

    /// Serves a connection to Snowflake, whose own way there is another than the usual.
    pub(crate) async fn admit_by(self: Arc<Self>, arrival: Arrival, way: Way) {
        let (connection, destination) = (arrival.id(), arrival.destination());
        if let Err(error) = arrival.send_at_once() {
            debug!(%connection, %error, "small answers may be held back");
        }
        // The process may be gone in a moment; what is needed of it is read while the client shakes hands, and before it
        // gets an answer.
        let owner = arrival.owner().clone();
        let identified = async {
            let evidence = self.workload.identify(&owner).await;
            let principal = self.workload.principal(&evidence, Timestamp::from(SystemTime::now())).await;
            (evidence, principal)
        };
        let ((evidence, principal), terminated) =
            tokio::join!(identified, self.terminator.accept(arrival.into_stream()));
        let (process, worker) = (evidence.process().clone(), evidence.worker());
        match terminated {
            Ok(terminated) => {
                let (stream, host) = terminated.into_parts();
                let peer = Arc::new(Peer { connection, destination, process, worker, principal, host, way });
                self.converse(stream, peer).await;
            }
            Err(error) => {
                warn!(%connection, %destination, pid = process.pid, %error, "a connection was refused");
                self.append_refused(audit::RefusedConnection {
                    connection,
                    destination: destination.to_string(),
                    server_name: None,
                    who: Some(record::who(&principal)),
                    process: Some((&process).into()),
                    mode: self.mode,
                    reason: error.to_string(),
                })
                .await;
            }
        }
    }

    /// Writes down a connection that is refused before anybody asked who is behind it.
    pub(crate) async fn record_refused(&self, arrival: &Arrival, reason: String) {
        let evidence = self.workload.identify(arrival.owner()).await;
        self.append_refused(audit::RefusedConnection {
            connection: arrival.id(),
            destination: arrival.destination().to_string(),
            server_name: None,
            who: None,
            process: Some(evidence.process().into()),
            mode: self.mode,
            reason,
        })
        .await;
    }

    async fn append_refused(&self, refused: audit::RefusedConnection) {
        let connection = refused.connection;
        if let Err(error) = self.journal.append(refused).await {
            warn!(%connection, %error, "a refused connection could not be recorded");
        }
    }

    /// Whether connections that ask for this name are decrypted.
    pub(crate) fn is_guarded(&self, name: &HostName) -> bool {
        self.terminator.is_guarded(name)
    }

    /// For waiting until the agent is about to end.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Answers requests, one after the other, until the client goes.
    async fn converse(self: Arc<Self>, stream: TlsStream<TcpStream>, peer: Arc<Peer>) {
        let connection = peer.connection;
        let mut stopping = self.stopping.subscribe();
        let service = service_fn(move |request: Request<Incoming>| {
            let (corridor, peer) = (self.clone(), peer.clone());
            let (mut outbox, inbox) = Outbox::new(request.version());
            let work = async move {
                let answer = corridor.exchange(&peer, request, &mut outbox).await;
                answer.give(&mut outbox).await;
            };
            let exchange = Exchange::new(work, inbox);
            async {
                let failed = || Refusal::Internal.answer(What::Request, QueryId::new(Uuid::new_v4())).into();
                Ok::<Response<Outgoing>, Infallible>(exchange.await.unwrap_or_else(failed))
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT_MAX)
            .max_buf_size(CLIENT_BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut serving = pin!(serving);
        let served = tokio::select! {
            served = serving.as_mut() => served,
            () = told(&mut stopping) => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = served {
            debug!(%connection, %error, "a connection ended early");
        }
    }

    /// One request, one answer.
    async fn exchange(&self, peer: &Arc<Peer>, request: Request<Incoming>, outbox: &mut Outbox) -> Answer {
        let (head, body) = request.into_parts();
        let id = QueryId::new(Uuid::new_v4());
        let exchange = snowflake::classify(&head.method, &head.uri);
        let small = ("REQUEST_BYTES_MAX", REQUEST_BYTES_MAX);
        let large = ("STATEMENT_BYTES_MAX", STATEMENT_BYTES_MAX);
        let (what, (limit, bytes_max)) = match exchange {
            Asked::Login { .. } => (What::Login, small),
            Asked::Query { .. } => (What::Statement, large),
            Asked::SqlApi(Call::Submit) => (What::ApiStatement, large),
            Asked::SqlApi(_) => (What::ApiRequest, small),
            Asked::Chunk(_) => (What::Chunk, small),
            _ => (What::Request, small),
        };
        let body = Limited::new(body, bytes_max).collect().await;
        let is_too_large = body.is_err();
        let body = body.map(Collected::to_bytes).unwrap_or_default();
        let (method, uri, headers) = (head.method, head.uri, head.headers);
        let inbound = Inbound { method, uri, headers, body, bytes_max };
        if is_too_large {
            return self
                .refuse(peer, &inbound, Refusal::RequestTooLarge { limit, bytes_max }, what, id)
                .await;
        }
        let answered = match exchange {
            Asked::Login { .. } => login::login(self, peer, &inbound, id).await,
            Asked::Query { request_id } => query::query(self, peer, &inbound, request_id, id, outbox).await,
            Asked::Telemetry => housekeeping::telemetry(&inbound),
            Asked::OcspCache => Ok(Answer::not_found()),
            Asked::Chunk(asked) => chunks::chunk(self, peer, &inbound, asked, id, outbox).await,
            Asked::Heartbeat => housekeeping::forward(self, peer, &inbound, id).await,
            Asked::Abort { .. } => housekeeping::abort(self, peer, &inbound, id).await,
            Asked::Renew => housekeeping::renew(self, peer, &inbound, id).await,
            Asked::Close => housekeeping::close(self, peer, &inbound, id).await,
            Asked::Result { query_id } => results::result(self, peer, &inbound, query_id, outbox).await,
            Asked::Monitoring { query_id } => results::monitoring(self, peer, &inbound, query_id, id).await,
            Asked::SqlApi(call) => sql_api::answer(self, peer, &inbound, call, id, outbox).await,
            Asked::Unknown(unknown) => Err(Refusal::UnknownExchange(unknown)),
        };
        match answered {
            Ok(answer) => answer,
            Err(refusal) => self.refuse(peer, &inbound, refusal, what, id).await,
        }
    }

    /// A request that was refused before it became an exchange: written down, and in observe mode sent on all the same.
    async fn refuse(
        &self,
        peer: &Peer,
        inbound: &Inbound,
        refusal: Refusal,
        what: What,
        id: QueryId,
    ) -> Answer {
        if let Err(error) = self.write_down(peer, inbound, &refusal, what, id).await {
            warn!(connection = %peer.connection, %error, "a refused request could not be recorded");
            return refusal.answer(what, id);
        }
        if self.mode == Mode::Observe && refusal.is_verdict() {
            return match housekeeping::as_it_came(self, peer, inbound).await {
                Ok(answer) => answer,
                Err(refusal) => refusal.answer(what, id),
            };
        }
        refusal.answer(what, id)
    }

    /// Records that a request is refused, or that it would be.
    pub(crate) async fn write_down(
        &self,
        peer: &Peer,
        inbound: &Inbound,
        refusal: &Refusal,
        what: What,
        id: QueryId,
    ) -> Result<u64, audit::Error> {
        let reason = refusal.sentence(what, id);
        let path = match what {
            // Whoever has the path has the rows.
            What::Chunk => "/snowfence/chunks/",
            _ => inbound.uri.path(),
        };
        let exchange = format!("{} {path}", inbound.method);
        warn!(connection = %peer.connection, pid = peer.process.pid, exchange, %refusal, "a request was refused");
        let refused = audit::RefusedRequest {
            query: id,
            connection: peer.connection,
            destination: peer.destination.to_string(),
            server_name: peer.host.to_string(),
            exchange: exchange.chars().take(EXCHANGE_CHARS_MAX).collect(),
            who: record::who(&peer.principal),
            process: (&peer.process).into(),
            mode: self.mode,
            reason,
        };
        self.journal.append(refused).await
    }

    /// Keeps where a permitted statement puts tagged data, before it is sent, and what will be no more. In observe mode nothing is refused for it.
    pub(crate) async fn carry(
        &self,
        session: &Session,
        facts: &sql::Facts,
        permit: &policy::Permit,
    ) -> Result<Option<Carrying>, Refusal> {
        let anew = Anew::of(facts, &session.lookups);
        match self.copies.carry(&session.account, permit.carries(), &anew).await {
            Err(error) if self.mode == Mode::Observe => {
                warn!(query = %permit.query_id(), %error, "where tagged data goes was not kept");
                Ok(None)
            }
            kept => Ok(kept?),
        }
    }

    /// Where a client finds the chunks that a reply leads to.
    pub(crate) fn door<'a>(&'a self, peer: &'a Peer, session: &'a Arc<Session>) -> Door<'a> {
        Door { announced: &self.stores.announced, session, host: &peer.host, port: peer.way.port }
    }

    /// The session of a token, if it is this job's.
    pub(crate) fn session(&self, peer: &Peer, token: &Secret<String>) -> Result<Arc<Session>, Refusal> {
        let session = self.sessions.find(token).ok_or(Refusal::UnknownSession)?;
        let is_theirs = session.job == peer.job() && self.account(&peer.host) == Some(&session.account);
        if !is_theirs {
            return Err(Refusal::OtherJob);
        }
        if let Some(refusal) = session.ended() {
            return Err(refusal);
        }
        match self.mode {
            // What would have been refused is said where a login or a statement is judged.
            Mode::Observe => Ok(session),
            Mode::Enforce => self.barred(peer, Some(&session.user)).map_or(Ok(session), Err),
        }
    }

    /// The account that the connection's host stands for, if it is a guarded one.
    pub(crate) fn account(&self, host: &HostName) -> Option<&AccountName> {
        self.accounts.iter().find(|(guarded, _)| guarded == host).map(|(_, account)| account)
    }
}
