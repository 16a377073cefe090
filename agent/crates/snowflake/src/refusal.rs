//! Answers the agent gives by itself.
//!
//! For drivers they go out with HTTP status 200 and [`CONTENT_TYPE`]: with any other status the sentence is lost, and
//! the Python connector before version 5 repeats the request without end. Every field is there, because each is one
//! that some driver needs: without `sqlState` Node sends the statement a second time, with a code that is no number
//! in a text Python, Go and Rust fail to read the answer. There is never a `getResultUrl`, which is polled for ever.

use model::{QueryId, Timestamp};
use serde::Serialize;

/// The type every answer must be sent with.
pub const CONTENT_TYPE: &str = "application/json";

/// "Insufficient privileges": drivers show it as an ordinary SQL error and do not try again.
const CODE_REFUSED: &str = "003001";
const SQL_STATE_REFUSED: &str = "42501";

/// "Internal error": shown as an SQL error too, and told apart from a refusal.
pub(crate) const CODE_FAILED: &str = "000603";
pub(crate) const SQL_STATE_FAILED: &str = "XX000";

/// "Not allowed to access Snowflake": ends a login after one try in every driver. Its neighbours start a renewal or a
/// new login instead, and the sentence is lost.
const CODE_LOGIN_REFUSED: &str = "390422";

/// A statement, or anything else in a session, is refused. `query_id` is what the client shows and may ask about.
#[must_use]
pub fn statement(message: &str, query_id: QueryId) -> Vec<u8> {
    let query_id = query_id.to_string();
    failure(message, &Origin { code: CODE_REFUSED, sql_state: SQL_STATE_REFUSED, query_id: &query_id })
}

/// A statement was not refused but could not be carried out: Snowflake could not be reached, a record not written.
#[must_use]
pub fn unavailable(message: &str, query_id: QueryId) -> Vec<u8> {
    let query_id = query_id.to_string();
    failure(message, &Origin { code: CODE_FAILED, sql_state: SQL_STATE_FAILED, query_id: &query_id })
}

/// A login is refused.
#[must_use]
pub fn login(message: &str) -> Vec<u8> {
    let data = LoginData {
        next_action: "RETRY_LOGIN",
        pwd_last_set_time: (),
        authn_method: "USERNAME_PASSWORD",
        sign_in_options: Empty {},
        okta_url: (),
        redirect_url: (),
    };
    json(&Reply { data, code: CODE_LOGIN_REFUSED, message, success: false, headers: () })
}

/// A statement of the SQL API is refused. This one is sent with HTTP status 422.
#[must_use]
pub fn sql_api(message: &str, query_id: QueryId, now: Timestamp) -> Vec<u8> {
    let origin = (CODE_REFUSED, SQL_STATE_REFUSED);
    api_failure(message, origin, query_id, now)
}

/// A statement of the SQL API was not refused but could not be carried out. HTTP status 422 as well: it is the one
/// whose body clients read.
#[must_use]
pub fn sql_api_unavailable(message: &str, query_id: QueryId, now: Timestamp) -> Vec<u8> {
    api_failure(message, (CODE_FAILED, SQL_STATE_FAILED), query_id, now)
}

fn api_failure(message: &str, (code, sql_state): (&str, &str), query_id: QueryId, now: Timestamp) -> Vec<u8> {
    let handle = query_id.to_string();
    json(&SqlApi {
        code,
        sql_state,
        message,
        statement_handle: &handle,
        created_on: now.unix_seconds().saturating_mul(1_000),
        statement_status_url: format!("/api/v2/statements/{handle}"),
    })
}

/// What a failed statement's answer says beside its sentence.
pub(crate) struct Origin<'a> {
    pub(crate) code: &'a str,
    pub(crate) sql_state: &'a str,
    pub(crate) query_id: &'a str,
}

pub(crate) fn failure(message: &str, origin: &Origin<'_>) -> Vec<u8> {
    let data = StatementData {
        internal_error: false,
        unredacted_from_secure_object: false,
        error_code: origin.code,
        age: 0,
        sql_state: origin.sql_state,
        query_id: origin.query_id,
        line: -1,
        pos: -1,
        kind: "COMPILATION",
    };
    json(&Reply { data, code: origin.code, message, success: false, headers: () })
}

#[derive(Serialize)]
struct Reply<'a, D> {
    data: D,
    code: &'a str,
    message: &'a str,
    success: bool,
    headers: (),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatementData<'a> {
    internal_error: bool,
    unredacted_from_secure_object: bool,
    error_code: &'a str,
    age: u8,
    sql_state: &'a str,
    query_id: &'a str,
    line: i8,
    pos: i8,
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoginData {
    next_action: &'static str,
    pwd_last_set_time: (),
    authn_method: &'static str,
    sign_in_options: Empty,
    okta_url: (),
    redirect_url: (),
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SqlApi<'a> {
    code: &'a str,
    sql_state: &'a str,
    message: &'a str,
    statement_handle: &'a str,
    created_on: i64,
    statement_status_url: String,
}

/// Structs of texts and numbers always serialize; were one ever not to, an empty body is still no row.
fn json(reply: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(reply).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoginReply, QueryReply};

    fn id() -> QueryId {
        QueryId::parse("01bd42cc-a95c-4499-9444-1481d21ca810").unwrap()
    }

    fn text(body: Vec<u8>) -> String {
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn a_refused_statement_has_every_field_in_the_servers_order() {
        assert_eq!(
            text(statement("no \"drop\"\n", id())),
            r#"{"data":{"internalError":false,"unredactedFromSecureObject":false,"errorCode":"003001","age":0,"sqlState":"42501","queryId":"01bd42cc-a95c-4499-9444-1481d21ca810","line":-1,"pos":-1,"type":"COMPILATION"},"code":"003001","message":"no \"drop\"\n","success":false,"headers":null}"#
        );
    }

    #[test]
    fn a_refused_login_has_every_field_in_the_servers_order() {
        assert_eq!(
            text(login("no")),
            r#"{"data":{"nextAction":"RETRY_LOGIN","pwdLastSetTime":null,"authnMethod":"USERNAME_PASSWORD","signInOptions":{},"oktaUrl":null,"redirectUrl":null},"code":"390422","message":"no","success":false,"headers":null}"#
        );
        let decoded = LoginReply::decode(&login("no")).unwrap();
        assert!(matches!(decoded, LoginReply::Failure { message, .. } if message == "no"));
    }

    #[test]
    fn a_refusal_of_the_sql_api_has_its_own_shape() {
        assert_eq!(
            text(sql_api("no", id(), Timestamp::from_unix_seconds(1_700_000_000))),
            r#"{"code":"003001","sqlState":"42501","message":"no","statementHandle":"01bd42cc-a95c-4499-9444-1481d21ca810","createdOn":1700000000000,"statementStatusUrl":"/api/v2/statements/01bd42cc-a95c-4499-9444-1481d21ca810"}"#
        );
    }

    #[test]
    fn no_answer_makes_a_driver_try_again() {
        for body in [statement("no", id()), unavailable("no", id())] {
            let QueryReply::Failure(failure) = QueryReply::decode(body).unwrap() else {
                panic!("no failure")
            };
            assert!(failure.code.len() == 6 && failure.code.parse::<u32>().is_ok());
            assert!(!failure.is_about_session());
            assert!(!["333333", "333334"].contains(&failure.code.as_str()));
            assert_eq!(failure.query_id, Some(id().to_string()));
            assert!(failure.sql_state.is_some());
            assert!(!text(failure.into_body()).contains("getResultUrl"));
        }
        let renewing = [
            "390104", "390110", "390111", "390112", "390113", "390114", "390115", "390195", "390303",
            "390318",
        ];
        assert!(!renewing.contains(&CODE_LOGIN_REFUSED));
    }
}
