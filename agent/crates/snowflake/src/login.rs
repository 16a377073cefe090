//! A login: `POST /session/v1/login-request`.

use http::Uri;
use model::AccountName;

use crate::{
    credential::{CredentialKind, Presented},
    error::{DecodeError, RequestError, UnknownKeys},
    json::{self, Object},
    names::SessionNames,
    parameters::Parameters,
    query_string::QueryString,
};

/// Bytes of a name in a login. Snowflake's identifiers end at 255 characters.
const NAME_BYTES_MAX: usize = 1_024;

/// Every key that a driver puts beside `data`.
const BODY_KEYS: [&str; 2] = ["data", "inFlightCtx"];

/// Every key that a driver puts into `data`. One that is not here might be a credential of a new kind.
/// Source: the drivers for Python (3 to 5), Go, Node, Java, .NET and C.
const DATA_KEYS: [&str; 22] = [
    "ACCOUNT_NAME",
    "AUTHENTICATOR",
    "BROWSER_MODE_REDIRECT_PORT",
    "CHOSEN_NEW_PASSWORD",
    "CLIENT_APP_ID",
    "CLIENT_APP_VERSION",
    "CLIENT_APP_VERSION_FULL",
    "CLIENT_CAPABILITIES",
    "CLIENT_ENVIRONMENT",
    "EXT_AUTHN_DUO_METHOD",
    "LOGIN_NAME",
    "OAUTH_TYPE",
    "PASSCODE",
    "PASSWORD",
    "PROOF_KEY",
    "PROVIDER",
    "RAW_SAML_RESPONSE",
    "SECONDARY_ROLES",
    "SESSION_PARAMETERS",
    "SPCS_TOKEN",
    "SVN_REVISION",
    "TOKEN",
];

/// What a login asks for. No secret of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRequest {
    /// The account the body names, if it names one. It may differ from the host's.
    pub account: Option<AccountName>,
    /// The user; of a key-pair login without a user name, the one in its token.
    pub user: Option<String>,
    /// What it is logged in with.
    pub credential: CredentialKind,
    /// The names it asks the session to begin with.
    pub names: SessionNames,
    /// The session parameters it sets.
    pub session_parameters: Parameters,
    /// What the driver calls itself. A client can say anything here.
    pub client_app: Option<String>,
    /// The version it states.
    pub client_version: Option<String>,
}

impl LoginRequest {
    /// Reads the address and the plain body of a login.
    ///
    /// # Errors
    /// When either has more than one reading, or holds something that is not known, or the login would change the
    /// password.
    pub fn decode(uri: &Uri, body: &[u8]) -> Result<Self, RequestError> {
        let query = QueryString::parse(uri.query())?;
        let body = Object::parse(json::checked(body)?)?;
        let data = body.object("data")?.ok_or(DecodeError::Missing { key: "data" })?;
        let unknown = UnknownKeys::among(body.keys(), &BODY_KEYS)
            .or_else(|| UnknownKeys::among(data.keys(), &DATA_KEYS));
        if let Some(unknown) = unknown {
            return Err(RequestError::UnknownKeys(unknown));
        }
        if data.raw("CHOSEN_NEW_PASSWORD").is_some() {
            return Err(RequestError::PasswordChange);
        }
        let presented = Presented::read(&body, &data)?;
        Ok(Self {
            account: name(&data, "ACCOUNT_NAME")?.map(|text| AccountName::new(&text)),
            user: name(&data, "LOGIN_NAME")?.or_else(|| presented.key_pair_user()),
            credential: presented.kind(),
            names: SessionNames::asked(&query),
            session_parameters: Parameters::read(&data, "SESSION_PARAMETERS")?,
            client_app: name(&data, "CLIENT_APP_ID")?,
            client_version: name(&data, "CLIENT_APP_VERSION")?,
        })
    }
}

fn name(data: &Object<'_>, key: &'static str) -> Result<Option<String>, DecodeError> {
    match data.text(key)? {
        Some(text) if text.len() > NAME_BYTES_MAX => Err(DecodeError::TooLong { key, max: NAME_BYTES_MAX }),
        text => Ok(text.filter(|text| !text.is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use model::Ident;

    use super::*;
    use crate::credential::tests::jwt;

    fn decode(query: &str, body: &str) -> Result<LoginRequest, RequestError> {
        let uri: Uri = format!("/session/v1/login-request{query}").parse().unwrap();
        LoginRequest::decode(&uri, body.as_bytes())
    }

    const PYTHON_4: &str = r#"{"data":{"CLIENT_APP_ID":"PythonConnector","CLIENT_APP_VERSION":"4.8.1","SVN_REVISION":null,
        "ACCOUNT_NAME":"acme","LOGIN_NAME":"etl_svc","PASSWORD":"hunter2","CLIENT_ENVIRONMENT":{"APPLICATION":"x",
        "TRACING":30,"NETWORK_TIMEOUT":null,"PLATFORM":[],"OS_DETAILS":{"ID":"debian"}},
        "SESSION_PARAMETERS":{"CLIENT_PREFETCH_THREADS":4,"QUERY_TAG":"nightly"}}}"#;

    #[test]
    fn a_python_login_is_read() {
        let login = decode(
            "?request_id=x&databaseName=analytics&schemaName=public&warehouse=CI_WH&roleName=ETL",
            PYTHON_4,
        )
        .unwrap();
        assert_eq!(login.account, Some(AccountName::new("ACME")));
        assert_eq!(login.user.as_deref(), Some("etl_svc"));
        assert_eq!(login.credential, CredentialKind::Password);
        assert_eq!(login.names.database, Some(Ident::exact("ANALYTICS")));
        assert_eq!(login.names.role, Some(Ident::exact("ETL")));
        assert_eq!(login.session_parameters.get("QUERY_TAG"), Some("nightly"));
        assert_eq!(login.client_app.as_deref(), Some("PythonConnector"));
        assert_eq!(login.client_version.as_deref(), Some("4.8.1"));
    }

    #[test]
    fn a_go_key_pair_login_takes_its_user_from_the_token() {
        let token = jwt(r#"{"iss":"ACME.BOT.SHA256:x","sub":"ACME.BOT"}"#);
        let body = format!(r#"{{"data":{{"AUTHENTICATOR":"SNOWFLAKE_JWT","TOKEN":"{token}"}}}}"#);
        let login = decode("", &body).unwrap();
        assert_eq!((login.user.as_deref(), login.credential), (Some("BOT"), CredentialKind::KeyPair));
        assert_eq!(login.account, None);
    }

    #[test]
    fn debug_shows_no_secret() {
        let secrets = r#"{"data":{"PASSWORD":"hunter2","TOKEN":"hunter2","PASSCODE":"hunter2","PROOF_KEY":"hunter2",
            "RAW_SAML_RESPONSE":"hunter2","SPCS_TOKEN":"hunter2","SESSION_PARAMETERS":{"X":"hunter2"}},
            "inFlightCtx":"hunter2"}"#;
        let login = decode("", secrets).unwrap();
        assert!(!format!("{login:?}").contains("hunter2"));
    }

    #[test]
    fn a_login_with_two_readings_is_refused() {
        for (query, body) in [
            ("", r#"{"data":{"PASSWORD":"a","PASSWORD":"b"}}"#),
            ("", r#"{"data":{"PASSWORD":"a"},"data":{"TOKEN":"b"}}"#),
            ("", r#"{"data":{"CLIENT_ENVIRONMENT":{"a":1,"a":2}}}"#),
            ("", r#"{"data":{"PASSWORD":"a"}} "#.trim_end().strip_suffix('}').unwrap()),
            ("", r#"{"data":{"PASSWORD":"a"}}x"#),
            ("", r#"{"data":[]}"#),
            ("", r#"{"data":null}"#),
            ("", r#"{}"#),
            ("", r#"[]"#),
            ("", ""),
            ("", r#"{"data":{"PASSWORD":1}}"#),
            ("", r#"{"data":{"LOGIN_NAME":["a"]}}"#),
            ("", r#"{"data":{"SESSION_PARAMETERS":{"a":1,"A":1}}}"#),
            ("?roleName=a&roleName=b", r#"{"data":{"PASSWORD":"a"}}"#),
            ("?roleName=%ff", r#"{"data":{"PASSWORD":"a"}}"#),
        ] {
            assert!(decode(query, body).is_err(), "{query} {body}");
        }
        let long = format!(r#"{{"data":{{"LOGIN_NAME":"{}"}}}}"#, "x".repeat(NAME_BYTES_MAX + 1));
        let error = RequestError::Decode(DecodeError::TooLong { key: "LOGIN_NAME", max: NAME_BYTES_MAX });
        assert_eq!(decode("", &long), Err(error));
    }

    #[test]
    fn what_might_be_a_new_credential_is_refused_by_name() {
        for body in [
            r#"{"data":{"password":"a"}}"#,
            r#"{"data":{"PASSWORD":"a","KEY":"b"}}"#,
            r#"{"data":{"PASSWORD":"a"},"more":1}"#,
        ] {
            assert!(matches!(decode("", body), Err(RequestError::UnknownKeys(_))), "{body}");
        }
        let change = r#"{"data":{"PASSWORD":"a","CHOSEN_NEW_PASSWORD":"b"}}"#;
        assert_eq!(decode("", change), Err(RequestError::PasswordChange));
    }
}
