//! io_uring: the kernel connects on a process's behalf, on the process's own thread or on one of the kernel's.

use interception::Outcome;

use crate::world::{World, caught};

#[test]
fn what_io_uring_connects_is_caught() {
    World::run(async |world| {
        let (agent, said) = caught(
            &world,
            &[
                "ring 203.0.113.10 443",
                "ring 2001:db8::10 443",
                "ring ::ffff:203.0.113.10 443",
                // The socket itself is made by the ring.
                "ring 203.0.113.10 443 made",
                "ring 203.0.113.10 443 async",
                "ring 203.0.113.10 443 polled",
                "ring 2001:db8::10 443 made async polled",
                // A message that connects.
                "ring 203.0.113.10 443 fastopen",
                "ring 2001:db8::10 443 fastopen async",
                "ring 203.0.113.10 443 made fastopen polled",
            ],
        )
        .await;
        for (line, peer) in said.iter().zip(["203.0.113.10:443", "[2001:db8::10]:443"]) {
            assert!(line.starts_with(&format!("peer={peer} ")), "{line}");
        }
        assert_eq!((agent.count(Outcome::Redirected), agent.count(Outcome::PacketDropped)), (10, 0));
    });
}

#[test]
fn what_a_kernel_thread_connects_is_its_processs() {
    World::run(async |world| {
        let _agent = caught(&world, &["ring 203.0.113.10 443"]).await;
        for (how, thread) in [("", "comm=python3"), (" async", "comm=iou-wrk-"), (" polled", "comm=iou-sqp-")]
        {
            let mut client = world.start(&format!("ring 203.0.113.10 443{how}"));
            let (pid, said) = (client.pid(), client.line().await);
            assert!(said.contains(&format!(" pid={pid} ")) && said.contains(thread), "{pid}: {said}");
            assert!(said.contains(&format!(" cgroup={} ", world.cgroup_id())), "{said}");
        }
    });
}
