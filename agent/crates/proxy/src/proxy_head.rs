//! Heads of HTTP/1.1 messages as they go to and come from a corporate proxy: read once, and told apart.

use std::net::IpAddr;

use model::{HostName, Secret};

/// Headers of one message.
const HEADERS_MAX: usize = 100;

/// What a client asks a proxy for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A tunnel.
    Tunnel(Tunnel),
    /// Something else, with a head that can be read.
    Message,
    /// What is no head of HTTP/1.1, or asks for a tunnel to what is no place: the reason.
    Unreadable(&'static str),
}

/// A request for a tunnel (`CONNECT`, RFC 9110, 9.3.6).
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) to: Place,
    pub(crate) port: u16,
    /// How long the head is.
    pub(crate) bytes: usize,
    /// What the client says of itself to the proxy.
    pub(crate) credentials: Credentials,
}

/// Where a tunnel leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Name(HostName),
    Address(IpAddr),
}

/// What a proxy decides by besides the place: passed on to it, and shown to nobody else.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    authorization: Option<Secret<Vec<u8>>>,
    user_agent: Option<Vec<u8>>,
}

impl Credentials {
    /// A request for a tunnel to a host, in the client's name.
    pub(crate) fn request(&self, host: &HostName, port: u16) -> Secret<Vec<u8>> {
        let mut head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
        let authorization = self.authorization.as_ref().map(|value| value.expose());
        for (name, value) in
            [("Proxy-Authorization", authorization), ("User-Agent", self.user_agent.as_ref())]
        {
            if let Some(value) = value {
                head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
        }
        head.extend(b"\r\n");
        Secret::new(head)
    }
}

impl Asked {
    /// Reads the first bytes of a connection; `None` until the head is whole.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Err(_) => Some(Self::Unreadable("it does not speak HTTP/1.1")),
            Ok(httparse::Status::Partial) => None,
            Ok(httparse::Status::Complete(_)) if request.method != Some("CONNECT") => Some(Self::Message),
            Ok(httparse::Status::Complete(bytes)) => Some(tunnel(&request, bytes)),
        }
    }
}

fn tunnel(request: &httparse::Request<'_, '_>, bytes: usize) -> Asked {
    let Some((to, port)) = request.path.and_then(place) else {
        return Asked::Unreadable("it asks for a tunnel to what is neither a host name nor an address");
    };
    let value = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value.to_vec())
    };
    let authorization = value("proxy-authorization").map(Secret::new);
    let credentials = Credentials { authorization, user_agent: value("user-agent") };
    Asked::Tunnel(Tunnel { to, port, bytes, credentials })
}

/// A host and a port, as in `CONNECT`. A proxy reads more spellings of an address than these; they are not taken.
pub(crate) fn place(authority: &str) -> Option<(Place, u16)> {
    let (host, port) = authority.rsplit_once(':')?;
    Some((Place::read(host)?, port.parse().ok()?))
}

impl Place {
    /// A host as it stands in an authority: a name, an IPv4 address, or an IPv6 address in brackets.
    pub(crate) fn read(host: &str) -> Option<Self> {
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(inner) = bracketed {
            return Some(Self::Address(IpAddr::V6(inner.parse().ok()?).to_canonical()));
        }
        if let Ok(ip) = host.parse() {
            return Some(Self::Address(IpAddr::V4(ip)));
        }
        HostName::parse(host).ok().map(Self::Name)
    }
}

/// The head of a proxy's answer to a request for a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// How long the head is.
    pub(crate) bytes: usize,
    /// How long the body is, where the head says so.
    pub(crate) body_bytes: Option<u64>,
}

impl Answered {
    /// Reads the first bytes of an answer; `None` until the head is whole, an error if there is none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Result<Self, httparse::Error>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let bytes = match response.parse(bytes) {
            Ok(httparse::Status::Partial) => return None,
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Err(error) => return Some(Err(error)),
        };
        let header = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| header.value)
        };
        let length = header("content-length").filter(|_| header("transfer-encoding").is_none());
        let body_bytes = length.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
        Some(Ok(Self { status: response.code.unwrap_or_default(), bytes, body_bytes }))
    }

    /// Whether the tunnel is there. Such an answer has no body, whatever its head says.
    pub(crate) fn is_tunnel(self) -> bool {
        (200..300).contains(&self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Place {
        Place::Name(HostName::parse(text).unwrap())
    }

    #[test]
    fn a_tunnel_is_read_once_its_head_is_whole_and_no_further() {
        let head = b"CONNECT ACME.snowflakecomputing.com:443 HTTP/1.1\r\nHost: x\r\nproxy-authorization: Basic c2VjcmV0\r\n\r\n";
        for length in 0..head.len() {
            assert!(Asked::read(&head[..length]).is_none(), "{length}");
        }
        let more = [head.as_slice(), b"\x16\x03\x01"].concat();
        let Some(Asked::Tunnel(tunnel)) = Asked::read(&more) else { panic!("no tunnel") };
        assert_eq!((&tunnel.to, tunnel.port), (&name("acme.snowflakecomputing.com"), 443));
        assert_eq!(tunnel.bytes, head.len());
        assert!(!format!("{tunnel:?}").contains("c2VjcmV0"), "{tunnel:?}");
        let other = HostName::parse("other.snowflakecomputing.com").unwrap();
        let expected = "CONNECT other.snowflakecomputing.com:8443 HTTP/1.1\r\nHost: other.snowflakecomputing.com:8443\r\n\
                        Proxy-Authorization: Basic c2VjcmV0\r\n\r\n";
        assert_eq!(tunnel.credentials.request(&other, 8443).expose(), expected.as_bytes());
    }

    #[test]
    fn a_place_is_a_name_or_an_address_in_its_usual_spelling() {
        assert_eq!(place("203.0.113.10:443"), Some((Place::Address([203, 0, 113, 10].into()), 443)));
        assert_eq!(place("[::ffff:203.0.113.10]:443"), Some((Place::Address([203, 0, 113, 10].into()), 443)));
        assert_eq!(place("www.example.org.:22"), Some((name("www.example.org"), 22)));
        for odd in [
            "3405803786:443",
            "0xcb00710a:443",
            "203.0.28938:443",
            "acme.snowflakecomputing.com",
            "a b:443",
            "user@www.example.org:443",
            "acme%2esnowflakecomputing.com:443",
            "2001:db8::10:443",
            ":443",
            "x:https",
        ] {
            assert_eq!(place(odd), None, "{odd}");
            let head = format!("CONNECT {odd} HTTP/1.1\r\n\r\n");
            assert!(matches!(Asked::read(head.as_bytes()), Some(Asked::Unreadable(_))), "{odd}");
        }
    }

    #[test]
    fn other_requests_are_messages_and_other_protocols_are_unreadable() {
        for message in ["GET http://www.example.org/ HTTP/1.1\r\n\r\n", "POST / HTTP/1.0\r\n\r\n"] {
            assert!(matches!(Asked::read(message.as_bytes()), Some(Asked::Message)), "{message}");
        }
        for other in [
            b"\x16\x03\x01\x02\x00\x01".as_slice(),
            b"\x05\x01\x00",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            assert!(matches!(Asked::read(other), Some(Asked::Unreadable(_))), "{other:?}");
        }
    }

    #[test]
    fn an_answer_says_whether_there_is_a_tunnel_and_how_long_its_body_is() {
        let read = |text: &str| Answered::read(text.as_bytes());
        assert_eq!(read("HTTP/1.1 200 Connection esta"), None);
        let tunnel = read("HTTP/1.0 200 Connection established\r\n\r\n\x16").unwrap().unwrap();
        assert!(tunnel.is_tunnel() && tunnel.body_bytes.is_none() && tunnel.bytes == 39);
        let refused = read("HTTP/1.1 407 No\r\nContent-Length: 12\r\n\r\n").unwrap().unwrap();
        assert_eq!((refused.status, refused.body_bytes, refused.is_tunnel()), (407, Some(12), false));
        let chunked = "HTTP/1.1 502 No\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(read(chunked).unwrap().unwrap().body_bytes, None);
        assert!(read("\x15\x03\x03\x00").unwrap().is_err());
    }
}
