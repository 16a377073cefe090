//! Messages of a session that the agent opens for itself, with what a job presented at its own login.
//!
//! In such a session the agent asks Snowflake what tables and views are. The job's session is not used for that: each
//! question would become its last statement, and would be seen in its list of statements by the job itself.
//!
//! The login names no driver, as the agent is none. It is called `Snowfence` where an application names itself
//! (`CLIENT_ENVIRONMENT`), and its statements carry a tag, so that Snowflake's own history tells whose they are.

use model::{Ident, Secret};
use uuid::Uuid;

use crate::{
    credential::CredentialKind,
    error::{DecodeError, RequestError},
    json::{self, Object},
    login::LoginRequest,
    names::SessionNames,
};

/// What the agent calls itself at login.
pub const APPLICATION: &str = "Snowfence";

/// What its statements are tagged with (`QUERY_TAG`).
pub const QUERY_TAG: &str = "snowfence: what tables and views are";

/// How long Snowflake may take for a statement that belongs to no session.
const API_WAIT_SECONDS: u32 = 10;

/// The keys of `data` that say who logs in, and as what. Everything else is about the driver.
const COPIED: [&str; 8] = [
    "ACCOUNT_NAME",
    "AUTHENTICATOR",
    "LOGIN_NAME",
    "OAUTH_TYPE",
    "PASSWORD",
    "PROVIDER",
    "SECONDARY_ROLES",
    "TOKEN",
];

/// Makes a login of the agent's own from a job's: the same credential, none of the job's parameters. `body` is the plain
/// body that `login` was read from.
///
/// `None` where what was presented is good for one login, or asks a person for something.
///
/// # Errors
/// When it is not the body of a login.
pub fn login(login: &LoginRequest, body: &[u8]) -> Result<Option<Secret<String>>, RequestError> {
    if !login.credential.can_be_repeated() {
        return Ok(None);
    }
    let body = Object::parse(json::utf8(body)?)?;
    let data = body.object("data")?.ok_or(DecodeError::Missing { key: "data" })?;
    // The Go driver tells there which of its OAuth flows a token comes from.
    let environment = data.object("CLIENT_ENVIRONMENT")?;
    let flow = environment.as_ref().and_then(|environment| environment.raw("OAUTH_TYPE"));
    let copied: Vec<(&str, &str)> =
        COPIED.into_iter().filter_map(|key| data.raw(key).map(|raw| (key, raw))).collect();
    let bytes: usize = copied.iter().map(|(key, raw)| key.len() + raw.len() + 4).sum();
    // Large enough at once: a text that grows leaves copies of what was in it behind.
    let mut written = String::with_capacity(bytes + flow.map_or(0, str::len) + 256);
    written.push_str("{\"data\":{");
    for (key, raw) in copied {
        for part in ["\"", key, "\":", raw, ","] {
            written.push_str(part);
        }
    }
    for part in ["\"CLIENT_ENVIRONMENT\":{\"APPLICATION\":\"", APPLICATION, "\""] {
        written.push_str(part);
    }
    if let Some(flow) = flow {
        for part in [",\"OAUTH_TYPE\":", flow] {
            written.push_str(part);
        }
    }
    for part in ["},\"SESSION_PARAMETERS\":{\"QUERY_TAG\":\"", QUERY_TAG, "\"}}}"] {
        written.push_str(part);
    }
    Ok(Some(Secret::new(written)))
}

impl CredentialKind {
    /// Whether what was presented opens a second session by itself, for as long as it is good at all.
    #[must_use]
    pub fn can_be_repeated(self) -> bool {
        match self {
            Self::Password
            | Self::ProgrammaticToken
            | Self::KeyPair
            | Self::OAuth
            | Self::WorkloadIdentity => true,
            Self::PasswordMfa
            | Self::BrowserSso
            | Self::CachedSso
            | Self::OktaSaml
            | Self::ServiceToken
            | Self::Unrecognized => false,
        }
    }
}

/// Where such a login is sent. The session begins with the names that are given, as the job's own did.
#[must_use]
pub fn login_target(names: &SessionNames, request: Uuid) -> String {
    let named = [("databaseName", &names.database), ("schemaName", &names.schema), ("roleName", &names.role)];
    let named = named.into_iter().filter_map(|(key, name)| Some((key, name.as_ref()?)));
    let named: String = named.map(|(key, name)| format!("&{key}={}", escaped(&quoted(name)))).collect();
    format!("/session/v1/login-request?requestId={request}{named}")
}

/// Where a statement is sent.
#[must_use]
pub fn statement_target(request: Uuid) -> String {
    format!("/queries/v1/query-request?requestId={request}")
}

/// The body of a statement.
#[must_use]
pub fn statement(text: &str, sequence: u64) -> Vec<u8> {
    let text = serde_json::Value::from(text);
    format!("{{\"sqlText\":{text},\"asyncExec\":false,\"sequenceId\":{sequence}}}").into_bytes()
}

/// The header in which a request of the SQL API says what its token is.
pub const API_TOKEN_TYPE: &str = crate::sql_api::TOKEN_TYPE;

/// Where a statement is sent that belongs to no session.
#[must_use]
pub fn api_target(request: Uuid) -> String {
    format!("/api/v2/statements?requestId={request}&nullable=true")
}

/// The body of such a statement, under these names; what is left out is the user's own. The SQL API takes names in a body
/// as they are stored. Source: Snowflake documentation, "Snowflake SQL API reference".
#[must_use]
pub fn api_statement(text: &str, names: &SessionNames) -> Vec<u8> {
    let mut body = serde_json::json!({
        "statement": text, "timeout": API_WAIT_SECONDS, "parameters": { "QUERY_TAG": QUERY_TAG },
    });
    let named = [("database", &names.database), ("schema", &names.schema), ("role", &names.role)];
    for (key, name) in named {
        if let (Some(name), Some(body)) = (name, body.as_object_mut()) {
            body.insert(key.to_owned(), name.as_str().into());
        }
    }
    body.to_string().into_bytes()
}

/// Where new tokens are asked for, with the master token.
#[must_use]
pub fn renewal_target(request: Uuid) -> String {
    format!("/session/token-request?requestId={request}")
}

/// The body of a wish for new tokens in place of `old`.
#[must_use]
pub fn renewal(old: &Secret<String>) -> Secret<String> {
    // A token is made of characters that JSON takes as they are; one that is not would not be taken for this one.
    let plain = old.expose().chars().all(|c| !c.is_control() && c != '"' && c != '\\');
    let old = if plain { old.expose().as_str() } else { "" };
    let mut written = String::with_capacity(old.len() + 64);
    for part in ["{\"oldSessionToken\":\"", old, "\",\"requestType\":\"RENEW\"}"] {
        written.push_str(part);
    }
    Secret::new(written)
}

/// Where the end of a session is told.
#[must_use]
pub fn end_target(request: Uuid) -> String {
    format!("/session?delete=true&requestId={request}")
}

/// A name in double quotes, as it is written in SQL.
#[must_use]
pub fn quoted(name: &Ident) -> String {
    format!("\"{}\"", name.as_str().replace('"', "\"\""))
}

/// A text as the value of a parameter in an address.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;
    use crate::{QueryRequest, RenewRequest, credential::tests::jwt};

    fn in_role(role: &str) -> SessionNames {
        SessionNames { role: Some(Ident::exact(role)), ..SessionNames::default() }
    }

    fn own(body: &str) -> Option<Secret<String>> {
        let uri = Uri::from_static("/session/v1/login-request");
        login(&LoginRequest::decode(&uri, body.as_bytes()).unwrap(), body.as_bytes()).unwrap()
    }

    #[test]
    fn the_agents_login_presents_the_same_and_says_that_it_is_the_agents() {
        let body = r#"{"data":{"CLIENT_APP_ID":"Go","CLIENT_APP_VERSION":"2.1","ACCOUNT_NAME":"acme","LOGIN_NAME":"etl \"x\"",
            "PASSWORD":"hunter2\u00e9","SESSION_PARAMETERS":{"QUERY_TAG":"theirs","TIMEZONE":"UTC"},
            "CLIENT_ENVIRONMENT":{"APPLICATION":"dbt","OS":"linux"},"SECONDARY_ROLES":"ALL"}}"#;
        let written = own(body).unwrap();
        let uri: Uri = login_target(&in_role("My \"R\""), Uuid::nil()).parse().unwrap();
        let read = LoginRequest::decode(&uri, written.expose().as_bytes()).unwrap();
        let theirs = LoginRequest::decode(&uri, body.as_bytes()).unwrap();
        assert_eq!((&read.user, read.credential), (&theirs.user, theirs.credential));
        assert_eq!(read.account, theirs.account);
        assert_eq!(read.names.role, Some(Ident::exact("My \"R\"")));
        assert_eq!((read.client_app, read.client_version), (None, None));
        assert_eq!(read.session_parameters.names().collect::<Vec<_>>(), ["QUERY_TAG"]);
        assert_eq!(read.session_parameters.get("QUERY_TAG"), Some(QUERY_TAG));
        let written = written.expose();
        assert!(
            written.contains(r#""PASSWORD":"hunter2\u00e9""#)
                && written.contains(r#""SECONDARY_ROLES":"ALL""#)
        );
        assert!(
            written.contains(r#""CLIENT_ENVIRONMENT":{"APPLICATION":"Snowfence"}"#)
                && !written.contains("dbt")
        );
    }

    #[test]
    fn what_is_good_for_one_login_is_not_presented_again() {
        let key_pair = jwt(r#"{"iss":"ACME.BOT.SHA256:x","sub":"ACME.BOT"}"#);
        for (data, again) in [
            (r#""LOGIN_NAME":"u","PASSWORD":"p""#.to_owned(), true),
            (format!(r#""AUTHENTICATOR":"SNOWFLAKE_JWT","TOKEN":"{key_pair}""#), true),
            (r#""AUTHENTICATOR":"PROGRAMMATIC_ACCESS_TOKEN","TOKEN":"t""#.to_owned(), true),
            (r#""AUTHENTICATOR":"OAUTH","TOKEN":"t""#.to_owned(), true),
            (r#""AUTHENTICATOR":"WORKLOAD_IDENTITY","PROVIDER":"AWS","TOKEN":"t""#.to_owned(), true),
            (r#""LOGIN_NAME":"u","PASSWORD":"p","PASSCODE":"1""#.to_owned(), false),
            (r#""AUTHENTICATOR":"USERNAME_PASSWORD_MFA","PASSWORD":"p""#.to_owned(), false),
            (r#""AUTHENTICATOR":"EXTERNALBROWSER","TOKEN":"t","PROOF_KEY":"k""#.to_owned(), false),
            (r#""RAW_SAML_RESPONSE":"x""#.to_owned(), false),
            (r#""AUTHENTICATOR":"ID_TOKEN","TOKEN":"t""#.to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(own(&format!(r#"{{"data":{{{data}}}}}"#)).is_some(), again, "{data}");
        }
        let flow = r#"{"data":{"TOKEN":"t","CLIENT_ENVIRONMENT":{"OAUTH_TYPE":"OAUTH_CLIENT_CREDENTIALS"}}}"#;
        assert!(own(flow).unwrap().expose().contains(r#""OAUTH_TYPE":"OAUTH_CLIENT_CREDENTIALS"}"#));
    }

    #[test]
    fn the_other_messages_are_what_a_driver_would_send() {
        let read = QueryRequest::decode(&statement("describe table \"A\".\"b'\n\"", 7)).unwrap();
        assert_eq!(read.text.as_str(), "describe table \"A\".\"b'\n\"");
        let old = Secret::new("ver:3-hint:1-ab/+=".to_owned());
        let read = RenewRequest::decode(renewal(&old).expose().as_bytes()).unwrap();
        assert_eq!(read.old_token.expose(), old.expose());
        let odd = renewal(&Secret::new("a\",\"requestType\":\"CLONE".to_owned()));
        assert_eq!(RenewRequest::decode(odd.expose().as_bytes()).unwrap().old_token.expose(), "");
        for (method, target, expected) in [
            (http::Method::POST, statement_target(Uuid::nil()), "Query"),
            (http::Method::POST, renewal_target(Uuid::nil()), "Renew"),
            (http::Method::POST, end_target(Uuid::nil()), "Close"),
            (http::Method::POST, login_target(&SessionNames::default(), Uuid::nil()), "Login"),
        ] {
            let exchange = crate::classify(&method, &target.parse().unwrap());
            assert!(format!("{exchange:?}").starts_with(expected), "{target}: {exchange:?}");
        }
    }

    #[test]
    fn a_statement_of_no_session_brings_its_names() {
        let read = |names: &SessionNames| {
            let body = api_statement("describe table \"A\"", names);
            crate::sql_api::Submission::decode(&api_target(Uuid::nil()).parse().unwrap(), &body).unwrap()
        };
        let names = SessionNames {
            database: Some(Ident::exact("D")),
            schema: Some(Ident::exact("my schema")),
            ..in_role("low")
        };
        let named = read(&names);
        assert_eq!((named.text.as_str(), &named.names), ("describe table \"A\"", &names));
        assert_eq!(read(&SessionNames::default()).names, SessionNames::default());
        assert!(named.is_nullable);
    }

    #[test]
    fn names_are_quoted_whatever_is_in_them() {
        assert_eq!(quoted(&Ident::exact("a\"b.c")), "\"a\"\"b.c\"");
        assert_eq!(escaped("\"A é\"&x"), "%22A%20%C3%A9%22%26x");
    }
}
