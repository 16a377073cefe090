//! What the host must have, asked before anything is touched. `doctor` prints it; a start refuses on any failure.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::util::KernelVersion;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::{
    cgroup::{Cgroup, CgroupError},
    config::Config,
    forward, lsm,
};

/// Oldest kernel that is promised to work.
const KERNEL_MIN: (u8, u8) = (6, 1);
/// What the kernel says of its own types; the maps are created with its help.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Bits of `CapEff`, capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
const CAP_KILL: u32 = 5;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// One thing the host must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is asked after, in a word or two.
    pub name: &'static str,
    /// What was found, or what is wrong.
    pub outcome: Result<String, Problem>,
}

/// What is wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub problem: String,
    /// What to do, as an imperative.
    pub fix: String,
}

/// Asks after everything that [`start`](crate::Interception::start) needs. Changes nothing.
#[must_use]
pub fn preflight(cfg: &Config) -> Vec<Check> {
    vec![
        Check { name: "kernel", outcome: kernel() },
        Check { name: "btf", outcome: btf(Path::new(KERNEL_BTF)) },
        Check { name: "privileges", outcome: privileges() },
        Check { name: "cgroup", outcome: cgroup(cfg.cgroup.as_deref()) },
        Check { name: "pins", outcome: pins(&cfg.pins) },
    ]
}

/// Asks after what makes interception stronger, and what [`start`](crate::Interception::start) goes on without. Changes
/// nothing.
#[must_use]
pub fn refinements(cfg: &Config) -> Vec<Check> {
    vec![
        Check { name: "forwarded packets", outcome: forwarded(cfg) },
        Check { name: "lsm", outcome: Ok(lsm(cfg)) },
    ]
}

fn forwarded(cfg: &Config) -> Result<String, Problem> {
    if !cfg.drop_forwarded {
        return Ok("let through, as configured".to_owned());
    }
    forward::check(&cfg.pins).map_err(|Problem { problem, fix }| Problem {
        problem: format!("packets that containers make themselves would not be dropped: {problem}"),
        fix,
    })
}

/// Never a problem: nothing else needs it.
fn lsm(cfg: &Config) -> String {
    let missing = if cfg.lsm.enabled { lsm::is_there() } else { Err("switched off".to_owned()) };
    match missing {
        Ok(()) => "BPF is among the kernel's security modules".to_owned(),
        Err(why) => format!("optional, and not here: {why}. Not guarded against: {}", lsm::open_without()),
    }
}

fn problem(problem: impl ToString, fix: impl Into<String>) -> Problem {
    Problem { problem: problem.to_string(), fix: fix.into() }
}

fn kernel() -> Result<String, Problem> {
    let found = KernelVersion::current().map_err(|error| problem(error, kernel_fix()))?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    new_enough(found, release.trim())
}

fn new_enough(found: KernelVersion, release: &str) -> Result<String, Problem> {
    let (major, minor) = KERNEL_MIN;
    if found < KernelVersion::new(major, minor, 0) {
        return Err(problem(format!("Linux {release} is too old"), kernel_fix()));
    }
    Ok(format!("Linux {release}"))
}

fn kernel_fix() -> String {
    let (major, minor) = KERNEL_MIN;
    format!("boot Linux {major}.{minor} or later")
}

fn btf(path: &Path) -> Result<String, Problem> {
    match fs::metadata(path) {
        Ok(_) => Ok(path.display().to_string()),
        Err(error) => Err(problem(
            format!("{}: {error}", path.display()),
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF, and mount sysfs",
        )),
    }
}

fn privileges() -> Result<String, Problem> {
    const FIX: &str = "run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON";
    let status = fs::read_to_string("/proc/self/status").map_err(|error| problem(error, FIX))?;
    let held = effective(&status).ok_or_else(|| problem("/proc/self/status has no CapEff", FIX))?;
    if may_load(held) {
        let enough = "enough to load and attach programs";
        return Ok(if may_enter(held) {
            format!("{enough}, and to enter network namespaces")
        } else {
            format!(
                "{enough}; without CAP_SYS_ADMIN and CAP_SYS_PTRACE, other network namespaces stay refused"
            )
        });
    }
    Err(problem("the agent may not load kernel programs", FIX))
}

/// Whether these capabilities are enough. Without `CAP_PERFMON` the verifier takes no program that reads what it was
/// given a pointer to. `CAP_SYS_ADMIN` stands for the others, but up to Linux 6.8 not for `CAP_NET_ADMIN` where a program
/// that sees packets is attached.
fn may_load(held: u64) -> bool {
    let has = |bit: u32| held >> bit & 1 == 1;
    has(CAP_NET_ADMIN) && (has(CAP_SYS_ADMIN) || [CAP_BPF, CAP_PERFMON].into_iter().all(has))
}

/// Whether these are enough to listen in the network namespaces of others: setns(2), and the access check of
/// `/proc/<pid>/ns`, proc_pid_ns(5).
fn may_enter(held: u64) -> bool {
    [CAP_SYS_ADMIN, CAP_SYS_PTRACE].into_iter().all(|bit| held >> bit & 1 == 1)
}

/// Whether the agent may let a process go on that is not its own: kill(2).
pub(crate) fn may_continue() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective(&status).is_some_and(|held| held >> CAP_KILL & 1 == 1)
}

/// The effective capabilities, from the text of `/proc/<pid>/status`.
fn effective(status: &str) -> Option<u64> {
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(digits.trim(), 16).ok()
}

fn cgroup(chosen: Option<&Path>) -> Result<String, Problem> {
    let found = match chosen {
        None => Cgroup::root().map(|root| format!("{}, every process of this host", root.path().display())),
        Some(path) => Cgroup::open(path).and_then(|cgroup| {
            cgroup.agents_if_outside()?;
            Ok(format!("{}, and nothing outside of it", cgroup.path().display()))
        }),
    };
    found.map_err(|error| {
        let fix = match &error {
            CgroupError::NotMounted => "mount -t cgroup2 none /sys/fs/cgroup",
            CgroupError::NotRoot(_) => {
                "run the agent on the host, or in a container with the host's cgroup namespace"
            }
            CgroupError::NotCgroup2(_) => "name a folder below the cgroup2 mount",
            CgroupError::AgentInRoot => "start the agent by systemd, or in a cgroup of its own",
            CgroupError::Unreadable { .. } => "see that it exists and can be read",
        };
        problem(error, fix)
    })
}

fn pins(chosen: &Path) -> Result<String, Problem> {
    let unreadable = |error: io::Error| {
        let path = chosen.display();
        problem(
            format!("{path}: {error}"),
            "name a folder on a BPF file system, such as /sys/fs/bpf/snowfence",
        )
    };
    let nearest = nearest_existing(chosen).map_err(unreadable)?;
    let filesystem = statfs(&nearest).map_err(|errno| unreadable(errno.into()))?.filesystem_type();
    if filesystem != BPF_FS_MAGIC {
        return Err(problem(
            format!("{} is not on a BPF file system", chosen.display()),
            "mount -t bpf bpf /sys/fs/bpf",
        ));
    }
    Ok(chosen.display().to_string())
}

/// The path itself, or the nearest folder above it that is there.
fn nearest_existing(path: &Path) -> io::Result<PathBuf> {
    for folder in path.ancestors() {
        match fs::canonicalize(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::LsmConfig;

    #[test]
    fn capabilities_are_read_from_their_line() {
        assert_eq!(effective("Name:\tx\nCapPrm:\t0\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        for bad in ["", "CapPrm:\t1\n", "CapEff:\tzz\n", "CapEff:\n"] {
            assert_eq!(effective(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn one_capability_too_few_is_too_few() {
        let held = |bits: &[u32]| bits.iter().fold(0, |held, bit| held | 1 << bit);
        for enough in [&[CAP_SYS_ADMIN, CAP_NET_ADMIN][..], &[CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON]] {
            assert!(may_load(held(enough)), "{enough:?}");
        }
        let too_few = [
            [CAP_BPF, CAP_NET_ADMIN],
            [CAP_BPF, CAP_PERFMON],
            [CAP_NET_ADMIN, CAP_PERFMON],
            [CAP_SYS_ADMIN, CAP_BPF],
        ];
        for bits in too_few {
            assert!(!may_load(held(&bits)), "{bits:?}");
        }
    }

    #[test]
    fn a_kernel_that_is_too_old_is_refused_with_the_fix() {
        for (version, is_new_enough) in
            [((6, 1, 0), true), ((7, 0, 3), true), ((6, 0, 19), false), ((5, 15, 0), false)]
        {
            let (major, minor, patch) = version;
            let outcome = new_enough(KernelVersion::new(major, minor, patch), "5.15.0-91-generic");
            assert_eq!(outcome.is_ok(), is_new_enough, "{version:?}");
            if let Err(refused) = outcome {
                assert_eq!(refused.problem, "Linux 5.15.0-91-generic is too old");
                assert_eq!(refused.fix, "boot Linux 6.1 or later");
            }
        }
    }

    #[test]
    fn a_kernel_without_btf_is_refused_with_the_fix() {
        assert!(btf(Path::new("/proc/self/status")).is_ok());
        let refused = btf(Path::new("/proc/no-such-btf")).unwrap_err();
        assert!(
            refused.problem.contains("/proc/no-such-btf") && refused.fix.contains("CONFIG_DEBUG_INFO_BTF")
        );
    }

    #[test]
    fn pins_elsewhere_than_on_a_bpf_file_system_are_refused_with_the_fix() {
        for path in ["/proc/snowfence", "/does/not/exist", "relative/never/made"] {
            let refused = pins(Path::new(path)).unwrap_err();
            assert!(!refused.fix.is_empty(), "{path}");
        }
        let refused = pins(Path::new("/proc/snowfence")).unwrap_err();
        assert_eq!(refused.fix, "mount -t bpf bpf /sys/fs/bpf");
    }

    #[test]
    fn every_check_is_made_once_and_changes_nothing() {
        let cfg = Config {
            cgroup: Some("/proc".into()),
            pins: "/proc/snowfence".into(),
            port: 0,
            drop_forwarded: true,
            domains: Vec::new(),
            observing: false,
            workers: Vec::new(),
            runners: Vec::new(),
            scope: crate::Scope::default(),
            lsm: LsmConfig::default(),
        };
        let checks = preflight(&cfg);
        let names: Vec<_> = checks.iter().map(|check| check.name).collect();
        assert_eq!(names, ["kernel", "btf", "privileges", "cgroup", "pins"]);
        assert!(checks.iter().any(|check| check.outcome.is_err()));
    }
}
