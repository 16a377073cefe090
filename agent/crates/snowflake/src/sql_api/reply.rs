//! What Snowflake answers: the status says what it is, and rows come as JSON (`jsonv2`), one partition at a time.

use std::fmt;

use http::StatusCode;
use model::{ColumnMeta, ResultSet, Rows};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    envelope::{Column, EncodeError, Envelope, Format, Layout, Place},
    error::DecodeError,
    exchange::canonical,
    json::{JsonError, Object},
    rows::{cells, column},
    splice::span,
};

/// How the client asked for NULL to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// As JSON's null.
    Json,
    /// As the text `null`, which a value may be, too. Where rows have a real null all the same, it is the text that is
    /// a value.
    Text,
}

/// What Snowflake answered.
#[derive(Debug)]
pub enum ApiReply {
    /// The statement is done, and these are rows of it.
    Success(Box<ApiSuccess>),
    /// It still runs.
    Running(ApiRunning),
    /// It failed, or the request did.
    Failure(ApiFailure),
}

/// Rows of a statement that is done. `Debug` shows none.
pub struct ApiSuccess {
    /// Snowflake's id of the statement; a later partition comes without.
    pub handle: Option<Uuid>,
    /// Columns and rows.
    pub result: ResultSet,
    /// How many rows each partition has; empty where the reply does not say.
    pub partitions: Vec<u64>,
    /// How many rows the whole result has, where the reply says.
    pub total: Option<u64>,
    /// Whether there were several statements, whose results are asked for one by one.
    pub has_children: bool,
    /// What takes the rows back.
    pub envelope: ApiEnvelope,
}

/// A statement that still runs.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiRunning {
    /// Snowflake's id of the statement.
    pub handle: Uuid,
    body: String,
}

/// A failure. Its sentence may quote values from rows, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiFailure {
    /// Snowflake's code; the HTTP status where it gave none.
    pub code: String,
    /// Snowflake's sentence, where it gave one.
    pub message: Option<String>,
    /// Snowflake's id of the statement, where it gave one.
    pub handle: Option<String>,
    /// Whether the statement itself came to its end with it: an error, or more time than it was given.
    pub is_final: bool,
    body: Vec<u8>,
}

/// A reply around its rows.
#[derive(Debug)]
pub struct ApiEnvelope {
    envelope: Envelope,
    /// Whether NULL is written as the text `null` in it.
    nulls_are_text: bool,
}

impl ApiReply {
    /// Reads a plain body. `columns` are those of an earlier partition, if there was one.
    ///
    /// # Errors
    /// When it is not what its status says, has rows where a client might read them and this does not, or has other
    /// columns than before.
    pub fn decode(
        status: StatusCode,
        body: Vec<u8>,
        nulls: Nulls,
        columns: Option<&[ColumnMeta]>,
    ) -> Result<Self, DecodeError> {
        if status.is_client_error() || status.is_server_error() {
            return Ok(Self::Failure(failure(status, body)?));
        }
        let body =
            String::from_utf8(body).map_err(|e| JsonError::NotUtf8 { at: e.utf8_error().valid_up_to() })?;
        match status {
            StatusCode::OK => success(body, nulls, columns),
            StatusCode::ACCEPTED => running(body),
            _ => Err(DecodeError::Status { status: status.as_u16() }),
        }
    }
}

impl ApiRunning {
    /// The reply as it came.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body.into_bytes()
    }
}

impl ApiFailure {
    /// Reads the plain body of an answer that says what became of a wish and never has rows: a failure's, and a
    /// cancellation's, whose status is 200.
    ///
    /// # Errors
    /// When it has rows.
    pub fn decode(status: StatusCode, body: Vec<u8>) -> Result<Self, DecodeError> {
        failure(status, body)
    }

    /// The reply as it came.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }
}

impl ApiEnvelope {
    /// Puts rows in the place of those that came with this reply.
    ///
    /// # Errors
    /// When they are not the rows of this reply.
    pub fn encode(self, mut result: ResultSet) -> Result<Vec<u8>, EncodeError> {
        if let (true, Rows::Json(rows)) = (self.nulls_are_text, &mut result.rows) {
            for cell in rows.iter_mut().flatten() {
                cell.get_or_insert_with(|| NULL.to_owned());
            }
        }
        self.envelope.encode(Some(result))
    }
}

/// NULL as a text.
const NULL: &str = "null";

fn failure(status: StatusCode, body: Vec<u8>) -> Result<ApiFailure, DecodeError> {
    // A gateway before Snowflake's servers answers in HTML, which has no rows.
    let reply = std::str::from_utf8(&body).ok().and_then(|text| Object::parse(text).ok());
    if reply.as_ref().is_some_and(has_rows) {
        return Err(DecodeError::UnexpectedRows);
    }
    let text = |key| reply.as_ref().and_then(|reply| reply.text(key).ok().flatten());
    let code = text("code").unwrap_or_else(|| status.as_u16().to_string());
    let (message, handle) = (text("message"), text("statementHandle"));
    let is_final = [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::REQUEST_TIMEOUT].contains(&status);
    Ok(ApiFailure { code, message, handle, is_final, body })
}

fn running(body: String) -> Result<ApiReply, DecodeError> {
    let reply = Object::parse(&body)?;
    if has_rows(&reply) {
        return Err(DecodeError::UnexpectedRows);
    }
    let handle = handle(&reply)?.ok_or(DecodeError::Missing { key: "statementHandle" })?;
    Ok(ApiReply::Running(ApiRunning { handle, body }))
}

fn has_rows(reply: &Object<'_>) -> bool {
    let is_list = reply.raw("data").is_some_and(|data| data.starts_with('['));
    is_list || reply.raw("resultSetMetaData").is_some()
}

fn handle(reply: &Object<'_>) -> Result<Option<Uuid>, DecodeError> {
    let Some(written) = reply.text("statementHandle")? else { return Ok(None) };
    canonical(&written).map(Some).ok_or_else(|| DecodeError::wrong_type("statementHandle", "one id"))
}

fn success(body: String, nulls: Nulls, known: Option<&[ColumnMeta]>) -> Result<ApiReply, DecodeError> {
    let reply = Object::parse(&body)?;
    let described = reply.object("resultSetMetaData")?;
    let (metas, columns) = columns(&body, described.as_ref(), known)?;
    let counts = described.as_ref().map_or(Ok(Vec::new()), partitions)?;
    let total = described.as_ref().map_or(Ok(None), |described| described.whole("numRows"))?;
    let (rows, place, nulls_are_text) = rows(&body, &reply, nulls)?;
    let children = reply.list("statementHandles")?.unwrap_or_default();
    let handle = handle(&reply)?;
    let has_children = children.len() > 1;
    let layout = Layout { columns, rows: place };
    let result = ResultSet { columns: metas, rows: Rows::Json(rows) };
    let envelope = ApiEnvelope { envelope: Envelope::new(body, layout), nulls_are_text };
    let success = ApiSuccess { handle, result, partitions: counts, total, has_children, envelope };
    Ok(ApiReply::Success(Box::new(success)))
}

/// The columns of the reply itself, or those that are known from an earlier one.
fn columns(
    body: &str,
    described: Option<&Object<'_>>,
    known: Option<&[ColumnMeta]>,
) -> Result<(Vec<ColumnMeta>, Vec<Column>), DecodeError> {
    let Some(described) = described else {
        let known = known.ok_or(DecodeError::Missing { key: "resultSetMetaData" })?;
        let column = |meta: &ColumnMeta| Column {
            name: meta.name.clone(),
            type_name: meta.type_name.clone(),
            not_nullable: None,
            as_text: Vec::new(),
        };
        return Ok((known.to_vec(), known.iter().map(column).collect()));
    };
    let entries = described.list("rowType")?.ok_or(DecodeError::Missing { key: "rowType" })?;
    let both: Vec<_> = entries.into_iter().map(|entry| column(body, entry)).collect::<Result<_, _>>()?;
    let (metas, columns): (Vec<_>, Vec<_>) = both.into_iter().unzip();
    if known.is_some_and(|known| known != metas) {
        return Err(DecodeError::wrong_type("rowType", "the columns that it held before"));
    }
    Ok((metas, columns))
}

fn partitions(described: &Object<'_>) -> Result<Vec<u64>, DecodeError> {
    let count = |entry: &RawValue| {
        Object::parse(entry.get())?.whole("rowCount")?.ok_or(DecodeError::Missing { key: "rowCount" })
    };
    described.list("partitionInfo")?.unwrap_or_default().into_iter().map(count).collect()
}

type Cells = Vec<Vec<Option<String>>>;

/// The rows, where they lie, and whether NULL is a text among them.
fn rows(body: &str, reply: &Object<'_>, nulls: Nulls) -> Result<(Cells, Place, bool), DecodeError> {
    let Some(list) = reply.list("data")? else {
        return Ok((Vec::new(), Place::Empty(Format::Json), false));
    };
    let mut rows: Cells = list.into_iter().map(cells).collect::<Result<_, _>>()?;
    let place = reply.raw("data").and_then(|raw| span(body, raw)).map(Place::Json);
    let place = place.ok_or(DecodeError::Missing { key: "data" })?;
    let nulls_are_text = nulls == Nulls::Text && rows.iter().flatten().all(Option::is_some);
    if nulls_are_text {
        for cell in rows.iter_mut().flatten() {
            cell.take_if(|text| text == NULL);
        }
    }
    Ok((rows, place, nulls_are_text))
}

impl fmt::Debug for ApiSuccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiSuccess")
            .field("handle", &self.handle)
            .field("partitions", &self.partitions)
            .field("total", &self.total)
            .field("has_children", &self.has_children)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ApiRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiRunning").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl fmt::Debug for ApiFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiFailure")
            .field("code", &self.code)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
