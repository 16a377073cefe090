//! Ways through the kernel's own structures that several of these programs go.

use super::setting;
use crate::fields::At;

/// Number of an inode, and the device number of its file system.
#[inline(always)]
pub(super) fn inode(inode: At) -> Option<(u64, u32)> {
    let number = inode.read(setting!(offsets.inode_number))?;
    Some((number, device(inode.follow(setting!(offsets.inode_filesystem))?)?))
}

/// The device number of a file system.
#[inline(always)]
pub(super) fn device(filesystem: At) -> Option<u32> {
    filesystem.read(setting!(offsets.filesystem_device))
}

/// The open file behind a descriptor of the running task.
#[inline(always)]
pub(super) fn file(descriptor: u32) -> Option<At> {
    let table = At::task().follow(setting!(offsets.task_files))?.follow(setting!(offsets.files_table))?;
    if descriptor >= table.read::<u32>(setting!(offsets.table_size))? {
        return None;
    }
    table.follow(setting!(offsets.table_files))?.follow(descriptor.wrapping_mul(size_of::<usize>() as u32))
}
