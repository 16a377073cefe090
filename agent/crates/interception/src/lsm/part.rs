//! The programs of the layer: each with its hook, what it reads, and what it stands against.

use agent_common::Offsets;

use crate::btf::KernelTypes;

/// One program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    PacketSocket,
    Pause,
    Process,
    Memory,
    Links,
    Maps,
    Pins,
    PinsNames,
    PinsMount,
}

/// A field of the kernel's: where it is written down, and the way to it from a structure.
type Field = (fn(&mut Offsets) -> &mut u32, &'static str, &'static [&'static str]);

/// Every field that any program reads.
const FIELDS: [Field; 28] = [
    (|to| &mut to.task_tgid, "task_struct", &["tgid"]),
    (|to| &mut to.task_files, "task_struct", &["files"]),
    (|to| &mut to.task_nsproxy, "task_struct", &["nsproxy"]),
    (|to| &mut to.task_cgroups, "task_struct", &["cgroups"]),
    (|to| &mut to.css_set_cgroup, "css_set", &["dfl_cgrp"]),
    (|to| &mut to.cgroup_level, "cgroup", &["level"]),
    (|to| &mut to.cgroup_ancestors, "cgroup", &["ancestors"]),
    (|to| &mut to.cgroup_node, "cgroup", &["kn"]),
    (|to| &mut to.node_name, "kernfs_node", &["name"]),
    (|to| &mut to.files_table, "files_struct", &["fdt"]),
    (|to| &mut to.table_size, "fdtable", &["max_fds"]),
    (|to| &mut to.table_files, "fdtable", &["fd"]),
    (|to| &mut to.file_private, "file", &["private_data"]),
    (|to| &mut to.file_inode, "file", &["f_inode"]),
    (|to| &mut to.link_id, "bpf_link", &["id"]),
    (|to| &mut to.map_id, "bpf_map", &["id"]),
    (|to| &mut to.inode_number, "inode", &["i_ino"]),
    (|to| &mut to.inode_filesystem, "inode", &["i_sb"]),
    (|to| &mut to.filesystem_device, "super_block", &["s_dev"]),
    (|to| &mut to.dentry_inode, "dentry", &["d_inode"]),
    (|to| &mut to.mount_filesystem, "vfsmount", &["mnt_sb"]),
    (|to| &mut to.nsproxy_mounts, "nsproxy", &["mnt_ns"]),
    (|to| &mut to.mounts_number, "mnt_namespace", &["ns", "inum"]),
    (|to| &mut to.socket_type, "socket", &["type"]),
    (|to| &mut to.socket_sock, "socket", &["sk"]),
    (|to| &mut to.sock_net, "sock", &["__sk_common", "skc_net", "net"]),
    (|to| &mut to.net_cookie, "net", &["net_cookie"]),
    (|to| &mut to.registers_call, "pt_regs", &["orig_ax"]),
];

impl Part {
    /// In the order of attaching: what could hinder this agent itself comes last.
    pub(super) const ALL: [Self; 9] = [
        Self::PacketSocket,
        Self::Pause,
        Self::Process,
        Self::Memory,
        Self::Links,
        Self::Maps,
        Self::Pins,
        Self::PinsNames,
        Self::PinsMount,
    ];

    /// Name of the program in the object.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PacketSocket => "packet_socket",
            Self::Pause => "pause",
            Self::Process => "protect_process",
            Self::Memory => "protect_memory",
            Self::Links => "protect_links",
            Self::Maps => "protect_maps",
            Self::Pins => "protect_pins",
            Self::PinsNames => "protect_pins_names",
            Self::PinsMount => "protect_pins_mount",
        }
    }

    /// The hook, as `linux/lsm_hook_defs.h` names it.
    pub(super) fn hook(self) -> &'static str {
        match self {
            Self::PacketSocket => "socket_create",
            Self::Pause => "socket_connect",
            Self::Process => "task_kill",
            Self::Memory => "ptrace_access_check",
            Self::Links => "bpf",
            Self::Maps => "bpf_map",
            Self::Pins => "inode_unlink",
            Self::PinsNames => "inode_rename",
            Self::PinsMount => "sb_umount",
        }
    }

    /// What it stands against.
    pub(super) fn against(self) -> &'static str {
        match self {
            Self::PacketSocket => "packets that leave the host by a packet socket",
            Self::Pause => "a new network namespace's first connect being refused",
            Self::Process => "root killing or stopping the agent",
            Self::Memory => "root reading or changing the agent's memory",
            Self::Links => "root replacing or overruling the agent's programs",
            Self::Maps => "root changing the agent's maps",
            Self::Pins => "root removing the agent's pins",
            Self::PinsNames => "root moving the agent's pins",
            Self::PinsMount => "root unmounting the agent's pins",
        }
    }

    /// Whether it stays when the agent goes. What protects the agent goes with it, so that what it leaves can be taken
    /// away, and who pauses a connect must be there to go on.
    pub(super) fn is_pinned(self) -> bool {
        self == Self::PacketSocket
    }

    /// The structures and fields that it reads, by the places in [`Offsets`] that it looks at.
    fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::PacketSocket => &[
                ("task_struct", "cgroups"),
                ("css_set", "dfl_cgrp"),
                ("cgroup", "level"),
                ("cgroup", "ancestors"),
                ("cgroup", "kn"),
                ("kernfs_node", "name"),
            ],
            Self::Pause => &[
                ("socket", "type"),
                ("socket", "sk"),
                ("sock", "__sk_common"),
                ("net", "net_cookie"),
                ("pt_regs", "orig_ax"),
            ],
            Self::Process | Self::Memory => &[("task_struct", "tgid")],
            Self::Links => &[
                ("task_struct", "files"),
                ("files_struct", "fdt"),
                ("fdtable", "max_fds"),
                ("fdtable", "fd"),
                ("file", "private_data"),
                ("file", "f_inode"),
                ("bpf_link", "id"),
                ("inode", "i_ino"),
            ],
            Self::Maps => &[("bpf_map", "id")],
            Self::Pins => &[("inode", "i_ino"), ("inode", "i_sb"), ("super_block", "s_dev")],
            Self::PinsNames => {
                &[("inode", "i_ino"), ("inode", "i_sb"), ("super_block", "s_dev"), ("dentry", "d_inode")]
            }
            Self::PinsMount => &[
                ("vfsmount", "mnt_sb"),
                ("super_block", "s_dev"),
                ("task_struct", "nsproxy"),
                ("nsproxy", "mnt_ns"),
                ("mnt_namespace", "ns"),
            ],
        }
    }

    /// The first field that it reads and that is among `absent`.
    pub(super) fn lacks(self, absent: &[String]) -> Option<&String> {
        let wants = |field: &&String| {
            let mut fields = self.fields().iter();
            fields.any(|(of, name)| field.strip_prefix(of).is_some_and(|rest| is_way(rest, name)))
        };
        absent.iter().find(wants)
    }
}

/// Whether `.ns.inum` begins with `.ns`, as a way and not only as text.
fn is_way(rest: &str, name: &str) -> bool {
    let rest = rest.strip_prefix('.').and_then(|rest| rest.strip_prefix(name));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Where every field lies in this kernel, and the names of those that it does not have.
pub(super) fn offsets(types: &KernelTypes) -> (Offsets, Vec<String>) {
    let (mut offsets, mut absent) = (Offsets::default(), Vec::new());
    for (place, of, way) in FIELDS {
        match types.offset(of, way) {
            Some(offset) => *place(&mut offsets) = offset,
            None => absent.push(format!("{of}.{}", way.join("."))),
        }
    }
    (offsets, absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_program_is_one_that_is_looked_for_and_every_one_is_read() {
        let all: Vec<String> = FIELDS.iter().map(|(_, of, way)| format!("{of}.{}", way.join("."))).collect();
        let mut read = Vec::new();
        for part in Part::ALL {
            for (of, name) in part.fields() {
                let found =
                    all.iter().find(|field| field.strip_prefix(of).is_some_and(|rest| is_way(rest, name)));
                read.push(found.unwrap_or_else(|| panic!("{of}.{name} is not looked for")));
            }
            assert_eq!(part.lacks(&[]), None);
            assert!(part.lacks(&all).is_some());
        }
        assert!(all.iter().all(|field| read.contains(&field)), "{all:?}");
    }

    #[test]
    fn only_who_reads_a_field_misses_it() {
        let absent = ["mnt_namespace.ns.inum".to_owned()];
        let missing: Vec<_> = Part::ALL.into_iter().filter(|part| part.lacks(&absent).is_some()).collect();
        assert_eq!(missing, [Part::PinsMount]);
    }
}
