//! The thread of one shard: its Poll, its sockets, its queues.

use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use piccolo_schema::slot_message::Route;
use piccolo_schema::time::Moment;

use super::clock::Clock;
use super::doorbell::BELL;
use super::handoff::{Handoff, ShardEnd};
use super::socket::{ReadResult, Socket};
use crate::admin::AdminRequest;
use crate::shard::{Action, MeshBatch, Shard, StreamKey};

/// Bytes that one connection is read of in one turn at most.
const READ_BYTES: usize = 64 << 10;

/// Events taken from the system at once at most.
const EVENTS_MAX: usize = 1024;

/// Time to wait for room in a queue that is full.
const FULL_RETRY: Duration = Duration::from_millis(1);

/// Drives one shard.
#[derive(Debug)]
pub(super) struct Worker {
    shard: Shard,
    poll: Poll,
    end: ShardEnd,
    clock: Clock,
    /// By the index of their streams.
    sockets: Vec<Option<Socket>>,
    /// Connections that may have more to read.
    unread: Vec<StreamKey>,
    buffer: Box<[u8]>,
    /// Per sibling, what found its queue full.
    waiting: Vec<Option<MeshBatch>>,
    /// What the reactor is to hear of routes and has not been told.
    routes: Vec<Route>,
    /// When the turn began whose end has not been told.
    busy_since: Option<Moment>,
    stopped: bool,
}

impl Worker {
    pub(super) fn new(shard: Shard, poll: Poll, end: ShardEnd, clock: Clock) -> Self {
        let waiting = end.outbound.iter().map(|_| None).collect();
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        Self {
            shard,
            poll,
            end,
            clock,
            sockets: Vec::new(),
            unread: Vec::new(),
            buffer,
            waiting,
            routes: Vec::new(),
            busy_since: None,
            stopped: false,
        }
    }

    /// Runs until the reactor says stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.stopped {
            self.wait(&mut events);
            let now = self.clock.now();
            self.tell_busy(now.moment);
            self.busy_since = Some(now.moment);
            self.shard.set_now(now);
            self.take_events(&events);
            self.take_handoffs();
            self.take_batches();
            self.read_all();
            self.shard.turn();
            self.act();
            self.flush();
            self.give_batches();
        }
    }

    fn wait(&mut self, events: &mut Events) {
        let timeout = self.timeout();
        self.end.bell.announce_sleep();
        let idle =
            self.end.handoffs.is_empty() && self.end.inbound.iter().all(|queue| queue.is_empty());
        let timeout = if idle { timeout } else { Duration::ZERO };
        if let Err(error) = self.poll.poll(events, Some(timeout))
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            panic!("the system's event queue failed: {error}");
        }
        self.end.bell.awake();
    }

    /// Tells the shard how long its turn took. The clock is read for the wait anyway; between
    /// turns without one it is not, and the second one's begin is the first one's end.
    fn tell_busy(&mut self, now: Moment) {
        if let Some(since) = self.busy_since.take() {
            self.shard.turn_took(now.since(since));
        }
    }

    fn timeout(&mut self) -> Duration {
        if self.unread.iter().any(|key| self.shard.wants(*key)) {
            return Duration::ZERO;
        }
        let now = self.clock.now().moment;
        self.tell_busy(now);
        let due = self.shard.deadline().since(now);
        let full = self.waiting.iter().any(Option::is_some) || !self.routes.is_empty();
        if full { due.min(FULL_RETRY) } else { due }
    }

    fn take_events(&mut self, events: &Events) {
        for event in events {
            if event.token() == BELL {
                continue;
            }
            let index = event.token().0;
            let Some(Some(socket)) = self.sockets.get_mut(index) else { continue };
            let key = socket.key;
            if socket.connecting {
                match socket.connected() {
                    None => continue,
                    Some(false) => {
                        self.drop_socket(key);
                        continue;
                    }
                    Some(true) => socket.connecting = false,
                }
            }
            if event.is_writable() {
                socket.writable = true;
                self.write(key);
            }
            let Some(Some(socket)) = self.sockets.get_mut(index) else { continue };
            socket.read_closed |= event.is_read_closed();
            if (event.is_readable() || event.is_read_closed() || event.is_error())
                && !socket.readable
            {
                socket.readable = true;
                self.unread.push(key);
            }
        }
    }

    fn take_handoffs(&mut self) {
        while let Some(handoff) = self.end.handoffs.pop() {
            match handoff {
                Handoff::Client(stream, address, door) => {
                    let key = self.shard.accept_client(address, door);
                    self.adopt(key, stream, false, false);
                }
                Handoff::Link(stream) => {
                    let key = self.shard.accept_link();
                    self.adopt(key, stream, false, true);
                }
                Handoff::Control(control) => self.shard.control(control),
                Handoff::Stop => self.stopped = true,
            }
        }
    }

    fn take_batches(&mut self) {
        for from in 0..self.end.inbound.len() {
            while let Some(batch) = self.end.inbound[from].pop() {
                self.shard.take_batch(from as u16, batch);
            }
        }
    }

    /// Makes a connection ours: its events come with the index of its stream.
    fn adopt(&mut self, key: StreamKey, stream: TcpStream, connecting: bool, link: bool) {
        let mut socket = Socket::new(key, stream, connecting, link);
        let index = key.index as usize;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(socket.stream(), Token(index), interest);
        if let Err(error) = registered {
            log::warn!("a connection cannot be watched: {error}");
            return self.shard.closed(key);
        }
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] = Some(socket);
    }

    /// Reads once from every connection that may have something, and may be read.
    fn read_all(&mut self) {
        let mut unread = std::mem::take(&mut self.unread);
        unread.retain(|key| self.read(*key));
        self.unread = unread;
    }

    /// Returns whether there may be more to read.
    fn read(&mut self, key: StreamKey) -> bool {
        let Some(Some(socket)) = self.sockets.get_mut(key.index as usize) else { return false };
        if socket.key != key || socket.ended {
            return false;
        }
        if !self.shard.wants(key) {
            return true;
        }
        match socket.read(&mut self.buffer) {
            ReadResult::Bytes(bytes) => {
                let more = socket.readable;
                self.shard.received(key, &self.buffer[..bytes]);
                more
            }
            ReadResult::Nothing => false,
            ReadResult::End => {
                if self.shard.ended(key) {
                    self.drop_socket(key);
                }
                false
            }
            ReadResult::Failed => {
                self.drop_socket(key);
                false
            }
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.shard.next_action() {
            match action {
                Action::Connect { stream: key, address } => match TcpStream::connect(address) {
                    Ok(stream) => self.adopt(key, stream, true, true),
                    Err(error) => {
                        log::debug!("no connection to {address}: {error}");
                        self.shard.closed(key);
                    }
                },
                Action::Close(key) => self.forget(key),
                Action::Leave => {
                    log::info!("a client says SHUTDOWN");
                    if self.end.requests.push(AdminRequest::Leave).is_err() {
                        log::debug!("the reactor has been told often enough");
                    }
                }
                Action::Warn(text) => log::warn!("{text}"),
            }
        }
        self.routes.append(&mut self.shard.take_routes());
        if !self.routes.is_empty() {
            let routes = std::mem::take(&mut self.routes);
            if let Err(back) = self.end.routes.push(routes) {
                self.routes = back;
            }
            self.end.reactor.ring();
        }
    }

    fn flush(&mut self) {
        while let Some(key) = self.shard.dirty() {
            self.write(key);
        }
    }

    fn write(&mut self, key: StreamKey) {
        let Some(Some(socket)) = self.sockets.get_mut(key.index as usize) else { return };
        if socket.key != key || socket.connecting {
            return;
        }
        match socket.write(self.shard.output(key)) {
            Some(bytes) => {
                if self.shard.sent(key, bytes) {
                    self.drop_socket(key);
                }
            }
            None => self.drop_socket(key),
        }
    }

    /// Gives each sibling what there is for it, in one batch, and wakes those that sleep.
    fn give_batches(&mut self) {
        for to in 0..self.end.outbound.len() {
            let batch = match self.waiting[to].take() {
                Some(batch) => Some(batch),
                None => self.shard.take_outbound(to as u16),
            };
            let Some(batch) = batch else { continue };
            // A full queue is no reason to stop reading: the batch waits here, and what comes
            // after it gathers in the shard.
            if let Err(back) = self.end.outbound[to].push(batch) {
                self.waiting[to] = Some(back);
            }
            self.end.bells[to].ring();
        }
    }

    /// A connection has ended: the shard is told.
    fn drop_socket(&mut self, key: StreamKey) {
        self.forget(key);
        self.shard.closed(key);
    }

    fn forget(&mut self, key: StreamKey) {
        let Some(place) = self.sockets.get_mut(key.index as usize) else { return };
        if let Some(socket) = place.take_if(|socket| socket.key == key) {
            let mut socket = socket;
            if let Err(error) = self.poll.registry().deregister(socket.stream()) {
                log::debug!("a connection cannot be let go: {error}");
            }
        }
    }
}
