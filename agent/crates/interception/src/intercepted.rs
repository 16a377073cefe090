//! A connection that was caught.

use std::net::SocketAddr;

use agent_common::Origin;
use model::{OriginalDst, SocketOwner};
use tokio::net::TcpStream;

use crate::follow;

/// A connection with where it was going and who opened it. Made only by
/// [`accept`](crate::Interception::accept), from what the kernel recorded at the connect.
#[derive(Debug)]
pub struct Intercepted {
    stream: TcpStream,
    origin: Origin,
}

impl Intercepted {
    pub(crate) fn new(stream: TcpStream, origin: Origin) -> Self {
        Self { stream, origin }
    }

    /// The connection, the address that was asked for, and who asked.
    #[must_use]
    pub fn into_parts(self) -> (TcpStream, OriginalDst, SocketOwner) {
        (self.stream, destination(&self.origin), owner(&self.origin))
    }
}

fn destination(origin: &Origin) -> OriginalDst {
    OriginalDst::new(SocketAddr::new(origin.address.into(), origin.port))
}

fn owner(origin: &Origin) -> SocketOwner {
    let comm = origin.comm.split(|&byte| byte == 0).next().unwrap_or_default();
    SocketOwner {
        pid: origin.pid,
        tid: origin.tid,
        uid: origin.uid,
        gid: origin.gid,
        cgroup_id: origin.cgroup_id,
        netns_cookie: origin.netns_cookie,
        socket_cookie: origin.socket_cookie,
        connected_at_ns: origin.connected_at_ns,
        start_ticks: (origin.standing.role != 0).then_some(origin.standing.started),
        standing: follow::standing(&origin.standing, origin.job_ended_at_ns),
        comm: String::from_utf8_lossy(comm).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn origin(address: &str, comm: [u8; agent_common::COMM_BYTES]) -> Origin {
        Origin {
            address: address.parse::<IpAddr>().unwrap().into(),
            netns_cookie: 1,
            socket_cookie: 2,
            cgroup_id: 3,
            connected_at_ns: 4,
            pid: 5,
            tid: 6,
            uid: 7,
            gid: 8,
            comm,
            port: 443,
            padding: [0; 6],
            standing: agent_common::Standing::UNKNOWN,
            job_ended_at_ns: 0,
        }
    }

    #[test]
    fn the_destination_is_what_was_asked_for() {
        for (asked, shown) in [
            ("203.0.113.10", "203.0.113.10:443"),
            ("::ffff:203.0.113.10", "203.0.113.10:443"),
            ("2001:db8::10", "[2001:db8::10]:443"),
        ] {
            assert_eq!(destination(&origin(asked, [0; 16])).to_string(), shown);
        }
    }

    #[test]
    fn a_name_of_a_task_ends_at_its_first_zero_and_may_be_any_bytes() {
        let name = |comm| owner(&origin("::1", comm)).comm;
        assert_eq!(name(*b"python3\0trailing"), "python3");
        assert_eq!(name(*b"no-zero-at-all!!"), "no-zero-at-all!!");
        assert_eq!(name([0; 16]), "");
        assert_eq!(name(*b"\xff\xfe\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "\u{fffd}\u{fffd}");
    }
}
