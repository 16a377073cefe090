//! From a token to a principal: signature, issuer, audience, times, and whether it is this job's token at all.

use std::time::Duration;

use jsonwebtoken::{Validation, dangerous::insecure_decode_claims, decode, decode_header, errors::ErrorKind};
use model::Timestamp;

use crate::{KeySet, ObservedJob, Principal, Provider, RawToken, claims::Claims, providers};

/// What a token must be to count here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Whose claims it carries.
    pub provider: Provider,
    /// The exact `iss`.
    pub issuer: String,
    /// One of them must be among `aud`.
    pub audiences: Vec<String>,
    /// Claims it must have, each with the values it may have. Claims in claims have names with dots.
    pub claims: Vec<(String, Vec<String>)>,
    /// How far the issuer's clock and ours may differ.
    pub leeway: Duration,
}

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The header is not JSON, has a duplicate member, or names an algorithm that is not known here (`none` is not).
    #[error("its header is not understood")]
    BadHeader,
    /// The header asks for extensions (`crit`, RFC 7515 part 4.1.11), none of which is known here.
    #[error("its header demands an extension that is not known here")]
    CriticalExtension,
    /// Another kind of token (`typ`), such as an access token (RFC 8725 part 3.11).
    #[error("it is not of type JWT")]
    OtherType,
    /// The header names no key.
    #[error("it does not say which key signed it")]
    NoKeyId,
    /// The key is not among those of the issuer; they may have been rotated since they were fetched.
    #[error("the issuer has no key with the id {0:?}")]
    UnknownKey(String),
    /// Signed with another algorithm than the one the key is for.
    #[error("it was not signed with the algorithm its key is for")]
    OtherAlgorithm,
    /// The signature does not fit, or the key is unusable.
    #[error("its signature is not valid")]
    BadSignature,
    /// The claims are not a JSON object, are too many, or one is there twice.
    #[error("its claims are not understood")]
    BadClaims,
    /// A claim of the wrong kind, too long, or with control characters.
    #[error("its claim {0} is malformed")]
    BadClaim(&'static str),
    /// A claim that must be there is not.
    #[error("it has no claim {0}")]
    MissingClaim(&'static str),
    /// Made by somebody else.
    #[error("it was made by another issuer")]
    OtherIssuer,
    /// Made for somebody else.
    #[error("it was made for another audience")]
    OtherAudience,
    /// Its time has passed.
    #[error("it expired at {0}")]
    Expired(Timestamp),
    /// Its time has not come.
    #[error("it is not valid before {0}")]
    NotYetValid(Timestamp),
    /// A claim that the operator asks for is not there, or has another value.
    #[error("its claim {0} is not one that is taken here")]
    OtherClaim(String),
    /// A token of another job than the one that the runner stated.
    #[error("its {0} is not the one of the job that presents it")]
    OtherJob(&'static str),
}

/// Checks a token and makes the principal that it proves.
///
/// `statement` is what the provider's runner stated about the job that presents the token, where it states anything: a
/// token of another job is refused. `now` is the time it is checked at; nothing here reads a clock.
///
/// # Errors
/// The first check that fails. On [`VerifyError::UnknownKey`] the keys may be fetched again, once.
pub fn verify(
    token: &RawToken,
    expected: &Expectation,
    statement: Option<&ObservedJob>,
    keys: &KeySet,
    now: Timestamp,
) -> Result<Principal, VerifyError> {
    let claims = signed_claims(token, expected.provider, keys)?;
    if claims.required("iss")? != expected.issuer {
        return Err(VerifyError::OtherIssuer);
    }
    if !claims.is_for(&expected.audiences)? {
        return Err(VerifyError::OtherAudience);
    }
    let expires = check_times(&claims, expected.leeway, now)?;
    let subject = claims.required("sub")?;
    let job = (expected.provider.description().claims)(&claims)?;
    let shown = claims.shown();
    let is_met = |(name, values): &&(String, Vec<String>)| {
        shown.get(name).is_some_and(|value| values.iter().any(|allowed| allowed == value))
    };
    if let Some((name, _)) = expected.claims.iter().find(|claim| !is_met(claim)) {
        return Err(VerifyError::OtherClaim(name.clone()));
    }
    if let Some(statement) = statement {
        if statement.provider() != expected.provider {
            return Err(VerifyError::OtherJob("provider"));
        }
        if let Some(difference) = providers::disagreement(&job, statement.job()) {
            return Err(VerifyError::OtherJob(difference));
        }
    }
    Ok(Principal::verified(expected.provider, subject, expires, job, shown))
}

/// What a token says of itself before anything of it is believed: good for finding the issuer to ask for its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routing {
    /// Whether it names the issuer.
    pub is_from: bool,
    /// Whether it names one of the audiences.
    pub is_for: bool,
}

/// Reads where a token would belong. Nothing of it is believed: [`verify`] looks at everything again.
#[must_use]
pub fn route(token: &RawToken, expected: &Expectation) -> Routing {
    let claims = insecure_decode_claims::<Claims>(token.expose()).ok();
    let is_from =
        claims.as_ref().is_some_and(|claims| claims.required("iss").as_ref() == Ok(&expected.issuer));
    let is_for = claims.as_ref().is_some_and(|claims| claims.is_for(&expected.audiences) == Ok(true));
    Routing { is_from, is_for }
}

/// The claims, once the signature holds. The JWT library checks the signature and nothing else: its own checks of
/// times read a clock, and its other checks let a claim of the wrong kind pass as absent.
fn signed_claims(token: &RawToken, provider: Provider, keys: &KeySet) -> Result<Claims, VerifyError> {
    let header = decode_header(token.expose()).map_err(|_| VerifyError::BadHeader)?;
    if header.crit.is_some() {
        return Err(VerifyError::CriticalExtension);
    }
    // What a client gets for itself, without a person, is an access token (RFC 9068); CI systems make none.
    let is_access_token = |typ: &str| provider == Provider::Oidc && typ.eq_ignore_ascii_case("at+jwt");
    if !header.typ.is_none_or(|typ| typ.eq_ignore_ascii_case("JWT") || is_access_token(&typ)) {
        return Err(VerifyError::OtherType);
    }
    let kid = header.kid.ok_or(VerifyError::NoKeyId)?;
    let key = keys.get(&kid).ok_or_else(|| VerifyError::UnknownKey(kid.chars().take(64).collect()))?;
    if header.alg != key.algorithm {
        return Err(VerifyError::OtherAlgorithm);
    }
    let mut signature_only = Validation::new(key.algorithm);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_nbf = false;
    signature_only.validate_aud = false;
    match decode::<Claims>(token.expose(), &key.decoding, &signature_only) {
        Ok(data) => Ok(data.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::Json(_) | ErrorKind::Utf8(_) => VerifyError::BadClaims,
            _ => VerifyError::BadSignature,
        }),
    }
}

/// Returns when the token ends. `exp` is the first moment at which it no longer counts (RFC 7519 part 4.1.4).
fn check_times(claims: &Claims, leeway: Duration, now: Timestamp) -> Result<Timestamp, VerifyError> {
    let leeway = i64::try_from(leeway.as_secs()).unwrap_or(i64::MAX);
    let now = now.unix_seconds();
    let expires = claims.seconds("exp")?.ok_or(VerifyError::MissingClaim("exp"))?;
    if now >= expires.saturating_add(leeway) {
        return Err(VerifyError::Expired(Timestamp::from_unix_seconds(expires)));
    }
    for name in ["nbf", "iat"] {
        if let Some(begins) = claims.seconds(name)?
            && now < begins.saturating_sub(leeway)
        {
            return Err(VerifyError::NotYetValid(Timestamp::from_unix_seconds(begins)));
        }
    }
    Ok(Timestamp::from_unix_seconds(expires))
}

#[cfg(test)]
mod tests;
