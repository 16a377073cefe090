//! The name server: A records of the few names that exist, and "no such name" at once for the rest.
//!
//! An unknown name must not be slow. Drivers look up hosts of their own before a handshake, and at least one of them
//! waits seconds when an answer is missing.

use std::io;
use std::time::Duration;

use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, OPCODE, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::addresses;

/// Short, so that a name that moves is seen to move within a test's patience.
const TTL_SECONDS: u32 = 30;
const QUERY_BYTES_MAX: usize = 4096;
const IDLE_MAX: Duration = Duration::from_secs(10);

/// Answers queries over UDP for ever.
pub(super) async fn serve_udp(socket: UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; QUERY_BYTES_MAX];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await?;
        if let Some(reply) = buffer.get(..length).and_then(answer) {
            // A client that has gone is no reason to stop serving the others.
            drop(socket.send_to(&reply, peer).await);
        }
    }
}

/// Answers queries over TCP for ever, each connection on its own.
pub(super) async fn serve_tcp(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(tokio::time::timeout(IDLE_MAX, converse(stream)));
    }
}

async fn converse(mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = usize::from(stream.read_u16().await?);
        let mut query = vec![0; length];
        stream.read_exact(&mut query).await?;
        let Some(reply) = answer(&query) else { return Ok(()) };
        stream.write_u16(u16::try_from(reply.len()).map_err(io::Error::other)?).await?;
        stream.write_all(&reply).await?;
    }
}

/// The reply to one query; `None` for bytes that are no query, which get no answer at all.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let query = Packet::parse(query).ok().filter(|query| !query.has_flags(PacketFlag::RESPONSE))?;
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }

    *reply.rcode_mut() = match query.questions.as_slice() {
        _ if query.opcode() != OPCODE::StandardQuery => RCODE::NotImplemented,
        [question] => {
            let address = addresses::resolve(&question.qname.to_string().to_ascii_lowercase());
            if let (Some(address), QTYPE::TYPE(TYPE::A) | QTYPE::ANY) = (address, question.qtype) {
                let data = RData::A(A::from(address));
                reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL_SECONDS, data));
            }
            reply.questions.push(question.clone());
            if address.is_some() { RCODE::NoError } else { RCODE::NameError }
        }
        _ => RCODE::FormatError,
    };
    reply.build_bytes_vec().ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use simple_dns::{Name, Question};

    use super::*;

    fn ask(name: &str, kind: TYPE) -> (RCODE, Vec<Ipv4Addr>) {
        let mut query = Packet::new_query(7);
        query.questions.push(Question::new(Name::new(name).unwrap(), kind.into(), CLASS::IN.into(), false));
        let reply = answer(&query.build_bytes_vec().unwrap()).unwrap();
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!((reply.id(), reply.questions.len()), (7, 1));
        let addresses = reply.answers.iter().filter_map(|record| match &record.rdata {
            RData::A(a) => Some(Ipv4Addr::from(a.address)),
            _ => None,
        });
        (reply.rcode(), addresses.collect())
    }

    #[test]
    fn known_names_have_addresses_of_version_four_only() {
        let snowflake = vec![Ipv4Addr::new(203, 0, 113, 10)];
        assert_eq!(ask("acme.snowflakecomputing.com", TYPE::A), (RCODE::NoError, snowflake.clone()));
        assert_eq!(ask("ACME.SnowflakeComputing.com", TYPE::A), (RCODE::NoError, snowflake));
        assert_eq!(ask("acme.snowflakecomputing.com", TYPE::AAAA), (RCODE::NoError, vec![]));
        assert_eq!(ask("www.example.org", TYPE::TXT), (RCODE::NoError, vec![]));
    }

    #[test]
    fn unknown_names_do_not_exist_whatever_is_asked_of_them() {
        for kind in [TYPE::A, TYPE::AAAA, TYPE::MX] {
            assert_eq!(ask("nobody.snowflakecomputing.com", kind), (RCODE::NameError, vec![]), "{kind:?}");
        }
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        let reply = Packet::new_reply(1).build_bytes_vec().unwrap();
        for bytes in [b"".as_slice(), b"GET / HTTP/1.1", &reply] {
            assert_eq!(answer(bytes), None);
        }
        let empty = answer(&Packet::new_query(1).build_bytes_vec().unwrap()).unwrap();
        assert_eq!(Packet::parse(&empty).unwrap().rcode(), RCODE::FormatError);
    }
}
