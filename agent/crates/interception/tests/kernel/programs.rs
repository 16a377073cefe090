//! Kernel programs of others on the same hook, which send a connect that was pointed at the agent to the real server.

use interception::{Outcome, Rival};

use crate::{
    GUARDED,
    world::{Agent, Log, World, not_shown},
};

/// Where the program acts: it sends whoever goes to 127.0.0.1 to the guarded address.
const TO_LOOPBACK: &str = "connect 127.0.0.1 7";
const TO_GUARDED: &str = "connect 203.0.113.10 443";

/// `BPF_F_ALLOW_MULTI` with `BPF_F_PREORDER`, `linux/bpf.h`: older kernels than 6.15 do not know the second.
const PREORDER: &str = "66";
/// By a link, and with `BPF_F_ALLOW_OVERRIDE` and `BPF_F_ALLOW_MULTI`.
const WAYS: [&str; 4] = ["link", "1", "2", PREORDER];

#[test]
fn a_program_on_a_cgroup_below_does_not_undo_the_redirect() {
    World::run(async |world| {
        let below = |how: &str| {
            let child = world.child_cgroup(&format!("child-{how}"));
            let prefix = format!("in_cgroup {} under_program {0} {how}", child.path().display());
            (child, prefix)
        };
        let mut there = Vec::new();
        for how in WAYS {
            let (_child, prefix) = below(how);
            let said = world.client(&format!("{prefix} {TO_LOOPBACK}")).await;
            if how == PREORDER && said == "error=EINVAL" {
                not_shown("BPF_F_PREORDER");
                continue;
            }
            there.push(how);
            assert_eq!(said, "peer=203.0.113.10:443 got=REAL", "the trick itself must work: {how}");
        }
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let redirected = 2 * u64::try_from(there.len()).unwrap();
        for how in there {
            for way in [TO_GUARDED, TO_LOOPBACK] {
                let (_child, prefix) = below(how);
                let said = world.client(&format!("{prefix} {way}")).await;
                assert!(said.contains(" got=AGENT 203.0.113.10:443 "), "{how}, {way}: {said}");
            }
        }
        assert_eq!((agent.count(Outcome::Redirected), agent.count(Outcome::PacketDropped)), (redirected, 0));
    });
}

/// Only root on the host can do this. It takes the redirect away, and leads nowhere all the same.
#[test]
fn a_program_behind_the_agents_own_meets_the_egress_guard() {
    World::run(async |world| {
        let prefix = format!("under_program {} link", world.cgroup().display());
        let said = world.client(&format!("{prefix} {TO_LOOPBACK}")).await;
        assert_eq!(said, "peer=203.0.113.10:443 got=REAL", "the trick itself must work");
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let said = world.client(&format!("{prefix} {TO_GUARDED}")).await;
        assert_eq!(said, "error=timeout");
        assert_eq!(agent.count(Outcome::Redirected), 1, "the agent's program came first");
        assert!(agent.count(Outcome::PacketDropped) > 0, "and the egress guard last");
        // The program went with the process that held its link.
        let said = world.client(TO_GUARDED).await;
        assert!(said.contains(" got=AGENT 203.0.113.10:443 "), "{said}");
    });
}

#[test]
fn a_program_behind_the_agents_own_is_noticed_and_one_before_it_is_not() {
    World::run(async |world| {
        let log = Log::default();
        let _here = log.capture();
        let hold = format!("under_program {} link hold 203.0.113.11 443", world.cgroup().display());
        let mut before = world.start(&hold);
        assert_eq!(before.line().await, "peer=203.0.113.11:443 got=REAL");
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        assert_eq!(agent.interception().rivals().unwrap(), []);
        // Below, it always comes before.
        let child = world.child_cgroup("child");
        let mut below =
            world.start(&format!("under_program {} 2 hold 203.0.113.11 443", child.path().display()));
        assert_eq!(below.line().await, "peer=203.0.113.11:443 got=REAL");
        assert_eq!(agent.interception().rivals().unwrap(), []);

        let mut behind = world.start(&hold);
        assert_eq!(behind.line().await, "peer=203.0.113.11:443 got=REAL");
        let found = agent.interception().rivals().unwrap();
        let [Rival::Behind { hook: "connect4", name, .. }] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(name, "undo");
        assert_eq!(
            log.lines_with("(\"undo\"), which is not the agent's, comes behind its connect4").await,
            1
        );
        // Attached anew, the agent comes last.
        agent.stop().await.detach().unwrap();
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        assert_eq!(agent.interception().rivals().unwrap(), []);
        let said = world.client(TO_GUARDED).await;
        assert!(said.contains(" got=AGENT 203.0.113.10:443 "), "{said}");
        behind.nudge().await;
        before.nudge().await;
        below.nudge().await;
    });
}

#[test]
fn a_program_of_the_agents_own_that_was_taken_away_is_noticed_and_mended_by_a_restart() {
    World::run(async |world| {
        let log = Log::default();
        let _here = log.capture();
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let pin = world.pins().join(format!("v{}", agent_common::LAYOUT)).join("connect4");
        assert_eq!(world.client(&format!("detach {}", pin.display())).await, "detached");
        assert_eq!(agent.interception().rivals().unwrap(), [Rival::Missing { hook: "connect4" }]);
        log.lines_with("somebody took the agent's program connect4 away").await;
        // The egress guard is still there.
        assert_eq!(world.client(TO_GUARDED).await, "error=timeout");
        agent.end().await;
        let agent = Agent::start(&world.config(0)).await;
        assert_eq!(agent.interception().rivals().unwrap(), []);
        let said = world.client(TO_GUARDED).await;
        assert!(said.contains(" got=AGENT 203.0.113.10:443 "), "{said}");
    });
}
