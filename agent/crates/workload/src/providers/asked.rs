//! Tokens that a step can ask for: the runner gave it an address and a credential, or there is a socket.

use std::{os::fd::AsFd, path::Path, sync::Arc};

use http::Uri;
use identity::{IssuerFault, NobodyReason, Place, RawToken};
use model::Secret;
use serde::Deserialize;
use serde_json::json;

use super::{Issuer, Issuers, Origin, Sources};
use crate::{
    https::{HttpsClient, Question},
    mount::{JobSocket, MountError},
    request_host,
};

/// The credentials are JWTs of 1 to 2 KiB.
const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;
/// A Unix socket's path has at most 108 bytes, unix(7).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The letters of an id that becomes a part of an address.
const ID_BYTES_MAX: usize = 64;
/// An answer with a token in it.
pub(crate) const ANSWER_BYTES_MAX: usize = RawToken::BYTES_MAX + 1024;

/// All that is needed to ask for a job's token.
#[derive(Debug)]
pub(crate) struct Request {
    /// An address that was checked against the allowed hosts; over a socket only its path counts.
    url: Uri,
    to: To,
    /// Which member of the answer is the token.
    member: Member,
    body: Option<String>,
}

#[derive(Debug)]
enum To {
    Host { scheme: &'static str, credential: Secret<String> },
    Socket(JobSocket),
}

#[derive(Debug, Clone, Copy)]
enum Member {
    Value,
    Token,
}

impl Request {
    /// Asks.
    pub(crate) async fn token(&self, client: &HttpsClient) -> Result<RawToken, NobodyReason> {
        let mut question = Question {
            url: &self.url,
            credential: None,
            body: self.body.clone(),
            bytes_max: ANSWER_BYTES_MAX,
        };
        let answer = match &self.to {
            To::Host { scheme, credential } => {
                question.credential = Some((*scheme, credential));
                client.ask(&question).await
            }
            To::Socket(socket) => client.ask_socket(socket, &question).await,
        };
        let answer = answer.map_err(NobodyReason::NotIssued)?;
        token_in(&answer.body, self.member).ok_or(NobodyReason::NotIssued(IssuerFault::Malformed))?
    }
}

/// The first issuer that the step can ask.
pub(super) fn request(
    issuers: &Issuers,
    sources: &Sources<'_>,
) -> Result<Option<(Arc<Issuer>, Request, Origin)>, NobodyReason> {
    // Two GitHubs have the same variables; the address tells which of them is meant.
    let mut refused = None;
    for issuer in issuers.iter().filter(|issuer| issuer.token.is_none()) {
        let found = match issuer.place() {
            Place::AskedByGet { url, bearer } => by_get(issuer, sources, url, bearer),
            Place::AskedByPost { base, job, credential } => by_post(issuer, sources, base, job, credential),
            Place::AskedBySocket { variable } => by_socket(issuer, sources, variable),
            Place::Variable(_) | Place::File(_) => Ok(None),
        };
        match found {
            Ok(None) => {}
            Ok(Some((request, origin))) => return Ok(Some((Arc::clone(issuer), request, origin))),
            Err(reason) => refused = refused.or(Some(reason)),
        }
    }
    refused.map_or(Ok(None), Err)
}

type Found = Result<Option<(Request, Origin)>, NobodyReason>;

fn by_get(issuer: &Issuer, sources: &Sources<'_>, variable: &'static str, bearer: &str) -> Found {
    let (url, bearer) = match (sources.step.get_filled(variable), sources.step.get_filled(bearer)) {
        (None, None) => return Ok(None),
        (Some(url), Some(bearer)) => (url, bearer),
        (Some(_), None) => return Err(NobodyReason::BadRequestToken),
        (None, Some(_)) => return Err(NobodyReason::ForeignRequestUrl),
    };
    let url = request_host::allowed(url, &issuer.hosts).ok_or(NobodyReason::ForeignRequestUrl)?;
    let origin = Origin::Asked { host: url.host().unwrap_or_default().to_owned(), variable };
    let audience = issuer.expected.audiences.first().map_or("", String::as_str);
    let url = with_audience(&url, audience).ok_or(NobodyReason::ForeignRequestUrl)?;
    let to = To::Host { scheme: "bearer", credential: credential(bearer)? };
    Ok(Some((Request { url, to, member: Member::Value, body: None }, origin)))
}

fn by_post(issuer: &Issuer, sources: &Sources<'_>, base: &'static str, job: &str, credential: &str) -> Found {
    let Some(job) = sources.step.get_filled(job) else { return Ok(None) };
    let shown = sources.step.get_filled(credential).ok_or(NobodyReason::BadRequestToken)?;
    let is_id = job.len() <= ID_BYTES_MAX && job.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let base_url = sources.step.get_filled(base).filter(|_| is_id).ok_or(NobodyReason::ForeignRequestUrl)?;
    let url = format!("{}/jobs/{job}/oidc/tokens", base_url.trim_end_matches('/'));
    let url = request_host::allowed(&url, &issuer.hosts).ok_or(NobodyReason::ForeignRequestUrl)?;
    let origin = Origin::Asked { host: url.host().unwrap_or_default().to_owned(), variable: base };
    let to = To::Host { scheme: "Token", credential: self::credential(shown)? };
    let body = json!({ "audience": issuer.expected.audiences.first() }).to_string();
    Ok(Some((Request { url, to, member: Member::Token, body: Some(body) }, origin)))
}

/// The socket is the job's own as much as its variables are: who answers there proves nothing, and the token has to.
fn by_socket(issuer: &Issuer, sources: &Sources<'_>, variable: &'static str) -> Found {
    let Some(path) = sources.step.get_filled(variable) else { return Ok(None) };
    let is_path = path.starts_with('/') && path.len() <= SOCKET_PATH_BYTES_MAX;
    let process = sources.processes.first().filter(|_| is_path).ok_or(NobodyReason::UnfitPlace)?;
    let root = process.root()?;
    let path = Path::new(path);
    let socket = JobSocket::open(root.as_fd(), path).map_err(|error| match error {
        MountError::Missing => NobodyReason::NotIssued(IssuerFault::Unreachable),
        MountError::Unfit => NobodyReason::UnfitPlace,
    })?;
    let url = Uri::from_static("http://localhost/v1/tokens/oidc");
    let body = json!({ "aud": issuer.expected.audiences.first() }).to_string();
    let request = Request { url, to: To::Socket(socket), member: Member::Token, body: Some(body) };
    Ok(Some((request, Origin::Socket { path: path.to_owned(), variable })))
}

fn credential(text: &str) -> Result<Secret<String>, NobodyReason> {
    if text.len() > CREDENTIAL_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NobodyReason::BadRequestToken);
    }
    Ok(Secret::new(text.to_owned()))
}

/// The address with the audience that the token is to be made for.
fn with_audience(url: &Uri, audience: &str) -> Option<Uri> {
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
fn token_in(answer: &[u8], member: Member) -> Option<Result<RawToken, NobodyReason>> {
    #[derive(Deserialize)]
    struct Answer {
        value: Option<String>,
        token: Option<String>,
    }

    let answer = serde_json::from_slice::<Answer>(answer).ok()?;
    let text = match member {
        Member::Value => answer.value,
        Member::Token => answer.token,
    };
    Some(RawToken::new(text?).map_err(NobodyReason::from))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(token_in(br#"{"value":"a.b.c","count":5}"#, Member::Value).unwrap().is_ok());
        assert!(token_in(br#"{"token":"a.b.c"}"#, Member::Token).unwrap().is_ok());
        assert!(token_in(br#"{"value":"abc"}"#, Member::Value).unwrap().is_err());
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"value":1}"#,
            r#"{"token":"a.b.c"}"#,
            r#"{"value":"a.b.c"}{}"#,
            r#"{"value":"a.b.c","value":"a.b.c"}"#,
        ] {
            assert!(token_in(bad.as_bytes(), Member::Value).is_none(), "{bad}");
        }
    }
}
