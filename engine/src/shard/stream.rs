//! The connections of a shard: bytes in, bytes out, and what is spoken on each.

use slab::Slab;

use super::counters::Proto;
use super::link::{Inlink, Outlink};
use super::session::Session;

/// Names one connection of a shard for ever: its place and how often that was used before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StreamKey {
    /// Place in the shard's table; used again once the connection is gone.
    pub index: u32,
    generation: u32,
}

impl StreamKey {
    /// Both numbers in one.
    pub fn packed(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.index)
    }
}

/// Bytes that came in and are not used up.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    /// Where the command done last lies, as long as it is there: the slow log looks at it.
    last: (usize, usize),
}

impl Inbox {
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.start == self.bytes.len() {
            self.clear();
        }
        if self.start > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.compact();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Makes room at once for a command known to be long, so that it is not copied as it grows:
    /// for `bytes`, those that are there included. Said again while it comes in.
    pub(super) fn expect(&mut self, bytes: usize) {
        if bytes > BUFFER_BYTES_KEPT {
            self.compact();
            self.bytes.reserve_exact(bytes.saturating_sub(self.bytes.len()));
        }
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start == self.bytes.len() && self.bytes.capacity() > BUFFER_BYTES_KEPT {
            self.clear();
            self.bytes.shrink_to(BUFFER_BYTES_KEPT);
        }
    }

    /// The same up to the end of the command that lies at `last` among what is unread.
    #[inline]
    pub(super) fn consume_command(&mut self, last: (usize, usize)) {
        self.last = (self.start + last.0, self.start + last.1);
        self.consume(last.1);
    }

    /// The command done last, if it is there yet.
    pub(super) fn last_command(&self) -> &[u8] {
        self.bytes.get(self.last.0..self.last.1).unwrap_or_default()
    }

    /// Puts `with` in place of the first `bytes` unread.
    pub(super) fn replace(&mut self, bytes: usize, with: &[u8]) {
        self.bytes.splice(self.start..self.start + bytes, with.iter().copied());
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.start);
        (self.start, self.last) = (0, (0, 0));
    }

    fn clear(&mut self) {
        self.bytes.clear();
        (self.start, self.last) = (0, (0, 0));
    }
}

/// Bytes of an emptied buffer that stay allocated: two pages, what a pipeline of usual commands
/// needs.
const BUFFER_BYTES_KEPT: usize = 8 << 10;

/// Bytes to go out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) bytes: Vec<u8>,
    start: usize,
}

impl Outbox {
    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            self.bytes.shrink_to(BUFFER_BYTES_KEPT);
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// What is spoken on a connection.
#[derive(Debug)]
pub(super) enum Role {
    Client(Box<Session>),
    /// Opened by a peer, for its requests.
    Inlink(Inlink),
    /// Opened by us, for our requests.
    Outlink(Outlink),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: StreamKey,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    pub(super) role: Role,
    /// In the shard's list of connections to flush.
    pub(super) dirty: bool,
    /// In the shard's list of connections to look at.
    pub(super) ready: bool,
    /// To be closed once everything is sent.
    pub(super) closing: bool,
    /// The other side sends nothing more: to be closed once everything is answered.
    pub(super) ended: bool,
}

impl Stream {
    /// Who is at its other end.
    #[inline]
    pub(super) fn proto(&self) -> Proto {
        match &self.role {
            Role::Client(session) if session.native.is_some() => Proto::Native,
            Role::Client(_) => Proto::Resp,
            Role::Inlink(_) | Role::Outlink(_) => Proto::Peer,
        }
    }
}

/// Every connection of a shard.
#[derive(Debug, Default)]
pub(super) struct Streams {
    slab: Slab<Stream>,
    generation: u32,
    /// With something to send, or to close.
    pub(super) dirty: Vec<StreamKey>,
    /// With something to read.
    pub(super) ready: Vec<StreamKey>,
}

impl Streams {
    pub(super) fn open(&mut self, role: Role) -> StreamKey {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.slab.vacant_entry();
        let key = StreamKey { index: entry.key() as u32, generation: self.generation };
        entry.insert(Stream {
            key,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            role,
            dirty: false,
            ready: false,
            closing: false,
            ended: false,
        });
        key
    }

    pub(super) fn get(&self, key: StreamKey) -> Option<&Stream> {
        self.slab.get(key.index as usize).filter(|stream| stream.key == key)
    }

    pub(super) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.slab.get_mut(key.index as usize).filter(|stream| stream.key == key)
    }

    pub(super) fn close(&mut self, key: StreamKey) -> Option<Stream> {
        self.get(key)?;
        Some(self.slab.remove(key.index as usize))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.slab.iter().map(|(_, stream)| stream)
    }

    pub(super) fn session(&mut self, key: StreamKey) -> Option<&mut Session> {
        match &mut self.get_mut(key)?.role {
            Role::Client(session) => Some(session),
            Role::Inlink(_) | Role::Outlink(_) => None,
        }
    }

    pub(super) fn mark_dirty(&mut self, key: StreamKey) {
        if let Some(stream) = self.slab.get_mut(key.index as usize)
            && stream.key == key
            && !stream.dirty
        {
            stream.dirty = true;
            self.dirty.push(key);
        }
    }

    pub(super) fn mark_ready(&mut self, key: StreamKey) {
        if let Some(stream) = self.slab.get_mut(key.index as usize)
            && stream.key == key
            && !stream.ready
        {
            stream.ready = true;
            self.ready.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_a_long_command_is_made_once_and_not_larger_than_it_is() {
        let mut inbox = Inbox::default();
        inbox.extend(&[0; 100]);
        inbox.consume(50);
        for _ in 0..100 {
            inbox.expect(1_000_050);
            inbox.extend(&[0; 10_000]);
        }
        assert_eq!((inbox.len(), inbox.bytes.capacity()), (1_000_050, 1_000_050));
    }
}
