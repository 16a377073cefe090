//! What the programs are told before they are loaded, and which of them cannot be.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, process};

use agent_common::LsmSettings;

use super::{
    Plan,
    part::{self, Part},
};
use crate::{
    btf::KernelTypes, cgroup::Cgroup, config::Config, hook::Hook, pins::Pins, preflight::may_continue,
};

/// Inode number of the initial pid namespace, `PROC_PID_INIT_INO` in `linux/proc_ns.h`.
const FIRST_PIDS: u32 = 0xefff_fffc;

/// Finds out everything that the programs must know. What is missing is missing for one program, or for all.
pub(crate) fn prepare(cfg: &Config, pins: &Pins, cgroup: &Cgroup) -> Plan {
    let prepared = if cfg.lsm.enabled { gather(pins, cgroup) } else { Err("switched off".to_owned()) };
    match prepared {
        Ok((settings, absent)) => {
            let may_continue = may_continue();
            let parts = Part::ALL.map(|part| {
                let lacks = part.lacks(&absent).map(|field| format!("this kernel has no field {field}"));
                let is_stuck = part == Part::Pause && !may_continue;
                // Who cannot be let go on must not be stopped.
                (part, lacks.or_else(|| is_stuck.then(|| "the agent has no CAP_KILL".to_owned())))
            });
            Plan { parts: parts.into(), settings }
        }
        Err(why) => {
            let parts = Part::ALL.map(|part| (part, Some(why.clone())));
            Plan { parts: parts.into(), settings: LsmSettings::default() }
        }
    }
}

fn gather(pins: &Pins, cgroup: &Cgroup) -> Result<(LsmSettings, Vec<String>), String> {
    super::is_there()?;
    if namespace("/proc/self/ns/pid").ok() != Some(FIRST_PIDS) {
        return Err(
            "the agent is in a pid namespace of its own, and does not know its number on the host".to_owned()
        );
    }
    let (offsets, absent) = part::offsets(&KernelTypes::of_the_kernel()?);
    let unreadable = |error: io::Error| format!("this host cannot be described to it: {error}");
    let (outer, inner) = pins.folders();
    let outer = fs::metadata(outer).map_err(unreadable)?;
    let inner = fs::metadata(inner).map_err(unreadable)?;
    let settings = LsmSettings {
        offsets,
        agent: process::id(),
        cgroup_level: cgroup.level().map_err(unreadable)?,
        cgroup: cgroup.id,
        services: services(),
        pin_folders: [outer.ino(), inner.ino()],
        pins_device: device(inner.dev()),
        mount_namespaces: [
            namespace("/proc/self/ns/mnt").map_err(unreadable)?,
            namespace("/proc/1/ns/mnt").map_err(unreadable)?,
        ],
        connect_call: u32::try_from(libc::SYS_connect).unwrap_or_default(),
        attach_types: Hook::ALL.into_iter().fold(0, |types, hook| types | 1 << hook.attach_type()),
    };
    Ok((settings, absent))
}

/// `system.slice`, where systemd keeps services; zero where there is none.
fn services() -> u64 {
    let slice = Cgroup::root().and_then(|root| Cgroup::open(&root.path().join("system.slice")));
    slice.map_or(0, |slice| slice.id)
}

/// From the device number of stat(2) to the kernel's own: 12 bits for the major and 20 for the minor, `linux/kdev_t.h`.
fn device(number: u64) -> u32 {
    libc::major(number) << 20 | libc::minor(number)
}

/// Inode number of a namespace, from the text of its link: `mnt:[4026531841]`.
fn namespace(path: &str) -> io::Result<u32> {
    let link = fs::read_link(Path::new(path))?;
    let text = link.to_string_lossy();
    let number = text.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
    number.and_then(|number| number.parse().ok()).ok_or_else(|| io::Error::other(format!("{path}: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_number_is_written_as_the_kernel_writes_it() {
        assert_eq!(device(libc::makedev(0, 41)), 41);
        assert_eq!(device(libc::makedev(8, 1)), 8 << 20 | 1);
        assert_eq!(device(libc::makedev(0, 300)), 300);
    }

    #[test]
    fn the_own_mount_namespace_has_a_number() {
        assert!(namespace("/proc/self/ns/mnt").unwrap() > 0);
        assert!(namespace("/proc/self/exe").is_err());
    }
}
