//! Bodies of requests, and problems out of what nodes say.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use piccolo_schema::kv::Reason;

use crate::http::problem::{Kind, Problem};
use crate::upstream::answer::{Answer, Failure};

/// Bytes of a body at most that travel with other small requests.
pub(super) const SMALL_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a body or value that is whole in memory at most.
pub(super) const WHOLE_BYTES_MAX: u64 = 1 << 20;

/// The next piece of `body`; `None` at its end.
pub(super) async fn piece(body: &mut Incoming, limit: Duration) -> Result<Option<Bytes>, Problem> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
    match tokio::time::timeout(limit, frame).await {
        Err(_) => {
            let detail = format!("nothing of the body came for {} s", limit.as_secs());
            Err(Problem::new(Kind::BodyTimeout, detail))
        }
        Ok(None) => Ok(None),
        Ok(Some(Err(error))) => Err(Problem::new(Kind::BadRequest, format!("the body: {error}"))),
        // Trailers mean nothing here.
        Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
    }
}

/// All of `body`, which is at most `bytes_max` long; `None` if it is longer.
pub(super) async fn collect(
    body: &mut Incoming,
    bytes_max: u64,
    limit: Duration,
) -> Result<Option<Bytes>, Problem> {
    let Some(first) = piece(body, limit).await? else { return Ok(Some(Bytes::new())) };
    if body.is_end_stream() {
        return Ok((first.len() as u64 <= bytes_max).then_some(first));
    }
    let mut all = BytesMut::from(&first[..]);
    while let Some(more) = piece(body, limit).await? {
        if (all.len() + more.len()) as u64 > bytes_max {
            return Ok(None);
        }
        all.extend_from_slice(&more);
    }
    Ok(Some(all.freeze()))
}

/// The problem that an answer is which is not what was asked for.
pub(super) fn refused(answer: Answer) -> Problem {
    match answer {
        Answer::Unmet(current) => Problem::version_mismatch(current),
        Answer::Absent => Problem::no_such_key(),
        Answer::Unknown(why) => Problem::new(Kind::OutcomeUnknown, why),
        Answer::Refused { reason, detail } => {
            let kind = match reason {
                Reason::Malformed => Kind::BadRequest,
                Reason::TooLarge => Kind::BodyTooLarge,
                Reason::OutOfMemory => Kind::OutOfMemory,
                Reason::NotServed | Reason::Leaving => Kind::NotServed,
                Reason::Busy => Kind::Busy,
                Reason::WrongType | Reason::Unauthorised => Kind::BadGateway,
            };
            Problem::new(kind, detail)
        }
        other => Problem::new(Kind::BadGateway, format!("an odd answer: {other:?}")),
    }
}

/// The problem that no answer is.
pub(super) fn no_answer(failure: &Failure, write: bool) -> Problem {
    if write && failure.may_have_happened() {
        let detail = format!("the write may have been executed: read the key ({failure})");
        return Problem::new(Kind::OutcomeUnknown, detail);
    }
    let kind = match failure {
        Failure::Timeout => Kind::Timeout,
        Failure::Full { .. } => Kind::Busy,
        Failure::TooLong { what: "a value", .. } => Kind::BodyTooLarge,
        Failure::TooLong { .. } => Kind::BadRequest,
        Failure::Refused { reason: Reason::Leaving | Reason::Busy, .. } => Kind::NotServed,
        Failure::Refused { .. } => Kind::BadGateway,
        Failure::Connect(_) | Failure::Lost { .. } => Kind::NoNode,
    };
    Problem::new(kind, failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_unknown_fate_is_called_so_and_a_read_is_not() {
        let lost = |sent| Failure::Lost { sent, why: String::new() };
        assert_eq!(no_answer(&lost(true), true).kind, Kind::OutcomeUnknown);
        assert_eq!(no_answer(&Failure::Timeout, true).kind, Kind::OutcomeUnknown);
        assert_eq!(no_answer(&lost(false), true).kind, Kind::NoNode);
        assert_eq!(no_answer(&lost(true), false).kind, Kind::NoNode);
        assert_eq!(no_answer(&Failure::Timeout, false).kind, Kind::Timeout);
        let unknown = refused(Answer::Unknown("why".into()));
        assert_eq!(unknown.kind, Kind::OutcomeUnknown);
    }

    #[test]
    fn refusals_have_their_status() {
        for (reason, status) in [
            (Reason::Malformed, 400),
            (Reason::TooLarge, 413),
            (Reason::OutOfMemory, 507),
            (Reason::NotServed, 503),
            (Reason::Leaving, 503),
            (Reason::Busy, 503),
            (Reason::Unauthorised, 502),
            (Reason::WrongType, 502),
        ] {
            let problem = refused(Answer::Refused { reason, detail: String::new() });
            assert_eq!(problem.kind.parts().1.as_u16(), status, "{reason:?}");
        }
        assert_eq!(refused(Answer::Unmet(None)).kind, Kind::VersionMismatch);
    }
}
