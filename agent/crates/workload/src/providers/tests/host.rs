//! A host with jobs of one provider, and an issuer for them on loopback.

use std::cell::Cell;

use super::*;

/// A host with one configured provider, and two jobs: workers 20 and 21, steps 30 and 31, and in each a process 40 and 41
/// that connects.
pub(super) struct Host {
    pub(super) provider: Provider,
    pub(super) fake: FakeProc,
    pub(super) net: FakeIssuer,
    pub(super) mint: Mint,
    pub(super) workload: Workload,
    pub(super) socket: Arc<Mutex<String>>,
    /// When the steps began. Another time is another step.
    step_ticks: Cell<u64>,
    /// Processes that stand elsewhere than in one of the two jobs.
    pub(super) elsewhere: Arc<Mutex<BTreeMap<u32, Standing>>>,
}

/// A process as it is now.
fn now(proc_root: &Path, pid: u32) -> Option<ProcessId> {
    let stat = Process::open(proc_root, pid).ok()?.stat().ok()?;
    Some(ProcessId { pid, start_ticks: stat.start_ticks })
}

impl Host {
    pub(super) async fn new(provider: Provider) -> Self {
        Self::with(provider, Duration::from_secs(60), KeyTimes::DEFAULT).await
    }

    pub(super) async fn with(provider: Provider, deadline: Duration, times: KeyTimes) -> Self {
        Self::configured(provider, Vec::new(), deadline, times).await
    }

    /// One whose tokens must have these claims.
    pub(super) async fn bound(provider: Provider, claims: Vec<(String, Vec<String>)>) -> Self {
        Self::configured(provider, claims, Duration::from_secs(60), KeyTimes::DEFAULT).await
    }

    async fn configured(
        provider: Provider,
        claims: Vec<(String, Vec<String>)>,
        deadline: Duration,
        times: KeyTimes,
    ) -> Self {
        let (fake, net, mint) = (FakeProc::new(), FakeIssuer::start().await, Mint::new("k1"));
        net.answer(KEYS, Answer::Body(mint.jwks()));
        let worker = fake.root().canonicalize().unwrap().join("worker");
        std::fs::write(&worker, "").unwrap();
        let issuer = IssuerConfig {
            provider,
            issuer: testing::ISSUER.to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
            claims,
            request_hosts: vec![RequestHost::parse(&format!("localhost:{}", net.port())).unwrap()],
            keys: KeySource::Url(net.url(KEYS).to_string()),
            token: (provider == Provider::Oidc).then(|| TokenPlace::Variable("TOKEN".to_owned())),
            leeway: Duration::from_secs(30),
        };
        let config = Config {
            worker_exes: vec![worker.clone()],
            runner_exes: Vec::new(),
            units: vec!["*".to_owned()],
            issuers: vec![issuer],
            tls: net.client_config(),
            proc_deadline: Duration::from_secs(60),
            issuer_deadline: deadline,
        };
        let mut workload = Workload::with_times(config, times).unwrap();
        workload.look_below(fake.root());
        let elsewhere = Arc::<Mutex<BTreeMap<u32, Standing>>>::default();
        let (root, known) = (fake.root().to_owned(), Arc::clone(&elsewhere));
        // Even pids from 30 on are the first job's, odd ones the second's.
        workload.ask_about_processes(move |pid| {
            let worker = || now(&root, 20 + pid % 2);
            let standing = match known.lock().unwrap().get(&pid) {
                Some(standing) => *standing,
                None if pid == 1 => Standing::Outside,
                None if pid < 30 => Standing::Worker(worker()?),
                None => Standing::Member { worker: worker()?, step: now(&root, 30 + pid % 2)? },
            };
            Some((now(&root, pid)?, standing))
        });
        fake.process(1, 0, 1);
        for (n, pid) in [(0, 20), (1, 21)] {
            fake.process(pid, 1, 20).exe(&worker);
            let root = fake.root().join(format!("root{n}"));
            std::fs::create_dir_all(root.join("run")).unwrap();
            fake.process(30 + n, pid, 30).root(&root);
            fake.process(40 + n, 30 + n, 40).root(&root);
        }
        let host = Self {
            provider,
            fake,
            net,
            mint,
            workload,
            socket: Arc::default(),
            step_ticks: Cell::new(30),
            elsewhere,
        };
        if provider == Provider::Cursor {
            host.listen();
        }
        host
    }

    pub(super) fn claims(&self, changes: &Value) -> Value {
        let mut claims = Mint::claims_of(self.provider, changes);
        if let Some(pod) = claims.pointer_mut("/kubernetes.io/pod/uid") {
            *pod = json!(POD);
        }
        claims
    }

    pub(super) fn token(&self, changes: &Value) -> String {
        self.mint.sign(&self.claims(changes))
    }

    /// What the step has, besides what a token may be in.
    pub(super) fn stated(&self) -> Vec<(&'static str, String)> {
        let url = |path: &str| self.net.url(path).to_string();
        let more = match self.provider {
            Provider::GitHub | Provider::GitHubEnterprise => vec![
                ("ACTIONS_ID_TOKEN_REQUEST_URL", url(GET)),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t0k".to_owned()),
            ],
            Provider::Buildkite => vec![
                ("BUILDKITE_AGENT_ENDPOINT", url("/v3")),
                ("BUILDKITE_AGENT_ACCESS_TOKEN", "t0k".to_owned()),
            ],
            Provider::Cursor => vec![("CURSOR_AGENT_SOCKET", "/run/api.sock".to_owned())],
            _ => Vec::new(),
        };
        variables_of(self.provider)
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .chain(more)
            .collect()
    }

    /// Puts the token where a job of this provider has it, and says what is found of the process that connects.
    pub(super) fn evidence(&self, token: &str, job: u32) -> Evidence {
        self.evidence_with(&self.stated(), token, job)
    }

    pub(super) fn evidence_with(&self, step: &[(&'static str, String)], token: &str, job: u32) -> Evidence {
        let mut step: Vec<(&str, &str)> = step.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut child = vec![("PATH", "/bin")];
        let mut cgroup = "0::/system.slice/runner.service\n".to_owned();
        let root = self.fake.root().join(format!("root{job}"));
        match self.provider {
            Provider::GitHub | Provider::GitHubEnterprise => {
                self.net.answer(GET, Answer::Body(json!({"value": token}).to_string()));
            }
            Provider::Buildkite => self.net.answer(POST, Answer::Body(json!({"token": token}).to_string())),
            Provider::Cursor => *self.socket.lock().unwrap() = json!({"token": token}).to_string(),
            Provider::CircleCi => step.push(("CIRCLE_OIDC_TOKEN", token)),
            Provider::GitLab | Provider::Jenkins => child.push(("ANY_NAME", token)),
            Provider::Oidc => child.push(("TOKEN", token)),
            Provider::Kubernetes => {
                let pod = POD.replace('-', "_");
                let id = "c".repeat(64);
                cgroup = format!("0::/kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{id}.scope\n");
                let file = root.join(TOKEN_FILE);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, format!("{token}\n")).unwrap();
            }
        }
        self.fake.process(30 + job, 20 + job, self.step_ticks.get()).variables(&step);
        self.fake.process(40 + job, 30 + job, 40).variables(&child).cgroup(&cgroup);
        Evidence::of_made_up(self.workload.scene(), 40 + job)
    }

    /// Who the first job's process is with this token.
    pub(super) async fn with_token(&self, token: &str) -> Arc<Principal> {
        let evidence = self.evidence(token, 0);
        self.workload.principal(&evidence, at(1)).await
    }

    /// From now on evidence is of another step of the same job.
    pub(super) fn next_step(&self) {
        self.step_ticks.set(self.step_ticks.get() + 1);
    }

    /// Evidence of a step that is given these variables in place of those that its runner gives, and this token, if any.
    pub(super) fn evidence_as(
        &self,
        changes: &[(&'static str, &str)],
        token: Option<&str>,
        job: u32,
    ) -> Evidence {
        let mut step = self.stated();
        step.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        step.extend(changes.iter().map(|(name, value)| (*name, (*value).to_owned())));
        self.evidence_with(&step, token.unwrap_or_default(), job)
    }

    pub(super) fn stands(&self, pid: u32, standing: Standing) {
        self.elsewhere.lock().unwrap().insert(pid, standing);
    }

    pub(super) async fn reason(&self, evidence: &Evidence) -> NobodyReason {
        let principal = self.workload.principal(evidence, at(1)).await;
        principal.reason().unwrap_or_else(|| panic!("{:?}: {principal:?}", self.provider)).clone()
    }

    /// Answers on the first job's socket with whatever is in `socket`, for as long as the test runs.
    fn listen(&self) {
        for job in 0..2 {
            let path = self.fake.root().join(format!("root{job}/run/api.sock"));
            let (listener, body) = (UnixListener::bind(path).unwrap(), Arc::clone(&self.socket));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    let mut request = vec![0; 4096];
                    let length = stream.read(&mut request).unwrap();
                    let request = String::from_utf8_lossy(&request[..length]).into_owned();
                    assert!(
                        request.starts_with("POST /v1/tokens/oidc HTTP/1.1\r\nhost: localhost\r\n"),
                        "{request}"
                    );
                    let body = body.lock().unwrap().clone();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    drop(stream.write_all((head + &body).as_bytes()));
                }
            });
        }
    }
}
