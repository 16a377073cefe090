//! The door of the room: who opened this connection?

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use identity::{
    AgentTable, Assurance, GroupRules, IssuerFault, NobodyReason, ObservedJob, Principal, Provider, RawToken,
    VerifyError, route, verify,
};
use model::{ProcessFacts, ProcessId, SocketOwner, Standing, Timestamp};

use crate::{
    agents::Known,
    bindings::{Bindings, Unit},
    clocks::Clocks,
    config::{Config, ConfigError},
    container_image::EngineState,
    evidence::{self, Evidence, Found, Scene},
    exe_hash::ExeHashes,
    https::HttpsClient,
    jobs::{Answer, Jobs},
    keys::{Fetched, KeyTimes},
    observed::Registration,
    pool::{Late, Pool},
    providers::{Claim, Issuer, Source, Way},
    remembered::Remembered,
    workers::Workers,
};

/// Identities that jobs have bound themselves to at one time. Beyond it, the one that ends first makes room.
const HANDED_IN_MAX: usize = 4096;

/// Finds out who opened a connection.
pub struct Workload {
    scene: Arc<Scene>,
    pool: Pool,
    hashes: ExeHashes,
    client: HttpsClient,
    jobs: Jobs,
    remembered: Remembered,
    agents: Known,
    groups: GroupRules,
    bindings: Bindings,
    /// What jobs without a token of their own were bound to, by [`Workload::bind`].
    handed_in: Mutex<HashMap<Unit, Arc<Principal>>>,
}

/// What was found when an issuer was asked for its keys.
#[derive(Debug)]
pub struct IssuerCheck {
    /// Whose tokens it makes.
    pub provider: Provider,
    /// Its name, which is its address.
    pub issuer: String,
    /// Whether its keys can be had.
    pub outcome: Result<IssuerHealth, IssuerFault>,
}

/// An issuer that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuerHealth {
    /// How many keys it has that can be used here.
    pub keys: usize,
    /// The time by its clock, where it told.
    pub date: Option<Timestamp>,
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
        config.check()?;
        let Config { worker_exes, runner_exes, units, issuers, tls, proc_deadline, issuer_deadline } = config;
        let client = HttpsClient::new(tls, issuer_deadline);
        let issuers = issuers.into_iter().map(|issuer| Arc::new(Issuer::new(issuer, client.clone(), times)));
        let scene = Scene {
            proc_root: PathBuf::from("/proc"),
            engines: EngineState::below(Path::new("/")),
            workers: Workers::new(worker_exes, runner_exes, units),
            lookup: OnceLock::new(),
            issuers: issuers.collect(),
            agents: AgentTable::default(),
        };
        Ok(Self {
            scene: Arc::new(scene),
            pool: Pool::new(proc_deadline),
            hashes: ExeHashes::default(),
            client,
            jobs: Jobs::default(),
            remembered: Remembered::default(),
            agents: Known::default(),
            groups: GroupRules::default(),
            bindings: Bindings::default(),
            handed_in: Mutex::default(),
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

    /// Recognises these AI agents.
    #[must_use]
    pub fn recognising(mut self, agents: AgentTable) -> Self {
        // Nobody else has the scene before it is asked for.
        if let Some(scene) = Arc::get_mut(&mut self.scene) {
            scene.agents = agents;
        }
        self
    }

    /// Puts jobs into groups by these rules.
    #[must_use]
    pub fn grouping(mut self, groups: GroupRules) -> Self {
        self.groups = groups;
        self
    }

    /// Looks at the process that opened a connection. Asks nobody outside of this host. To be called before the
    /// connection is answered, because a process that has its answer may end. Needs a tokio runtime.
    ///
    /// Of a process whose job is known, and which is still what it was when it connected before, no more is read than
    /// it takes to be sure of that.
    pub async fn identify(&self, owner: &SocketOwner) -> Evidence {
        let now = Timestamp::from(SystemTime::now());
        match self.remembered.again(&self.scene.proc_root, owner, now) {
            Some(seen) => Evidence::again(seen),
            None => self.look(owner).await,
        }
    }

    async fn look(&self, owner: &SocketOwner) -> Evidence {
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

    /// Looks at a process by its pid, as if it had opened a connection at `at_ns` of `CLOCK_MONOTONIC`. Where it stands is
    /// asked of who follows processes; nothing is taken from memory.
    pub async fn identify_pid(&self, pid: u32, uid: u32, gid: u32, at_ns: u64) -> Evidence {
        let known = self.scene.lookup.get().and_then(|lookup| lookup(pid));
        let owner = SocketOwner {
            pid,
            tid: pid,
            uid,
            gid,
            cgroup_id: 0,
            netns_cookie: 0,
            socket_cookie: 0,
            connected_at_ns: at_ns,
            start_ticks: known.map(|(id, _)| id.start_ticks),
            standing: known.map_or(Standing::Unknown, |(_, standing)| standing),
            comm: String::new(),
        };
        // Another process may have been given the pid since.
        if known.is_some_and(|(id, _)| Clocks::now().started_after(id.start_ticks, at_ns)) {
            return Evidence::none(&owner, NobodyReason::ProcessGone);
        }
        self.look(&owner).await
    }

    /// The principal that the evidence leads to: verified where the job has a token or can ask for one, and then never
    /// less than that because asking failed; observed where it cannot; otherwise nobody, with the reason.
    ///
    /// A step's principal is kept until shortly before its token ends, a refusal for some seconds. `now` is the time
    /// that tokens are judged at.
    pub async fn principal(&self, evidence: &Evidence, now: Timestamp) -> Arc<Principal> {
        let (principal, until) = self.standing(evidence, now).await;
        if principal.assurance() != Assurance::None {
            self.remember(evidence, &principal, (now, until));
        }
        let seen = evidence.agent().cloned();
        let agent = match evidence.found() {
            Ok(found) => self.agents.of_job(found.job.worker, seen),
            Err(_) => seen,
        };
        let runner = match principal.assurance() {
            Assurance::None => runner_of(evidence.process()),
            Assurance::Observed | Assurance::Verified => None,
        };
        if agent.is_none() && runner.is_none() {
            return principal;
        }
        let principal = Principal::clone(&principal).below_runner(runner);
        Arc::new(match agent {
            Some(agent) => principal.with_agent(agent),
            None => principal,
        })
    }

    /// Remembers what was seen of a process, and whom its own claim led to: what was handed in to its job may be another
    /// the next time.
    fn remember(&self, evidence: &Evidence, principal: &Arc<Principal>, times: (Timestamp, Timestamp)) {
        let is_own = evidence.found().is_ok_and(|found| match &found.claim {
            Ok(Claim::Token(_)) => true,
            Ok(Claim::Observed(_)) => principal.assurance() == Assurance::Observed,
            Err(_) => false,
        });
        if let Some((marks, seen)) = evidence.to_remember(is_own.then(|| Arc::clone(principal))) {
            let lookup = self.scene.lookup.get().map(|lookup| &**lookup);
            self.remembered.keep(marks, seen, times, lookup);
        }
    }

    /// Who it is, and until when that is so without asking again.
    async fn standing(&self, evidence: &Evidence, now: Timestamp) -> (Arc<Principal>, Timestamp) {
        let found = match evidence.found() {
            Ok(found) => found,
            Err(reason) => return (Arc::new(Principal::unidentified(reason.clone())), now),
        };
        let before = evidence.principal().map(|principal| (Arc::clone(principal), now));
        let without_token = match &found.claim {
            Ok(Claim::Token(source)) => {
                if let Some(before) = before {
                    return before;
                }
                let answer = self.verified(found, source, now).await;
                return (answer.principal, answer.until);
            }
            Ok(Claim::Observed(statement)) => Ok(statement),
            Err(reason) => Err(reason),
        };
        if let Some(principal) = self.handed_in(&found.unit, now) {
            let until = principal.expires().unwrap_or(now);
            return (principal, until);
        }
        if let Some(before) = before {
            return before;
        }
        match without_token {
            Ok(statement) => {
                // The runner's word has no end.
                let until = Timestamp::from_unix_seconds(i64::MAX);
                (Arc::new(self.observed(found, statement).await), until)
            }
            Err(reason) => (Arc::new(Principal::unidentified(reason.clone())), now),
        }
    }

    /// The principal of a job that its runner stated. It must be one that the runner is registered for, where that is
    /// known: a step can replace itself, and its variables with it.
    async fn observed(&self, found: &Found, statement: &ObservedJob) -> Principal {
        let (provider, job) = (statement.provider(), statement.job());
        let Ok(registration) = self.registration(found.job.worker).await else {
            return Principal::unidentified(NobodyReason::TimedOut);
        };
        if registration.as_ref().is_some_and(|registration| !registration.covers(provider, job)) {
            return Principal::unidentified(NobodyReason::OtherRegistration);
        }
        let principal = self.established(found, Principal::observed(statement.clone()));
        match registration {
            Some(registration) => principal.registered(registration.words()),
            None => principal,
        }
    }

    /// For whom the runner of a worker was registered when its job was seen first, where that can be believed.
    async fn registration(&self, worker: ProcessId) -> Result<Option<Registration>, Late> {
        if let Some(registration) = self.jobs.registration(worker) {
            return Ok(Some(registration));
        }
        let proc_root = self.scene.proc_root.clone();
        let found = self.pool.run(move || Registration::of_process(&proc_root, worker)).await?;
        Ok(found.map(|found| self.jobs.register(worker, found)))
    }

    /// Binds a job to a token that one of its processes hands in. For jobs that have no other way to a token; never in
    /// place of an identity that the job has already.
    ///
    /// # Errors
    /// When the process belongs to no job, when the job has another way to a token or another identity, and whatever is
    /// wrong with the token.
    pub async fn bind(
        &self,
        evidence: &Evidence,
        token: String,
        now: Timestamp,
    ) -> Result<Arc<Principal>, NobodyReason> {
        let found = evidence.found().map_err(Clone::clone)?;
        let statement = match &found.claim {
            Ok(Claim::Token(_)) => return Err(NobodyReason::SecondIdentity),
            Ok(Claim::Observed(statement)) => Some(statement.as_ref()),
            Err(NobodyReason::NoStatement(identity::StatementError::Nothing)) => None,
            Err(reason) => return Err(reason.clone()),
        };
        let token = RawToken::new(token)?;
        let issuers = &self.scene.issuers;
        let issuer = issuers.iter().find(|issuer| route(&token, &issuer.expected).is_from);
        let issuer = issuer.ok_or(NobodyReason::Refused(VerifyError::OtherIssuer))?;
        let statement = statement.filter(|stated| stated.provider() == issuer.provider());
        let principal = self.checked(issuer, statement, &token, found, now).await?;
        let mut handed_in = self.handed_in.lock().unwrap_or_else(PoisonError::into_inner);
        handed_in.retain(|_, principal| principal.expires().is_some_and(|expires| now < expires));
        if let Some(before) = handed_in.get(&found.unit)
            && (before.id() != principal.id() || before.run_id() != principal.run_id())
        {
            return Err(NobodyReason::SecondIdentity);
        }
        if handed_in.len() >= HANDED_IN_MAX {
            let soonest = handed_in.iter().min_by_key(|(_, principal)| principal.expires());
            let soonest = soonest.map(|(unit, _)| unit.clone());
            soonest.and_then(|unit| handed_in.remove(&unit));
        }
        let principal = Arc::new(principal);
        handed_in.insert(found.unit.clone(), Arc::clone(&principal));
        Ok(principal)
    }

    /// Asks every issuer for its keys, past what is in memory. For `doctor`.
    pub async fn check_issuers(&self) -> Vec<IssuerCheck> {
        let mut checks = Vec::with_capacity(self.scene.issuers.len());
        for issuer in &self.scene.issuers {
            let outcome = issuer.keys.fetch().await;
            let outcome = outcome.map(|Fetched { keys, date }| IssuerHealth { keys: keys.len(), date });
            let name = issuer.expected.issuer.clone();
            checks.push(IssuerCheck { provider: issuer.provider(), issuer: name, outcome });
        }
        checks
    }

    /// Looks at made-up processes.
    #[cfg(test)]
    pub(crate) fn look_below(&mut self, proc_root: &Path) {
        let scene = Arc::get_mut(&mut self.scene).unwrap();
        scene.proc_root = proc_root.to_owned();
        scene.engines = EngineState::below(&proc_root.join("host"));
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    #[cfg(test)]
    pub(crate) fn scene(&self) -> &Scene {
        &self.scene
    }

    fn handed_in(&self, unit: &Unit, now: Timestamp) -> Option<Arc<Principal>> {
        let handed_in = self.handed_in.lock().unwrap_or_else(PoisonError::into_inner);
        let principal = handed_in.get(unit)?;
        principal.expires().filter(|expires| now < *expires).map(|_| Arc::clone(principal))
    }

    /// The principal, unless its worker ran another job before.
    fn established(&self, found: &Found, principal: Principal) -> Principal {
        match self.jobs.establish(found.job.worker, &principal) {
            Ok(()) => principal.grouped(&self.groups),
            Err(reason) => Principal::unidentified(reason),
        }
    }

    /// The principal of a job with a token: from memory, or by asking.
    async fn verified(&self, found: &Found, source: &Source, now: Timestamp) -> Answer {
        let shown = match &source.way {
            Way::Has(token) => Some(self.bindings.fingerprint(token)),
            Way::Ask(_) => None,
        };
        let slot = self.jobs.slot(found.job);
        let mut last = slot.lock().await;
        if let Some(answer) = last.as_ref().filter(|answer| answer.token == shown && answer.at(now).is_some())
        {
            return answer.clone();
        }
        let principal = match self.ask(found, source, now).await {
            Ok(principal) => principal,
            Err(reason) => {
                tracing::warn!(step = found.job.step.pid, %reason, "a job has no identity");
                let silent = matches!(reason, NobodyReason::NotIssued(_) | NobodyReason::NoKeys(_));
                let still_valid = last.as_ref().filter(|answer| silent && answer.token == shown);
                if let Some(answer) = still_valid.and_then(|answer| answer.still_valid_at(now)) {
                    return last.insert(answer).clone();
                }
                Principal::unidentified(reason)
            }
        };
        let answer = Answer::new(Arc::new(principal), shown, now);
        // One process that shows something else does not take away what the rest of the job has shown.
        let is_beside = last.as_ref().is_some_and(|answer| {
            answer.token != shown
                && answer.at(now).is_some_and(|kept| kept.assurance() == Assurance::Verified)
        });
        if is_beside && answer.principal.assurance() != Assurance::Verified {
            return answer;
        }
        last.insert(answer).clone()
    }

    /// Gets the job's token and checks it.
    async fn ask(&self, found: &Found, source: &Source, now: Timestamp) -> Result<Principal, NobodyReason> {
        let asked;
        let token = match &source.way {
            Way::Has(token) => token,
            Way::Ask(request) => {
                asked = request.token(&self.client).await?;
                &asked
            }
        };
        self.checked(&source.issuer, source.statement.as_ref(), token, found, now).await
    }

    /// Checks a token and binds it to the job that showed it. Keys are fetched again once when the token names an
    /// unknown one.
    async fn checked(
        &self,
        issuer: &Issuer,
        statement: Option<&ObservedJob>,
        token: &RawToken,
        found: &Found,
        now: Timestamp,
    ) -> Result<Principal, NobodyReason> {
        let keys = issuer.keys.current().await.map_err(NobodyReason::NoKeys)?;
        let principal = match verify(token, &issuer.expected, statement, &keys, now) {
            Err(VerifyError::UnknownKey(_)) => {
                let keys = issuer.keys.other_than(&keys).await.map_err(NobodyReason::NoKeys)?;
                verify(token, &issuer.expected, statement, &keys, now)?
            }
            verified => verified?,
        };
        // The kubelet says in which pod a process is, and the token of which pod it is.
        let instance = principal.job_facts().and_then(|job| job.instance.as_ref());
        if issuer.provider() == Provider::Kubernetes && instance != found.pod.as_ref() {
            return Err(VerifyError::OtherJob("pod").into());
        }
        // What the job may not have is not bound to it either.
        let unit = match statement.filter(|_| issuer.provider().splits_jobs()) {
            Some(stated) => {
                let job = stated.job();
                &Unit::Stated(stated.provider(), job.repository.clone(), job.run_id.clone())
            }
            None => &found.unit,
        };
        self.bindings.look(token, &principal, unit, now)?;
        self.jobs.establish(found.job.worker, &principal)?;
        self.bindings.bind(token, &principal, unit, now)?;
        Ok(principal.grouped(&self.groups))
    }
}

/// The word of the provider whose runner is at work, as far as a process shows it.
fn runner_of(process: &ProcessFacts) -> Option<&'static str> {
    let programs = process.ancestors.iter().filter_map(|ancestor| ancestor.exe.as_ref()?.to_str());
    let names = programs.chain([process.cgroup.as_str()]).collect::<Vec<_>>();
    identity::runner(names)
}

#[cfg(test)]
mod tests;
