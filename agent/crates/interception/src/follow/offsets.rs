//! Where the fields lie that the following programs read, in the running kernel.

use std::sync::OnceLock;

use agent_common::FollowOffsets;

use crate::{btf::KernelTypes, error::Error};

/// A field of the kernel's: where it is written down, its structure, and its name there.
type Field = (fn(&mut FollowOffsets) -> &mut u32, &'static str, &'static str);

const FIELDS: [Field; 14] = [
    (|to| &mut to.task_tgid, "task_struct", "tgid"),
    (|to| &mut to.task_leader, "task_struct", "group_leader"),
    (|to| &mut to.task_started, "task_struct", "start_boottime"),
    (|to| &mut to.task_signal, "task_struct", "signal"),
    (|to| &mut to.task_files, "task_struct", "files"),
    (|to| &mut to.signal_live, "signal_struct", "live"),
    (|to| &mut to.exec_file, "linux_binprm", "file"),
    (|to| &mut to.files_table, "files_struct", "fdt"),
    (|to| &mut to.table_size, "fdtable", "max_fds"),
    (|to| &mut to.table_files, "fdtable", "fd"),
    (|to| &mut to.file_inode, "file", "f_inode"),
    (|to| &mut to.inode_number, "inode", "i_ino"),
    (|to| &mut to.inode_filesystem, "inode", "i_sb"),
    (|to| &mut to.filesystem_device, "super_block", "s_dev"),
];

/// All of them. A kernel does not change its types while it runs, so they are looked for once.
pub(crate) fn offsets() -> Result<FollowOffsets, Error> {
    static FOUND: OnceLock<Result<FollowOffsets, String>> = OnceLock::new();
    FOUND.get_or_init(|| find(&KernelTypes::of_the_kernel()?)).clone().map_err(Error::Follow)
}

fn find(types: &KernelTypes) -> Result<FollowOffsets, String> {
    let mut offsets = FollowOffsets::default();
    for (place, of, name) in FIELDS {
        let offset = types.offset(of, &[name]);
        *place(&mut offsets) = offset.ok_or_else(|| format!("this kernel has no field {of}.{name}"))?;
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_kernel_has_every_field_and_no_two_are_one() {
        let found = offsets().unwrap();
        assert_ne!(found.task_tgid, found.task_leader);
        assert_ne!(found.task_tgid, 0);
        assert_ne!(found.signal_live, found.task_signal);
    }
}
