//! What a client says first: its ClientHello, read without answering it.

use model::HostName;
use rustls::server::Acceptor;

/// Longest ClientHello that is read: one record (RFC 8446, 5.1) with its header. Real ones have two kilobytes at most.
pub const HELLO_BYTES_MAX: usize = 16 * 1024 + 5;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// The beginning of a ClientHello, or nothing yet.
    Incomplete,
    /// A whole one, with the server name in it. Left out, or no host name, it is `None`.
    Named(Option<HostName>),
    /// Something else.
    NotTls,
}

impl Hello {
    /// Reads the first bytes of a connection.
    #[must_use]
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut acceptor = Acceptor::default();
        loop {
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    return Self::Named(hello.server_name().and_then(|name| HostName::parse(name).ok()));
                }
                Ok(None) if bytes.is_empty() => return Self::Incomplete,
                Ok(None) => {}
                Err(_) => return Self::NotTls,
            }
            if acceptor.read_tls(&mut bytes).is_err() {
                return Self::NotTls;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs};
    use rustls_pki_types::ServerName;

    use super::*;

    fn hello(name: &str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_name_is_read_once_the_hello_is_whole_and_not_before() {
        let bytes = hello("ACME.snowflakecomputing.com");
        for length in 0..bytes.len() {
            assert_eq!(Hello::read(&bytes[..length]), Hello::Incomplete, "{length}");
        }
        let name = HostName::parse("acme.snowflakecomputing.com").unwrap();
        assert_eq!(Hello::read(&bytes), Hello::Named(Some(name)));
    }

    #[test]
    fn a_hello_may_come_without_a_name_and_in_many_records() {
        // An address is no name, and no client sends it as one.
        let bytes = hello("203.0.113.10");
        assert_eq!(Hello::read(&bytes), Hello::Named(None));
        let (header, message) = bytes.split_at(5);
        let split: Vec<u8> = message
            .chunks(100)
            .flat_map(|part| {
                let length = u16::try_from(part.len()).unwrap().to_be_bytes();
                [&header[..3], &length, part].concat()
            })
            .collect();
        assert_eq!(Hello::read(&split), Hello::Named(None));
    }

    #[test]
    fn other_protocols_are_told_from_the_beginning() {
        for other in ["SSH-2.0-OpenSSH_9.2\r\n", "GET / HTTP/1.1\r\n\r\n", "\0\0\0\0\0\0\0\0"] {
            assert_eq!(Hello::read(other.as_bytes()), Hello::NotTls, "{other:?}");
        }
    }
}
