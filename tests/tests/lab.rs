//! The lab keeps its promises: commands run as jobs with their own output and exit code, and nothing is left behind,
//! however a lab ends.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{AgentStartFailed, Identity, JobFacts, Lab, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const GONE_WAIT: Duration = Duration::from_secs(15);

/// What a command in the lab says of itself, to be looked for when the lab should be gone.
#[derive(Debug)]
struct Traces {
    folder: PathBuf,
    processes: Vec<i32>,
}

impl Traces {
    /// A command that says where it is, with a child that has left its session, and then waits for ever.
    const SCRIPT: &str = r#"setsid sleep 1000 & echo "$HOME $$ $PPID $!"; wait; sleep 1000"#;

    fn parse(line: &str) -> Self {
        let (home, ids) = line.trim().split_once(' ').unwrap();
        let folder = Path::new(home).parent().unwrap().to_owned();
        assert!(folder.join("ns").is_dir(), "{line}");
        Self { folder, processes: ids.split(' ').map(|id| id.parse().unwrap()).collect() }
    }

    fn left(&self) -> Vec<String> {
        let folder = self.folder.exists().then(|| self.folder.display().to_string());
        let processes = self.processes.iter().filter(|id| is_running(**id));
        let named = processes_that_mention(&self.folder);
        folder.into_iter().chain(processes.map(|id| format!("process {id}"))).chain(named).collect()
    }

    fn assert_gone(&self) {
        let start = Instant::now();
        while !self.left().is_empty() {
            assert!(start.elapsed() < GONE_WAIT, "left behind: {:?}", self.left());
            sleep(Duration::from_millis(50));
        }
    }
}

/// Whether there is such a process, other than one that has ended and that its parent has not asked about.
fn is_running(id: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Processes that were started with a path in the lab's folder, or have a file of it open.
fn processes_that_mention(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let id = entry.file_name();
        id.to_string_lossy().parse::<u32>().is_ok_and(|id| id != std::process::id())
    });
    let mentions = processes.filter(|entry| {
        let told = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let open = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        String::from_utf8_lossy(&told).contains(folder)
            || open
                .filter_map(|entry| fs::read_link(entry.path()).ok())
                .any(|file| file.to_string_lossy().starts_with(folder))
    });
    mentions.map(|entry| entry.path().display().to_string()).collect()
}

fn cli(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snowfence-lab"));
    command.arg("--direct").args(arguments);
    command
}

/// A lab that runs until it is stopped, and what it would leave. Its process group is not a terminal's foreground.
fn endless(script: &str) -> (Child, Traces) {
    let mut command = cli(&["--", "sh", "-c", script]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, Traces::parse(&line))
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

fn code(status: ExitStatus) -> i32 {
    status.code().expect("the lab turns signals into exit codes")
}

/// The environment of a process in the lab, as its own shell sees it.
fn variable(lab: &Lab, identity: Identity, name: &str) -> String {
    let output = lab.command(&["printenv", name]).unwrap().identity(identity).run().unwrap();
    text(&output.stdout).trim_end().to_owned()
}

#[test]
fn a_command_has_its_own_input_output_and_exit_code() {
    let mut child = cli(&["--", "sh", "-c", "echo out; echo err >&2; cat; exit 7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"in\0").unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert_eq!((code(status), stdout.as_slice()), (7, b"out\nin\0".as_slice()));
    // The lab itself speaks only to say that it waits for another one.
    let said = text(&stderr);
    assert_eq!(said.strip_prefix("lab: waiting for another lab to end\n").unwrap_or(&said), "err\n");
}

#[test]
fn bad_usage_is_told_apart_and_starts_nothing() {
    for arguments in
        [&["--mode", "open", "--", "true"][..], &["--identity", "root", "--", "true"], &["--"], &[]]
    {
        assert_eq!(code(cli(arguments).output().unwrap().status), 2, "{arguments:?}");
    }
    for arguments in [
        &["--policy", "/no/such/folder", "--", "true"][..],
        &["--policy", "/proc/self/net", "--", "true"],
        &["--seed", "/no/such/file.sql", "--", "true"],
        &["--cwd", "/no/such/folder", "--", "true"],
        &["--classification", "/no/such/file.toml", "--", "true"],
    ] {
        let output = cli(arguments).output().unwrap();
        assert_eq!(code(output.status), 2, "{arguments:?}");
        assert!(text(&output.stderr).contains(arguments[1]), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_command_is_known_to_the_host_as_it_was_asked_for() {
    let lab = Lab::start(Options::direct()).unwrap();
    assert_eq!(variable(&lab, Identity::Verified, "GITHUB_REPOSITORY"), "acme/etl");
    assert_eq!(variable(&lab, Identity::Observed, "GITHUB_REPOSITORY"), "acme/etl");
    assert_eq!(variable(&lab, Identity::None, "GITHUB_REPOSITORY"), "");
    let url = variable(&lab, Identity::Verified, "ACTIONS_ID_TOKEN_REQUEST_URL");
    assert!(url.starts_with("https://pipelines.actions.githubusercontent.com/"), "{url}");
    assert_eq!(variable(&lab, Identity::Observed, "ACTIONS_ID_TOKEN_REQUEST_URL"), "");
    for identity in [Identity::Verified, Identity::Observed, Identity::None] {
        assert_eq!(variable(&lab, identity, "SNOWFLAKE_ACCOUNT"), "acme");
        assert_eq!(variable(&lab, identity, "SSL_CERT_FILE"), "");
    }

    // The worker is the parent of a step, and does not itself have what belongs to the job.
    let script =
        "readlink /proc/$PPID/exe; tr '\\0' '\\n' </proc/$PPID/environ | grep -c '^GITHUB_\\|^ACTIONS_'";
    let step = text(&lab.run(&["sh", "-c", script]).unwrap().stdout);
    assert_eq!(step, format!("{}/actions-runner/bin/Runner.Worker\n0\n", lab.folder().display()));

    let cgroup = |identity| {
        let output =
            lab.command(&["grep", "^0::", "/proc/self/cgroup"]).unwrap().identity(identity).run().unwrap();
        text(&output.stdout)
    };
    assert_eq!(
        cgroup(Identity::Verified),
        "0::/snowfence-lab/host/system.slice/actions.runner.acme-etl.lab.service\n"
    );
    assert_eq!(cgroup(Identity::None), "0::/snowfence-lab/host/user.slice\n");

    let other = JobFacts { repository: "evil/fork".to_owned(), ..JobFacts::default() };
    let output = lab.command(&["printenv", "GITHUB_REPOSITORY"]).unwrap().facts(other).run().unwrap();
    assert_eq!(text(&output.stdout), "evil/fork\n");

    for (command, code) in [
        (&["sh", "-c", "exit 3"][..], 3),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["no-such-program"], 127),
        (&["/etc/hosts"], 126),
    ] {
        let status = lab.run(command).unwrap().status;
        assert_eq!(status.code(), Some(code), "{command:?}");
    }
}

#[test]
fn the_host_reaches_the_internet_and_nothing_else() {
    let lab = Lab::start(Options::direct()).unwrap();
    let reach = |command: &[&str]| lab.exec_host(command).unwrap();
    let site = reach(&["curl", "-sS", "--max-time", "5", "https://www.example.org/"]);
    assert!(site.status.success(), "{}", text(&site.stderr));
    assert!(text(&site.stdout).contains("192.0.2.1"), "{}", text(&site.stdout));
    // A name that the lab does not know fails at once, as drivers need it.
    let start = Instant::now();
    assert!(!reach(&["getent", "hosts", "pypi.org"]).status.success());
    assert!(!reach(&["curl", "-sS", "--max-time", "5", "http://169.254.169.254/"]).status.success());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let issuer = "https://token.actions.githubusercontent.com/.well-known/jwks";
    assert!(reach(&["curl", "-sSf", issuer]).status.success());
}

#[test]
fn what_the_lab_changes_is_changed_in_the_lab_only() {
    let before = ["/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"]
        .map(|file| fs::read(file).unwrap());
    let lab = Lab::start(Options::direct()).unwrap();
    let inside = lab.exec_host(&[
        "sh",
        "-c",
        "echo changed >>/etc/hosts; echo x >/usr/local/share/ca-certificates/x.crt",
    ]);
    assert!(inside.unwrap().status.success());
    assert!(text(&lab.exec_host(&["cat", "/etc/hosts"]).unwrap().stdout).contains("changed"));
    let after = ["/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"]
        .map(|file| fs::read(file).unwrap());
    assert_eq!(before, after);
    assert!(!Path::new("/usr/local/share/ca-certificates/x.crt").exists());
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains("snowfence-lab"));
}

#[test]
fn nothing_is_left_after_a_return_a_panic_and_an_error() {
    let mut traces = Vec::new();
    {
        let lab = Lab::start(Options::direct()).unwrap();
        traces.push(started(&lab));
        lab.stop().unwrap();
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let lab = Lab::start(Options::direct()).unwrap();
        traces.push(started(&lab));
        panic!("as a test that fails does");
    }));
    assert!(panicked.is_err());
    for trace in &traces {
        assert_eq!(trace.left(), Vec::<String>::new());
    }

    let seed = tempfile::NamedTempFile::new().unwrap();
    fs::write(seed.path(), "SELECT * FROM NO_SUCH_TABLE;").unwrap();
    let refused = Lab::start(Options { seeds: vec![seed.path().to_owned()], ..Options::direct() });
    let error = format!("{:#}", refused.unwrap_err());
    assert!(error.contains("NO_SUCH_TABLE"), "{error}");
    // The next start would wait for, or fail over, anything that was left.
    Lab::start(Options::direct()).unwrap().stop().unwrap();
}

/// Leaves a command running in the lab, outside of what the lab's library knows.
fn started(lab: &Lab) -> Traces {
    let running = lab.spawn(&["sh", "-c", Traces::SCRIPT]).unwrap();
    let line = running.wait_until(GONE_WAIT, |said| said.ends_with('\n')).unwrap();
    std::mem::forget(running);
    Traces::parse(&line)
}

#[test]
fn nothing_is_left_after_signals() {
    for (signal, expected) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (mut child, traces) = endless(&format!("trap 'exit {expected}' INT TERM; {}", Traces::SCRIPT));
        send(&child, signal);
        assert_eq!(code(child.wait().unwrap()), expected, "{signal}");
        // The lab has cleared away before it ends.
        assert_eq!(traces.left(), Vec::<String>::new(), "{signal}");
    }
}

#[test]
fn a_command_that_does_not_listen_is_killed_with_its_lab() {
    let (mut child, traces) = endless(&format!("trap '' TERM INT; {}", Traces::SCRIPT));
    send(&child, Signal::SIGTERM);
    assert_eq!(code(child.wait().unwrap()), 137);
    assert_eq!(traces.left(), Vec::<String>::new());
}

#[test]
fn a_killed_lab_is_cleared_away_by_its_holder() {
    let (mut child, traces) = endless(Traces::SCRIPT);
    send(&child, Signal::SIGKILL);
    child.wait().unwrap();
    traces.assert_gone();
}

#[test]
fn a_lab_that_was_killed_with_its_holder_is_cleared_away_by_the_next_start() {
    let (mut child, traces) = endless(Traces::SCRIPT);
    for id in holders_of(&child) {
        kill(Pid::from_raw(id), Signal::SIGKILL).unwrap();
    }
    send(&child, Signal::SIGKILL);
    child.wait().unwrap();
    Lab::start(Options::direct()).unwrap().stop().unwrap();
    assert_eq!(traces.left(), Vec::<String>::new());
}

/// The process that holds a lab, which is a child of it.
fn holders_of(lab: &Child) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", lab.id())).unwrap();
    let ids = children.split_whitespace().map(|id| id.parse::<i32>().unwrap());
    let holders: Vec<i32> = ids
        .filter(|id| {
            let told = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            told.split(|byte| *byte == 0).any(|word| word == b"hold")
        })
        .collect();
    assert_eq!(holders.len(), 1);
    holders
}

#[test]
fn a_second_lab_waits_and_gives_up_when_told_to() {
    let lab = Lab::start(Options::direct()).unwrap();
    let mut waiting = cli(&["--", "true"]).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(waiting.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "lab: waiting for another lab to end\n");
    send(&waiting, Signal::SIGTERM);
    assert!(!waiting.wait().unwrap().success());

    let mut waiting = cli(&["--", "true"]).stderr(Stdio::null()).spawn().unwrap();
    sleep(Duration::from_millis(500));
    assert!(waiting.try_wait().unwrap().is_none());
    lab.stop().unwrap();
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_all_it_started() {
    let lab = Lab::start(Options::direct()).unwrap();
    let command = lab.command(&["sh", "-c", "echo begun; echo $$ >&2; sleep 1000 & wait"]).unwrap();
    let error = command.deadline(Duration::from_secs(3)).run().unwrap_err().to_string();
    assert!(error.contains("begun"), "{error}");
    let id = error.lines().last().unwrap().parse().unwrap();
    // It was killed, which the kernel carries out when the process next runs.
    let start = Instant::now();
    while is_running(id) {
        assert!(start.elapsed() < GONE_WAIT, "{error}");
        sleep(Duration::from_millis(10));
    }
    // The lab goes on.
    assert!(lab.run(&["true"]).unwrap().status.success());
}

/// A program in the agent's place, which does as the agent's service manager expects, with `run` to be filled in.
fn stand_in_agent(folder: &Path, run: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let notify = r#"perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Type => SOCK_DGRAM,
        Peer => $ENV{NOTIFY_SOCKET})->send("STATUS=up\nREADY=1")'"#;
    let script = format!(
        "#!/bin/sh\nverb=\"$3 $4\"; echo \"$verb\" >>{}/verbs\ncase $3 in run) {} ;; *) echo \"$verb\" ;; esac\n",
        folder.display(),
        run.replace("NOTIFY", notify)
    );
    let program = folder.join("agent");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[test]
fn an_agent_is_installed_and_run_as_a_service() {
    let place = tempfile::tempdir().unwrap();
    let run = "trap 'echo bye; exit 0' TERM; echo hello; cat /proc/self/cgroup; NOTIFY; while :; do sleep 0.02; done";
    let program = Some(stand_in_agent(place.path(), run));
    let state = place.path().join("state");
    let lab = Lab::start(Options { program, state: Some(state.clone()), ..Options::default() }).unwrap();
    let verbs = || fs::read_to_string(place.path().join("verbs")).unwrap();
    assert_eq!(verbs(), "init \ntrust install\nrun \n");
    assert!(lab.agent_log().contains("hello"));
    assert!(lab.agent_log().contains("0::/snowfence-lab/host/system.slice/snowfence.service\n"));
    assert_eq!(lab.state(), fs::canonicalize(&state).unwrap());
    assert_eq!(text(&lab.snowfence(&["status"]).unwrap().stdout), "status \n");

    let first = lab.agent_id().unwrap();
    lab.start_agent().unwrap();
    assert_eq!(lab.agent_id(), Some(first));
    lab.kill_agent().unwrap();
    assert_eq!(lab.agent_id(), None);
    assert!(lab.kill_agent().is_err());
    assert_eq!(lab.stop_agent().unwrap(), None);
    assert!(!lab.agent_log().contains("bye"));

    lab.start_agent().unwrap();
    assert_ne!(lab.agent_id(), Some(first));
    assert_eq!(lab.stop_agent().unwrap(), Some(0));
    assert_eq!(lab.agent_log().matches("hello").count(), 2);
    assert!(lab.agent_log().ends_with("bye\n"));
    lab.stop().unwrap();
    assert!(state.is_dir());
}

#[test]
fn an_agent_that_does_not_come_up_is_an_error_with_its_words_and_its_code() {
    let place = tempfile::tempdir().unwrap();
    let program = stand_in_agent(place.path(), "echo 'the port 15001 is taken' >&2; exit 2");
    let error = Lab::start(Options { program: Some(program.clone()), ..Options::default() }).unwrap_err();
    let failed = error.downcast_ref::<AgentStartFailed>().unwrap();
    assert_eq!((failed.verb.as_str(), failed.code), ("run", Some(2)));
    assert!(failed.log.contains("port 15001"), "{failed}");

    let mut command = Command::new(env!("CARGO_BIN_EXE_snowfence-lab"));
    let output = command.env("SNOWFENCE_BIN", program).args(["--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("port 15001"), "{}", text(&output.stderr));

    let missing = Options { program: Some(place.path().join("missing")), ..Options::default() };
    let error = Lab::start(missing).unwrap_err().to_string();
    assert!(error.contains("cargo xtask build"), "{error}");
}

#[test]
fn an_agent_can_be_started_in_a_lab_that_began_without_one() {
    let place = tempfile::tempdir().unwrap();
    let run = "trap 'exit 0' TERM; NOTIFY; while :; do sleep 0.02; done";
    let program = Some(stand_in_agent(place.path(), run));
    let lab = Lab::start(Options { program, ..Options::direct() }).unwrap();
    assert_eq!(lab.agent_id(), None);
    assert!(!place.path().join("verbs").exists());
    lab.start_agent().unwrap();
    lab.kill_agent().unwrap();
    lab.start_agent().unwrap();
    let verbs = fs::read_to_string(place.path().join("verbs")).unwrap();
    assert_eq!(verbs, "init \ntrust install\nrun \nrun \n");
}
