//! `socket(2)`: packet sockets are refused, because what they send passes no guard. Its link is pinned, as those on the
//! cgroup are: it holds while no agent runs.
//!
//! Raw IP sockets are not refused. The egress guard sees what they send, and host tools want them: `iptables`, `ping`,
//! routing daemons. The same goes for SCTP and DCCP, and SMC falls back to TCP.

use agent_common::Outcome;
use aya_ebpf::{helpers::generated::bpf_get_current_ancestor_cgroup_id, macros::lsm, programs::LsmContext};

use super::{GO_ON, is_covered, refuse, setting};
use crate::{fields::At, maps::SERVICES};

/// `AF_PACKET` and `AF_XDP`, address_families(7).
const AF_PACKET: i32 = 17;
const AF_XDP: i32 = 44;
/// How deep `system.slice` lies, and what is directly below it.
const SLICE_LEVEL: i32 = 1;
const SERVICE_LEVEL: u32 = 2;

/// `(int family, int type, int protocol, int kern)`
#[lsm(hook = "socket_create")]
pub(crate) fn packet_socket(ctx: LsmContext) -> i32 {
    let (family, is_kernels): (i32, i32) = (ctx.arg(0), ctx.arg(3));
    if (family != AF_PACKET && family != AF_XDP) || is_kernels != 0 || !is_covered() || is_network_service() {
        return GO_ON;
    }
    refuse(&ctx, Outcome::PacketSocketRefused)
}

/// Whether the task belongs to a service of the host's that gets it its addresses: by the name of its cgroup below
/// `system.slice`, where only the host's root can make one.
#[inline(always)]
fn is_network_service() -> bool {
    let slice = setting!(services);
    // SAFETY: a number.
    if slice == 0 || unsafe { bpf_get_current_ancestor_cgroup_id(SLICE_LEVEL) } != slice {
        return false;
    }
    service().is_some_and(|name| SERVICES.get_ptr(&name).is_some())
}

#[inline(always)]
fn service() -> Option<agent_common::ServiceName> {
    let cgroup =
        At::task().follow(setting!(offsets.task_cgroups))?.follow(setting!(offsets.css_set_cgroup))?;
    if cgroup.read::<u32>(setting!(offsets.cgroup_level))? < SERVICE_LEVEL {
        return None;
    }
    let place = setting!(offsets.cgroup_ancestors).wrapping_add(SERVICE_LEVEL * size_of::<usize>() as u32);
    let node = cgroup.follow(place)?.follow(setting!(offsets.cgroup_node))?;
    node.follow(setting!(offsets.node_name))?.text()
}
