//! Answers of the admin listener: JSON, and problems as RFC 9457 has them.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// An answer, complete in memory.
pub type Reply = Response<Full<Bytes>>;

/// `body` as JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    write(status, "application/json", body)
}

/// What went wrong and what to do about it, as `application/problem+json`.
pub fn problem(status: StatusCode, detail: &str) -> Reply {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    write(status, "application/problem+json", &body)
}

/// The path is there, but for another method.
pub fn method_not_allowed(allow: &'static str) -> Reply {
    let detail = format!("this path takes {allow} only");
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, &detail);
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// A text of this media type.
pub fn text(kind: &'static str, body: String) -> Reply {
    whole(StatusCode::OK, kind, body.into())
}

fn write(status: StatusCode, kind: &'static str, body: &impl Serialize) -> Reply {
    // Our own types of strings and numbers: there is nothing that JSON could not hold.
    let mut text = serde_json::to_vec(body).unwrap_or_default();
    text.push(b'\n');
    whole(status, kind, text)
}

fn whole(status: StatusCode, kind: &'static str, text: Vec<u8>) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
