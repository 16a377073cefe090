//! What it costs to know who a connection is from: the very code that the agent runs for each, on a real process of a job
//! that is known. Prints one line. The only argument is how many connections are looked at.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that cannot measure ends, and one that can says what it found"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use identity::Provider;
use model::{ProcessId, SocketOwner, Standing, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use workload::{Config, IssuerConfig, KeySource, RequestHost, Workload};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are looked at.
const CONNECTIONS: usize = 5_000;

/// A worker that is a shell by another name, and the step that it started. Ends with this.
struct Job {
    _folder: tempfile::TempDir,
    exe: PathBuf,
    worker: Child,
    step: u32,
}

impl Drop for Job {
    fn drop(&mut self) {
        // The step is told by the end of its input.
        drop(self.worker.stdin.take());
        self.worker.wait().unwrap();
    }
}

impl Job {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let exe = folder.path().canonicalize().unwrap().join("Runner.Worker");
        assert!(Command::new("cp").arg("/bin/sh").arg(&exe).status().unwrap().success());
        let stated =
            [("GITHUB_REPOSITORY", "acme/etl"), ("GITHUB_RUN_ID", "4711"), ("PATH", "/usr/bin:/bin")];
        let mut worker = Command::new(&exe);
        worker.args(["-c", "cat; true"]).env_clear().envs(stated).stdin(Stdio::piped());
        let worker = worker.spawn().unwrap();
        let step = child_of(worker.id());
        Self { _folder: folder, exe, worker, step }
    }

    fn owner(&self) -> SocketOwner {
        let (worker, step) = (id(self.worker.id()), id(self.step));
        SocketOwner {
            pid: step.pid,
            tid: step.pid,
            uid: 0,
            gid: 0,
            cgroup_id: 1,
            netns_cookie: 1,
            socket_cookie: 1,
            connected_at_ns: now_ns(),
            start_ticks: Some(step.start_ticks),
            standing: Standing::Member { worker, step },
            comm: "cat".to_owned(),
        }
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// The step, once it runs its own program.
fn child_of(pid: u32) -> u32 {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let child = children.trim().parse().ok();
        let is_it = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "cat")
        };
        if let Some(child) = child.filter(is_it) {
            return child;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the worker starts no step")
}

/// With its start time, field 22 of proc_pid_stat(5).
fn id(pid: u32) -> ProcessId {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    ProcessId { pid, start_ticks: rest.split_whitespace().nth(19).unwrap().parse().unwrap() }
}

fn workload(worker: &Path) -> Workload {
    let tls = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
    let github = IssuerConfig {
        provider: Provider::GitHub,
        issuer: "https://token.actions.githubusercontent.com".to_owned(),
        audiences: vec!["snowfence".to_owned()],
        claims: Vec::new(),
        request_hosts: vec![RequestHost::parse("actions.githubusercontent.com").unwrap()],
        keys: KeySource::Discovery,
        token: None,
        leeway: PATIENCE,
    };
    Workload::new(Config {
        worker_exes: vec![worker.to_owned()],
        runner_exes: Vec::new(),
        units: vec!["*".to_owned()],
        issuers: vec![github],
        tls: Arc::new(tls.with_no_client_auth()),
        proc_deadline: PATIENCE,
        issuer_deadline: PATIENCE,
    })
    .unwrap()
}

/// Microseconds from a connection to its principal, in the order of the connections.
async fn measure(workload: &Workload, owner: &SocketOwner, connections: usize) -> Vec<f64> {
    let mut took = Vec::with_capacity(connections + 1);
    for number in 0..=connections {
        let begun = Instant::now();
        let evidence = workload.identify(owner).await;
        let principal = workload.principal(&evidence, Timestamp::from(SystemTime::now())).await;
        took.push(begun.elapsed().as_secs_f64() * 1e6);
        let is_known = principal.repository() == Some("acme/etl") && !evidence.process().gone;
        assert!(is_known, "connection {number} is not known: {:?}", principal.reason());
    }
    took
}

fn main() {
    // Cargo adds what its own harness would want.
    let given = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let connections = given.map_or(CONNECTIONS, |number| number.parse().expect("a number of connections"));
    let job = Job::start();
    let (workload, owner) = (workload(&job.exe), job.owner());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut took = runtime.block_on(measure(&workload, &owner, connections.max(1)));
    let mut known = took.split_off(1);
    known.sort_unstable_by(f64::total_cmp);
    let at = |share: usize| known.get(known.len() * share / 100).copied().unwrap_or(f64::NAN);
    println!(
        "who a connection is from, us: the first of a job {:.0}; of a known job p50 {:.1}, p90 {:.1}, p99 {:.1} ({} connections)",
        took.first().copied().unwrap_or(f64::NAN),
        at(50),
        at(90),
        at(99),
        known.len()
    );
}
