//! The agent against the host's root: what root may still do, what not, and that all of it ends with the agent.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, process::ExitStatusExt as _},
    },
    process::Stdio,
};

use aya::maps::MapData;
use interception::{Config, Interception, Outcome, inspect, remove};
use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};

use crate::{
    GUARDED,
    world::{self, Agent, World},
};

/// Set for a process that is to be the agent: where it pins and attaches.
const AGENT_PINS: &str = "SNOWFENCE_TEST_LSM_AGENT_PINS";
const AGENT_CGROUP: &str = "SNOWFENCE_TEST_LSM_AGENT_CGROUP";

/// Commands of bpf(2), and a place on a cgroup: `enum bpf_cmd` and `enum bpf_attach_type` in `linux/bpf.h`.
const OBJ_GET: libc::c_long = 7;
const PROG_ATTACH: libc::c_long = 8;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;
const CONNECT4: u32 = 10;
const INGRESS: u32 = 0;

/// In one process this test is root; in another, started from the same file, it is the agent.
#[test]
fn root_cannot_end_or_change_the_agent_but_by_asking_it_to_end() {
    if let (Ok(pins), Ok(cgroup)) = (std::env::var(AGENT_PINS), std::env::var(AGENT_CGROUP)) {
        return be_an_agent(&world::config(Some(cgroup.into()), pins.into(), 0));
    }
    World::run(async |world| {
        let mut agent = start_agent(&world).await;
        let pid = Pid::from_raw(agent.id().unwrap().cast_signed());
        let _end = End(pid);
        for signal in [Signal::SIGKILL, Signal::SIGSTOP, Signal::SIGSEGV, Signal::SIGQUIT] {
            assert_eq!(kill(pid, signal), Err(Errno::EPERM), "{signal}");
        }
        assert_eq!(kill(pid, None), Ok(()), "whether it is there may be asked");
        assert_eq!(kill(pid, Signal::SIGCONT), Ok(()));
        let mem = File::open(format!("/proc/{pid}/mem")).unwrap_err();
        assert!(matches!(mem.raw_os_error(), Some(libc::EPERM | libc::EACCES)), "{mem}");
        fs::read(format!("/proc/{pid}/environ")).unwrap();
        File::open("/proc/self/mem").unwrap();
        links_are_protected(&world);
        pins_are_protected(&world);

        kill(pid, Signal::SIGTERM).unwrap();
        assert_eq!(agent.wait().await.unwrap().signal(), Some(Signal::SIGTERM as i32));
        after_the_agent(&world).await;
    });
}

/// Asks the agent to end, also where the test fails: it cannot be killed.
struct End(Pid);

impl Drop for End {
    fn drop(&mut self) {
        // It has ended, where all went well.
        let _gone = kill(self.0, Signal::SIGTERM);
    }
}

fn links_are_protected(world: &World) {
    let folder = world.pins().join(format!("v{}", agent_common::LAYOUT));
    let link = open_link(world);
    assert_eq!(refusal(LINK_DETACH, [link.as_raw_fd(), 0, 0]), libc::EPERM);
    assert_eq!(refusal(LINK_UPDATE, [link.as_raw_fd(), -1, 0]), libc::EPERM);
    let cgroup = File::open(world.cgroup()).unwrap();
    let parent = File::open(world.cgroup().parent().unwrap()).unwrap();
    let sibling = world.sibling_cgroup();
    let sibling = File::open(sibling.path()).unwrap();
    let (ours, theirs) = (CONNECT4.cast_signed(), INGRESS.cast_signed());
    for ours_or_above in [&cgroup, &parent] {
        let fd = ours_or_above.as_raw_fd();
        assert_eq!(refusal(LINK_CREATE, [-1, fd, ours]), libc::EPERM);
        assert_eq!(refusal(PROG_ATTACH, [fd, -1, ours]), libc::EPERM);
        // There is no such program to attach, which is found later.
        assert_eq!(refusal(LINK_CREATE, [-1, fd, theirs]), libc::EBADF);
    }
    assert_eq!(refusal(LINK_CREATE, [-1, sibling.as_raw_fd(), ours]), libc::EBADF);
    for map in ["GUARDED", "LISTENERS", "COUNTERS", "FLOWS"] {
        assert!(MapData::from_pin(folder.join(map)).is_err(), "{map}");
    }
    MapData::from_pin(folder.join("MARKS")).unwrap();
}

fn pins_are_protected(world: &World) {
    let folder = world.pins().join(format!("v{}", agent_common::LAYOUT));
    let refused = |answer: io::Result<()>, what: &str| {
        let error = answer.expect_err(what);
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{what}");
    };
    refused(fs::remove_file(folder.join("connect4")), "a pin");
    refused(fs::rename(folder.join("connect4"), folder.join("x")), "a pin's name");
    refused(fs::rename(&folder, world.pins().join("x")), "the inner folder");
    refused(fs::rename(world.pins(), world.pins().with_file_name("x")), "the outer folder");
    let mount = world.pins();
    assert_eq!(umount2(mount.parent().unwrap(), MntFlags::MNT_DETACH), Err(Errno::EPERM));
    // Beside them, everybody may do what they may.
    let beside = mount.with_file_name("beside");
    fs::create_dir(&beside).unwrap();
    fs::rename(&beside, beside.with_file_name("moved")).unwrap();
    fs::remove_dir(beside.with_file_name("moved")).unwrap();
}

/// What is left is root's to take away, or the next agent's to take over.
async fn after_the_agent(world: &World) {
    assert_eq!(world.client("connect 203.0.113.10 443").await, "error=ECONNREFUSED");
    let agent = Agent::start(&world.config(0)).await;
    assert!(world.client("connect 203.0.113.10 443").await.contains(" got=AGENT "));
    assert!(agent.count(Outcome::TamperingRefused) > 8, "{}", agent.count(Outcome::TamperingRefused));
    agent.end().await;
    assert!(!inspect(&world.pins()).unwrap().attached.is_empty());
    remove(&world.pins()).unwrap();
    assert!(world.client("connect 203.0.113.10 443").await.ends_with(" got=REAL"));
}

/// A descriptor of the pinned link of a hook, as anybody with the right to read the pin gets it.
fn open_link(world: &World) -> OwnedFd {
    let path = world.pins().join(format!("v{}", agent_common::LAYOUT)).join("connect4");
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let [a, b, c, d, e, f, g, h] = (path.as_ptr().expose_provenance() as u64).to_le_bytes();
    let words = [i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h]), 0];
    let fd = call(OBJ_GET, words).unwrap();
    // SAFETY: the command answers a new descriptor that nobody else knows.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// What a command of bpf(2) that should fail says.
fn refusal(command: libc::c_long, words: [i32; 3]) -> i32 {
    call(command, words).expect_err("it was done").raw_os_error().unwrap()
}

/// Calls bpf(2) with these three words first.
fn call(command: libc::c_long, words: [i32; 3]) -> io::Result<i32> {
    let mut attr = [0i32; 16];
    for (to, from) in attr.iter_mut().zip(words) {
        *to = from;
    }
    // SAFETY: the command reads `attr` and the path it may name, which live until the call is over; the rest is zero.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(&attr)) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(answer).unwrap()) }
}

async fn start_agent(world: &World) -> Child {
    let mut command = world::in_cgroup(world.cgroup());
    command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "protection::root_cannot_end_or_change_the_agent_but_by_asking_it_to_end"])
        .arg("--nocapture")
        .env(AGENT_PINS, world.pins())
        .env(AGENT_CGROUP, world.cgroup())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut agent = command.spawn().unwrap();
    let mut said = BufReader::new(agent.stdout.take().unwrap()).lines();
    while said.next_line().await.unwrap().expect("the agent ended") != "ready" {}
    agent
}

fn be_an_agent(cfg: &Config) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // The test harness has begun a line.
        println!();
        let agent = Interception::start(cfg).await.unwrap();
        agent.guard(&[GUARDED.parse().unwrap()].into()).unwrap();
        println!("ready");
        loop {
            drop(agent.accept().await.unwrap());
        }
    });
}
