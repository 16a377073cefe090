//! What the security-module programs are told: where the fields of the kernel's own structures lie, whom to protect,
//! and who is covered.

/// Bytes of a service's name, its closing zero included. A longer one cannot be told.
pub const SERVICE_BYTES: usize = 64;
/// Most services that may open packet sockets.
pub const SERVICES_MAX: u32 = 32;
/// Most things that belong to the agent: maps, links, and the cgroups that count.
pub const OWN_MAX: u32 = 256;
/// Most threads whose last pause is remembered. The map evicts its oldest entry, which then may be paused again.
pub const PAUSED_MAX: u32 = 4_096;
/// How long a sign of life of the agent's is believed. A connect is only paused while there is one: who pauses must be
/// there to go on.
pub const ALIVE_NS: u64 = 2_000_000_000;
/// How long a thread is not paused again: where the agent could not listen, its next connect is refused at once.
pub const PAUSE_PAUSE_NS: u64 = 10_000_000_000;

/// Byte offsets of the fields that the programs read, in the running kernel. Rust has no relocations for them, so the
/// agent finds them in the kernel's own type information and writes them down before the programs are loaded. A program
/// that wants a field the kernel does not have is not loaded; its offset stays zero.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offsets {
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.files`
    pub task_files: u32,
    /// `task_struct.nsproxy`
    pub task_nsproxy: u32,
    /// `task_struct.cgroups`
    pub task_cgroups: u32,
    /// `css_set.dfl_cgrp`
    pub css_set_cgroup: u32,
    /// `cgroup.level`
    pub cgroup_level: u32,
    /// `cgroup.ancestors`
    pub cgroup_ancestors: u32,
    /// `cgroup.kn`
    pub cgroup_node: u32,
    /// `kernfs_node.name`
    pub node_name: u32,
    /// `files_struct.fdt`
    pub files_table: u32,
    /// `fdtable.max_fds`
    pub table_size: u32,
    /// `fdtable.fd`
    pub table_files: u32,
    /// `file.private_data`
    pub file_private: u32,
    /// `file.f_inode`
    pub file_inode: u32,
    /// `bpf_link.id`
    pub link_id: u32,
    /// `bpf_map.id`
    pub map_id: u32,
    /// `inode.i_ino`
    pub inode_number: u32,
    /// `inode.i_sb`
    pub inode_filesystem: u32,
    /// `super_block.s_dev`
    pub filesystem_device: u32,
    /// `dentry.d_inode`
    pub dentry_inode: u32,
    /// `vfsmount.mnt_sb`
    pub mount_filesystem: u32,
    /// `nsproxy.mnt_ns`
    pub nsproxy_mounts: u32,
    /// `mnt_namespace.ns` and `ns_common.inum` together.
    pub mounts_number: u32,
    /// `socket.type`
    pub socket_type: u32,
    /// `socket.sk`
    pub socket_sock: u32,
    /// `sock.__sk_common`, `sock_common.skc_net` and `possible_net_t.net` together.
    pub sock_net: u32,
    /// `net.net_cookie`
    pub net_cookie: u32,
    /// `pt_regs.orig_ax`, the number of the system call.
    pub registers_call: u32,
}

/// All that is known before the programs are loaded; read-only from then on.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LsmSettings {
    /// Where fields lie.
    pub offsets: Offsets,
    /// The agent's process (thread group) id, in the initial pid namespace.
    pub agent: u32,
    /// How deep the covered cgroup lies below the root, which is zero.
    pub cgroup_level: u32,
    /// The covered cgroup.
    pub cgroup: u64,
    /// `system.slice`, where systemd keeps the host's own services; zero where there is none.
    pub services: u64,
    /// The folders of the pins, the outer one first.
    pub pin_folders: [u64; 2],
    /// The device number of their file system, as the kernel writes it.
    pub pins_device: u32,
    /// Inode numbers of the mount namespaces in which they are mounted: the agent's, and that of the first process.
    pub mount_namespaces: [u32; 2],
    /// The number of connect(2) on this machine.
    pub connect_call: u32,
    /// The places on a cgroup where the agent has programs, each a bit: `1 << enum bpf_attach_type`.
    pub attach_types: u64,
}

const _: () = assert!(size_of::<Offsets>() == 28 * 4 && align_of::<Offsets>() == 4);
const _: () = assert!(size_of::<LsmSettings>() == 176 && align_of::<LsmSettings>() == 8);
const _: () = assert!(core::mem::offset_of!(LsmSettings, agent) == 112);
const _: () = assert!(core::mem::offset_of!(LsmSettings, cgroup) == 120);
const _: () = assert!(core::mem::offset_of!(LsmSettings, pin_folders) == 136);
const _: () = assert!(core::mem::offset_of!(LsmSettings, attach_types) == 168);

/// One thing that belongs to the agent and that others may not change while it runs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    /// What the kernel calls it.
    pub id: u64,
    /// An [`OwnKind`], as its number.
    pub kind: u32,
    /// Always zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<Own>() == 16 && core::mem::offset_of!(Own, kind) == 8);

impl Own {
    /// A thing of this kind.
    #[inline(always)]
    #[must_use]
    pub const fn new(kind: OwnKind, id: u64) -> Self {
        Self { id, kind: kind as u32, padding: 0 }
    }
}

/// What can be the agent's.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnKind {
    /// A link that holds one of its programs.
    Link = 1,
    /// A map.
    Map = 2,
    /// The covered cgroup, or one above: a program that is put there later could undo what ours did.
    Cgroup = 3,
}

/// Name of a service, zero padded.
pub type ServiceName = [u8; SERVICE_BYTES];

// SAFETY: `repr(C)`, integers only, no padding the compiler added (asserted above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for LsmSettings {}
// SAFETY: `repr(C)`, integers only, no padding the compiler added (asserted above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Own {}
