//! How long a connection may be silent: until its first byte, within a head, between requests,
//! and in the middle of a body.
//!
//! Hyper limits heads by a timer per request, which costs more than the request's own parsing, and
//! closes idle connections by the same limit. So one sweep over all connections does it here: what
//! moves only notes the time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::clock::Clock;
use crate::config::Config;

/// The limits on silence.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    first_byte: Duration,
    head: Duration,
    idle: Duration,
    body: Duration,
}

impl Limits {
    /// Those of `config`.
    pub fn of(config: &Config) -> Self {
        Self {
            first_byte: config.first_byte_timeout,
            head: config.head_timeout,
            idle: config.idle_timeout,
            body: config.body_timeout,
        }
    }
}

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing has come yet.
    New,
    /// Between requests.
    Idle,
    /// A head has begun to come, at this reading of the clock.
    Head(u64),
    /// A request is being answered: the limits of nodes and bodies hold.
    Serving,
    /// The answer is being written.
    Answered,
}

/// What is known of one connection.
#[derive(Debug)]
pub struct Watch {
    clock: Clock,
    phase: Cell<Phase>,
    moved: Cell<u64>,
    /// Bytes wait to be written and the client does not take them.
    blocked: Cell<bool>,
    /// The body of the answer comes in pieces, and more of them are to come.
    streaming: Cell<bool>,
    /// No further request shall be taken.
    pub stopping: Cell<bool>,
    /// It is over.
    pub killed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    fn new(clock: Clock) -> Self {
        Self {
            moved: Cell::new(clock.millis()),
            clock,
            phase: Cell::new(Phase::New),
            blocked: Cell::new(false),
            streaming: Cell::new(false),
            stopping: Cell::new(false),
            killed: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// A whole head has come.
    pub fn serving(&self) {
        self.phase.set(Phase::Serving);
    }

    /// The answer is known.
    pub fn answered(&self) {
        self.moved.set(self.clock.millis());
        self.phase.set(Phase::Answered);
    }

    /// The body of the answer comes in pieces, until what is returned is dropped.
    pub fn streaming(self: &Rc<Self>) -> Streaming {
        self.streaming.set(true);
        Streaming(Rc::clone(self))
    }

    /// Remembers whom to wake when the connection is stopped or killed.
    pub fn remember(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if known.is_none() {
            *known = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether it has been silent for too long.
    fn is_late(&self, limits: &Limits) -> bool {
        let late = |limit| self.clock.passed(self.moved.get(), limit);
        match self.phase.get() {
            _ if self.blocked.get() || self.streaming.get() => late(limits.body),
            Phase::New => late(limits.first_byte),
            Phase::Idle => late(limits.idle),
            Phase::Head(since) => self.clock.passed(since, limits.head),
            Phase::Serving => false,
            Phase::Answered => late(limits.idle.max(limits.body)),
        }
    }

    fn has_read(&self) {
        let now = self.clock.millis();
        self.moved.set(now);
        // What comes while an answer is awaited is its body, or the next head at the earliest.
        let answering = self.streaming.get();
        if !answering && !matches!(self.phase.get(), Phase::Head(_) | Phase::Serving) {
            self.phase.set(Phase::Head(now));
        }
    }

    fn has_written(&self) {
        self.blocked.set(false);
        self.moved.set(self.clock.millis());
    }

    /// Nothing is left to write.
    fn has_flushed(&self) {
        if self.phase.get() == Phase::Answered && !self.streaming.get() {
            self.phase.set(Phase::Idle);
        }
    }
}

/// Stands for a body that comes in pieces.
#[derive(Debug)]
pub struct Streaming(Rc<Watch>);

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.streaming.set(false);
    }
}

/// All connections.
#[derive(Debug)]
pub struct Watches {
    clock: Clock,
    limits: Limits,
    all: RefCell<BTreeMap<u64, Rc<Watch>>>,
    last: Cell<u64>,
}

impl Watches {
    /// None yet.
    pub fn new(clock: Clock, limits: Limits) -> Rc<Self> {
        Rc::new(Self { clock, limits, all: RefCell::default(), last: Cell::new(0) })
    }

    /// Connections that are open.
    pub fn count(&self) -> usize {
        self.all.borrow().len()
    }

    /// Watches one more, until the guard is dropped.
    pub fn add(self: &Rc<Self>) -> Watched {
        let number = self.last.get() + 1;
        self.last.set(number);
        let watch = Rc::new(Watch::new(self.clock.clone()));
        self.all.borrow_mut().insert(number, Rc::clone(&watch));
        Watched { number, watch, watches: Rc::clone(self) }
    }

    /// Ends the connections that have been silent for too long.
    pub fn sweep(&self) {
        for watch in self.all.borrow().values().filter(|watch| watch.is_late(&self.limits)) {
            watch.killed.set(true);
            watch.wake();
        }
    }

    /// Has every connection end once it has answered what it was asked.
    pub fn stop(&self) {
        for watch in self.all.borrow().values() {
            watch.stopping.set(true);
            watch.killed.set(watch.phase.get() == Phase::New);
            watch.wake();
        }
    }
}

/// One connection on the list.
#[derive(Debug)]
pub struct Watched {
    number: u64,
    /// What is known of it.
    pub watch: Rc<Watch>,
    watches: Rc<Watches>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watches.all.borrow_mut().remove(&self.number);
    }
}

/// A socket that notes when something moves.
#[derive(Debug)]
pub struct WatchedStream {
    stream: TcpStream,
    watch: Rc<Watch>,
}

impl WatchedStream {
    /// Notes in `watch` what moves on `stream`.
    pub fn new(stream: TcpStream, watch: Rc<Watch>) -> Self {
        Self { stream, watch }
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() && buffer.filled().len() > before {
            self.watch.has_read();
        }
        read
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        match written {
            Poll::Ready(_) => self.watch.has_written(),
            Poll::Pending => self.watch.blocked.set(true),
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        match written {
            Poll::Ready(_) => self.watch.has_written(),
            Poll::Pending => self.watch.blocked.set(true),
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch.has_flushed();
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        first_byte: Duration::ZERO,
        head: Duration::from_hours(1),
        idle: Duration::from_hours(1),
        body: Duration::ZERO,
    };

    #[test]
    fn every_phase_has_its_own_limit() {
        let watch = Watch::new(Clock::start());
        assert!(watch.is_late(&LIMITS), "no first byte");
        watch.has_read();
        assert!(!watch.is_late(&LIMITS), "a head has begun");
        assert!(watch.is_late(&Limits { head: Duration::ZERO, ..LIMITS }));
        watch.serving();
        assert!(!watch.is_late(&Limits { idle: Duration::ZERO, ..LIMITS }));
        watch.blocked.set(true);
        assert!(watch.is_late(&LIMITS), "the client takes no bytes");
        watch.has_written();
        watch.answered();
        assert!(!watch.is_late(&LIMITS));
        watch.has_flushed();
        assert!(watch.is_late(&Limits { idle: Duration::ZERO, ..LIMITS }));
    }

    #[test]
    fn a_body_in_pieces_has_the_limit_of_bodies_until_it_is_through() {
        let watch = Rc::new(Watch::new(Clock::start()));
        let hour = Limits { body: Duration::from_hours(1), idle: Duration::ZERO, ..LIMITS };
        watch.serving();
        let streaming = watch.streaming();
        watch.answered();
        // All that has come so far is written, and the client sends its next request.
        watch.has_flushed();
        watch.has_read();
        assert!(watch.is_late(&LIMITS), "the node stalls");
        assert!(!watch.is_late(&Limits { head: Duration::ZERO, ..hour }));
        drop(streaming);
        watch.has_flushed();
        assert!(watch.is_late(&hour), "idle");
    }

    #[test]
    fn a_connection_is_on_the_list_as_long_as_its_guard() {
        let watches = Watches::new(Clock::start(), LIMITS);
        let watched = watches.add();
        let served = watches.add();
        served.watch.has_read();
        assert_eq!(watches.count(), 2);
        watches.sweep();
        assert!(watched.watch.killed.get() && !served.watch.killed.get());
        watches.stop();
        assert!(served.watch.stopping.get() && !served.watch.killed.get());
        drop(watched);
        assert_eq!(watches.count(), 1);
    }
}
