//! GET and HEAD of a key.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Request, Response, StatusCode};
use piccolo_schema::kv::{GetKind, Op};
use tokio::sync::OwnedSemaphorePermit;

use super::body::{SMALL_BYTES_MAX, WHOLE_BYTES_MAX, held, no_answer, refused};
use super::service::Service;
use crate::clock::wall_ms;
use crate::http::condition::Conditions;
use crate::http::problem::{Kind, Problem};
use crate::http::reply::{self, Body, Pieces, Reply};
use crate::http::{accept, envelope, meta, query, route, tag};
use crate::upstream::answer::{Answer, Entry, Failure};
use crate::upstream::node::Node;
use crate::upstream::stream::Stream;

/// Milliseconds until the entry expires; not there if it does not.
const TTL: HeaderName = HeaderName::from_static("piccolo-ttl-ms");

/// What a request reads.
struct Asked {
    key: Bytes,
    conditions: Conditions,
    json: bool,
}

impl Asked {
    fn of<B>(request: &Request<B>) -> Result<Self, Problem> {
        let bad = |error: &dyn ToString| Problem::new(Kind::BadRequest, error.to_string());
        let key = route::key(request.uri().path());
        let key = key.map_err(|error| Problem::new(Kind::BadKey, error))?;
        let [] = query::parse(request.uri().query(), []).map_err(|error| bad(&error))?;
        let conditions = Conditions::of(request.headers())
            .map_err(|(name, error)| bad(&format!("{name}: {error}")))?;
        Ok(Self { key, conditions, json: accept::wants_json(request.headers()) })
    }

    /// The answer that needs no value, if there is one.
    fn settled(&self, version: u64) -> Result<Option<Reply>, Problem> {
        if !self.conditions.match_holds(Some(version)) {
            return Err(Problem::version_mismatch(Some(version)));
        }
        if self.conditions.none_match_holds(Some(version)) {
            return Ok(None);
        }
        let mut reply = reply::empty(StatusCode::NOT_MODIFIED);
        // What the whole answer would say of itself (RFC 9110, 15.4.5).
        let cached = if self.json { "no-store" } else { "no-cache" };
        let headers = reply.headers_mut();
        headers.insert(ETAG, tag::value(version));
        headers.insert(VARY, const { HeaderValue::from_static("accept") });
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cached));
        Ok(Some(reply))
    }

    /// The problem that no entry is.
    fn missing(&self, answer: Answer) -> Problem {
        if answer == Answer::Absent && !self.conditions.match_holds(None) {
            return Problem::version_mismatch(None);
        }
        refused(answer)
    }
}

impl Service {
    pub(super) async fn get<B>(&self, request: &Request<B>) -> Result<Reply, Problem> {
        let asked = Asked::of(request)?;
        let op = Op::Get(GetKind::UpTo(SMALL_BYTES_MAX as u32));
        let entry = match self.cluster.call(&asked.key, op).await {
            Ok(Answer::Entry(entry)) => entry,
            Ok(other) => return Err(asked.missing(other)),
            Err(failure) => return Err(no_answer(&failure, false)),
        };
        if let Some(reply) = asked.settled(entry.version)? {
            return Ok(reply);
        }
        match &entry.value {
            Some(value) if asked.json => self.enveloped(&asked.key, &entry, value, None).await,
            Some(value) => Ok(given(&entry, Body::whole(value.clone()))),
            None => self.get_long(&asked).await,
        }
    }

    pub(super) async fn head<B>(&self, request: &Request<B>) -> Result<Reply, Problem> {
        let asked = Asked::of(request)?;
        let entry = match self.cluster.call(&asked.key, Op::Get(GetKind::Head)).await {
            Ok(Answer::Entry(entry)) => entry,
            Ok(other) => return Err(asked.missing(other)),
            Err(failure) => return Err(no_answer(&failure, false)),
        };
        if let Some(reply) = asked.settled(entry.version)? {
            return Ok(reply);
        }
        let mut reply = given(&entry, Body::whole(Bytes::new()));
        reply.headers_mut().insert(CONTENT_LENGTH, entry.value_bytes.into());
        Ok(reply)
    }

    /// A value that was too long to come with others, on a connection of its own.
    async fn get_long(&self, asked: &Asked) -> Result<Reply, Problem> {
        let failed = |failure: Failure| {
            self.cluster.note(&failure);
            no_answer(&failure, false)
        };
        let permit = self.room().await?;
        let (node, mut stream) = self.cluster.stream(&asked.key).await.map_err(failed)?;
        let answer = tokio::time::timeout(self.node_timeout, stream.get(&asked.key)).await;
        let mut entry = match answer.unwrap_or(Err(Failure::Timeout)).map_err(failed)? {
            Answer::Entry(entry) => entry,
            other => return Err(asked.missing(other)),
        };
        // It may be another one by now than the one that was found too long.
        if let Some(reply) = asked.settled(entry.version)? {
            return Ok(reply);
        }
        if asked.json && u64::from(entry.value_bytes) > WHOLE_BYTES_MAX {
            let detail = "values above 1 MiB are given out as they are: leave Accept out";
            return Err(Problem::new(Kind::NotAcceptable, detail));
        }
        if let Some(value) = entry.value.take() {
            node.put_back(stream);
            let body = Body::whole(value.clone());
            return if asked.json {
                self.enveloped(&asked.key, &entry, &value, Some(permit)).await
            } else {
                Ok(given(&entry, body))
            };
        }
        let mut download = Download { from: Some((node, stream)), permit: Some(permit) };
        if !asked.json {
            return Ok(given(&entry, Body::pieces(download)));
        }
        let value = tokio::time::timeout(self.body_timeout, download.whole()).await;
        let value = value.map_err(|_| failed(Failure::Timeout))?;
        let value = value.map_err(|error| Problem::new(Kind::NoNode, error))?;
        self.enveloped(&asked.key, &entry, &value, download.permit.take()).await
    }

    /// The entry in JSON. Never cached: its tag is the one of the value as it is. What is long
    /// waits for room, unless it has some, and keeps it until it is written: escapes make a value
    /// up to six times as long.
    async fn enveloped(
        &self,
        key: &[u8],
        entry: &Entry,
        value: &[u8],
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Reply, Problem> {
        let permit = match permit {
            None if envelope::bytes_max(key, value) as u64 > SMALL_BYTES_MAX => {
                Some(self.room().await?)
            }
            permit => permit,
        };
        let text = envelope::write(key, value, entry.version, ttl_ms(entry));
        let text = match permit {
            Some(permit) => held(text, permit),
            None => Bytes::from(text),
        };
        let mut reply = reply::whole(StatusCode::OK, "application/json", text);
        describe(reply.headers_mut(), entry);
        Ok(reply)
    }
}

/// The entry as it is.
fn given(entry: &Entry, body: Body) -> Reply {
    let mut reply = Response::new(body);
    let headers = reply.headers_mut();
    let (kind, encoding) = meta::headers(&entry.meta);
    headers.insert(CONTENT_TYPE, kind);
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, encoding);
    }
    headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("no-cache") });
    // A browser shall not take for a page what somebody stored as something else.
    headers.insert(X_CONTENT_TYPE_OPTIONS, const { HeaderValue::from_static("nosniff") });
    describe(headers, entry);
    reply
}

fn describe(headers: &mut HeaderMap, entry: &Entry) {
    headers.insert(ETAG, tag::value(entry.version));
    headers.insert(VARY, const { HeaderValue::from_static("accept") });
    if let Some(ttl) = ttl_ms(entry) {
        headers.insert(TTL, ttl.into());
    }
}

fn ttl_ms(entry: &Entry) -> Option<u64> {
    (entry.expires_at_ms != 0).then(|| entry.expires_at_ms.saturating_sub(wall_ms()))
}

/// A value on its way from a node to a client.
#[derive(Debug)]
struct Download {
    /// Not there once the value is through.
    from: Option<(Rc<Node>, Stream)>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Download {
    /// All of it.
    async fn whole(&mut self) -> io::Result<Bytes> {
        let mut all = BytesMut::with_capacity(self.bytes_left() as usize);
        while let Some(piece) = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_piece(cx)).await
        {
            all.extend_from_slice(&piece?);
        }
        Ok(all.freeze())
    }
}

impl Pieces for Download {
    fn poll_piece(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let Some((_, stream)) = &mut self.from else { return Poll::Ready(None) };
        let piece = match stream.poll_piece(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece,
        };
        let through = stream.left() == 0;
        if through && let Some((node, stream)) = self.from.take() {
            node.put_back(stream);
        }
        Poll::Ready(piece.map(|piece| {
            piece.map_err(|failure| {
                log::warn!("a value broke off: {failure}");
                io::Error::other(failure)
            })
        }))
    }

    fn bytes_left(&self) -> u64 {
        self.from.as_ref().map_or(0, |(_, stream)| stream.left())
    }
}
