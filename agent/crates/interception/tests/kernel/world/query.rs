//! What the kernel itself says is attached to a cgroup, whoever attached it.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    os::fd::{AsRawFd as _, RawFd},
    path::Path,
};

const BPF_PROG_QUERY: libc::c_long = 16;
/// `enum bpf_attach_type` in `linux/bpf.h`: every place on a cgroup where a program of ours may be.
const ATTACH_TYPES: [u32; 8] = [1, 3, 10, 11, 14, 15, 29, 30];
/// Far more than these tests attach.
const PROGRAMS_MAX: u32 = 64;

#[repr(C)]
struct Query {
    cgroup: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
    /// Not asked for; newer kernels write the last word all the same.
    rest: [u64; 4],
}

/// Ids of the programs attached to `cgroup`.
pub(crate) fn programs(cgroup: &Path) -> BTreeSet<u32> {
    let folder = File::open(cgroup).unwrap();
    ATTACH_TYPES.into_iter().flat_map(|attach_type| programs_at(&folder, attach_type)).collect()
}

fn programs_at(cgroup: &File, attach_type: u32) -> Vec<u32> {
    let mut ids = vec![0u32; PROGRAMS_MAX as usize];
    let mut query = Query {
        cgroup: cgroup.as_raw_fd(),
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr().expose_provenance() as u64,
        count: PROGRAMS_MAX,
        padding: 0,
        rest: [0; 4],
    };
    // SAFETY: the command reads and writes `query`, laid out as it asks, and writes at most `count` ids to `ids`; both
    // live until the call is over.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>()) };
    assert_eq!(answer, 0, "{}", io::Error::last_os_error());
    ids.truncate(query.count as usize);
    ids
}
