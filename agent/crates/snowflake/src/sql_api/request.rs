//! What the three requests ask for.

use std::fmt;

use http::Uri;
use model::{Ident, RequestId, SqlText};

use crate::{
    error::{DecodeError, RequestError, UnknownKeys},
    exchange::canonical,
    json::{self, Object},
    names::SessionNames,
    parameters::Parameters,
    query::count_bindings,
    query_string::QueryString,
};

/// Every key of the body. One that is not here might be a way around the statement.
/// Source: Snowflake documentation, "Snowflake SQL API reference", body of the POST request.
const KEYS: [&str; 8] =
    ["bindings", "database", "parameters", "role", "schema", "statement", "timeout", "warehouse"];

/// Every parameter of the address, by request.
const SUBMIT_OPTIONS: [&str; 4] = ["async", "nullable", "requestId", "retry"];
const FETCH_OPTIONS: [&str; 2] = ["partition", "requestId"];
const CANCEL_OPTIONS: [&str; 1] = ["requestId"];

/// How many statements the text is said to hold. Only one is judged at a time.
const STATEMENT_COUNT: &str = "MULTI_STATEMENT_COUNT";

/// A statement and all that is said beside its text. `Debug` shows neither text nor bindings.
#[derive(Clone, PartialEq, Eq)]
pub struct Submission {
    /// The text.
    pub text: SqlText,
    /// How many placeholders are bound.
    pub binding_count: usize,
    /// Parameters set for this statement.
    pub parameters: Parameters,
    /// The names it is to be executed under, where the body has them. Snowflake takes them as they are spelled; one
    /// in which a double quote stands has more than one reading, and is not known.
    pub names: SessionNames,
    /// The client's id of the request.
    pub request_id: Option<RequestId>,
    /// Whether the client says that it sends an earlier request again.
    pub is_retry: bool,
    /// Whether the client will not wait for the rows and asks for them later.
    pub is_async: bool,
    /// Whether NULL is to come as JSON's null; else as the text `null`.
    pub is_nullable: bool,
    content: Vec<u8>,
}

impl Submission {
    /// Reads the address and the plain body.
    ///
    /// # Errors
    /// When either has more than one reading or holds something that is not known, when the text is missing or too long,
    /// or when it is said to hold several statements.
    pub fn decode(uri: &Uri, body: &[u8]) -> Result<Self, RequestError> {
        let options = options(uri, &SUBMIT_OPTIONS)?;
        let body = Object::parse(json::checked(body)?)?;
        if let Some(unknown) = UnknownKeys::among(body.keys(), &KEYS) {
            return Err(RequestError::UnknownKeys(unknown));
        }
        let parameters = Parameters::read(&body, "parameters")?;
        if parameters.get(STATEMENT_COUNT).is_some_and(|count| count != "1") {
            return Err(RequestError::SeveralStatements);
        }
        body.whole("timeout")?;
        let text = body.text("statement")?.ok_or(DecodeError::Missing { key: "statement" })?;
        let request_id = options.get("requestId").map(|id| canonical(id).ok_or_else(|| odd("requestId")));
        Ok(Self {
            text: SqlText::new(&text)?,
            binding_count: count_bindings(&body)?,
            parameters,
            names: names(&body)?,
            request_id: request_id.transpose()?.map(RequestId::new),
            is_retry: flag(&options, "retry")?.unwrap_or(false),
            is_async: flag(&options, "async")?.unwrap_or(false),
            is_nullable: flag(&options, "nullable")?.unwrap_or(true),
            content: content(&body, &options),
        })
    }

    /// What must be the same, byte for byte, in every try of one request: all of the body, and how its result is to
    /// come. For a digest; it holds data.
    #[must_use]
    pub fn retry_content(&self) -> &[u8] {
        &self.content
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("text", &self.text)
            .field("binding_count", &self.binding_count)
            .field("parameters", &self.parameters)
            .field("names", &self.names)
            .field("request_id", &self.request_id)
            .field("is_retry", &self.is_retry)
            .field("is_async", &self.is_async)
            .field("is_nullable", &self.is_nullable)
            .finish_non_exhaustive()
    }
}

/// A request for what came of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// Which part of the rows, from 0.
    pub partition: usize,
}

impl Fetch {
    /// Reads the address, and that the plain body says nothing.
    ///
    /// # Errors
    /// When either has more than one reading or holds something that is not known.
    pub fn decode(uri: &Uri, body: &[u8]) -> Result<Self, RequestError> {
        let options = options(uri, &FETCH_OPTIONS)?;
        check_empty(body)?;
        let Some(written) = options.get("partition") else { return Ok(Self { partition: 0 }) };
        // `+1` and `01` are read by some as 1 and by others not at all.
        let partition = written.parse().ok().filter(|partition: &usize| partition.to_string() == written);
        Ok(Self { partition: partition.ok_or_else(|| odd("partition"))? })
    }
}

/// Checks that the wish to cancel a statement asks for nothing else.
///
/// # Errors
/// When the address or the plain body holds something that is not known.
pub fn check_cancel(uri: &Uri, body: &[u8]) -> Result<(), RequestError> {
    options(uri, &CANCEL_OPTIONS)?;
    check_empty(body)
}

/// Checks that a body is none, or an object without keys.
fn check_empty(body: &[u8]) -> Result<(), RequestError> {
    if body.is_empty() {
        return Ok(());
    }
    let body = Object::parse(json::checked(body)?)?;
    UnknownKeys::among(body.keys(), &[]).map_or(Ok(()), |unknown| Err(RequestError::UnknownKeys(unknown)))
}

/// The address's parameters, each of them known and with a value.
fn options(uri: &Uri, known: &'static [&'static str]) -> Result<QueryString, RequestError> {
    let options = QueryString::parse(uri.query())?;
    if let Some(unknown) = UnknownKeys::among(options.names(), known) {
        return Err(RequestError::UnknownKeys(unknown));
    }
    let empty = known.iter().find(|name| options.has(name) && options.get(name).is_none());
    empty.map_or(Ok(options), |name| Err(odd(name)))
}

fn flag(options: &QueryString, name: &'static str) -> Result<Option<bool>, RequestError> {
    match options.get(name) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(odd(name)),
    }
}

fn odd(name: &'static str) -> RequestError {
    RequestError::OddParameter { name }
}

fn names(body: &Object<'_>) -> Result<SessionNames, DecodeError> {
    let name = |key| {
        let text = body.text(key)?.filter(|text| !text.is_empty() && !text.contains('"'));
        Ok::<_, DecodeError>(text.map(Ident::exact))
    };
    Ok(SessionNames {
        database: name("database")?,
        schema: name("schema")?,
        warehouse: name("warehouse")?,
        role: name("role")?,
    })
}

/// Each value as it was written, with its length before it, so that no two requests give the same bytes.
fn content(body: &Object<'_>, options: &QueryString) -> Vec<u8> {
    let of_body = KEYS.iter().map(|key| body.raw(key).unwrap_or_default());
    let of_address = ["async", "nullable"].into_iter().map(|name| options.get(name).unwrap_or_default());
    let mut content = Vec::new();
    for value in of_body.chain(of_address) {
        content.extend_from_slice(&(value.len() as u64).to_le_bytes());
        content.extend_from_slice(value.as_bytes());
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01bd42cc-a95c-4499-9444-1481d21ca810";

    fn uri(query: &str) -> Uri {
        format!("/api/v2/statements{query}").parse().unwrap()
    }

    fn decode(query: &str, body: &str) -> Result<Submission, RequestError> {
        Submission::decode(&uri(query), body.as_bytes())
    }

    #[test]
    fn a_submission_is_read_with_all_that_stands_beside_its_text() {
        let query = format!("?requestId={ID}&async=true&nullable=false&retry=true");
        let asked = decode(
            &query,
            r#"{"statement":"select ? from t","timeout":60,"database":"ANALYTICS","schema":"public","warehouse":"",
            "role":"ETL","bindings":{"1":{"type":"FIXED","value":"7"}},"parameters":{"query_tag":"x","multi_statement_count":"1"}}"#,
        )
        .unwrap();
        assert_eq!((asked.text.as_str(), asked.binding_count), ("select ? from t", 1));
        assert_eq!(asked.request_id, RequestId::parse(ID));
        assert!(asked.is_async && !asked.is_nullable && asked.is_retry);
        assert_eq!(asked.names.database, Some(Ident::exact("ANALYTICS")));
        assert_eq!(asked.names.schema, Some(Ident::exact("public")), "it is not folded");
        assert_eq!((asked.names.warehouse, asked.names.role), (None, Some(Ident::exact("ETL"))));
        assert_eq!(asked.parameters.get("QUERY_TAG"), Some("x"));
    }

    #[test]
    fn what_is_left_out_has_the_documented_default() {
        for body in [
            r#"{"statement":"select 1"}"#,
            r#"{"statement":"select 1","timeout":null,"database":null,"bindings":null,"parameters":{}}"#,
            r#"{"statement":"select 1","parameters":{"MULTI_STATEMENT_COUNT":1}}"#,
        ] {
            let asked = decode("", body).unwrap();
            assert!(asked.is_nullable && !asked.is_async && !asked.is_retry && asked.request_id.is_none());
            assert_eq!((asked.names, asked.binding_count), (SessionNames::default(), 0));
        }
    }

    #[test]
    fn a_name_with_a_quote_in_it_is_not_known() {
        let asked =
            decode("", r#"{"statement":"select 1","database":"\"Analytics\"","schema":"S"}"#).unwrap();
        assert_eq!((asked.names.database, asked.names.schema), (None, Some(Ident::exact("S"))));
    }

    #[test]
    fn several_statements_are_refused() {
        for count in ["0", "2", "\"0\"", "\"2\"", "\"01\"", "null", "true", "1.0"] {
            let body =
                format!(r#"{{"statement":"select 1","parameters":{{"Multi_Statement_Count":{count}}}}}"#);
            assert_eq!(decode("", &body), Err(RequestError::SeveralStatements), "{count}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        for (body, name) in [
            (r#"{"statement":"select 1","sqlText":"drop table t"}"#, "sqlText"),
            (r#"{"statement":"select 1","Statement":"drop table t"}"#, "Statement"),
            (r#"{"statement":"select 1","statements":["drop table t"]}"#, "statements"),
        ] {
            let Err(RequestError::UnknownKeys(unknown)) = decode("", body) else { panic!("{body}") };
            assert_eq!(unknown.names(), [name]);
        }
        for query in ["?statement=x", "?Async=true", "?partition=1", "?page=2", "?nullable=true&x=1"] {
            let asked = decode(query, r#"{"statement":"select 1"}"#);
            assert!(matches!(asked, Err(RequestError::UnknownKeys(_))), "{query}");
        }
    }

    #[test]
    fn a_body_with_two_readings_is_refused() {
        for body in [
            r#"{"statement":"select 1","statement":"drop table t"}"#,
            r#"{"statement":"select 1","\u0073tatement":"drop table t"}"#,
            r#"{"statement":"select 1"}{"statement":"drop table t"}"#,
            r#"{"statement":"select 1"} x"#,
            r#"{"statement":"select 1","parameters":{"A":1,"a":2}}"#,
            r#"{"statement":"select ?","bindings":{"1":{"value":"a","value":"b"}}}"#,
            r#"{"statement":"select ?","bindings":["a"]}"#,
            r#"{"statement":"select ?","bindings":{"1":"a"}}"#,
            r#"{"statement":["select 1"]}"#,
            r#"{"statement":null}"#,
            r#"{"statement":1}"#,
            r#"{"timeout":1}"#,
            r#"{"statement":"select 1","timeout":"60"}"#,
            r#"{"statement":"select 1","timeout":-1}"#,
            r#"{"statement":"select 1","database":["A"]}"#,
            r#"{"statement":"select 1","role":{}}"#,
            r#"{"statement":"select '\ud800'"}"#,
            r#"[{"statement":"select 1"}]"#,
            r#""select 1""#,
            "statement=select+1",
            "",
        ] {
            assert!(decode("", body).is_err(), "{body}");
        }
        assert!(Submission::decode(&uri(""), b"{\"statement\":\"select '\xff'\"}").is_err());
        assert!(Submission::decode(&uri(""), b"\xef\xbb\xbf{\"statement\":\"select 1\"}").is_err());
        let deep =
            format!(r#"{{"statement":"select 1","bindings":{}1{}}}"#, "{\"1\":".repeat(99), "}".repeat(99));
        assert!(decode("", &deep).is_err());
        let long = format!(r#"{{"statement":"{}"}}"#, "x".repeat(SqlText::BYTES_MAX + 1));
        assert!(matches!(decode("", &long), Err(RequestError::Text(_))));
    }

    #[test]
    fn an_address_with_two_readings_is_refused() {
        for query in [
            "?async=true&async=false".to_owned(),
            "?async=true&%61sync=false".to_owned(),
            "?async=".to_owned(),
            "?async".to_owned(),
            "?async=TRUE".to_owned(),
            "?async=1".to_owned(),
            "?nullable=no".to_owned(),
            "?retry=yes".to_owned(),
            "?requestId=".to_owned(),
            "?requestId=1".to_owned(),
            format!("?requestId={}", ID.to_uppercase()),
            "?async=%".to_owned(),
        ] {
            assert!(decode(&query, r#"{"statement":"select 1"}"#).is_err(), "{query}");
        }
    }

    #[test]
    fn a_retry_has_the_same_content_and_nothing_else_has() {
        let first = decode("?retry=false", r#"{"statement":"select 1","database":"A"}"#).unwrap();
        let again = decode("?retry=true", r#"{"database":"A","statement":"select 1"}"#).unwrap();
        assert_eq!(first.retry_content(), again.retry_content());
        for (query, body) in [
            ("", r#"{"statement":"select 2","database":"A"}"#),
            ("", r#"{"statement":"select 1","database":"B"}"#),
            ("", r#"{"statement":"select 1"}"#),
            ("", r#"{"statement":"select 1","database":"A","role":"R"}"#),
            ("", r#"{"statement":"select 1","schema":"A"}"#),
            ("?nullable=false", r#"{"statement":"select 1","database":"A"}"#),
        ] {
            assert_ne!(decode(query, body).unwrap().retry_content(), first.retry_content(), "{query} {body}");
        }
    }

    #[test]
    fn debug_shows_neither_text_nor_values() {
        let body = r#"{"statement":"select 'hunter2'","bindings":{"1":{"type":"TEXT","value":"hunter2"}},
            "parameters":{"QUERY_TAG":"hunter2"}}"#;
        assert!(!format!("{:?}", decode("", body).unwrap()).contains("hunter2"));
    }

    #[test]
    fn a_partition_is_a_plain_number() {
        let fetch = |query: &str| Fetch::decode(&uri(&format!("/{ID}{query}")), b"");
        for (query, partition) in [("", 0), ("?partition=0", 0), ("?partition=12&requestId=x", 12)] {
            assert_eq!(fetch(query), Ok(Fetch { partition }), "{query}");
        }
        for query in [
            "?partition=",
            "?partition=-1",
            "?partition=+1",
            "?partition=01",
            "?partition=1.0",
            "?partition=99999999999999999999",
            "?partition=1&partition=2",
            "?partition=1&page=2",
            "?nullable=false",
        ] {
            assert!(fetch(query).is_err(), "{query}");
        }
        assert!(Fetch::decode(&uri(""), br#"{"statement":"drop table t"}"#).is_err());
    }

    #[test]
    fn a_cancel_asks_for_nothing_else() {
        let check =
            |query: &str, body: &str| check_cancel(&uri(&format!("/{ID}/cancel{query}")), body.as_bytes());
        assert_eq!((check("", ""), check("?requestId=1", " {} ")), (Ok(()), Ok(())));
        for (query, body) in [("", r#"{"statement":"x"}"#), ("", "[]"), ("", "x"), ("?statement=x", "")] {
            assert!(check(query, body).is_err(), "{query} {body}");
        }
    }
}
