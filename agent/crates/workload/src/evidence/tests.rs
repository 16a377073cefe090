//! Looking at processes: made-up ones in a folder, and real children.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use identity::Provider;
use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::{
    clocks::NANOSECONDS_PER_SECOND,
    config::{IssuerConfig, KeySource},
    fake_proc::FakeProc,
    https::HttpsClient,
    keys::KeyTimes,
    request_host::RequestHost,
};

const CLOCKS: Clocks = Clocks { now: (SystemTime::UNIX_EPOCH, 0), suspended_ns: 0, ticks_per_second: 100 };

fn owner(pid: u32, connected_at_ns: u64, standing: Standing) -> SocketOwner {
    SocketOwner {
        pid,
        tid: pid,
        uid: 1001,
        gid: 1001,
        cgroup_id: 1,
        netns_cookie: 1,
        socket_cookie: 1,
        connected_at_ns,
        start_ticks: None,
        standing,
        comm: "x".to_owned(),
    }
}

fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * NANOSECONDS_PER_SECOND + u64::try_from(time.tv_nsec).unwrap()
}

fn scene(proc_root: &Path, worker: &Path) -> Scene {
    let config = IssuerConfig {
        provider: Provider::GitHub,
        issuer: "https://token.actions.githubusercontent.com".to_owned(),
        audiences: vec!["snowfence".to_owned()],
        claims: Vec::new(),
        request_hosts: vec![RequestHost::parse("actions.githubusercontent.com").unwrap()],
        keys: KeySource::Discovery,
        token: None,
        leeway: Duration::ZERO,
    };
    let tls = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
    let client = HttpsClient::new(Arc::new(tls.with_no_client_auth()), Duration::ZERO);
    Scene {
        agents: AgentTable::default(),
        proc_root: proc_root.to_owned(),
        engines: EngineState::below(&proc_root.join("host")),
        workers: Workers::new(vec![worker.to_owned()], vec![], vec!["*".to_owned()]),
        lookup: OnceLock::new(),
        issuers: vec![Arc::new(Issuer::new(config, client, KeyTimes::DEFAULT))],
    }
}

const STATED: &[(&str, &str)] = &[("GITHUB_REPOSITORY", "acme/etl"), ("GITHUB_RUN_ID", "4711")];

/// Pid 1, worker 20, step 30 that states a job, its child 40 that states nothing.
fn runner() -> (FakeProc, PathBuf) {
    let fake = FakeProc::new();
    let worker = fake.root().canonicalize().unwrap().join("Runner.Worker");
    fs::write(&worker, "").unwrap();
    fake.process(1, 0, 1);
    fake.process(20, 1, 20).exe(&worker).cgroup(UNIT);
    fake.process(30, 20, 30).variables(STATED).cmdline(b"bash\0-e\0x.sh\0");
    fake.process(40, 30, 40)
        .cmdline(b"python3\0--password\0hunter2\0")
        .cgroup("0::/system.slice/actions.runner.acme.service/x\n")
        .exe(Path::new("/usr/bin/python3"));
    (fake, worker)
}

const UNIT: &str = "0::/system.slice/actions.runner.acme.service\n";

fn id(pid: u32) -> ProcessKey {
    ProcessKey { pid, start_ticks: pid.into() }
}

/// Of the made-up job, by its step or another.
fn member(step: u32) -> Standing {
    Standing::Member { worker: id(20), step: id(step) }
}

/// Nanoseconds of a connection that is opened long after all processes of [`runner`] began.
const LATER: u64 = 60 * NANOSECONDS_PER_SECOND;

#[test]
fn who_the_kernel_followed_to_a_job_belongs_to_it() {
    let (fake, worker) = runner();
    let evidence = read(&scene(fake.root(), &worker), &owner(40, LATER, member(30)), &CLOCKS);
    let facts = evidence.process();
    assert_eq!((facts.pid, facts.start_ticks, facts.uid, facts.gone), (40, 40, 1001, false));
    assert_eq!((facts.exe.as_deref(), facts.standing), (Some(Path::new("/usr/bin/python3")), member(30)));
    assert_eq!(facts.argv, ["python3", "--password", "***"]);
    assert_eq!(facts.ancestors.iter().map(|ancestor| ancestor.pid).collect::<Vec<_>>(), [30, 20, 1]);
    assert_eq!(facts.ancestors[1].exe.as_deref(), Some(worker.as_path()));
    assert_eq!(facts.unit.as_deref(), Some("actions.runner.acme.service"));
    assert_eq!(facts.container, None);
    assert_eq!(
        (evidence.worker(), evidence.step(), evidence.can_ask_for_token()),
        (Some(20), Some(30), false)
    );
    let found = evidence.found().unwrap();
    assert_eq!(found.job, JobKey { worker: id(20), step: id(30) });
    let Ok(Claim::Observed(job)) = &found.claim else { panic!("not observed") };
    assert_eq!(job.job().repository, "acme/etl");
}

#[test]
fn an_orphan_belongs_to_its_job_and_a_child_of_the_workers_that_the_kernel_did_not_follow_to_none() {
    let (fake, worker) = runner();
    fake.process(41, 1, 41);
    let scene = scene(fake.root(), &worker);
    let of = |pid, standing| read(&scene, &owner(pid, LATER, standing), &CLOCKS).found().err().cloned();
    assert_eq!(of(41, member(30)), None);
    assert_eq!(of(40, Standing::Outside), Some(NobodyReason::NoJob));
    assert_eq!(of(40, Standing::Unknown), Some(NobodyReason::NotFollowed));
    assert_eq!(of(20, Standing::Worker(id(20))), Some(NobodyReason::WorkerItself));
}

#[test]
fn what_an_ended_job_left_behind_is_nobodys_and_the_reason_says_which_job_and_when() {
    let (fake, worker) = runner();
    let clocks = Clocks { now: (SystemTime::UNIX_EPOCH + Duration::from_secs(60), LATER), ..CLOCKS };
    let of = |ended_at_ns| {
        let standing = Standing::LeftOver { worker: id(20), ended_at_ns };
        let evidence = read(&scene(fake.root(), &worker), &owner(40, LATER, standing), &clocks);
        assert_eq!(evidence.process().standing, standing);
        evidence.found().unwrap_err().to_string()
    };
    assert_eq!(
        of(Some(59 * NANOSECONDS_PER_SECOND)),
        "the process was left behind by a job that has ended (its worker was process 20@20, and ended at \
         1970-01-01T00:00:59.000000Z)"
    );
    assert!(of(None).ends_with("(its worker was process 20@20, and ended long ago)"));
}

#[test]
fn a_process_that_is_gone_belongs_to_its_job_and_the_facts_say_what_is_missing() {
    let (fake, worker) = runner();
    let scene = scene(fake.root(), &worker);
    let gone = SocketOwner { start_ticks: Some(77), ..owner(99, LATER, member(30)) };
    // There is none with its pid, or there is another.
    for pid in [99, 40] {
        let evidence = read(&scene, &SocketOwner { pid, ..gone.clone() }, &CLOCKS);
        let facts = evidence.process();
        assert_eq!((facts.pid, facts.start_ticks, facts.gone), (pid, 77, true));
        assert_eq!((facts.exe.as_ref(), facts.argv.len(), facts.ancestors.len()), (None, 0, 0));
        assert_eq!(evidence.step(), Some(30));
    }
    let evidence = read(&scene, &SocketOwner { standing: Standing::Unknown, ..gone }, &CLOCKS);
    assert_eq!(evidence.found().unwrap_err(), &NobodyReason::ProcessGone);
}

#[test]
fn without_its_step_a_job_has_nobody_to_speak_for_it_and_without_its_worker_it_is_none() {
    let (fake, worker) = runner();
    let scene = scene(fake.root(), &worker);
    let evidence = read(&scene, &owner(40, LATER, member(29)), &CLOCKS);
    assert!(matches!(evidence.found().unwrap().claim, Err(NobodyReason::StepGone)));
    let standing = Standing::Member { worker: id(19), step: id(30) };
    let evidence = read(&scene, &owner(40, LATER, standing), &CLOCKS);
    assert_eq!(evidence.found().unwrap_err(), &NobodyReason::JobEnded);
}

#[test]
fn a_container_is_known_by_its_cgroup_and_its_image_by_its_engine() {
    let (fake, worker) = runner();
    let (id, other) = ("a".repeat(64), "b".repeat(64));
    // Started by the step itself, and by a daemon; on a host with both versions, where the second one says nothing.
    fake.process(41, 40, 41).cgroup(&format!("0::/system.slice/docker-{id}.scope\n"));
    fake.process(51, 1, 51).cgroup(&format!("4:memory:/docker/{id}\n1:name=systemd:/docker/{other}\n0::/\n"));
    for id in [&id, &other] {
        let folder = fake.root().join("host/var/lib/docker/containers").join(id);
        fs::create_dir_all(&folder).unwrap();
        let state = format!(r#"{{"ID":"{id}","Config":{{"Image":"python:3.12"}}}}"#);
        fs::write(folder.join("config.v2.json"), state).unwrap();
    }
    let of = |pid, standing| read(&scene(fake.root(), &worker), &owner(pid, LATER, standing), &CLOCKS);
    let evidence = of(41, member(30));
    let container = evidence.process().container.as_ref().unwrap();
    assert_eq!((container.id.as_str(), container.image.as_deref()), (id.as_str(), Some("python:3.12")));
    assert_eq!(evidence.step(), Some(30), "it belongs to the job");
    let evidence = of(51, Standing::Outside);
    assert_eq!(evidence.process().container.as_ref().unwrap().id, other);
    let reason = evidence.found().unwrap_err();
    assert_eq!(reason, &NobodyReason::ContainerOfNoJob("docker bbbbbbbbbbbb, image python:3.12".to_owned()));
    assert!(
        reason.to_string().contains("in a container (docker bbbbbbbbbbbb, image python:3.12)"),
        "{reason}"
    );
}

#[test]
fn the_environment_that_counts_is_the_steps() {
    let (fake, worker) = runner();
    // The child says something else, and could ask for a token of its own.
    fake.process(41, 30, 41).variables(&[
        ("GITHUB_REPOSITORY", "acme/crown-jewels"),
        ("GITHUB_RUN_ID", "1"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://actions.githubusercontent.com/x"),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t"),
    ]);
    let evidence = read(&scene(fake.root(), &worker), &owner(41, LATER, member(30)), &CLOCKS);
    let Ok(Claim::Observed(job)) = &evidence.found().unwrap().claim else { panic!("not observed") };
    assert_eq!(job.job().repository, "acme/etl");
}

#[test]
fn a_step_that_says_nothing_or_too_much_makes_nobody() {
    let (fake, worker) = runner();
    fake.process(60, 20, 60).variables(&[("PATH", "/bin")]);
    fake.process(70, 20, 70).environ(&[b'x'; 256 * 1024 + 1]);
    let of = |pid| read(&scene(fake.root(), &worker), &owner(pid, LATER, member(pid)), &CLOCKS);
    assert!(matches!(of(60).found().unwrap().claim, Err(NobodyReason::NoStatement(_))));
    assert_eq!(of(70).found().unwrap().claim.as_ref().err(), Some(&NobodyReason::EnvironmentTooLarge));
    assert_eq!((of(70).worker(), of(70).step()), (Some(20), Some(70)));
}

#[test]
fn a_process_younger_than_the_connection_only_inherited_the_pid() {
    let (fake, worker) = runner();
    // Process 40 began 400 ms after boot.
    let scene = scene(fake.root(), &worker);
    let is_gone = |connected_at_ns, clocks| {
        let evidence = read(&scene, &owner(40, connected_at_ns, Standing::Outside), &clocks);
        (evidence.process().start_ticks, evidence.process().gone)
    };
    assert_eq!(is_gone(399_999_999, CLOCKS), (0, true));
    assert_eq!(is_gone(0, CLOCKS), (0, true));
    assert_eq!(is_gone(400_000_000, CLOCKS), (40, false));
    // The machine slept a second before: the connection's clock stood still.
    assert_eq!(is_gone(1, Clocks { suspended_ns: NANOSECONDS_PER_SECOND, ..CLOCKS }), (40, false));
}

/// Ends its process group member when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A worker that is a copy of the shell, running `script` in a folder that is removed afterwards.
fn real_worker(script: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf, Running) {
    let folder = tempfile::tempdir().unwrap();
    let worker = folder.path().canonicalize().unwrap().join("Runner.Worker");
    fs::copy("/bin/sh", &worker).unwrap();
    fs::set_permissions(&worker, fs::Permissions::from_mode(0o755)).unwrap();
    let child = loop {
        let mut command = Command::new(&worker);
        command.args(["-c", script]).env_clear().env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
        match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => break child,
            // Another test thread forked while the copy was still open for writing.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    (folder, worker, Running(child))
}

/// The first child of a process, once there is one with this name.
fn child_of(pid: u32, comm: &str) -> u32 {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            if fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == comm) {
                return child.parse().unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("process {pid} has no child {comm}");
}

/// As the kernel knows it.
fn real(pid: u32) -> ProcessKey {
    let process = Process::open(Path::new("/proc"), pid).unwrap();
    ProcessKey { pid, start_ticks: process.stat().unwrap().start_ticks }
}

#[test]
fn a_real_step_speaks_for_what_comes_from_it() {
    // The worker's shell starts the step, and the step a child without an environment.
    let script = "sh -c 'env -i sleep 60; true'; true";
    let (_folder, worker, running) = real_worker(script, STATED);
    let step = child_of(running.0.id(), "sh");
    let child = child_of(step, "sleep");
    let standing = Standing::Member { worker: real(running.0.id()), step: real(step) };
    let start_ticks = Some(real(child).start_ticks);
    let connected = SocketOwner { start_ticks, ..owner(child, now_ns(), standing) };
    let evidence = look(&scene(Path::new("/proc"), &worker), &connected);
    assert_eq!((evidence.worker(), evidence.step()), (Some(running.0.id()), Some(step)), "{evidence:?}");
    assert_eq!(evidence.process().argv, ["sleep", "60"]);
    assert!(evidence.process().start_ticks > 0 && !evidence.process().gone);
    assert_eq!(evidence.process().ancestors.last().map(|ancestor| ancestor.pid), Some(1));
    let Ok(Claim::Observed(job)) = &evidence.found().unwrap().claim else { panic!("not observed") };
    assert_eq!(job.job().run_id, "4711");
    Command::new("kill").arg(child.to_string()).status().unwrap();
}

#[test]
fn a_real_process_that_ended_or_began_too_late_is_gone() {
    let scene = scene(Path::new("/proc"), Path::new("/nonexistent"));
    let before = now_ns();
    std::thread::sleep(Duration::from_millis(30));
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = child.id();
    let look = |connected_at_ns| look(&scene, &owner(pid, connected_at_ns, Standing::Outside));
    assert!(!look(now_ns()).process().gone);
    assert!(look(before).process().gone, "the pid was given to another process");
    child.kill().unwrap();
    child.wait().unwrap();
    let evidence = look(now_ns());
    assert!(evidence.process().gone);
    assert_eq!((evidence.process().pid, evidence.process().start_ticks), (pid, 0));
    for pid in [0, u32::MAX] {
        assert!(super::look(&scene, &owner(pid, now_ns(), Standing::Outside)).process().gone);
    }
}
