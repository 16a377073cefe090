//! A connect by somebody else than who made the socket: another process, another thread, another program.

use crate::world::{World, caught, there};

#[test]
fn a_socket_that_changed_hands_is_caught() {
    World::run(async |world| {
        let child = world.child_cgroup("child");
        let from_child = format!("connect_made_in {} 203.0.113.10 443", child.path().display());
        let from_child6 = format!("connect_made_in {} 2001:db8::10 443", child.path().display());
        let ways = [
            "connect_after_exec 203.0.113.10 443",
            "connect_after_vfork 203.0.113.10 443",
            "connect_after_vfork 2001:db8::10 443",
            "connect_on_thread 203.0.113.10 443",
            &from_child,
            &from_child6,
        ];
        let (_agent, said) = caught(&world, &ways).await;
        // Who connects is who is named, wherever the socket is from.
        for line in &said {
            assert!(line.contains(&format!(" cgroup={} ", world.cgroup_id())), "{line}");
        }
        let on_thread = said.iter().find_map(|line| line.strip_prefix("thread=")).unwrap();
        let (thread, rest) = on_thread.split_once(' ').unwrap();
        assert!(
            rest.contains(&format!(" tid={thread} ")) && !rest.contains(&format!(" pid={thread} ")),
            "{on_thread}"
        );
    });
}

/// The kernel runs the programs of the cgroup that a socket was made in, whoever holds it now. On the root, that is
/// below every cgroup; on a part of the hierarchy, a socket from outside of it is outside.
#[test]
fn a_socket_belongs_to_the_cgroup_it_was_made_in() {
    World::run(async |world| {
        let outside = world.sibling_cgroup();
        let (_agent, _) = caught(&world, &["connect 203.0.113.10 443"]).await;
        let (inside, outside_path) = (world.cgroup().display(), outside.path().display());
        let said = world.client(&format!("connect_made_in {outside_path} 203.0.113.10 443")).await;
        assert_eq!(said, "peer=203.0.113.10:443 got=REAL", "made outside, used inside");
        let said = outside.client(&format!("connect_made_in {inside} 203.0.113.10 443")).await;
        assert!(said.contains(" got=AGENT 203.0.113.10:443 "), "made inside, used outside: {said}");
    });
}

#[test]
fn a_connect_that_is_begun_early_or_late_is_caught() {
    World::run(async |world| {
        caught(
            &world,
            &[
                "connect_twice 203.0.113.10 443",
                "connect_twice 2001:db8::10 443",
                "connect_twice 203.0.113.10 443 mptcp",
                "connect_with_data 203.0.113.10 443",
                "connect_with_data 2001:db8::10 443",
                "connect 203.0.113.10 443 fastopen",
                "connect 2001:db8::10 443 fastopen",
            ],
        )
        .await;
    });
}

/// Linux 6.1 has multipath sockets, and no fast open for them.
#[test]
fn a_multipath_connect_with_data_is_caught() {
    World::run(async |world| {
        let ways = [
            "connect_with_data 203.0.113.10 443 mptcp",
            "connect 203.0.113.10 443 mptcp fastopen",
            "connect 2001:db8::10 443 mptcp fastopen",
        ];
        // `EOPNOTSUPP`, under the other of its names.
        let ways = there(&world, &ways, "ENOTSUP").await;
        caught(&world, &ways).await;
    });
}
