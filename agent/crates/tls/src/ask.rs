//! Asking an unknown server for a certificate, to find out whose it is.
//!
//! What a server shows counts only as far as it was verified: a certificate of an issuer that nobody trusts says that
//! the server is not the one it would have to be, and nothing else.

use std::{io, net::IpAddr};

use model::HostName;
use rustls::{AlertDescription, CertificateError};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _, prelude::X509Certificate};

use crate::{OriginateError, Originator};

/// What a server showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A certificate that is to be trusted, and the names it is for, wildcards as they are written.
    Names(Vec<String>),
    /// A certificate of an issuer that is not trusted, or one that cannot be read.
    Untrusted,
    /// It speaks TLS, and has nothing to show for what it was asked.
    Declined(AlertDescription),
    /// It answers, and not in TLS.
    NotTls,
}

impl Originator {
    /// Speaks TLS as a client over `io`, which leads to `address`, asks for `name` or for no name at all, and looks at
    /// the certificate.
    ///
    /// # Errors
    /// When the server showed nothing that says whose it is: it is silent, broke off, or its certificate's time is over
    /// or has not come.
    pub async fn ask<S>(
        &self,
        io: S,
        address: IpAddr,
        name: Option<&HostName>,
    ) -> Result<Shown, OriginateError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // TLS has no way to ask for an address: the name is left out.
        let name = name.map_or(Ok(ServerName::IpAddress(address.into())), server_name)?;
        match self.connect(io, name).await {
            Ok(stream) => Ok(stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map_or(
                // No certificate, as with a key that both sides know: not a server that proves a name.
                Shown::Untrusted,
                |certificate| Shown::Names(names(certificate)),
            )),
            Err(error) => shown(error),
        }
    }
}

/// A host's name, as TLS has it.
pub(crate) fn server_name(host: &HostName) -> Result<ServerName<'static>, OriginateError> {
    ServerName::try_from(host.as_str().to_owned()).map_err(|_| OriginateError::Name(host.to_string()))
}

fn shown(error: OriginateError) -> Result<Shown, OriginateError> {
    use CertificateError as Bad;
    match error {
        OriginateError::Certificate { reason: Bad::NotValidForNameContext { presented, .. }, .. } => {
            Ok(Shown::Names(presented.iter().map(|name| bare(name)).collect()))
        }
        OriginateError::Certificate {
            reason:
                Bad::Expired
                | Bad::ExpiredContext { .. }
                | Bad::NotValidYet
                | Bad::NotValidYetContext { .. }
                | Bad::NotValidForName
                | Bad::ApplicationVerificationFailure,
            ..
        } => Err(error),
        OriginateError::Certificate { .. } => Ok(Shown::Untrusted),
        OriginateError::Handshake { source: rustls::Error::AlertReceived(alert), .. } => {
            Ok(Shown::Declined(alert))
        }
        OriginateError::Handshake { source: rustls::Error::InvalidMessage(_), .. } => Ok(Shown::NotTls),
        // A TLS server that has no version or cipher in common with us.
        OriginateError::Handshake { source: rustls::Error::PeerIncompatible(_), .. } => {
            Ok(Shown::Declined(AlertDescription::ProtocolVersion))
        }
        OriginateError::Io { ref source, .. } if source.kind() == io::ErrorKind::InvalidData => {
            Ok(Shown::NotTls)
        }
        error => Err(error),
    }
}

/// A presented name as the verifier writes it: `DnsName("example.org")`.
fn bare(presented: &str) -> String {
    let inner = presented.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"'));
    inner.map_or(presented, |(name, _)| name).to_owned()
}

/// The names a certificate is for. One that was verified can be parsed.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(alternatives)) = parsed.subject_alternative_name() else { return Vec::new() };
    let names = alternatives.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}
