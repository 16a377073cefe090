//! Handshakes over an in-memory pipe with a rustls client, good and bad.

use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion, client::Resumption,
};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::testing::{HOST, authority, name};

fn terminator() -> (tempfile::TempDir, Terminator, CertificateDer<'static>) {
    let (dir, authority) = authority();
    let root = authority.root_der().clone();
    let terminator = Terminator::new(authority, |host| *host != name("not.guarded.example")).unwrap();
    (dir, terminator, root)
}

fn client(
    root: Option<&CertificateDer<'static>>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(root.cloned());
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

type Ends = (io::Result<client::TlsStream<DuplexStream>>, Result<Terminated<DuplexStream>, AcceptError>);

async fn meet(terminator: &Terminator, config: &Arc<ClientConfig>, server: &str) -> Ends {
    let (near, far) = duplex(64 * 1024);
    let server = ServerName::try_from(server.to_owned()).unwrap();
    tokio::join!(TlsConnector::from(Arc::clone(config)).connect(server, far), terminator.accept(near))
}

#[tokio::test]
async fn a_client_that_trusts_the_root_is_answered_and_resumes() {
    let (_dir, terminator, root) = terminator();
    for (version, protocol) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let config = Arc::new(client(Some(&root), &[version]));
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (client, server) = meet(&terminator, &config, HOST).await;
            let (mut server, server_name) = server.unwrap().into_parts();
            assert_eq!(server_name, name(HOST));
            server.write_all(b"hello").await.unwrap();
            server.shutdown().await.unwrap();
            let mut client = client.unwrap();
            let mut said = String::new();
            client.read_to_string(&mut said).await.unwrap();
            let connection = client.get_ref().1;
            assert_eq!(connection.handshake_kind(), Some(expected), "{protocol:?}");
            assert_eq!(connection.protocol_version(), Some(protocol));
            assert_eq!((said.as_str(), connection.alpn_protocol()), ("hello", Some(ALPN)));
        }
    }
}

#[tokio::test]
async fn a_ticket_for_one_name_opens_no_other() {
    let (_dir, terminator, root) = terminator();
    let below = "b.acme.snowflakecomputing.com";
    let store = Resumption::store(Arc::new(OneDrawer::default()));
    let mut config = client(Some(&root), &[&TLS13]);
    config.resumption = store;
    let config = Arc::new(config);
    for (host, expected) in
        [(HOST, HandshakeKind::Full), (HOST, HandshakeKind::Resumed), (below, HandshakeKind::Full)]
    {
        let (client, server) = meet(&terminator, &config, host).await;
        let (mut server, _) = server.unwrap().into_parts();
        server.shutdown().await.unwrap();
        let mut client = client.unwrap();
        client.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(client.get_ref().1.handshake_kind(), Some(expected), "{host}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_guarded_gets_no_byte() {
    let (_dir, terminator, root) = terminator();
    let (near, far) = duplex(64 * 1024);
    let hello = async {
        let server = ServerName::try_from("not.guarded.example").unwrap();
        let config = Arc::new(client(Some(&root), &[&TLS13]));
        let mut connection = rustls::ClientConnection::new(config, server).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        let (mut reading, mut writing) = tokio::io::split(far);
        writing.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        reading.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let (answer, server) = tokio::join!(hello, terminator.accept(near));
    assert!(matches!(server, Err(AcceptError::NotGuarded(host)) if host == name("not.guarded.example")));
    assert!(answer.is_empty());
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let (_dir, terminator, root) = terminator();
    let trusting = client(Some(&root), &[&TLS13, &TLS12]);
    let mut only_h2 = trusting.clone();
    only_h2.alpn_protocols = vec![b"h2".to_vec()];
    let mut nameless = trusting.clone();
    nameless.enable_sni = false;
    type Expected = fn(&AcceptError) -> bool;
    let cases: [(ClientConfig, &str, Expected); 5] = [
        (trusting, "outside.example", |e| {
            matches!(e, AcceptError::Leaf { source: LeafError::NotPermitted(_), .. })
        }),
        (client(None, &[&TLS13]), HOST, |e| {
            matches!(e, AcceptError::Distrusted { alert: AlertDescription::UnknownCA, .. })
        }),
        (client(None, &[&TLS12]), HOST, |e| matches!(e, AcceptError::Distrusted { .. })),
        (only_h2, HOST, |e| matches!(e, AcceptError::Handshake { .. })),
        (nameless, HOST, |e| matches!(e, AcceptError::NoServerName)),
    ];
    for (number, (config, host, expected)) in cases.into_iter().enumerate() {
        let (client, server) = meet(&terminator, &Arc::new(config), host).await;
        let error = server.unwrap_err();
        assert!(client.is_err() && expected(&error), "case {number}: {error}");
    }
}

#[tokio::test]
async fn noise_silence_and_a_hang_up_are_told_apart() {
    let (_dir, terminator, _) = terminator();
    for (bytes, expected) in
        [(b"GET / HTTP/1.1\r\n\r\n".as_slice(), "does not speak TLS"), (b"\x16\x03", "broke"), (b"", "broke")]
    {
        let (near, mut far) = duplex(1024);
        far.write_all(bytes).await.unwrap();
        far.shutdown().await.unwrap();
        let error = terminator.accept(near).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{bytes:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_is_given_up_on() {
    let (_dir, terminator, _) = terminator();
    let (near, _far) = duplex(1024);
    assert!(matches!(terminator.accept(near).await, Err(AcceptError::Deadline)));
}

/// A client's ticket store that forgets which server a ticket came from.
#[derive(Debug, Default)]
struct OneDrawer(std::sync::Mutex<Vec<rustls::client::Tls13ClientSessionValue>>);

impl rustls::client::ClientSessionStore for OneDrawer {
    fn set_kx_hint(&self, _: ServerName<'static>, _: rustls::NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: rustls::client::Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: rustls::client::Tls13ClientSessionValue) {
        self.0.lock().unwrap().push(ticket);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.lock().unwrap().pop()
    }
}
