//! `sock_diag(7)`: the TCP connections of the network namespace that the calling thread is in, and how to end one.
//!
//! Two requests and two kinds of answers, written out: what there is of crates for this has no request to destroy and
//! does not read the cgroup of a socket.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
        sockopt::ReceiveTimeout,
    },
    time::TimeVal,
};

/// `linux/netlink.h`
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const HEADER_BYTES: usize = 16;

/// `linux/sock_diag.h`
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;

/// `linux/inet_diag.h`: the answer's fixed part, and the attribute that names the cgroup (Linux 5.9).
const ID_AT: usize = 4;
const ID_BYTES: usize = 48;
const UID_AT: usize = 64;
const INODE_AT: usize = 68;
const ANSWER_BYTES: usize = 72;
const INET_DIAG_CGROUP_ID: u16 = 21;
/// Every state, as a bit, of a connection that still carries something: all but those that only wait for their end, have
/// none, or are not whole yet. `net/tcp_states.h`
const STATES: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

/// The kernel writes at most half of this at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// It answers at once or not at all.
const ANSWER_SECONDS_MAX: i64 = 5;

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) uid: u32,
    /// Number of the socket, as its descriptors show it; never 0, which stands for a socket that nobody holds any more.
    pub(crate) inode: u32,
    pub(crate) cgroup_id: Option<u64>,
    family: u8,
    /// Ends, device and cookie, as the kernel wants to have them back.
    id: [u8; ID_BYTES],
}

/// A socket to ask the kernel through. It asks about the namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Diagnosis {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkSockDiag,
        )?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(ANSWER_SECONDS_MAX, 0))?;
        Ok(Self { socket, buffer: vec![0; BUFFER_BYTES] })
    }

    /// The connections to remote addresses of which `is_meant` says so.
    pub(crate) fn connections(&mut self, is_meant: impl Fn(IpAddr) -> bool) -> io::Result<Vec<Found>> {
        let mut all = Vec::new();
        for family in [AF_INET, AF_INET6] {
            self.ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family, &[0; ID_BYTES])?;
            while !self.answers(|answer| {
                all.extend(parse(answer).filter(|found| found.inode != 0 && is_meant(found.remote.ip())));
            })? {}
        }
        Ok(all)
    }

    /// Ends a connection: whoever waits on it gets `ECONNABORTED`.
    pub(crate) fn destroy(&mut self, found: &Found) -> io::Result<()> {
        self.ask(SOCK_DESTROY, NLM_F_ACK, found.family, &found.id)?;
        while !self.answers(|_| {})? {}
        Ok(())
    }

    fn ask(&self, kind: u16, flags: u16, family: u8, id: &[u8; ID_BYTES]) -> io::Result<()> {
        let mut request = Vec::with_capacity(HEADER_BYTES + 8 + ID_BYTES);
        let length = u32::try_from(request.capacity()).map_err(io::Error::other)?;
        request.extend(length.to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        // Sequence number and port: one question is asked at a time, and the kernel fills in the other.
        request.extend([0; 8]);
        request.extend([family, IPPROTO_TCP, 0, 0]);
        request.extend(STATES.to_ne_bytes());
        request.extend(id);
        let sent = send(self.socket.as_raw_fd(), &request, MsgFlags::empty())?;
        if sent == request.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reads once. Answers whether that was the end.
    fn answers(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        let length = recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
        let mut rest = self.buffer.get(..length).unwrap_or_default();
        while let Some((kind, body, behind)) = message(rest) {
            match kind {
                NLMSG_DONE => return Ok(true),
                NLMSG_ERROR => {
                    return match field(body, 0).map(i32::from_ne_bytes) {
                        Some(0) => Ok(true),
                        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                        None => Err(io::ErrorKind::UnexpectedEof.into()),
                    };
                }
                _ => each(body),
            }
            rest = behind;
        }
        Ok(false)
    }
}

/// The first message: its kind, what is in it, and what is behind it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(field(bytes, 0)?)).ok()?;
    let body = bytes.get(HEADER_BYTES..length)?;
    let behind = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16::from_ne_bytes(field(bytes, 4)?), body, behind))
}

/// An answer about one socket, `struct inet_diag_msg` and its attributes. `None` for one that is not understood.
fn parse(answer: &[u8]) -> Option<Found> {
    let [family] = field(answer, 0)?;
    let id: [u8; ID_BYTES] = field(answer, ID_AT)?;
    let port = |at| field(&id, at).map(u16::from_be_bytes);
    let address = |at| -> Option<IpAddr> {
        match family {
            AF_INET => Some(IpAddr::from(field::<4>(&id, at)?)),
            AF_INET6 => Some(Ipv6Addr::from(field::<16>(&id, at)?).to_canonical()),
            _ => None,
        }
    };
    let mut attributes = answer.get(ANSWER_BYTES..)?;
    let mut cgroup_id = None;
    while let Some((kind, value, behind)) = attribute(attributes) {
        if kind == INET_DIAG_CGROUP_ID {
            cgroup_id = field(value, 0).map(u64::from_ne_bytes);
        }
        attributes = behind;
    }
    Some(Found {
        local: SocketAddr::new(address(4)?, port(0)?),
        remote: SocketAddr::new(address(20)?, port(2)?),
        uid: u32::from_ne_bytes(field(answer, UID_AT)?),
        inode: u32::from_ne_bytes(field(answer, INODE_AT)?),
        cgroup_id,
        family,
        id,
    })
}

/// The first attribute: its kind, its value, and what is behind it.
fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(field(bytes, 0)?));
    let value = bytes.get(4..length)?;
    let behind = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16::from_ne_bytes(field(bytes, 2)?), value, behind))
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_found_by_its_peer_with_owner_inode_and_cgroup() {
        for loopback in ["127.0.0.1", "::1"] {
            let listener = TcpListener::bind((loopback, 0)).unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let found = Diagnosis::open().unwrap().connections(|ip| ip.is_loopback()).unwrap();
            let ours = found.iter().find(|found| found.remote == listener.local_addr().unwrap()).unwrap();
            assert_eq!(ours.local, stream.local_addr().unwrap());
            assert_eq!(ours.uid, nix::unistd::getuid().as_raw());
            let link = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap();
            assert_eq!(link.to_str().unwrap(), format!("socket:[{}]", ours.inode));
            assert!(ours.cgroup_id.is_some_and(|id| id > 0), "{ours:?}");
        }
    }

    #[test]
    fn answers_that_end_too_early_are_not_understood() {
        let whole = [0u8; ANSWER_BYTES].map(|_| AF_INET);
        assert!(parse(&whole).is_some());
        for length in 0..ANSWER_BYTES {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        // An attribute that says it is longer than it is, or shorter than its own header.
        for length in [0u16, 3, 40] {
            let answer = [&whole[..], &length.to_ne_bytes(), &[21, 0, 1, 2, 3, 4]].concat();
            assert_eq!(parse(&answer).unwrap().cgroup_id, None);
        }
        assert_eq!(message(&[255; 8]), None);
        assert_eq!(message(&[0; 15]), None);
    }
}
