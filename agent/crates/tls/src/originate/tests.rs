//! The upstream handshake against servers that are, and are not, who they should be.

use std::{fs, time::SystemTime};

use rustls::{AlertDescription, HandshakeKind, ServerConfig, pki_types::PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    Shown,
    testing::{HOST, authority_in, name},
};

/// A certificate authority of the outside world, and a server for `host` under it.
fn upstream(host: &str, days: (i64, i64)) -> (String, TlsAcceptor) {
    let moment = |days: i64| {
        let day = Duration::from_secs(days.unsigned_abs() * 24 * 60 * 60);
        if days < 0 { SystemTime::now() - day } else { SystemTime::now() + day }
    };
    let mut root = rcgen::CertificateParams::new(vec![]).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = root.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(root, key);
    let mut leaf = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    (leaf.not_before, leaf.not_after) = (moment(days.0).into(), moment(days.1).into());
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], PrivateKeyDer::from(key))
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), ALPN.to_vec()];
    (pem, TlsAcceptor::from(Arc::new(config)))
}

async fn meet(
    originator: &Originator,
    acceptor: &TlsAcceptor,
) -> Result<TlsStream<tokio::io::DuplexStream>, OriginateError> {
    let (near, far) = duplex(64 * 1024);
    let serve = async {
        if let Ok(mut stream) = acceptor.accept(far).await {
            stream.shutdown().await.unwrap();
        }
    };
    let host = name(HOST);
    let (stream, ()) = tokio::join!(originator.handshake(near, &host), serve);
    stream
}

fn trusting(pem: &str) -> Originator {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roots.pem");
    fs::write(&file, pem).unwrap();
    Originator::trusting(vec![], &[file], None).unwrap()
}

#[tokio::test]
async fn a_verified_server_is_spoken_to_and_the_session_resumed() {
    let (pem, acceptor) = upstream(HOST, (-1, 1));
    let originator = trusting(&pem);
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut stream = meet(&originator, &acceptor).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!((connection.handshake_kind(), connection.alpn_protocol()), (Some(expected), Some(ALPN)));
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_verified_is_not_spoken_to() {
    let (pem, _) = upstream(HOST, (-1, 1));
    let unknown = meet(&trusting(&pem), &upstream(HOST, (-1, 1)).1).await;
    assert!(
        matches!(
            unknown,
            Err(OriginateError::Certificate {
                reason: CertificateError::UnknownIssuer | CertificateError::BadSignature,
                ..
            })
        ),
        "{unknown:?}"
    );
    for (host, days, expected) in [
        ("example.org", (-1, 1), "not valid for name"),
        (HOST, (-3, -1), "expired"),
        (HOST, (1, 2), "not valid yet"),
    ] {
        let (pem, acceptor) = upstream(host, days);
        let error = meet(&trusting(&pem), &acceptor).await.unwrap_err();
        assert!(matches!(error, OriginateError::Certificate { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn our_own_root_is_never_trusted_upstream() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority_in(&dir.path().join("ca"));
    let own = authority.root_der().clone();
    let extra = dir.path().join("ca/root.pem");
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Fixed(authority.leaf(&name(HOST), SystemTime::now()).unwrap())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let control = Originator::trusting(vec![own.clone()], &[], None).unwrap();
    meet(&control, &acceptor).await.unwrap();

    let (public, _) = upstream("example.org", (-1, 1));
    let public = CertificateDer::from_pem_slice(public.as_bytes()).unwrap();
    for extra in [vec![], vec![extra.clone()]] {
        let originator = Originator::trusting(vec![own.clone(), public.clone()], &extra, Some(&own)).unwrap();
        let error = meet(&originator, &acceptor).await.unwrap_err();
        assert!(
            matches!(error, OriginateError::Certificate { reason: CertificateError::UnknownIssuer, .. }),
            "{error}"
        );
    }
    let alone = Originator::trusting(vec![own.clone()], &[extra], Some(&own));
    assert!(matches!(alone, Err(OriginateError::NoRoots)));
}

#[test]
fn extra_roots_that_are_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let torn = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for path in [
        file("empty", ""),
        file("text", "hello"),
        file("torn", torn),
        dir.path().join("missing"),
        dir.path().to_owned(),
    ] {
        let result = Originator::trusting(vec![], std::slice::from_ref(&path), None);
        assert!(matches!(result, Err(OriginateError::RootFile { .. })), "{path:?}");
    }
    assert!(matches!(Originator::trusting(vec![], &[], None), Err(OriginateError::NoRoots)));
}

#[test]
fn the_system_store_is_found() {
    let originator = Originator::new(&[], None).unwrap();
    assert_eq!(originator.client_config().alpn_protocols, [ALPN]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_on() {
    let (near, _far) = duplex(1024);
    let error = trusting(&upstream(HOST, (-1, 1)).0).handshake(near, &name(HOST)).await.unwrap_err();
    assert!(matches!(error, OriginateError::Deadline(_)));
}

#[derive(Debug)]
struct Fixed(Arc<rustls::sign::CertifiedKey>);

impl rustls::server::ResolvesServerCert for Fixed {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// What a server at the other end of `serve` shows when it is asked for `asked`.
async fn shown(
    originator: &Originator,
    asked: Option<&str>,
    serve: impl AsyncFnOnce(tokio::io::DuplexStream),
) -> Result<Shown, OriginateError> {
    let (near, far) = duplex(64 * 1024);
    let (address, asked) = ([203, 0, 113, 10].into(), asked.map(name));
    let (shown, ()) = tokio::join!(originator.ask(near, address, asked.as_ref()), serve(far));
    shown
}

#[tokio::test]
async fn a_server_that_is_asked_shows_the_names_of_its_certificate() {
    let (pem, acceptor) = upstream("*.eu.snowflakecomputing.com", (-1, 1));
    let originator = trusting(&pem);
    // For the name that was asked, for another, and for no name at all.
    for asked in [Some("acme.eu.snowflakecomputing.com"), Some("www.example.org"), None] {
        let shown = shown(&originator, asked, async |far| drop(acceptor.accept(far).await)).await.unwrap();
        assert_eq!(shown, Shown::Names(vec!["*.eu.snowflakecomputing.com".to_owned()]), "{asked:?}");
    }
}

#[tokio::test]
async fn a_certificate_whose_time_is_not_now_says_nothing() {
    for days in [(-2, -1), (1, 2)] {
        let (pem, acceptor) = upstream(HOST, days);
        let shown = shown(&trusting(&pem), Some(HOST), async |far| drop(acceptor.accept(far).await)).await;
        assert!(matches!(shown, Err(OriginateError::Certificate { .. })), "{shown:?}");
    }
}

#[tokio::test]
async fn what_a_server_does_not_prove_is_not_taken_for_a_name() {
    let (pem, _) = upstream(HOST, (-1, 1));
    let (_, strange) = upstream(HOST, (-1, 1));
    let originator = trusting(&pem);
    let untrusted =
        shown(&originator, Some(HOST), async |far| drop(strange.accept(far).await)).await.unwrap();
    assert_eq!(untrusted, Shown::Untrusted);
    // An alert: fatal, unrecognized_name (RFC 8446, 6).
    for (says, shows) in [
        (b"\x15\x03\x03\x00\x02\x02\x70".as_slice(), Shown::Declined(AlertDescription::UnrecognisedName)),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Shown::NotTls),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Shown::NotTls),
    ] {
        let shown = shown(&originator, Some(HOST), async |mut far| far.write_all(says).await.unwrap()).await;
        assert_eq!(shown.unwrap(), shows);
    }
    let silent = shown(&originator, Some(HOST), async |far| drop(far)).await;
    assert!(matches!(silent, Err(OriginateError::Io { .. })), "{silent:?}");
}
