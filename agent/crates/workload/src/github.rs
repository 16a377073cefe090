//! GitHub Actions: how a step's job asks for a token. Source: GitHub documentation, "OpenID Connect reference":
//! `GET <request url>&audience=<audience>` with the request token as bearer answers `{"value": "<token>"}`.

use http::Uri;
use identity::{NobodyReason, ObservedJob, RawToken};
use model::{HostName, Secret};
use serde::Deserialize;

use crate::environment::{Environment, REQUEST_TOKEN, REQUEST_URL};

/// The address GitHub hands out is about 200 bytes long.
const REQUEST_URL_BYTES_MAX: usize = 4 * 1024;
/// The request token is a JWT of 1 to 2 KiB.
const REQUEST_TOKEN_BYTES_MAX: usize = 16 * 1024;

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

/// What a step said about itself.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It can ask for a token.
    Token(TokenRequest),
    /// It cannot, and its runner stated a job.
    Observed(ObservedJob),
}

/// All that is needed to ask for a job's token.
#[derive(Debug)]
pub(crate) struct TokenRequest {
    /// An address that was checked against the allowed hosts.
    pub(crate) url: Uri,
    /// What the step shows there.
    pub(crate) bearer: Secret<String>,
    /// What the runner stated about the job. A token must agree with it.
    pub(crate) statement: ObservedJob,
}

/// Reads a step's claim from its environment. A step with only half of a token request is refused: it has taken away
/// its own identity, and must not become an observed one by that.
pub(crate) fn claim(environment: &Environment, hosts: &[RequestHost]) -> Result<Claim, NobodyReason> {
    let statement = ObservedJob::github(|name| environment.get(name))?;
    let (url, bearer) = (environment.get_filled(REQUEST_URL), environment.get_filled(REQUEST_TOKEN));
    let (url, bearer) = match (url, bearer) {
        (None, None) => return Ok(Claim::Observed(statement)),
        (Some(url), Some(bearer)) => (url, bearer),
        (Some(_), None) => return Err(NobodyReason::BadRequestToken),
        (None, Some(_)) => return Err(NobodyReason::ForeignRequestUrl),
    };
    let url = request_url(url, hosts).ok_or(NobodyReason::ForeignRequestUrl)?;
    if bearer.len() > REQUEST_TOKEN_BYTES_MAX || !bearer.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NobodyReason::BadRequestToken);
    }
    Ok(Claim::Token(TokenRequest { url, bearer: Secret::new(bearer.to_owned()), statement }))
}

/// The address, if it is https on an allowed host. The job chose it: the agent must not be made to call elsewhere.
fn request_url(text: &str, hosts: &[RequestHost]) -> Option<Uri> {
    if text.len() > REQUEST_URL_BYTES_MAX {
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

/// The address with the audience that the token is to be made for.
pub(crate) fn with_audience(url: &Uri, audience: &str) -> Option<Uri> {
    let before = url.path_and_query()?.as_str();
    let separator = if before.contains('?') { '&' } else { '?' };
    let mut parts = url.clone().into_parts();
    parts.path_and_query =
        Some(format!("{before}{separator}audience={}", percent_encoded(audience)).parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |out, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            out + char::from(byte).encode_utf8(&mut [0; 4])
        }
        _ => out + &format!("%{byte:02X}"),
    })
}

/// The token in an answer; `None` when the answer is not of the documented shape.
pub(crate) fn token_in(answer: &[u8]) -> Option<Result<RawToken, NobodyReason>> {
    #[derive(Deserialize)]
    struct Answer {
        value: String,
    }

    let answer = serde_json::from_slice::<Answer>(answer).ok()?;
    Some(RawToken::new(answer.value).map_err(NobodyReason::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Vec<RequestHost> {
        ["actions.githubusercontent.com", "ghes.acme.example:8443"]
            .map(|host| RequestHost::parse(host).unwrap())
            .into()
    }

    fn claim_of(variables: &[(&str, &str)]) -> Result<Claim, NobodyReason> {
        let mut block = "GITHUB_REPOSITORY=acme/etl\0GITHUB_RUN_ID=4711\0".to_owned();
        for (name, value) in variables {
            block += &format!("{name}={value}\0");
        }
        claim(&Environment::parse(&Secret::new(block.into_bytes())).unwrap(), &hosts())
    }

    #[test]
    fn a_request_goes_to_an_allowed_host_only() {
        for allowed in [
            "https://pipelines.actions.githubusercontent.com/abc/idtoken?api-version=2.0",
            "https://actions.githubusercontent.com/",
            "https://Pipelines.Actions.GitHubUserContent.com:443/x",
            "https://ghes.acme.example:8443/x",
        ] {
            assert!(request_url(allowed, &hosts()).is_some(), "{allowed}");
        }
        let long = format!("https://actions.githubusercontent.com/{}", "x".repeat(REQUEST_URL_BYTES_MAX));
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
            assert_eq!(request_url(foreign, &hosts()), None, "{foreign:.80}");
        }
    }

    #[test]
    fn a_step_asks_for_a_token_is_observed_or_is_refused() {
        let url = (REQUEST_URL, "https://actions.githubusercontent.com/x?a=b");
        let Ok(Claim::Token(request)) = claim_of(&[url, (REQUEST_TOKEN, "t0k")]) else {
            panic!("no request")
        };
        assert_eq!(request.url.to_string(), url.1);
        assert_eq!(request.bearer.expose(), "t0k");
        assert_eq!(request.statement.job().run_id, "4711");
        assert!(matches!(claim_of(&[]), Ok(Claim::Observed(_))));
        assert!(matches!(claim_of(&[(REQUEST_URL, ""), (REQUEST_TOKEN, "")]), Ok(Claim::Observed(_))));

        let long = "x".repeat(REQUEST_TOKEN_BYTES_MAX + 1);
        let refused = [
            (vec![url], NobodyReason::BadRequestToken),
            (vec![(REQUEST_TOKEN, "t")], NobodyReason::ForeignRequestUrl),
            (vec![url, (REQUEST_TOKEN, "a\r\nX: y")], NobodyReason::BadRequestToken),
            (vec![url, (REQUEST_TOKEN, "a b")], NobodyReason::BadRequestToken),
            (vec![url, (REQUEST_TOKEN, &long)], NobodyReason::BadRequestToken),
            (
                vec![(REQUEST_URL, "https://evil.example/"), (REQUEST_TOKEN, "t")],
                NobodyReason::ForeignRequestUrl,
            ),
        ];
        for (variables, expected) in refused {
            assert_eq!(claim_of(&variables).unwrap_err(), expected);
        }
        let nothing = Environment::parse(&Secret::new(Vec::new())).unwrap();
        assert!(matches!(claim(&nothing, &hosts()), Err(NobodyReason::NoStatement(_))));
    }

    #[test]
    fn the_audience_is_added_encoded() {
        let with = |url: &str, audience| with_audience(&url.parse().unwrap(), audience).unwrap().to_string();
        assert_eq!(with("https://h/x?a=b", "snowfence"), "https://h/x?a=b&audience=snowfence");
        assert_eq!(
            with("https://h/x", "https://a b&c=d/é"),
            "https://h/x?audience=https%3A%2F%2Fa%20b%26c%3Dd%2F%C3%A9"
        );
    }

    #[test]
    fn an_answer_holds_a_token_or_is_none() {
        assert!(token_in(br#"{"value":"a.b.c","count":5}"#).unwrap().is_ok());
        assert!(token_in(br#"{"value":"abc"}"#).unwrap().is_err());
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"value":1}"#,
            r#"{"value":"a.b.c"}{}"#,
            r#"{"value":"a.b.c","value":"a.b.c"}"#,
        ] {
            assert!(token_in(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn hosts_are_names_with_an_optional_port() {
        for bad in ["", "https://x", "x:", "x:y", "x:70000", "x/y", "10.0.0.1", "*.x"] {
            assert!(RequestHost::parse(bad).is_err(), "{bad}");
        }
    }
}
