//! Where a process is among cgroups, and the systemd unit that its path names. Pure text.

/// The path in the cgroup2 hierarchy, from the lines of `/proc/<pid>/cgroup`: the one of hierarchy 0 (cgroups(7)).
/// Empty when there is none.
pub(crate) fn path(lines: &[u8]) -> String {
    let line = lines.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"));
    String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
}

/// Every path, in the order in which they count: that of the cgroup2 hierarchy; on hosts that have both versions the one
/// that systemd keeps beside it; then those of the controllers, where engines that only know the first version put
/// containers.
pub(crate) fn paths(lines: &[u8]) -> Vec<String> {
    let fields = lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = str::from_utf8(line).ok()?;
        let (hierarchy, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let rank = match (hierarchy, controllers) {
            ("0", "") => 0,
            (_, "name=systemd") => 1,
            _ => 2,
        };
        Some((rank, path.to_owned()))
    });
    let mut ranked: Vec<(u8, String)> = fields.collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, path)| path).collect()
}

/// The systemd unit: the outermost component that is a service or scope. Only the outermost counts, because below
/// its own unit a service may make and name cgroups as it likes.
pub(crate) fn unit(path: &str) -> Option<String> {
    let is_unit = |component: &&str| component.ends_with(".service") || component.ends_with(".scope");
    // systemd puts one underscore before names that would clash with a file of the cgroup file system.
    path.split('/').find(is_unit).map(|unit| unit.strip_prefix('_').unwrap_or(unit).to_owned())
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
    fn the_second_version_counts_before_the_first() {
        let hybrid = b"9:pids:/docker/a\n5:cpu,cpuacct:/c:d\n1:name=systemd:/b\n0::/\n";
        assert_eq!(paths(hybrid), ["/", "/b", "/docker/a", "/c:d"]);
        for none in [&b""[..], b"garbage", b"0:", b"1:a", b"0::/\xff"] {
            assert_eq!(paths(none), Vec::<String>::new(), "{none:?}");
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
}
