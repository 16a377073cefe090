//! Which kernels: the oldest that is promised, the one of Debian's stable release, and the newest that Debian has.

/// Where a kernel's packages are.
pub(crate) struct Line {
    /// By which a person chooses it.
    pub(crate) name: &'static str,
    /// The archive's folder and the suite in it.
    pub(crate) suites: &'static [(&'static str, &'static str)],
    /// How the version begins; empty takes the highest.
    prefix: &'static [u32],
}

/// Every kernel that is tested. Cloud kernels: they are small, and what a runner in a virtual machine boots.
pub(crate) const LINES: [Line; 3] = [
    Line {
        name: "6.1",
        suites: &[("debian", "bookworm"), ("debian-security", "bookworm-security")],
        prefix: &[6, 1],
    },
    Line {
        name: "6.12",
        suites: &[("debian", "trixie"), ("debian-security", "trixie-security")],
        prefix: &[6, 12],
    },
    Line { name: "newest", suites: &[("debian", "trixie-backports"), ("debian", "sid")], prefix: &[] },
];

/// The names of all of them.
pub(crate) const fn names() -> [&'static str; LINES.len()] {
    let [a, b, c] = &LINES;
    [a.name, b.name, c.name]
}

impl Line {
    /// The package with the highest version of this line, from the names of all kernel packages.
    pub(crate) fn newest<'a>(&self, packages: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let fitting = packages.filter_map(|name| {
            let version = numbers(name.strip_prefix("linux-image-")?.strip_suffix("-cloud-amd64")?);
            version.starts_with(self.prefix).then_some((version, name))
        });
        fitting.max().map(|(_, name)| name)
    }
}

/// The numbers in a version, in their order: enough to compare two kernels' of one distribution.
fn numbers(version: &str) -> Vec<u32> {
    version.split(|char: char| !char.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGES: [&str; 9] = [
        "linux-image-cloud-amd64",
        "linux-image-6.1.0-9-cloud-amd64",
        "linux-image-6.1.0-56-cloud-amd64",
        "linux-image-6.1.0-57-cloud-amd64-unsigned",
        "linux-image-6.12.115+deb13-cloud-amd64",
        "linux-image-6.12.115+deb13.1-cloud-amd64",
        "linux-image-6.12.99+deb13-cloud-amd64",
        "linux-image-7.3.4+deb13-cloud-amd64",
        "linux-image-7.3.4+deb13-amd64",
    ];

    #[test]
    fn the_highest_version_of_a_line_is_taken_by_its_numbers() {
        let [oldest, stable, newest] = &LINES;
        assert_eq!(oldest.newest(PACKAGES.into_iter()), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(stable.newest(PACKAGES.into_iter()), Some("linux-image-6.12.115+deb13.1-cloud-amd64"));
        assert_eq!(newest.newest(PACKAGES.into_iter()), Some("linux-image-7.3.4+deb13-cloud-amd64"));
        assert_eq!(stable.newest(["linux-image-6.1.0-9-cloud-amd64"].into_iter()), None);
    }
}
