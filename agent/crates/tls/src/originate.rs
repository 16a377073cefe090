//! The client's side: the handshake with Snowflake, whose certificate is really verified. There is no switch to turn that
//! off. What is trusted is the host's own store and the files the operator names, but never our own root, which `trust
//! install` has put into that store: whoever held its key could otherwise stand in for Snowflake.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::HostName;
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{ask::server_name, place::Place, terminate::ALPN};

/// How long the handshake with an upstream host may take.
pub(crate) const HANDSHAKE_SECONDS_MAX: u64 = 10;
/// A bundle of all public roots is a quarter of a megabyte.
const ROOTS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Makes verified TLS connections. Clones share trust and resumable sessions.
#[derive(Debug, Clone)]
pub struct Originator {
    config: Arc<ClientConfig>,
    /// For asking whose a server is: every application protocol will do, and nothing is resumed.
    asking: Arc<ClientConfig>,
}

/// Why there is no verified connection, or no trust to make one with.
#[derive(Debug, thiserror::Error)]
pub enum OriginateError {
    /// A file of extra roots cannot be read.
    #[error("cannot read the extra roots in {path}: {reason}")]
    RootFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nobody to trust.
    #[error("the system's certificate store is empty; install the package ca-certificates")]
    NoRoots,
    /// The TLS library refused its settings.
    #[error("cannot set up TLS: {0}")]
    Setup(rustls::Error),
    /// The server did not answer in time.
    #[error("{0} did not finish the TLS handshake within {HANDSHAKE_SECONDS_MAX} s")]
    Deadline(String),
    /// The name cannot stand in a certificate.
    #[error("{0} cannot be asked for in a TLS handshake")]
    Name(String),
    /// The server is not who it should be.
    #[error("the certificate of {name} is not to be trusted: {reason}")]
    Certificate {
        /// Who was asked for.
        name: String,
        /// What is wrong with it.
        reason: CertificateError,
    },
    /// The two sides have nothing in common, or the server broke the protocol.
    #[error("TLS handshake with {name} failed: {source}")]
    Handshake {
        /// Who was asked for.
        name: String,
        /// What went wrong.
        source: rustls::Error,
    },
    /// The connection broke.
    #[error("the connection to {name} broke during its TLS handshake: {source}")]
    Io {
        /// Who was asked for.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Originator {
    /// Trusts the system's store (`SSL_CERT_FILE` and `SSL_CERT_DIR` of this process are honoured) and the certificates
    /// in the PEM files `extra_roots`, but no root with the key of `own_root`.
    ///
    /// # Errors
    /// When an extra file cannot be read or holds no certificate, or nothing is trusted at all.
    pub fn new(
        extra_roots: &[PathBuf],
        own_root: Option<&CertificateDer<'_>>,
    ) -> Result<Self, OriginateError> {
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::warn!(%error, "part of the system's certificate store was not read");
        }
        Self::trusting(native.certs, extra_roots, own_root)
    }

    fn trusting(
        native: Vec<CertificateDer<'static>>,
        extra_roots: &[PathBuf],
        own_root: Option<&CertificateDer<'_>>,
    ) -> Result<Self, OriginateError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(native);
        for path in extra_roots {
            add_file(&mut roots, path)?;
        }
        if let Some(own) = own_root {
            let mut ours = RootCertStore::empty();
            ours.add(own.clone().into_owned()).map_err(OriginateError::Setup)?;
            // By key, so that an older certificate of the same authority is not trusted either.
            roots.roots.retain(|root| {
                !ours.roots.iter().any(|our| our.subject_public_key_info == root.subject_public_key_info)
            });
        }
        if roots.is_empty() {
            return Err(OriginateError::NoRoots);
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(OriginateError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut asking = config.clone();
        asking.resumption = Resumption::disabled();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { config: Arc::new(config), asking: Arc::new(asking) })
    }

    /// Speaks TLS as a client over `io` and returns once `name`'s certificate has been verified.
    ///
    /// # Errors
    /// When it could not be, or the server is too slow; see [`OriginateError`].
    pub async fn handshake<S>(&self, io: S, name: &HostName) -> Result<TlsStream<S>, OriginateError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        connect(&self.config, io, server_name(name)?).await
    }

    /// As [`handshake`](Self::handshake), for finding out whose a server is.
    pub(crate) async fn connect<S>(
        &self,
        io: S,
        name: ServerName<'static>,
    ) -> Result<TlsStream<S>, OriginateError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        connect(&self.asking, io, name).await
    }

    /// The settings, for a client that makes its own connections.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

async fn connect<S>(
    config: &Arc<ClientConfig>,
    io: S,
    server_name: ServerName<'static>,
) -> Result<TlsStream<S>, OriginateError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = server_name.to_str().into_owned();
    let connect = TlsConnector::from(Arc::clone(config)).connect(server_name, io);
    match timeout(Duration::from_secs(HANDSHAKE_SECONDS_MAX), connect).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(name, error)),
        Err(_) => Err(OriginateError::Deadline(name)),
    }
}

fn failed(name: String, error: io::Error) -> OriginateError {
    match error.downcast::<rustls::Error>() {
        Ok(rustls::Error::InvalidCertificate(reason)) => OriginateError::Certificate { name, reason },
        Ok(source) => OriginateError::Handshake { name, source },
        Err(source) => OriginateError::Io { name, source },
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), OriginateError> {
    let wrong = |reason: String| OriginateError::RootFile { path: path.to_owned(), reason };
    // The operator's own file may well be a link; what it leads to is what was meant.
    let real = path.canonicalize().map_err(|e| wrong(e.to_string()))?;
    let content = Place::open(&real)
        .and_then(|place| place.read(ROOTS_BYTES_MAX))
        .map_err(|e| wrong(e.to_string()))?
        .ok_or_else(|| wrong("it is gone".to_owned()))?;
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(&content.bytes) {
        let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
        roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
    }
    if roots.len() == before {
        return Err(wrong("there is no PEM certificate in it".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
