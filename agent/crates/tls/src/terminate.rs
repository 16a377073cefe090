//! The server's side: a client that believes it speaks to Snowflake is answered under the name it asked for.
//!
//! The name is read from the ClientHello before a byte is answered. Whether it may be decrypted is for the caller's
//! predicate to say; a name it does not know is dropped as it came.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use model::HostName;
use rustls::{
    AlertDescription, ServerConfig,
    crypto::aws_lc_rs,
    server::{Acceptor, ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{Authority, LeafError};

/// How long a client may take for its whole handshake. It is on this host, so this is for stuck ones.
pub(crate) const HANDSHAKE_SECONDS_MAX: u64 = 10;

/// HTTP/1.1 and nothing else: every driver takes it, also those that would offer HTTP/2.
pub(crate) const ALPN: &[u8] = b"http/1.1";

/// Answers TLS handshakes with leaves of an [`Authority`].
pub struct Terminator {
    authority: Arc<Authority>,
    guarded: Box<dyn Fn(&HostName) -> bool + Send + Sync>,
    /// All of a connection's settings but its certificate. Shared, so that tickets given on one connection are honoured on
    /// the next.
    base: ServerConfig,
}

/// A finished handshake: the plain stream, and the name the client asked for. Made by [`Terminator::accept`] alone.
#[derive(Debug)]
pub struct Terminated<S> {
    stream: TlsStream<S>,
    server_name: HostName,
}

/// Why a handshake did not come about.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The client stopped in the middle.
    #[error("the client did not finish its TLS handshake within {HANDSHAKE_SECONDS_MAX} s")]
    Deadline,
    /// What came is not a ClientHello that can be read.
    #[error("the client does not speak TLS: {0}")]
    NotTls(rustls::Error),
    /// There is no name to answer for.
    #[error("the client named no host in its TLS handshake")]
    NoServerName,
    /// What the client named is not a host name.
    #[error(transparent)]
    BadServerName(#[from] model::HostNameError),
    /// The name is not one to decrypt. Nothing has been answered.
    #[error("{0} is not a guarded host")]
    NotGuarded(HostName),
    /// There is no certificate for the name.
    #[error("no certificate for {name}: {source}")]
    Leaf {
        /// The name asked for.
        name: HostName,
        /// Why.
        source: LeafError,
    },
    /// The client does not trust our root: it has a store of its own that `trust install` did not reach.
    #[error("the client does not trust the certificate for {name} ({alert:?}); see `snowfence trust status`")]
    Distrusted {
        /// The name asked for.
        name: HostName,
        /// What the client said.
        alert: AlertDescription,
    },
    /// The two sides have nothing in common, or the client broke the protocol.
    #[error("TLS handshake for {name} failed: {source}")]
    Handshake {
        /// The name asked for.
        name: HostName,
        /// What went wrong.
        source: rustls::Error,
    },
    /// The connection broke.
    #[error("the client's connection broke during its TLS handshake: {0}")]
    Io(io::Error),
}

impl Terminator {
    /// A terminator for names that `guarded` says yes to.
    ///
    /// # Errors
    /// When the crypto library has no randomness for the ticket keys.
    pub fn new(
        authority: Arc<Authority>,
        guarded: impl Fn(&HostName) -> bool + Send + Sync + 'static,
    ) -> Result<Self, rustls::Error> {
        let mut base = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NoLeaf));
        base.alpn_protocols = vec![ALPN.to_vec()];
        base.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self { authority, guarded: Box::new(guarded), base })
    }

    /// Whether a client that asks for `name` is answered.
    #[must_use]
    pub fn is_guarded(&self, name: &HostName) -> bool {
        (self.guarded)(name)
    }

    /// Reads the client's hello, asks whether the name is guarded, and finishes the handshake under that name.
    ///
    /// # Errors
    /// See [`AcceptError`]. The connection is gone in every case.
    pub async fn accept<S>(&self, io: S) -> Result<Terminated<S>, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        timeout(Duration::from_secs(HANDSHAKE_SECONDS_MAX), self.handshake(io))
            .await
            .unwrap_or(Err(AcceptError::Deadline))
    }

    async fn handshake<S>(&self, io: S) -> Result<Terminated<S>, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), io).await.map_err(|error| {
            match error.downcast::<rustls::Error>() {
                Ok(error) => AcceptError::NotTls(error),
                Err(error) => AcceptError::Io(error),
            }
        })?;
        let server_name =
            HostName::parse(start.client_hello().server_name().ok_or(AcceptError::NoServerName)?)?;
        if !(self.guarded)(&server_name) {
            return Err(AcceptError::NotGuarded(server_name));
        }
        let leaf = self
            .authority
            .leaf(&server_name, SystemTime::now())
            .map_err(|source| AcceptError::Leaf { name: server_name.clone(), source })?;
        let mut config = self.base.clone();
        config.cert_resolver = Arc::new(Leaf(leaf));
        match start.into_stream(Arc::new(config)).await {
            Ok(stream) => Ok(Terminated { stream, server_name }),
            Err(error) => Err(failed(server_name, error)),
        }
    }
}

impl fmt::Debug for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminator").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl<S> Terminated<S> {
    /// The name the client asked for, and for which it was answered.
    #[must_use]
    pub fn server_name(&self) -> &HostName {
        &self.server_name
    }

    /// The plain stream and the name.
    #[must_use]
    pub fn into_parts(self) -> (TlsStream<S>, HostName) {
        (self.stream, self.server_name)
    }
}

fn failed(name: HostName, error: io::Error) -> AcceptError {
    match error.downcast::<rustls::Error>() {
        Ok(rustls::Error::AlertReceived(alert)) if means_distrust(alert) => {
            AcceptError::Distrusted { name, alert }
        }
        Ok(source) => AcceptError::Handshake { name, source },
        Err(error) => AcceptError::Io(error),
    }
}

/// The alerts that clients send about a certificate: OpenSSL `unknown_ca`, Go `bad_certificate`, Java
/// `certificate_unknown` (RFC 8446, 6.2).
fn means_distrust(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
    )
}

/// The one leaf of a connection.
#[derive(Debug)]
struct Leaf(Arc<CertifiedKey>);

impl ResolvesServerCert for Leaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Stands in the shared settings, where no connection's certificate belongs.
#[derive(Debug)]
struct NoLeaf;

impl ResolvesServerCert for NoLeaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod tests;
