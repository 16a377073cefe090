//! The answer to a login.

use std::time::Duration;

use model::Secret;

use crate::{
    error::DecodeError,
    json::{self, Object},
    names::SessionNames,
    status::failure_code,
};

/// What Snowflake answered to a login.
#[derive(Debug)]
pub enum LoginReply {
    /// A session.
    Success(LoginSuccess),
    /// No session yet: the driver is asked for a further step.
    Unfinished {
        /// Snowflake's word for the step: `EXT_AUTHN_DUO_ALL`, `PWD_CHANGE`, …
        next_action: Option<String>,
    },
    /// No session.
    Failure {
        /// Snowflake's code, such as `390100`; empty where it gave none.
        code: String,
        /// Its sentence.
        message: String,
    },
}

/// A session that a login opened.
#[derive(Debug)]
pub struct LoginSuccess {
    /// What every request of the session carries.
    pub token: Secret<String>,
    /// What a new session token is asked for with.
    pub master_token: Option<Secret<String>>,
    /// How long the session token is good for.
    pub validity: Option<Duration>,
    /// The names the session begins with.
    pub names: SessionNames,
    /// Whether quoted names are upper-cased like others: the parameter `QUOTED_IDENTIFIERS_IGNORE_CASE`, which an
    /// account or a user may have set.
    pub fold_quoted: bool,
    /// The user, as Snowflake calls him.
    pub user: Option<String>,
    /// Snowflake's number of the session.
    pub server_session_id: Option<u64>,
}

impl LoginReply {
    /// Reads the plain body of an answer to a login.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let reply = Object::parse(json::utf8(body)?)?;
        if !reply.flag("success")?.ok_or(DecodeError::Missing { key: "success" })? {
            let message = reply.text("message")?.unwrap_or_default();
            return Ok(Self::Failure { code: failure_code(&reply)?, message });
        }
        let data = reply.object("data")?.ok_or(DecodeError::Missing { key: "data" })?;
        let secret = |key| {
            let text = data.text(key)?.filter(|text| !text.is_empty());
            Ok::<_, DecodeError>(text.map(Secret::new))
        };
        let Some(token) = secret("token")? else {
            return Ok(Self::Unfinished { next_action: data.text("nextAction")? });
        };
        Ok(Self::Success(LoginSuccess {
            token,
            master_token: secret("masterToken")?,
            validity: data.whole("validityInSeconds")?.map(Duration::from_secs),
            names: match data.object("sessionInfo")? {
                Some(info) => SessionNames::of_login(&info)?,
                None => SessionNames::default(),
            },
            fold_quoted: folds_quoted(&data)?,
            user: data.text("displayUserName")?.filter(|user| !user.is_empty()),
            server_session_id: data.whole("sessionId")?,
        }))
    }
}

/// Reads the one parameter of the session that changes what names mean.
fn folds_quoted(data: &Object<'_>) -> Result<bool, DecodeError> {
    for parameter in data.list("parameters")?.unwrap_or_default() {
        let parameter = Object::parse(parameter.get())?;
        if parameter.text("name")?.as_deref() == Some("QUOTED_IDENTIFIERS_IGNORE_CASE") {
            return Ok(parameter.raw("value").is_some_and(|value| matches!(value, "true" | "\"true\"")));
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use model::Ident;

    use super::*;

    #[test]
    fn a_session_is_read() {
        let body = br#"{"data":{"masterToken":"ver:1-m","token":"ver:1-t","validityInSeconds":3600,
            "masterValidityInSeconds":14400,"displayUserName":"ETL_SVC","sessionId":1172562260498123456,
            "parameters":[{"name":"AUTOCOMMIT","value":true}],"sessionInfo":{"databaseName":"DB","schemaName":"PUBLIC",
            "warehouseName":"WH","roleName":"ANALYST"},"idToken":null},"code":null,"message":null,"success":true}"#;
        let LoginReply::Success(session) = LoginReply::decode(body).unwrap() else { panic!("no session") };
        assert_eq!(session.token.expose(), "ver:1-t");
        assert_eq!(session.master_token.as_ref().unwrap().expose(), "ver:1-m");
        assert_eq!(session.validity, Some(Duration::from_secs(3600)));
        assert_eq!(session.names.role, Some(Ident::exact("ANALYST")));
        assert_eq!(session.user.as_deref(), Some("ETL_SVC"));
        assert_eq!(session.server_session_id, Some(1_172_562_260_498_123_456));
        assert!(!format!("{session:?}").contains("ver:1"));
    }

    #[test]
    fn a_thin_reply_of_an_emulator_is_read() {
        let body = br#"{"data":{"token":"t","sessionInfo":{"databaseName":null}},"success":true}"#;
        let LoginReply::Success(session) = LoginReply::decode(body).unwrap() else { panic!("no session") };
        assert!(session.master_token.is_none() && session.server_session_id.is_none());
        assert_eq!(session.names, SessionNames::default());
    }

    #[test]
    fn what_folds_quoted_names_is_read() {
        for (value, folds) in [("true", true), ("\"true\"", true), ("false", false), ("null", false)] {
            let body = format!(
                r#"{{"data":{{"token":"t","parameters":[{{"name":"AUTOCOMMIT","value":true}},
                {{"name":"QUOTED_IDENTIFIERS_IGNORE_CASE","value":{value}}}]}},"success":true}}"#
            );
            let LoginReply::Success(session) = LoginReply::decode(body.as_bytes()).unwrap() else { panic!() };
            assert_eq!(session.fold_quoted, folds, "{value}");
        }
    }

    #[test]
    fn a_refusal_and_a_further_step_are_told_apart() {
        let refused =
            br#"{"data":null,"code":"390100","message":"Incorrect username or password","success":false}"#;
        let LoginReply::Failure { code, message } = LoginReply::decode(refused).unwrap() else { panic!() };
        assert_eq!((code.as_str(), message.as_str()), ("390100", "Incorrect username or password"));
        let step = br#"{"data":{"nextAction":"EXT_AUTHN_DUO_ALL","token":null},"code":null,"success":true}"#;
        let LoginReply::Unfinished { next_action } = LoginReply::decode(step).unwrap() else { panic!() };
        assert_eq!(next_action.as_deref(), Some("EXT_AUTHN_DUO_ALL"));
    }

    #[test]
    fn other_bodies_are_no_login_reply() {
        for body in [
            &b"<html>"[..],
            b"",
            b"{}",
            b"[]",
            br#"{"success":"true","data":{"token":"t"}}"#,
            br#"{"success":true}"#,
            br#"{"success":true,"data":null}"#,
            br#"{"success":true,"data":{"token":1}}"#,
            br#"{"success":true,"data":{"token":"a","token":"b"}}"#,
            br#"{"success":true,"success":false}"#,
            b"{\"success\":true,\"data\":{\"token\":\"\xff\"}}",
        ] {
            assert!(LoginReply::decode(body).is_err(), "{body:?}");
        }
    }
}
