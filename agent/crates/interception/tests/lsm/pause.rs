//! A new network namespace's first connect waits for the agent in place of being refused.

use interception::Outcome;

use crate::{
    GUARDED,
    world::{Agent, World},
};

#[test]
fn the_first_connect_of_a_new_namespace_is_answered() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        for _ in 0..10 {
            let said = world.client("fresh 203.0.113.10 443").await;
            assert!(said.starts_with("refused=0 "), "{said}");
            assert!(said.contains(" peer=203.0.113.10:443 got=AGENT 203.0.113.10:443 "), "{said}");
        }
        assert_eq!((agent.count(Outcome::Paused), agent.count(Outcome::UnknownNamespace)), (10, 0));
    });
}

#[test]
fn many_threads_that_connect_at_once_are_all_answered() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        for _ in 0..5 {
            assert_eq!(world.client("fresh_at_once 8 203.0.113.10 443").await, "AGENT=8");
        }
        assert!(agent.count(Outcome::Paused) >= 5);
    });
}

#[test]
fn who_was_paused_goes_on_although_nobody_can_listen() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let container = world.container("a");
        container.ip("addr flush dev lo", "");
        let said = world.client_in(&container, "connect 203.0.113.10 443").await;
        assert_eq!(said, "error=ECONNREFUSED");
        assert_eq!((agent.count(Outcome::Paused), agent.count(Outcome::UnknownNamespace)), (1, 1));
    });
}

#[test]
fn nobody_is_paused_who_is_not_covered_or_asks_for_something_else() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let said = world.sibling_cgroup().client("unshared 203.0.113.10 443").await;
        assert_eq!(said, "error=ENETUNREACH", "it is not covered");
        assert_eq!(world.client("unshared 203.0.113.11 443").await, "error=ENETUNREACH");
        assert_eq!(world.client("unshared_datagram 203.0.113.10 443").await, "error=ENETUNREACH");
        assert_eq!(agent.count(Outcome::Paused), 0);
    });
}

#[test]
fn nobody_is_paused_while_no_agent_runs() {
    World::run(async |world| {
        Agent::guarding(&world.config(0), &[GUARDED]).await.end().await;
        assert_eq!(world.client("unshared 203.0.113.10 443").await, "error=ECONNREFUSED");
    });
}
