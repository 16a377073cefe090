//! Whether an address is Snowflake's, asked of the server that is there. Neither DNS nor a client is believed: a name
//! server can be lied to, and a client writes into its ClientHello what it likes. Who shows a certificate that is valid
//! for a host is that host, whoever named the address.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use interception::Dialer;
use model::HostName;
use tls::{OriginateError, Originator};
use tokio::{sync::Semaphore, time::timeout};

/// Addresses that are asked at one time.
const PLACES: usize = 16;

/// How long a server may take to accept a connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long one address may take, whatever it is asked.
const ASK_WAIT_MAX: Duration = Duration::from_secs(20);

/// Where Snowflake speaks TLS.
const PORT: u16 = 443;

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server proved to be this host.
    Is(HostName),
    /// Somebody answers there, and it is none of the hosts. Says what it showed instead.
    IsNot(String),
    /// Nobody answered, or not to the end. Says why.
    Unknown(String),
}

/// Asks addresses who they are, past the agent's own guard. Clones share the bound on how many are asked at one time.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    dialer: Dialer,
    originator: Arc<Originator>,
    places: Arc<Semaphore>,
}

impl Prober {
    /// By way of `dialer`; `originator` says whose certificates count.
    pub(crate) fn new(dialer: Dialer, originator: Arc<Originator>) -> Self {
        Self { dialer, originator, places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// The same with places of its own: whoever makes the agent ask slow addresses there holds nobody up here.
    pub(crate) fn apart(&self) -> Self {
        Self::new(self.dialer.clone(), self.originator.clone())
    }

    /// Asks the server at `ip` whether it is one of `hosts`, one after the other, until it has proved one. Takes at most
    /// twenty seconds from when it is this question's turn.
    pub(crate) async fn ask(&self, ip: IpAddr, hosts: &[HostName]) -> Verdict {
        let Ok(_place) = self.places.acquire().await else {
            return Verdict::Unknown("the agent is ending".to_owned());
        };
        let asked = timeout(ASK_WAIT_MAX, self.ask_for_each(ip, hosts)).await;
        asked.unwrap_or_else(|_| Verdict::Unknown(format!("no answer within {} s", ASK_WAIT_MAX.as_secs())))
    }

    async fn ask_for_each(&self, ip: IpAddr, hosts: &[HostName]) -> Verdict {
        let mut last = Verdict::Unknown("there is no host to ask for".to_owned());
        for host in hosts {
            last = self.ask_for(ip, host).await;
            if !matches!(last, Verdict::IsNot(_)) {
                // It is the host; or it cannot be reached, which another name would not change.
                return last;
            }
        }
        last
    }

    async fn ask_for(&self, ip: IpAddr, host: &HostName) -> Verdict {
        let stream = match self.dialer.connect(SocketAddr::new(ip, PORT), CONNECT_WAIT_MAX).await {
            Ok(stream) => stream,
            Err(error) => return Verdict::Unknown(format!("no connection to port {PORT}: {error}")),
        };
        match self.originator.handshake(stream, host).await {
            Ok(_proved) => Verdict::Is(host.clone()),
            Err(error) if is_answer(&error) => Verdict::IsNot(error.to_string()),
            Err(error) => Verdict::Unknown(error.to_string()),
        }
    }
}

/// Whether a handshake failed by what the server said, and not by its silence or our own settings.
fn is_answer(error: &OriginateError) -> bool {
    matches!(error, OriginateError::Certificate { .. } | OriginateError::Handshake { .. })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const HOST: &str = "acme.snowflakecomputing.com";

    #[test]
    fn silence_says_nothing_about_who_is_there() {
        let source = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(!is_answer(&OriginateError::Io { name: HOST.to_owned(), source }));
        assert!(!is_answer(&OriginateError::Deadline(HOST.to_owned())));
        assert!(!is_answer(&OriginateError::NoRoots));
    }
}
