//! A connection to a node that small requests share. Those of one turn of the runtime travel
//! in one frame, and so do their answers: that is what makes a small request cheap.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use piccolo_client::{Conversation, Event, Unasked};
use piccolo_schema::ids::Slot;
use piccolo_schema::key_slot::slot_of;
use piccolo_schema::kv::Op;
use tokio::io::AsyncWrite as _;
use tokio::sync::oneshot;

use super::answer::{Answer, Failure};
use super::socket::Socket;
use crate::clock::Clock;

/// Reads of one turn at most, so that a fast node does not starve the HTTP side.
const READS_MAX: usize = 8;

/// How long the oldest request may wait before nothing more is asked behind it: many times what a
/// node takes that works, and little beside the 5 s for which one holds what it cannot serve.
const STALL: Duration = Duration::from_millis(250);

/// What a connection to a node needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the node is, as `HOST:PORT`.
    pub address: String,
    /// What it asks for.
    pub password: Option<String>,
    /// Requests that may wait for it at most.
    pub requests_max: usize,
    /// How long it may take to answer.
    pub node_timeout: Duration,
    /// The time.
    pub clock: Clock,
}

/// A shared connection. Once it has failed it stays so.
#[derive(Clone, Debug)]
pub struct Channel(Rc<RefCell<State>>);

/// The answer, when it has come. Dropping it forgets the answer, not the request.
pub type Pending = oneshot::Receiver<Result<Answer, Failure>>;

#[derive(Debug)]
struct State {
    settings: Settings,
    /// Without its socket; there is none in it while the connection is being made.
    conversation: Option<Conversation>,
    waiting: VecDeque<Waiting>,
    failed: Option<Failure>,
    retired: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Waiting {
    since: u64,
    /// Not there if it has no key.
    slot: Option<Slot>,
    tell: oneshot::Sender<Result<Answer, Failure>>,
}

impl Channel {
    /// Connects.
    ///
    /// # Errors
    ///
    /// As [`Socket::connect`].
    pub async fn connect(settings: Settings) -> Result<Self, Failure> {
        let Socket { stream, conversation, .. } =
            Socket::connect(&settings.address, settings.password.as_deref(), false).await?;
        let state = State {
            settings,
            conversation: Some(conversation),
            waiting: VecDeque::new(),
            failed: None,
            retired: false,
            waker: None,
        };
        let channel = Self(Rc::new(RefCell::new(state)));
        tokio::task::spawn_local(channel.clone().drive(stream));
        Ok(channel)
    }

    /// Asks for something, in the frame of this turn.
    ///
    /// # Errors
    ///
    /// Too much waits already, or the connection has failed. Nothing was sent.
    pub fn ask(&self, key: &[u8], op: Op<'_>) -> Result<Pending, Failure> {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        let (Some(conversation), None) = (&mut state.conversation, &state.failed) else {
            return Err(state.unsent());
        };
        let waiting = state.waiting.len();
        if waiting >= state.settings.requests_max {
            return Err(Failure::Full { waiting });
        }
        match conversation.ask(key, op) {
            Ok(_) => {}
            Err(Unasked::Full { requests, .. }) => return Err(Failure::Full { waiting: requests }),
            Err(Unasked::TooLong { what, bytes, max }) => {
                return Err(Failure::TooLong { what, bytes, max });
            }
            Err(owing @ Unasked::Owing { .. }) => unreachable!("no value goes behind: {owing}"),
        }
        let slot = (!key.is_empty()).then(|| slot_of(key));
        let (tell, pending) = oneshot::channel();
        let since = state.settings.clock.millis();
        state.waiting.push_back(Waiting { since, slot, tell });
        state.wake();
        Ok(pending)
    }

    /// Whether it can be asked.
    pub fn is_open(&self) -> bool {
        self.0.borrow().failed.is_none()
    }

    /// Whether what is asked now would stand behind a request that the node does not answer;
    /// if so, that one's slot.
    pub fn stalled(&self) -> Option<Option<Slot>> {
        let state = self.0.borrow();
        let oldest = state.waiting.front()?;
        state.settings.clock.passed(oldest.since, STALL).then_some(oldest.slot)
    }

    /// Gives up if the oldest request has waited too long: what is behind it will not come either,
    /// since answers come in order.
    pub fn check(&self) {
        let mut state = self.0.borrow_mut();
        let settings = &state.settings;
        let late = state
            .waiting
            .front()
            .is_some_and(|oldest| settings.clock.passed(oldest.since, settings.node_timeout));
        if late {
            state.fail(&Failure::Timeout);
        }
    }

    /// Closes once nothing waits any more.
    pub fn retire(&self) {
        let mut state = self.0.borrow_mut();
        state.retired = true;
        state.wake();
    }

    /// Moves bytes between the socket and the state until the connection is over.
    async fn drive(self, stream: tokio::net::TcpStream) {
        let mut driver = Driver { stream, buffer: bytes::BytesMut::new(), state: self.0 };
        let why = poll_fn(|cx| driver.turn(cx)).await;
        let mut state = driver.state.borrow_mut();
        if let Some(why) = &why {
            log::warn!("{}: {why}", state.settings.address);
        }
        let why = why.unwrap_or_else(|| "the node is no member any more".to_owned());
        state.fail(&Failure::Lost { sent: false, why });
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Why nothing can be asked any more.
    fn unsent(&self) -> Failure {
        let why = self.failed.as_ref().map_or_else(String::new, Failure::why);
        Failure::Lost { sent: false, why }
    }

    /// Tells everybody who waits.
    fn fail(&mut self, failure: &Failure) {
        if self.failed.is_some() {
            return;
        }
        self.failed = Some(failure.clone());
        let Some(conversation) = self.conversation.take() else { return };
        for (waiting, (_, sent)) in self.waiting.drain(..).zip(conversation.lost()) {
            let told = match failure {
                Failure::Timeout if sent => Failure::Timeout,
                other => Failure::Lost { sent, why: other.why() },
            };
            // Who asked may have gone.
            drop(waiting.tell.send(Err(told)));
        }
        self.wake();
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Self { conversation: Some(conversation), waiting, .. } = self else { return Ok(()) };
        let mut odd = None;
        let taken = conversation.received(bytes, |event| match event {
            Event::Answer { answer, .. } => {
                let answer = Answer::of(&answer);
                if let (Some(waiting), Some(answer)) = (waiting.pop_front(), answer) {
                    // Who asked may have gone.
                    drop(waiting.tell.send(Ok(answer)));
                } else {
                    odd = Some("an answer to something else");
                }
            }
            Event::Welcome | Event::Piece { .. } => odd = Some("what was not asked for"),
        });
        taken.map_err(|error| error.to_string())?;
        odd.map_or(Ok(()), |odd| Err(format!("the node sent {odd}")))
    }
}

struct Driver {
    stream: tokio::net::TcpStream,
    buffer: bytes::BytesMut,
    state: Rc<RefCell<State>>,
}

impl Driver {
    /// One turn; ready when the connection is over, with the reason unless it was retired.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let read = receive(&mut self.stream, &mut self.buffer, state, cx);
        if let Err(why) = read {
            return Poll::Ready(Some(why));
        }
        let Some(conversation) = &mut state.conversation else {
            return Poll::Ready(state.failed.as_ref().map(ToString::to_string));
        };
        loop {
            let output = conversation.output();
            if output.is_empty() {
                break;
            }
            match Pin::new(&mut self.stream).poll_write(cx, output) {
                Poll::Ready(Ok(sent)) => conversation.sent(sent),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(error.to_string())),
                Poll::Pending => break,
            }
        }
        if state.retired && state.waiting.is_empty() {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn receive(
    stream: &mut tokio::net::TcpStream,
    buffer: &mut bytes::BytesMut,
    state: &mut State,
    cx: &mut Context<'_>,
) -> Result<(), String> {
    use tokio::io::AsyncReadExt as _;
    for _ in 0..READS_MAX {
        buffer.reserve(super::socket::READ_BYTES);
        let read = pin!(stream.read_buf(buffer)).poll(cx);
        match read {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(0)) => return Err("the node closed the connection".to_owned()),
            Poll::Ready(Ok(_)) => state.receive(buffer)?,
            Poll::Ready(Err(error)) => return Err(error.to_string()),
        }
        buffer.clear();
    }
    cx.waker().wake_by_ref();
    Ok(())
}
