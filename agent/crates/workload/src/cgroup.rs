//! What a cgroup path says: the systemd unit and the container. Pure text.

/// The path in the cgroup2 hierarchy, from the lines of `/proc/<pid>/cgroup`: the one of hierarchy 0 (cgroups(7)).
/// Empty when there is none.
pub(crate) fn path(lines: &[u8]) -> String {
    let line = lines.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"));
    String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
}

/// The systemd unit: the outermost component that is a service or scope. Only the outermost counts, because below
/// its own unit a service may make and name cgroups as it likes.
pub(crate) fn unit(path: &str) -> Option<String> {
    let is_unit = |component: &&str| component.ends_with(".service") || component.ends_with(".scope");
    // systemd puts one underscore before names that would clash with a file of the cgroup file system.
    path.split('/').find(is_unit).map(|unit| unit.strip_prefix('_').unwrap_or(unit).to_owned())
}

/// The container: the outermost component that a container runtime names so. Docker (`docker-<id>.scope`,
/// `docker/<id>`), containerd (`cri-containerd-<id>.scope`, `nerdctl-…`, `…:cri-containerd:<id>`), CRI-O (`crio-<id>.scope`), Podman
/// (`libpod-<id>.scope`, `libpod-<id>`), and the kubelet with the cgroupfs driver (`kubepods/…/<id>`).
pub(crate) fn container_id(path: &str) -> Option<String> {
    let mut by_id_alone = false;
    for component in path.split('/') {
        let name = component.strip_suffix(".scope").unwrap_or(component);
        let prefixed = ["docker-", "cri-containerd-", "nerdctl-", "crio-", "libpod-"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .or_else(|| name.rsplit_once(":cri-containerd:").map(|(_, id)| id));
        let id = prefixed.or(by_id_alone.then_some(name));
        if let Some(id) = id.filter(|id| is_container_id(id)) {
            return Some(id.to_owned());
        }
        by_id_alone |= matches!(component, "docker" | "kubepods" | "kubepods.slice" | "libpod_parent");
    }
    None
}

fn is_container_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_that_of_the_second_version() {
        let hybrid = b"9:name=systemd:/init.scope\n4:memory:/x\n0::/system.slice/a.service\n";
        assert_eq!(path(hybrid), "/system.slice/a.service");
        for none in ["", "1:name=systemd:/x\n", "10::/x\n", "x0::/y"] {
            assert_eq!(path(none.as_bytes()), "", "{none}");
        }
    }

    #[test]
    fn the_unit_is_the_outermost() {
        let cases = [
            ("/system.slice/actions.runner.acme.service", Some("actions.runner.acme.service")),
            (
                "/lab/host/system.slice/actions.runner.a-b.x.service/job/fake.service",
                Some("actions.runner.a-b.x.service"),
            ),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope", Some("user@1000.service")),
            ("/system.slice/_cgroup.service", Some("cgroup.service")),
            ("/init.scope", Some("init.scope")),
            ("/system.slice", None),
            ("/", None),
            ("", None),
            ("/a.service.d/x", None),
        ];
        for (path, expected) in cases {
            assert_eq!(unit(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn the_container_is_the_outermost() {
        let (a, b) = ("a".repeat(64), "0123456789abcdef".repeat(4));
        let found = [
            format!("/system.slice/docker-{a}.scope"),
            format!("/docker/{a}"),
            format!("/docker/{a}/docker-{b}.scope"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{a}.scope"
            ),
            format!("/kubepods/besteffort/pod1-2/{a}"),
            format!("/kubepods.slice/x.slice/crio-{a}.scope/container"),
            format!("/machine.slice/libpod-{a}.scope/container"),
            format!("/libpod_parent/libpod-{a}"),
            format!("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{a}"),
        ];
        for path in found {
            assert_eq!(container_id(&path), Some(a.clone()), "{path}");
        }
        let none = [
            "/system.slice/docker.service".to_owned(),
            format!("/{a}"),
            format!("/system.slice/{a}"),
            format!("/docker/{}", a.to_uppercase()),
            format!("/docker/{}", &a[1..]),
            format!("/docker/{a}0"),
            format!("/x/crio-conmon-{a}.scope"),
            format!("/x/libpod-conmon-{a}.scope"),
            format!("/dockerish/{a}"),
            String::new(),
        ];
        for path in none {
            assert_eq!(container_id(&path), None, "{path}");
        }
    }
}
