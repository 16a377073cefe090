//! What is taken from memory, and what makes a process be looked at anew.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Instant, SystemTime},
};

use identity::{Assurance, NobodyReason};
use model::Standing;

use super::*;
use crate::{Workload, config::Config, fake_proc::FakeProc};

const STATED: &[(&str, &str)] = &[("GITHUB_REPOSITORY", "acme/etl"), ("GITHUB_RUN_ID", "4711")];

fn id(pid: u32) -> ProcessId {
    ProcessId { pid, start_ticks: pid.into() }
}

fn member() -> Standing {
    Standing::Member { worker: id(20), step: id(30) }
}

/// Of the made-up job's process 40.
fn owner() -> SocketOwner {
    SocketOwner {
        pid: 40,
        tid: 40,
        uid: 1001,
        gid: 1001,
        cgroup_id: 1,
        netns_cookie: 1,
        socket_cookie: 1,
        connected_at_ns: u64::MAX,
        start_ticks: Some(40),
        standing: member(),
        comm: "x".to_owned(),
    }
}

fn workload(worker: PathBuf) -> Workload {
    let tls = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
    let github = crate::IssuerConfig {
        provider: identity::Provider::GitHub,
        issuer: "https://token.actions.githubusercontent.com".to_owned(),
        audiences: vec!["snowfence".to_owned()],
        claims: Vec::new(),
        request_hosts: vec![crate::RequestHost::parse("actions.githubusercontent.com").unwrap()],
        keys: crate::KeySource::Discovery,
        token: None,
        leeway: Duration::ZERO,
    };
    Workload::new(Config {
        worker_exes: vec![worker],
        runner_exes: Vec::new(),
        units: vec!["*".to_owned()],
        issuers: vec![github],
        tls: Arc::new(tls.with_no_client_auth()),
        proc_deadline: Duration::from_secs(60),
        issuer_deadline: Duration::from_secs(60),
    })
    .unwrap()
}

/// Pid 1, worker 20, step 30 that states a job, and its children 35, 40 below that.
struct Host {
    fake: FakeProc,
    workload: Workload,
    is_over: Arc<AtomicBool>,
}

impl Host {
    fn new() -> Self {
        let fake = FakeProc::new();
        let worker = fake.root().canonicalize().unwrap().join("Runner.Worker");
        std::fs::write(&worker, "").unwrap();
        fake.process(1, 0, 1);
        fake.process(20, 1, 20).exe(&worker).cgroup("0::/system.slice/runner.service\n");
        fake.process(30, 20, 30).variables(STATED);
        fake.process(35, 30, 35).exe(Path::new("/usr/bin/make"));
        let python = fake.root().join("python3");
        std::fs::write(&python, "what it runs").unwrap();
        fake.process(40, 35, 40).exe(&python).cmdline(b"python3\0load.py\0");
        let mut workload = workload(worker);
        workload.look_below(fake.root());
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        workload.ask_about_processes(move |pid| match pid {
            20 if over.load(Ordering::Relaxed) => None,
            20 => Some((id(20), Standing::Worker(id(20)))),
            _ => Some((id(pid), member())),
        });
        Self { fake, workload, is_over }
    }

    async fn who(&self, owner: &SocketOwner) -> (Vec<String>, Arc<Principal>) {
        let evidence = self.workload.identify(owner).await;
        let principal = self.workload.principal(&evidence, now()).await;
        (evidence.process().argv.clone(), principal)
    }

    fn again(&self, owner: &SocketOwner) -> Option<Seen> {
        self.workload.remembered().again(self.fake.root(), owner, now())
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

#[tokio::test]
async fn who_connects_again_is_not_read_again_until_it_runs_another_program() {
    let host = Host::new();
    let (argv, first) = host.who(&owner()).await;
    assert_eq!((first.assurance(), first.repository()), (Assurance::Observed, Some("acme/etl")));
    // Written by hand into its memory: whatever it is, it is not looked at.
    std::fs::write(host.fake.root().join("40/cmdline"), b"x\0").unwrap();
    std::fs::write(host.fake.root().join("30/environ"), b"GITHUB_REPOSITORY=acme/web\0GITHUB_RUN_ID=1\0")
        .unwrap();
    let (same, second) = host.who(&SocketOwner { uid: 0, socket_cookie: 2, ..owner() }).await;
    assert!(Arc::ptr_eq(&first, &second) && same == argv);
    assert_eq!(host.workload.identify(&SocketOwner { uid: 0, ..owner() }).await.process().uid, 0);
    // The step runs another program: now it is read, and says that it is another job.
    host.fake.stat(30, 20, 30, 8);
    let (other, third) = host.who(&owner()).await;
    assert_eq!((other, third.reason()), (vec!["x".to_owned()], Some(&NobodyReason::SecondIdentity)));
    assert!(host.again(&owner()).is_none(), "nobody is remembered");
}

#[tokio::test]
async fn a_process_is_looked_at_anew_when_anything_that_the_kernel_tells_has_changed() {
    type Change = fn(&Host, &mut SocketOwner);
    let changes: [(&str, Change); 11] = [
        ("its program", |host, _| host.fake.stat(40, 35, 40, 8)),
        ("its parent's program", |host, _| host.fake.stat(35, 30, 35, 8)),
        ("the step's program", |host, _| host.fake.stat(30, 20, 30, 8)),
        ("its parent", |host, _| host.fake.stat(40, 30, 40, 7)),
        ("another process has its pid", |host, _| host.fake.stat(40, 35, 41, 7)),
        ("another process has the step's pid", |host, _| host.fake.stat(30, 20, 31, 7)),
        ("it has ended", |host, _| std::fs::remove_dir_all(host.fake.root().join("40")).unwrap()),
        ("its file", |host, _| {
            let exe = host.fake.root().join("40/exe");
            std::fs::remove_file(&exe).unwrap();
            std::os::unix::fs::symlink("/usr/bin/claude", exe).unwrap();
        }),
        ("its cgroup", |_, owner| owner.cgroup_id = 2),
        ("its network namespace", |_, owner| owner.netns_cookie = 2),
        ("its standing", |_, owner| {
            owner.standing = Standing::LeftOver { worker: id(20), ended_at_ns: None };
        }),
    ];
    for (what, change) in changes {
        let host = Host::new();
        assert_eq!(host.who(&owner()).await.1.assurance(), Assurance::Observed);
        let mut connected = owner();
        assert!(host.again(&connected).is_some(), "{what}");
        change(&host, &mut connected);
        assert!(host.again(&connected).is_none(), "{what}");
    }
    let host = Host::new();
    assert!(host.again(&owner()).is_none(), "it was never seen");
    host.who(&owner()).await;
    assert!(host.again(&SocketOwner { start_ticks: None, ..owner() }).is_none());
    let later = later(now(), REMEMBERED_FOR);
    assert!(host.workload.remembered().again(host.fake.root(), &owner(), later).is_none());
}

#[tokio::test]
async fn what_cannot_be_told_from_another_is_not_remembered() {
    let host = Host::new();
    // The kernel does not say where the program of one of them lies.
    host.fake.stat(35, 30, 35, 0);
    assert_eq!(host.who(&owner()).await.1.assurance(), Assurance::Observed);
    assert!(host.again(&owner()).is_none());
    // Nobody has nothing to remember.
    host.fake.stat(35, 30, 35, 7);
    std::fs::write(host.fake.root().join("30/environ"), b"").unwrap();
    assert_eq!(host.who(&owner()).await.1.assurance(), Assurance::None);
    assert!(host.again(&owner()).is_none());
    // More processes than are asked about.
    for pid in 100..120 {
        host.fake.process(pid, if pid == 100 { 30 } else { pid - 1 }, u64::from(pid));
    }
    std::fs::write(host.fake.root().join("30/environ"), b"GITHUB_REPOSITORY=acme/etl\0GITHUB_RUN_ID=4711\0")
        .unwrap();
    let deep = SocketOwner { pid: 119, start_ticks: Some(119), ..owner() };
    assert_eq!(host.who(&deep).await.1.assurance(), Assurance::Observed);
    assert!(host.again(&deep).is_none());
}

#[tokio::test]
async fn a_process_whose_file_has_no_digest_is_looked_at_each_time() {
    let host = Host::new();
    host.who(&owner()).await;
    let seen = host.again(&owner()).unwrap();
    assert!(seen.facts.exe_sha256.is_some());
    // What is too large is not read at all.
    let python = std::fs::File::options().write(true).open(host.fake.root().join("python3")).unwrap();
    python.set_len(1 << 40).unwrap();
    host.fake.stat(40, 35, 40, 8);
    host.who(&owner()).await;
    assert!(host.again(&owner()).is_none());
}

#[tokio::test]
async fn what_is_known_is_bounded_and_that_of_ended_jobs_is_forgotten() {
    let host = Host::new();
    host.who(&owner()).await;
    let known = host.workload.remembered();
    let entry = known.lock().values().next().cloned().unwrap();
    let keep = |pid: u32, seconds: u64, lookup: Option<&Lookup>| {
        let mut seen = entry.seen.clone();
        (seen.facts.pid, seen.facts.start_ticks) = (pid, pid.into());
        known.keep(entry.marks.clone(), seen, (now(), later(now(), Duration::from_secs(seconds))), lookup);
    };
    for pid in 1000..1000 + u32::try_from(REMEMBERED_MAX).unwrap() {
        keep(pid, if pid == 1007 { 60 } else { 300 }, None);
    }
    assert_eq!(known.lock().len(), REMEMBERED_MAX);
    assert!(!known.lock().contains_key(&id(1007)), "the one that would have ended first made room");
    let over = Arc::clone(&host.is_over);
    let lookup = move |pid: u32| (pid != 20 || !over.load(Ordering::Relaxed)).then(|| (id(pid), member()));
    keep(5000, 300, Some(&lookup));
    assert_eq!(known.lock().len(), REMEMBERED_MAX);
    host.is_over.store(true, Ordering::Relaxed);
    keep(5001, 300, Some(&lookup));
    assert_eq!(known.lock().keys().copied().collect::<Vec<_>>(), [id(5001)]);
}

/// A shell that does as it is told, and ends with this.
struct Shell(Child);

impl Shell {
    fn tell(&mut self, line: &str) {
        let input = self.0.stdin.as_mut().unwrap();
        input.write_all(line.as_bytes()).unwrap();
        input.flush().unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_real_process_that_replaces_itself_by_the_same_file_with_other_variables_is_noticed() {
    let child = Command::new("sh").stdin(Stdio::piped()).spawn().unwrap();
    let mut shell = Shell(child);
    let proc_root = Path::new("/proc");
    let pid = shell.0.id();
    let begun = Instant::now();
    let runs = |name: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
    };
    while !runs("sh") {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    let process = Process::open(proc_root, pid).unwrap();
    let stat = process.stat().unwrap();
    let mark = Mark::of(&Link::new(process, stat)).unwrap();
    assert!(mark.stands(proc_root) && mark.stands(proc_root));
    shell.tell("GITHUB_REPOSITORY=acme/web exec sh\n");
    let is_replaced = || {
        let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        variables.split(|byte| *byte == 0).any(|entry| entry == b"GITHUB_REPOSITORY=acme/web")
    };
    while !is_replaced() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    assert!(!mark.stands(proc_root), "another program is taken for the first");
}
