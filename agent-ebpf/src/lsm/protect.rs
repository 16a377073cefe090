//! The agent protects itself from the host's root, as far as that goes: its process, its links, its maps and their pins.
//!
//! These programs are held by the agent's own descriptors and by nothing else, so that they are gone when it is: it ends
//! by SIGTERM or by systemd, as ever, and then its pins can be taken away and another version can take them over.

use agent_common::{Outcome, Own, OwnKind};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use super::{FIRST_PROCESS, GO_ON, current, fields, refuse, setting};
use crate::{fields::At, maps::OWN};

/// Signals that anybody with the right may send: those that ask, and those that do nothing to it. signal(7)
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
/// `PTRACE_MODE_ATTACH` in `linux/ptrace.h`: to change or to read all of a process, not only to look at it.
const PTRACE_MODE_ATTACH: u32 = 2;
/// Commands of bpf(2), from `enum bpf_cmd` in `linux/bpf.h`.
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const LINK_CREATE: i32 = 28;
const LINK_UPDATE: i32 = 29;
const LINK_DETACH: i32 = 34;
/// Where a cgroup's descriptor and the place on it are among the arguments of `PROG_ATTACH`, `PROG_DETACH` and
/// `LINK_CREATE`, `union bpf_attr`.
const ATTACH_TARGET_AT: u32 = 0;
const LINK_TARGET_AT: u32 = 4;
const ATTACH_TYPE_AT: u32 = 8;
/// `FMODE_WRITE` in `linux/fs.h`.
const FMODE_WRITE: u32 = 2;

/// `(struct task_struct *p, struct kernel_siginfo *info, int sig, const struct cred *cred)`. What the kernel itself
/// sends does not come here, as when memory runs out.
#[lsm(hook = "task_kill")]
pub(crate) fn protect_process(ctx: LsmContext) -> i32 {
    let signal: i32 = ctx.arg(2);
    if matches!(signal, 0 | SIGHUP | SIGINT | SIGTERM | SIGCONT)
        || !is_agents(At::argument(&ctx, 0))
        || is_allowed()
    {
        return GO_ON;
    }
    refuse(&ctx, Outcome::TamperingRefused)
}

/// `(struct task_struct *child, unsigned int mode)`
#[lsm(hook = "ptrace_access_check")]
pub(crate) fn protect_memory(ctx: LsmContext) -> i32 {
    let mode: u32 = ctx.arg(1);
    if mode & PTRACE_MODE_ATTACH == 0 || !is_agents(At::argument(&ctx, 0)) || is_allowed() {
        return GO_ON;
    }
    refuse(&ctx, Outcome::TamperingRefused)
}

/// `(int cmd, union bpf_attr *attr, unsigned int size, ...)`: others may look at the links, and neither replace what is
/// behind them nor put a program before or over ours. systemd, the first process, attaches programs of its own.
#[lsm(hook = "bpf")]
pub(crate) fn protect_links(ctx: LsmContext) -> i32 {
    let command: i32 = ctx.arg(0);
    let attr = At::argument(&ctx, 1);
    let is_bad = match command {
        LINK_UPDATE | LINK_DETACH => is_our_link(attr),
        PROG_ATTACH | PROG_DETACH => is_our_place(attr, ATTACH_TARGET_AT),
        LINK_CREATE => is_our_place(attr, LINK_TARGET_AT),
        _ => Some(false),
    };
    if is_bad != Some(true) || is_allowed() {
        return GO_ON;
    }
    refuse(&ctx, Outcome::TamperingRefused)
}

/// `(struct bpf_map *map, fmode_t fmode)`: whatever the way to a map, this is asked before there is a descriptor.
#[lsm(hook = "bpf_map")]
pub(crate) fn protect_maps(ctx: LsmContext) -> i32 {
    let mode: u32 = ctx.arg(1);
    let id = At::argument(&ctx, 0).read::<u32>(setting!(offsets.map_id));
    let is_ours = id.is_some_and(|id| is_own(OwnKind::Map, u64::from(id)));
    if mode & FMODE_WRITE == 0 || !is_ours || is_allowed() {
        return GO_ON;
    }
    refuse(&ctx, Outcome::TamperingRefused)
}

/// `(struct inode *dir, struct dentry *dentry)`
#[lsm(hook = "inode_unlink")]
pub(crate) fn protect_pins(ctx: LsmContext) -> i32 {
    guard_folder(&ctx, &[At::argument(&ctx, 0)])
}

/// `(struct inode *old_dir, struct dentry *old_dentry, struct inode *new_dir, struct dentry *new_dentry)`
#[lsm(hook = "inode_rename")]
pub(crate) fn protect_pins_names(ctx: LsmContext) -> i32 {
    let moved = At::argument(&ctx, 1).follow(setting!(offsets.dentry_inode));
    let old = At::argument(&ctx, 0);
    guard_folder(&ctx, &[old, At::argument(&ctx, 2), moved.unwrap_or(old)])
}

/// `(struct vfsmount *mnt, int flags)`: the file system of the pins stays mounted where the agent and the host see it.
#[lsm(hook = "sb_umount")]
pub(crate) fn protect_pins_mount(ctx: LsmContext) -> i32 {
    let filesystem = At::argument(&ctx, 0).follow(setting!(offsets.mount_filesystem));
    let is_ours = filesystem.and_then(fields::device) == Some(setting!(pins_device));
    if !is_ours || !is_hosts_view() || is_allowed() {
        return GO_ON;
    }
    refuse(&ctx, Outcome::TamperingRefused)
}

#[inline(always)]
fn guard_folder(ctx: &LsmContext, inodes: &[At]) -> i32 {
    let [outer, inner] = setting!(pin_folders);
    let device = setting!(pins_device);
    for at in inodes {
        let is_ours = fields::inode(*at)
            .is_some_and(|(number, on)| on == device && (number == outer || number == inner));
        if is_ours && !is_allowed() {
            return refuse(ctx, Outcome::TamperingRefused);
        }
    }
    GO_ON
}

/// Whether the running task is in a mount namespace in which the pins are for the agent or for the host to find.
#[inline(always)]
fn is_hosts_view() -> bool {
    let number = At::task()
        .follow(setting!(offsets.task_nsproxy))
        .and_then(|proxy| proxy.follow(setting!(offsets.nsproxy_mounts)))
        .and_then(|mounts| mounts.read::<u32>(setting!(offsets.mounts_number)));
    let [agents, hosts] = setting!(mount_namespaces);
    number.is_some_and(|number| number == agents || number == hosts)
}

/// Whether a task is one of the agent's threads.
#[inline(always)]
fn is_agents(task: At) -> bool {
    task.read::<u32>(setting!(offsets.task_tgid)) == Some(setting!(agent))
}

/// Whether the running task may do to the agent what it likes: it is the agent, or the first process, by which the host
/// is governed.
#[inline(always)]
fn is_allowed() -> bool {
    let (pid, _) = current();
    pid == setting!(agent) || pid == FIRST_PROCESS
}

#[inline(always)]
fn is_own(kind: OwnKind, id: u64) -> bool {
    OWN.get_ptr(Own::new(kind, id)).is_some()
}

/// Whether the first argument is the descriptor of a link of ours.
#[inline(always)]
fn is_our_link(attr: At) -> Option<bool> {
    let link = fields::file(attr.read(0)?)?.follow(setting!(offsets.file_private))?;
    Some(is_own(OwnKind::Link, u64::from(link.read::<u32>(setting!(offsets.link_id))?)))
}

/// Whether a program would be put where one of ours is, on a cgroup whose programs run after ours.
#[inline(always)]
fn is_our_place(attr: At, target_at: u32) -> Option<bool> {
    let attach_type = attr.read::<u32>(ATTACH_TYPE_AT)?;
    if attach_type >= u64::BITS || setting!(attach_types) >> attach_type & 1 == 0 {
        return Some(false);
    }
    let inode = fields::file(attr.read(target_at)?)?.follow(setting!(offsets.file_inode))?;
    Some(is_own(OwnKind::Cgroup, inode.read(setting!(offsets.inode_number))?))
}
