//! What can go wrong, as `application/problem+json` (RFC 9457).

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use super::envelope::json;
use super::reply::{self, Reply};
use super::tag;

/// Everything that can go wrong: the closed list of types, `urn:piccolo:problem:` and the word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A parameter or header that makes no sense.
    BadRequest,
    /// An empty or broken key.
    BadKey,
    /// The token is missing or another one.
    Unauthorised,
    /// A page in a browser asks, from elsewhere.
    Forbidden,
    /// No such path.
    NoSuchPath,
    /// No such key.
    NoSuchKey,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The value does not fit the JSON envelope.
    NotAcceptable,
    /// The body did not come.
    BodyTimeout,
    /// A body of unstated length that is long.
    LengthRequired,
    /// The condition is not met.
    VersionMismatch,
    /// The body is too long.
    BodyTooLarge,
    /// A node cannot be spoken to.
    BadGateway,
    /// No node answers.
    NoNode,
    /// Nobody is known to serve the key at the moment.
    NotServed,
    /// Too much waits.
    Busy,
    /// A node did not answer in time.
    Timeout,
    /// Whether the write was executed cannot be told.
    OutcomeUnknown,
    /// The cluster is full.
    OutOfMemory,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::BadRequest,
        Self::BadKey,
        Self::Unauthorised,
        Self::Forbidden,
        Self::NoSuchPath,
        Self::NoSuchKey,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::BodyTimeout,
        Self::LengthRequired,
        Self::VersionMismatch,
        Self::BodyTooLarge,
        Self::BadGateway,
        Self::NoNode,
        Self::NotServed,
        Self::Busy,
        Self::Timeout,
        Self::OutcomeUnknown,
        Self::OutOfMemory,
    ];

    /// Its word and its status.
    pub fn parts(self) -> (&'static str, StatusCode) {
        match self {
            Self::BadRequest => ("bad-request", StatusCode::BAD_REQUEST),
            Self::BadKey => ("bad-key", StatusCode::BAD_REQUEST),
            Self::Unauthorised => ("unauthorised", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN),
            Self::NoSuchPath => ("no-such-path", StatusCode::NOT_FOUND),
            Self::NoSuchKey => ("no-such-key", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::NotAcceptable => ("not-acceptable", StatusCode::NOT_ACCEPTABLE),
            Self::BodyTimeout => ("body-timeout", StatusCode::REQUEST_TIMEOUT),
            Self::LengthRequired => ("length-required", StatusCode::LENGTH_REQUIRED),
            Self::VersionMismatch => ("version-mismatch", StatusCode::PRECONDITION_FAILED),
            Self::BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::BadGateway => ("bad-gateway", StatusCode::BAD_GATEWAY),
            Self::NoNode => ("no-node", StatusCode::SERVICE_UNAVAILABLE),
            Self::NotServed => ("not-served", StatusCode::SERVICE_UNAVAILABLE),
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE),
            Self::Timeout => ("timeout", StatusCode::GATEWAY_TIMEOUT),
            Self::OutcomeUnknown => ("outcome-unknown", StatusCode::GATEWAY_TIMEOUT),
            Self::OutOfMemory => ("out-of-memory", StatusCode::INSUFFICIENT_STORAGE),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request makes no sense",
            Self::BadKey => "The path names no key",
            Self::Unauthorised => "A token is needed",
            Self::Forbidden => "Not from there",
            Self::NoSuchPath => "No such path",
            Self::NoSuchKey => "No such key",
            Self::MethodNotAllowed => "Another method is needed",
            Self::NotAcceptable => "The value does not fit JSON",
            Self::BodyTimeout => "The body did not come",
            Self::LengthRequired => "A Content-Length is needed",
            Self::VersionMismatch => "The condition is not met",
            Self::BodyTooLarge => "The body is too long",
            Self::BadGateway => "The nodes cannot be spoken to",
            Self::NoNode => "No node answers",
            Self::NotServed => "The key is not served at the moment",
            Self::Busy => "Too much waits",
            Self::Timeout => "No answer in time",
            Self::OutcomeUnknown => "The outcome is unknown",
            Self::OutOfMemory => "The cluster is full",
        }
    }
}

/// One thing that went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Which.
    pub kind: Kind,
    /// What was found and what to do about it.
    pub detail: String,
    /// The version that is there, for [`Kind::VersionMismatch`]; `None` for no key.
    pub current: Option<u64>,
    /// The methods that the path takes, for [`Kind::MethodNotAllowed`].
    pub allow: &'static str,
}

impl Problem {
    /// A problem with its detail.
    #[expect(clippy::needless_pass_by_value, reason = "most texts are made for this call")]
    pub fn new(kind: Kind, detail: impl ToString) -> Self {
        Self { kind, detail: detail.to_string(), current: None, allow: "" }
    }

    /// There is no such key.
    pub fn no_such_key() -> Self {
        Self::new(Kind::NoSuchKey, "there is no such key, or it has expired")
    }

    /// The condition is not met by `current`.
    pub fn version_mismatch(current: Option<u64>) -> Self {
        let detail = match current {
            Some(_) => "the key has another version: read it again, then try with its ETag",
            None => "there is no such key",
        };
        Self { current, ..Self::new(Kind::VersionMismatch, detail) }
    }

    /// The path does not take this method.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("this path takes {allow}");
        Self { allow, ..Self::new(Kind::MethodNotAllowed, detail) }
    }

    /// The answer that says so.
    pub fn reply(&self) -> Reply {
        let (word, status) = self.kind.parts();
        let body = Body {
            kind: format!("urn:piccolo:problem:{word}"),
            title: self.kind.title(),
            status: status.as_u16(),
            detail: &self.detail,
            outcome: (self.kind == Kind::OutcomeUnknown).then_some("unknown"),
            current_version: self.current.map(tag::text),
        };
        let mut reply = reply::whole(status, "application/problem+json", json(&body));
        let headers = reply.headers_mut();
        match self.kind {
            Kind::Unauthorised => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Kind::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static(self.allow));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Some(version) = self.current {
            headers.insert(hyper::header::ETAG, tag::value(version));
        }
        reply
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn told(problem: &Problem) -> (Reply, Value) {
        let reply = problem.reply();
        let (parts, body) = reply.into_parts();
        let mut body = std::pin::pin!(body.collect());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(body) = body.as_mut().poll(&mut cx) else {
            panic!("a problem is there at once")
        };
        let body = body.unwrap().to_bytes();
        let json = serde_json::from_slice(&body).unwrap();
        (Reply::from_parts(parts, reply::Body::whole(body)), json)
    }

    #[test]
    fn every_kind_has_a_word_of_its_own_and_says_its_status() {
        let mut words = BTreeSet::new();
        for kind in Kind::ALL {
            let (word, status) = kind.parts();
            assert!(words.insert(word), "{word} stands twice");
            let (reply, json) = told(&Problem::new(kind, "why"));
            assert_eq!(reply.status(), status);
            assert_eq!(reply.headers()["content-type"], "application/problem+json");
            assert_eq!(json["type"], format!("urn:piccolo:problem:{word}"));
            assert_eq!(
                (&json["status"], &json["detail"]),
                (&status.as_u16().into(), &"why".into())
            );
            let again = status == StatusCode::SERVICE_UNAVAILABLE;
            assert_eq!(reply.headers().contains_key("retry-after"), again, "{word}");
            assert_eq!(json["outcome"] == "unknown", kind == Kind::OutcomeUnknown);
        }
    }

    #[test]
    fn a_mismatch_tells_what_is_there() {
        let (reply, json) = told(&Problem::version_mismatch(Some(255)));
        assert_eq!(reply.headers()["etag"], "\"00000000000000ff\"");
        assert_eq!(json["current_version"], "00000000000000ff");
        let (reply, json) = told(&Problem::version_mismatch(None));
        assert!(!reply.headers().contains_key("etag") && json.get("current_version").is_none());
    }

    #[test]
    fn headers_that_a_status_needs_are_there() {
        let reply = Problem::new(Kind::Unauthorised, "").reply();
        assert_eq!(reply.headers()["www-authenticate"], "Bearer");
        let reply = Problem::method_not_allowed("GET, HEAD").reply();
        assert_eq!(reply.headers()["allow"], "GET, HEAD");
    }

    /// The guide lists every type.
    #[test]
    fn the_guide_has_every_type() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/rest.md");
        let page = std::fs::read_to_string(page).unwrap();
        for kind in Kind::ALL {
            let (word, status) = kind.parts();
            let row = format!("| `{word}` | {} |", status.as_u16());
            assert!(page.contains(&row), "no row {row}");
        }
    }
}
