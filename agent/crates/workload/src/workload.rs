//! The door of the room: who opened this connection?

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use identity::{
    Expectation, IssuerFault, KeySet, NobodyReason, ObservedJob, Principal, Provider, RawToken, VerifyError,
    verify,
};
use model::{ProcessId, SocketOwner, Standing, Timestamp};

use crate::{
    config::{Config, ConfigError},
    container_image::EngineState,
    evidence::{self, Evidence, Found, Scene},
    exe_hash::ExeHashes,
    github::{self, Claim, TokenRequest},
    https::HttpsClient,
    jobs::{Answer, Jobs},
    keys::{KeyTimes, Keys},
    pool::Pool,
    workers::Workers,
};

/// An answer with a token in it.
const TOKEN_ANSWER_BYTES_MAX: usize = RawToken::BYTES_MAX + 1024;

/// Finds out who opened a connection.
pub struct Workload {
    scene: Arc<Scene>,
    pool: Pool,
    hashes: ExeHashes,
    client: HttpsClient,
    keys: Keys,
    expected: Expectation,
    jobs: Jobs,
}

impl Workload {
    /// Makes sure that the configuration is in order. Nothing is read and nobody is asked yet.
    ///
    /// # Errors
    /// The first thing that is wrong with the configuration.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_times(config, KeyTimes::DEFAULT)
    }

    pub(crate) fn with_times(config: Config, times: KeyTimes) -> Result<Self, ConfigError> {
        let jwks_url = config.checked()?;
        let Config { worker_exes, runner_exes, units, github, tls, proc_deadline, issuer_deadline } = config;
        let client = HttpsClient::new(tls, issuer_deadline);
        let scene = Scene {
            proc_root: PathBuf::from("/proc"),
            engines: EngineState::below(Path::new("/")),
            workers: Workers::new(worker_exes, runner_exes, units),
            lookup: OnceLock::new(),
            hosts: github.request_hosts,
        };
        Ok(Self {
            scene: Arc::new(scene),
            pool: Pool::new(proc_deadline),
            hashes: ExeHashes::default(),
            keys: Keys::new(client.clone(), jwks_url, times),
            client,
            expected: Expectation {
                provider: Provider::GitHub,
                issuer: github.issuer,
                audience: github.audience,
                leeway: github.leeway,
            },
            jobs: Jobs::default(),
        })
    }

    /// Says who knows where processes stand among the jobs of the host now. Without, a process whose step has ended has
    /// nobody to speak for it. Once; later calls change nothing.
    pub fn ask_about_processes(
        &self,
        lookup: impl Fn(u32) -> Option<(ProcessId, Standing)> + Send + Sync + 'static,
    ) {
        if self.scene.lookup.set(Box::new(lookup)).is_err() {
            tracing::debug!("who knows about processes was said before");
        }
    }

    /// Looks at the process that opened a connection. Asks nobody outside of this host. To be called before the
    /// connection is answered, because a process that has its answer may end. Needs a tokio runtime.
    pub async fn identify(&self, owner: &SocketOwner) -> Evidence {
        let (scene, looked_for) = (Arc::clone(&self.scene), owner.clone());
        match self.pool.run(move || evidence::look(&scene, &looked_for)).await {
            Ok(mut evidence) => {
                let digest = match evidence.take_exe() {
                    Some(exe) => self.hashes.of(exe).await,
                    None => None,
                };
                evidence.with_exe_sha256(digest)
            }
            Err(late) => {
                tracing::warn!(pid = owner.pid, %late, "a process could not be looked at");
                Evidence::none(owner, NobodyReason::TimedOut)
            }
        }
    }

    /// The principal that the evidence leads to: verified where the job can ask for a token, and then never less
    /// than that because asking failed; observed where it cannot; otherwise nobody, with the reason.
    ///
    /// A step's principal is kept until shortly before its token ends, a refusal for some seconds. `now` is the time
    /// that tokens are judged at.
    pub async fn principal(&self, evidence: &Evidence, now: Timestamp) -> Arc<Principal> {
        let found = match evidence.found() {
            Ok(found) => found,
            Err(reason) => return Arc::new(Principal::unidentified(reason.clone())),
        };
        match &found.claim {
            Ok(Claim::Observed(statement)) => {
                Arc::new(self.established(found, Principal::observed(statement.clone())))
            }
            Ok(Claim::Token(request)) => self.verified(found, request, now).await,
            Err(reason) => Arc::new(Principal::unidentified(reason.clone())),
        }
    }

    /// The keys of the issuer, from memory when they are fresh. For a check at start and for `doctor`.
    ///
    /// # Errors
    /// When there are none in memory and the issuer gives none.
    pub async fn keys(&self) -> Result<Arc<KeySet>, IssuerFault> {
        self.keys.current().await
    }

    /// The principal, unless its worker ran another job before.
    fn established(&self, found: &Found, principal: Principal) -> Principal {
        match self.jobs.establish(found.job.worker, &principal) {
            Ok(()) => principal,
            Err(reason) => Principal::unidentified(reason),
        }
    }

    /// The principal of a step that can ask for a token: from memory, or by asking.
    async fn verified(&self, found: &Found, request: &TokenRequest, now: Timestamp) -> Arc<Principal> {
        let slot = self.jobs.slot(found.job);
        let mut last = slot.lock().await;
        if let Some(principal) = last.as_ref().and_then(|answer| answer.at(now)) {
            return principal;
        }
        let principal = match self.ask(request, now).await {
            Ok(principal) => self.established(found, principal),
            Err(reason) => {
                tracing::warn!(step = found.job.step.pid, %reason, "a job has no identity");
                let silent = matches!(reason, NobodyReason::NotIssued(_) | NobodyReason::NoKeys(_));
                let still_valid =
                    last.as_ref().filter(|_| silent).and_then(|answer| answer.still_valid_at(now));
                if let Some(answer) = still_valid {
                    return Arc::clone(&last.insert(answer).principal);
                }
                Principal::unidentified(reason)
            }
        };
        Arc::clone(&last.insert(Answer::new(Arc::new(principal), now)).principal)
    }

    /// Asks for a token in the job's name and checks it. Keys are fetched again once when the token names an
    /// unknown one.
    async fn ask(&self, request: &TokenRequest, now: Timestamp) -> Result<Principal, NobodyReason> {
        let url = github::with_audience(&request.url, &self.expected.audience)
            .ok_or(NobodyReason::ForeignRequestUrl)?;
        let answer = self.client.get(&url, Some(&request.bearer), TOKEN_ANSWER_BYTES_MAX).await;
        let answer = answer.map_err(NobodyReason::NotIssued)?;
        let token = github::token_in(&answer).ok_or(NobodyReason::NotIssued(IssuerFault::Malformed))??;
        let keys = self.keys.current().await.map_err(NobodyReason::NoKeys)?;
        let statement: &ObservedJob = &request.statement;
        match verify(&token, &self.expected, statement, &keys, now) {
            Err(VerifyError::UnknownKey(_)) => {
                let keys = self.keys.other_than(&keys).await.map_err(NobodyReason::NoKeys)?;
                Ok(verify(&token, &self.expected, statement, &keys, now)?)
            }
            verified => Ok(verified?),
        }
    }
}

#[cfg(test)]
mod tests;
