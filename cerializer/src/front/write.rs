//! PUT and DELETE of a key.

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::ETAG;
use hyper::{Request, StatusCode};
use piccolo_schema::kv::{Condition, Expiry, GetKind, Op, Set, Value};
use tokio::sync::OwnedSemaphorePermit;

use super::body::{SMALL_BYTES_MAX, WHOLE_BYTES_MAX, collect, no_answer, piece, refused};
use super::service::Service;
use crate::http::condition::{Conditions, unchanged};
use crate::http::problem::{Kind, Problem};
use crate::http::query::{self, BadQuery};
use crate::http::reply::{self, Reply};
use crate::http::{meta, route, tag, ttl};
use crate::upstream::answer::{Answer, Failure};
use crate::upstream::stream::Stream;

/// How often a condition that takes a look first is tried while the key changes under it.
const LOOKS_MAX: usize = 4;

/// What a request writes.
struct Asked {
    key: Bytes,
    conditions: Conditions,
}

impl Asked {
    fn of<B>(request: &Request<B>) -> Result<Self, Problem> {
        let key = route::key(request.uri().path());
        let key = key.map_err(|error| Problem::new(Kind::BadKey, error))?;
        let conditions = Conditions::of(request.headers())
            .map_err(|(name, error)| Problem::new(Kind::BadRequest, format!("{name}: {error}")))?;
        Ok(Self { key, conditions })
    }
}

/// A value with what is kept beside it.
struct Put {
    expiry: Expiry,
    meta: Bytes,
}

impl Put {
    fn of<B>(request: &Request<B>) -> Result<Self, Problem> {
        let bad = |error: &dyn ToString| Problem::new(Kind::BadRequest, error.to_string());
        let [ttl] = query::parse(request.uri().query(), ["ttl"]).map_err(|error| bad(&error))?;
        let expiry = match ttl.as_deref() {
            None => Expiry::Never,
            Some(b"keep") => Expiry::Keep,
            Some(text) => match ttl::parse(text) {
                Ok(ms) => Expiry::InMs(ms),
                Err(error) => return Err(bad(&format!("ttl={:?}: {error}", query::shown(text)))),
            },
        };
        let meta = meta::of(request.headers()).map_err(|error| bad(&error))?;
        Ok(Self { expiry, meta })
    }

    fn set<'a>(&'a self, value: Value<'a>, condition: Condition) -> Set<'a> {
        Set { value, condition, expiry: self.expiry, meta: &self.meta }
    }
}

impl Service {
    pub(super) async fn put(&self, request: Request<Incoming>) -> Result<Reply, Problem> {
        let asked = Asked::of(&request)?;
        let put = Put::of(&request)?;
        let mut body = request.into_body();
        let length = body.size_hint().exact();
        if let Some(bytes) = length.filter(|bytes| *bytes > self.body_bytes_max) {
            let max = self.body_bytes_max;
            let detail = format!("the body has {bytes} bytes: at most {max} are taken");
            return Err(Problem::new(Kind::BodyTooLarge, detail));
        }
        if let Some(bytes) = length.filter(|bytes| *bytes > SMALL_BYTES_MAX) {
            return self.put_long(&asked, &put, bytes as u32, From::Client(body), None).await;
        }
        let whole_max = WHOLE_BYTES_MAX.min(self.body_bytes_max);
        let collected = collect(&mut body, whole_max, self.body_timeout, self.room()).await?;
        let Some((value, permit)) = collected else {
            let detail = "a body above 1 MiB needs a Content-Length";
            return Err(Problem::new(Kind::LengthRequired, detail));
        };
        if value.len() as u64 > SMALL_BYTES_MAX {
            let bytes = value.len() as u32;
            return self.put_long(&asked, &put, bytes, From::Memory(value), permit).await;
        }
        let write = |condition| Op::Set(put.set(Value::Here(&value), condition));
        Self::written(self.change(&asked, write).await?)
    }

    pub(super) async fn delete<B>(&self, request: &Request<B>) -> Result<Reply, Problem> {
        let bad = |error: BadQuery| Problem::new(Kind::BadRequest, error);
        let asked = Asked::of(request)?;
        let [missing] = query::parse(request.uri().query(), ["missing"]).map_err(bad)?;
        if let Some(other) = missing.as_deref().filter(|given| *given != b"ok") {
            let (name, given) = ("missing", query::shown(other));
            return Err(bad(BadQuery::Value { name, given, wanted: "write ok, or leave it out" }));
        }
        match self.change(&asked, Op::Delete).await? {
            Answer::Written { .. } => Ok(reply::empty(StatusCode::NO_CONTENT)),
            Answer::Absent if !asked.conditions.match_holds(None) => {
                Err(Problem::version_mismatch(None))
            }
            Answer::Absent if missing.is_some() => Ok(reply::empty(StatusCode::NO_CONTENT)),
            other => Err(refused(other)),
        }
    }

    /// Writes under the conditions asked for.
    async fn change<'a>(
        &self,
        asked: &Asked,
        write: impl Fn(Condition) -> Op<'a>,
    ) -> Result<Answer, Problem> {
        if let Some(condition) = asked.conditions.single() {
            return self.try_write(&asked.key, write(condition)).await;
        }
        for _ in 0..LOOKS_MAX {
            let condition = self.look(asked).await?;
            let answer = self.try_write(&asked.key, write(condition)).await?;
            if !matches!(answer, Answer::Unmet(_)) {
                return Ok(answer);
            }
        }
        Err(Problem::new(Kind::Busy, "the key changes all the time"))
    }

    async fn try_write(&self, key: &[u8], op: Op<'_>) -> Result<Answer, Problem> {
        self.cluster.call(key, op).await.map_err(|failure| no_answer(&failure, true))
    }

    /// Checks conditions that the store does not know; what holds as long as nothing changes.
    async fn look(&self, asked: &Asked) -> Result<Condition, Problem> {
        let current = match self.cluster.call(&asked.key, Op::Get(GetKind::Head)).await {
            Ok(Answer::Entry(entry)) => Some(entry.version),
            Ok(Answer::Absent) => None,
            Ok(other) => return Err(refused(other)),
            Err(failure) => return Err(no_answer(&failure, false)),
        };
        let conditions = &asked.conditions;
        if conditions.match_holds(current) && conditions.none_match_holds(current) {
            Ok(unchanged(current))
        } else {
            Err(Problem::version_mismatch(current))
        }
    }

    fn written(answer: Answer) -> Result<Reply, Problem> {
        let Answer::Written { version, created } = answer else { return Err(refused(answer)) };
        let status = if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
        let mut reply = reply::empty(status);
        reply.headers_mut().insert(ETAG, tag::value(version));
        Ok(reply)
    }

    /// Copies a long value to the node in pieces, on a connection of its own.
    async fn put_long(
        &self,
        asked: &Asked,
        put: &Put,
        bytes: u32,
        mut from: From,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Reply, Problem> {
        let failed = |failure: Failure| {
            self.cluster.note(&failure);
            no_answer(&failure, true)
        };
        let condition = match asked.conditions.single() {
            Some(condition) => condition,
            None => self.look(asked).await?,
        };
        let _permit = match permit {
            Some(permit) => permit,
            None => self.room().await?,
        };
        let (node, mut stream) = self.cluster.stream(&asked.key).await.map_err(failed)?;
        let set = put.set(Value::Behind(bytes), condition);
        stream.begin(&asked.key, set, bytes).await.map_err(failed)?;
        if let Err(failure) = self.copy(&mut from, &mut stream).await? {
            // A node that refuses says so before it closes.
            let said = tokio::time::timeout(self.node_timeout, stream.finish()).await;
            return match said {
                Ok(Ok(answer)) => Err(refused(answer)),
                _ => Err(failed(failure)),
            };
        }
        let answer = tokio::time::timeout(self.node_timeout, stream.finish()).await;
        let answer = answer.unwrap_or(Err(Failure::Timeout)).map_err(failed)?;
        node.put_back(stream);
        match answer {
            // The body is gone, so that this cannot look again.
            Answer::Unmet(current)
                if asked.conditions.match_holds(current)
                    && asked.conditions.none_match_holds(current) =>
            {
                Err(Problem::new(Kind::Busy, "the key changed meanwhile"))
            }
            answer => Self::written(answer),
        }
    }

    /// Sends a body to its end. Outside: what is the client's fault; inside: the node's.
    async fn copy(
        &self,
        from: &mut From,
        stream: &mut Stream,
    ) -> Result<Result<(), Failure>, Problem> {
        loop {
            let next = match from {
                From::Client(body) => piece(body, self.body_timeout).await?,
                From::Memory(value) => {
                    Some(std::mem::take(value)).filter(|value| !value.is_empty())
                }
            };
            let Some(next) = next else { return Ok(Ok(())) };
            let sent = tokio::time::timeout(self.body_timeout, stream.send(&next)).await;
            let why = "it takes no bytes".to_owned();
            if let Err(failure) = sent.unwrap_or(Err(Failure::Lost { sent: false, why })) {
                return Ok(Err(failure));
            }
        }
    }
}

/// Where a long body comes from.
enum From {
    Client(Incoming),
    Memory(Bytes),
}
