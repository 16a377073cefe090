//! Ending a statement early: `POST /queries/v1/abort-request`.

use model::RequestId;

use crate::{
    error::{DecodeError, RequestError, UnknownKeys},
    json::{self, Object},
};

/// A request to end a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbortRequest {
    /// The request that is to be ended; `None` where the path names the statement.
    pub request_id: Option<RequestId>,
}

impl AbortRequest {
    /// Reads the plain body of an abort; an empty one is fine, the path names the statement then. The text that
    /// drivers repeat in it is not executed, and not kept.
    ///
    /// # Errors
    /// When it has more than one reading, or keys that are not known.
    pub fn decode(body: &[u8]) -> Result<Self, RequestError> {
        if body.trim_ascii().is_empty() {
            return Ok(Self { request_id: None });
        }
        let body = Object::parse(json::checked(body)?)?;
        if let Some(unknown) = UnknownKeys::among(body.keys(), &["requestId", "sqlText"]) {
            return Err(RequestError::UnknownKeys(unknown));
        }
        let parse =
            |id: String| RequestId::parse(&id).ok_or(DecodeError::wrong_type("requestId", "a request id"));
        Ok(Self { request_id: body.text("requestId")?.map(parse).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01bd42cc-a95c-4499-9444-1481d21ca810";

    #[test]
    fn an_abort_names_its_request() {
        let body = format!(r#"{{"sqlText":"select 'hunter2'","requestId":"{ID}"}}"#);
        let abort = AbortRequest::decode(body.as_bytes()).unwrap();
        assert_eq!(abort.request_id, RequestId::parse(ID));
        assert!(!format!("{abort:?}").contains("hunter2"));
        for without in [&b""[..], b" \n", b"{}"] {
            assert_eq!(AbortRequest::decode(without).unwrap(), AbortRequest { request_id: None });
        }
    }

    #[test]
    fn other_bodies_are_refused() {
        for body in [
            &br#"{"requestId":"1"}"#[..],
            br#"{"requestId":1}"#,
            br#"{"requestId":null,"requestId":null}"#,
            br#"{"statement":"drop"}"#,
            b"x",
        ] {
            assert!(AbortRequest::decode(body).is_err(), "{body:?}");
        }
    }
}
