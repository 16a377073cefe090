//! System calls that aya does not wrap, each as a safe function over owned descriptors.

use std::{
    ffi::{CStr, CString},
    io, mem,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// Commands of bpf(2), from `enum bpf_cmd` in `linux/bpf.h`.
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
/// `enum bpf_attach_type` in `linux/bpf.h`.
const BPF_LSM_MAC: u32 = 27;

/// What the kernel says of a link on a cgroup: the head of `struct bpf_link_info`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    kind: u32,
    /// The number by which the kernel knows the link.
    pub(crate) id: u32,
    /// The program behind it.
    pub(crate) program_id: u32,
    padding: u32,
    /// Inode number of the cgroup's folder; zero once the cgroup is gone.
    pub(crate) cgroup_id: u64,
    attach_type: u32,
    padding_end: u32,
}

const _: () = assert!(size_of::<LinkInfo>() == 32 && mem::offset_of!(LinkInfo, cgroup_id) == 16);

#[repr(C)]
struct LinkCreate {
    program: RawFd,
    target: RawFd,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct LinkUpdate {
    link: RawFd,
    program: RawFd,
    flags: u32,
    old_program: u32,
}

/// The whole of it, also what is not asked for: newer kernels write the last field, the revision, whatever size they
/// were told.
#[repr(C)]
struct Query {
    target: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    count: u32,
    padding: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

const _: () = assert!(size_of::<Query>() == 64);

/// All programs that run, those of the cgroups above too, in the order in which they do.
const BPF_F_QUERY_EFFECTIVE: u32 = 1;
/// Far more than the 64 that the kernel lets be on one cgroup, because those of the cgroups above are counted too.
const PROGRAMS_MAX: usize = 1_024;

#[repr(C)]
struct Object {
    path: u64,
    fd: RawFd,
    flags: u32,
}

#[repr(C)]
struct TracepointOpen {
    name: u64,
    program: RawFd,
    padding: u32,
    cookie: u64,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: RawFd,
    answer: u32,
    data_sizes: [u32; 2],
    data: [u64; 2],
    repeat: u32,
    duration: u32,
    context_size: u32,
    context_size_out: u32,
    context: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

#[repr(C)]
struct Info {
    fd: RawFd,
    size: u32,
    info: u64,
}

/// Ids of the programs that run for a cgroup, whoever attached them, the first to run first.
pub(crate) fn effective_programs(cgroup: impl AsFd, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut ids = vec![0u32; PROGRAMS_MAX];
    let mut attr = Query {
        target: cgroup.as_fd().as_raw_fd(),
        attach_type,
        query_flags: BPF_F_QUERY_EFFECTIVE,
        attach_flags: 0,
        program_ids: ids.as_mut_ptr().expose_provenance() as u64,
        count: u32::try_from(ids.len()).map_err(io::Error::other)?,
        padding: 0,
        program_attach_flags: 0,
        link_ids: 0,
        link_attach_flags: 0,
        revision: 0,
    };
    // SAFETY: the command reads and writes `attr`, laid out as it asks, and writes at most `count` ids to `ids`, which
    // lives until the call is over.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    ids.truncate(usize::try_from(attr.count).map_err(io::Error::other)?);
    Ok(ids)
}

/// Puts a program on a cgroup. The link holds it there for as long as the link is open or pinned; programs of others
/// on the same cgroup run as well.
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let mut attr =
        LinkCreate { program: program.as_raw_fd(), target: cgroup.as_raw_fd(), attach_type, flags: 0 };
    // SAFETY: the command reads `attr`, which is laid out as it asks.
    let fd = unsafe { bpf(BPF_LINK_CREATE, &mut attr) }?;
    // SAFETY: the command answers a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts a program on the security hook that it was loaded for. The link holds it there for as long as it is open or
/// pinned.
pub(crate) fn lsm_attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate { program: program.as_raw_fd(), target: 0, attach_type: BPF_LSM_MAC, flags: 0 };
    // SAFETY: the command reads `attr`, which is laid out as it asks.
    let fd = unsafe { bpf(BPF_LINK_CREATE, &mut attr) }?;
    // SAFETY: the command answers a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts a program on a tracepoint of the kernel's. The link holds it there for as long as it is open or pinned; it
/// cannot be given another program.
pub(crate) fn tracepoint_attach(program: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let mut attr = TracepointOpen {
        name: name.as_ptr().expose_provenance() as u64,
        program: program.as_raw_fd(),
        padding: 0,
        cookie: 0,
    };
    // SAFETY: the command reads `attr`, laid out as it asks, and the name, which lives until the call is over.
    let fd = unsafe { bpf(BPF_RAW_TRACEPOINT_OPEN, &mut attr) }?;
    // SAFETY: the command answers a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Runs a tracepoint's program once, in the calling thread, with one argument.
pub(crate) fn run_traced(program: BorrowedFd<'_>, argument: u64) -> io::Result<()> {
    let mut attr = TestRun {
        program: program.as_raw_fd(),
        context: (&raw const argument).expose_provenance() as u64,
        context_size: u32::try_from(size_of::<u64>()).map_err(io::Error::other)?,
        ..TestRun::default()
    };
    // SAFETY: the command reads `attr`, laid out as it asks, and `context_size` bytes of the argument, which lives until
    // the call is over; it writes what it found out into `attr`.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut attr) }.map(drop)
}

/// Replaces the program behind a link, at once: no call meets neither or both.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr =
        LinkUpdate { link: link.as_raw_fd(), program: program.as_raw_fd(), flags: 0, old_program: 0 };
    // SAFETY: the command reads `attr`, which is laid out as it asks.
    unsafe { bpf(BPF_LINK_UPDATE, &mut attr) }.map(drop)
}

/// What the kernel says of a link on a cgroup.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let size = u32::try_from(size_of::<LinkInfo>()).map_err(io::Error::other)?;
    let mut attr = Info { fd: link.as_raw_fd(), size, info: (&raw mut info).expose_provenance() as u64 };
    // SAFETY: the command reads `attr`, laid out as it asks, writes how much there is into its `size`, and at most as
    // much as `size` said to `info`, which is integers only and lives until the call is over.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info)
}

/// Pins a program, map or link at a path on a BPF file system, where nothing may be yet.
pub(crate) fn pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attr =
        Object { path: name.as_ptr().expose_provenance() as u64, fd: object.as_fd().as_raw_fd(), flags: 0 };
    // SAFETY: the command reads `attr`, laid out as it asks, and the path, which lives until the call is over.
    unsafe { bpf(BPF_OBJ_PIN, &mut attr) }.map(drop)
}

/// Opens what is pinned at a path.
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = Object { path: name.as_ptr().expose_provenance() as u64, fd: 0, flags: 0 };
    // SAFETY: the command reads `attr`, laid out as it asks, and the path, which lives until the call is over.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut attr) }?;
    // SAFETY: the command answers a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Cookie of the network namespace that a socket is in (`SO_NETNS_COOKIE`, Linux 5.14).
pub(crate) fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut size = libc::socklen_t::try_from(size_of::<u64>()).map_err(io::Error::other)?;
    // SAFETY: the option is a `u64`; value and size live until the call is over.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut size,
        )
    };
    if answer == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Switches the loopback device on in the network namespace that a socket is in, where it is off. With the device come
/// its addresses. netdevice(7)
pub(crate) fn raise_loopback(socket: impl AsFd) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: names, integers and pointers that nothing follows, for all of which zero is a value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the command reads the name and writes the flags of `request`, which lives until the call is over.
    if unsafe { libc::ioctl(fd, libc::SIOCGIFFLAGS, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let up = libc::c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    // SAFETY: the flags are what the last command wrote.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    if flags & up != 0 {
        return Ok(());
    }
    request.ifr_ifru.ifru_flags = flags | up;
    // SAFETY: the command reads the name and the flags of `request`, which lives until the call is over.
    if unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// # Safety
/// `T` must be laid out as `command` asks, whatever the command writes into it must be a value of it, and every address
/// in it must be valid for what the command does with it.
unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<RawFd> {
    // SAFETY: `attr` is ours alone until the call is over and its size is given; the rest is the caller's promise.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(answer).map_err(io::Error::other)
}
