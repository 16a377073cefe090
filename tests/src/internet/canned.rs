//! Snowflake under its own names, on a port of its own, with answers that were made before they were asked for: for
//! measurements, where the SQL engine would be what is measured. It executes nothing and knows no session.

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::serve::{Caller, Reply, Site, json_text, text};

/// The path of a login, and of a statement.
const LOGIN: &str = "/session/v1/login-request";
const QUERY: &str = "/queries/v1/query-request";
/// What a statement says that wants a large result.
const BULK_MARK: &[u8] = b"FROM BULK";
/// Rows of the usual result: some 10 KB, as a driver's small query has.
const ROWS: usize = 64;
/// Rows of the large one: some 64 MB of JSON.
const BULK_ROWS: usize = 400_000;

/// The answers.
pub(super) struct Canned {
    login: Bytes,
    usual: Bytes,
    bulk: Bytes,
}

impl Canned {
    pub(super) fn new() -> Self {
        Self { login: login(), usual: result(ROWS), bulk: result(BULK_ROWS) }
    }
}

impl Site for Canned {
    async fn answer(&self, _: &Caller, request: Request<Bytes>) -> Reply {
        let body = match (request.method(), request.uri().path()) {
            (&Method::POST, LOGIN) => &self.login,
            (&Method::POST, QUERY) if contains(request.body(), BULK_MARK) => &self.bulk,
            (&Method::POST, QUERY) => &self.usual,
            _ => return text(StatusCode::NOT_FOUND, "nothing is measured here\n"),
        };
        json_text(StatusCode::OK, body.clone())
    }
}

fn contains(body: &[u8], mark: &[u8]) -> bool {
    body.windows(mark.len()).any(|window| window == mark)
}

fn login() -> Bytes {
    let data = json!({
        "token": "canned-session-token", "masterToken": "canned-master-token", "sessionId": 1,
        "validityInSeconds": 3600, "masterValidityInSeconds": 14400, "parameters": [],
        "sessionInfo": {
            "databaseName": "ANALYTICS", "schemaName": "PUBLIC", "warehouseName": "CI_WH", "roleName": "ETL",
        },
    });
    success(data)
}

/// Rows of five columns, none of which anybody tags, about 160 bytes each. The keys are in the server's order: a row's
/// columns are told before it.
fn result(rows: usize) -> Bytes {
    let column = |name: &str, kind: &str| {
        json!({ "name": name, "database": "ANALYTICS", "schema": "PUBLIC", "table": "LINES", "type": kind,
                "nullable": true, "length": null, "byteLength": null, "precision": null, "scale": null })
    };
    let row = |n: usize| {
        json!([
            n.to_string(),
            format!("{:?}", n % 97),
            format!("line {n} of an order that was placed a while ago"),
            "DELIVERED",
            format!("a note of ordinary length that nobody has ever read, number {n}"),
        ])
    };
    let columns = ["N", "QUANTITY", "TITLE", "STATUS", "NOTE"].map(|name| column(name, "text"));
    let (columns, rowset) = (json!(columns), json!((0..rows).map(row).collect::<Vec<_>>()));
    let behind = json!({
        "total": rows, "returned": rows, "queryId": "01bd42cc-a95c-4499-9444-1481d21ca810",
        "queryResultFormat": "json", "finalDatabaseName": "ANALYTICS", "finalSchemaName": "PUBLIC",
        "finalWarehouseName": "CI_WH", "finalRoleName": "ETL", "statementTypeId": 4096, "version": 1,
        "numberOfBinds": 0,
    });
    let behind = behind.to_string();
    let behind = behind.trim_start_matches('{');
    format!(
        r#"{{"data":{{"parameters":[],"rowtype":{columns},"rowset":{rowset},{behind},"code":null,"message":null,"success":true}}"#
    )
    .into()
}

fn success(data: Value) -> Bytes {
    json!({ "data": data, "code": null, "message": null, "success": true }).to_string().into()
}
