//! The answers of the SQL API, each with its HTTP status.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde_json::{Value, json};

use super::jsonv2::{Row, Table};
use crate::internet::serve::{self, Reply};
use crate::internet::snowflake::wire;

/// The first part of a result, with the description of all of it.
pub(super) fn first(
    handle: &str,
    request_id: &str,
    created_ms: u128,
    table: &Table,
    parts: &[&[Row]],
    accepts_gzip: bool,
) -> Reply {
    let info: Vec<_> = parts.iter().map(|part| described(part)).collect();
    let body = json!({
        "resultSetMetaData": {
            "numRows": table.rows.len(), "format": "jsonv2", "partitionInfo": info, "rowType": table.row_type,
        },
        "data": parts.first().copied().unwrap_or_default(),
        "code": "090001",
        "statementStatusUrl": status_url(handle, request_id),
        "requestId": request_id,
        "sqlState": "00000",
        "statementHandle": handle,
        "message": "Statement executed successfully.",
        "createdOn": created_ms,
    });
    let mut reply = wire::reply(body.to_string().into(), accepts_gzip);
    if let Ok(link) = HeaderValue::from_str(&links(handle, request_id, parts.len())) {
        reply.headers_mut().insert(header::LINK, link);
    }
    reply
}

fn described(part: &[Row]) -> Value {
    let size = json!(part).to_string().len();
    json!({ "rowCount": part.len(), "uncompressedSize": size, "compressedSize": size })
}

fn links(handle: &str, request_id: &str, parts: usize) -> String {
    let link = |partition: usize, rel: &str| {
        format!("<{}&partition={partition}>;rel=\"{rel}\"", status_url(handle, request_id))
    };
    let mut links = vec![link(0, "first")];
    if parts > 1 {
        links.push(link(1, "next"));
    }
    links.push(link(parts.saturating_sub(1), "last"));
    links.join(",")
}

/// A later part: compressed, whatever the client said.
pub(super) fn later(part: &[Row]) -> Reply {
    let plain = Bytes::from(json!({ "data": part }).to_string());
    match wire::gzip(&plain) {
        Some(packed) => {
            let mut reply = serve::json_text(StatusCode::OK, packed);
            reply.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            reply
        }
        None => serve::text(StatusCode::INTERNAL_SERVER_ERROR, "the rows cannot be compressed\n"),
    }
}

/// The statement still runs.
pub(super) fn running(handle: &str, request_id: &str) -> Reply {
    let message = "Asynchronous execution in progress. Use provided query id to perform query monitoring and management.";
    let body = json!({
        "code": "333334", "message": message, "statementHandle": handle,
        "statementStatusUrl": status_url(handle, request_id),
    });
    serve::json(StatusCode::ACCEPTED, &body)
}

/// The statement failed.
pub(super) fn failed(handle: &str, code: &str, sql_state: &str, message: &str, created_ms: u128) -> Reply {
    let body = json!({
        "code": code, "message": message, "sqlState": sql_state, "statementHandle": handle, "createdOn": created_ms,
        "statementStatusUrl": format!("/api/v2/statements/{handle}"),
    });
    serve::json(StatusCode::UNPROCESSABLE_ENTITY, &body)
}

/// The answer to the wish to end a statement.
pub(super) fn cancelled(handle: &str, was_running: bool) -> Reply {
    if !was_running {
        return failed(handle, "000605", "57014", "Identified SQL statement is not currently executing.", 0);
    }
    let body = json!({
        "code": "000604", "sqlState": "57014", "message": "SQL execution canceled", "statementHandle": handle,
        "statementStatusUrl": format!("/api/v2/statements/{handle}"),
    });
    serve::json(StatusCode::OK, &body)
}

/// A credential that does not let anybody in.
pub(super) fn unauthorized(code: &str, message: &str) -> Reply {
    let body = json!({ "data": null, "code": code, "message": message, "success": false, "headers": null });
    serve::json(StatusCode::UNAUTHORIZED, &body)
}

fn status_url(handle: &str, request_id: &str) -> String {
    format!("/api/v2/statements/{handle}?requestId={request_id}")
}
