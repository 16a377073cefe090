//! How far the guard reaches: to the addresses that are known, or to everything that could be Snowflake's.

use agent_common::Address;
use aya_ebpf::Global;

/// HTTPS, which is all that Snowflake speaks to its clients.
const HTTPS: u16 = 443;

/// 1 in the strict scope. The agent sets it before loading; it is read-only from then on, so
/// the verifier removes the branch not taken, and an agent with another scope brings programs of its own.
#[unsafe(no_mangle)]
static IS_STRICT: Global<u32> = Global::new(0);

/// Whether the operator chose the strict scope.
#[inline(always)]
pub(crate) fn is_strict() -> bool {
    IS_STRICT.load() != 0
}

/// Whether `port` (host byte order) of `address` is for the agent to look at, although nobody has said that it is
/// guarded.
#[inline(always)]
pub(crate) fn is_unknown(address: &Address, port: u16) -> bool {
    is_strict() && port == HTTPS && address.is_elsewhere()
}
