//! What kind of credential a login presents, whatever it says about itself.
//!
//! A leaked token is most often a programmatic access token, and drivers send one in more ways than one: as `TOKEN`
//! under its own authenticator, as `PASSWORD` with no authenticator at all, or as an OAuth token. So the value's own
//! shape decides where the authenticator leaves room, and what does not fit counts as the worst.

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use model::Secret;

use crate::{
    error::DecodeError,
    json::{self, Object},
};

/// The kinds of credential Snowflake takes at login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// User name and password.
    Password,
    /// User name and password with a second factor.
    PasswordMfa,
    /// A programmatic access token, in whichever field it came.
    ProgrammaticToken,
    /// A JWT signed with the user's private key.
    KeyPair,
    /// An OAuth access token.
    OAuth,
    /// An attestation of the workload by its platform.
    WorkloadIdentity,
    /// A browser's single sign-on.
    BrowserSso,
    /// A token kept from an earlier single sign-on.
    CachedSso,
    /// A SAML response from Okta.
    OktaSaml,
    /// The token of a container inside Snowflake, and nothing else.
    ServiceToken,
    /// None of these, or several at once.
    Unrecognized,
}

impl CredentialKind {
    /// The word used in rules, records and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::PasswordMfa => "password-mfa",
            Self::ProgrammaticToken => "programmatic-token",
            Self::KeyPair => "key-pair",
            Self::OAuth => "oauth",
            Self::WorkloadIdentity => "workload-identity",
            Self::BrowserSso => "browser-sso",
            Self::CachedSso => "cached-sso",
            Self::OktaSaml => "okta-saml",
            Self::ServiceToken => "service-token",
            Self::Unrecognized => "unrecognized",
        }
    }

    /// Whether what was sent stays usable until somebody revokes it. What is not recognized is taken for that.
    #[must_use]
    pub fn is_static(self) -> bool {
        match self {
            Self::Password | Self::PasswordMfa | Self::ProgrammaticToken | Self::Unrecognized => true,
            Self::KeyPair
            | Self::OAuth
            | Self::WorkloadIdentity
            | Self::BrowserSso
            | Self::CachedSso
            | Self::OktaSaml
            | Self::ServiceToken => false,
        }
    }
}

/// The fields of a login that can hold a credential.
pub(crate) struct Presented {
    authenticator: Option<String>,
    password: Option<Secret<String>>,
    token: Option<Secret<String>>,
    has_saml: bool,
    has_second_factor: bool,
    has_service_token: bool,
}

impl Presented {
    /// Reads them from the login's `data` and from the object around it. Empty counts as absent.
    pub(crate) fn read(body: &Object<'_>, data: &Object<'_>) -> Result<Self, DecodeError> {
        let secret = |key| {
            let text = data.text(key)?.filter(|text| !text.is_empty());
            Ok::<_, DecodeError>(text.map(Secret::new))
        };
        Ok(Self {
            authenticator: data.text("AUTHENTICATOR")?.filter(|text| !text.is_empty()),
            password: secret("PASSWORD")?,
            token: secret("TOKEN")?,
            has_saml: secret("RAW_SAML_RESPONSE")?.is_some(),
            has_second_factor: secret("PASSCODE")?.is_some() || body.raw("inFlightCtx").is_some(),
            has_service_token: secret("SPCS_TOKEN")?.is_some(),
        })
    }

    pub(crate) fn kind(&self) -> CredentialKind {
        let token = self.token.as_ref().map(|token| TokenShape::of(token.expose()));
        // Snowflake tells such a token by itself, so no authenticator makes it anything else.
        if token.as_ref().is_some_and(TokenShape::is_bare) {
            return CredentialKind::ProgrammaticToken;
        }
        let authenticator = self.authenticator.as_deref().unwrap_or("SNOWFLAKE").to_ascii_uppercase();
        match (authenticator.as_str(), &self.password, token, self.has_saml) {
            ("SNOWFLAKE" | "USERNAME_PASSWORD_MFA", Some(password), None, false)
            | ("USERNAME_PASSWORD_MFA", Some(password), Some(TokenShape::Opaque), false) => {
                self.password_kind(password, authenticator == "USERNAME_PASSWORD_MFA")
            }
            ("PROGRAMMATIC_ACCESS_TOKEN", Some(_), None, false)
            | ("PROGRAMMATIC_ACCESS_TOKEN", None, Some(_), false) => CredentialKind::ProgrammaticToken,
            ("SNOWFLAKE_JWT", None, Some(TokenShape::KeyPair { .. }), false) => CredentialKind::KeyPair,
            // The Go driver's own OAuth flows name no authenticator.
            ("OAUTH" | "SNOWFLAKE", None, Some(TokenShape::Opaque | TokenShape::Audience), false) => {
                CredentialKind::OAuth
            }
            ("WORKLOAD_IDENTITY", None, Some(TokenShape::Opaque | TokenShape::Audience), false) => {
                CredentialKind::WorkloadIdentity
            }
            ("EXTERNALBROWSER", None, Some(TokenShape::Opaque), false) => CredentialKind::BrowserSso,
            ("ID_TOKEN", None, Some(TokenShape::Opaque | TokenShape::Audience), false) => {
                CredentialKind::CachedSso
            }
            ("SNOWFLAKE", None, None, true) => CredentialKind::OktaSaml,
            ("SNOWFLAKE", None, None, false) if self.has_service_token => CredentialKind::ServiceToken,
            _ => CredentialKind::Unrecognized,
        }
    }

    fn password_kind(&self, password: &Secret<String>, by_mfa: bool) -> CredentialKind {
        match TokenShape::of(password.expose()) {
            TokenShape::Opaque if by_mfa || self.has_second_factor => CredentialKind::PasswordMfa,
            TokenShape::Opaque => CredentialKind::Password,
            TokenShape::KeyPair { .. } | TokenShape::Audience | TokenShape::Bare => {
                CredentialKind::ProgrammaticToken
            }
        }
    }

    /// The user a key-pair JWT is for. It is not verified here: Snowflake does that, and nobody is logged in unless
    /// it holds.
    pub(crate) fn key_pair_user(&self) -> Option<String> {
        key_pair_user(self.token.as_ref()?.expose())
    }
}

/// The kind of a token that a request carries in its `Authorization` header. `declared` is what the request calls it;
/// where it says nothing, Snowflake tells a key-pair JWT by itself and takes the rest for OAuth (protocol part 3.3).
pub(crate) fn bearer_kind(token: &str, declared: Option<&str>) -> CredentialKind {
    match (declared, TokenShape::of(token)) {
        (_, TokenShape::Bare) | (Some("PROGRAMMATIC_ACCESS_TOKEN"), _) => CredentialKind::ProgrammaticToken,
        (None | Some("KEYPAIR_JWT"), TokenShape::KeyPair { .. }) => CredentialKind::KeyPair,
        (None | Some("OAUTH"), TokenShape::Opaque | TokenShape::Audience) => CredentialKind::OAuth,
        _ => CredentialKind::Unrecognized,
    }
}

/// The user that a key-pair JWT is for, not verified.
pub(crate) fn key_pair_user(token: &str) -> Option<String> {
    match TokenShape::of(token) {
        TokenShape::KeyPair { user } => user,
        TokenShape::Opaque | TokenShape::Audience | TokenShape::Bare => None,
    }
}

/// What can be told from a token's own text, without verifying it.
#[derive(Debug, PartialEq, Eq)]
enum TokenShape {
    /// No JWT.
    Opaque,
    /// A JWT whose issuer is a user's public key.
    KeyPair { user: Option<String> },
    /// A JWT that says for whom it is meant, as identity providers make them.
    Audience,
    /// A JWT that says neither: so programmatic access tokens look.
    Bare,
}

impl TokenShape {
    fn of(token: &str) -> Self {
        let parts: Vec<&str> = token.trim().split('.').collect();
        let [header, payload, _signature] = parts.as_slice() else { return Self::Opaque };
        if !claims(header, |header| header.raw("alg").is_some()).unwrap_or(false) {
            return Self::Opaque;
        }
        claims(payload, |claims| {
            let text = |key| claims.text(key).ok().flatten();
            if text("iss").is_some_and(|issuer| issuer.contains(".SHA256:")) {
                let user = text("sub").and_then(|sub| sub.split_once('.').map(|(_, user)| user.to_owned()));
                return Self::KeyPair { user };
            }
            if claims.raw("aud").is_some_and(|audience| audience.len() > 2) {
                Self::Audience
            } else {
                Self::Bare
            }
        })
        .unwrap_or(Self::Bare)
    }

    fn is_bare(&self) -> bool {
        *self == Self::Bare
    }
}

fn claims<T>(part: &str, read: impl FnOnce(&Object<'_>) -> T) -> Option<T> {
    const ANY_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&URL_SAFE, ANY_PADDING).decode(part).ok()?;
    let object = Object::parse(json::utf8(&bytes).ok()?).ok()?;
    Some(read(&object))
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    pub(crate) fn jwt(payload: &str) -> String {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", part(r#"{"alg":"ES256","kid":"1"}"#), part(payload))
    }

    fn kind(data: &str) -> CredentialKind {
        kind_with(data, "")
    }

    fn kind_with(data: &str, siblings: &str) -> CredentialKind {
        let text = format!("{{\"data\":{{{data}}}{siblings}}}");
        let body = Object::parse(&text).unwrap();
        Presented::read(&body, &body.object("data").unwrap().unwrap()).unwrap().kind()
    }

    #[test]
    fn every_flow_of_every_driver_has_its_kind() {
        let pat = jwt(r#"{"p":"1:2","iss":"SF:1049","exp":1}"#);
        let key = jwt(r#"{"iss":"ACME.BOT.SHA256:abc=","sub":"ACME.BOT","exp":1}"#);
        let idp = jwt(r#"{"iss":"https://idp.example.org","aud":"https://acme.snowflakecomputing.com"}"#);
        let okta = r#""RAW_SAML_RESPONSE":"<saml>""#;
        for (data, expected) in [
            (r#""PASSWORD":"p""#.to_owned(), CredentialKind::Password),
            (r#""PASSWORD":"p","EXT_AUTHN_DUO_METHOD":"push""#.to_owned(), CredentialKind::Password),
            (r#""AUTHENTICATOR":"SNOWFLAKE","PASSWORD":"p""#.to_owned(), CredentialKind::Password),
            (r#""AUTHENTICATOR":"","PASSWORD":"a.b.c","TOKEN":null"#.to_owned(), CredentialKind::Password),
            (r#""PASSWORD":"p","PASSCODE":"123456""#.to_owned(), CredentialKind::PasswordMfa),
            (
                r#""AUTHENTICATOR":"USERNAME_PASSWORD_MFA","PASSWORD":"p""#.to_owned(),
                CredentialKind::PasswordMfa,
            ),
            (
                r#""AUTHENTICATOR":"USERNAME_PASSWORD_MFA","PASSWORD":"p","TOKEN":"cached""#.to_owned(),
                CredentialKind::PasswordMfa,
            ),
            (format!(r#""PASSWORD":"{pat}""#), CredentialKind::ProgrammaticToken),
            (format!(r#""PASSWORD":" {pat}\n""#), CredentialKind::ProgrammaticToken),
            (format!(r#""PASSWORD":"{idp}""#), CredentialKind::ProgrammaticToken),
            (
                format!(r#""AUTHENTICATOR":"USERNAME_PASSWORD_MFA","PASSWORD":"{pat}""#),
                CredentialKind::ProgrammaticToken,
            ),
            (
                r#""AUTHENTICATOR":"PROGRAMMATIC_ACCESS_TOKEN","TOKEN":"opaque""#.to_owned(),
                CredentialKind::ProgrammaticToken,
            ),
            (
                format!(r#""AUTHENTICATOR":"programmatic_access_token","TOKEN":"{pat}""#),
                CredentialKind::ProgrammaticToken,
            ),
            (format!(r#""AUTHENTICATOR":"OAUTH","TOKEN":"{pat}""#), CredentialKind::ProgrammaticToken),
            (
                format!(r#""AUTHENTICATOR":"WORKLOAD_IDENTITY","TOKEN":"{pat}""#),
                CredentialKind::ProgrammaticToken,
            ),
            (format!(r#""TOKEN":"{pat}""#), CredentialKind::ProgrammaticToken),
            (format!(r#""AUTHENTICATOR":"SNOWFLAKE_JWT","TOKEN":"{key}""#), CredentialKind::KeyPair),
            (r#""AUTHENTICATOR":"OAUTH","TOKEN":"ver:1-hint:2-x""#.to_owned(), CredentialKind::OAuth),
            (format!(r#""AUTHENTICATOR":"OAUTH","TOKEN":"{idp}""#), CredentialKind::OAuth),
            (
                r#""TOKEN":"x","CLIENT_ENVIRONMENT":{"OAUTH_TYPE":"OAUTH_CLIENT_CREDENTIALS"}"#.to_owned(),
                CredentialKind::OAuth,
            ),
            (
                format!(r#""AUTHENTICATOR":"WORKLOAD_IDENTITY","PROVIDER":"OIDC","TOKEN":"{idp}""#),
                CredentialKind::WorkloadIdentity,
            ),
            (
                r#""AUTHENTICATOR":"WORKLOAD_IDENTITY","PROVIDER":"AWS","TOKEN":"eyJ1cmwiOiIifQ==""#
                    .to_owned(),
                CredentialKind::WorkloadIdentity,
            ),
            (
                r#""AUTHENTICATOR":"EXTERNALBROWSER","TOKEN":"saml","PROOF_KEY":"k""#.to_owned(),
                CredentialKind::BrowserSso,
            ),
            (r#""AUTHENTICATOR":"ID_TOKEN","TOKEN":"ver:1-x""#.to_owned(), CredentialKind::CachedSso),
            (okta.to_owned(), CredentialKind::OktaSaml),
            (r#""SPCS_TOKEN":"t""#.to_owned(), CredentialKind::ServiceToken),
            (r#""PASSWORD":"p","SPCS_TOKEN":"t""#.to_owned(), CredentialKind::Password),
        ] {
            assert_eq!(kind(&data), expected, "{data}");
        }
        assert_eq!(kind_with(r#""PASSWORD":"p""#, r#","inFlightCtx":"c""#), CredentialKind::PasswordMfa);
    }

    #[test]
    fn what_contradicts_itself_is_not_recognized() {
        let key = jwt(r#"{"iss":"ACME.BOT.SHA256:abc=","sub":"ACME.BOT"}"#);
        for data in [
            String::new(),
            r#""PASSWORD":"""#.to_owned(),
            r#""PASSWORD":"p","TOKEN":"t""#.to_owned(),
            r#""PASSWORD":"p","RAW_SAML_RESPONSE":"s""#.to_owned(),
            r#""AUTHENTICATOR":"OAUTH","PASSWORD":"p""#.to_owned(),
            r#""AUTHENTICATOR":"OAUTH","PASSWORD":"p","TOKEN":"t""#.to_owned(),
            r#""AUTHENTICATOR":"SNOWFLAKE_JWT","TOKEN":"opaque""#.to_owned(),
            format!(r#""AUTHENTICATOR":"OAUTH","TOKEN":"{key}""#),
            format!(r#""TOKEN":"{key}""#),
            r#""AUTHENTICATOR":"WORKLOAD_IDENTITY","PROVIDER":"OIDC""#.to_owned(),
            r#""AUTHENTICATOR":"EXTERNALBROWSER","PASSWORD":"p""#.to_owned(),
            r#""AUTHENTICATOR":"https://acme.okta.com","PASSWORD":"p""#.to_owned(),
            r#""AUTHENTICATOR":"SOMETHING_NEW","TOKEN":"t""#.to_owned(),
        ] {
            assert_eq!(kind(&data), CredentialKind::Unrecognized, "{data}");
            assert!(kind(&data).is_static());
        }
    }

    #[test]
    fn only_what_lives_until_revoked_is_static() {
        use CredentialKind::*;
        for kind in [Password, PasswordMfa, ProgrammaticToken, Unrecognized] {
            assert!(kind.is_static(), "{}", kind.name());
        }
        for kind in [KeyPair, OAuth, WorkloadIdentity, BrowserSso, CachedSso, OktaSaml, ServiceToken] {
            assert!(!kind.is_static(), "{}", kind.name());
        }
    }

    #[test]
    fn the_shape_of_a_token_is_read_without_trusting_it() {
        let broken_payload = format!("{}.{}.x", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), "%%%");
        for (token, shape) in [
            (String::new(), TokenShape::Opaque),
            ("a.b.c".to_owned(), TokenShape::Opaque),
            ("ver:1-hint:2-x".to_owned(), TokenShape::Opaque),
            (jwt("{}") + ".e", TokenShape::Opaque),
            (jwt(r#"{"aud":null}"#), TokenShape::Bare),
            (jwt(r#"{"aud":""}"#), TokenShape::Bare),
            (jwt(r#"{"aud":[]}"#), TokenShape::Bare),
            (jwt(r#"{"aud":["x"]}"#), TokenShape::Audience),
            (jwt("no json"), TokenShape::Bare),
            (jwt(r#"{"iss":1}"#), TokenShape::Bare),
            (broken_payload, TokenShape::Bare),
        ] {
            assert_eq!(TokenShape::of(&token), shape, "{token}");
        }
        let user = TokenShape::of(&jwt(r#"{"iss":"A.B.C.SHA256:x","sub":"A.B.C"}"#));
        assert_eq!(user, TokenShape::KeyPair { user: Some("B.C".to_owned()) });
    }
}
