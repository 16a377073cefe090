//! What a program has used, by its cgroup: all its processes, and nothing else's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Processor time in microseconds, in user and kernel space, since the cgroup was made. The kernel counts it for every
/// cgroup, whichever controllers are on: cgroup-v2.rst, "cpu.stat".
pub(super) fn cpu_us(cgroup: &Path) -> Result<u64> {
    let path = cgroup.join("cpu.stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
    usage.and_then(|text| text.parse().ok()).with_context(|| format!("{} tells no usage", path.display()))
}

/// Resident memory in KiB, summed over the processes that are there now.
pub(super) fn resident_kib(cgroup: &Path) -> Result<u64> {
    let path = cgroup.join("cgroup.procs");
    let ids = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let resident = |id: &str| {
        // One that has just ended has none.
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Ok(ids.lines().filter_map(resident).sum())
}
