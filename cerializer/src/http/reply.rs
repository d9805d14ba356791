//! Answers, whole or streamed.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// An answer.
pub type Reply = Response<Body>;

/// A body, whole in memory or coming from a node in pieces.
#[derive(Debug)]
pub struct Body {
    inner: Inner,
    /// Dropped with it.
    _held: Option<Box<dyn std::fmt::Debug>>,
}

#[derive(Debug)]
enum Inner {
    Whole(Bytes),
    Pieces(Pin<Box<dyn Pieces>>),
}

/// Where a body comes from in pieces.
pub trait Pieces: std::fmt::Debug {
    /// The next piece, not empty; `None` at the end.
    ///
    /// # Errors
    ///
    /// The rest will not come: the connection to the client is closed, so that it notices.
    fn poll_piece(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Bytes>>>;

    /// Bytes still to come.
    fn bytes_left(&self) -> u64;
}

impl Body {
    /// A body of these bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { inner: Inner::Whole(bytes.into()), _held: None }
    }

    /// A body that comes in pieces.
    pub fn pieces(pieces: impl Pieces + 'static) -> Self {
        Self { inner: Inner::Pieces(Box::pin(pieces)), _held: None }
    }

    /// Whether it comes in pieces.
    pub fn is_in_pieces(&self) -> bool {
        matches!(self.inner, Inner::Pieces(_))
    }

    /// The same, with something that lives as long.
    #[must_use]
    pub fn holding(self, held: impl std::fmt::Debug + 'static) -> Self {
        Self { _held: Some(Box::new(held)), ..self }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.inner {
            Inner::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Pieces(pieces) => pieces
                .as_mut()
                .poll_piece(cx)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Whole(bytes) => bytes.is_empty(),
            Inner::Pieces(pieces) => pieces.bytes_left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.inner {
            Inner::Whole(bytes) => bytes.len() as u64,
            Inner::Pieces(pieces) => pieces.bytes_left(),
        })
    }
}

/// A status and nothing else.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::whole(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

/// `body` of the type `kind`, of this moment only.
pub fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Body::whole(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
