//! A question to one slot as a whole.

use piccolo_schema::ids::Slot;
use piccolo_schema::link::RequestKind;

use super::{Ask, command, is_error};
use crate::resp::{Reply, value};

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::shard) enum Question {
    /// How many keys it has.
    Count,
    /// The names of at most so many of its keys.
    Keys(usize),
}

/// A question to one slot.
#[derive(Debug)]
pub(in crate::shard) struct One {
    question: Question,
    slot: Slot,
    ask: Option<Ask>,
    done: bool,
    /// The answer, if it is not keys; an error if it is one.
    answer: Vec<u8>,
    keys: Vec<u8>,
    keys_count: usize,
}

impl One {
    /// `here`: this node leads the slot; others hold no keys that it could tell.
    pub(in crate::shard) fn new(slot: Slot, question: Question, here: bool) -> Self {
        let (answer, keys) = (Vec::new(), Vec::new());
        let done = !here || question == Question::Keys(0);
        let mut one = Self { question, slot, ask: None, done, answer, keys, keys_count: 0 };
        if !done {
            one.ask_from(b"0");
        }
        one
    }

    /// Asks for the count, or for keys from a hash on: each step of a scan is bounded.
    fn ask_from(&mut self, hash: &[u8]) {
        let body = match self.question {
            Question::Count => command(&[b"SLOT.COUNT"]),
            Question::Keys(count) => {
                let missing = count - self.keys_count;
                command(&[b"SLOT.SCAN", hash, missing.to_string().as_bytes()])
            }
        };
        let (slot, kind) = (self.slot, RequestKind::Sweep);
        self.ask = Some(Ask { part: 0, slot, kind, write: false, body });
    }

    pub(super) fn poll(&mut self) -> Vec<Ask> {
        self.ask.take().into_iter().collect()
    }

    pub(super) fn take(&mut self, answer: &[u8]) {
        self.done = true;
        let Question::Keys(count) = self.question else {
            self.answer = answer.to_vec();
            return;
        };
        if is_error(answer) {
            self.answer = answer.to_vec();
            return;
        }
        let mut parts = value::array_items(answer).into_iter().flatten();
        let next = parts.next().and_then(value::bulk);
        let keys = parts.next().and_then(value::array_items).into_iter().flatten();
        for key in keys.take(count - self.keys_count) {
            self.keys.extend_from_slice(key);
            self.keys_count += 1;
        }
        if let Some(hash) = next
            && self.keys_count < count
        {
            self.done = false;
            self.ask_from(hash);
        }
    }

    pub(super) fn done(&self) -> bool {
        self.done
    }

    pub(super) fn write(&self, reply: &mut Reply<'_>) {
        if is_error(&self.answer) {
            return reply.raw(&self.answer);
        }
        match self.question {
            Question::Count => reply.integer(value::integer(&self.answer).unwrap_or(0)),
            Question::Keys(_) => {
                reply.array(self.keys_count);
                reply.raw(&self.keys);
            }
        }
    }
}
