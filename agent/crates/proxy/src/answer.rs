//! What goes back to a client: a whole message, or one that passes as it comes; never an error status that a driver would
//! retry.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use hyper::body::{Body, Frame, SizeHint};
use policy::Untouched;
use tokio::sync::{mpsc, oneshot};

use crate::{chunks::Passage, limits::PASSING_PIECES_MAX};

/// An answer, complete before its last byte is sent.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Content,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    /// The client has all of it but this; none where it gets no more.
    Begun(Option<LastPiece>),
}

/// What a client does not have yet of an answer that passes.
#[derive(Debug)]
pub(crate) struct LastPiece {
    pub(crate) pieces: mpsc::Sender<Piece>,
    pub(crate) bytes: Bytes,
}

/// A piece of an answer that passes.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// Whether the answer ends with it. One that ends without such a piece is broken off.
    pub(crate) is_last: bool,
}

/// Where the answer to one request goes, once.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: Option<oneshot::Sender<Response<Outgoing>>>,
    /// Whether the client can tell an answer that ended from one that broke off.
    is_framed: bool,
}

/// An answer's body, as it is written to a client.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Whole(Bytes),
    Passing {
        pieces: mpsc::Receiver<Piece>,
        /// How many bytes are to come, where that is known.
        left: Option<u64>,
        is_over: bool,
    },
}

/// The client must not take what it has for the whole answer: its connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("the answer was broken off")]
pub(crate) struct BrokenOff;

impl Answer {
    /// A message of our own in Snowflake's shape. The content type matters: Node takes a body of any other type for
    /// a failed request and sends the statement again (protocol trap 6).
    pub(crate) fn json(body: Vec<u8>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status: StatusCode::OK, headers, body: Content::Whole(body.into()) }
    }

    /// Snowflake's own reply, with its headers and the body given, which is never compressed: over loopback that
    /// costs more than it saves.
    pub(crate) fn reply(status: StatusCode, mut headers: HeaderMap, body: impl Into<Bytes>) -> Self {
        headers.remove(header::CONTENT_ENCODING);
        Self { status, headers, body: Content::Whole(body.into()) }
    }

    /// Snowflake's own reply, with every byte of its body as it came, compressed or not.
    pub(crate) fn as_it_came(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body: Content::Whole(body) }
    }

    /// The end of an answer that passes; none when it is broken off.
    pub(crate) fn begun(rest: Option<LastPiece>) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: Content::Begun(rest) }
    }

    /// A refusal of a credential that came with a request of the SQL API. Clients take 401 for an old token and send the
    /// request again with a new one, and 422 for a statement that failed; 403 they show, with its body.
    pub(crate) fn forbidden(body: Vec<u8>) -> Self {
        Self { status: StatusCode::FORBIDDEN, ..Self::json(body) }
    }

    /// A refusal in the shape of the SQL API, whose failures are HTTP 422 (protocol part 3.3).
    pub(crate) fn unprocessable(body: Vec<u8>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, ..Self::json(body) }
    }

    /// A plain "there is no such thing", for what drivers ask over plain HTTP.
    pub(crate) fn not_found() -> Self {
        Self::as_it_came(StatusCode::NOT_FOUND, HeaderMap::new(), Bytes::new())
    }

    /// What stands for a chunk that is not given. Drivers would read rows out of anything with status 200, and some would try
    /// again for ever after another status (protocol part 4.6).
    pub(crate) fn no_chunk(sentence: String) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Self::as_it_came(StatusCode::NOT_FOUND, headers, sentence.into())
    }

    /// How long its body is, in bytes, if it is there as a whole.
    pub(crate) fn len(&self) -> Option<usize> {
        match &self.body {
            Content::Whole(body) => Some(body.len()),
            Content::Begun(_) => None,
        }
    }

    /// Another one like it, if it is there as a whole.
    pub(crate) fn copy(&self) -> Option<Self> {
        match &self.body {
            Content::Whole(body) => Some(Self::as_it_came(self.status, self.headers.clone(), body.clone())),
            Content::Begun(_) => None,
        }
    }

    /// The same to be kept for a while: it holds nothing but itself. One that came by a connection is a piece of a larger
    /// buffer, body and headers alike, and would hold all of that.
    pub(crate) fn kept(&self) -> Option<Self> {
        let Content::Whole(body) = &self.body else { return None };
        let own = |(name, value): (&HeaderName, &HeaderValue)| {
            let mut own = HeaderValue::from_bytes(value.as_bytes()).ok()?;
            own.set_sensitive(value.is_sensitive());
            Some((name.clone(), own))
        };
        let headers = self.headers.iter().filter_map(own).collect();
        Some(Self { status: self.status, headers, body: Content::Whole(Bytes::copy_from_slice(body)) })
    }

    /// Gives it to the client, or what is left of it.
    pub(crate) async fn give(self, outbox: &mut Outbox) {
        match self.body {
            Content::Begun(Some(LastPiece { pieces, bytes })) => {
                // A client that went away misses it.
                drop(pieces.send(Piece { bytes, is_last: true }).await);
            }
            Content::Begun(None) => {}
            Content::Whole(_) => outbox.put(self.into()),
        }
    }
}

impl Outbox {
    /// An outbox, and where what is put into it comes out. Before HTTP/1.1, a body whose length is not told ends where the
    /// connection does.
    pub(crate) fn new(version: Version) -> (Self, oneshot::Receiver<Response<Outgoing>>) {
        let (sender, inbox) = oneshot::channel();
        (Self { sender: Some(sender), is_framed: version >= Version::HTTP_11 }, inbox)
    }

    /// Whether an answer may pass as it comes.
    pub(crate) fn may_begin(&self) -> bool {
        self.is_framed && self.sender.is_some()
    }

    /// Begins an answer that passes as it comes, whose rows owe nothing.
    pub(crate) fn begin(
        &mut self,
        _untouched: &Untouched,
        status: StatusCode,
        mut headers: HeaderMap,
    ) -> mpsc::Sender<Piece> {
        headers.remove(header::CONTENT_ENCODING);
        self.pass(status, headers, None)
    }

    /// Begins a chunk of a result, whose rows owe nothing or are masked on their way. `length` is how long it is, where that
    /// is known.
    pub(crate) fn begin_chunk(
        &mut self,
        _passage: &Passage,
        headers: HeaderMap,
        length: Option<u64>,
    ) -> mpsc::Sender<Piece> {
        self.pass(StatusCode::OK, headers, length)
    }

    fn pass(&mut self, status: StatusCode, headers: HeaderMap, length: Option<u64>) -> mpsc::Sender<Piece> {
        let (sender, pieces) = mpsc::channel(PASSING_PIECES_MAX);
        let mut response = Response::new(Outgoing::Passing { pieces, left: length, is_over: false });
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        self.put(response);
        sender
    }

    fn put(&mut self, response: Response<Outgoing>) {
        if let Some(outbox) = self.sender.take() {
            // A client that went away misses it.
            drop(outbox.send(response));
        }
    }
}

impl From<Answer> for Response<Outgoing> {
    fn from(answer: Answer) -> Self {
        let body = match answer.body {
            Content::Whole(body) => Outgoing::Whole(body),
            Content::Begun(_) => Outgoing::Passing { pieces: mpsc::channel(1).1, left: None, is_over: false },
        };
        let mut response = Self::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let bytes = match &mut *self {
            Self::Whole(body) => std::mem::take(body),
            Self::Passing { is_over: true, .. } => return Poll::Ready(None),
            Self::Passing { pieces, left, is_over } => {
                let Some(piece) = ready!(pieces.poll_recv(cx)) else {
                    return Poll::Ready(Some(Err(BrokenOff)));
                };
                *left = left.map(|left| left.saturating_sub(piece.bytes.len() as u64));
                *is_over = piece.is_last;
                if !piece.is_last {
                    return Poll::Ready(Some(Ok(Frame::data(piece.bytes))));
                }
                piece.bytes
            }
        };
        Poll::Ready((!bytes.is_empty()).then_some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_empty(),
            Self::Passing { is_over, .. } => *is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.len() as u64),
            Self::Passing { left, .. } => left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_kept_of_an_answer_holds_no_more_than_the_answer() {
        let buffer: Arc<[u8]> = Arc::from(&b"gzip, body, and much else"[..]);
        let shared = Bytes::from_owner(buffer.clone());
        let mut headers = HeaderMap::new();
        for name in [header::VARY, header::SET_COOKIE, header::SET_COOKIE] {
            headers.append(name, HeaderValue::from_maybe_shared(shared.slice(..4)).unwrap());
        }
        let answer = Answer::as_it_came(StatusCode::ACCEPTED, headers, shared.slice(6..10));
        drop(shared);
        let kept = answer.kept().unwrap();
        assert_eq!((kept.status, &kept.headers, kept.len()), (answer.status, &answer.headers, Some(4)));
        assert!(matches!(&kept.body, Content::Whole(body) if *body == b"body"[..]));
        assert_eq!(Arc::strong_count(&buffer), 2);
        drop(answer);
        assert_eq!(Arc::strong_count(&buffer), 1);
    }
}
