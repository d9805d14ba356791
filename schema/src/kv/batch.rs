//! What one turn has to say, gathered until it is written as frames.

use std::ops::Range;

use super::write::{
    HEAD_BYTES, message, put_reply, put_request, reply_bytes, request_bytes, write_reply,
    write_request,
};
use super::{Answer, Condition, Entry, Expiry, GetKind, Op, Reply, Request, Set, Value};
use crate::framing;
use crate::kv_capnp as wire;
use crate::limits::{FRAME_BYTES_AIM, FRAME_ITEMS_MAX, INLINE_BYTES_MAX};

/// Requests of one turn, gathered until they are written as a frame.
#[derive(Debug, Default)]
pub struct RequestBatch {
    arena: Arena,
    heads: Vec<RequestHead>,
}

/// Replies of one turn, gathered until they are written as a frame.
#[derive(Debug, Default)]
pub struct ReplyBatch {
    arena: Arena,
    heads: Vec<ReplyHead>,
}

impl RequestBatch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Requests gathered.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Adds a request. Its texts are copied; a long one goes to `stream` at once, behind
    /// everything gathered, and so does what is gathered when a frame is full.
    pub fn push(&mut self, request: &Request<'_>, stream: &mut Vec<u8>) {
        let bytes = request_bytes(request);
        if self.arena.is_full(bytes, self.heads.len()) {
            self.write(stream);
        }
        let op = match request.op {
            Op::Set(Set { value: Value::Here(value), condition, expiry, meta })
                if value.len() <= INLINE_BYTES_MAX =>
            {
                let (value, meta) = (self.arena.keep(value), self.arena.keep(meta));
                OpHead::Set { value, condition, expiry, meta }
            }
            Op::Append(value) if value.len() <= INLINE_BYTES_MAX => {
                OpHead::Append(self.arena.keep(value))
            }
            Op::Get(kind) => OpHead::Get(kind),
            Op::Delete(condition) => OpHead::Delete(condition),
            Op::Increment(by) => OpHead::Increment(by),
            Op::Expire { expiry, condition } => OpHead::Expire { expiry, condition },
            Op::Topology => OpHead::Topology,
            Op::Set(_) | Op::Append(_) | Op::Scan(_) => {
                self.write(stream);
                return write_request(request, stream);
            }
        };
        let key = self.arena.keep(request.key);
        self.heads.push(RequestHead { id: request.id, key, op });
    }

    /// Appends what is gathered to `stream` as one frame and starts anew. Writes nothing if there
    /// is nothing.
    pub fn write(&mut self, stream: &mut Vec<u8>) {
        if self.heads.is_empty() {
            return;
        }
        let mut message = message(self.arena.bytes.len() + HEAD_BYTES * self.heads.len());
        let frame = message.init_root::<wire::frame::Builder<'_>>();
        let mut list = frame.init_requests(self.heads.len() as u32);
        for (i, head) in self.heads.iter().enumerate() {
            put_request(list.reborrow().get(i as u32), &head.view(&self.arena), 0);
        }
        framing::append(&message, stream);
        self.heads.clear();
        self.arena.clear();
    }
}

impl ReplyBatch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Replies gathered.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Adds a reply. Its texts are copied; a long one goes to `stream` at once, behind everything
    /// gathered, and so does what is gathered when a frame is full.
    pub fn push(&mut self, reply: &Reply<'_>, stream: &mut Vec<u8>) {
        let bytes = reply_bytes(reply);
        if self.arena.is_full(bytes, self.heads.len()) {
            self.write(stream);
        }
        let answer = match &reply.answer {
            Answer::Entry(entry) if entry.value.is_none_or(is_inline) => {
                let value = entry.value.map(|value| match value {
                    Value::Here(value) => self.arena.keep(value),
                    Value::Behind(_) => 0..0,
                });
                let meta = self.arena.keep(entry.meta);
                let entry = Entry { meta: &[], value: None, ..*entry };
                AnswerHead::Entry { entry, meta, value }
            }
            Answer::Absent => AnswerHead::Absent,
            Answer::Written { version, created } => AnswerHead::Written(*version, *created),
            Answer::Number { value, version } => AnswerHead::Number(*value, *version),
            Answer::Unmet(version) => AnswerHead::Unmet(*version),
            Answer::Entry(_)
            | Answer::Page { .. }
            | Answer::Topology(_)
            | Answer::Refused(_)
            | Answer::Unknown(_) => {
                self.write(stream);
                return write_reply(reply, stream);
            }
        };
        self.heads.push(ReplyHead { id: reply.id, answer });
    }

    /// Appends what is gathered to `stream` as one frame and starts anew. Writes nothing if there
    /// is nothing.
    pub fn write(&mut self, stream: &mut Vec<u8>) {
        if self.heads.is_empty() {
            return;
        }
        let mut message = message(self.arena.bytes.len() + HEAD_BYTES * self.heads.len());
        let frame = message.init_root::<wire::frame::Builder<'_>>();
        let mut list = frame.init_replies(self.heads.len() as u32);
        for (i, head) in self.heads.iter().enumerate() {
            put_reply(list.reborrow().get(i as u32), &head.view(&self.arena), 0);
        }
        framing::append(&message, stream);
        self.heads.clear();
        self.arena.clear();
    }
}

/// Texts of what is gathered, one behind the other.
#[derive(Debug, Default)]
struct Arena {
    bytes: Vec<u8>,
}

impl Arena {
    fn keep(&mut self, text: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        start..self.bytes.len()
    }

    fn text(&self, at: &Range<usize>) -> &[u8] {
        &self.bytes[at.clone()]
    }

    /// Whether a frame of `items` is full before something of `bytes` more.
    fn is_full(&self, bytes: usize, items: usize) -> bool {
        self.bytes.len() + HEAD_BYTES * items + bytes > FRAME_BYTES_AIM || items >= FRAME_ITEMS_MAX
    }

    fn clear(&mut self) {
        self.bytes.clear();
    }
}

#[derive(Debug)]
struct RequestHead {
    id: u64,
    key: Range<usize>,
    op: OpHead,
}

#[derive(Debug)]
enum OpHead {
    Get(GetKind),
    Set { value: Range<usize>, condition: Condition, expiry: Expiry, meta: Range<usize> },
    Delete(Condition),
    Increment(i64),
    Append(Range<usize>),
    Expire { expiry: Expiry, condition: Condition },
    Topology,
}

impl RequestHead {
    fn view<'a>(&self, arena: &'a Arena) -> Request<'a> {
        let op = match &self.op {
            OpHead::Get(kind) => Op::Get(*kind),
            OpHead::Set { value, condition, expiry, meta } => Op::Set(Set {
                value: Value::Here(arena.text(value)),
                condition: *condition,
                expiry: *expiry,
                meta: arena.text(meta),
            }),
            OpHead::Delete(condition) => Op::Delete(*condition),
            OpHead::Increment(by) => Op::Increment(*by),
            OpHead::Append(value) => Op::Append(arena.text(value)),
            OpHead::Expire { expiry, condition } => {
                Op::Expire { expiry: *expiry, condition: *condition }
            }
            OpHead::Topology => Op::Topology,
        };
        Request { id: self.id, key: arena.text(&self.key), op }
    }
}

#[derive(Debug)]
struct ReplyHead {
    id: u64,
    answer: AnswerHead,
}

#[derive(Debug)]
enum AnswerHead {
    /// The entry without its texts.
    Entry {
        entry: Entry<'static>,
        meta: Range<usize>,
        value: Option<Range<usize>>,
    },
    Absent,
    Written(u64, bool),
    Number(i64, u64),
    Unmet(u64),
}

impl ReplyHead {
    fn view<'a>(&self, arena: &'a Arena) -> Reply<'a> {
        let answer = match &self.answer {
            AnswerHead::Entry { entry, meta, value } => Answer::Entry(Entry {
                meta: arena.text(meta),
                value: value.as_ref().map(|value| Value::Here(arena.text(value))),
                ..*entry
            }),
            AnswerHead::Absent => Answer::Absent,
            AnswerHead::Written(version, created) => {
                Answer::Written { version: *version, created: *created }
            }
            AnswerHead::Number(value, version) => {
                Answer::Number { value: *value, version: *version }
            }
            AnswerHead::Unmet(version) => Answer::Unmet(*version),
        };
        Reply { id: self.id, answer }
    }
}

fn is_inline(value: Value<'_>) -> bool {
    matches!(value, Value::Here(bytes) if bytes.len() <= INLINE_BYTES_MAX)
}
