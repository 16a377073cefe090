//! Fields of the kernel's own structures. A pointer is a number here: the helper that reads it checks it, and a read that
//! fails is no value.

use agent_common::SERVICE_BYTES;
use aya_ebpf::{
    Argument,
    helpers::{bpf_get_current_task, bpf_probe_read_kernel, bpf_probe_read_kernel_str_bytes},
    programs::{LsmContext, RawTracePointContext},
};

/// Where something of the kernel's is.
#[derive(Clone, Copy)]
pub(crate) struct At(usize);

impl At {
    /// A hook's argument that is a pointer.
    #[inline(always)]
    pub(crate) fn argument(ctx: &LsmContext, n: usize) -> Self
    where
        *const u8: Argument,
    {
        Self(ctx.arg::<*const u8>(n) as usize)
    }

    /// A tracepoint's argument that is a pointer.
    #[inline(always)]
    pub(crate) fn traced(ctx: &RawTracePointContext, n: usize) -> Self {
        Self(ctx.arg::<*const u8>(n) as usize)
    }

    /// What a helper answered.
    #[inline(always)]
    pub(crate) fn at(address: usize) -> Self {
        Self(address)
    }

    /// The running task.
    #[inline(always)]
    pub(crate) fn task() -> Self {
        // SAFETY: no arguments.
        Self(unsafe { bpf_get_current_task() } as usize)
    }

    /// A structure that lies inside of this one, or an element behind it.
    #[inline(always)]
    pub(crate) fn inside(self, offset: u32) -> Self {
        Self(self.0.wrapping_add(offset as usize))
    }

    /// The value of a field.
    #[inline(always)]
    pub(crate) fn read<T: Copy>(self, offset: u32) -> Option<T> {
        // SAFETY: the helper checks the address, and every type read here is an integer, for which all bits are values.
        unsafe { bpf_probe_read_kernel(self.inside(offset).0 as *const T) }.ok()
    }

    /// What a field points at.
    #[inline(always)]
    pub(crate) fn follow(self, offset: u32) -> Option<Self> {
        match self.read::<usize>(offset) {
            Some(address) if address != 0 => Some(Self(address)),
            _ => None,
        }
    }

    /// The text that begins here, as far as it fits, zero padded.
    #[inline(always)]
    pub(crate) fn text(self) -> Option<[u8; SERVICE_BYTES]> {
        let mut text = [0; SERVICE_BYTES];
        // SAFETY: the helper checks the address, and writes no more than there is room for.
        unsafe { bpf_probe_read_kernel_str_bytes(self.0 as *const u8, &mut text) }.ok()?;
        Some(text)
    }
}
