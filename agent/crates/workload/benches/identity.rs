//! What it costs to know who a connection is from: the very code that the agent runs for each, on real processes of a
//! job that is known. Prints a line for a job that only its runner vouches for, and one for a job with a token. The only
//! argument is how many connections are looked at.

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

use identity::{
    Assurance, Provider,
    testing::{AUDIENCE, ISSUER, Issuer},
};
use model::{ProcessId, SocketOwner, Standing, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use workload::{Config, IssuerConfig, KeySource, RequestHost, Workload};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections of one process that are looked at.
const CONNECTIONS: usize = 5_000;
/// Processes of the job.
const PROCESSES: usize = 200;
/// Longer than the benchmark takes.
const TOKEN_SECONDS: i64 = 24 * 3600;

/// A worker that is a shell by another name, the step that it started, and what that started. Ends with this.
struct Job {
    folder: tempfile::TempDir,
    exe: PathBuf,
    worker: Child,
    step: u32,
    processes: Vec<u32>,
}

impl Drop for Job {
    fn drop(&mut self) {
        // Everybody is told by the end of their input.
        drop(self.worker.stdin.take());
        self.worker.wait().unwrap();
    }
}

impl Job {
    fn start(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let exe = folder.path().canonicalize().unwrap().join("Runner.Worker");
        assert!(Command::new("cp").arg("/bin/sh").arg(&exe).status().unwrap().success());
        // What a shell puts into the background has no input of its own.
        let step = format!("exec 3<&0; for n in $(seq {PROCESSES}); do cat <&3 & done; wait");
        let mut worker = Command::new(&exe);
        worker.args(["-c", "sh -c \"$STEP\"; true"]).env_clear().stdin(Stdio::piped());
        worker.env("STEP", step).env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
        let worker = worker.spawn().unwrap();
        let step = children(worker.id(), "sh", 1).remove(0);
        let processes = children(step, "cat", PROCESSES);
        Self { folder, exe, worker, step, processes }
    }

    fn owner(&self, process: u32) -> SocketOwner {
        let (worker, step, process) = (id(self.worker.id()), id(self.step), id(process));
        SocketOwner {
            pid: process.pid,
            tid: process.pid,
            uid: 0,
            gid: 0,
            cgroup_id: 1,
            netns_cookie: 1,
            socket_cookie: 1,
            connected_at_ns: now_ns(),
            start_ticks: Some(process.start_ticks),
            standing: Standing::Member { worker, step },
            comm: "cat".to_owned(),
        }
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// So many children of a process, once they run this program.
fn children(pid: u32, name: &str, count: usize) -> Vec<u32> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let runs =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
        let children = children.split_whitespace().filter_map(|child| child.parse().ok()).filter(runs);
        let children: Vec<u32> = children.collect();
        if children.len() >= count {
            return children;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("process {pid} starts too few of {name}")
}

/// With its start time, field 22 of proc_pid_stat(5).
fn id(pid: u32) -> ProcessId {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    ProcessId { pid, start_ticks: rest.split_whitespace().nth(19).unwrap().parse().unwrap() }
}

fn issuer(provider: Provider, issuer: &str, keys: KeySource) -> IssuerConfig {
    let hosts = if provider == Provider::GitHub { vec!["actions.githubusercontent.com"] } else { Vec::new() };
    IssuerConfig {
        provider,
        issuer: issuer.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        claims: Vec::new(),
        request_hosts: hosts.into_iter().map(|host| RequestHost::parse(host).unwrap()).collect(),
        keys,
        token: None,
        leeway: PATIENCE,
    }
}

fn workload(worker: &Path, issuer: IssuerConfig) -> Workload {
    let tls = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
    Workload::new(Config {
        worker_exes: vec![worker.to_owned()],
        runner_exes: Vec::new(),
        units: vec!["*".to_owned()],
        issuers: vec![issuer],
        tls: Arc::new(tls.with_no_client_auth()),
        proc_deadline: PATIENCE,
        issuer_deadline: PATIENCE,
    })
    .unwrap()
}

/// Microseconds from each of these connections to its principal.
async fn measure(workload: &Workload, owners: &[SocketOwner], assurance: Assurance) -> Vec<f64> {
    let mut took = Vec::with_capacity(owners.len());
    for owner in owners {
        let begun = Instant::now();
        let evidence = workload.identify(owner).await;
        let principal = workload.principal(&evidence, Timestamp::from(SystemTime::now())).await;
        took.push(begun.elapsed().as_secs_f64() * 1e6);
        let is_known = principal.assurance() == assurance && !evidence.process().gone;
        assert!(is_known, "process {} is not known: {:?}", owner.pid, principal.reason());
    }
    took
}

async fn report(job: &Job, workload: &Workload, assurance: Assurance, connections: usize) {
    let owners: Vec<_> = job.processes.iter().map(|process| job.owner(*process)).collect();
    let (first, others) = owners.split_first().expect("the job has processes");
    let begun = measure(workload, std::slice::from_ref(first), assurance).await;
    let others = told(measure(workload, others, assurance).await);
    let same = told(measure(workload, &vec![first.clone(); connections], assurance).await);
    println!(
        "who a connection is from, us: {assurance} job, its first connection {:.0}; of another process {others}; of a process that is known {same}",
        begun.first().copied().unwrap_or(f64::NAN),
    );
}

fn told(mut took: Vec<f64>) -> String {
    took.sort_unstable_by(f64::total_cmp);
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or(f64::NAN);
    format!("p50 {:.1}, p90 {:.1}, p99 {:.1} ({} connections)", at(50), at(90), at(99), took.len())
}

fn main() {
    // Cargo adds what its own harness would want.
    let given = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let connections = given.map_or(CONNECTIONS, |number| number.parse().expect("a number of connections"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();

    let job = Job::start(&[("GITHUB_REPOSITORY", "acme/etl"), ("GITHUB_RUN_ID", "4711")]);
    let github =
        issuer(Provider::GitHub, "https://token.actions.githubusercontent.com", KeySource::Discovery);
    let workload_of_github = workload(&job.exe, github);
    runtime.block_on(report(&job, &workload_of_github, Assurance::Observed, connections.max(1)));

    let (mint, now) = (Issuer::new("k1"), Timestamp::from(SystemTime::now()).unix_seconds());
    let times = json!({"iat": now, "nbf": now, "exp": now + TOKEN_SECONDS});
    let token = mint.sign(&Issuer::claims_of(Provider::GitLab, &times));
    let job = Job::start(&[("WAREHOUSE_TOKEN", &token)]);
    let keys = job.folder.path().join("keys");
    fs::write(&keys, mint.jwks()).unwrap();
    let workload_of_gitlab = workload(&job.exe, issuer(Provider::GitLab, ISSUER, KeySource::File(keys)));
    runtime.block_on(report(&job, &workload_of_gitlab, Assurance::Verified, connections.max(1)));
}
