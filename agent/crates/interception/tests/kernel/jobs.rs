//! Processes and their jobs: who connects is known by what the kernel followed, whatever a process does to be lost.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use agent_common::{LAYOUT, ProcessId};
use aya::maps::{HashMap, Map, MapData};
use interception::{Config, Outcome};
use model::Standing;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{
    GUARDED,
    world::{Agent, Client, World},
};

/// What a client does in the end.
const CONNECT: &str = "connect 203.0.113.10 443";
/// Longest that something may take that the agent does by itself.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Executables of a runner and of workers: shells by other names.
struct Programs(TempDir);

impl Programs {
    fn make() -> Self {
        let programs = Self(tempfile::tempdir().unwrap());
        for name in ["worker", "runner"] {
            programs.install(name);
        }
        programs
    }

    /// Puts a new file into the place of what was there.
    fn install(&self, name: &str) {
        let next = self.0.path().join("next");
        copy_of_the_shell(&next);
        fs::rename(next, self.path(name)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn config(&self, world: &World) -> Config {
        Config {
            workers: vec![self.path("worker"), self.path("not-there")],
            runners: vec![self.path("runner")],
            ..world.config(0)
        }
    }

    /// A client that a worker (or runner) starts.
    fn start(&self, world: &World, name: &str, line: &str) -> Client {
        let program = self.path(name);
        world.start_through(&[program.to_str().unwrap(), "-c", "\"$@\"; true", name], line)
    }
}

/// By another process: while a file is open for writing here, whatever a test beside this one starts has it open too, and
/// it cannot be run.
fn copy_of_the_shell(path: &Path) {
    assert!(Command::new("cp").arg("/bin/sh").arg(path).status().unwrap().success());
}

/// What the agent said of who connected, `is=…`.
fn is(said: &str) -> &str {
    let found = said.split("is=").nth(1).and_then(|rest| rest.split(' ').next());
    found.unwrap_or_else(|| panic!("{said}"))
}

/// `member:<worker>:<step>`
fn is_member(said: &str, worker: u32) -> bool {
    is(said).starts_with(&format!("member:{worker}:"))
}

fn pid_in(said: &str, name: &str) -> u32 {
    let found = said.split(&format!(" {name}=")).nth(1).and_then(|rest| rest.split(' ').next());
    found.and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn whatever_a_process_of_a_job_does_it_stays_with_its_job() {
    World::run(async |world| {
        let programs = Programs::make();
        let agent = Agent::guarding(&programs.config(&world), &[GUARDED]).await;
        let child = world.child_cgroup("moved");
        let worker = programs.path("worker").display().to_string();
        let runner = programs.path("runner").display().to_string();
        let ways = [
            String::new(),
            "env_i".to_owned(),
            "as_nobody".to_owned(),
            "apart".to_owned(),
            "apart env_i as_nobody".to_owned(),
            "adopted".to_owned(),
            "as_sibling".to_owned(),
            "as_sibling apart".to_owned(),
            "by_vfork".to_owned(),
            "by_thread".to_owned(),
            "exec_by_thread".to_owned(),
            "without_leader".to_owned(),
            "apart without_leader".to_owned(),
            format!("moved_to {}", child.path().display()),
            // The worker's own program, and a runner's, make no other job of it.
            format!("under {worker}"),
            format!("apart under {worker}"),
            format!("under {runner}"),
        ];
        for way in ways {
            let line = format!("{way} {CONNECT}").trim_start().to_owned();
            let client = programs.start(&world, "worker", &line);
            let worker = client.pid();
            let said = client.last_line().await;
            assert!(is_member(&said, worker), "{way}: {said}");
            let step: u32 = is(&said).rsplit(':').next().unwrap().parse().unwrap();
            assert_ne!(step, worker, "{way}: {said}");
            if way.is_empty() || way == "env_i" || way == "as_nobody" || way == "exec_by_thread" {
                assert_eq!(step, pid_in(&said, "pid"), "{way}: {said}");
            }
        }
        assert_eq!(agent.count(Outcome::NotFollowed), 0);
    });
}

#[test]
fn who_was_not_started_by_a_worker_belongs_to_no_job_and_the_worker_itself_is_none() {
    World::run(async |world| {
        let programs = Programs::make();
        let agent = Agent::guarding(&programs.config(&world), &[GUARDED]).await;
        for way in ["", "env_i ", "apart ", "as_nobody "] {
            assert_eq!(is(&world.client(&format!("{way}{CONNECT}")).await), "outside", "{way}");
        }
        // The same file by another name is the same program; another file is not.
        let copy = programs.path("copy");
        copy_of_the_shell(&copy);
        let said = world.client(&format!("under {} {CONNECT}", copy.display())).await;
        assert_eq!(is(&said), "outside");
        let link = programs.path("link");
        fs::hard_link(programs.path("worker"), &link).unwrap();
        assert!(
            is(&world.client(&format!("under {} {CONNECT}", link.display())).await).starts_with("member:")
        );
        let mut client = programs.start(&world, "worker", &format!("wait {CONNECT}"));
        assert_eq!(client.line().await, "waiting");
        let (found, standing) = agent.interception().processes().standing(client.pid()).unwrap();
        assert_eq!(standing, Standing::Worker(found));
        assert_eq!(found.pid, client.pid());
        client.nudge().await;
        assert!(is_member(&client.last_line().await, found.pid));
    });
}

#[test]
fn jobs_of_one_runner_in_one_cgroup_are_told_apart() {
    World::run(async |world| {
        let programs = Programs::make();
        let _agent = Agent::guarding(&programs.config(&world), &[GUARDED]).await;
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..3 {
            clients.push(programs.start(&world, "worker", &format!("apart wait {CONNECT}")));
        }
        // All at once: each is in the middle of its job.
        for client in &mut clients {
            assert_eq!(client.line().await, "waiting");
        }
        for mut client in clients {
            let worker = client.pid();
            client.nudge().await;
            let said = client.last_line().await;
            assert!(is_member(&said, worker), "{said}");
        }
    });
}

#[test]
fn what_a_runner_starts_is_a_job_of_its_own() {
    World::run(async |world| {
        let programs = Programs::make();
        let _agent = Agent::guarding(&programs.config(&world), &[GUARDED]).await;
        let client = programs.start(&world, "runner", CONNECT);
        let runner = client.pid();
        let said = client.last_line().await;
        let first = pid_in(&said, "pid");
        assert_ne!(first, runner);
        assert_eq!(is(&said), format!("member:{first}:{first}"));
        let said = programs.start(&world, "runner", &format!("apart {CONNECT}")).last_line().await;
        let (job, own) = (is(&said).split(':').nth(1).unwrap(), pid_in(&said, "pid").to_string());
        assert_ne!(job, own, "{said}");
        assert!(is(&said).ends_with(&format!(":{job}:{job}")), "{said}");
    });
}

#[test]
fn what_an_ended_job_left_behind_belongs_to_nobody() {
    World::run(async |world| {
        let programs = Programs::make();
        let agent = Agent::guarding(&programs.config(&world), &[GUARDED]).await;
        let client = programs.start(&world, "worker", &format!("left_behind {CONNECT}"));
        let worker = client.pid();
        let said = client.last_line().await;
        assert_eq!(is(&said), format!("left:{worker}:then"));
        // Nor can it begin a job.
        let program = programs.path("worker").display().to_string();
        let client = programs.start(&world, "worker", &format!("left_behind under {program} {CONNECT}"));
        let worker = client.pid();
        assert_eq!(is(&client.last_line().await), format!("left:{worker}:then"));
        drop(agent);
    });
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    World::run(async |world| {
        let programs = Programs::make();
        let agent = Agent::guarding(&programs.config(&world), &[GUARDED]).await;
        // A member's.
        let said = programs.start(&world, "worker", CONNECT).last_line().await;
        let pid = pid_in(&said, "pid");
        let again = world.client(&format!("with_pid {pid} {CONNECT}")).await;
        assert_eq!((pid_in(&again, "pid"), is(&again)), (pid, "outside"), "{again}");
        // A worker's, by another worker.
        let mut left = programs.start(&world, "worker", &format!("left_behind wait {CONNECT}"));
        let worker = left.pid();
        assert_eq!(left.line().await, "left");
        left.reap().await;
        assert_eq!(left.line().await, "waiting");
        let program = programs.path("worker").display().to_string();
        let mut other = world.start(&format!("with_pid {worker} becoming {program}"));
        assert_eq!(other.line().await, "up");
        let (found, standing) = agent.interception().processes().standing(worker).unwrap();
        assert_eq!(standing, Standing::Worker(found));
        left.nudge().await;
        assert_eq!(is(&left.last_line().await), format!("left:{worker}:then"));
        other.nudge().await;
    });
}

/// The kernel's map, as root on the host can open it.
fn followed(world: &World) -> HashMap<MapData, u32, agent_common::Standing> {
    let pin = world.pins().join(format!("v{LAYOUT}")).join("FOLLOWED");
    Map::HashMap(MapData::from_pin(pin).unwrap()).try_into().unwrap()
}

#[test]
fn an_entry_of_an_earlier_process_of_the_same_pid_counts_for_nothing() {
    World::run(async |world| {
        let programs = Programs::make();
        let _agent = Agent::guarding(&programs.config(&world), &[GUARDED]).await;
        let mut map = followed(&world);
        let program = programs.path("worker").display().to_string();
        for line in [
            format!("wait {CONNECT}"),
            format!("wait apart {CONNECT}"),
            format!("wait under {program} {CONNECT}"),
        ] {
            let mut client = world.start(&line);
            assert_eq!(client.line().await, "waiting");
            // As if the end of a job's process had been missed, and this one had got its pid.
            let before = agent_common::Standing::worker(ProcessId::new(77, 7))
                .of_child(ProcessId::new(client.pid(), 8));
            map.insert(client.pid(), before.unwrap(), 0).unwrap();
            client.nudge().await;
            assert_eq!(is(&client.last_line().await), "unknown", "{line}");
        }
    });
}

#[test]
fn who_is_not_known_is_nobody_begins_no_job_and_has_no_children_that_are_known() {
    World::run(async |world| {
        let programs = Programs::make();
        let _agent = Agent::guarding(&programs.config(&world), &[GUARDED]).await;
        let mut map = followed(&world);
        let program = programs.path("worker").display().to_string();
        for way in [String::new(), "apart ".to_owned(), "env_i ".to_owned(), format!("under {program} ")] {
            for by_worker in [false, true] {
                let line = format!("wait {way}{CONNECT}");
                let mut client =
                    if by_worker { programs.start(&world, "worker", &line) } else { world.start(&line) };
                assert_eq!(client.line().await, "waiting");
                let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", client.pid()));
                let waiting = children.unwrap().trim().parse().unwrap_or(client.pid());
                map.remove(&waiting).unwrap();
                client.nudge().await;
                assert_eq!(is(&client.last_line().await), "unknown", "{way}");
            }
        }
    });
}

/// More than are followed, for as long as it is there.
struct Crowd {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    const FIRST: u32 = 1_000_000_000;

    fn gather(mut map: HashMap<MapData, u32, agent_common::Standing>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, full) = (stop.clone(), Arc::new(Barrier::new(2)));
        let is_full = full.clone();
        let thread = std::thread::spawn(move || {
            let somebody = agent_common::Standing::outside(agent_common::Role::Outside, 1);
            let mut next = Self::FIRST;
            let mut add = || map.insert(next, somebody, 1).map(|()| next += 1).is_ok();
            while add() {}
            is_full.wait();
            // Whoever ends on this machine makes room.
            while !stopped.load(Ordering::Relaxed) {
                add();
            }
            for used in Self::FIRST..next {
                map.remove(&used).unwrap();
            }
        });
        full.wait();
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn who_finds_no_room_among_the_followed_is_nobody() {
    World::run(async |world| {
        let programs = Programs::make();
        let agent = Agent::guarding(&programs.config(&world), &[GUARDED]).await;
        let crowd = Crowd::gather(followed(&world));
        let mut turned_away = 0;
        for _ in 0..20 {
            let client = programs.start(&world, "worker", CONNECT);
            let worker = client.pid();
            let said = client.last_line().await;
            assert!(is(&said) == "unknown" || is_member(&said, worker), "{said}");
            turned_away += u32::from(is(&said) == "unknown");
        }
        assert!(turned_away > 0 && agent.count(Outcome::NotFollowed) > 0, "{turned_away}");
        drop(crowd);
        let client = programs.start(&world, "worker", CONNECT);
        let worker = client.pid();
        let said = client.last_line().await;
        assert!(is_member(&said, worker), "{said}");
    });
}

#[test]
fn a_job_goes_on_while_no_agent_runs_and_is_known_to_the_next() {
    World::run(async |world| {
        let programs = Programs::make();
        let cfg = programs.config(&world);
        let agent = Agent::guarding(&cfg, &[GUARDED]).await;
        let mut daemon = programs.start(&world, "worker", &format!("apart wait apart {CONNECT}"));
        assert_eq!(daemon.line().await, "waiting");
        let mut left = programs.start(&world, "worker", &format!("left_behind wait {CONNECT}"));
        assert_eq!(left.line().await, "left");
        agent.end().await;
        // Begun, gone on and ended while there is none.
        left.reap().await;
        assert_eq!(left.line().await, "waiting");
        let mut meanwhile = programs.start(&world, "worker", &format!("apart wait {CONNECT}"));
        assert_eq!(meanwhile.line().await, "waiting");
        let agent = Agent::guarding(&cfg, &[GUARDED]).await;
        for mut client in [daemon, meanwhile] {
            let worker = client.pid();
            client.nudge().await;
            let said = client.last_line().await;
            assert!(is_member(&said, worker), "{said}");
        }
        let worker = left.pid();
        left.nudge().await;
        assert_eq!(is(&left.last_line().await), format!("left:{worker}:then"));
        drop(agent);
    });
}

#[test]
fn a_job_that_is_older_than_the_first_agent_is_found() {
    World::run(async |world| {
        let programs = Programs::make();
        let mut clients = Vec::new();
        for line in ["wait", "by_vfork wait"] {
            let mut client = programs.start(&world, "worker", &format!("{line} {CONNECT}"));
            if line == "wait" {
                assert_eq!(client.line().await, "waiting");
            }
            clients.push(client);
        }
        let mut outside = world.start(&format!("wait {CONNECT}"));
        assert_eq!(outside.line().await, "waiting");
        let _agent = Agent::guarding(&programs.config(&world), &[GUARDED]).await;
        for mut client in clients {
            let worker = client.pid();
            client.nudge().await;
            let said = client.last_line().await;
            assert!(is_member(&said, worker), "{said}");
        }
        outside.nudge().await;
        assert_eq!(is(&outside.last_line().await), "outside");
    });
}

#[test]
fn where_a_program_was_taken_away_nothing_that_was_known_counts() {
    World::run(async |world| {
        let programs = Programs::make();
        let cfg = programs.config(&world);
        let agent = Agent::guarding(&cfg, &[GUARDED]).await;
        let mut daemon = programs.start(&world, "worker", &format!("apart wait {CONNECT}"));
        assert_eq!(daemon.line().await, "waiting");
        agent.end().await;
        fs::remove_file(world.pins().join(format!("v{LAYOUT}")).join("follow_fork")).unwrap();
        let _agent = Agent::guarding(&cfg, &[GUARDED]).await;
        daemon.nudge().await;
        // Where it came from is known to nobody any more.
        assert_eq!(is(&daemon.last_line().await), "outside");
    });
}

#[test]
fn a_worker_whose_file_was_replaced_is_known_within_moments() {
    World::run(async |world| {
        let programs = Programs::make();
        let agent = Agent::guarding(&programs.config(&world), &[GUARDED]).await;
        programs.install("worker");
        // At once, before anybody can have looked.
        let mut client = programs.start(&world, "worker", &format!("wait by_vfork {CONNECT}"));
        assert_eq!(client.line().await, "waiting");
        let worker = client.pid();
        let known = async {
            while !matches!(agent.interception().processes().standing(worker), Some((_, Standing::Worker(_))))
            {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(WAIT_MAX, known).await.expect("the new file is not known");
        // The worker is written down before its children are.
        let step = async {
            loop {
                let children = fs::read_to_string(format!("/proc/{worker}/task/{worker}/children")).unwrap();
                let child: u32 = children.trim().parse().unwrap();
                match agent.interception().processes().standing(child) {
                    Some((_, Standing::Member { .. })) => break,
                    _ => sleep(Duration::from_millis(20)).await,
                }
            }
        };
        timeout(WAIT_MAX, step).await.expect("the step is not known");
        client.nudge().await;
        let said = client.last_line().await;
        assert!(is_member(&said, worker), "{said}");
        assert!(Path::new(&programs.path("worker")).exists());
    });
}
