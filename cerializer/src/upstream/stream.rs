//! A connection that carries one body at a time, in pieces: a slow client on one body holds up
//! nobody else.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use piccolo_client::{Broken, Event, Unasked};
use piccolo_schema::kv::{self, GetKind, Op, Set, Value};
use tokio::io::AsyncWriteExt as _;

use super::answer::{Answer, Failure};
use super::socket::Socket;

/// A greeted connection with nothing under way, or one body.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// Pieces that came together with what was before them.
    pieces: VecDeque<Bytes>,
    /// Bytes of a value that are still to be given out.
    left: u64,
}

impl Stream {
    /// Connects.
    ///
    /// # Errors
    ///
    /// The node cannot be reached in time, refuses, or is no node.
    pub async fn connect(address: &str, password: Option<&str>) -> Result<Self, Failure> {
        let socket = Socket::connect(address, password, true).await?;
        Ok(Self { socket, pieces: VecDeque::new(), left: 0 })
    }

    /// Whether it can carry another body: nothing is under way, and the node has neither closed
    /// nor said anything.
    pub fn is_idle(&self) -> bool {
        let conversation = &self.socket.conversation;
        let silent = matches!(
            self.socket.stream.try_read(&mut [0]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock
        );
        let done = conversation.unanswered() == 0 && conversation.value_owing() == 0;
        done && self.left == 0 && silent
    }

    /// Begins to store a value of `bytes` bytes, whose pieces [`Stream::send`] takes.
    ///
    /// # Errors
    ///
    /// The connection broke. Nothing was executed.
    pub async fn begin(&mut self, key: &[u8], set: Set<'_>, bytes: u32) -> Result<(), Failure> {
        let set = Set { value: Value::Behind(bytes), ..set };
        self.ask(key, Op::Set(set))?;
        self.socket.flush().await.map_err(|error| unsent(&error))
    }

    /// Sends the next piece of the value: at most what is left of it.
    ///
    /// # Errors
    ///
    /// The connection broke. Nothing was executed, since the value is not whole.
    pub async fn send(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.socket.stream.write_all(piece).await.map_err(|error| unsent(&error))?;
        self.socket.conversation.value_sent(piece.len() as u64);
        Ok(())
    }

    /// What became of the value, now that all of it is sent.
    ///
    /// # Errors
    ///
    /// The connection broke; the value may have been stored.
    pub async fn finish(&mut self) -> Result<Answer, Failure> {
        self.answer().await
    }

    /// Asks for the whole entry of `key`. If it comes without its value, that follows by
    /// [`Stream::poll_piece`].
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn get(&mut self, key: &[u8]) -> Result<Answer, Failure> {
        self.ask(key, Op::Get(GetKind::Whole))?;
        self.socket.flush().await.map_err(|error| lost(&error))?;
        self.answer().await
    }

    /// Bytes of the value still to be given out.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next piece of a value that follows; `None` at its end.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                self.left -= piece.len() as u64;
                return Poll::Ready(Some(Ok(piece)));
            }
            if self.left == 0 {
                return Poll::Ready(None);
            }
            let read = pin!(self.socket.read()).poll(cx);
            match read {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Err(closed()))),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(lost(&error)))),
                Poll::Ready(Ok(_)) => {}
            }
            if let Err(failure) = self.receive() {
                return Poll::Ready(Some(Err(failure)));
            }
        }
    }

    fn ask(&mut self, key: &[u8], op: Op<'_>) -> Result<(), Failure> {
        match self.socket.conversation.ask(key, op) {
            Ok(_) => Ok(()),
            Err(Unasked::TooLong { what, bytes, max }) => {
                Err(Failure::TooLong { what, bytes, max })
            }
            Err(other) => unreachable!("one body at a time: {other}"),
        }
    }

    /// Reads one answer, up to the value behind it.
    async fn answer(&mut self) -> Result<Answer, Failure> {
        loop {
            if self.socket.read().await.map_err(|error| lost(&error))? == 0 {
                return Err(closed());
            }
            if let Some(answer) = self.receive()? {
                return Ok(answer);
            }
        }
    }

    /// Takes in what came: the answer, if that is in it, and pieces of its value.
    fn receive(&mut self) -> Result<Option<Answer>, Failure> {
        let Self { socket, pieces, left } = self;
        let mut found = None;
        let taken = socket.take(|event| match event {
            Event::Answer { answer, .. } => {
                if let kv::Answer::Entry(kv::Entry { value: Some(Value::Behind(bytes)), .. }) =
                    answer
                {
                    *left = u64::from(bytes);
                }
                found = Answer::of(&answer);
            }
            Event::Piece { bytes, .. } => pieces.push_back(Bytes::copy_from_slice(bytes)),
            Event::Welcome => {}
        });
        taken.map_err(|broken| match broken {
            // Its last word: what it took it has answered before.
            Broken::Refused { reason, detail } => Failure::Refused { reason, detail },
            other => Failure::Lost { sent: true, why: other.to_string() },
        })?;
        Ok(found)
    }
}

fn unsent(error: &std::io::Error) -> Failure {
    Failure::Lost { sent: false, why: error.to_string() }
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::Lost { sent: true, why: error.to_string() }
}

fn closed() -> Failure {
    Failure::Lost { sent: true, why: "the node closed the connection".to_owned() }
}
