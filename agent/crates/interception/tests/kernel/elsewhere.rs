//! A process that moves: into a cgroup below, or into namespaces where it is root.

use interception::Outcome;

use crate::world::{World, caught};

#[test]
fn a_process_in_a_cgroup_below_is_caught() {
    World::run(async |world| {
        let child = world.child_cgroup("child");
        let grandchild = world.child_cgroup("child/grandchild");
        let to_child = format!("in_cgroup {} connect 203.0.113.10 443", child.path().display());
        let to_grandchild = format!("in_cgroup {} connect 2001:db8::10 443", grandchild.path().display());
        let (_agent, said) = caught(&world, &[&to_child, &to_grandchild]).await;
        for (line, cgroup) in said.iter().zip([&child, &grandchild]) {
            assert!(line.contains(&format!(" cgroup={} ", cgroup.id())), "{line}");
        }
    });
}

#[test]
fn a_process_in_cgroup_and_user_namespaces_is_caught() {
    World::run(async |world| {
        let child = world.child_cgroup("child");
        let nested = format!(
            "in_cgroup {} in_user_namespace in_cgroup_namespace connect 203.0.113.10 443",
            child.path().display()
        );
        let (agent, said) = caught(
            &world,
            &[
                "in_cgroup_namespace connect 203.0.113.10 443",
                "in_user_namespace connect 203.0.113.10 443",
                "in_user_namespace connect 2001:db8::10 443",
                &nested,
            ],
        )
        .await;
        // Named as the host knows it.
        assert!(said.iter().skip(1).all(|line| line.contains(" uid=1000 gid=1000 ")), "{said:?}");
        assert_eq!(agent.count(Outcome::Redirected), 4);
        // With a network namespace that it is root of as well.
        let said = world.client("in_user_namespace fresh 203.0.113.10 443").await;
        assert!(said.contains(" got=AGENT 203.0.113.10:443 "), "{said}");
    });
}
