//! What stays when an agent goes, and what the next one makes of it.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        process::ExitStatusExt as _,
    },
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use aya::maps::{HashMap, MapData};
use interception::{Config, Error, Interception, Outcome, inspect, preflight, remove};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout},
    time::sleep,
};

use crate::{
    DIAL_TIME_MAX, GUARDED, GUARDED_V6,
    world::{self, Agent, World},
};

const CONNECT: &str = "connect 203.0.113.10 443";
const REFUSED: &str = "error=ECONNREFUSED";
const REAL: &str = "peer=203.0.113.10:443 got=REAL";
const HOOKS: [&str; 8] = [
    "carry_record",
    "getpeername4",
    "getpeername6",
    "egress_guard",
    "sendmsg4",
    "sendmsg6",
    "connect4",
    "connect6",
];

/// Set for a process that is to be the agent of `a_killed_agent_leaves_nothing_open`: where it pins.
const AGENT_PINS: &str = "SNOWFENCE_TEST_AGENT_PINS";
const AGENT_CGROUP: &str = "SNOWFENCE_TEST_AGENT_CGROUP";

#[test]
fn while_no_agent_runs_connects_are_refused_and_the_next_agent_takes_over() {
    World::run(async |world| {
        let cfg = world.config(0);
        Agent::guarding(&cfg, &[GUARDED]).await.end().await;
        for _ in 0..2 {
            assert_eq!(world.client(CONNECT).await, REFUSED);
            assert_eq!(world.client("connect 203.0.113.11 443").await, "peer=203.0.113.11:443 got=REAL");
            // Nobody guards again: the set is the one that the first agent left.
            let agent = Agent::start(&cfg).await;
            assert!(world.client(CONNECT).await.contains(" got=AGENT "));
            agent.end().await;
        }
        let pinned = inspect(&world.pins()).unwrap();
        assert_eq!((pinned.agent_running, pinned.attached.as_slice()), (false, HOOKS.as_slice()));
        let count = |wanted| pinned.counters.iter().find(|(outcome, _)| *outcome == wanted).unwrap().1;
        assert_eq!((count(Outcome::Redirected), count(Outcome::ListenerAbsent)), (2, 2), "counters go on");
    });
}

#[test]
fn a_restart_replaces_the_programs_behind_the_pinned_links() {
    World::run(async |world| {
        let cfg = world.config(0);
        Agent::guarding(&cfg, &[GUARDED]).await.end().await;
        let (before, links) = (world.attached_programs(), world.pinned_links(&HOOKS));
        let agent = Agent::start(&cfg).await;
        let after = world.attached_programs();
        assert_eq!(links, world.pinned_links(&HOOKS), "the links stay");
        assert_eq!(
            (before.len(), after.len()),
            (HOOKS.len(), HOOKS.len()),
            "one program per hook, never two"
        );
        assert!(before.is_disjoint(&after), "{before:?} {after:?}");
        agent.end().await;
    });
}

#[test]
fn an_agent_that_moved_to_another_namespace_serves_there_and_no_longer_here() {
    World::run(async |world| {
        let cfg = world.config(0);
        Agent::guarding(&cfg, &[GUARDED]).await.end().await;
        let container = Arc::new(world.container("a"));
        let (guest, inside) = (Arc::clone(&world), Arc::clone(&container));
        let moved = container.spawn(async move || {
            let agent = Agent::start(&cfg).await;
            assert!(guest.client_in(&inside, CONNECT).await.contains(" got=AGENT "));
            assert_eq!(inspect(&guest.pins()).unwrap().listeners.len(), 1);
            agent.end().await;
        });
        moved.join().unwrap();
        assert_eq!(world.client(CONNECT).await, REFUSED);
        let counters = inspect(&world.pins()).unwrap().counters;
        assert!(counters.contains(&(Outcome::UnknownNamespace, 1)), "{counters:?}");
    });
}

#[test]
fn no_connect_slips_through_while_agents_come_and_go() {
    World::run(async |world| {
        let cfg = world.config(0);
        let mut agent = Agent::guarding(&cfg, &[GUARDED]).await;
        let mut client = world.start("connect_for 2 203.0.113.10 443");
        assert_eq!(client.line().await, "going");
        for _ in 0..5 {
            sleep(Duration::from_millis(100)).await;
            agent.end().await;
            agent = Agent::start(&cfg).await;
        }
        let said = client.line().await;
        println!("{said}");
        assert!(said.contains("AGENT=") && said.contains("ECONNREFUSED="), "both states were met: {said}");
        assert!(!said.contains("REAL") && !said.contains("timeout"), "{said}");
        agent.end().await;
    });
}

/// In one process this test watches; in another, started from the same file, it is the agent.
#[test]
fn a_killed_agent_leaves_nothing_open() {
    if let (Ok(pins), Ok(cgroup)) = (std::env::var(AGENT_PINS), std::env::var(AGENT_CGROUP)) {
        return be_an_agent(world::config(Some(cgroup.into()), pins.into(), 0));
    }
    World::run(async |world| {
        let (mut agent, mut said) = start_agent(&world, &[]);
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line| line != "ready") {
            lines.push(said.next_line().await.unwrap().expect("the agent ended"));
        }
        for marked in ["203.0.113.10:443 marked: REAL", "[2001:db8::10]:443 marked: REAL"] {
            assert!(lines.iter().any(|line| line == marked), "{lines:?}");
        }
        assert!(lines.iter().any(|line| line == "dropped: Some((PacketDropped, 0))"), "{lines:?}");
        assert!(lines.iter().any(|line| line == "unmarked: AGENT"), "no process is exempt: {lines:?}");

        assert!(world.client(CONNECT).await.ends_with(" got=AGENT"));
        assert!(inspect(&world.pins()).unwrap().agent_running);
        let second = Interception::start(&world.config(0)).await;
        assert!(matches!(second, Err(Error::Locked(_))), "one agent per pin folder");
        assert!(matches!(remove(&world.pins()), Err(Error::Locked(_))));

        kill(Pid::from_raw(agent.id().unwrap().cast_signed()), Signal::SIGKILL).unwrap();
        assert_eq!(agent.wait().await.unwrap().signal(), Some(Signal::SIGKILL as i32));
        assert_eq!(world.client(CONNECT).await, REFUSED);
        assert_eq!(world.client("datagram 203.0.113.10 443").await, "error=EPERM");
        let next = Agent::start(&world.config(0)).await;
        assert!(world.client(CONNECT).await.contains(" got=AGENT "));
        next.end().await;
        remove(&world.pins()).unwrap();
        assert_eq!(world.client(CONNECT).await, REAL);
    });
}

#[test]
fn the_capabilities_that_are_asked_for_are_needed_and_enough() {
    World::run(async |world| {
        for (capabilities, is_enough) in [
            ("+bpf,+net_admin,+perfmon", true),
            ("+sys_admin,+net_admin", true),
            ("+sys_admin", false),
            ("+bpf,+net_admin", false),
            ("+bpf,+perfmon", false),
            ("+net_admin,+perfmon", false),
        ] {
            let set = format!("-all,{capabilities}");
            let (mut agent, mut said) =
                start_agent(&world, &["setpriv", "--bounding-set", &set, "--inh-caps", "-all"]);
            let mut last = None;
            while last.as_deref() != Some("ready") {
                let Some(line) = said.next_line().await.unwrap() else { break };
                last = Some(line);
            }
            assert_eq!(last.as_deref() == Some("ready"), is_enough, "{capabilities}: {last:?}");
            agent.kill().await.unwrap();
            assert!(is_enough || !world.pins().exists(), "{capabilities}: something was left behind");
            remove(&world.pins()).unwrap();
        }
    });
}

/// Starts this file again as an agent, inside of the cgroup that it attaches to, as an agent on the root is. `through`
/// is a command that starts it.
pub(crate) fn start_agent(world: &World, through: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = world::in_cgroup(world.cgroup());
    command
        .args(through)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "restart::a_killed_agent_leaves_nothing_open", "--nocapture"])
        .env(AGENT_PINS, world.pins())
        .env(AGENT_CGROUP, world.cgroup())
        // Some of these agents are refused, and say so on the way out.
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut agent = command.spawn().unwrap();
    let said = BufReader::new(agent.stdout.take().unwrap()).lines();
    (agent, said)
}

fn be_an_agent(cfg: Config) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // The test harness has begun a line.
        println!();
        let agent = Interception::start(&cfg).await.unwrap();
        agent.guard(&[GUARDED, GUARDED_V6].map(|text| text.parse().unwrap()).into()).unwrap();
        println!("forwarded: {:?}", agent.forwarded_dropped());
        for server in ["203.0.113.10:443", "[2001:db8::10]:443"] {
            let marked = agent.dialer().connect(server.parse().unwrap(), DIAL_TIME_MAX).await.unwrap();
            println!("{server} marked: {}", world::first_line(marked).await);
        }
        // The end of a connection is the kernel's doing, and takes a moment.
        sleep(Duration::from_millis(200)).await;
        let counters = agent.counters().unwrap();
        println!("dropped: {:?}", counters.iter().find(|(outcome, _)| *outcome == Outcome::PacketDropped));
        let (own, ()) = tokio::join!(TcpStream::connect((GUARDED, 443)), serve_one(&agent));
        println!("unmarked: {}", world::first_line(own.unwrap()).await);
        println!("ready");
        loop {
            serve_one(&agent).await;
        }
    });
}

async fn serve_one(agent: &Interception) {
    let (mut stream, ..) = agent.accept().await.unwrap().into_parts();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"AGENT\n").await.unwrap();
}

#[test]
fn detaching_takes_everything_away() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        assert_eq!(inspect(&world.pins()).unwrap().detached, [""; 0]);
        agent.stop().await.detach().unwrap();
        assert_eq!(world.client(CONNECT).await, REAL);
        assert_eq!(world.client("raw 203.0.113.10 443").await, "sent");
        assert!(world.attached_programs().is_empty());
        assert!(!world.pins().exists());
        let nothing = inspect(&world.pins());
        assert_eq!(nothing.unwrap().attached, [""; 0]);
        remove(&world.pins()).unwrap();
    });
}

#[test]
fn another_cgroup_is_moved_to_not_added() {
    World::run(async |world| {
        let mut cfg = world.config(0);
        Agent::guarding(&cfg, &[GUARDED]).await.end().await;
        let elsewhere = world.sibling_cgroup();
        cfg.cgroup = Some(elsewhere.path().to_owned());
        let agent = Agent::start(&cfg).await;
        assert_eq!(world.client(CONNECT).await, REAL, "the old cgroup is free");
        assert!(elsewhere.client(CONNECT).await.contains(" got=AGENT "), "the new one is caught");
        agent.end().await;
        assert_eq!(elsewhere.client(CONNECT).await, REFUSED);
        // A link whose cgroup is gone holds nothing: the next agent makes a new one.
        drop(elsewhere);
        while !inspect(&world.pins()).unwrap().attached.is_empty() {
            // The kernel lets go of a removed cgroup in its own time.
            sleep(Duration::from_millis(10)).await;
        }
        let agent = Agent::start(&world.config(0)).await;
        assert!(world.client(CONNECT).await.contains(" got=AGENT "));
        agent.end().await;
    });
}

#[test]
fn removing_the_pins_under_a_running_agent_opens_nothing() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        fs::remove_dir_all(world.pins()).unwrap();
        assert!(world.client(CONNECT).await.contains(" got=AGENT "));
        assert_eq!(world.client("raw 203.0.113.10 443").await, "error=EPERM");
        agent.end().await;
    });
}

#[test]
fn a_pinned_map_of_another_shape_is_refused() {
    World::run(async |world| {
        let folder = world.pins().join(format!("v{}", agent_common::LAYOUT));
        fs::create_dir_all(&folder).unwrap();
        let strange = HashMap::<MapData, u32, u32>::create(16, 0).unwrap();
        strange.pin(folder.join("GUARDED")).unwrap();
        match Interception::start(&world.config(0)).await {
            Err(Error::Shape { path }) => assert_eq!(path, folder.join("GUARDED")),
            other => panic!("{:?}", other.map(|_| "started")),
        }
        assert_eq!(world.client(CONNECT).await, REAL, "nothing was attached");
    });
}

#[test]
fn a_pin_folder_that_others_can_change_is_refused() {
    World::run(async |world| {
        let begin = |name: &str| {
            let mut cfg = world.config(0);
            cfg.pins.set_file_name(name);
            cfg
        };
        let (open, foreign, linked) = (begin("open"), begin("foreign"), begin("linked"));
        fs::create_dir(&open.pins).unwrap();
        fs::set_permissions(&open.pins, Permissions::from_mode(0o777)).unwrap();
        fs::create_dir(&foreign.pins).unwrap();
        chown(&foreign.pins, Some(1000), None).unwrap();
        symlink(&open.pins, &linked.pins).unwrap();
        for cfg in [open, foreign, linked] {
            let refused = Interception::start(&cfg).await;
            assert!(matches!(refused, Err(Error::Untrusted(path)) if path == cfg.pins));
            assert_eq!(fs::read_dir(&cfg.pins).unwrap().count(), 0, "something was put into it");
            assert!(matches!(remove(&cfg.pins), Err(Error::Untrusted(path)) if path == cfg.pins));
        }
    });
}

#[test]
fn an_agent_of_another_layout_guards_until_this_one_knows_what_to_guard() {
    World::run(async |world| {
        let cfg = world.config(0);
        Agent::guarding(&cfg, &[GUARDED]).await.end().await;
        // As if an earlier version had left it: its maps are not for this one to read.
        let (old, ours) = (world.pins().join("v0"), world.pins().join(format!("v{}", agent_common::LAYOUT)));
        fs::rename(&ours, &old).unwrap();
        fs::create_dir(world.pins().join("violets")).unwrap();
        let agent = Agent::start(&cfg).await;
        assert!(inspect(&world.pins()).unwrap().guarded.is_empty(), "a set of its own");
        assert_eq!(world.client(CONNECT).await, REFUSED);
        assert_eq!(world.client("raw 203.0.113.10 443").await, "error=EPERM");

        agent.guard(&[GUARDED]);
        assert!(!old.exists());
        assert!(world.client(CONNECT).await.contains(" got=AGENT "));
        assert_eq!(world.attached_programs().len(), HOOKS.len());
        agent.stop().await.detach().unwrap();
        assert!(world.pins().join("violets").exists(), "not ours to judge");
    });
}

#[test]
fn a_start_refuses_a_host_that_lacks_something_and_names_the_fix() {
    World::run(async |world| {
        let mut cfg = world.config(0);
        cfg.pins = "/run/snowfence-not-a-bpf-file-system".into();
        let Err(refused) = Interception::start(&cfg).await else {
            panic!("started without a BPF file system")
        };
        assert!(refused.to_string().contains("mount -t bpf bpf /sys/fs/bpf"), "{refused}");
        assert!(!cfg.pins.exists(), "nothing was made");

        let checks = preflight(&world.config(0));
        assert!(checks.iter().all(|check| check.outcome.is_ok()), "{checks:?}");
    });
}
