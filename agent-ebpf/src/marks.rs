//! Which sockets are the agent's own, and which addresses are guarded.

use core::ptr;

use agent_common::{Address, Mark, Ports};
use aya_ebpf::{bindings::bpf_sock, helpers::generated::bpf_sk_storage_get};

use crate::maps::{GUARDED, MARKS};

/// What is guarded of `address`, if anything is. Most of what a host says, it says to itself, and that is not looked up.
#[inline(always)]
pub(crate) fn guarded(address: &Address) -> Option<Ports> {
    if address.is_this_hosts() {
        return None;
    }
    // SAFETY: the value is copied at once; the agent replaces entries whole.
    unsafe { GUARDED.get(address) }.copied()
}

/// Whether `port` (host byte order) of `address` is guarded.
#[inline(always)]
pub(crate) fn is_guarded(address: &Address, port: u16) -> bool {
    guarded(address).is_some_and(|ports| ports.contains(port))
}

/// Whether `socket` carries `mark`.
///
/// # Safety
/// `socket` is null, or a full socket that the kernel handed to this program.
#[inline(always)]
pub(crate) unsafe fn has(socket: *mut bpf_sock, mark: Mark) -> bool {
    if socket.is_null() {
        return false;
    }
    // SAFETY: the map is a socket storage of `Mark`, the socket is valid (above), and without the flag to create,
    // nothing is written.
    let found = unsafe {
        bpf_sk_storage_get(ptr::addr_of!(MARKS).cast_mut().cast(), socket.cast(), ptr::null_mut(), 0)
    };
    // SAFETY: not null means a `Mark` in the storage of a socket that outlives this run.
    !found.is_null() && unsafe { found.cast::<Mark>().read() } == mark
}
