//! Bodies of requests, and problems out of what nodes say.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::Body;
use piccolo_schema::kv::Reason;
use tokio::sync::OwnedSemaphorePermit;

use crate::http::problem::{Kind, Problem};
use crate::upstream::answer::{Answer, Failure};

/// Bytes of a body at most that travel with other small requests.
pub(super) const SMALL_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a body or value that is whole in memory at most.
pub(super) const WHOLE_BYTES_MAX: u64 = 1 << 20;

/// The next piece of `body`; `None` at its end.
pub(super) async fn piece<B>(body: &mut B, limit: Duration) -> Result<Option<Bytes>, Problem>
where
    B: Body<Data = Bytes, Error: Display> + Unpin,
{
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

/// All of `body`, which is at most `bytes_max` long; `None` if it is longer. What passes
/// [`SMALL_BYTES_MAX`] waits for `room` first, and comes with it: how many such bodies are in
/// memory is bounded, however they were announced.
pub(super) async fn collect<B>(
    body: &mut B,
    bytes_max: u64,
    limit: Duration,
    room: impl Future<Output = Result<OwnedSemaphorePermit, Problem>>,
) -> Result<Option<(Bytes, Option<OwnedSemaphorePermit>)>, Problem>
where
    B: Body<Data = Bytes, Error: Display> + Unpin,
{
    let Some(first) = piece(body, limit).await? else { return Ok(Some((Bytes::new(), None))) };
    if body.is_end_stream() && first.len() as u64 <= SMALL_BYTES_MAX.min(bytes_max) {
        return Ok(Some((first, None)));
    }
    let (mut permit, mut room) = (None, pin!(room));
    let mut all = BytesMut::new();
    let mut next = Some(first);
    while let Some(more) = next {
        if (all.len() + more.len()) as u64 > bytes_max {
            return Ok(None);
        }
        if permit.is_none() && (all.len() + more.len()) as u64 > SMALL_BYTES_MAX {
            permit = Some(room.as_mut().await?);
        }
        all.extend_from_slice(&more);
        next = piece(body, limit).await?;
    }
    Ok(Some((all.freeze(), permit)))
}

/// `bytes` that give `permit` back when their memory is given back, wherever they are by then.
pub(super) fn held(bytes: Vec<u8>, permit: OwnedSemaphorePermit) -> Bytes {
    struct Held {
        bytes: Vec<u8>,
        _permit: OwnedSemaphorePermit,
    }
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    Bytes::from_owner(Held { bytes, _permit: permit })
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
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use hyper::body::Frame;
    use tokio::sync::Semaphore;

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

    /// A body of so many pieces of 10 KiB.
    struct Pieces(usize);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let left = self.0.checked_sub(1);
            self.0 = left.unwrap_or(0);
            Poll::Ready(left.map(|_| Ok(Frame::data(Bytes::from(vec![b'x'; 10 << 10])))))
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap().block_on(test);
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_body_of_unstated_length_waits_for_room_once_it_is_long() {
        run(async {
            let mut body = Pieces(20);
            let collected = collect(&mut body, WHOLE_BYTES_MAX, HOUR, std::future::pending());
            let mut collected = Box::pin(collected);
            let waits = poll_fn(|cx| Poll::Ready(collected.as_mut().poll(cx).is_pending())).await;
            drop(collected);
            // Six pieces are 60 KiB, and the seventh is in hand.
            assert_eq!((waits, body.0), (true, 13));
        });
    }

    #[test]
    fn a_body_that_had_to_wait_comes_with_its_permit() {
        run(async {
            let room = Arc::new(Semaphore::new(1));
            let permit = || async { Ok(Arc::clone(&room).acquire_owned().await.unwrap()) };
            let short = collect(&mut Pieces(6), WHOLE_BYTES_MAX, HOUR, permit()).await;
            assert!(short.unwrap().unwrap().1.is_none());
            let long = collect(&mut Pieces(7), WHOLE_BYTES_MAX, HOUR, permit()).await;
            let (bytes, permit) = long.unwrap().unwrap();
            assert_eq!((bytes.len(), room.available_permits()), (70 << 10, 0));
            drop(permit);
            assert_eq!(room.available_permits(), 1);
        });
    }

    #[test]
    fn a_permit_is_held_as_long_as_the_memory() {
        let room = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&room).try_acquire_owned().unwrap();
        let bytes = held(vec![b'x'; 10], permit);
        let part = bytes.slice(3..5);
        drop(bytes);
        assert_eq!((&part[..], room.available_permits()), (&b"xx"[..], 0));
        drop(part);
        assert_eq!(room.available_permits(), 1);
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
