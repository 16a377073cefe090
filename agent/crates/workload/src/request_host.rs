//! Hosts that a job may have the agent ask for its token. The job says where: the agent must not be made to call
//! elsewhere.

use http::Uri;
use model::HostName;

/// The addresses that providers hand out are about 200 bytes long.
const URL_BYTES_MAX: usize = 4 * 1024;

/// Hosts that a job may name as the place to ask for its token: one name and all below it, at one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHost {
    domain: HostName,
    port: u16,
}

/// Why a text names no hosts to ask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name with an optional port; write it like actions.githubusercontent.com")]
pub struct RequestHostError(String);

impl RequestHost {
    /// Reads `name` or `name:port`; without a port it is 443.
    ///
    /// # Errors
    /// When it is not of that form.
    pub fn parse(text: &str) -> Result<Self, RequestHostError> {
        let error = || RequestHostError(text.chars().take(64).collect());
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port.parse().map_err(|_| error())?),
            None => (text, 443),
        };
        Ok(Self { domain: HostName::parse(name).map_err(|_| error())?, port })
    }

    fn covers(&self, host: &HostName, port: u16) -> bool {
        host.is_within(&self.domain) && port == self.port
    }
}

/// The address, if it is https on one of these hosts.
pub(crate) fn allowed(text: &str, hosts: &[RequestHost]) -> Option<Uri> {
    if text.len() > URL_BYTES_MAX {
        return None;
    }
    let url = text.parse::<Uri>().ok()?;
    let authority = url.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let host = HostName::parse(authority.host()).ok()?;
    let port = match authority.as_str().split_once(':') {
        Some(_) => authority.port_u16()?,
        None => 443,
    };
    let allowed =
        url.scheme_str() == Some("https") && hosts.iter().any(|allowed| allowed.covers(&host, port));
    allowed.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_to_an_allowed_host_only() {
        let hosts = ["actions.githubusercontent.com", "ghes.acme.example:8443"]
            .map(|host| RequestHost::parse(host).unwrap());
        for url in [
            "https://pipelines.actions.githubusercontent.com/abc/idtoken?api-version=2.0",
            "https://actions.githubusercontent.com/",
            "https://Pipelines.Actions.GitHubUserContent.com:443/x",
            "https://ghes.acme.example:8443/x",
        ] {
            assert!(allowed(url, &hosts).is_some(), "{url}");
        }
        let long = format!("https://actions.githubusercontent.com/{}", "x".repeat(URL_BYTES_MAX));
        for foreign in [
            "http://actions.githubusercontent.com/",
            "https://evilactions.githubusercontent.com/",
            "https://actions.githubusercontent.com.evil.example/",
            "https://evil.example/actions.githubusercontent.com",
            "https://actions.githubusercontent.com@evil.example/",
            "https://evil.example\\@actions.githubusercontent.com/",
            "https://x@actions.githubusercontent.com/",
            "https://evil.example#@actions.githubusercontent.com/",
            "https://actions.githubusercontent.com:8443/",
            "https://actions.githubusercontent.com:/",
            "https://actions.githubusercontent.com:99999/",
            "https://ghes.acme.example/",
            "https://169.254.169.254/",
            "https://[::1]/",
            "file:///etc/passwd",
            "/relative",
            "actions.githubusercontent.com",
            "https://",
            &long,
        ] {
            assert_eq!(allowed(foreign, &hosts), None, "{foreign:.80}");
        }
    }

    #[test]
    fn hosts_are_names_with_an_optional_port() {
        for bad in ["", "https://x", "x:", "x:y", "x:70000", "x/y", "10.0.0.1", "*.x"] {
            assert!(RequestHost::parse(bad).is_err(), "{bad}");
        }
    }
}
