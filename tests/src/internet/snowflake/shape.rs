//! The shape of Snowflake's replies: what fakesnow leaves out of them, and the replies it does not have.
//!
//! Nothing here touches rows or their types.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::sessions::{Found, Names, Opened};

/// How values are to be shown. Snowflake sends these at login and with every result, and the driver for Node cannot read
/// some types without them. Source of the values: Snowflake documentation, "Parameters", the defaults.
const OUTPUT_FORMATS: [(&str, &str); 7] = [
    ("BINARY_OUTPUT_FORMAT", "HEX"),
    ("DATE_OUTPUT_FORMAT", "YYYY-MM-DD"),
    ("TIME_OUTPUT_FORMAT", "HH24:MI:SS"),
    ("TIMESTAMP_OUTPUT_FORMAT", "YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM"),
    ("TIMESTAMP_LTZ_OUTPUT_FORMAT", ""),
    ("TIMESTAMP_NTZ_OUTPUT_FORMAT", "YYYY-MM-DD HH24:MI:SS.FF3"),
    ("TIMESTAMP_TZ_OUTPUT_FORMAT", ""),
];

/// A success with nothing but `data`.
pub(super) fn success(data: Value) -> Value {
    json!({ "data": data, "code": null, "message": null, "success": true })
}

/// A failed request, as drivers take it without asking again.
pub(super) fn failure(code: &str, sql_state: &str, message: &str) -> Value {
    let mut reply =
        json!({ "code": code, "data": { "sqlState": sql_state }, "message": message, "success": false });
    complete_failure(&mut reply);
    reply
}

/// fakesnow is gone, or answered something that is not its own protocol.
pub(super) fn engine_failure() -> Value {
    failure("000603", "XX000", "the lab's SQL engine does not answer")
}

/// The reply to the wish to end a statement.
pub(super) fn aborted(was_running: bool) -> Value {
    if was_running {
        return success(Value::Null);
    }
    failure("000605", "57014", "Identified SQL statement is not currently executing.")
}

/// A login that did not succeed.
pub(super) fn login_failure(code: &str, message: &str) -> Value {
    json!({
        "data": { "nextAction": "RETRY_LOGIN", "authnMethod": "USERNAME_PASSWORD", "signInOptions": {} },
        "code": code, "message": message, "success": false, "headers": null,
    })
}

/// A request without a live session. Only the code for an expired token makes a driver renew it.
pub(super) fn session_lost(found: &Found) -> Value {
    let (code, message) = match found {
        Found::Expired => ("390112", "The session token has expired and must be renewed."),
        Found::Unknown | Found::Live(_) => {
            ("390104", "The session token is invalid. A new login is required.")
        }
    };
    json!({ "data": null, "code": code, "message": message, "success": false, "headers": null })
}

/// A renewal without a live master token.
pub(super) fn master_lost(found: &Found) -> Value {
    let (code, message) = match found {
        Found::Expired => ("390114", "The master token has expired. A new login is required."),
        Found::Unknown | Found::Live(_) => {
            ("390115", "The master token is invalid. A new login is required.")
        }
    };
    json!({ "data": null, "code": code, "message": message, "success": false, "headers": null })
}

/// The reply to a renewal.
pub(super) fn renewed(opened: &Opened) -> Value {
    success(json!({
        "sessionToken": opened.session_token,
        "validityInSecondsST": opened.validity.session.as_secs(),
        "masterToken": opened.master_token,
        "validityInSecondsMT": opened.validity.master.as_secs(),
        "sessionId": opened.id,
    }))
}

/// Adds to fakesnow's login reply: our tokens in place of its own, their validity, the session's id and names.
pub(super) fn complete_login(reply: &mut Value, opened: &Opened, names: &Names, user: &str) {
    let data = object(reply, "data");
    set(data, "token", json!(opened.session_token));
    let info = object(data, "sessionInfo");
    set(info, "roleName", json!(names.role));
    set(info, "warehouseName", json!(names.warehouse));
    let missing = json!({
        "masterToken": opened.master_token,
        "validityInSeconds": opened.validity.session.as_secs(),
        "masterValidityInSeconds": opened.validity.master.as_secs(),
        "sessionId": opened.id,
        "displayUserName": user.to_uppercase(),
        "firstLogin": false,
        "healthCheckInterval": 45,
        "newClientForUpgrade": null,
        "remMeToken": null,
        "remMeValidityInSeconds": 0,
        "idToken": null,
        "idTokenValidityInSeconds": 0,
        "mfaToken": null,
        "mfaTokenValidityInSeconds": 0,
        "responseData": null,
    });
    add_missing(data, missing);
    add_output_formats(data);
    complete_envelope(reply);
}

/// Adds to fakesnow's reply to a statement that succeeded: row counts, the names of the session, and how values are shown.
pub(super) fn complete_statement(reply: &mut Value, names: &Names) {
    let missing = json!({
        "returned": reply.pointer("/data/total"),
        "databaseProvider": null,
        "finalDatabaseName": null,
        "finalSchemaName": null,
        "finalRoleName": names.role,
        "finalWarehouseName": names.warehouse,
        "numberOfBinds": 0,
        "arrayBindSupported": false,
        "version": 1,
    });
    let data = object(reply, "data");
    add_missing(data, missing);
    add_output_formats(data);
    complete_envelope(reply);
}

fn add_output_formats(data: &mut Value) {
    add_missing(data, json!({ "parameters": [] }));
    let Some(parameters) = data.get_mut("parameters").and_then(Value::as_array_mut) else { return };
    for (name, value) in OUTPUT_FORMATS {
        if parameters.iter().all(|parameter| text(parameter, "/name") != Some(name)) {
            parameters.push(json!({ "name": name, "value": value }));
        }
    }
}

/// Adds to a failed statement's reply the fields drivers read. fakesnow's messages begin with code and state, which
/// drivers print anyway.
pub(super) fn complete_failure(reply: &mut Value) {
    let code = text(reply, "/code").unwrap_or("000603").to_owned();
    let sql_state = text(reply, "/data/sqlState").unwrap_or("XX000").to_owned();
    let prefix = format!("{code} ({sql_state}): ");
    if let Some(bare) = text(reply, "/message").and_then(|message| message.strip_prefix(&prefix)) {
        let bare = json!(bare);
        set(reply, "message", bare);
    }
    let missing = json!({
        "internalError": false,
        "unredactedFromSecureObject": false,
        "errorCode": code,
        "age": 0,
        "sqlState": sql_state,
        "queryId": Uuid::new_v4().to_string(),
        "line": -1,
        "pos": -1,
        "type": "COMPILATION",
    });
    add_missing(object(reply, "data"), missing);
    set(reply, "code", json!(code));
    add_missing(reply, json!({ "headers": null }));
    complete_envelope(reply);
}

/// Every reply has these four keys.
pub(super) fn complete_envelope(reply: &mut Value) {
    add_missing(reply, json!({ "data": null, "code": null, "message": null, "success": false }));
}

/// The text at a JSON pointer.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer)?.as_str()
}

/// The object under a key of an object; what is no object becomes one.
pub(super) fn object<'v>(value: &'v mut Value, key: &str) -> &'v mut Value {
    let inner = map(value).entry(key).or_insert(Value::Null);
    map(inner);
    inner
}

/// Sets an entry of an object; what is no object becomes one.
pub(super) fn set(value: &mut Value, key: &str, entry: Value) {
    map(value).insert(key.to_owned(), entry);
}

/// Adds the entries of `missing` that `value` does not have.
fn add_missing(value: &mut Value, missing: Value) {
    if let Value::Object(missing) = missing {
        for (key, entry) in missing {
            map(value).entry(key).or_insert(entry);
        }
    }
}

fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::internet::Validity;

    #[test]
    fn a_failure_has_every_field_and_its_message_no_prefix() {
        let mut reply = json!({
            "data": { "errorCode": "002003", "sqlState": "42S02" },
            "code": "002003", "message": "002003 (42S02): Table NOPE does not exist", "success": false,
        });
        complete_failure(&mut reply);
        assert_eq!(reply["message"], "Table NOPE does not exist");
        assert_eq!((&reply["code"], &reply["success"]), (&json!("002003"), &json!(false)));
        for key in ["internalError", "errorCode", "age", "sqlState", "queryId", "line", "pos", "type"] {
            assert!(!reply["data"][key].is_null(), "{key}");
        }
    }

    #[test]
    fn even_an_empty_failure_becomes_one_drivers_can_read() {
        let mut reply = json!({ "data": null });
        complete_failure(&mut reply);
        assert_eq!((&reply["code"], &reply["data"]["sqlState"]), (&json!("000603"), &json!("XX000")));
        assert_eq!(reply["success"], json!(false));
    }

    #[test]
    fn a_login_has_our_token_and_the_names_asked_for() {
        let mut reply = json!({
            "data": {
                "token": "engine's own", "parameters": [],
                "sessionInfo": { "databaseName": "ANALYTICS", "schemaName": "PUBLIC" },
            },
            "success": true,
        });
        let validity = Validity { session: Duration::from_secs(60), master: Duration::from_secs(240) };
        let opened = Opened { id: 7, session_token: "s".to_owned(), master_token: "m".to_owned(), validity };
        let names = Names { role: "ETL".to_owned(), warehouse: Some("CI_WH".to_owned()) };
        complete_login(&mut reply, &opened, &names, "etl_svc");
        let data = &reply["data"];
        assert_eq!(
            (&data["token"], &data["masterToken"], &data["sessionId"]),
            (&json!("s"), &json!("m"), &json!(7))
        );
        assert_eq!(
            data["sessionInfo"],
            json!({
                "databaseName": "ANALYTICS", "schemaName": "PUBLIC", "roleName": "ETL", "warehouseName": "CI_WH",
            })
        );
        assert!(!reply.to_string().contains("engine's own"));
    }

    #[test]
    fn what_fakesnow_says_itself_is_not_changed() {
        let rows = json!({ "rowset": [["1"]], "total": 1, "returned": 5, "finalSchemaName": "PUBLIC" });
        let mut reply = json!({ "data": rows, "success": true });
        complete_statement(&mut reply, &Names { role: "ETL".to_owned(), warehouse: None });
        for (key, value) in rows.as_object().unwrap() {
            assert_eq!(&reply["data"][key], value, "{key}");
        }
        assert_eq!(reply["data"]["finalRoleName"], "ETL");
    }

    #[test]
    fn a_result_says_how_its_values_are_shown_unless_fakesnow_does() {
        let own = json!({ "name": "TIME_OUTPUT_FORMAT", "value": "HH24" });
        let mut reply = json!({ "data": { "parameters": [own] }, "success": true });
        complete_statement(&mut reply, &Names { role: "ETL".to_owned(), warehouse: None });
        let parameters = reply["data"]["parameters"].as_array().unwrap();
        assert_eq!((parameters.len(), &parameters[0]), (OUTPUT_FORMATS.len(), &own));
        assert!(parameters.contains(&json!({ "name": "BINARY_OUTPUT_FORMAT", "value": "HEX" })));
    }
}
