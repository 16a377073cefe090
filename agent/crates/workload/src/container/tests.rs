//! Paths as engines write them, from their documentation and from hosts that run them; and paths that somebody made up.

use super::*;

const A: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const POD: &str = "4b0a0f1e-64b0-4d3c-9a5b-0f4d5c2d7e11";

/// What a path says, in one line: engine, id (A and B for the two above), pod, user.
fn told(path: &str) -> String {
    let path = path.replace("<A>", A).replace("<B>", B).replace("<pod>", POD);
    let path = path.replace("<pod_>", &POD.replace('-', "_"));
    let Some(named) = named(&path) else { return "-".to_owned() };
    let id = named.id.replace(A, "A").replace(B, "B");
    let pod = named.pod.map(|pod| format!(" pod={}", pod.replace(POD, "P"))).unwrap_or_default();
    let user = named.user.map(|user| format!(" user={user}")).unwrap_or_default();
    format!("{} {id}{pod}{user}", named.engine.as_str())
}

fn check(cases: &[(&str, &str)]) {
    for (path, expected) in cases {
        assert_eq!(&told(path), expected, "{path}");
    }
}

#[test]
fn engines_are_known_by_the_names_they_give() {
    check(&[
        // Docker: the systemd driver, the cgroupfs driver, with a parent of its own, as GitHub's runner starts jobs.
        ("/system.slice/docker-<A>.scope", "docker A"),
        ("/docker/<A>", "docker A"),
        ("/ci.slice/ci-jobs.slice/docker-<A>.scope", "docker A"),
        ("/actions_job/<A>", "docker A"),
        // A process of the container below the container's own root.
        ("/system.slice/docker-<A>.scope/init.scope", "docker A"),
        ("/docker/<A>/payload/x", "docker A"),
        // containerd.
        ("/system.slice/nerdctl-<A>.scope", "containerd A"),
        // Podman: both drivers, with the cgroup that it puts around a container's own.
        ("/machine.slice/libpod-<A>.scope", "podman A"),
        ("/machine.slice/libpod-<A>.scope/container", "podman A"),
        ("/libpod_parent/libpod-<A>", "podman A"),
        // runc by itself.
        ("/system.slice/runc-build_1.scope", "runc build_1"),
        // systemd-nspawn and LXC.
        ("/machine.slice/systemd-nspawn@build.service/payload", "systemd-nspawn build"),
        ("/machine.slice/machine-build\\x2d1.scope", "systemd-nspawn build-1"),
        ("/lxc.payload.build-1/system.slice/x.service", "lxc build-1"),
        // Inside of a subtree, as a host inside of a larger one has it.
        ("/lab/host/system.slice/docker-<A>.scope", "docker A"),
    ]);
}

#[test]
fn containers_of_kubernetes_have_their_pod() {
    check(&[
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<pod_>.slice/cri-containerd-<A>.scope",
            "containerd A pod=P",
        ),
        ("/kubepods.slice/kubepods-pod<pod_>.slice/crio-<A>.scope/container", "cri-o A pod=P"),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<pod_>.slice/docker-<A>.scope",
            "docker A pod=P",
        ),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod<pod_>.slice/cri-containerd-<A>.scope",
            "containerd A pod=P",
        ),
        // The cgroupfs driver names no engine, but for CRI-O.
        ("/kubepods/burstable/pod<pod>/<A>", "kubernetes A pod=P"),
        ("/kubepods/pod<pod>/<A>/x", "kubernetes A pod=P"),
        ("/kubepods/besteffort/pod<pod>/crio-<A>", "cri-o A pod=P"),
        ("/kubelet/kubepods/burstable/pod<pod>/<A>", "kubernetes A pod=P"),
        // A pod that the host itself has, whose uid is a digest.
        (
            "/kubepods/burstable/pod5f4dcc3b5aa765d61d8327deb882cf99/<A>",
            "kubernetes A pod=5f4dcc3b5aa765d61d8327deb882cf99",
        ),
        // The kubelet says slices, the engine takes them for folders.
        (
            "/system.slice/containerd.service/kubepods-burstable-pod<pod_>.slice:cri-containerd:<A>",
            "containerd A pod=P",
        ),
        ("/system.slice/crio.service/kubepods-pod<pod_>.slice:crio:<A>", "cri-o A pod=P"),
        // A pod's own folder is no container.
        ("/kubepods/burstable/pod<pod>", "-"),
    ]);
}

#[test]
fn the_outermost_container_counts() {
    check(&[
        ("/system.slice/docker-<A>.scope/system.slice/docker-<B>.scope", "docker A"),
        ("/docker/<A>/docker/<B>", "docker A"),
        ("/docker/<A>/kubelet/kubepods/burstable/pod<pod>/<B>", "docker A"),
        ("/lxc.payload.ci/system.slice/docker-<B>.scope", "lxc ci"),
    ]);
}

#[test]
fn below_a_service_or_scope_no_name_counts() {
    check(&[
        ("/system.slice/actions.runner.acme.service/docker-<A>.scope", "-"),
        ("/system.slice/actions.runner.acme.service/docker/<A>", "-"),
        ("/system.slice/gitlab-runner.service/kubepods/pod<pod>/<A>", "-"),
        ("/system.slice/x.service/libpod-payload-<A>", "-"),
        ("/system.slice/x.service/lxc.payload.ci", "-"),
        ("/user.slice/user-1000.slice/session-3.scope/docker-<A>.scope", "-"),
        ("/init.scope/docker/<A>", "-"),
        // An engine's own service holds only what the engine puts there.
        ("/system.slice/containerd.service/docker-<A>.scope", "-"),
        ("/system.slice/containerd.service/x/kubepods-pod<pod_>.slice:cri-containerd:<A>", "-"),
        ("/system.slice/runner.service/containerd.service/kubepods-pod1.slice:cri-containerd:<A>", "-"),
        ("/kubepods-pod<pod_>.slice:cri-containerd:<A>", "-"),
    ]);
}

#[test]
fn below_a_users_manager_it_is_that_users_word() {
    let manager = "/user.slice/user-1000.slice/user@1000.service";
    check(&[
        (&format!("{manager}/user.slice/libpod-<A>.scope/container"), "podman A user=1000"),
        (&format!("{manager}/app.slice/ci.service/libpod-payload-<A>"), "podman A user=1000"),
        (&format!("{manager}/user.slice/docker-<A>.scope"), "docker A user=1000"),
        (&format!("{manager}/app.slice/x.service"), "-"),
        // Nobody's.
        ("/user.slice/user@.service/libpod-<A>.scope", "-"),
        ("/user.slice/user@-1.service/libpod-<A>.scope", "-"),
        ("/user.slice/user@99999999999.service/libpod-<A>.scope", "-"),
    ]);
}

#[test]
fn what_only_looks_like_a_container_is_none() {
    let long = format!("/lxc.payload.{}", "x".repeat(NAME_BYTES_MAX + 1));
    check(&[
        ("", "-"),
        ("/", "-"),
        ("/system.slice/docker.service", "-"),
        ("/<A>", "-"),
        ("/system.slice/<A>", "-"),
        ("/docker/x/<A>", "-"),
        ("/docker/buildkit/<A>", "-"),
        ("/dockerish/<A>", "-"),
        ("/docker/<A>0", "-"),
        ("/docker/0123", "-"),
        ("/docker-0123.scope", "-"),
        ("/machine.slice/libpod-conmon-<A>.scope", "-"),
        ("/system.slice/crio-conmon-<A>.scope", "-"),
        ("/kubepods/burstable/<A>", "-"),
        ("/pod<pod>/<A>", "-"),
        ("/kubepods/podXYZ/<A>", "-"),
        ("/kubepods/pod/<A>", "-"),
        ("/kubepods/pod<pod>/pods/<A>", "-"),
        ("/machine.slice/machine-qemu\\x2d1\\x2dweb.scope", "-"),
        ("/machine.slice/machine-a\\x2fb.scope", "-"),
        ("/machine.slice/machine-a\\x.scope", "-"),
        ("/machine.slice/machine-a\\xzz.scope", "-"),
        ("/machine.slice/machine-.scope", "-"),
        ("/lxc.payload...", "-"),
        ("/lxc.payload.a b", "-"),
        ("/lxc.payload.\u{1b}[2J", "-"),
        ("/system.slice/runc-..scope", "-"),
        (&long, "-"),
        (&"/docker".repeat(1_000), "-"),
    ]);
    assert_eq!(told(&format!("/docker/{}", A.to_uppercase())), "-");
    assert_eq!(told(&format!("/docker/{}é", &A[..62])), "-");
}
