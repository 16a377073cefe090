//! What the programs say at once, and that one who says much does not drown the others.

use interception::Outcome;

use crate::{
    GUARDED,
    world::{Agent, World},
};

#[test]
fn a_namespace_that_connects_in_a_loop_does_not_crowd_out_the_others() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let (loud, quiet) = (world.container("a"), world.container("b"));
        // Where nobody can listen: every one of its connects is refused.
        loud.ip("addr flush dev lo", "");
        let mut loop_ = world.start_in(&loud, "connect_often 203.0.113.10 443 20000");
        let said = world.client_in(&quiet, "connect_again 203.0.113.10 443").await;
        assert!(said.contains(" got=AGENT "), "{said}");
        assert_eq!(loop_.line().await, "error=ECONNREFUSED");
        // The quiet one's may have been found before it connected.
        assert!(agent.count(Outcome::UnknownNamespace) >= 20_000);
        assert_eq!((agent.interception().events_lost(), agent.count(Outcome::EventLost)), (0, 0));
    });
}
