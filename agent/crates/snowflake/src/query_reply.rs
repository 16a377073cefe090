//! The answer to a statement, also where it comes later: to a query, and to a request for its result.

use std::{fmt, ops::Range};

use http::{Method, Uri};
use model::{ColumnMeta, ResultSet, Rows};
use uuid::Uuid;

use crate::{
    chunks::{self, Chunks},
    envelope::Envelope,
    error::DecodeError,
    exchange::{Exchange, classify},
    failure::QueryFailure,
    json::{JsonError, Object},
    names::SessionNames,
    rows,
};

/// The statement still runs.
const CODE_RUNNING: &str = "333333";

/// The statement still runs, and the client did not ask to wait for it.
const CODE_DETACHED: &str = "333334";

/// What Snowflake answered to a statement.
#[derive(Debug)]
pub enum QueryReply {
    /// It is done.
    Success(Box<QuerySuccess>),
    /// It still runs.
    Running(Running),
    /// It failed.
    Failure(QueryFailure),
}

/// A statement that is done. `Debug` shows no rows.
pub struct QuerySuccess {
    /// Snowflake's id of the statement.
    pub query_id: Option<String>,
    /// The columns and the rows that are in the reply itself; `None` for a reply that has neither.
    pub result: Option<ResultSet>,
    /// Where more rows are, if there are any.
    pub chunks: Option<Chunks>,
    /// Whether there were several statements, whose results are asked for one by one, by their own ids.
    pub has_children: bool,
    /// Whether the reply hands the client keys to a stage, to move files by itself (`PUT`, `GET`).
    pub is_file_transfer: bool,
    /// The session's names after the statement.
    pub names: SessionNames,
    /// Snowflake's number of the statement's type: `0x1000` for SELECT.
    pub statement_type_id: Option<u64>,
    /// How many rows the result has, chunks included.
    pub total: Option<u64>,
    /// How many rows were inserted, updated or deleted, where Snowflake counted them.
    pub affected: Option<u64>,
    /// What takes the rows back.
    pub envelope: Envelope,
}

/// A statement that still runs.
#[derive(Clone, PartialEq, Eq)]
pub struct Running {
    /// Snowflake's id of the statement.
    pub query_id: Option<String>,
    /// Where the client will ask, as Snowflake wrote it: `/queries/<id>/result`.
    pub result_url: Option<String>,
    /// Whether the client was told not to wait.
    pub is_detached: bool,
    body: String,
}

impl Running {
    /// The ids by which a client will ask for the result: the one it is told, and the one in the path it is told.
    ///
    /// # Errors
    /// When there is none, or one leads elsewhere than to a result on the same host.
    pub fn ids(&self) -> Result<Vec<Uuid>, DecodeError> {
        let named = self.query_id.as_deref().map(|id| Uuid::try_parse(id).map_err(|_| wrong_id("queryId")));
        let ids = named.into_iter().chain(self.result_url.as_deref().map(id_in_path));
        let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
        ids.dedup();
        if ids.is_empty() { Err(DecodeError::Missing { key: "queryId" }) } else { Ok(ids) }
    }

    /// The reply as it came.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body.into_bytes()
    }
}

impl QueryReply {
    /// Reads the plain body of an answer to a statement, and keeps it.
    ///
    /// # Errors
    /// When it is not one, has rows where a client might read them and this does not, or rows in a form no server
    /// sends.
    pub fn decode(body: Vec<u8>) -> Result<Self, DecodeError> {
        Self::decode_for(body, |_| true)
    }

    /// The same, except that JSON rows are read through and counted, and not kept, where `are_kept` says of their
    /// columns that nobody will change them. What is refused is the same.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_for(
        body: Vec<u8>,
        are_kept: impl FnOnce(&[ColumnMeta]) -> bool,
    ) -> Result<Self, DecodeError> {
        let body = text(body)?;
        let with_body = read(&body, false, are_kept)?;
        Ok(with_body(body))
    }

    /// Reads a reply of a statement that went well, out of which `rows` rows were taken, so that an empty list lies
    /// `at` the place of them.
    pub(crate) fn decode_around(
        body: Vec<u8>,
        at: Range<usize>,
        rows: u64,
    ) -> Result<QuerySuccess, DecodeError> {
        let body = text(body)?;
        let with_body = read(&body, true, |_| false)?;
        let Self::Success(mut success) = with_body(body) else { return Err(DecodeError::UnexpectedRows) };
        match &mut success.result {
            Some(result) if result.rows == Rows::Counted(0) && success.envelope.has_rows_at(&at) => {
                result.rows = Rows::Counted(rows);
            }
            _ => return Err(DecodeError::UnexpectedRows),
        }
        Ok(*success)
    }
}

fn text(body: Vec<u8>) -> Result<String, JsonError> {
    String::from_utf8(body).map_err(|e| JsonError::NotUtf8 { at: e.utf8_error().valid_up_to() })
}

fn wrong_id(key: &str) -> DecodeError {
    DecodeError::wrong_type(key, "the id of a statement")
}

fn id_in_path(url: &str) -> Result<Uuid, DecodeError> {
    let uri: Uri = url.parse().map_err(|_| wrong_id("getResultUrl"))?;
    match classify(&Method::GET, &uri) {
        Exchange::Result { query_id } if uri.authority().is_none() => Ok(query_id),
        _ => Err(wrong_id("getResultUrl")),
    }
}

/// A reply that lacks nothing but its body. It comes apart from the body because what is read borrows that.
type WithBody = Box<dyn FnOnce(String) -> QueryReply>;

/// With `has_other_rows`, rows were taken out of the body.
fn read(
    body: &str,
    has_other_rows: bool,
    are_kept: impl FnOnce(&[ColumnMeta]) -> bool,
) -> Result<WithBody, DecodeError> {
    let (reply, data) = Object::parse_with(body, "data")?;
    let succeeded = reply.flag("success")?.ok_or(DecodeError::Missing { key: "success" })?;
    let code = reply.text("code")?.unwrap_or_default();
    let has_rows = has_other_rows || data.as_ref().is_some_and(rows::has_any);
    let text = |key| data.as_ref().map_or(Ok(None), |data| data.text(key));
    let result_url = text("getResultUrl")?;
    // Python 5 goes by the URL and does not look at the code; the others go by the code.
    let is_running =
        [CODE_RUNNING, CODE_DETACHED].contains(&code.as_str()) || result_url.is_some() && !has_rows;
    if has_rows && (is_running || !succeeded) {
        return Err(DecodeError::UnexpectedRows);
    }
    if is_running {
        let query_id = text("queryId")?;
        let is_detached = code == CODE_DETACHED;
        return Ok(Box::new(move |body| {
            QueryReply::Running(Running { query_id, result_url, is_detached, body })
        }));
    }
    if !succeeded {
        let (sql_state, query_id) = (text("sqlState")?, text("queryId")?);
        let message = reply.text("message")?.unwrap_or_default();
        return Ok(Box::new(move |body| {
            QueryReply::Failure(QueryFailure { code, sql_state, query_id, message, body })
        }));
    }
    success(body, &data.ok_or(DecodeError::Missing { key: "data" })?, are_kept)
}

fn success(
    body: &str,
    data: &Object<'_>,
    are_kept: impl FnOnce(&[ColumnMeta]) -> bool,
) -> Result<WithBody, DecodeError> {
    let is_filled = |key| Ok::<_, DecodeError>(data.text(key)?.is_some_and(|text| !text.is_empty()));
    let (result, layout) = rows::take(body, data, are_kept)?;
    let query_id = data.text("queryId")?;
    let (chunks, links) = chunks::read(body, data)?.unzip();
    if let Some(chunks) = &chunks {
        let result = result.as_ref().ok_or(DecodeError::Missing { key: "rowtype" })?;
        // The first rows are read in one form and the others in another: which, is up to the client.
        if chunks.format != rows::format(&result.rows) && !rows::is_empty(&result.rows) {
            return Err(DecodeError::UnexpectedRows);
        }
    }
    let has_children = is_filled("resultIds")?;
    let is_file_transfer = is_filled("command")? || data.raw("stageInfo").is_some();
    let names = SessionNames::of_query(data)?;
    let statement_type_id = data.whole("statementTypeId")?;
    let total = data.whole("total")?;
    let affected = affected(data)?;
    Ok(Box::new(move |body| {
        QueryReply::Success(Box::new(QuerySuccess {
            query_id,
            result,
            chunks,
            has_children,
            is_file_transfer,
            names,
            statement_type_id,
            total,
            affected,
            envelope: Envelope::new(body, layout).leading_on(links),
        }))
    }))
}

fn affected(data: &Object<'_>) -> Result<Option<u64>, DecodeError> {
    let Some(stats) = data.object("stats")? else { return Ok(None) };
    let mut affected: Option<u64> = None;
    for key in ["numRowsInserted", "numRowsUpdated", "numRowsDeleted"] {
        if let Some(count) = stats.whole(key)? {
            affected = Some(affected.unwrap_or_default().saturating_add(count));
        }
    }
    Ok(affected)
}

impl fmt::Debug for QuerySuccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuerySuccess")
            .field("query_id", &self.query_id)
            .field("chunks", &self.chunks)
            .field("has_children", &self.has_children)
            .field("is_file_transfer", &self.is_file_transfer)
            .field("names", &self.names)
            .field("statement_type_id", &self.statement_type_id)
            .field("total", &self.total)
            .field("affected", &self.affected)
            .field("envelope", &self.envelope)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("query_id", &self.query_id)
            .field("is_detached", &self.is_detached)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "query_reply_tests.rs"]
pub(crate) mod tests;
